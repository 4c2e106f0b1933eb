//! Decides how it is found out, when a store is opened, which records have
//! another audience class than at their birth: by a look at each record that
//! was ever changed, from two sides at once.

use std::collections::BTreeMap;
use std::thread;

use rocksdb::ReadOptions;

use crate::model::audience::ClassNo;
use crate::model::position::Position;

use super::db::{Error, Store};
use super::keys::{self, Family, KeyKind};
use super::record;

/// Bytes that are read ahead.
const AHEAD: usize = 2 << 20;

impl Store {
    /// Records whose audience class changed since birth, and their class now.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn reclassed(&self) -> Result<BTreeMap<Position, ClassNo>, Error> {
        let last = self.last_position()?.unwrap_or_default();
        let middle = Position::from_raw(last.raw() / 2);
        thread::scope(|scope| {
            let late = scope.spawn(|| self.reclassed_among(middle, None));
            let mut all = self.reclassed_among(Position::ZERO, Some(middle))?;
            let late = late.join().map_err(|_| Error::corrupt("latest", "a thread that reads them ended"))?;
            all.extend(late?);
            Ok(all.into_iter().collect())
        })
    }

    /// Of those that were born at `from` or after, and before `end`.
    fn reclassed_among(
        &self,
        from: Position,
        end: Option<Position>,
    ) -> Result<Vec<(Position, ClassNo)>, Error> {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        options.fill_cache(false);
        options.set_readahead_size(AHEAD);
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(Family::Latest)?, options);
        let mut found = Vec::new();
        iterator.seek(keys::latest(from));
        while let Some((key, value)) =
            iterator.item().filter(|(key, _)| key.starts_with(&[KeyKind::Latest.byte()]))
        {
            let damaged = || Error::corrupt("latest", key);
            let handle = Position::from_raw(keys::number_of(key).ok_or_else(damaged)?);
            if end.is_some_and(|end| handle >= end) {
                return Ok(found);
            }
            let latest = record::decode_latest(value).ok_or_else(damaged)?;
            if latest.reclassed {
                found.push((handle, latest.class));
            }
            iterator.next();
        }
        iterator.status()?;
        Ok(found)
    }
}
