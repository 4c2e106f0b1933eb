//! Decides what an event means for the one who receives it, and what a version
//! did.

use super::numbered::numbered;

/// Kind of an event for its receiver. Numbers are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// An indicator that the receiver did not have.
    New = 1,
    /// A new version.
    Update = 2,
    /// The receiver may no longer see it, or it left the filter.
    Withdrawn = 3,
    /// Its producer took it back.
    Revoked = 4,
    /// It is past its validity.
    Expired = 5,
    /// A sighting was reported.
    Sighted = 6,
    /// Another published a value that a hidden indicator of the receiver's
    /// organisation holds.
    Collision = 7,
    /// Leave to republish was asked of the receiver's organisation, or it was
    /// answered.
    Republication = 8,
    /// What a list holds back waits for the receiver's organisation, or was
    /// answered.
    Held = 11,
    /// A unit that leads holds an indicator of the receiver's organisation, or
    /// that has ended.
    Contained = 12,
}

impl EventKind {
    /// The number that is sent.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::New,
            2 => Self::Update,
            3 => Self::Withdrawn,
            4 => Self::Revoked,
            5 => Self::Expired,
            6 => Self::Sighted,
            7 => Self::Collision,
            8 => Self::Republication,
            11 => Self::Held,
            12 => Self::Contained,
            _ => return None,
        })
    }

    /// Whether it says what a version of an indicator is for the receiver, and
    /// gives him the version.
    #[must_use]
    pub const fn gives(self) -> bool {
        matches!(self, Self::New | Self::Update | Self::Revoked | Self::Expired)
    }

    /// Whether it tells the receiver to stop using what he has.
    #[must_use]
    pub const fn recalls(self) -> bool {
        matches!(self, Self::Withdrawn | Self::Revoked | Self::Expired)
    }
}

numbered! {
    /// What a version did, for the one who is told of it. Numbers are sent.
    pub enum VersionChange {
        /// With it the indicator begins for him.
        Created = 1 is "created",
        /// It changed the one before.
        Updated = 2 is "updated",
        /// Its producer took the indicator back.
        Revoked = 3 is "revoked",
        /// The indicator passed its validity.
        Expired = 4 is "expired",
        /// It brought a revoked indicator back.
        Reinstated = 5 is "reinstated",
    }
}
