//! Decides how far a subscriber has got: a position of the log, and beside it
//! how much of that which goes out there from the state, not from the log.

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
    /// What a change of the roster at the position brings or takes, up to
    /// here; all of the log before it.
    Roster(Step),
    /// Everything at or before the position.
    Log,
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
            Stage::Roster(step) => (2, step),
        }
    }

    /// From the number of a stage and its step; `None` if there is no such.
    #[must_use]
    pub const fn from_number(position: Position, stage: u8, step: Step) -> Option<Self> {
        let stage = match stage {
            0 => Stage::Log,
            1 => Stage::State(step),
            2 => Stage::Roster(step),
            _ => return None,
        };
        Some(Self { position, stage })
    }
}
