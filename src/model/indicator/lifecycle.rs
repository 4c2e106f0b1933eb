//! Decides what may happen to an indicator:
//! `new → updated* → revoked | expired`, and back only by reinstatement.

/// Where an indicator stands. Numbers are stored and sent: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Published and holding.
    Active = 1,
    /// Taken back by its producer.
    Revoked = 2,
    /// Past its `valid_until`.
    Expired = 3,
}

impl State {
    /// The number that is stored and sent.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The state with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Active),
            2 => Some(Self::Revoked),
            3 => Some(Self::Expired),
            _ => None,
        }
    }

    /// The state's name at the prompt and in JSON lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }
}

/// Why an indicator was revoked. Numbers are stored and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RevocationReason {
    /// It was wrong: the value is harmless.
    FalsePositive = 1,
    /// Withdrawn for another reason.
    Withdrawn = 2,
    /// Replaced by another indicator.
    Superseded = 3,
}

impl RevocationReason {
    /// The number that is stored and sent.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The reason with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::FalsePositive),
            2 => Some(Self::Withdrawn),
            3 => Some(Self::Superseded),
            _ => None,
        }
    }

    /// The reason's name at the prompt.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FalsePositive => "false-positive",
            Self::Withdrawn => "withdrawn",
            Self::Superseded => "superseded",
        }
    }
}

/// A revocation as its producer states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// The class of reason.
    pub reason: RevocationReason,
    /// Explanation for the reader, at most [`MAX_NOTE_BYTES`]; may be empty.
    pub note: String,
}

/// Longest note of a revocation, reason of a reinstatement, or remark on a
/// sighting, in bytes.
pub const MAX_NOTE_BYTES: usize = 1_024;
