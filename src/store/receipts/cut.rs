//! Decides how old receipts are cut: the blocks at their beginning, the
//! summaries of nothing else, and who received them; what was cut is passed
//! over ever after.

use prost::Message as _;
use rocksdb::DBRawIterator;

use crate::base::clock::Timestamp;

use super::super::batch::Batch;
use super::super::db::{Error, Store};
use super::super::keys::{self, Family};
use super::super::proto;
use super::begin::ReceiptsBegin;
use super::{Head, Summary};

impl Store {
    /// Cuts the blocks at the beginning of which all is older than `horizon`,
    /// at most `most` of them, the summaries of nothing else, and the parties
    /// made before `unused`; receipts begin behind them then. How many blocks
    /// that were.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn cut_receipts(&self, horizon: Timestamp, unused: Timestamp, most: u64) -> Result<u64, Error> {
        let mut begin = self.receipts_begin()?;
        let mut batch = Batch::new(self);
        let cut = self.cut_blocks(&mut batch, &mut begin, horizon, most)?;
        self.cut_summaries(&mut batch, &mut begin)?;
        // Behind its receipts, so that none is without its party.
        if cut < most {
            self.cut_parties(&mut batch, &mut begin, unused, most)?;
        }
        if !batch.is_empty() {
            batch.receipts_begin(&begin)?;
            self.commit(batch.beside())?;
        }
        Ok(cut)
    }

    /// A walk that begins where nothing was cut.
    fn walk_from(&self, key: &[u8]) -> Result<DBRawIterator<'_>, Error> {
        let mut walk = self.db.raw_iterator_cf(self.family(Family::Cursors)?);
        walk.seek(key);
        Ok(walk)
    }

    fn cut_blocks(
        &self,
        batch: &mut Batch<'_>,
        begin: &mut ReceiptsBegin,
        horizon: Timestamp,
        most: u64,
    ) -> Result<u64, Error> {
        let mut cut = 0;
        let mut walk = self.walk_from(&keys::receipt_block(begin.cut.next()))?;
        while cut < most
            && let Some((key, mut bytes)) = walk.item()
            && let Some(place) =
                keys::read_receipt_place(key).filter(|_| key.starts_with(&keys::RECEIPT_BLOCKS))
        {
            let head = Head::take(&mut bytes).ok_or_else(|| Error::corrupt("receipts", place))?;
            if head.newest >= horizon {
                break;
            }
            batch.inner_mut().delete_cf(self.family(Family::Cursors)?, key);
            begin.cut(place, head.newest);
            cut += 1;
            walk.next();
        }
        walk.status()?;
        Ok(cut)
    }

    /// Cuts the summaries of blocks that are cut.
    fn cut_summaries(&self, batch: &mut Batch<'_>, begin: &mut ReceiptsBegin) -> Result<(), Error> {
        let mut walk = self.walk_from(&keys::receipt_summary(begin.summed.next()))?;
        while let Some((key, bytes)) = walk.item()
            && let Some(first) = keys::read_receipt_place(key).filter(|first| *first <= begin.cut)
            && key.starts_with(&keys::RECEIPT_SUMMARIES)
        {
            let summary = Summary::decode(first, bytes);
            let summary = summary.ok_or_else(|| Error::corrupt("receipt summary", first))?;
            if summary.last > begin.cut {
                break;
            }
            batch.inner_mut().delete_cf(self.family(Family::Cursors)?, key);
            begin.summed = first;
            walk.next();
        }
        Ok(walk.status()?)
    }

    fn cut_parties(
        &self,
        batch: &mut Batch<'_>,
        begin: &mut ReceiptsBegin,
        unused: Timestamp,
        most: u64,
    ) -> Result<(), Error> {
        let mut walk = self.walk_from(&keys::receipt_party(begin.party))?;
        for _ in 0..most {
            let Some((number, (key, bytes))) =
                walk.item().and_then(|(key, bytes)| Some((keys::read_receipt_party(key)?, (key, bytes))))
            else {
                break;
            };
            let stored =
                proto::ReceiptParty::decode(bytes).map_err(|_| Error::corrupt("receipt party", number))?;
            if stored.create_time >= unused.as_micros() {
                break;
            }
            batch.inner_mut().delete_cf(self.family(Family::Cursors)?, key);
            begin.party = number.saturating_add(1);
            walk.next();
        }
        Ok(walk.status()?)
    }
}
