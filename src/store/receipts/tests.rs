//! Promises of how receipts lie on disk.

use super::*;
use crate::model::position::Seq;
use crate::model::receipt::{Told, Way};
use crate::store::Tuning;

fn time(second: u64) -> Timestamp {
    Timestamp::from_micros_clamped(second * 1_000_000)
}

fn party(name: &str) -> Party {
    Party {
        principal: SpiffeId::parse(&format!("spiffe://t.example/org/{name}/system/feed")).unwrap(),
        serial: "0a".to_owned(),
        streams: true,
        subscription: "fw".to_owned(),
        audit: Some(0),
    }
}

/// A block in second `n` that tells of the birth at position `n`.
fn write(store: &Store, n: u64, rest: &mut Option<Summary>) {
    let mut told = Told::default();
    told.born(Position::from_raw(n), 1);
    let receipt = Receipt { party: 0, way: Way::Delivered, time: time(n), audit: None, told };
    let block = Block { acks: Vec::new(), receipts: vec![receipt] };
    let head = block.head().unwrap();
    let place = ReceiptPlace { known: Position::from_raw(n), number: n };
    let mut batch = Batch::new(store);
    batch.receipts(place, &block.encode(&head)).unwrap();
    let sum = rest.map_or_else(|| Summary::of(place, head), |rest| rest.with(place, &head));
    *rest = (sum.blocks < SUMMED).then_some(sum);
    if rest.is_none() {
        batch.receipt_summary(&sum).unwrap();
    }
    store.commit(batch).unwrap();
}

fn found(store: &Store, from: u64, of: u64) -> (Vec<u64>, u64) {
    let from = ReceiptPlace { known: Position::from_raw(from), number: 0 };
    let (mut walk, mut found) = (store.receipts_from(from).unwrap(), Vec::new());
    let heads = std::cell::Cell::new(0);
    let wants = |head: &Head| {
        heads.set(heads.get() + 1);
        head.may_hold(Position::from_raw(of))
    };
    while let Some((place, encoded)) = walk.next(wants).unwrap() {
        assert!(Block::decode(&encoded).is_some());
        found.push(place.number);
    }
    (found, heads.get())
}

#[test]
fn a_trace_reads_what_follows_the_birth_and_passes_over_what_summaries_exclude() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("s"), &Tuning::default()).unwrap();
    assert_eq!(store.receipt_end().unwrap(), ReceiptEnd::default());
    let (mut rest, last) = (None, 4 * SUMMED + 10);
    (1..=last).for_each(|n| write(&store, n, &mut rest));
    let mut batch = Batch::new(&store);
    batch.receipt_party(6, &party("a"), time(1)).unwrap();
    store.commit(batch).unwrap();
    let (blocks, heads) = found(&store, 5, 5);
    assert_eq!(blocks, [5], "nothing before it is read");
    assert!(heads < 2 * SUMMED + 40, "{heads} heads");
    assert_eq!(found(&store, 5, last), (vec![last], found(&store, 5, last).1));
    assert!(found(&store, 5, 3).0.is_empty());
    let end = store.receipt_end().unwrap();
    assert_eq!((end.party, end.last.number), (7, last));
    assert_eq!(end.rest, rest, "what is not summed yet is known again");
    assert_eq!(store.receipt_party(6).unwrap(), Some(party("a")));
    assert!(store.receipt_party(5).is_err(), "it was never cut, and is not there");
}

#[test]
fn a_cut_takes_what_is_too_old_and_nothing_newer() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("s"), &Tuning::default()).unwrap();
    let mut rest = None;
    (1..=2 * SUMMED).for_each(|n| write(&store, n, &mut rest));
    let mut batch = Batch::new(&store);
    batch.receipt_party(0, &party("old"), time(1)).unwrap();
    batch.receipt_party(1, &party("new"), time(900)).unwrap();
    store.commit(batch).unwrap();
    assert_eq!(store.cut_receipts(time(300), time(10), 100).unwrap(), 100);
    assert_eq!(store.cut_receipts(time(300), time(10), 1_000).unwrap(), 199);
    assert_eq!(store.cut_receipts(time(300), time(10), 1_000).unwrap(), 0);
    let begin = store.receipts_begin().unwrap();
    assert_eq!((begin.time, begin.born), (time(299), Position::from_raw(299)), "behind what was cut");
    for n in 300..=2 * SUMMED {
        assert_eq!(found(&store, 1, n).0, [n], "a cut summary hides nothing");
    }
    assert_eq!(store.receipt_party(0).unwrap(), None, "it was cut, which is no damage");
    assert_eq!(store.receipt_party(1).unwrap(), Some(party("new")));
    assert!(store.receipt_party(2).is_err());
    assert_eq!(store.cut_receipts(time(9_999), time(9_999), 1_000).unwrap(), 2 * SUMMED - 299);
    let end = store.receipt_end().unwrap();
    assert_eq!((end.party, end.last.number, end.rest), (2, 2 * SUMMED, None), "no number is given twice");
    write(&store, 2 * SUMMED + 1, &mut None);
    assert_eq!(found(&store, 1, 2 * SUMMED + 1).0, [2 * SUMMED + 1], "what is written anew is found");
}

#[test]
fn where_receipts_begin_is_noted_once_and_again_after_a_restore() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("s"), &Tuning::default()).unwrap();
    let at = |epoch, counter| Seq::new(epoch, counter).at(0);
    store.begin_receipts(at(1, 7), time(50)).unwrap();
    let begin = store.receipts_begin().unwrap();
    assert_eq!(begin.time, time(50));
    assert!(!begin.knows(at(1, 7)) && begin.knows(at(1, 8)));
    store.begin_receipts(at(1, 90), time(60)).unwrap();
    assert_eq!(store.receipts_begin().unwrap(), begin, "a restart changes nothing");
    // The copy knows nothing of what was handed over after it was made.
    store.begin_receipts(at(2, 0), time(70)).unwrap();
    let begin = store.receipts_begin().unwrap();
    assert_eq!(begin.time, time(70));
    assert!(!begin.knows(at(1, 90)) && begin.knows(at(2, 1)));
}

#[test]
fn of_receipts_that_were_there_before_their_beginning_was_noted_the_first_block_is_not_relied_upon() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("s"), &Tuning::default()).unwrap();
    (3..6).for_each(|n| write(&store, n, &mut None));
    store.begin_receipts(Seq::new(1, 0).at(0), time(90)).unwrap();
    let begin = store.receipts_begin().unwrap();
    assert_eq!((begin.time, begin.born), (time(3), Position::from_raw(3)));
}
