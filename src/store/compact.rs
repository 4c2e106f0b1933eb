//! Decides how the room of what was taken away is given back, and the way to
//! what is left made short again: table file by table file, each of which is a
//! second's work, so that a stop is not waited for long.

use rocksdb::{CompactOptions, LiveFile};

use crate::model::position::Position;

use super::db::{Error, Store};
use super::keys::{self, Family};

/// Postings are compacted where one in so many entries of their tables takes
/// another away: whoever walks through them passes over both.
const TAKEN_AWAY: u64 = 16;

impl Store {
    /// Gives back the room of what was cut out of the log after `after`, as far
    /// as one table file of it reaches; from where to go on, `None`: nothing is
    /// left up to `upto`. Blocking.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn compact_log(&self, after: Position, upto: Position) -> Result<Option<Position>, Error> {
        let (from, to) = (keys::log(after.next()), keys::log(upto));
        if after == Position::ZERO {
            // What is in memory yet is part of no file.
            self.db.flush_cf(self.family(Family::Log)?)?;
        }
        let end = nearest_end(&self.tables(Family::Log)?, &from).filter(|end| end.as_slice() < to.as_slice());
        self.compact(Family::Log, &from, end.as_deref().unwrap_or(to.as_slice()))?;
        Ok(end.and_then(|end| keys::number_of(&end)).map(Position::from_raw))
    }

    /// Does the same for postings after the key `after`, where many blocks were
    /// taken away; from where to go on, `None`: there are not many, or nothing
    /// is left. Blocking.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn compact_postings(&self, after: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        if after.is_empty() {
            self.db.flush_cf(self.family(Family::Postings)?)?;
        }
        let tables = self.tables(Family::Postings)?;
        let is_dense = |of: &[LiveFile]| {
            let taken_away: u64 = of.iter().map(|table| table.num_deletions).sum();
            taken_away.saturating_mul(TAKEN_AWAY) > of.iter().map(|table| table.num_entries).sum()
        };
        if after.is_empty() && !is_dense(&tables) {
            return Ok(None);
        }
        let Some(end) = nearest_end(&tables, after) else { return Ok(None) };
        let overlaps = |table: &&LiveFile| {
            table.start_key.as_ref().is_some_and(|start| *start <= end)
                && table.end_key.as_ref().is_some_and(|end| end.as_slice() > after)
        };
        if tables.iter().filter(overlaps).any(|table| is_dense(std::slice::from_ref(table))) {
            self.compact(Family::Postings, after, &end)?;
        }
        Ok(Some(end))
    }

    fn tables(&self, family: Family) -> Result<Vec<LiveFile>, Error> {
        let mut tables = self.db.live_files()?;
        tables.retain(|table| table.column_family_name == family.name());
        Ok(tables)
    }

    fn compact(&self, family: Family, from: &[u8], until: &[u8]) -> Result<(), Error> {
        let mut options = CompactOptions::default();
        // Others go on being compacted meanwhile.
        options.set_exclusive_manual_compaction(false);
        self.db.compact_range_cf_opt(self.family(family)?, Some(from), Some(until), &options);
        Ok(())
    }
}

/// The nearest end of any table past a key, which bounds what is rewritten at
/// once.
fn nearest_end(tables: &[LiveFile], from: &[u8]) -> Option<Vec<u8>> {
    tables
        .iter()
        .filter_map(|table| table.end_key.as_ref())
        .filter(|end| end.as_slice() > from)
        .min()
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::keys::Dimension;
    use crate::store::postings::{Posting, Postings};
    use crate::store::{Batch, Tuning};

    /// As many blocks of some terms as there are positions.
    fn fill(store: &Store, positions: std::ops::Range<u64>) {
        let mut batch = Batch::new(store);
        for position in positions {
            let at = Position::from_raw(position);
            let mut postings = Postings::default();
            for term in 0..40 {
                postings.add(Dimension::Label, term, Posting { position: at, handle: at });
            }
            batch.postings(&postings).unwrap();
        }
        store.commit(batch).unwrap();
        store.flush().unwrap();
    }

    fn taken_away(store: &Store) -> u64 {
        store.tables(Family::Postings).unwrap().iter().map(|table| table.num_deletions).sum()
    }

    fn compact(store: &Store) -> usize {
        let (mut after, mut steps) = (Some(Vec::new()), 0);
        while let Some(key) = after {
            after = store.compact_postings(&key).unwrap();
            steps += 1;
            assert!(steps < 20, "each step goes on where the one before ended");
        }
        steps
    }

    #[test]
    fn tables_from_which_much_was_taken_away_are_rewritten_and_others_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let tuning = Tuning { block_cache_bytes: 1 << 20, ..Tuning::default() };
        let store = Store::open_engine(&dir.path().join("store"), &tuning, true).unwrap();
        fill(&store, 1..60);
        assert_eq!(compact(&store), 1, "nothing was taken away");
        let mut from = Some(Vec::new());
        while let Some(key) = from {
            let swept = store.sweep(&key, Position::ZERO).unwrap();
            let mut batch = Batch::new(&store);
            if let Some(merge) = &swept.merge {
                batch.merge(merge).unwrap();
            }
            store.commit(batch).unwrap();
            from = swept.next;
        }
        store.flush().unwrap();
        assert!(taken_away(&store) > 2_000);
        assert!(compact(&store) > 1);
        assert_eq!(taken_away(&store), 0);
        for term in 0..40 {
            let mut blocks =
                store.postings_back(Dimension::Label, term, Position::from_raw(u64::MAX)).unwrap();
            assert_eq!(blocks.next_block().unwrap().map(|block| block.len()), Some(59));
        }
    }
}
