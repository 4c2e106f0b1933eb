//! What a mirror holds through deliveries, kills and damage, without a hub.

use std::collections::BTreeMap;

use super::*;
use crate::client::{Connection, Delivery, Received, SubscriptionEvents};
use crate::wire::proto::v1;

fn token(n: u8) -> Bytes {
    Bytes::copy_from_slice(&[n; 4])
}

fn event(kind: v1::EventKind, name: &str, version: u64) -> Received {
    let indicator = v1::Indicator { name: name.to_owned(), version, ..v1::Indicator::default() };
    let subject = Some(v1::event::Subject::Indicator(indicator));
    Received { kind, event: v1::Event { event_id: Bytes::new(), subject } }
}

fn new(name: &str, version: u64) -> Received {
    event(v1::EventKind::New, name, version)
}

fn events(n: u8, events: Vec<Received>) -> Delivery {
    Delivery::Events(SubscriptionEvents { events, token: token(n), caught_up: false })
}

fn begin(n: u8) -> Delivery {
    Delivery::StateBegin { token: token(n) }
}

fn end(n: u8) -> Delivery {
    Delivery::StateEnd { token: token(n) }
}

fn open(dir: &Path) -> Mirror {
    let client = Connection::plain(([127, 0, 0, 1], 1).into()).client();
    Mirror::open(&client, dir, Subscribe::from(Start::CurrentState)).unwrap()
}

fn take(mirror: &mut Mirror, delivery: &Delivery) -> News {
    mirror.keep(&Entry::of(delivery)).unwrap();
    std::mem::take(&mut mirror.news)
}

fn held(collection: &Collection) -> BTreeMap<String, u64> {
    collection.iter().map(|indicator| (indicator.name, indicator.version)).collect()
}

fn set(items: &[(&str, u64)]) -> BTreeMap<String, u64> {
    items.iter().map(|(name, version)| ((*name).to_owned(), *version)).collect()
}

#[test]
fn what_is_in_use_stays_until_a_new_state_is_complete() {
    let mut collection = Collection::default();
    for delivery in [begin(1), events(2, vec![new("a", 1), new("b", 2)])] {
        assert!(!collection.take(&delivery).unwrap());
        assert!(collection.is_empty() && !collection.is_complete());
    }
    assert!(collection.take(&end(3)).unwrap());
    assert_eq!(held(&collection), set(&[("a", 1), ("b", 2)]));
    // The token was lost: all of it is told again.
    collection.take(&begin(4)).unwrap();
    assert!(!collection.take(&events(5, vec![new("c", 9)])).unwrap());
    assert_eq!(held(&collection), set(&[("a", 1), ("b", 2)]));
    // What was collected of a scan that never ended does not count.
    collection.take(&begin(6)).unwrap();
    collection.take(&events(7, vec![new("b", 3)])).unwrap();
    assert!(collection.take(&end(8)).unwrap());
    assert_eq!(held(&collection), set(&[("b", 3)]));
    assert!(collection.take(&end(9)).is_err(), "nothing empties the set by mistake");
    assert_eq!(collection.len(), 1);
}

#[test]
fn recalls_apply_to_the_set_in_use_and_to_the_fresh_one() {
    let mut collection = Collection::default();
    for delivery in [begin(1), events(2, vec![new("a", 1), new("b", 1)]), end(3), begin(4)] {
        collection.take(&delivery).unwrap();
    }
    collection.take(&events(5, vec![new("a", 1), new("b", 1)])).unwrap();
    let recall = event(v1::EventKind::Revoked, "a", 0);
    assert!(collection.take(&Delivery::Recalls(vec![recall])).unwrap());
    assert_eq!(held(&collection), set(&[("b", 1)]));
    collection.take(&end(6)).unwrap();
    assert_eq!(held(&collection), set(&[("b", 1)]));
}

#[test]
fn what_the_log_tells_again_after_a_scan_brings_nothing_back() {
    let mut collection = Collection::default();
    for delivery in [begin(1), events(2, vec![new("a", 5)]), end(3)] {
        collection.take(&delivery).unwrap();
    }
    for older in [new("a", 3), event(v1::EventKind::Revoked, "a", 4)] {
        assert!(!collection.take(&events(4, vec![older])).unwrap());
        assert_eq!(held(&collection), set(&[("a", 5)]));
    }
    assert!(collection.take(&events(5, vec![event(v1::EventKind::Update, "a", 6)])).unwrap());
    assert!(collection.take(&events(6, vec![event(v1::EventKind::Withdrawn, "a", 0)])).unwrap());
    assert!(collection.is_empty());
}

#[tokio::test]
async fn a_mirror_goes_on_with_its_set_and_the_token_of_that_set_wherever_its_journal_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(JOURNAL);
    let mut mirror = open(dir.path());
    let revoked = event(v1::EventKind::Revoked, "a", 3);
    let steps = [
        begin(1),
        events(2, vec![new("a", 1)]),
        events(3, vec![new("b", 2)]),
        end(4),
        events(5, vec![revoked, new("c", 4)]),
        begin(6),
        events(7, vec![new("d", 5)]),
    ];
    // After each length of the file: the token, what is in use, what is collected.
    let mut stages = vec![(std::fs::metadata(&path).unwrap().len(), None, held(&mirror.collection), false)];
    for step in &steps {
        take(&mut mirror, step);
        stages.push((
            std::fs::metadata(&path).unwrap().len(),
            step.token().cloned(),
            held(&mirror.collection),
            mirror.collection.is_collecting(),
        ));
    }
    drop(mirror);
    let whole = std::fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let mirror = open(dir.path());
        let stage = stages.iter().rev().find(|stage| stage.0 <= length as u64);
        let (token, in_use, collecting) =
            stage.map_or((None, BTreeMap::new(), false), |stage| (stage.1.clone(), stage.2.clone(), stage.3));
        assert_eq!((&mirror.token, held(&mirror.collection)), (&token, in_use), "cut at {length}");
        assert_eq!(mirror.collection.is_collecting(), collecting, "cut at {length}");
    }
}

#[tokio::test]
async fn a_snapshot_holds_both_sets_and_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = open(dir.path());
    let many = |from: u64| (from..from + 600).map(|n| new(&format!("i{n}"), n + 1)).collect();
    for step in [begin(1), events(2, many(0)), end(3), begin(4), events(5, many(1_000))] {
        take(&mut mirror, &step);
    }
    let before = held(&mirror.collection);
    mirror.rewrite().unwrap();
    drop(mirror);
    let mut mirror = open(dir.path());
    assert_eq!((held(&mirror.collection), &mirror.token), (before, &Some(token(5))));
    assert!(mirror.collection.is_complete());
    assert_eq!(take(&mut mirror, &end(6)), News { changed: true, caught_up: false });
    assert_eq!(held(&mirror.collection).len(), 600);
    assert!(mirror.collection.get("i1000").is_some() && mirror.collection.get("i0").is_none());
}

#[tokio::test]
async fn what_was_kept_under_another_filter_is_not_taken_for_what_stands() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = open(dir.path());
    for step in [begin(1), events(2, vec![new("a", 1)]), end(3)] {
        take(&mut mirror, &step);
    }
    let client = mirror.client.clone();
    drop(mirror);
    let mut options = Subscribe::from(Start::CurrentState);
    options.filter.labels.push("phishing".to_owned());
    let mirror = Mirror::open(&client, dir.path(), options).unwrap();
    assert_eq!((mirror.token.as_ref(), mirror.collection.len()), (None, 0));
    assert!(!mirror.collection.is_complete(), "until the hub has told it");
}

#[tokio::test]
async fn a_directory_is_one_mirrors_at_a_time_and_closed_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let mirror = open(&path);
    let again = Mirror::open(&mirror.client, &path, Subscribe::from(Start::CurrentState));
    assert!(matches!(again, Err(MirrorError::Busy { .. })));
    for file in [path.clone(), path.join(JOURNAL), path.join(LOCK)] {
        assert!(!files::is_open_to_others(&file).unwrap(), "{}", file.display());
    }
}
