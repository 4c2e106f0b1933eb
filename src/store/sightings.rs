//! Decides how sightings lie with their indicator: each beside the others of
//! its reporter, with all that decides who is told of it and what he is shown,
//! so that one walk answers and the log is left alone.
//!
//! ```text
//! key      kind u8 | indicator u64 | reporter u32 | position u64
//! value    format u8 | class u32 | class of the indicator u32 | version u64 | outcome u8 | body
//! ```

use rocksdb::{DBRawIterator, ReadOptions};

use crate::model::audience::ClassNo;
use crate::model::org::OrgNo;
use crate::model::position::Position;
use crate::model::sighting::Outcome;

use super::calls::count;
use super::chunk::ItemHeader;
use super::db::{Error, Store};
use super::keys::{self, Family, SIGHTING_KEY_BYTES};

const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 18;
const _: () = assert!(HEAD_BYTES == 1 + 4 + 4 + 8 + 1);

/// A sighting, as it lies with its indicator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting<'a> {
    /// Handle of the indicator.
    pub indicator: Position,
    /// Who reported it.
    pub reporter: OrgNo,
    /// Where the log has it.
    pub position: Position,
    /// Its audience class, for good.
    pub class: ClassNo,
    /// Audience class of the indicator as it was recorded.
    pub indicator_class: ClassNo,
    /// Its version: when it was recorded, in microseconds.
    pub version: u64,
    /// What it says.
    pub outcome: Outcome,
    /// Its body as it travels.
    pub body: &'a [u8],
}

impl<'a> Sighting<'a> {
    /// The one that the log has at a position, of this header and in this body.
    #[must_use]
    pub const fn of(header: &ItemHeader, position: Position, outcome: Outcome, body: &'a [u8]) -> Self {
        Self {
            indicator: header.previous,
            reporter: header.owner,
            position,
            class: header.class,
            indicator_class: header.previous_class,
            version: header.version,
            outcome,
            body,
        }
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> [u8; SIGHTING_KEY_BYTES] {
        keys::sighting(self.indicator, self.reporter, self.position)
    }

    /// What lies under its key.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + self.body.len());
        out.push(FORMAT);
        out.extend_from_slice(&self.class.0.to_be_bytes());
        out.extend_from_slice(&self.indicator_class.0.to_be_bytes());
        out.extend_from_slice(&self.version.to_be_bytes());
        out.push(self.outcome.number());
        out.extend_from_slice(self.body);
        out
    }

    /// Reads a key and what lies under it; `None` if the bytes are damaged.
    #[must_use]
    pub fn decode(key: &[u8], value: &'a [u8]) -> Option<Self> {
        let (indicator, reporter, position) = keys::read_sighting(key)?;
        let ([format], rest) = value.split_first_chunk::<1>()?;
        let (class, rest) = rest.split_first_chunk::<4>()?;
        let (indicator_class, rest) = rest.split_first_chunk::<4>()?;
        let (version, rest) = rest.split_first_chunk::<8>()?;
        let (outcome, body) = rest.split_first()?;
        if *format != FORMAT {
            return None;
        }
        Some(Self {
            indicator,
            reporter,
            position,
            class: ClassNo(u32::from_be_bytes(*class)),
            indicator_class: ClassNo(u32::from_be_bytes(*indicator_class)),
            version: u64::from_be_bytes(*version),
            outcome: Outcome::from_number(*outcome)?,
            body,
        })
    }
}

impl Store {
    /// The sightings of an indicator below `end`, as they stand now: reporter
    /// by reporter, the one with the greatest number first, and of each the
    /// newest first.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn sightings(&self, indicator: Position, end: Position) -> Result<Sightings<'_>, Error> {
        count(&self.counters.sightings, 1);
        let mut options = ReadOptions::default();
        // All that is looked for begins with the indicator, so that the filters
        // answer for most that have none; going back, too, is kept within it.
        options.set_prefix_same_as_start(true);
        let iterator = self.db.raw_iterator_cf_opt(self.family(Family::Sightings)?, options);
        let last = end.raw().checked_sub(1);
        Ok(Sightings { iterator, indicator, last, sought: Some(OrgNo(u32::MAX)) })
    }

    /// Goes over to another indicator, as [`Self::sightings`] begins, of what
    /// stood when `walk` began: to open one costs as much as to look.
    pub fn sightings_again(&self, walk: &mut Sightings<'_>, indicator: Position, end: Position) {
        count(&self.counters.sightings, 1);
        (walk.indicator, walk.last) = (indicator, end.raw().checked_sub(1));
        walk.seek(OrgNo(u32::MAX));
    }
}

/// The sightings of one indicator, on the way back.
pub struct Sightings<'a> {
    iterator: DBRawIterator<'a>,
    indicator: Position,
    /// The last position that is looked at; `None`: none is, or no more.
    last: Option<u64>,
    /// Whose newest is gone to before the next look.
    sought: Option<OrgNo>,
}

impl std::fmt::Debug for Sightings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sightings")
    }
}

impl Sightings<'_> {
    /// The sighting at hand; `None` at the end. It stays at hand until one goes
    /// on.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn peek(&mut self) -> Result<Option<Sighting<'_>>, Error> {
        let Some(last) = self.last else { return Ok(None) };
        // A reporter's newest may all be past the end: one look finds the
        // others, and where there is none what comes before.
        loop {
            let Some((_, reporter, position)) = self.key()? else { return Ok(None) };
            if position.raw() <= last {
                break;
            }
            self.seek(reporter);
        }
        let Some((key, value)) = self.iterator.item() else { return Ok(None) };
        Sighting::decode(key, value).map(Some).ok_or_else(|| Error::corrupt("sighting", key))
    }

    fn key(&mut self) -> Result<Option<(Position, OrgNo, Position)>, Error> {
        self.reach();
        let Some(key) = self.iterator.key() else {
            self.iterator.status()?;
            return Ok(None);
        };
        let found = keys::read_sighting(key).ok_or_else(|| Error::corrupt("sighting key", key))?;
        Ok((found.0 == self.indicator).then_some(found))
    }

    /// Goes on to the next one.
    pub fn advance(&mut self) {
        self.reach();
        if self.iterator.valid() {
            self.iterator.prev();
        }
    }

    /// Goes to the newest one by this reporter, or if there is none to what
    /// follows on the way.
    pub const fn seek(&mut self, reporter: OrgNo) {
        self.sought = Some(reporter);
    }

    fn reach(&mut self) {
        if let (Some(reporter), Some(last)) = (self.sought.take(), self.last) {
            self.iterator.seek_for_prev(keys::sighting(self.indicator, reporter, Position::from_raw(last)));
        }
    }

    /// Goes on past all that this reporter has.
    pub const fn pass(&mut self, reporter: OrgNo) {
        match reporter.0.checked_sub(1) {
            Some(next) => self.seek(OrgNo(next)),
            None => self.last = None,
        }
    }
}

#[cfg(test)]
mod tests;
