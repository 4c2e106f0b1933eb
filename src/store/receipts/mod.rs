//! Decides how receipts lie on disk: blocks in order of writing, a summary over
//! each few hundred of them, and who received, by number, beside them.
//!
//! A trace of one record begins at the first block that was written after its
//! birth, and passes over what the summaries and the heads of blocks exclude.

mod begin;
mod block;
mod cut;

use prost::Message as _;
use rocksdb::{DBRawIterator, ReadOptions};

use crate::base::clock::Timestamp;
use crate::model::position::Position;
use crate::model::principal::SpiffeId;

use super::batch::Batch;
use super::calls::count;
use super::db::{Error, Store};
use super::keys::{self, Family, ReceiptPlace};
use super::proto;

pub use begin::ReceiptsBegin;
pub use block::{Ack, Block, Head, Receipt, Span};

/// Blocks that one summary is of.
pub const SUMMED: u64 = 256;

/// Who receives: a stream of a subscription, or whoever asks, under one
/// certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Party {
    /// The principal; its organisation is in it.
    pub principal: SpiffeId,
    /// Serial number of the certificate, lower-case hexadecimal.
    pub serial: String,
    /// Whether it is a stream of a subscription.
    pub streams: bool,
    /// Name of the subscription; empty: it has none.
    pub subscription: String,
    /// Number of the audit record of the stream's opening, if it is known.
    pub audit: Option<u64>,
}

/// A summary of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The first block.
    pub first: ReceiptPlace,
    /// The last one.
    pub last: ReceiptPlace,
    /// How many.
    pub blocks: u64,
    /// What may be in them.
    pub head: Head,
}

impl Summary {
    /// That of one block.
    #[must_use]
    pub const fn of(place: ReceiptPlace, head: Head) -> Self {
        Self { first: place, last: place, blocks: 1, head }
    }

    /// With one more block behind the last.
    #[must_use]
    pub fn with(self, place: ReceiptPlace, head: &Head) -> Self {
        Self { last: place, blocks: self.blocks + 1, head: self.head.join(head), ..self }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(&self.last.known.raw().to_be_bytes());
        out.extend_from_slice(&self.last.number.to_be_bytes());
        self.head.write(&mut out);
        out
    }

    fn decode(first: ReceiptPlace, bytes: &[u8]) -> Option<Self> {
        let (known, rest) = bytes.split_first_chunk::<8>()?;
        let (number, mut rest) = rest.split_first_chunk::<8>()?;
        let known = Position::from_raw(u64::from_be_bytes(*known));
        let last = ReceiptPlace { known, number: u64::from_be_bytes(*number) };
        Some(Self { first, last, blocks: SUMMED, head: Head::take(&mut rest)? })
    }
}

impl Batch<'_> {
    /// A block of receipts.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn receipts(&mut self, place: ReceiptPlace, encoded: &[u8]) -> Result<(), Error> {
        self.uncounted(Family::Cursors, &keys::receipt_block(place), encoded)
    }

    /// A summary of blocks.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn receipt_summary(&mut self, summary: &Summary) -> Result<(), Error> {
        self.uncounted(Family::Cursors, &keys::receipt_summary(summary.first), &summary.encode())
    }

    /// Who receives under a number.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn receipt_party(&mut self, number: u64, party: &Party, now: Timestamp) -> Result<(), Error> {
        let stored = proto::ReceiptParty {
            principal: party.principal.as_str().to_owned(),
            serial: party.serial.clone(),
            streams: party.streams,
            subscription: party.subscription.clone(),
            audit: party.audit.map_or(0, |audit| audit.saturating_add(1)),
            create_time: now.as_micros(),
        };
        self.uncounted(Family::Cursors, &keys::receipt_party(number), &stored.encode_to_vec())
    }
}

/// Where the writer goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiptEnd {
    /// Number of the next party.
    pub party: u64,
    /// The last block.
    pub last: ReceiptPlace,
    /// The blocks behind the last summary.
    pub rest: Option<Summary>,
}

impl Store {
    /// Where receipts end.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn receipt_end(&self) -> Result<ReceiptEnd, Error> {
        let party = self.last_receipt_key(&keys::receipt_party(u64::MAX))?;
        let party = party.and_then(|key| keys::read_receipt_party(&key)).map_or(0, |last| last + 1);
        // No number is given twice, though all that had one are cut.
        let begin = self.receipts_begin()?;
        let party = party.max(begin.party);
        let end = ReceiptPlace { known: Position::from_raw(u64::MAX), number: u64::MAX };
        let last = self.last_receipt_key(&keys::receipt_block(end))?;
        let last = last.filter(|key| key.starts_with(&keys::RECEIPT_BLOCKS));
        let last = last.and_then(|key| keys::read_receipt_place(&key)).unwrap_or_default().max(begin.cut);
        let summed = self.last_receipt_key(&keys::receipt_summary(end))?;
        let summed = summed.filter(|key| key.starts_with(&keys::RECEIPT_SUMMARIES));
        let from = match summed.and_then(|key| keys::read_receipt_place(&key)) {
            Some(first) => {
                let summary = self.db.get_cf(self.family(Family::Cursors)?, keys::receipt_summary(first))?;
                let summary = summary.and_then(|bytes| Summary::decode(first, &bytes));
                let summary = summary.ok_or_else(|| Error::corrupt("receipt summary", first))?;
                summary.last.next()
            }
            None => ReceiptPlace::default(),
        };
        let (mut rest, mut walk) = (None::<Summary>, self.receipts_from(from)?);
        while let Some((place, encoded)) = walk.next(|_| true)? {
            let head = Head::take(&mut encoded.as_slice());
            let head = head.ok_or_else(|| Error::corrupt("receipts", place))?;
            rest = Some(rest.map_or_else(|| Summary::of(place, head), |rest| rest.with(place, &head)));
        }
        Ok(ReceiptEnd { party, last, rest })
    }

    /// The last key of receipts at or before `key`.
    fn last_receipt_key(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let mut walk = self.db.raw_iterator_cf(self.family(Family::Cursors)?);
        walk.seek_for_prev(key);
        walk.status()?;
        Ok(walk.key().map(<[u8]>::to_vec))
    }

    /// A walk over blocks from a place on, of those that are not cut.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn receipts_from(&self, from: ReceiptPlace) -> Result<ReceiptWalk<'_>, Error> {
        count(&self.counters.walks, 1);
        let begin = self.receipts_begin()?;
        let from = from.max(begin.cut.next());
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        let family = self.family(Family::Cursors)?;
        let mut blocks = self.db.raw_iterator_cf_opt(family, options);
        blocks.seek(keys::receipt_block(from));
        // What was cut lies before it: it would be stepped over one by one.
        let least = keys::receipt_summary(begin.summed.next());
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(least.clone());
        let mut summaries = self.db.raw_iterator_cf_opt(family, options);
        summaries.seek_for_prev(keys::receipt_summary(from));
        if !summaries.valid() {
            summaries.seek(least);
        }
        Ok(ReceiptWalk { blocks, summaries })
    }

    /// Who receives under a number; `None`: that was cut.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn receipt_party(&self, number: u64) -> Result<Option<Party>, Error> {
        let damaged = || Error::corrupt("receipt party", number);
        let stored = self.db.get_cf(self.family(Family::Cursors)?, keys::receipt_party(number))?;
        let Some(stored) = stored else {
            let was_cut = number < self.receipts_begin()?.party;
            return if was_cut { Ok(None) } else { Err(damaged()) };
        };
        let stored = proto::ReceiptParty::decode(stored.as_slice()).map_err(|_| damaged())?;
        Ok(Some(Party {
            principal: SpiffeId::parse(&stored.principal).map_err(|_| damaged())?,
            serial: stored.serial,
            streams: stored.streams,
            subscription: stored.subscription,
            audit: stored.audit.checked_sub(1),
        }))
    }
}

/// A walk over blocks.
pub struct ReceiptWalk<'a> {
    blocks: DBRawIterator<'a>,
    summaries: DBRawIterator<'a>,
}

impl std::fmt::Debug for ReceiptWalk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReceiptWalk")
    }
}

impl ReceiptWalk<'_> {
    /// The next block of whose head, and of whose summary, `wants` says that it
    /// is wanted.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn next(&mut self, wants: impl Fn(&Head) -> bool) -> Result<Option<(ReceiptPlace, Vec<u8>)>, Error> {
        loop {
            let found = self.blocks.item().filter(|(key, _)| key.starts_with(&keys::RECEIPT_BLOCKS));
            let Some((key, bytes)) = found else {
                self.blocks.status()?;
                return Ok(None);
            };
            let place = keys::read_receipt_place(key).ok_or_else(|| Error::corrupt("receipt key", key))?;
            let head = Head::take(&mut &*bytes).ok_or_else(|| Error::corrupt("receipts", place))?;
            if wants(&head) {
                let bytes = bytes.to_vec();
                self.blocks.next();
                return Ok(Some((place, bytes)));
            }
            match self.summary(place)?.filter(|summary| !wants(&summary.head)) {
                Some(summary) => {
                    self.blocks.seek(keys::receipt_block(summary.last.next()));
                }
                None => self.blocks.next(),
            }
        }
    }

    /// The summary that a block is in.
    fn summary(&mut self, place: ReceiptPlace) -> Result<Option<Summary>, Error> {
        loop {
            let found = self.summaries.item().filter(|(key, _)| key.starts_with(&keys::RECEIPT_SUMMARIES));
            let Some((key, bytes)) = found else {
                self.summaries.status()?;
                return Ok(None);
            };
            let first = keys::read_receipt_place(key).ok_or_else(|| Error::corrupt("receipt key", key))?;
            if first > place {
                return Ok(None);
            }
            let summary = Summary::decode(first, bytes);
            let summary = summary.ok_or_else(|| Error::corrupt("receipt summary", first))?;
            if place <= summary.last {
                return Ok(Some(summary));
            }
            self.summaries.next();
        }
    }
}

#[cfg(test)]
mod tests;
