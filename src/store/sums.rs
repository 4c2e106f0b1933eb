//! Decides how counters are added up as of one moment, term by term, over the
//! classes that count for whoever asks; and which position the log was indexed
//! up to then, so that what is indexed later can be added to the sums.

use std::ops::RangeInclusive;

use rocksdb::{ReadOptions, Snapshot};

use crate::model::audience::ClassNo;
use crate::model::position::Position;

use super::calls::count;
use super::counters::{self, Granularity};
use super::db::{Error, Store};
use super::index::MARK;
use super::keys::{self, Dimension, Family};

/// The counters as they stand at one moment. To be dropped soon: it pins what
/// is replaced.
pub struct Still<'a> {
    store: &'a Store,
    snapshot: Snapshot<'a>,
}

impl std::fmt::Debug for Still<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Still")
    }
}

impl Store {
    /// The counters as they stand now. Their classes are known to whoever looks
    /// these up after this.
    #[must_use]
    pub fn still(&self) -> Still<'_> {
        count(&self.counters.walks, 1);
        Still { store: self, snapshot: self.db.snapshot() }
    }
}

impl Still<'_> {
    /// Up to where what is counted was indexed.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn upto(&self) -> Result<Position, Error> {
        let bytes = self.snapshot.get_cf(self.store.family(Family::Meta)?, keys::meta(MARK))?;
        let Some(bytes) = bytes else { return Ok(Position::ZERO) };
        let mark = bytes.try_into().map_err(|_| Error::corrupt("meta", MARK))?;
        Ok(Position::from_raw(u64::from_be_bytes(mark)))
    }

    /// The counter of a key, see [`counters::sum_of`]; empty: there is none.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn counter(&self, key: &counters::Key) -> Result<Vec<u8>, Error> {
        count(&self.store.counters.small, 1);
        Ok(self.snapshot.get_cf(self.store.family(Family::Counters)?, key)?.unwrap_or_default())
    }

    /// Shows, for each bucket and each term that is `wanted`, how many records
    /// hold of the classes that are `seen`, where some do, and `None` for any
    /// other term; until `see` has enough. Whether that was all.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn sum_up(
        &self,
        granularity: Granularity,
        dimension: Dimension,
        buckets: &RangeInclusive<u32>,
        wanted: impl Fn(u64) -> bool,
        seen: impl Fn(ClassNo) -> bool,
        mut see: impl FnMut(u32, u64, Option<u64>) -> bool,
    ) -> Result<bool, Error> {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        let mut iterator = self.snapshot.raw_iterator_cf_opt(self.store.family(Family::Counters)?, options);
        let prefix = counters::prefix(granularity, dimension);
        iterator.seek(counters::key(granularity, dimension, *buckets.start(), 0));
        while let Some((key, value)) = iterator.item() {
            let Some(rest) = key.strip_prefix(&prefix) else { return Ok(true) };
            let damaged = || Error::corrupt("counter", key);
            let (bucket, term) = counters::place(rest).ok_or_else(damaged)?;
            if bucket > *buckets.end() {
                return Ok(true);
            }
            let sum = match wanted(term) {
                true => Some(counters::sum_of(value, &seen).ok_or_else(damaged)?),
                false => None,
            };
            if !see(bucket, term, sum) {
                return Ok(false);
            }
            iterator.next();
        }
        iterator.status()?;
        Ok(true)
    }
}
