//! Decides what a change of the roster is in the log, and how long one waits
//! for a second person.

use time::Date;

use super::position::Position;
use super::roster::Patch;
use crate::base::clock::Timestamp;

/// How long a change waits for a second person, in microseconds: 7 days.
pub const PATIENCE: u64 = 7 * 24 * 3_600 * 1_000_000;
/// Most changes that wait at once.
pub const MAX_PENDING: usize = 16;

/// Names what a roster says, to the letter.
pub type RosterDigest = [u8; 16];

/// A change of who takes part; an empty one is a mere turn of the day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterChange {
    /// What changes.
    pub patch: Patch,
    /// The day for which rights are resolved from here on.
    pub date: Date,
    /// The roster that it was made for; `None`: whichever stands.
    pub base: Option<RosterDigest>,
    /// The proposal that it carries out.
    pub proposal: Option<Position>,
}

impl RosterChange {
    /// A change of whichever roster stands.
    #[must_use]
    pub const fn new(patch: Patch, date: Date) -> Self {
        Self { patch, date, base: None, proposal: None }
    }
}

/// A change that waits for a second person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingChange {
    /// What it would change.
    pub change: RosterChange,
    /// Who proposed it.
    pub author: String,
    /// When.
    pub time: Timestamp,
}

impl PendingChange {
    /// From when on nobody can agree to it any more.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        Timestamp::from_micros_clamped(self.time.as_micros().saturating_add(PATIENCE))
    }

    /// Whether somebody can agree to it at `now`.
    #[must_use]
    pub fn stands(&self, now: Timestamp) -> bool {
        now < self.expires()
    }
}
