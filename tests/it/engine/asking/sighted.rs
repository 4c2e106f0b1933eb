//! Of sightings that a caller may not see, no answer depends on.

use luytre::model::indicator::{Draft, normalise};
use luytre::model::marking::{Marking, Tlp};
use luytre::model::query::{IndicatorFilter, Question};
use luytre::model::sighting::{Outcome, SightingDraft};
use uuid::Uuid;

use crate::engine::support::{Engine, block_on, slug};

const OWNER: usize = 0;
const VIEWER: usize = 1;
const REPORTER: usize = 2;

/// More of them than are ever read of one reporter.
const HIDDEN: usize = 1_100;

#[test]
fn a_sighting_is_found_behind_however_many_that_are_hidden() {
    block_on(async {
        let engine = Engine::new();
        let value = normalise::detect("evil.example").unwrap().observable;
        let draft = Draft::new(value, Marking::open(Tlp::Green));
        let published =
            engine.hub.publish(&engine.caller(OWNER), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
        let indicator = published[0].as_ref().unwrap().id;
        let sighting = |marking| SightingDraft {
            indicator,
            outcome: Outcome::SeenBlocked,
            count: 1,
            first_seen: None,
            last_seen: None,
            note: String::new(),
            marking,
        };
        let reporter = engine.caller(REPORTER);
        let open = vec![Ok(sighting(Some(Marking::open(Tlp::Green))))];
        engine.hub.report_sightings(&reporter, Uuid::new_v4(), open).await.unwrap();
        // For the reporter and the owner alone.
        for _ in 0..HIDDEN.div_ceil(100) {
            let hidden = (0..100).map(|_| Ok(sighting(None))).collect();
            engine.hub.report_sightings(&reporter, Uuid::new_v4(), hidden).await.unwrap();
        }
        let none = IndicatorFilter::default;
        for filter in [
            IndicatorFilter { sighted_by: vec![slug(REPORTER)], ..none() },
            IndicatorFilter { outcomes: vec![Outcome::SeenBlocked], ..none() },
        ] {
            let page = engine.hub.list(&engine.caller(VIEWER), Question::new(filter), 10, "").await.unwrap();
            assert_eq!(page.indicators.len(), 1);
        }
        engine.close().await;
    });
}
