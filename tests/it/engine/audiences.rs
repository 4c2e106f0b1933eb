//! While the audience of a record changes over and over, nobody whom it
//! reaches all the time misses it for a moment: not on a stream, and not when
//! he asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use luytre::hub::{Open, Start};
use luytre::model::indicator::{Draft, Observable, normalise};
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::org::OrgSlug;
use luytre::model::query::IndicatorFilter;
use luytre::model::roster::Group;
use luytre::model::sighting::{Outcome, SightingDraft};
use uuid::Uuid;

use super::support::{Engine, START, block_on, roster, slug};

const OWNER: usize = 0;
const READER: usize = 1;
const NEW: i32 = 1;
const UPDATE: i32 = 2;
const SIGHTED: i32 = 6;
const GROUPS: usize = 9;
/// Each to another set of groups, so that each is a new audience.
const CHANGES: usize = 1 << GROUPS;

fn group(number: usize) -> OrgSlug {
    OrgSlug::parse(&format!("g{number}")).unwrap()
}

fn hub() -> Engine {
    let mut roster = roster();
    for number in 0..GROUPS {
        let (slug, members) = (group(number), Vec::new());
        roster.groups.insert(slug.clone(), Group { slug, vi: "Nhóm".into(), en: String::new(), members });
    }
    Engine::of(roster, START, |_| ())
}

fn value() -> Observable {
    normalise::detect("re-marked.example").unwrap().observable
}

/// To the reader, and to the groups that the bits of `number` choose.
fn draft(number: usize) -> Draft {
    let groups = (0..GROUPS).filter(|bit| number & (1 << bit) != 0).map(group).collect();
    let recipients = Recipients { organisations: vec![slug(READER)], groups, ..Recipients::default() };
    Draft::new(value(), Marking { tlp: Tlp::Amber, recipients, caveats: Caveats::NONE })
}

async fn publish(hub: &Engine, number: usize) -> Uuid {
    let items = vec![Ok(draft(number))];
    let answers = hub.hub.publish(&hub.caller(OWNER), Uuid::new_v4(), items).await.unwrap();
    answers.into_iter().next().unwrap().unwrap().id
}

/// Gives the record one audience after another while `meanwhile` looks.
async fn while_it_changes<F: Future<Output = ()> + Send + 'static>(
    hub: Arc<Engine>,
    meanwhile: impl FnOnce(Arc<Engine>, Uuid, Arc<AtomicBool>) -> F,
) {
    let id = publish(&hub, 0).await;
    let over = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(meanwhile(Arc::clone(&hub), id, Arc::clone(&over)));
    for number in 1..CHANGES {
        publish(&hub, number).await;
    }
    over.store(true, Ordering::Release);
    watching.await.unwrap();
}

#[test]
fn a_subscriber_is_sent_every_version_though_each_has_another_audience() {
    block_on(while_it_changes(Arc::new(hub()), async |hub, _, _| {
        let open = Open { start: Some(Start::Earliest), credit: 1 << 20, ..Open::default() };
        let mut stream = hub.stream_of(&hub.caller(READER), open).await.unwrap();
        let mut came = 0;
        while came < CHANGES {
            let event = stream.any().await;
            assert_eq!(event.kind, if came == 0 { NEW } else { UPDATE }, "version {came}");
            came += 1;
        }
    }));
}

#[test]
fn a_subscriber_is_told_of_every_sighting_though_the_audience_changes() {
    block_on(while_it_changes(Arc::new(hub()), async |hub, id, over| {
        let open =
            Open { start: Some(Start::Latest), credit: 1 << 20, include_sightings: true, ..Open::default() };
        let mut stream = hub.stream_of(&hub.caller(READER), open).await.unwrap();
        let mut told = 0;
        while !over.load(Ordering::Acquire) {
            let draft = SightingDraft {
                indicator: id,
                outcome: Outcome::SeenBlocked,
                count: 1,
                first_seen: None,
                last_seen: None,
                note: format!("sighting {told}"),
                marking: None,
            };
            let reporter = hub.caller(READER);
            let answers = hub.hub.report_sightings(&reporter, Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
            answers.into_iter().next().unwrap().unwrap();
            let sighting = stream.until(SIGHTED).await.sighting.expect("a sighting");
            assert_eq!(sighting.note, format!("sighting {told}"));
            told += 1;
        }
    }));
}

#[test]
fn who_asks_finds_the_record_at_every_moment() {
    block_on(while_it_changes(Arc::new(hub()), async |hub, id, over| {
        let reader = hub.caller(READER);
        while !over.load(Ordering::Acquire) {
            assert_eq!(hub.hub.lookup(&reader, vec![value()]).await.unwrap().remove(0).len(), 1, "looked up");
            hub.hub.get(&reader, id).await.expect("got");
            let page = hub.hub.list(&reader, IndicatorFilter::default(), 10, "").await.unwrap();
            assert_eq!(page.indicators.len(), 1, "listed");
        }
    }));
}
