//! Decides how the log is read: forward, backward, at a position, from a time;
//! and small records by prefix.

use bytes::Bytes;
use rocksdb::{DBPinnableSlice, DBRawIterator, ReadOptions};

use crate::model::org::OrgNo;
use crate::model::position::Position;

use super::calls::count;
use super::chunk::{Chunk, MAX_CHUNK_ITEMS, View};
use super::db::{Error, Store};
use super::keys::{self, Family, KeyKind};
use super::subscription::SubscriptionKey;

impl Store {
    /// Position of the last item of the log; `None` for an empty log.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn last_position(&self) -> Result<Option<Position>, Error> {
        let mut back = self.scan_back(Position::from_raw(u64::MAX))?;
        match back.next_chunk()? {
            Some(chunk) => {
                let view = chunk.view().ok_or_else(|| Error::corrupt("chunk", chunk.first))?;
                Ok(Some(view.last_position()))
            }
            None => Ok(None),
        }
    }

    /// The chunk that holds `position`; `None` if there is none.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn chunk_at(&self, position: Position) -> Result<Option<Chunk>, Error> {
        count(&self.counters.chunks, 1);
        if let Some(chunk) = self.likely_chunk(position)? {
            return Ok(Some(chunk));
        }
        let mut back = self.db.raw_iterator_cf(self.family(Family::Log)?);
        back.seek_for_prev(keys::log(position));
        Ok(read(&back)?.filter(|chunk| holds(chunk.first, &chunk.bytes, position)))
    }

    /// The chunk that holds `position`, if that begins where it does where all
    /// before it in the entry are full. To ask by a key costs a fraction of
    /// going back to the key before.
    fn likely_chunk(&self, position: Position) -> Result<Option<Chunk>, Error> {
        let first = likely_first(position);
        let found = self.db.get_pinned_cf(self.family(Family::Log)?, keys::log(first))?;
        let held = found.filter(|bytes| holds(first, bytes, position));
        Ok(held.map(|bytes| Chunk { first, bytes: Bytes::copy_from_slice(&bytes) }))
    }

    /// The chunks that hold some positions, given in order, of those that begin
    /// where they do where all before them in their entries are full; each once.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn likely_chunks(&self, positions: &[Position]) -> Result<Vec<Chunk>, Error> {
        let mut firsts: Vec<_> = positions.iter().map(|at| likely_first(*at)).collect();
        firsts.dedup();
        count(&self.counters.chunks, firsts.len());
        let keys: Vec<_> = firsts.iter().map(|first| keys::log(*first)).collect();
        let found = self.db.batched_multi_get_cf(self.family(Family::Log)?, keys.iter(), true);
        let chunk = |(found, first): (Result<Option<DBPinnableSlice<'_>>, _>, _)| match found {
            Ok(bytes) => bytes.map(|bytes| Ok(Chunk { first, bytes: Bytes::copy_from_slice(&bytes) })),
            Err(error) => Some(Err(Error::from(error))),
        };
        found.into_iter().zip(firsts).filter_map(chunk).collect()
    }

    /// The chunks of the log from the one that holds or follows `after.next()`.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn scan(&self, after: Position) -> Result<Scan<'_>, Error> {
        count(&self.counters.chunks, 1);
        self.follow(after)
    }

    /// As [`Self::scan`], for whoever follows the log on nobody's behalf.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn follow(&self, after: Position) -> Result<Scan<'_>, Error> {
        let mut scan = self.reader()?;
        scan.iterator.seek_for_prev(keys::log(after.next()));
        if !scan.iterator.valid() {
            scan.iterator.status()?;
            scan.iterator.seek_to_first();
        }
        Ok(scan)
    }

    /// The log, to be read at rising positions: [`Scan::seek`] comes first.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn reader(&self) -> Result<Scan<'_>, Error> {
        let mut options = ReadOptions::default();
        options.set_auto_readahead_size(true);
        options.set_verify_checksums(true);
        options.fill_cache(false);
        let iterator = self.db.raw_iterator_cf_opt(self.family(Family::Log)?, options);
        Ok(Scan { iterator, forward: true })
    }

    /// Finds chunks of the log by positions in any order.
    #[must_use]
    pub const fn finder(&self) -> Finder<'_> {
        Finder { store: self, iterator: None }
    }

    /// The chunks of the log from the one that holds `from` back to the first.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn scan_back(&self, from: Position) -> Result<Scan<'_>, Error> {
        count(&self.counters.chunks, 1);
        let mut iterator = self.db.raw_iterator_cf(self.family(Family::Log)?);
        iterator.seek_for_prev(keys::log(from));
        Ok(Scan { iterator, forward: false })
    }

    /// As [`Self::scan_back`], on nobody's behalf.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn follow_back(&self, from: Position) -> Result<Scan<'_>, Error> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(Family::Log)?, options);
        iterator.seek_for_prev(keys::log(from));
        Ok(Scan { iterator, forward: false })
    }

    /// The position after which everything was recorded at or after `micros`:
    /// a binary search, as versions rise with positions.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn position_before_time(&self, micros: u64) -> Result<Position, Error> {
        let family = self.family(Family::Log)?;
        let mut iterator = self.db.raw_iterator_cf(family);
        let Some(last) = self.last_position()? else { return Ok(Position::ZERO) };
        // Invariant: every chunk that begins at or before `low` is earlier.
        let (mut low, mut high) = (0_u64, last.raw().saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            iterator.seek(keys::log(Position::from_raw(middle)));
            let found = read(&iterator)?;
            match found.as_ref().map(|chunk| (chunk.first.raw(), chunk.view().map(|v| v.first_version))) {
                Some((_, None)) => return Err(Error::corrupt("chunk", middle)),
                Some((first, Some(version))) if version < micros => low = first.saturating_add(1),
                _ => high = middle,
            }
        }
        // The chunk before may still hold items at or after the time.
        let Some(chunk) = self.scan_back(Position::from_raw(low.saturating_sub(1)))?.next_chunk()? else {
            return Ok(Position::ZERO);
        };
        let view = chunk.view().ok_or_else(|| Error::corrupt("chunk", chunk.first))?;
        let mut before = chunk.first;
        for item in view.items() {
            let item = item.ok_or_else(|| Error::corrupt("item", chunk.first))?;
            if item.header.version >= micros {
                return Ok(Position::from_raw(item.position.raw().saturating_sub(1)));
            }
            before = item.position;
        }
        Ok(before)
    }

    /// All records of a family whose keys begin with `prefix`, in key order.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn records(&self, family: Family, prefix: &[u8]) -> Result<Records<'_>, Error> {
        self.records_from(family, prefix, prefix)
    }

    /// Those of them from the key `from` on.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn records_from(&self, family: Family, prefix: &[u8], from: &[u8]) -> Result<Records<'_>, Error> {
        count(&self.counters.walks, 1);
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        // What is walked whole would leave the cache to nothing else.
        options.fill_cache(family == Family::Meta);
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(family)?, options);
        iterator.seek(from);
        Ok(Records { iterator, prefix: prefix.to_vec() })
    }

    /// A named subscription's record.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn cursor(&self, key: &SubscriptionKey) -> Result<Option<Vec<u8>>, Error> {
        count(&self.counters.small, 1);
        Ok(self.db.get_cf(self.family(Family::Cursors)?, keys::cursor(key))?)
    }

    /// The named subscriptions of all principals of `org`.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn cursors(&self, org: OrgNo) -> Result<Vec<(SubscriptionKey, Vec<u8>)>, Error> {
        let mut out = Vec::new();
        let mut records = self.records(Family::Cursors, &keys::cursors(org))?;
        while let Some((key, value)) = records.next_record()? {
            let key = keys::read_cursor(org, &key).ok_or_else(|| Error::corrupt("cursor key", org.0))?;
            out.push((key, value));
        }
        Ok(out)
    }
}

fn read(iterator: &DBRawIterator<'_>) -> Result<Option<Chunk>, Error> {
    let Some((key, value)) = iterator.item() else {
        iterator.status()?;
        return Ok(None);
    };
    if key.first() != Some(&KeyKind::Log.byte()) {
        return Err(Error::corrupt("log key", key));
    }
    let first = keys::number_of(key).ok_or_else(|| Error::corrupt("log key", key))?;
    Ok(Some(Chunk { first: Position::from_raw(first), bytes: Bytes::copy_from_slice(value) }))
}

/// Items of a chunk that is full by number: most are, or are the only one of
/// their entry.
const FULL_CHUNK: u16 = 16;
const _: () = assert!(FULL_CHUNK as usize == MAX_CHUNK_ITEMS);
/// Chunks that are read over before the engine is asked to seek.
const NEAR: usize = 8;

impl Chunk {
    /// Whether `position` is among its own.
    pub(crate) fn holds(&self, position: Position) -> bool {
        self.first <= position && holds(self.first, &self.bytes, position)
    }
}

/// Whether the chunk holds `position`, which is not before it.
fn holds(first: Position, bytes: &[u8], position: Position) -> bool {
    first.seq() == position.seq()
        && View::parse(first, bytes).is_some_and(|view| view.last_position() >= position)
}

/// Where the chunk begins that holds a position, where all before it in its
/// entry are full.
fn likely_first(position: Position) -> Position {
    position.seq().at(position.ordinal() - position.ordinal() % FULL_CHUNK)
}

/// The log being read chunk by chunk.
pub struct Scan<'a> {
    iterator: DBRawIterator<'a>,
    forward: bool,
}

impl std::fmt::Debug for Scan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scan")
    }
}

impl Scan<'_> {
    /// The chunk at hand, in place: position of its first item, and bytes.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn peek(&self) -> Result<Option<(Position, &[u8])>, Error> {
        let Some((key, value)) = self.iterator.item() else {
            self.iterator.status()?;
            return Ok(None);
        };
        let first = keys::number_of(key).ok_or_else(|| Error::corrupt("log key", key))?;
        Ok(Some((Position::from_raw(first), value)))
    }

    /// Goes to the chunk that holds `position`, and returns where it begins
    /// and its bytes; `None` where there is none. One that is near is reached by
    /// reading on.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn seek(&mut self, position: Position) -> Result<Option<(Position, &[u8])>, Error> {
        let mut held = false;
        for _ in 0..NEAR {
            match self.peek()? {
                Some((first, bytes)) if first <= position => held = holds(first, bytes, position),
                _ => break,
            }
            if held {
                break;
            }
            self.advance();
        }
        if !held {
            self.iterator.seek_for_prev(keys::log(position));
        }
        Ok(self.peek()?.filter(|(first, bytes)| held || holds(*first, bytes, position)))
    }

    /// Goes to the first chunk that begins after `after`.
    pub fn seek_after(&mut self, after: Position) {
        self.iterator.seek(keys::log(after.next()));
    }

    /// Goes on to the next chunk.
    pub fn advance(&mut self) {
        if self.iterator.valid() {
            self.iterator.next();
        }
    }

    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, Error> {
        let chunk = read(&self.iterator)?;
        if chunk.is_some() {
            if self.forward {
                self.iterator.next();
            } else {
                self.iterator.prev();
            }
        }
        Ok(chunk)
    }
}

/// Chunks found by positions in any order, with one look at the engine each.
pub struct Finder<'a> {
    store: &'a Store,
    /// Once a chunk does not begin where most do.
    iterator: Option<DBRawIterator<'a>>,
}

impl std::fmt::Debug for Finder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Finder")
    }
}

impl Finder<'_> {
    /// The chunk that holds `position`. One that is cut out meanwhile may be
    /// found or not.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn find(&mut self, position: Position) -> Result<Option<Chunk>, Error> {
        count(&self.store.counters.chunks, 1);
        if let Some(chunk) = self.store.likely_chunk(position)? {
            return Ok(Some(chunk));
        }
        let iterator = match &mut self.iterator {
            Some(iterator) => iterator,
            none => none.insert(self.store.db.raw_iterator_cf(self.store.family(Family::Log)?)),
        };
        iterator.seek_for_prev(keys::log(position));
        let found = read(iterator)?;
        Ok(found.filter(|chunk| holds(chunk.first, &chunk.bytes, position)))
    }
}

/// Key and value.
pub type Record = (Vec<u8>, Vec<u8>);
/// The same where they lie.
pub type Borrowed<'a> = (&'a [u8], &'a [u8]);

/// Records of one family by key.
pub struct Records<'a> {
    iterator: DBRawIterator<'a>,
    prefix: Vec<u8>,
}

impl std::fmt::Debug for Records<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Records")
    }
}

impl Records<'_> {
    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn next_record(&mut self) -> Result<Option<Record>, Error> {
        let record = self.peek()?.map(|(key, value)| (key.to_vec(), value.to_vec()));
        if record.is_some() {
            self.advance();
        }
        Ok(record)
    }

    /// The record at hand, in place: key and value; `None` at the end.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn peek(&self) -> Result<Option<Borrowed<'_>>, Error> {
        let Some((key, value)) = self.iterator.item() else {
            self.iterator.status()?;
            return Ok(None);
        };
        Ok(key.starts_with(&self.prefix).then_some((key, value)))
    }

    /// Goes on behind the record at hand.
    pub fn advance(&mut self) {
        self.iterator.next();
    }
}
