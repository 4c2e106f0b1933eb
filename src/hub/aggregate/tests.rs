//! What is not counted for want of time or room is said not to be.

use uuid::Uuid;

use crate::hub::testing;
use crate::model::indicator::{Draft, normalise};
use crate::model::marking::{Marking, Tlp};
use crate::model::query::IndicatorFilter;
use crate::model::sighting::{Outcome, SightingDraft};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_that_is_cut_says_so_and_how_many_it_counted() {
    let (_dir, hub, caller) = testing::hub(&["a"]);
    for value in ["a.example", "b.example", "198.51.100.7"] {
        let value = normalise::detect(value).unwrap().observable;
        let drafts = vec![Ok(Draft::new(value, Marking::open(Tlp::Green)))];
        let published = hub.publish(&caller, Uuid::new_v4(), drafts).await.unwrap().remove(0).unwrap();
        let sighting = SightingDraft {
            indicator: published.id,
            outcome: Outcome::SeenBlocked,
            count: 1,
            first_seen: None,
            last_seen: None,
            note: String::new(),
            marking: None,
        };
        assert!(hub.report_sightings(&caller, Uuid::new_v4(), vec![Ok(sighting)]).await.unwrap()[0].is_ok());
    }
    let origin = hub.shared.tail.committed();
    hub.shared.index.reached(origin).await;
    let counted = |by, bounds| {
        // Counters do not tell what is left out.
        let filter = IndicatorFilter { except: Some(Box::default()), ..IndicatorFilter::default() };
        let counting = Counting { filter, by: Some(by), histogram: None, rows: 10 };
        let (shared, caller, counting) = (&hub.shared, &caller, &counting);
        let asked = Asked { shared, caller, counting, spans: None, origin, bounds };
        let Counted { total, exact, .. } = asked.count().unwrap().0.told(10, None);
        (total, exact)
    };
    for by in [Dimension::Kind, Dimension::Outcome] {
        for (rows, expected) in [(3, (3, true)), (2, (2, false)), (0, (0, false))] {
            assert_eq!(counted(by, Bounds { rows, ..BOUNDS }), expected, "{by:?} {rows}");
        }
    }
    assert!(!counted(Dimension::Outcome, Bounds { time: Duration::ZERO, ..BOUNDS }).1);
    // What is behind the index is not counted by it.
    let (shared, caller, counting) = (
        &hub.shared,
        &caller,
        Counting { filter: IndicatorFilter::default(), by: Some(Dimension::Kind), histogram: None, rows: 10 },
    );
    let told = |origin, by| {
        let counting = Counting { by: Some(by), ..counting.clone() };
        let asked = Asked { shared, caller, counting: &counting, spans: None, origin, bounds: BOUNDS };
        asked.count().map(|(tally, by)| (by, tally.told(10, None).total))
    };
    assert_eq!(told(origin, Dimension::Kind).unwrap(), (CountedBy::Counters, 3));
    let ahead = origin.next();
    assert_eq!(told(ahead, Dimension::Kind).unwrap(), (CountedBy::Scan, 3));
    assert!(told(ahead, Dimension::Outcome).is_err());
    hub.close().await;
}
