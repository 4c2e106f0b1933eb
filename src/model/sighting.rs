//! Decides what a sighting is: what an organisation met, or searched for and
//! did not meet.

use crate::base::clock::Timestamp;
use crate::model::marking::Marking;
use crate::model::numbered::numbered;

numbered! {
    /// What a sighting says. Numbers are stored and sent.
    pub enum Outcome {
        /// Met, and blocked.
        SeenBlocked = 1 is "seen-blocked",
        /// Met, and not blocked.
        SeenNotBlocked = 2 is "seen-not-blocked",
        /// Searched for without a result.
        SearchedNotFound = 3 is "searched-not-found",
        /// Met, and harmless.
        FalsePositive = 4 is "false-positive",
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
    /// How far it may travel; `None`: to the indicator's owner alone.
    pub marking: Option<Marking>,
}
