//! Decides which indicators end next: those due soonest are kept in memory,
//! the others stay in the expiry postings until their time is near, so that a
//! look at the clock costs nothing while nothing is due.

use std::collections::BTreeSet;

use crate::base::clock::Timestamp;
use crate::model::position::{MAX_ITEMS, Position};
use crate::store::keys;
use crate::store::postings::Posting;

use super::proposal::Due;

/// Most versions in memory.
pub(super) const KEPT: usize = 1 << 17;
/// Postings looked at after which the hub notes how far it got, although
/// nothing among them was due.
const WORTH_NOTING: usize = 10_000;
const HOUR_MICROS: u64 = 3_600_000_000;

/// The beginning of an hour since the Unix epoch.
pub(super) const fn hour_begins(term: u64) -> Due {
    Due {
        until: Timestamp::from_micros_clamped(term.saturating_mul(HOUR_MICROS)),
        version: Posting { position: Position::ZERO, handle: Position::ZERO },
    }
}

/// Versions that end, up to a bound: all that end before it, and none after.
#[derive(Debug)]
pub(super) struct Soonest {
    due: BTreeSet<Due>,
    bound: Due,
    most: usize,
}

impl Soonest {
    /// None yet, up to `bound`; it moves nearer where there are too many.
    pub(super) const fn until(bound: Due, most: usize) -> Self {
        Self { due: BTreeSet::new(), bound, most }
    }

    /// Takes one in, if it is before the bound.
    pub(super) fn insert(&mut self, due: Due) {
        if due >= self.bound {
            return;
        }
        self.due.insert(due);
        if self.due.len() > self.most
            && let Some(last) = self.due.pop_last()
        {
            self.bound = last;
        }
    }

    /// Moves the bound nearer.
    pub(super) fn cut(&mut self, bound: Due) {
        if bound < self.bound {
            self.bound = bound;
            self.due.split_off(&bound);
        }
    }
}

/// What is to be done about what ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing for now.
    Rest,
    /// Read the postings of what ends from there on, before an hour.
    Read { from: Due, before: u64 },
    /// These are due, soonest first.
    End(Vec<Due>),
    /// Note how far the hub got.
    Note,
}

/// What ends next.
#[derive(Debug)]
pub(super) struct Agenda {
    soonest: Soonest,
    /// The hour before which everything is looked for.
    before: u64,
    /// From where postings are being read, and what is committed meanwhile.
    noted: Option<(Due, Soonest)>,
    /// Postings read since it was noted how far the hub got.
    unnoted: usize,
    most: usize,
}

impl Agenda {
    /// An agenda of which everything before the hour `fence` is done.
    pub(super) const fn new(fence: u64, most: usize) -> Self {
        let soonest = Soonest::until(hour_begins(fence), most);
        Self { soonest, before: fence, noted: None, unnoted: 0, most }
    }

    /// Notes versions that were committed.
    pub(super) fn note(&mut self, committed: &[Due]) {
        for &due in committed.iter().filter(|due| keys::expiry_term(due.until) < self.before) {
            match &mut self.noted {
                Some((_, noted)) if due >= self.soonest.bound => noted.insert(due),
                _ => self.soonest.insert(due),
            }
        }
    }

    /// What is to be done at `now`. Asked again before it was done, it says
    /// the same.
    pub(super) fn next(&mut self, now: Timestamp) -> Next {
        let due: Vec<_> =
            self.soonest.due.iter().take_while(|due| due.until <= now).take(MAX_ITEMS).copied().collect();
        if !due.is_empty() {
            return Next::End(due);
        }
        if !self.soonest.due.is_empty() {
            return self.rest();
        }
        if self.soonest.bound >= hour_begins(self.before) {
            let hour = keys::expiry_term(now);
            if hour < self.before {
                return self.rest();
            }
            self.before = hour + 1;
        }
        let from = self.soonest.bound;
        self.noted = Some((from, Soonest::until(hour_begins(self.before), self.most)));
        Next::Read { from, before: self.before }
    }

    fn rest(&mut self) -> Next {
        if self.unnoted < WORTH_NOTING {
            return Next::Rest;
        }
        self.unnoted = 0;
        Next::Note
    }

    /// Takes in what [`Next::Read`] asked for; `count` postings were read.
    pub(super) fn take(&mut self, read: Soonest, count: usize) {
        self.unnoted += count;
        let Some((from, noted)) = self.noted.take() else { return };
        // If so much that is due sooner was committed meanwhile that the bound
        // came nearer, what was read stays beyond it.
        if self.soonest.bound == from {
            self.soonest.bound = read.bound.min(noted.bound);
        }
        for due in read.due.into_iter().chain(noted.due) {
            self.soonest.insert(due);
        }
    }

    /// Forgets what is done.
    pub(super) fn remove<'d>(&mut self, done: impl Iterator<Item = &'d Due>) {
        for due in done {
            self.soonest.due.remove(due);
        }
    }

    /// The hour before which everything is done, once `done` is.
    pub(super) fn fence(&self, done: &[Due]) -> u64 {
        let done: BTreeSet<_> = done.iter().collect();
        let first = self.soonest.due.iter().find(|due| !done.contains(due)).unwrap_or(&self.soonest.bound);
        keys::expiry_term(first.until)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn due(until: u64, position: u64) -> Due {
        let at = Position::from_raw(position);
        Due { until: Timestamp::from_micros_clamped(until), version: Posting { position: at, handle: at } }
    }

    /// What the postings say, as the hub reads them.
    fn read(stored: &BTreeSet<Due>, from: Due, before: u64, most: usize) -> Soonest {
        let mut read = Soonest::until(hour_begins(before), most);
        stored.iter().rev().filter(|due| **due >= from).for_each(|due| read.insert(*due));
        read
    }

    proptest! {
        #[test]
        fn everything_ends_once_in_order_of_time_however_little_is_kept(
            steps in prop::collection::vec(
                (0_u64..HOUR_MICROS * 2, prop::collection::vec(1_u64..HOUR_MICROS * 9, 0..20), any::<bool>()), 1..30
            ),
            most in 1_usize..9,
        ) {
            let (mut now, mut fence, mut position) = (HOUR_MICROS * 7, 0, 0);
            let (mut stored, mut ended) = (BTreeSet::new(), BTreeMap::<Due, u32>::new());
            let mut agenda = Agenda::new(fence, most);
            for (pass, validities, reopen) in steps {
                let mut coming: Vec<Due> = validities
                    .into_iter()
                    .map(|validity| { position += 1; due(now + validity, position) })
                    .collect();
                let commit = |agenda: &mut Agenda, stored: &mut BTreeSet<Due>, fence: &mut u64, all: Vec<Due>| {
                    stored.extend(&all);
                    agenda.note(&all);
                    let lowest = all.iter().map(|due| keys::expiry_term(due.until)).min();
                    *fence = lowest.map_or(*fence, |lowest| lowest.min(*fence));
                };
                let late = coming.split_off(coming.len() / 2);
                commit(&mut agenda, &mut stored, &mut fence, coming);
                let mut late = Some(late);
                now += pass;
                loop {
                    match agenda.next(Timestamp::from_micros_clamped(now)) {
                        Next::Rest => break,
                        Next::Note => fence = agenda.fence(&[]),
                        Next::Read { from, before } => {
                            let found = read(&stored, from, before, most);
                            // Committed after the postings were read.
                            commit(&mut agenda, &mut stored, &mut fence, late.take().unwrap_or_default());
                            agenda.take(found, 10_000);
                        }
                        Next::End(all) => {
                            prop_assert!(all.iter().all(|due| due.until.as_micros() <= now));
                            fence = agenda.fence(&all);
                            all.iter().for_each(|due| *ended.entry(*due).or_default() += 1);
                            agenda.remove(all.iter());
                        }
                    }
                }
                commit(&mut agenda, &mut stored, &mut fence, late.take().unwrap_or_default());
                let past: Vec<_> = stored.iter().filter(|due| due.until.as_micros() <= now).collect();
                let late: Vec<_> = ended.keys().collect();
                // What came late may be due only at the next look.
                prop_assert!(late.iter().all(|due| past.contains(due)));
                prop_assert!(
                    stored.iter().all(|due| keys::expiry_term(due.until) >= fence || ended.contains_key(due)),
                    "the fence never passes what has not ended"
                );
                if reopen {
                    agenda = Agenda::new(fence, most);
                    // Those of the fence's hour are met again; the hub knows them by their state.
                    ended.values_mut().for_each(|times| *times = 0);
                    continue;
                }
                prop_assert!(ended.values().all(|times| *times <= 1));
            }
            now += HOUR_MICROS * 10;
            while !matches!(agenda.next(Timestamp::from_micros_clamped(now)), Next::Rest) {
                match agenda.next(Timestamp::from_micros_clamped(now)) {
                    Next::Read { from, before } => agenda.take(read(&stored, from, before, most), 0),
                    Next::End(all) => {
                        all.iter().for_each(|due| *ended.entry(*due).or_default() += 1);
                        agenda.remove(all.iter());
                    }
                    _ => {}
                }
            }
            prop_assert_eq!(ended.keys().collect::<Vec<_>>(), stored.iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn nothing_is_read_while_nothing_is_due() {
        let mut agenda = Agenda::new(7, KEPT);
        let at = |micros| Timestamp::from_micros_clamped(HOUR_MICROS * 7 + micros);
        let Next::Read { from, before } = agenda.next(at(0)) else { panic!("the hour is read once") };
        let mut read = Soonest::until(hour_begins(before), KEPT);
        read.insert(due(at(50).as_micros(), 1));
        assert_eq!((from, before), (hour_begins(7), 8));
        agenda.take(read, 1);
        assert_eq!(agenda.next(at(49)), Next::Rest);
        agenda.note(&[due(at(20).as_micros(), 2), due(at(HOUR_MICROS).as_micros(), 3)]);
        assert_eq!(agenda.next(at(19)), Next::Rest);
        assert_eq!(agenda.next(at(20)), Next::End(vec![due(at(20).as_micros(), 2)]));
        agenda.remove([due(at(20).as_micros(), 2), due(at(50).as_micros(), 1)].iter());
        assert_eq!(agenda.next(at(HOUR_MICROS - 1)), Next::Rest);
        assert_eq!(agenda.next(at(HOUR_MICROS)), Next::Read { from: hour_begins(8), before: 9 });
    }
}
