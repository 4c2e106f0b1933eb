//! Decides which sums of counters are kept in memory: those by terms, of who
//! asked for them of late. To add up a month of labels is to read a number for
//! each label and audience class; to go on from what was added up is to add
//! what was indexed since.
//!
//! What is kept was summed over certain classes, and holds as long as the same
//! ones count for whoever asks. It is his alone: that something is quick to
//! find tells nobody what others ask.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::model::audience::ClassNo;
use crate::model::marking::Tlp;
use crate::model::org::{OrgNo, OrgSlug};
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::store::Store;
use crate::store::counters::{Change, Counts, Granularity};
use crate::store::term_names::TermKind;

use super::super::directory::Directory;
use super::super::error::Error;
use super::super::store_error;

/// Most bytes of all sums, and of those of one organisation: about.
const MAX_BYTES: usize = 16 << 20;
const MAX_BYTES_OF_ONE: usize = MAX_BYTES / 4;
/// Most sums, however few their bytes are.
const MAX_KEPT: usize = 256;
/// What a sum of one term in one bucket takes, and a term, about.
const CELL_BYTES: usize = 24;
const TERM_BYTES: usize = 128;
/// Most changes that are kept for those who go on from what they have.
const MAX_CHANGES: usize = 1 << 18;
/// Most names that are kept, and most that are read together.
const MAX_NAMES: usize = 1 << 15;
const NAMED: usize = 1_024;

/// What was summed, for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) org: OrgNo,
    pub(super) identity: SpiffeId,
    pub(super) kind: TermKind,
    pub(super) granularity: Granularity,
    pub(super) owners: Vec<OrgSlug>,
    pub(super) tlps: Vec<Tlp>,
    pub(super) org_kinds: Vec<String>,
}

/// The sums of one key; none where it is empty.
pub(super) type Slot = Arc<Mutex<Option<Sums>>>;

/// Sums by terms and buckets.
#[derive(Debug)]
pub(super) struct Sums {
    /// In these buckets.
    pub(super) buckets: RangeInclusive<u32>,
    /// Over these classes, by number, as this directory says.
    pub(super) seen: Vec<bool>,
    pub(super) directory: Arc<Directory>,
    /// What was indexed up to here is counted.
    pub(super) upto: Position,
    pub(super) terms: FxHashMap<u64, Term>,
}

/// The sums of one term.
#[derive(Debug)]
pub(super) struct Term {
    pub(super) name: Arc<str>,
    /// By bucket; none is zero.
    pub(super) cells: BTreeMap<u32, u64>,
}

impl Sums {
    fn bytes(&self) -> usize {
        let cells: usize = self.terms.values().map(|term| term.cells.len()).sum();
        cells * CELL_BYTES + self.terms.len() * TERM_BYTES + self.seen.len()
    }

    /// Whether they hold what is asked for, over the classes that count.
    pub(super) fn covers(&self, buckets: &RangeInclusive<u32>) -> bool {
        self.buckets.contains(buckets.start()) && self.buckets.contains(buckets.end())
    }

    /// Adds changes that were indexed since; `None`: what they are added to is
    /// not what they changed.
    fn add(
        &mut self,
        changes: &[Change],
        kind: TermKind,
        granularity: Granularity,
        names: &Names,
    ) -> Option<()> {
        for change in changes.iter().filter(|change| sees(&self.seen, change.class)) {
            let bucket = granularity.of_day(change.day);
            let Some((of, name)) = names.get(&change.term)?.as_ref() else { continue };
            if *of != kind || !self.buckets.contains(&bucket) {
                continue;
            }
            let new = || Term { name: Arc::clone(name), cells: BTreeMap::new() };
            let term = self.terms.entry(change.term).or_insert_with(new);
            let cell = term.cells.entry(bucket).or_default();
            // In the order of a step it may be less than none for a while.
            *cell = cell.wrapping_add_signed(change.by);
        }
        Some(())
    }

    /// Leaves out what came to nothing; whether what is left can be.
    fn settle(&mut self) -> bool {
        let mut whole = true;
        self.terms.retain(|_, term| {
            term.cells.retain(|_, count| *count != 0);
            whole &= term.cells.values().all(|count| i64::try_from(*count).is_ok());
            !term.cells.is_empty()
        });
        whole
    }
}

/// Whether a class is one of those that count.
pub(super) fn sees(seen: &[bool], class: ClassNo) -> bool {
    usize::try_from(class.0).ok().and_then(|class| seen.get(class)).copied().unwrap_or(false)
}

/// What some terms are called; `None`: nothing, as those of roles.
pub(super) type Names = FxHashMap<u64, Option<(TermKind, Arc<str>)>>;

/// All that is kept.
#[derive(Debug, Default)]
pub struct Kept {
    memory: Mutex<Memory>,
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Those asked for last stand last.
    sums: Vec<(Key, Slot, usize)>,
    /// What was indexed of late, step by step, as long as somebody may want it.
    steps: VecDeque<Step>,
    changes: usize,
    /// Up to where steps were noted.
    upto: Position,
}

#[derive(Debug, Clone)]
struct Step {
    from: Position,
    upto: Position,
    changes: Arc<[Change]>,
}

impl Kept {
    /// Notes what a step of indexing from one position up to another counted,
    /// before anybody is told that it was made.
    pub fn note(&self, from: Position, upto: Position, counts: &Counts) {
        let mut memory = self.memory.lock();
        if memory.upto != from || memory.sums.is_empty() {
            memory.steps.clear();
            memory.changes = 0;
        }
        memory.upto = upto;
        if memory.sums.is_empty() {
            return;
        }
        let changes: Arc<[Change]> = counts.of_labels().collect();
        // A step takes room though it changed nothing.
        memory.changes += changes.len().max(1);
        memory.steps.push_back(Step { from, upto, changes });
        while memory.changes > MAX_CHANGES {
            let Some(gone) = memory.steps.pop_front() else { break };
            memory.changes -= gone.changes.len().max(1);
        }
    }

    /// The place of the sums of a key, be it empty.
    pub(super) fn of(&self, key: &Key) -> Slot {
        let mut memory = self.memory.lock();
        let at = memory.sums.iter().position(|(known, ..)| known == key);
        let found = at.map_or_else(|| (key.clone(), Slot::default(), 0), |at| memory.sums.remove(at));
        let slot = Arc::clone(&found.1);
        memory.sums.push(found);
        memory.shrink(key.org);
        slot
    }

    /// Notes how much the sums of a key take by now; whether they are kept.
    pub(super) fn weigh(&self, key: &Key, sums: &Sums) -> bool {
        let bytes = sums.bytes();
        let mut memory = self.memory.lock();
        if let Some((.., known)) = memory.sums.iter_mut().find(|(known, ..)| known == key) {
            *known = if bytes > MAX_BYTES_OF_ONE { 0 } else { bytes };
        }
        memory.shrink(key.org);
        bytes <= MAX_BYTES_OF_ONE
    }

    /// What was indexed past a position; `None`: that is not known any more.
    pub(super) fn since(&self, upto: Position) -> Option<Since> {
        let memory = self.memory.lock();
        if upto >= memory.upto {
            return Some(Since(Vec::new()));
        }
        let at = memory.steps.iter().position(|step| step.from == upto)?;
        Some(Since(memory.steps.iter().skip(at).cloned().collect()))
    }

    /// What terms are called that may not be known yet.
    pub(super) fn name(&self, store: &Store, terms: impl Iterator<Item = u64>) -> Result<Names, Error> {
        let (mut found, mut unknown) = (Names::default(), Vec::new());
        let mut names = self.names.lock();
        for term in terms {
            match names.get(&term) {
                Some(name) => drop(found.insert(term, name.clone())),
                None => unknown.push(term),
            }
        }
        drop(names);
        unknown.sort_unstable();
        unknown.dedup();
        for some in unknown.chunks(NAMED) {
            let read = store.term_names(some).map_err(store_error)?;
            let read = read.into_iter().map(|name| name.map(|name| (name.kind, Arc::from(name.text))));
            found.extend(some.iter().copied().zip(read));
        }
        names = self.names.lock();
        if names.len() + unknown.len() > MAX_NAMES {
            names.clear();
        }
        if unknown.len() <= MAX_NAMES {
            names.extend(unknown.iter().filter_map(|term| Some((*term, found.get(term)?.clone()))));
        }
        Ok(found)
    }

    /// The terms that are known to be of another sort, or of none.
    pub(super) fn others(&self, kind: TermKind) -> FxHashMap<u64, ()> {
        let names = self.names.lock();
        let other = names.iter().filter(|(_, name)| name.as_ref().is_none_or(|(of, _)| *of != kind));
        other.map(|(term, _)| (*term, ())).collect()
    }
}

impl Memory {
    /// Forgets what was not asked for the longest: of an organisation that has
    /// too much, then of all.
    fn shrink(&mut self, org: OrgNo) {
        let bytes = |sums: &[(Key, Slot, usize)], of: Option<OrgNo>| -> usize {
            sums.iter().filter(|(key, ..)| of.is_none_or(|org| key.org == org)).map(|(.., bytes)| bytes).sum()
        };
        let many = |sums: &[(Key, Slot, usize)]| {
            sums.iter().filter(|(key, ..)| key.org == org).count() > MAX_KEPT / 4
        };
        while (bytes(&self.sums, Some(org)) > MAX_BYTES_OF_ONE || many(&self.sums))
            && let Some(at) = self.sums.iter().position(|(key, ..)| key.org == org)
        {
            self.sums.remove(at);
        }
        while bytes(&self.sums, None) > MAX_BYTES || self.sums.len() > MAX_KEPT {
            self.sums.remove(0);
        }
    }
}

/// What was indexed since.
#[derive(Debug)]
pub(super) struct Since(Vec<Step>);

impl Since {
    /// The terms that it changed of the classes that count.
    pub(super) fn terms<'a>(&'a self, seen: &'a [bool]) -> impl Iterator<Item = u64> + 'a {
        let changes = self.0.iter().flat_map(|step| step.changes.iter());
        changes.filter(|change| sees(seen, change.class)).map(|change| change.term)
    }

    /// Adds it; whether the sums are right then.
    pub(super) fn add_to(&self, sums: &mut Sums, key: &Key, names: &Names) -> bool {
        for step in &self.0 {
            if sums.add(&step.changes, key.kind, key.granularity, names).is_none() {
                return false;
            }
            sums.upto = step.upto;
        }
        self.0.is_empty() || sums.settle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::position::Seq;

    #[test]
    fn steps_that_count_nothing_are_not_kept_without_end() {
        let kept = Kept::default();
        let key = Key {
            org: OrgNo(1),
            identity: SpiffeId::parse("spiffe://test.example/org/a/system/feed").unwrap(),
            kind: TermKind::Label,
            granularity: Granularity::Month,
            owners: Vec::new(),
            tlps: Vec::new(),
            org_kinds: Vec::new(),
        };
        let _slot = kept.of(&key);
        let at = |number: usize| Seq::new(0, u64::try_from(number).unwrap()).at(0);
        for number in 0..MAX_CHANGES + 10 {
            kept.note(at(number), at(number + 1), &Counts::default());
        }
        assert!(kept.memory.lock().steps.len() <= MAX_CHANGES);
        assert!(kept.since(at(0)).is_none() && kept.since(at(MAX_CHANGES)).is_some());
    }
}
