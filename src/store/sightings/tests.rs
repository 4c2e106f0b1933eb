//! What walks over sightings promise: all of one indicator, none of another,
//! wherever they lie.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::store::{Batch, Tuning};

const BODY: &[u8] = b"body";

fn at(raw: u64) -> Position {
    Position::from_raw(raw)
}

/// Indicator, reporter, position.
type Place = (u64, u32, u64);

fn sighting((indicator, reporter, position): Place) -> Sighting<'static> {
    Sighting {
        indicator: at(indicator),
        reporter: OrgNo(reporter),
        position: at(position),
        class: ClassNo(reporter + 1),
        indicator_class: ClassNo(7),
        version: position * 10,
        outcome: Outcome::ALL[usize::try_from(position).unwrap() % Outcome::ALL.len()],
        body: BODY,
    }
}

fn open(path: &std::path::Path) -> Store {
    let tuning = Tuning { block_cache_bytes: 1 << 20, ..Tuning::default() };
    Store::open_engine(path, &tuning, true).unwrap()
}

/// A store of these, some in tables of their own and the rest in memory.
fn store_of(path: &std::path::Path, places: &[Place], tables: usize) -> Store {
    let store = open(path);
    for (number, some) in places.chunks(places.len().div_ceil(tables + 1).max(1)).enumerate() {
        let mut batch = Batch::new(&store);
        let some = some.iter().map(|place| sighting(*place));
        batch.sightings(&some.map(|sighting| (sighting.key(), sighting.encode())).collect()).unwrap();
        store.commit(batch).unwrap();
        if number < tables {
            store.flush().unwrap();
        }
    }
    store
}

/// All that is left of a walk.
fn rest(mut walk: Sightings<'_>) -> Vec<Place> {
    let mut out = Vec::new();
    while let Some(found) = walk.peek().unwrap() {
        let place = (found.indicator.raw(), found.reporter.0, found.position.raw());
        assert_eq!(found, sighting(place));
        out.push(place);
        walk.advance();
    }
    out
}

fn places() -> impl Strategy<Value = BTreeSet<Place>> {
    let reporter = prop_oneof![0..4_u32, Just(u32::MAX - 1)];
    prop::collection::btree_set((1..5_u64, reporter, 1..40_u64), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_walk_gives_all_of_one_indicator_below_its_end_and_skips_as_it_is_told(
        places in places(), tables in 0..3_usize, end in prop_oneof![0..45_u64, Just(u64::MAX)], pick in 0..4_u32
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mixed: Vec<_> = places.iter().copied().collect::<std::collections::HashSet<_>>().into_iter().collect();
        let store = store_of(dir.path(), &mixed, tables);
        for indicator in 0..6 {
            let mut all: Vec<_> =
                places.iter().copied().filter(|place| place.0 == indicator && place.2 < end).collect();
            all.sort_unstable_by_key(|place| Reverse(*place));
            let walk = || store.sightings(at(indicator), at(end)).unwrap();
            prop_assert_eq!(&rest(walk()), &all);
            let mut walked = walk();
            walked.seek(OrgNo(pick));
            let expected: Vec<_> = all.iter().copied().filter(|place| place.1 <= pick).collect();
            prop_assert_eq!(&rest(walked), &expected);
            let mut walked = walk();
            walked.pass(OrgNo(pick));
            let expected: Vec<_> = all.iter().copied().filter(|place| place.1 < pick).collect();
            prop_assert_eq!(&rest(walked), &expected);
            // The newest of each reporter, one look for each.
            let (mut walked, mut newest) = (walk(), Vec::new());
            while let Some(found) = walked.peek().unwrap() {
                newest.push((found.indicator.raw(), found.reporter.0, found.position.raw()));
                let reporter = found.reporter;
                walked.pass(reporter);
            }
            let mut expected = all.clone();
            expected.dedup_by_key(|place| place.1);
            prop_assert_eq!(newest, expected);
        }
    }

    #[test]
    fn a_sighting_is_read_as_it_was_written_and_what_is_damaged_is_refused(
        place in any::<(u64, u32, u64)>(), classes: (u32, u32), version: u64,
        outcome in prop::sample::select(Outcome::ALL), body: Vec<u8>, cut in 0..HEAD_BYTES, format in 2..=u8::MAX
    ) {
        let sighting = Sighting {
            indicator: at(place.0),
            reporter: OrgNo(place.1),
            position: at(place.2),
            class: ClassNo(classes.0),
            indicator_class: ClassNo(classes.1),
            version,
            outcome,
            body: &body,
        };
        let (key, mut value) = (sighting.key(), sighting.encode());
        prop_assert_eq!(Sighting::decode(&key, &value), Some(sighting));
        prop_assert_eq!(Sighting::decode(&key, &value[..cut]), None);
        prop_assert_eq!(Sighting::decode(&key[1..], &value), None);
        value[0] = format;
        prop_assert_eq!(Sighting::decode(&key, &value), None);
        value[0] = FORMAT;
        value[HEAD_BYTES - 1] = 99;
        prop_assert_eq!(Sighting::decode(&key, &value), None);
    }
}

#[test]
fn a_walk_knows_nothing_of_what_was_reported_since_it_began() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_of(dir.path(), &[(1, 1, 5)], 1);
    let walk = store.sightings(at(1), at(u64::MAX)).unwrap();
    let mut batch = Batch::new(&store);
    let later = sighting((1, 0, 6));
    batch.sightings(&[(later.key(), later.encode())].into()).unwrap();
    store.commit(batch).unwrap();
    assert_eq!(rest(walk), [(1, 1, 5)]);
    assert_eq!(rest(store.sightings(at(1), at(u64::MAX)).unwrap()), [(1, 1, 5), (1, 0, 6)]);
}

#[test]
fn one_look_at_the_store_answers_whoever_reported() {
    let dir = tempfile::tempdir().unwrap();
    let places: Vec<_> = (0..500).map(|n| (1, n % 50, u64::from(n) + 1)).collect();
    let store = store_of(dir.path(), &places, 1);
    let before = store.calls();
    assert_eq!(rest(store.sightings(at(1), at(u64::MAX)).unwrap()).len(), 500);
    let calls = store.calls().since(&before);
    assert_eq!((calls.sightings, calls), (1, crate::store::Calls { sightings: 1, ..Default::default() }));
}

#[test]
fn damage_is_told_where_it_is_met() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_of(dir.path(), &[(1, 3, 5), (1, 1, 5)], 0);
    let mut batch = rocksdb::WriteBatch::default();
    batch.put_cf(store.family(Family::Sightings).unwrap(), keys::sighting(at(1), OrgNo(2), at(5)), b"\x01");
    store.write_again(batch).unwrap();
    let mut walk = store.sightings(at(1), at(u64::MAX)).unwrap();
    assert_eq!(walk.peek().unwrap().unwrap().reporter, OrgNo(3));
    walk.advance();
    assert!(matches!(walk.peek(), Err(Error::Corrupt { .. })));
}
