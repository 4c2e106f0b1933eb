//! Decides how far a subscriber has got: a position of the log, and beside it
//! how much of that which goes out there from the state, not from the log.

use std::cmp::Reverse;

use super::audience::ClassNo;
use super::position::Position;

/// How far a subscriber has got. Later is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reached {
    /// Position of the log.
    pub position: Position,
    /// How much of what goes out there.
    pub stage: Stage,
}

/// How much of what goes out at a position a subscriber has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The current state as of the position, up to here; the log before it
    /// was never sent.
    State(Step),
    /// What a change of the roster at the position brings or takes, or so many
    /// of what is the viewer's own, the last of them there, up to here; all of
    /// the log before the first of them.
    Changed(Together, Step),
    /// Everything at or before the position.
    Log,
}

/// How many changes are told of together: one, or more. Of two that end at one
/// place, the one that holds more has less before it, and is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Together(Reverse<u8>);

impl Together {
    /// One by itself.
    pub const ONE: Self = Self(Reverse(1));
    /// Most.
    pub const MOST: u8 = 64;

    /// So many; `None`: none, or too many.
    #[must_use]
    pub const fn new(count: u8) -> Option<Self> {
        if count == 0 || count > Self::MOST { None } else { Some(Self(Reverse(count))) }
    }

    /// How many.
    #[must_use]
    pub const fn count(self) -> u8 {
        self.0.0
    }

    /// One more; `None`: there are as many as can be.
    #[must_use]
    pub const fn more(self) -> Option<Self> {
        Self::new(self.count() + 1)
    }
}

/// A step in a walk over audience classes: by number, and in each by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Step {
    /// The class.
    pub class: ClassNo,
    /// The last version in it that was looked at.
    pub after: Position,
}

impl Reached {
    /// Everything at or before `position`.
    #[must_use]
    pub const fn log(position: Position) -> Self {
        Self { position, stage: Stage::Log }
    }

    /// The number of the stage, as it is stored and sealed, and its step.
    #[must_use]
    pub const fn number(self) -> (u8, Step) {
        match self.stage {
            Stage::Log => (0, Step { class: ClassNo(0), after: Position::ZERO }),
            Stage::State(step) => (1, step),
            Stage::Changed(together, step) => (1 + together.count(), step),
        }
    }

    /// From the number of a stage and its step; `None` if there is no such.
    #[must_use]
    pub const fn from_number(position: Position, stage: u8, step: Step) -> Option<Self> {
        let stage = match stage {
            0 => Stage::Log,
            1 => Stage::State(step),
            _ => match Together::new(stage - 1) {
                Some(together) => Stage::Changed(together, step),
                None => return None,
            },
        };
        Some(Self { position, stage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_is_read_again_from_its_number_and_later_is_greater() {
        let step = |after| Step { class: ClassNo(3), after: Position::from_raw(after) };
        let many = [64, 2, 1].map(|count| Together::new(count).unwrap());
        let changed = many.into_iter().flat_map(|many| [7, 8].map(|after| Stage::Changed(many, step(after))));
        let stages = std::iter::once(Stage::State(step(9))).chain(changed).chain([Stage::Log]);
        let all: Vec<_> = stages.map(|stage| Reached { position: Position::from_raw(5), stage }).collect();
        assert!(all.is_sorted_by(|before, after| before < after), "{all:?}");
        for reached in all {
            let (stage, step) = reached.number();
            assert_eq!(Reached::from_number(reached.position, stage, step), Some(reached));
        }
        assert_eq!(Stage::Changed(Together::ONE, step(1)), from(2).unwrap(), "as it is kept since long");
        assert!([66, 255].into_iter().all(|unknown| from(unknown).is_none()));
        assert_eq!((Together::new(0), Together::new(64).unwrap().more()), (None, None));
    }

    fn from(stage: u8) -> Option<Stage> {
        let step = Step { class: ClassNo(3), after: Position::from_raw(1) };
        Reached::from_number(Position::ZERO, stage, step).map(|reached| reached.stage)
    }
}
