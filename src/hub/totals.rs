//! Decides which counters are kept in memory: those by which questions were
//! planned of late, and records of a kind counted, whoever asked. They are as good as those in the store: what
//! a step of indexing changes is added to them before anybody is told that it
//! was made.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::model::position::Position;
use crate::store::counters::{self, Granularity, Key};
use crate::store::index::Changes;
use crate::store::keys::Dimension;
use crate::store::{Store, db};

/// Most bytes of all, about.
const MAX_BYTES: usize = 8 << 20;
/// What one takes beside its value, about.
const BYTES: usize = 96;
/// What a change takes beside its bytes, about.
const CHANGE_BYTES: usize = 56;
/// Most changes of a counter that nobody asks for any more.
const MAX_CHANGES: usize = 32;

/// Counters that were read of late.
#[derive(Debug)]
pub struct Totals(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    counters: FxHashMap<Key, Kept>,
    bytes: usize,
    /// What was indexed up to here is counted, and nothing else.
    upto: Position,
}

#[derive(Debug)]
struct Kept {
    value: Arc<[u8]>,
    /// What is to be added.
    changes: Vec<Vec<u8>>,
    /// Whether it was asked for again since room was made.
    wanted: bool,
}

impl Totals {
    /// Those of a store, of which none is in memory yet.
    ///
    /// # Errors
    /// Whatever the store answers.
    pub fn of(store: &Store) -> Result<Self, db::Error> {
        let upto = store.indexed()?;
        Ok(Self(Mutex::new(Memory { upto, ..Memory::default() })))
    }

    /// The counters of some terms over all of time, see [`Self::all`].
    ///
    /// # Errors
    /// Whatever the store answers.
    pub(super) fn read(
        &self,
        store: &Store,
        dimension: Dimension,
        terms: &[u64],
    ) -> Result<Vec<Arc<[u8]>>, db::Error> {
        let key = |term: &u64| counters::key(Granularity::All, dimension, 0, *term);
        self.all(store, &terms.iter().map(key).collect::<Vec<_>>())
    }

    /// The counters of some keys as they stand at one moment, in the form that
    /// [`counters::sum_of`] reads; empty where nothing is counted.
    ///
    /// # Errors
    /// Whatever the store answers.
    pub(super) fn all(&self, store: &Store, keys: &[Key]) -> Result<Vec<Arc<[u8]>>, db::Error> {
        let (mut found, known_upto): (Vec<_>, _) = {
            let mut memory = self.0.lock();
            (keys.iter().map(|key| memory.get(key)).collect(), memory.upto)
        };
        if found.iter().any(Option::is_none) {
            let still = store.still();
            let upto = still.upto()?;
            for (found, key) in found.iter_mut().zip(keys) {
                if found.is_some() && upto == known_upto {
                    continue;
                }
                let value: Arc<[u8]> = still.counter(key)?.into();
                self.0.lock().put(*key, Arc::clone(&value), upto);
                *found = Some(value);
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Notes what a step of indexing from one position up to another changed.
    pub(super) fn note(&self, from: Position, upto: Position, changes: &Changes) {
        let mut memory = self.0.lock();
        if memory.upto != from {
            memory.clear();
        }
        memory.upto = upto;
        if memory.counters.is_empty() {
            return;
        }
        for (key, change) in changes {
            memory.change(key, change);
        }
        if memory.bytes > MAX_BYTES {
            memory.make_room();
        }
    }
}

impl Memory {
    fn get(&mut self, key: &Key) -> Option<Arc<[u8]>> {
        let kept = self.counters.get_mut(key)?;
        kept.wanted = true;
        if !kept.changes.is_empty() {
            let all = std::iter::once(&*kept.value).chain(kept.changes.iter().map(Vec::as_slice));
            let Some(value) = counters::changed(all) else {
                self.forget(key);
                return None;
            };
            let before = kept.bytes();
            (kept.value, kept.changes) = (value.into(), Vec::new());
            self.bytes = self.bytes.saturating_add(kept.bytes()).saturating_sub(before);
        }
        Some(Arc::clone(&kept.value))
    }

    /// Keeps what was read as it stood when the log was indexed up to a
    /// position, unless that is not so any more, or not yet.
    fn put(&mut self, key: Key, value: Arc<[u8]>, upto: Position) {
        if upto != self.upto || value.len() > MAX_BYTES / 8 {
            return;
        }
        let kept = Kept { value, changes: Vec::new(), wanted: false };
        self.bytes += kept.bytes();
        if let Some(before) = self.counters.insert(key, kept) {
            self.bytes -= before.bytes();
        }
        if self.bytes > MAX_BYTES {
            self.make_room();
        }
    }

    fn change(&mut self, key: &Key, change: &[u8]) {
        let Some(kept) = self.counters.get_mut(key) else { return };
        if kept.changes.len() == MAX_CHANGES {
            self.forget(key);
        } else {
            kept.changes.push(change.to_vec());
            self.bytes += change.len() + CHANGE_BYTES;
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(kept) = self.counters.remove(key) {
            self.bytes -= kept.bytes();
        }
    }

    /// Forgets what nobody asked for again since this was done last, or all.
    fn make_room(&mut self) {
        let bytes = &mut self.bytes;
        self.counters.retain(|_, kept| {
            let wanted = std::mem::take(&mut kept.wanted);
            *bytes -= if wanted { 0 } else { kept.bytes() };
            wanted
        });
        if self.bytes > MAX_BYTES / 2 {
            self.clear();
        }
    }

    fn clear(&mut self) {
        (self.counters, self.bytes) = (FxHashMap::default(), 0);
    }
}

impl Kept {
    fn bytes(&self) -> usize {
        self.value.len()
            + self.changes.iter().map(|change| change.len() + CHANGE_BYTES).sum::<usize>()
            + BYTES
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::clock::Timestamp;
    use crate::model::audience::ClassNo;
    use crate::model::position::Seq;
    use crate::store::Tuning;
    use crate::store::counters::{Counted, Counts};
    use crate::store::index::Index;

    fn step(store: &Store, upto: Position, terms: &[u64], class: u32) -> Changes {
        let mut counts = Counts::default();
        let born = Timestamp::EPOCH;
        counts.add(&Counted { born, class: ClassNo(class), kind: 1, terms }, 1);
        store.add_index(&Index { counts, ..Index::default() }, upto).unwrap()
    }

    fn stored(store: &Store, term: u64) -> Vec<u8> {
        store.still().counter(&counters::key(Granularity::All, Dimension::Label, 0, term)).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn counters_in_memory_are_those_of_the_store(
            steps in prop::collection::vec((prop::collection::btree_set(0..5_u64, 0..4), 1..40_u32, 0..9_u8), 1..90),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::create(&dir.path().join("store"), &Tuning::default()).unwrap();
            let totals = Totals::of(&store).unwrap();
            let mut from = Position::ZERO;
            for (counter, (terms, class, read)) in (1..).zip(steps) {
                let terms: Vec<_> = terms.into_iter().collect();
                let upto = Seq::new(0, counter).at(0);
                let changes = step(&store, upto, &terms, class);
                // Whoever reads between a step and its note is not to leave
                // behind what the note adds once more.
                if read == 1 {
                    let read = totals.read(&store, Dimension::Label, &[2]).unwrap();
                    prop_assert!(*read[0] == *stored(&store, 2) || terms.contains(&2));
                }
                totals.note(from, upto, &changes);
                from = upto;
                if read < 3 {
                    let all = totals.read(&store, Dimension::Label, &[0, 1, 2, 3, 4]).unwrap();
                    for (term, value) in (0..).zip(all) {
                        prop_assert_eq!(&*value, stored(&store, term));
                    }
                }
                let memory = totals.0.lock();
                prop_assert_eq!(memory.bytes, memory.counters.values().map(Kept::bytes).sum::<usize>());
            }
        }
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for_and_what_is_wanted_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), &Tuning::default()).unwrap();
        let totals = Totals::of(&store).unwrap();
        let reads = || store.calls().small;
        totals.read(&store, Dimension::Label, &[7]).unwrap();
        for some in (100..200_000_u64).collect::<Vec<_>>().chunks(1_000) {
            totals.read(&store, Dimension::Label, some).unwrap();
            let before = reads();
            totals.read(&store, Dimension::Label, &[7]).unwrap();
            assert_eq!(reads(), before, "what is wanted is kept");
            assert!(totals.0.lock().bytes <= MAX_BYTES + BYTES);
        }
        totals.note(Seq::new(0, 9).at(0), Seq::new(0, 10).at(0), &Changes::new());
        assert!(totals.0.lock().counters.is_empty(), "a step was missed");
    }
}
