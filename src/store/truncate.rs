//! Decides how the log is truncated below a base: in place, chunk by chunk, so
//! that a position names what it always did, or nothing. Each step is one
//! batch with the mark of how far that has got, and the digest of what is left
//! up to there goes with it.

use std::collections::BTreeMap;

use rocksdb::{CompactOptions, WriteBatch};

use crate::base::clock::Timestamp;
use crate::base::digest::Multiset;
use crate::model::position::Position;

use super::batch::Batch;
use super::chunk::{Chunk, Cut, Rest};
use super::db::{Error, FORMAT, Store, TRUNCATED_VERSION};
use super::keys::{self, Family};

/// Meta record of [`Store::base`].
const BASE: &str = "base";
/// Meta record of [`Store::truncated`].
const MARK: &str = "truncated";
/// Meta record of [`Store::planned_base`].
const PLAN: &str = "planned-base";
/// Meta record of [`Store::drop_cursors`].
const CURSORS: &str = "drop-cursors";
/// Meta record of [`Store::compacted`].
const COMPACTED: &str = "compacted";
/// Meta record of [`Store::base_state`].
const STATE: &str = "base-state";
/// Meta record of [`Store::owed_drops`].
const OWED: &str = "owed-drops";
const MARK_BYTES: usize = 8 + 32 + 8 + 8;

/// From where on all of the log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Base {
    /// The last position below which only what is kept is left.
    pub position: Position,
    /// The earliest moment of which can be asked how things stood.
    pub horizon: Timestamp,
    /// When that was planned: what is dropped is judged as of then.
    pub planned: Timestamp,
}

impl Base {
    fn encode(&self) -> Vec<u8> {
        let Self { position, horizon, planned } = self;
        [position.raw(), horizon.as_micros(), planned.as_micros()].map(u64::to_be_bytes).concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let ([position, horizon, planned], []) = bytes.as_chunks::<8>() else { return None };
        let time = |micros: &[u8; 8]| Timestamp::from_micros_clamped(u64::from_be_bytes(*micros));
        let position = Position::from_raw(u64::from_be_bytes(*position));
        Some(Self { position, horizon: time(horizon), planned: time(planned) })
    }
}

/// How far the log is truncated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Truncated {
    /// Up to here only what is kept is left.
    pub upto: Position,
    /// Digest of the chunks up to there.
    pub digest: Multiset,
    /// Records that were dropped.
    pub dropped: u64,
    /// Bytes of the log that were cut out.
    pub freed: u64,
}

impl Truncated {
    fn encode(&self) -> Vec<u8> {
        [
            self.upto.raw().to_be_bytes().as_slice(),
            &self.digest.to_bytes(),
            &self.dropped.to_be_bytes(),
            &self.freed.to_be_bytes(),
        ]
        .concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; MARK_BYTES] = bytes.try_into().ok()?;
        let (upto, rest) = bytes.split_first_chunk::<8>()?;
        let (digest, rest) = rest.split_first_chunk::<32>()?;
        let (dropped, freed) = rest.split_first_chunk::<8>()?;
        Some(Self {
            upto: Position::from_raw(u64::from_be_bytes(*upto)),
            digest: Multiset::from_bytes(digest),
            dropped: u64::from_be_bytes(*dropped),
            freed: u64::from_be_bytes(freed.try_into().ok()?),
        })
    }

    /// Takes in a chunk that follows.
    pub fn pass(&mut self, first: Position, bytes: &[u8], last: Position) {
        self.digest.add(&keys::log(first), bytes);
        self.upto = last;
    }
}

/// Chunks that items are cut out of.
#[derive(Debug, Default)]
pub struct Cuts {
    chunks: BTreeMap<Position, (Chunk, Cut)>,
}

impl Cuts {
    /// Whether nothing is cut out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Notes what that changes of what is left up to a mark.
    pub fn note(&self, mark: &mut Truncated) {
        for (first, (before, cut)) in &self.chunks {
            let key = keys::log(*first);
            mark.digest.remove(&key, &before.bytes);
            let left = match cut {
                Cut::Rest(rest) => {
                    mark.digest.add(&key, &rest.bytes);
                    rest.bytes.len()
                }
                Cut::Whole | Cut::Nothing => 0,
            };
            mark.freed += (before.bytes.len() - left.min(before.bytes.len())) as u64;
        }
    }

    fn write_to(&self, store: &Store, batch: &mut WriteBatch) -> Result<(), Error> {
        let family = store.family(Family::Log)?;
        for (first, (_, cut)) in &self.chunks {
            match cut {
                Cut::Whole => {}
                Cut::Rest(rest) => batch.put_cf(family, keys::log(*first), &rest.bytes),
                Cut::Nothing => batch.delete_cf(family, keys::log(*first)),
            }
        }
        let changed = self.chunks.values().filter_map(|(before, cut)| match cut {
            Cut::Whole => None,
            Cut::Rest(rest) => Some((before, Some(rest))),
            Cut::Nothing => Some((before, None)),
        });
        store.freed_usage(changed)?.write_to(store, batch)
    }
}

impl Batch<'_> {
    /// From where on all of the log is kept; releases that do not know of
    /// bases open the store no longer.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn base(&mut self, base: &Base) -> Result<(), Error> {
        self.meta(FORMAT, &TRUNCATED_VERSION.to_be_bytes())?;
        self.meta(BASE, &base.encode())
    }

    /// What is planned to be the base; `None`: nothing.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn planned_base(&mut self, base: Option<&Base>) -> Result<(), Error> {
        self.meta(PLAN, &base.map(Base::encode).unwrap_or_default())
    }

    /// How far the log was gone through for records that are kept no longer.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn drop_cursors(&mut self, cursors: &[u8]) -> Result<(), Error> {
        self.meta(CURSORS, cursors)
    }

    /// The bytes whose room was given back, and from where it is to go on.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn compacted(&mut self, freed: u64, next: Position) -> Result<(), Error> {
        self.meta(COMPACTED, &[freed, next.raw()].map(u64::to_be_bytes).concat())
    }

    /// Cuts items out, and moves the mark.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn cut(&mut self, store: &Store, cuts: &Cuts, mark: &Truncated) -> Result<(), Error> {
        cuts.write_to(store, self.inner_mut())?;
        self.meta(MARK, &mark.encode())
    }

    /// What is left up to a position.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn base_state(&mut self, position: Position, digest: &Multiset) -> Result<(), Error> {
        self.meta(STATE, &[position.raw().to_be_bytes().as_slice(), &digest.to_bytes()].concat())
    }

    /// Entries of which what was told of their records is still to be cut out.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn owed_drops(&mut self, entries: &[Position]) -> Result<(), Error> {
        let record: Vec<u8> = entries.iter().flat_map(|entry| entry.raw().to_be_bytes()).collect();
        self.meta(OWED, &record)
    }
}

impl Store {
    /// From where on all of the log is kept.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn base(&self) -> Result<Base, Error> {
        let Some(bytes) = self.meta(BASE)? else { return Ok(Base::default()) };
        Base::decode(&bytes).ok_or_else(|| Error::corrupt("meta", BASE))
    }

    /// What is planned to be the base; `None`: nothing.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn planned_base(&self) -> Result<Option<Base>, Error> {
        let Some(bytes) = self.meta(PLAN)?.filter(|bytes| !bytes.is_empty()) else { return Ok(None) };
        Base::decode(&bytes).map(Some).ok_or_else(|| Error::corrupt("meta", PLAN))
    }

    /// How far the log was gone through for records that are kept no longer.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn drop_cursors(&self) -> Result<Option<Vec<u8>>, Error> {
        self.meta(CURSORS)
    }

    /// The bytes whose room was given back, and from where it is to go on.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn compacted(&self) -> Result<(u64, Position), Error> {
        let Some(bytes) = self.meta(COMPACTED)? else { return Ok((0, Position::ZERO)) };
        match bytes.as_chunks::<8>() {
            ([freed, next], []) => {
                Ok((u64::from_be_bytes(*freed), Position::from_raw(u64::from_be_bytes(*next))))
            }
            _ => Err(Error::corrupt("meta", COMPACTED)),
        }
    }

    /// Why there may be no item at a position: it was cut out.
    ///
    /// # Errors
    /// [`Error::Corrupt`] past the base, where nothing is; or whatever the
    /// engine answers.
    pub fn gone(&self, at: Position) -> Result<(), Error> {
        if at <= self.base()?.position { Ok(()) } else { Err(Error::corrupt("item", at)) }
    }

    /// Whether the record that was born at `handle` is there no more.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn is_dropped(&self, handle: Position) -> Result<bool, Error> {
        if self.latest(&[handle])?.pop().flatten().is_some() {
            return Ok(false);
        }
        let Some(chunk) = self.chunk_at(handle)? else { return Ok(true) };
        let view = chunk.view().ok_or_else(|| Error::corrupt("chunk", handle))?;
        Ok(view.item(handle).is_none())
    }

    /// How far the log is truncated.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn truncated(&self) -> Result<Truncated, Error> {
        let Some(bytes) = self.meta(MARK)? else { return Ok(Truncated::default()) };
        Truncated::decode(&bytes).ok_or_else(|| Error::corrupt("meta", MARK))
    }

    /// What the log last said is left, and up to where; `None`: nothing yet.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn base_state(&self) -> Result<Option<(Position, Multiset)>, Error> {
        let Some(bytes) = self.meta(STATE)? else { return Ok(None) };
        let parts = bytes.split_first_chunk::<8>();
        let state = parts.and_then(|(position, digest)| {
            let position = Position::from_raw(u64::from_be_bytes(*position));
            Some((position, Multiset::from_bytes(digest.try_into().ok()?)))
        });
        state.map(Some).ok_or_else(|| Error::corrupt("meta", STATE))
    }

    /// Entries of which what was told of their records is still to be cut out.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn owed_drops(&self) -> Result<Vec<Position>, Error> {
        let bytes = self.meta(OWED)?.unwrap_or_default();
        let (entries, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(Error::corrupt("meta", OWED));
        }
        Ok(entries.iter().map(|raw| Position::from_raw(u64::from_be_bytes(*raw))).collect())
    }

    /// What is left of the chunks that hold items once these are cut out.
    /// Those that are gone already are passed over.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn cuts(&self, gone: &BTreeMap<Position, Rest>) -> Result<Cuts, Error> {
        let mut cuts = Cuts::default();
        let mut done = None;
        for &at in gone.keys() {
            if done.is_some_and(|done| at <= done) {
                continue;
            }
            let Some(chunk) = self.chunk_at(at)? else { continue };
            let damaged = || Error::corrupt("chunk", chunk.first);
            done = Some(chunk.view().ok_or_else(damaged)?.last_position());
            match chunk.without(gone).ok_or_else(damaged)? {
                Cut::Whole => {}
                cut => {
                    cuts.chunks.insert(chunk.first, (chunk, cut));
                }
            }
        }
        Ok(cuts)
    }

    /// Cuts items out and moves the mark, in one batch. It is not waited for
    /// the disk: what is lost with the power is cut out again.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn truncate(&self, cuts: &Cuts, mark: &Truncated) -> Result<(), Error> {
        let mut batch = Batch::new(self);
        batch.cut(self, cuts, mark)?;
        self.write_behind(batch)
    }

    /// Writes what is done again if it is lost.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn write_behind(&self, batch: Batch<'_>) -> Result<(), Error> {
        self.write_again(batch.into_inner())
    }

    /// Gives back the room of what was cut out of the log after `after`, as far
    /// as one table file of it reaches, which is a second's work; from where to
    /// go on, `None`: nothing is left up to `upto`. Blocking.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn compact_log(&self, after: Position, upto: Position) -> Result<Option<Position>, Error> {
        let family = self.family(Family::Log)?;
        let (from, to) = (keys::log(after.next()), keys::log(upto));
        if after == Position::ZERO {
            // What is in memory yet is part of no file.
            self.db.flush_cf(family)?;
        }
        let files =
            self.db.live_files()?.into_iter().filter(|file| file.column_family_name == Family::Log.name());
        let ends = files.filter_map(|file| file.end_key).filter(|end| end.as_slice() > from.as_slice());
        // The nearest end of any file bounds what is rewritten at once.
        let end = ends.min().filter(|end| end.as_slice() < to.as_slice());
        let mut options = CompactOptions::default();
        // Others go on being compacted meanwhile.
        options.set_exclusive_manual_compaction(false);
        let until = end.as_deref().unwrap_or(to.as_slice());
        self.db.compact_range_cf_opt(family, Some(from.as_slice()), Some(until), &options);
        Ok(end.and_then(|end| keys::number_of(&end)).map(Position::from_raw))
    }
}
