//! Decides how much lies in a part of the store, about: so that nobody begins
//! to read what he would not come to the end of.

use std::ops::RangeInclusive;

use rocksdb::{Range, ReadOptions};

use super::db::{Error, Store};
use super::keys::{self, Dimension, Family, KeyKind};

/// Bytes of a table file that a posting takes, packed, if there are many.
const POSTING: u64 = 5;

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

    /// About how many of the records of a family lie in table files from one
    /// key to another: as large a part of all that there are as their bytes are
    /// of all bytes.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn records_about(&self, family: Family, from: &[u8], to: &[u8]) -> Result<u64, Error> {
        let all = self.weight(family, &[], &[u8::MAX; 16])?.max(1);
        let records = self.property(family, "rocksdb.estimate-num-keys").unwrap_or(0);
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
