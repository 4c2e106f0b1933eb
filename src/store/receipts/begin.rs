//! Decides where receipts begin, which is on record by itself: a store that
//! was there before its hub kept any, that cut old ones, or that was restored
//! from a copy can tell what it does not know, and reads nothing that was cut.

use prost::Message as _;

use crate::base::clock::Timestamp;
use crate::model::position::Position;

use super::super::batch::Batch;
use super::super::db::{Error, Store};
use super::super::keys::{self, Family, ReceiptPlace};
use super::super::proto;
use super::Head;

/// Where receipts begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiptsBegin {
    /// Of what was handed over then or before some may not be on record.
    pub time: Timestamp,
    /// So it may of records that were born there or before.
    pub born: Position,
    /// Epoch of history: what was handed over after a copy was made is in no
    /// copy of it.
    epoch: u16,
    /// The last block that was cut.
    pub(super) cut: ReceiptPlace,
    /// First block of the last summary that was cut.
    pub(super) summed: ReceiptPlace,
    /// The first party that was not cut.
    pub(super) party: u64,
}

impl ReceiptsBegin {
    /// Whether all is on record that was handed over of the record that was
    /// born at `handle`.
    #[must_use]
    pub fn knows(&self, handle: Position) -> bool {
        handle > self.born
    }

    /// Everything up to a block is cut, the newest of which is of `newest`.
    pub(super) fn cut(&mut self, place: ReceiptPlace, newest: Timestamp) {
        self.cut = place;
        self.time = self.time.max(newest);
        self.born = self.born.max(place.known);
    }

    fn encode(&self) -> Vec<u8> {
        proto::ReceiptsBegin {
            time: self.time.as_micros(),
            born: self.born.raw(),
            epoch: u32::from(self.epoch),
            cut_known: self.cut.known.raw(),
            cut_number: self.cut.number,
            summed_known: self.summed.known.raw(),
            summed_number: self.summed.number,
            party: self.party,
        }
        .encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let stored = proto::ReceiptsBegin::decode(bytes).ok()?;
        let place = |known, number| ReceiptPlace { known: Position::from_raw(known), number };
        Some(Self {
            time: Timestamp::from_micros_clamped(stored.time),
            born: Position::from_raw(stored.born),
            epoch: u16::try_from(stored.epoch).ok()?,
            cut: place(stored.cut_known, stored.cut_number),
            summed: place(stored.summed_known, stored.summed_number),
            party: stored.party,
        })
    }
}

impl Batch<'_> {
    pub(super) fn receipts_begin(&mut self, begin: &ReceiptsBegin) -> Result<(), Error> {
        self.uncounted(Family::Cursors, &keys::RECEIPTS_BEGIN, &begin.encode())
    }
}

impl Store {
    /// Where receipts begin. A store that never kept any knows of nothing.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn receipts_begin(&self) -> Result<ReceiptsBegin, Error> {
        Ok(self.stored_begin()?.unwrap_or_default())
    }

    /// Notes that receipts are kept from now on, if that is not known yet, or
    /// if the store was restored from a copy since. `last` is the end of the log.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn begin_receipts(&self, last: Position, now: Timestamp) -> Result<(), Error> {
        let stored = self.stored_begin()?;
        let epoch = last.seq().epoch();
        if stored.is_some_and(|begin| begin.epoch == epoch) {
            return Ok(());
        }
        let begin = match (stored, self.first_receipts()?) {
            // Written before this was noted: what is older may have been cut.
            (None, Some((place, head))) => {
                ReceiptsBegin { time: head.newest, born: place.known, epoch, ..ReceiptsBegin::default() }
            }
            (stored, _) => ReceiptsBegin { time: now, born: last, epoch, ..stored.unwrap_or_default() },
        };
        let mut batch = Batch::new(self);
        batch.receipts_begin(&begin)?;
        self.commit(batch.beside())
    }

    fn stored_begin(&self) -> Result<Option<ReceiptsBegin>, Error> {
        let stored = self.db.get_cf(self.family(Family::Cursors)?, keys::RECEIPTS_BEGIN)?;
        stored
            .map(|bytes| {
                ReceiptsBegin::decode(&bytes).ok_or_else(|| Error::corrupt("receipts", "their beginning"))
            })
            .transpose()
    }

    /// The first block there is.
    fn first_receipts(&self) -> Result<Option<(ReceiptPlace, Head)>, Error> {
        let mut walk = self.receipts_from(ReceiptPlace::default())?;
        let Some((place, encoded)) = walk.next(|_| true)? else { return Ok(None) };
        let head = Head::take(&mut encoded.as_slice());
        Ok(Some((place, head.ok_or_else(|| Error::corrupt("receipts", place))?)))
    }
}
