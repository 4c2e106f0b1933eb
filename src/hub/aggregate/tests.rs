//! What is not counted for want of time or room is said not to be.

use uuid::Uuid;

use crate::hub::{Options, testing, verify};
use crate::model::indicator::{Draft, normalise};
use crate::model::marking::{Marking, Tlp};
use crate::model::query::IndicatorFilter;
use crate::model::sighting::{Outcome, SightingDraft};
use crate::store::index::tests::forget_kinds;
use crate::store::{Calls, Store, Tuning};

use super::*;
use crate::model::aggregate::{Histogram, Per};

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

/// Months by kind, of a label and of all time, by whatever tells it.
async fn by_kind(hub: &Hub, caller: &Caller, label: &str, except: bool) -> Counted {
    let except = except.then(Box::default);
    let filter = IndicatorFilter { labels: vec![label.to_owned()], except, ..IndicatorFilter::default() };
    let histogram = Some(Histogram { per: Per::Month, from: None, to: None, offset: 420 });
    let counting = Counting { filter, by: Some(Dimension::Kind), histogram, rows: 10 };
    let all = Counting { histogram: None, ..counting.clone() };
    let counted = hub.aggregate(caller, counting).await.unwrap();
    let all = hub.aggregate(caller, all).await.unwrap();
    assert_eq!((all.total, all.rows.len()), (counted.total, counted.rows.len()));
    counted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_a_release_that_did_not_count_by_kinds_does_so_once_it_is_opened() {
    let (dir, hub, caller) = testing::hub(&["a"]);
    let draft = |value: &str, labels: &[&str]| {
        let value = normalise::detect(value).unwrap().observable;
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Ok(Draft { labels, ..Draft::new(value, Marking::open(Tlp::Green)) })
    };
    for drafts in [
        vec![draft("a.example", &["c2", "apt"]), draft("b.example", &["c2"]), draft("198.51.100.7", &["c2"])],
        // One carries it no longer.
        vec![draft("b.example", &["apt"])],
    ] {
        assert!(hub.publish(&caller, Uuid::new_v4(), drafts).await.unwrap().iter().all(Result::is_ok));
    }
    let expected = by_kind(&hub, &caller, "c2", false).await;
    let told: Vec<_> = expected.rows.iter().map(|row| (row.value.as_deref(), row.count)).collect();
    assert_eq!(told, [(Some("domain"), 1), (Some("ipv4"), 1)]);
    assert_eq!((expected.total, expected.by), (2, CountedBy::Counters));
    let as_of = expected.as_of;
    let scanned = by_kind(&hub, &caller, "c2", true).await;
    assert_eq!(Counted { as_of, by: CountedBy::Counters, ..scanned }, expected);
    let (path, mut hub) = (dir.path().join("data"), hub);
    for left in [Position::ZERO, Position::from_raw(7)] {
        hub.close().await;
        testing::wait_until_gone(hub).await;
        {
            let store = Store::open(&path, &Tuning::default()).unwrap();
            forget_kinds(&store, left);
        }
        assert!(verify(&path, |_| ()).unwrap().is_clean(), "it is what its release left");
        hub = Hub::open(Options { data_dir: path.clone(), ..Options::default() }).unwrap();
        let caller = testing::caller(&hub, "spiffe://test.example/org/a/system/feed");
        let counted = by_kind(&hub, &caller, "c2", false).await;
        assert_eq!(Counted { as_of, spans: expected.spans, ..counted }, expected);
    }
    hub.close().await;
    testing::wait_until_gone(hub).await;
    assert!(verify(&path, |_| ()).unwrap().is_clean());
    let store = Store::open(&path, &Tuning::default()).unwrap();
    assert!(store.kinds_are_counted().unwrap());
}

/// Months by label, at most so many rows, and what was asked of the store for it.
async fn by_label(hub: &Hub, caller: &Caller, except: bool, rows: usize) -> (Counted, Calls) {
    let except = except.then(Box::default);
    let filter = IndicatorFilter { except, ..IndicatorFilter::default() };
    let histogram = Some(Histogram { per: Per::Month, from: None, to: None, offset: 420 });
    let counting = Counting { filter, by: Some(Dimension::Label), histogram, rows };
    hub.shared.index.reached(hub.shared.tail.committed()).await;
    let before = hub.shared.store.calls();
    let counted = hub.aggregate(caller, counting).await.unwrap();
    (counted, hub.shared.store.calls().since(&before))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_added_up_by_labels_is_not_read_again_and_is_what_a_scan_gives() {
    let (_dir, hub, caller) = testing::hub(&["a", "b"]);
    let draft = |value: &str, tlp: Tlp, labels: &[&str]| {
        let value = normalise::detect(value).unwrap().observable;
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Ok(Draft { labels, family: "Emotet".to_owned(), ..Draft::new(value, Marking::open(tlp)) })
    };
    for (step, drafts) in [
        vec![draft("a.example", Tlp::Green, &["c2", "apt"]), draft("b.example", Tlp::Green, &["c2"])],
        // A label and a class that are new; one that nothing carries any more.
        vec![draft("c.example", Tlp::Clear, &["c2", "miner"]), draft("a.example", Tlp::Green, &["c2"])],
        vec![draft("a.example", Tlp::Clear, &["tor-exit"]), draft("d.example", Tlp::Green, &["apt"])],
    ]
    .into_iter()
    .enumerate()
    {
        assert!(hub.publish(&caller, Uuid::new_v4(), drafts).await.unwrap().iter().all(Result::is_ok));
        let (scanned, _) = by_label(&hub, &caller, true, 10).await;
        for again in [false, true] {
            let (counted, calls) = by_label(&hub, &caller, false, 10).await;
            assert_eq!(counted.by, CountedBy::Counters);
            let (as_of, by) = (counted.as_of, counted.by);
            assert_eq!(Counted { as_of, by, ..scanned.clone() }, counted, "step {step}");
            // The whole is counted apart.
            let expected = if again || step > 0 { 1 } else { 2 };
            assert_eq!(calls.walks, expected, "step {step}");
            assert!(!again || calls.small == 0, "names that are known are not read: {calls:?}");
        }
        let (first, _) = by_label(&hub, &caller, false, 1).await;
        assert_eq!(first.rows, scanned.rows[..1]);
        assert_eq!(first.more_rows, scanned.rows.len() as u64 - 1);
    }
    // It is his alone who asked.
    let other = testing::caller(&hub, "spiffe://test.example/org/b/system/feed");
    assert_eq!(by_label(&hub, &other, false, 10).await.1.walks, 2);
    hub.close().await;
}
