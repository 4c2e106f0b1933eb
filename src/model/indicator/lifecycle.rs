//! Decides what may happen to an indicator:
//! `new → updated* → revoked | expired`, and back only by reinstatement.

use crate::model::numbered::numbered;

numbered! {
    /// Where an indicator stands. Numbers are stored and sent: never reuse one.
    pub enum State {
        /// Published and holding.
        Active = 1 is "active",
        /// Taken back by its producer.
        Revoked = 2 is "revoked",
        /// Past its `valid_until`.
        Expired = 3 is "expired",
    }
}

numbered! {
    /// Why an indicator was revoked. Numbers are stored and sent.
    pub enum RevocationReason {
        /// It was wrong: the value is harmless.
        FalsePositive = 1 is "false-positive",
        /// Withdrawn for another reason.
        Withdrawn = 2 is "withdrawn",
        /// Replaced by another indicator.
        Superseded = 3 is "superseded",
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
