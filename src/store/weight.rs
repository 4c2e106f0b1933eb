//! Decides how much lies in a part of the store, about: so that nobody begins
//! to read what he would not come to the end of.

use std::ops::RangeInclusive;

use rocksdb::{Range, ReadOptions};

use crate::model::position::Position;

use super::db::{Error, Store};
use super::keys::{self, Dimension, Family, KeyKind};

/// Bytes of a table file that a posting takes, packed, if there are many.
const POSTING: u64 = 5;
/// What the engine calls its guess of how many keys a family has.
const KEYS: &str = "rocksdb.estimate-num-keys";

impl Store {
    /// About how many postings of a dimension lie in table files under `terms`.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn postings_about(&self, dimension: Dimension, terms: &RangeInclusive<u64>) -> Result<u64, Error> {
        let from = keys::posting_prefix(dimension, *terms.start());
        let mut to = keys::posting_prefix(dimension, *terms.end()).to_vec();
        to.extend([u8::MAX; size_of::<u64>()]);
        Ok(self.weight(Family::Postings, &from, &to)? / POSTING)
    }

    /// About how many postings of a term lie in table files after one position
    /// and up to another.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn postings_between(
        &self,
        dimension: Dimension,
        term: u64,
        (after, upto): (Position, Position),
    ) -> Result<u64, Error> {
        let (from, to) = (keys::posting(dimension, term, after), keys::posting(dimension, term, upto.next()));
        Ok(self.weight(Family::Postings, &from, &to)? / POSTING)
    }

    /// About how many values there are.
    #[must_use]
    pub fn values_about(&self) -> u64 {
        self.property(Family::Values, KEYS).unwrap_or(0)
    }

    /// About how many of the records of a family lie in table files from one
    /// key to another: as large a part of all that there are as their bytes are
    /// of all bytes.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn records_about(&self, family: Family, from: &[u8], to: &[u8]) -> Result<u64, Error> {
        let all = self.weight(family, &[], &[u8::MAX; 16])?.max(1);
        let records = self.property(family, KEYS).unwrap_or(0);
        let part = u128::from(self.weight(family, from, to)?) * u128::from(records) / u128::from(all);
        Ok(u64::try_from(part).unwrap_or(u64::MAX))
    }

    fn weight(&self, family: Family, from: &[u8], to: &[u8]) -> Result<u64, Error> {
        let sizes = self.db.get_approximate_sizes_cf(self.family(family)?, &[Range::new(from, to)]);
        Ok(sizes.into_iter().sum())
    }

    /// The terms of a dimension in a range that have postings; `None`: there are
    /// more than `most`.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn terms_in(
        &self,
        dimension: Dimension,
        range: &RangeInclusive<u64>,
        most: usize,
    ) -> Result<Option<Vec<u64>>, Error> {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(Family::Postings)?, options);
        let of_dimension = [KeyKind::Posting.byte(), dimension as u8];
        let (mut terms, mut next) = (Vec::new(), Some(*range.start()));
        while let Some(from) = next {
            iterator.seek(keys::posting_prefix(dimension, from));
            let Some(key) = iterator.key().filter(|key| key.starts_with(&of_dimension)) else {
                iterator.status()?;
                break;
            };
            let term = keys::posting_term(key).ok_or_else(|| Error::corrupt("posting key", key))?;
            if !range.contains(&term) {
                break;
            }
            if terms.len() == most {
                return Ok(None);
            }
            terms.push(term);
            next = term.checked_add(1);
        }
        Ok(Some(terms))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::postings::{Posting, Postings};
    use crate::store::{Batch, Tuning};

    fn store_of(terms: &[u64]) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(
            &dir.path().join("store"),
            &Tuning { block_cache_bytes: 1 << 20, ..Tuning::default() },
        )
        .unwrap();
        let (mut postings, mut batch) = (Postings::default(), Batch::new(&store));
        for (position, &term) in (1..).map(Position::from_raw).zip(terms) {
            let posting = Posting { position, handle: position };
            // A neighbour on either side, so that the range must end in time.
            for dimension in [Dimension::Confidence, Dimension::FirstSeen, Dimension::LastSeen] {
                postings.add(dimension, term, posting);
            }
        }
        batch.postings(&postings).unwrap();
        store.commit(batch).unwrap();
        (dir, store)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_terms_of_a_range_are_told_unless_they_are_too_many(
            terms in prop::collection::vec(prop_oneof![0..12_u64, Just(u64::MAX)], 0..20),
            range in (0..13_u64, prop_oneof![0..13_u64, Just(u64::MAX)]),
            most in 0..8_usize,
        ) {
            let (_dir, store) = store_of(&terms);
            let range = range.0..=range.1;
            let mut expected: Vec<_> = terms.into_iter().filter(|term| range.contains(term)).collect();
            expected.sort_unstable();
            expected.dedup();
            let expected = (expected.len() <= most).then_some(expected);
            prop_assert_eq!(store.terms_in(Dimension::FirstSeen, &range, most).unwrap(), expected);
        }
    }

    #[test]
    fn of_what_lies_in_files_it_is_told_how_much_that_is() {
        let terms: Vec<_> = (0..200_000).map(|number| number % 5_000).collect();
        let (_dir, store) = store_of(&terms);
        store.flush().unwrap();
        let about = |range| store.postings_about(Dimension::FirstSeen, &range).unwrap();
        let (all, half, none) = (about(0..=u64::MAX), about(0..=2_499), about(5_000..=u64::MAX));
        assert!((2_000..800_000).contains(&all), "{all}");
        assert!(half * 4 > all && half * 4 < all * 3, "{half} of {all}");
        assert!(none < all / 10, "{none}");
    }
}
