//! Decides what an event means for the one who receives it.

/// Kind of an event for its receiver. Numbers are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
}

impl EventKind {
    /// The number that is sent.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}
