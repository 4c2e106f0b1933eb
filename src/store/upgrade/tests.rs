//! A store as the format before left it, and what becomes of it when it is
//! brought to this one and that is cut off: for the hub's tests, which can tell
//! what it answers.

use std::path::Path;

use super::*;
use crate::base::digest;
use crate::model::org::OrgNo;
use crate::store::Tuning;
use crate::store::keys::Dimension;
use crate::store::postings::{self, Posting};

/// Postings that the format before had of one dimension.
type Old = std::collections::BTreeMap<(u64, Position), Posting>;

/// The bytes of a posting key in a dimension that is no more.
fn retired(dimension: u8, term: u64, at: Position) -> Vec<u8> {
    [&[KeyKind::Posting.byte(), dimension][..], &term.to_be_bytes(), &at.raw().to_be_bytes()].concat()
}

/// The term of one reporter's sightings of an indicator.
fn term(indicator: Position, reporter: OrgNo) -> u64 {
    let both = [indicator.raw().to_be_bytes().as_slice(), &reporter.0.to_be_bytes()].concat();
    u64::from_be_bytes(*digest::sha256(&both).first_chunk().unwrap())
}

/// Takes from the store in `path` all that the format before did not have, and
/// writes what it had. Returns how many blocks of postings that are.
pub(crate) fn make_format_before(path: &Path) -> usize {
    let mut store = Store::open(path, &Tuning::default()).unwrap();
    let (mut first, mut each_one) = (Old::new(), Old::new());
    let mut batch = WriteBatch::default();
    let mut records = store.records(Family::Sightings, &[KeyKind::Sighting.byte()]).unwrap();
    while let Some((key, value)) = records.next_record().unwrap() {
        let Sighting { indicator, reporter, position, class, .. } = Sighting::decode(&key, &value).unwrap();
        let of = first.range((indicator.raw(), Position::ZERO)..=(indicator.raw(), position));
        if !of.into_iter().any(|(_, first)| first.number() == Some(reporter.0)) {
            first.insert((indicator.raw(), position), Posting::numbered(position, reporter.0));
        }
        each_one.insert((term(indicator, reporter), position), Posting::numbered(position, class.0));
    }
    drop(records);
    let family = store.family(Family::Postings).unwrap();
    for (dimension, all) in keys::RETIRED_DIMENSIONS.into_iter().zip([&first, &each_one]) {
        for ((term, at), posting) in all {
            batch.put_cf(family, retired(dimension, *term, *at), postings::encode(&[*posting]));
        }
    }
    for (of, kind) in [
        (Family::Postings, KeyKind::Posting),
        (Family::Counters, KeyKind::Counter),
        (Family::Counters, KeyKind::TermName),
    ] {
        let mut records = store.records(of, &[kind.byte()]).unwrap();
        while let Some((key, _)) = records.next_record().unwrap() {
            if kind != KeyKind::Posting || keys::posting_dimension(&key).is_some_and(Dimension::is_behind) {
                batch.delete_cf(store.family(of).unwrap(), key);
            }
        }
    }
    let meta = store.family(Family::Meta).unwrap();
    batch.delete_cf(meta, keys::meta("indexed"));
    batch.delete_cf(meta, keys::meta("counted-by-kinds"));
    batch.put_cf(meta, keys::meta(FORMAT), FORMAT_BEFORE.to_be_bytes());
    store.write_again(batch).unwrap();
    store.db.drop_cf(Family::Sightings.name()).unwrap();
    first.len() + each_one.len()
}

/// Begins to bring the store in `path` to this format, and is cut off after so
/// many steps; whether it was.
pub(crate) fn cut_off(path: &Path, steps: usize, outcome: impl Fn(&[u8]) -> Option<Outcome>) -> bool {
    let mut store = Store::open(path, &Tuning::default()).unwrap();
    let mut left = steps;
    let done = store.upgrade_by_steps(outcome, || {
        left = left.checked_sub(1).ok_or_else(|| Error::corrupt("test", "cut off"))?;
        Ok(())
    });
    assert_eq!(store.is_of_format_before().unwrap(), done.is_err(), "the format comes last");
    done.is_err()
}

/// How many sightings lie with their indicators in the store in `path`, and how
/// many blocks of postings of dimensions that are no more.
pub(crate) fn held(path: &Path) -> (usize, usize) {
    let store = Store::open(path, &Tuning::default()).unwrap();
    let count = |family, prefix: &[u8]| {
        let mut records = store.records(family, prefix).unwrap();
        std::iter::from_fn(|| records.next_record().unwrap()).count()
    };
    let retired = keys::RETIRED_DIMENSIONS
        .map(|dimension| count(Family::Postings, &[KeyKind::Posting.byte(), dimension]));
    let there = store.db.cf_handle(Family::Sightings.name()).is_some();
    let sightings = if there { count(Family::Sightings, &[KeyKind::Sighting.byte()]) } else { 0 };
    (sightings, retired.iter().sum())
}

/// Puts a sighting that the log does not know beside the last of the store in
/// `path`, or takes that away; and back.
pub(crate) fn tamper(path: &Path, surplus: bool, meanwhile: impl FnOnce()) {
    let open = || Store::open(path, &Tuning::default()).unwrap();
    let change = |change: &dyn Fn(&Store, &mut WriteBatch)| {
        let (store, mut batch) = (open(), WriteBatch::default());
        change(&store, &mut batch);
        store.write_again(batch).unwrap();
    };
    let (key, value) = {
        let store = open();
        let mut records = store.records(Family::Sightings, &[KeyKind::Sighting.byte()]).unwrap();
        std::iter::from_fn(|| records.next_record().unwrap()).last().unwrap()
    };
    let other = Sighting::decode(&key, &value).unwrap();
    let other = Sighting { reporter: OrgNo(other.reporter.0 + 1), ..other };
    change(&|store, batch| {
        let family = store.family(Family::Sightings).unwrap();
        if surplus {
            batch.put_cf(family, other.key(), other.encode());
        } else {
            batch.delete_cf(family, &key);
        }
    });
    meanwhile();
    change(&|store, batch| {
        let family = store.family(Family::Sightings).unwrap();
        if surplus {
            batch.delete_cf(family, other.key());
        } else {
            batch.put_cf(family, &key, &value);
        }
    });
}
