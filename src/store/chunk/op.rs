//! Decides what an item of the log can have done.

/// What an item did. Numbers are stored: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Op {
    /// A record was born.
    Create = 1,
    /// A new version.
    Update = 2,
    /// Its producer took it back.
    Revoke = 3,
    /// It passed its validity.
    Expire = 4,
    /// A revoked record was brought back.
    Reinstate = 5,
    /// A sighting was reported.
    Sight = 6,
    /// An owner was told that another published its value.
    Notice = 7,
    /// Leave to republish was asked for, given or withdrawn.
    Leave = 8,
    /// Nothing any more: it was cut out below a base. No reader meets one.
    Gone = 9,
    /// A record was born, and nothing else of that version is left.
    Born = 10,
    /// What a list holds back of an indicator waits for a second person, or is
    /// answered.
    Held = 12,
    /// A unit that leads holds an indicator, or that has ended: its owner is told.
    Contain = 13,
}

impl Op {
    pub(super) const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Create),
            2 => Some(Self::Update),
            3 => Some(Self::Revoke),
            4 => Some(Self::Expire),
            5 => Some(Self::Reinstate),
            6 => Some(Self::Sight),
            7 => Some(Self::Notice),
            8 => Some(Self::Leave),
            9 => Some(Self::Gone),
            10 => Some(Self::Born),
            12 => Some(Self::Held),
            13 => Some(Self::Contain),
            _ => None,
        }
    }

    /// Whether a record was born there.
    #[must_use]
    pub const fn is_birth(self) -> bool {
        matches!(self, Self::Create | Self::Born)
    }

    /// Whether the item is a version of an indicator, not something told of
    /// one.
    #[must_use]
    pub const fn is_version(self) -> bool {
        !matches!(
            self,
            Self::Sight | Self::Notice | Self::Leave | Self::Held | Self::Contain | Self::Gone | Self::Born
        )
    }
}
