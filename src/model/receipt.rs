//! Decides what a receipt says: which versions went to whom, in which way, so
//! that it can be told later who received what.

use super::event::EventKind;
use super::numbered::numbered;
use super::position::Position;

numbered! {
    /// In which way something reached a principal. Numbers are stored and sent.
    pub enum Way {
        /// Delivered to a subscription.
        Delivered = 1 is "delivered",
        /// Recalled before the deliveries went on after an absence.
        Recalled = 2 is "recalled",
        /// Acknowledged by a named subscription.
        Acknowledged = 3 is "acknowledged",
        /// Read: got, listed, among its versions or in the dossier of a value.
        Read = 4 is "read",
        /// Met by a look-up.
        LookedUp = 5 is "looked-up",
        /// Written into a file.
        Exported = 6 is "exported",
    }
}

/// Neighbouring positions at which records were born.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// The first of them.
    pub first: Position,
    /// How many; at least 1.
    pub count: u64,
}

impl Run {
    /// The position behind the last.
    const fn end(self) -> u64 {
        self.first.raw().saturating_add(self.count)
    }

    /// Whether the position is among them.
    #[must_use]
    pub const fn holds(self, position: Position) -> bool {
        self.first.raw() <= position.raw() && position.raw() < self.end()
    }
}

/// Anything else that was told of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Other {
    /// Where the record was born; of what is told of a record, of that one.
    pub handle: Position,
    /// What was told.
    pub position: Position,
    /// What it was for the receiver; `None`: he asked for it himself.
    pub kind: Option<EventKind>,
    /// What an acknowledgement of it has to reach: where it was told, which of
    /// what a change of the roster takes is past the version that it takes.
    pub reach: Position,
}

/// What was told in one portion: births as runs, for chunks that go out whole
/// bring little else, and each other thing by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    births: Vec<Run>,
    others: Vec<Other>,
}

impl Told {
    /// What is made of these parts.
    #[must_use]
    pub const fn of(births: Vec<Run>, others: Vec<Other>) -> Self {
        Self { births, others }
    }

    /// So many records that were born from `first` on, one behind the other.
    pub fn born(&mut self, first: Position, count: usize) {
        let count = count as u64;
        match self.births.last_mut() {
            Some(last) if last.end() == first.raw() => last.count += count,
            _ if count == 0 => {}
            _ => self.births.push(Run { first, count }),
        }
    }

    /// A version, or what is told of a record, as an event.
    pub fn event(&mut self, handle: Position, position: Position, kind: EventKind) {
        if kind == EventKind::New && handle == position {
            self.born(position, 1);
        } else {
            self.others.push(Other { handle, position, kind: Some(kind), reach: position });
        }
    }

    /// A version that what lies at `reach` takes from the receiver.
    pub fn withdrawn(&mut self, handle: Position, position: Position, reach: Position) {
        self.others.push(Other { handle, position, kind: Some(EventKind::Withdrawn), reach });
    }

    /// A version that was asked for.
    pub fn read(&mut self, handle: Position, position: Position) {
        if handle == position {
            self.born(position, 1);
        } else {
            self.others.push(Other { handle, position, kind: None, reach: position });
        }
    }

    /// What was told after it.
    pub fn append(&mut self, later: Self) {
        for run in later.births {
            match self.births.last_mut() {
                Some(last) if last.end() == run.first.raw() => last.count += run.count,
                _ => self.births.push(run),
            }
        }
        self.others.extend(later.others);
    }

    /// Brings what was asked for, in whatever order, into the shortest form.
    pub fn settle(&mut self) {
        self.births.sort_unstable();
        self.others.sort_unstable();
        self.others.dedup();
        let mut settled: Vec<Run> = Vec::with_capacity(self.births.len());
        for run in self.births.drain(..) {
            match settled.last_mut() {
                Some(last) if run.first.raw() <= last.end() => {
                    last.count = run.end().max(last.end()) - last.first.raw();
                }
                _ => settled.push(run),
            }
        }
        self.births = settled;
    }

    /// Births.
    #[must_use]
    pub fn births(&self) -> &[Run] {
        &self.births
    }

    /// All else, in order.
    #[must_use]
    pub fn others(&self) -> &[Other] {
        &self.others
    }

    /// Whether nothing was told.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.births.is_empty() && self.others.is_empty()
    }

    /// How many entries it takes: about 16 bytes each in memory.
    #[must_use]
    pub const fn weight(&self) -> usize {
        self.births.len() + self.others.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(raw: u64) -> Position {
        Position::from_raw(raw)
    }

    #[test]
    fn neighbours_that_went_out_one_behind_the_other_are_one_run() {
        let mut told = Told::default();
        told.born(at(10), 16);
        told.born(at(26), 16);
        told.event(at(42), at(42), EventKind::New);
        told.event(at(3), at(43), EventKind::Update);
        told.born(at(44), 1);
        let mut later = Told::default();
        later.born(at(45), 2);
        told.append(later);
        assert_eq!(
            told.births(),
            [Run { first: at(10), count: 33 }, Run { first: at(44), count: 3 }],
            "what else was told between two births keeps them apart"
        );
        let update = Other { handle: at(3), position: at(43), kind: Some(EventKind::Update), reach: at(43) };
        assert_eq!((told.others(), told.weight()), ([update].as_slice(), 3));
    }

    #[test]
    fn what_was_asked_for_in_any_order_settles_into_the_fewest_runs() {
        let mut told = Told::default();
        for position in [9, 3, 4, 9, 5, 8] {
            told.read(at(position), at(position));
        }
        told.read(at(1), at(7));
        told.read(at(1), at(7));
        told.settle();
        assert_eq!(told.births(), [Run { first: at(3), count: 3 }, Run { first: at(8), count: 2 }]);
        assert_eq!(told.others(), [Other { handle: at(1), position: at(7), kind: None, reach: at(7) }]);
    }
}
