//! Decides how what is found behind the log is written: postings, counters and
//! names of some thousands of items at once, and up to which position that is.
//!
//! The engine lets one batch at a time into memory, and the writer waits for
//! it: a step is written in small batches, of which the last one moves the
//! mark. Until then the blocks of postings are as good as not there: whatever
//! is cut off is done again from the mark, and gives blocks of the same keys.
//! Counters are added up, which is not to be done twice: all of them go with
//! the mark.

use rocksdb::WriteBatch;

use crate::model::position::Position;

use super::counters::{self, Counts};
use super::db::{Error, Store};
use super::keys::{self, Family, KeyKind};
use super::postings::Postings;
use super::term_names::TermNames;
use super::usage::Sizes;

/// Meta record of [`Store::indexed`].
pub(super) const MARK: &str = "indexed";
/// Meta record of [`Store::kinds_are_counted`].
const KINDS_MARK: &str = "counted-by-kinds";
/// Meta records of [`Otherwise`]: one of its positions, and how far was indexed
/// then.
const CUT_MARK: &str = "schemes-cut";
const DAYS_MARK: &str = "days-posted";
/// Most records of a batch: what the writer may have to wait for.
const BATCH: usize = 256;

/// Most postings of a step, which is as much as is in memory at a time.
const MAX_POSTINGS: usize = 1 << 17;
/// Most counters and names of a step: those are one batch, and for that the
/// writer waits.
const MAX_COUNTED: usize = 5 << 12;

/// Keys of counters, in order, and what was merged with their values.
pub type Changes = Vec<(counters::Key, Vec<u8>)>;

/// What one step of indexing adds.
#[derive(Debug, Default)]
pub struct Index {
    /// From terms to versions and sightings.
    pub postings: Postings,
    /// How many records hold.
    pub counts: Counts,
    /// What filter terms stand for.
    pub names: TermNames,
    /// What it takes.
    pub sizes: Sizes,
    /// What [`Store::indexed_otherwise`] was before.
    pub otherwise: Otherwise,
}

/// Up to where releases before indexed that did so otherwise; zero where none
/// did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Otherwise {
    /// All schemes are cut in the terms of how URLs begin ([`keys::Cut`]).
    pub all_cut: Position,
    /// Nothing is posted by the day on which it was seen.
    pub dayless: Position,
}

impl Index {
    /// Whether that is as much as one step may add, however few its items are.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.postings.len() >= MAX_POSTINGS || self.counts.len().max(self.names.len()) >= MAX_COUNTED
    }
}

impl Store {
    /// The position up to which the log is indexed; zero where nothing is.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn indexed(&self) -> Result<Position, Error> {
        self.mark(MARK)
    }

    fn mark(&self, name: &str) -> Result<Position, Error> {
        let Some(bytes) = self.meta(name)? else { return Ok(Position::ZERO) };
        let mark = bytes.try_into().map_err(|_| Error::corrupt("meta", name))?;
        Ok(Position::from_raw(u64::from_be_bytes(mark)))
    }

    /// Adds what was found up to a position, and tells what that changed of the
    /// counters. It is not waited for the disk: the log that it is made of is
    /// there already. Whoever keeps counters in memory is to be told all of it.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn add_index(&self, index: &Index, upto: Position) -> Result<Changes, Error> {
        let (postings, counters) = (self.family(Family::Postings)?, self.family(Family::Counters)?);
        let mut batch = WriteBatch::default();
        for (key, block) in index.postings.blocks() {
            batch.put_cf(postings, key, block);
            self.write_full(&mut batch)?;
        }
        for (&term, name) in &index.names {
            batch.put_cf(counters, keys::term_name(term), name.encode());
            self.write_full(&mut batch)?;
        }
        let changes: Changes = index.counts.changes().collect();
        for (key, change) in &changes {
            batch.merge_cf(counters, key, change);
        }
        index.sizes.write_to(self, &mut batch)?;
        self.counted_usage(&mut batch, upto)?;
        let meta = self.family(Family::Meta)?;
        let Otherwise { all_cut, dayless } = index.otherwise;
        for (mark, since) in [(CUT_MARK, all_cut), (DAYS_MARK, dayless)] {
            batch.put_cf(meta, keys::meta(mark), [since, upto].map(|at| at.raw().to_be_bytes()).concat());
        }
        batch.put_cf(meta, keys::meta(MARK), upto.raw().to_be_bytes());
        batch.put_cf(meta, keys::meta(KINDS_MARK), upto.raw().to_be_bytes());
        self.write_again(batch)?;
        Ok(changes)
    }

    /// Whether all that is indexed is counted by kinds, too: a release before
    /// did not, and moved the one mark alone.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn kinds_are_counted(&self) -> Result<bool, Error> {
        Ok(self.mark(KINDS_MARK)? == self.mark(MARK)?)
    }

    /// What releases before indexed otherwise: all that is indexed, where one
    /// moved the one mark alone.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn indexed_otherwise(&self) -> Result<Otherwise, Error> {
        let indexed = self.mark(MARK)?;
        let upto = |mark| {
            let found = self.meta(mark)?.unwrap_or_default();
            let at = |place: usize| {
                let bytes = found.get(place..place + 8)?.try_into().ok()?;
                Some(Position::from_raw(u64::from_be_bytes(bytes)))
            };
            Ok::<_, Error>(at(0).filter(|_| at(8) == Some(indexed)).unwrap_or(indexed))
        };
        Ok(Otherwise { all_cut: upto(CUT_MARK)?, dayless: upto(DAYS_MARK)? })
    }

    /// Takes away what is counted by kinds, which is to be counted again.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn drop_kinds(&self) -> Result<(), Error> {
        let family = self.family(Family::Counters)?;
        let mut records = self.records(Family::Counters, &[KeyKind::Counter.byte()])?;
        let mut batch = WriteBatch::default();
        while let Some((key, _)) = records.next_record()? {
            if counters::is_by_kinds(&key) {
                batch.delete_cf(family, key);
                self.write_full(&mut batch)?;
            }
        }
        self.write_again(batch)
    }

    /// Adds to what is counted by kinds; the mark is moved when all is, by
    /// `done`.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn add_kinds(&self, counts: &Counts, done: bool) -> Result<(), Error> {
        let family = self.family(Family::Counters)?;
        let mut batch = WriteBatch::default();
        for (key, change) in counts.changes() {
            batch.merge_cf(family, key, change);
        }
        if done {
            let mark = self.indexed()?;
            batch.put_cf(self.family(Family::Meta)?, keys::meta(KINDS_MARK), mark.raw().to_be_bytes());
        }
        self.write_again(batch)
    }

    fn write_full(&self, batch: &mut WriteBatch) -> Result<(), Error> {
        if batch.len() >= BATCH { self.write_again(std::mem::take(batch)) } else { Ok(()) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::model::audience::ClassNo;
    use crate::store::Tuning;
    use crate::store::counters::{Counted, Granularity};
    use crate::store::keys::Dimension;
    use crate::store::merge::MAX_RUN;
    use crate::store::postings::Posting;
    use crate::store::term_names::{TermKind, TermName};

    /// Leaves a store as a release that did not count by kinds does: with a
    /// count that is wrong where that one came after another that did.
    pub(crate) fn forget_kinds(store: &Store, left: Position) {
        store.drop_kinds().unwrap();
        let mut counts = Counts::default();
        counts.add_kinds(&Counted { born: Timestamp::EPOCH, class: ClassNo(1), kind: 1, terms: &[1] }, 7);
        store.add_kinds(&counts, false).unwrap();
        let mut batch = WriteBatch::default();
        batch.put_cf(store.family(Family::Meta).unwrap(), keys::meta(KINDS_MARK), left.raw().to_be_bytes());
        store.write_again(batch).unwrap();
        assert!(!store.kinds_are_counted().unwrap());
    }

    /// Has the indexer work on a store as releases before did, up to a position;
    /// `None`: leaves the store as those did.
    pub(crate) fn index_otherwise(store: &Store, upto: Option<Position>) {
        let mut batch = WriteBatch::default();
        for mark in [CUT_MARK, DAYS_MARK] {
            let (meta, key) = (store.family(Family::Meta).unwrap(), keys::meta(mark));
            match upto {
                Some(upto) => {
                    let parts = [upto, store.indexed().unwrap()];
                    batch.put_cf(meta, key, parts.map(|at| at.raw().to_be_bytes()).concat());
                }
                None => batch.delete_cf(meta, key),
            }
        }
        store.write_again(batch).unwrap();
    }

    const TERMS: u64 = 3 * BATCH as u64;

    /// What a step from `from` on finds: each version has every term.
    fn found(from: u64, upto: u64) -> Index {
        let mut index = Index::default();
        for at in from..=upto {
            let at = Position::from_raw(at);
            for term in 0..TERMS {
                index.postings.add(Dimension::Text, term, Posting { position: at, handle: at });
            }
            let born = Counted { born: Timestamp::EPOCH, class: ClassNo(1), kind: 1, terms: &[] };
            index.counts.add(&born, 1);
            let name = TermName { kind: TermKind::Label, text: format!("label {}", at.raw()) };
            index.names.insert(at.raw(), name);
        }
        index
    }

    /// Where the versions stand that have a term.
    fn versions(store: &Store, term: u64) -> Vec<u64> {
        let mut blocks = store.postings_after(Dimension::Text, term, Position::ZERO).unwrap();
        let all = std::iter::from_fn(|| blocks.next_block().unwrap()).flatten();
        all.map(|posting| posting.position.raw()).collect()
    }

    fn counted(store: &Store) -> u64 {
        let mut counts = store.counts(Granularity::All, Dimension::Class, 0..=0, &[]).unwrap();
        counts.next_count().unwrap().map_or(0, |of| of.count)
    }

    #[test]
    fn a_step_that_was_cut_off_is_done_again_and_gives_what_one_alone_would() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_engine(dir.path(), &Tuning::default(), true).unwrap();
        // Enough of them to be merged, all of them marked.
        for at in 1..=MAX_RUN as u64 {
            store.add_index(&found(at, at), Position::from_raw(at)).unwrap();
        }
        let mark = store.indexed().unwrap();
        assert_eq!(mark.raw(), MAX_RUN as u64);
        // One step of two versions: cut off before the mark moves.
        let mut cut = WriteBatch::default();
        let family = store.family(Family::Postings).unwrap();
        for (key, block) in found(mark.raw() + 1, mark.raw() + 2).postings.blocks() {
            cut.put_cf(family, key, block);
        }
        store.write_again(cut).unwrap();
        assert_eq!((store.indexed().unwrap(), counted(&store)), (mark, mark.raw()));
        // What is merged meanwhile is what was marked.
        let merge = store.merge_newest(Dimension::Text, 5, mark, true).unwrap().unwrap();
        let mut batch = crate::store::Batch::new(&store);
        batch.merge(&merge).unwrap();
        store.commit(batch).unwrap();
        // The log has gone on, and steps end elsewhere.
        for (from, upto) in [(mark.raw() + 1, mark.raw() + 1), (mark.raw() + 2, mark.raw() + 9)] {
            store.add_index(&found(from, upto), Position::from_raw(upto)).unwrap();
        }
        let all: Vec<_> = (1..=mark.raw() + 9).collect();
        for term in [0, 5, TERMS - 1] {
            assert_eq!(versions(&store, term), all);
        }
        assert_eq!(counted(&store), mark.raw() + 9);
        let names = store.term_names(&[7, mark.raw() + 10]).unwrap();
        let name = names[0].clone().unwrap();
        assert_eq!((name.kind, name.text.as_str()), (TermKind::Label, "label 7"));
        assert_eq!(names[1], None);
    }
}
