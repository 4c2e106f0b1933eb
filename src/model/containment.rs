//! Decides what the hold of a unit that leads is: an indicator within its
//! audience is kept from everyone but its owner and the one that leads, for a
//! day at most.

use std::time::Duration;

use super::audience::ClassNo;
use super::numbered::numbered;
use super::org::OrgNo;
use super::position::Position;
use super::principal::SpiffeId;
use crate::base::clock::Timestamp;

/// How long a hold lasts at most.
pub const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// Most holds that last at once.
pub const MAX_LASTING: usize = 1_024;
/// Longest reason of a hold, or note of its release, in bytes.
pub const MAX_REASON_BYTES: usize = 1_024;

numbered! {
    /// Where a hold stands. Numbers are stored and sent.
    pub enum HoldState {
        /// It lasts.
        Lasting = 1 is "held",
        /// It was ended, or ended by itself.
        Released = 2 is "released",
        /// Its owner revoked the indicator meanwhile: until its time is over
        /// nobody brings that back.
        Revoked = 3 is "revoked",
    }
}

/// A hold on an indicator. It ends with what its owner says next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Containment {
    /// Who leads, and holds.
    pub by: OrgNo,
    /// The person, while it lasts.
    pub person: Option<SpiffeId>,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
    /// Audience class of the indicator before, which comes back.
    pub class: ClassNo,
    /// Where it was told last how it stands.
    pub at: Position,
    /// Where it stands.
    pub state: HoldState,
}

impl Containment {
    /// Whether it lasts.
    #[must_use]
    pub const fn lasts(&self) -> bool {
        matches!(self.state, HoldState::Lasting)
    }

    /// Whether it keeps another version out.
    #[must_use]
    pub fn blocks(&self, now: Timestamp) -> bool {
        self.lasts() || (self.state == HoldState::Revoked && now < self.until)
    }

    /// The same, ended.
    #[must_use]
    pub fn released(self) -> Self {
        Self { person: None, state: HoldState::Released, ..self }
    }

    /// The same, of an indicator that was revoked.
    #[must_use]
    pub fn revoked(self) -> Self {
        Self { person: None, state: HoldState::Revoked, ..self }
    }
}
