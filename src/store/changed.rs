//! Decides how records that changed since birth are found beside records in
//! order: where neighbours are untouched, one look answers for all of them.

use rocksdb::{DBRawIterator, ReadOptions};

use crate::model::position::Position;

use super::db::{Error, Store};
use super::keys::{self, Family};
use super::record::{self, Latest};

/// Neighbours that are passed over before the engine is asked to seek.
const NEAR: usize = 4;

/// Records that changed since birth, by handle.
pub struct Changed<'a> {
    iterator: DBRawIterator<'a>,
    /// Nothing lies between this handle and where the iterator stands.
    from: Option<Position>,
}

impl std::fmt::Debug for Changed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Changed")
    }
}

impl Store {
    /// Records that changed since birth, by handle.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn changed(&self) -> Result<Changed<'_>, Error> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let iterator = self.db.raw_iterator_cf_opt(self.family(Family::Latest)?, options);
        Ok(Changed { iterator, from: None })
    }
}

impl Changed<'_> {
    /// The first record at or after `handle` that changed since birth. Asking
    /// in order of handle is cheap.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn first_from(&mut self, handle: Position) -> Result<Option<(Position, Latest)>, Error> {
        let mut at = self.at()?;
        if self.from.is_some_and(|from| from <= handle) {
            for _ in 0..NEAR {
                if at.is_none_or(|at| at >= handle) {
                    break;
                }
                self.iterator.next();
                at = self.at()?;
            }
        }
        let stands = self.from.is_some_and(|from| from <= handle) && at.is_none_or(|at| at >= handle);
        if !stands {
            self.iterator.seek(keys::latest(handle));
            at = self.at()?;
        }
        self.from = Some(handle);
        let (Some(at), Some(value)) = (at, self.iterator.value()) else { return Ok(None) };
        let latest = record::decode_latest(value).ok_or_else(|| Error::corrupt("latest", at))?;
        Ok(Some((at, latest)))
    }

    /// The handle at which the iterator stands; `None` past the last.
    fn at(&self) -> Result<Option<Position>, Error> {
        let Some(key) = self.iterator.key() else {
            self.iterator.status()?;
            return Ok(None);
        };
        let handle = keys::number_of(key).ok_or_else(|| Error::corrupt("latest key", key))?;
        Ok(Some(Position::from_raw(handle)))
    }
}
