//! Decides what a sighting is: what an organisation met, or searched for and
//! did not meet.

use crate::base::clock::Timestamp;

/// What a sighting says. Numbers are stored and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// Met, and blocked.
    SeenBlocked = 1,
    /// Met, and not blocked.
    SeenNotBlocked = 2,
    /// Searched for without a result.
    SearchedNotFound = 3,
    /// Met, and harmless.
    FalsePositive = 4,
}

impl Outcome {
    /// The number that is stored and sent.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The outcome with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::SeenBlocked),
            2 => Some(Self::SeenNotBlocked),
            3 => Some(Self::SearchedNotFound),
            4 => Some(Self::FalsePositive),
            _ => None,
        }
    }

    /// The outcome's name at the prompt.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SeenBlocked => "seen-blocked",
            Self::SeenNotBlocked => "seen-not-blocked",
            Self::SearchedNotFound => "searched-not-found",
            Self::FalsePositive => "false-positive",
        }
    }
}

/// A sighting to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SightingDraft {
    /// Public id of the indicator, the UUID of its resource name.
    pub indicator: uuid::Uuid,
    /// What happened.
    pub outcome: Outcome,
    /// How often; 0 only for [`Outcome::SearchedNotFound`].
    pub count: u64,
    /// First time.
    pub first_seen: Option<Timestamp>,
    /// Last time.
    pub last_seen: Option<Timestamp>,
    /// Remark for the owner; may be empty.
    pub note: String,
}
