//! Decides how the postings of a term are read, block by block: newest first,
//! or oldest first; and which terms have any.

use rocksdb::{DBRawIterator, ReadOptions};

use crate::model::position::Position;

use super::calls::count;
use super::db::{Error, Store};
use super::keys::{self, Dimension, Family, KeyKind};
use super::postings::{self, Posting};

/// Blocks that are stepped over before one is sought.
const STEPS: usize = 4;

impl Store {
    /// The postings of a term below `before`, newest block first.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn postings_back(
        &self,
        dimension: Dimension,
        term: u64,
        before: Position,
    ) -> Result<PostingBlocks<'_>, Error> {
        count(&self.counters.postings, 1);
        let prefix = keys::posting_prefix(dimension, term);
        let mut options = ReadOptions::default();
        // Seeking backward over a prefix needs the order of the whole family.
        options.set_total_order_seek(true);
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(Family::Postings)?, options);
        iterator.seek_for_prev(keys::posting(dimension, term, before));
        Ok(PostingBlocks { iterator, prefix, cut: Cut::Before(before) })
    }

    /// The postings of a term after `after`, oldest block first.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn postings_after(
        &self,
        dimension: Dimension,
        term: u64,
        after: Position,
    ) -> Result<PostingBlocks<'_>, Error> {
        count(&self.counters.postings, 1);
        let prefix = keys::posting_prefix(dimension, term);
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(Family::Postings)?, options);
        // The block that holds `after`, if any, began at or before it.
        iterator.seek_for_prev(keys::posting(dimension, term, after));
        if !iterator.key().is_some_and(|key| key.starts_with(&prefix)) {
            iterator.status()?;
            iterator.seek(prefix);
        }
        Ok(PostingBlocks { iterator, prefix, cut: Cut::After(after) })
    }

    /// The first term of a dimension, at or after `from`, that has postings.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn term_from(&self, dimension: Dimension, from: u64) -> Result<Option<u64>, Error> {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(Family::Postings)?, options);
        iterator.seek(keys::posting_prefix(dimension, from));
        let of_dimension = [KeyKind::Posting.byte(), dimension as u8];
        let Some(key) = iterator.key() else {
            iterator.status()?;
            return Ok(None);
        };
        if !key.starts_with(&of_dimension) {
            return Ok(None);
        }
        keys::posting_term(key).map(Some).ok_or_else(|| Error::corrupt("posting key", key))
    }
}

/// The postings of a term, block by block: newest first on the way back, else
/// oldest first.
pub struct PostingBlocks<'a> {
    iterator: DBRawIterator<'a>,
    prefix: [u8; keys::POSTING_PREFIX_BYTES],
    cut: Cut,
}

/// Where a walk over postings began.
#[derive(Clone, Copy)]
enum Cut {
    /// Back from there: what lies below it.
    Before(Position),
    /// On from there: what lies after it.
    After(Position),
}

impl std::fmt::Debug for PostingBlocks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PostingBlocks")
    }
}

impl PostingBlocks<'_> {
    /// The next block, in rising order of position, cut to what lies on this
    /// side of the start; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn next_block(&mut self) -> Result<Option<Vec<Posting>>, Error> {
        let Some((key, value)) = self.iterator.item() else {
            self.iterator.status()?;
            return Ok(None);
        };
        if !key.starts_with(&self.prefix) {
            return Ok(None);
        }
        let mut block = postings::decode(value).ok_or_else(|| Error::corrupt("postings", key))?;
        match self.cut {
            Cut::Before(end) => {
                block.retain(|posting| posting.position < end);
                self.iterator.prev();
            }
            Cut::After(start) => {
                block.retain(|posting| posting.position > start);
                self.iterator.next();
            }
        }
        Ok(Some(block))
    }

    /// Goes on with the block that holds or follows `to` on the way; what lies
    /// before it is passed over unread. The way goes on: `to` is not before
    /// what was sought last.
    pub fn seek(&mut self, to: Position) {
        let key = keys::posting_at(&self.prefix, to);
        match self.cut {
            Cut::Before(_) => {
                self.cut = Cut::Before(to.next());
                if !self.step_back(&key) {
                    self.iterator.seek_for_prev(key);
                }
            }
            Cut::After(_) => {
                self.cut = Cut::After(Position::from_raw(to.raw().saturating_sub(1)));
                // Whatever lies before the block at hand was gone through.
                if self.iterator.key().is_some_and(|at| *at >= key[..]) {
                    return;
                }
                self.iterator.seek_for_prev(key);
                // The block that holds it, if any, began at or before it.
                if !self.iterator.key().is_some_and(|key| key.starts_with(&self.prefix)) {
                    self.iterator.seek(self.prefix);
                }
            }
        }
    }

    /// Whether some steps back lead to the block that is sought: each costs a
    /// tenth of a seek, and lists of like length are mostly a block or two apart.
    fn step_back(&mut self, key: &[u8]) -> bool {
        for _ in 0..STEPS {
            match self.iterator.key() {
                Some(at) if at.starts_with(&self.prefix) && at > key => self.iterator.prev(),
                at => return at.is_some(),
            }
        }
        false
    }
}
