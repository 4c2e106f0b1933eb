//! Decides how the postings of neighbouring terms are read: term after term,
//! up or down, and of each term the newest first.

use std::ops::RangeInclusive;

use rocksdb::{DBRawIterator, ReadOptions};

use crate::model::position::Position;

use super::calls::count;
use super::db::{Error, Store};
use super::keys::{self, Dimension, Family, KeyKind, POSTING_KEY_BYTES};
use super::postings::{self, Posting};

/// In which order terms come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The smallest first.
    Up,
    /// The largest first.
    Down,
}

impl Store {
    /// The postings below `before` of all terms of a dimension in `terms`, term
    /// after term, of each the newest block first.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn postings_in(
        &self,
        dimension: Dimension,
        terms: RangeInclusive<u64>,
        way: Way,
        before: Position,
    ) -> Result<TermBlocks<'_>, Error> {
        count(&self.counters.postings, 1);
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        let iterator = self.db.raw_iterator_cf_opt(self.family(Family::Postings)?, options);
        let rest = (!terms.is_empty()).then(|| terms.into_inner());
        Ok(TermBlocks { iterator, dimension, way, before, term: None, rest })
    }
}

impl Store {
    /// The postings below `before` of all terms of a dimension in `terms`, in
    /// the order in which they are stored: for whoever takes all of them, at a
    /// fraction of what it costs to begin each term with its newest.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn all_postings_in(
        &self,
        dimension: Dimension,
        terms: RangeInclusive<u64>,
        before: Position,
    ) -> Result<AllBlocks<'_>, Error> {
        count(&self.counters.postings, 1);
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(Family::Postings)?, options);
        iterator.seek(keys::posting_prefix(dimension, *terms.start()));
        Ok(AllBlocks { iterator, dimension, terms, before })
    }
}

/// The postings of a range of terms, as they are stored.
pub struct AllBlocks<'a> {
    iterator: DBRawIterator<'a>,
    dimension: Dimension,
    terms: RangeInclusive<u64>,
    before: Position,
}

impl std::fmt::Debug for AllBlocks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AllBlocks")
    }
}

impl AllBlocks<'_> {
    /// What lies below the start in the next block, be it nothing; `None` at
    /// the end.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn next_block(&mut self) -> Result<Option<Vec<Posting>>, Error> {
        let of_dimension = [KeyKind::Posting.byte(), self.dimension as u8];
        let Some((key, value)) = self.iterator.item().filter(|(key, _)| key.starts_with(&of_dimension))
        else {
            self.iterator.status()?;
            return Ok(None);
        };
        let term = keys::posting_term(key).ok_or_else(|| Error::corrupt("posting key", key))?;
        if !self.terms.contains(&term) {
            return Ok(None);
        }
        let mut block = postings::decode(value).ok_or_else(|| Error::corrupt("postings", key))?;
        block.retain(|posting| posting.position < self.before);
        self.iterator.next();
        Ok(Some(block))
    }
}

/// The postings of a range of terms, block by block.
pub struct TermBlocks<'a> {
    iterator: DBRawIterator<'a>,
    dimension: Dimension,
    way: Way,
    before: Position,
    /// The term that is being read; the iterator stands at its next block.
    term: Option<u64>,
    /// The first and the last of the terms that were not begun.
    rest: Option<(u64, u64)>,
}

impl std::fmt::Debug for TermBlocks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TermBlocks")
    }
}

impl TermBlocks<'_> {
    /// The next block and its term, in rising order of position, cut to what
    /// lies below the start, and never empty; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn next_block(&mut self) -> Result<Option<(u64, Vec<Posting>)>, Error> {
        loop {
            let Some(term) = self.term else {
                if !self.begin()? {
                    return Ok(None);
                }
                continue;
            };
            let Some((key, value)) = self.iterator.item().filter(|(key, _)| is_of(key, self.dimension, term))
            else {
                self.iterator.status()?;
                self.term = None;
                continue;
            };
            let mut block = postings::decode(value).ok_or_else(|| Error::corrupt("postings", key))?;
            self.iterator.prev();
            block.retain(|posting| posting.position < self.before);
            if !block.is_empty() {
                return Ok(Some((term, block)));
            }
        }
    }

    /// Passes over what is left of the term of the last block.
    pub const fn skip_term(&mut self) {
        self.term = None;
    }

    /// Goes to the newest block of the next term; whether there is one.
    fn begin(&mut self) -> Result<bool, Error> {
        let Some((first, last)) = self.rest else { return Ok(false) };
        match self.way {
            Way::Up => self.iterator.seek(keys::posting_prefix(self.dimension, first)),
            Way::Down => {
                self.iterator.seek_for_prev(keys::posting(
                    self.dimension,
                    last,
                    Position::from_raw(u64::MAX),
                ));
            }
        }
        let of_dimension = [KeyKind::Posting.byte(), self.dimension as u8];
        let Some(key) = self.iterator.key().filter(|key| key.starts_with(&of_dimension)) else {
            self.iterator.status()?;
            self.rest = None;
            return Ok(false);
        };
        let damaged = || Error::corrupt("posting key", key);
        let key: [u8; POSTING_KEY_BYTES] = key.try_into().map_err(|_| damaged())?;
        let term = keys::posting_term(&key).ok_or_else(damaged)?;
        if !(first..=last).contains(&term) {
            self.rest = None;
            return Ok(false);
        }
        self.rest = match self.way {
            Way::Up => term.checked_add(1).map(|next| (next, last)),
            Way::Down => term.checked_sub(1).map(|next| (first, next)),
        }
        .filter(|(first, last)| first <= last);
        let newest = keys::posting(self.dimension, term, self.before);
        if self.way == Way::Up || key > newest {
            self.iterator.seek_for_prev(newest);
        }
        self.term = Some(term);
        Ok(true)
    }
}

fn is_of(key: &[u8], dimension: Dimension, term: u64) -> bool {
    key.starts_with(&keys::posting_prefix(dimension, term))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::postings::Postings;
    use crate::store::{Batch, Tuning};

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_range_of_terms_is_read_as_a_list_is_sorted(
            groups in prop::collection::vec(prop::collection::vec((0..8_u64, 0..2_usize), 1..6), 1..12),
            ends in (0..9_u64, 0..9_u64), down: bool, before in 0..60_u64, whole: bool, skip: bool
        ) {
            const EDGES: [u64; 9] = [0, 1, 2, 3, 1 << 40, u64::MAX - 2, u64::MAX - 1, u64::MAX, u64::MAX];
            let dir = tempfile::tempdir().unwrap();
            let tuning = Tuning { block_cache_bytes: 1 << 20, ..Tuning::default() };
            let store = Store::open_engine(dir.path(), &tuning, true).unwrap();
            let term = |at: u64| EDGES[usize::try_from(at).unwrap()];
            let (mut naive, mut at) = (Vec::new(), 0);
            for group in groups {
                let mut postings = Postings::default();
                for (number, dimension) in group {
                    at += 1;
                    let position = Position::from_raw(at);
                    let posting = Posting { position, handle: position };
                    // A neighbour on either side, so that the walk must end in time.
                    for dimension in [Dimension::LastSeen, [Dimension::FirstSeen, Dimension::Host][dimension]] {
                        postings.add(dimension, term(number), posting);
                    }
                    naive.push((term(number), position));
                }
                let mut batch = Batch::new(&store);
                batch.postings(&postings).unwrap();
                store.commit(batch).unwrap();
            }
            let terms = if whole { 0..=u64::MAX } else { term(ends.0)..=term(ends.1) };
            let way = if down { Way::Down } else { Way::Up };
            naive.retain(|(term, position)| terms.contains(term) && position.raw() < before);
            naive.sort_by_key(|&(term, position)| (if down { u64::MAX - term } else { term }, std::cmp::Reverse(position)));
            let mut all = store.all_postings_in(Dimension::LastSeen, terms.clone(), Position::from_raw(before)).unwrap();
            let mut taken = Vec::new();
            while let Some(block) = all.next_block().unwrap() {
                taken.extend(block.iter().map(|posting| posting.position));
            }
            taken.sort_unstable();
            let mut given: Vec<_> = naive.iter().map(|(_, position)| *position).collect();
            given.sort_unstable();
            prop_assert_eq!(taken, given);
            let mut blocks = store.postings_in(Dimension::LastSeen, terms, way, Position::from_raw(before)).unwrap();
            let mut read = Vec::new();
            while let Some((term, block)) = blocks.next_block().unwrap() {
                prop_assert!(!block.is_empty());
                read.extend(block.iter().rev().map(|posting| (term, posting.position)));
                if skip {
                    blocks.skip_term();
                }
            }
            if skip {
                // The newest block of each term, and nothing else.
                let seen: Vec<_> = read.chunk_by(|a, b| a.0 == b.0).map(|of| of[0]).collect();
                naive.dedup_by_key(|(term, _)| *term);
                prop_assert_eq!(seen, naive);
            } else {
                prop_assert_eq!(read, naive);
            }
        }
    }
}
