//! Decides what a subscriber is handed.

use bytes::Bytes;

use super::received::Received;

/// Events in order, and the token after the last of them. Without events the
/// token alone advanced: store it the same way.
#[derive(Debug, Clone)]
pub struct SubscriptionEvents {
    /// The events; may be empty.
    pub events: Vec<Received>,
    /// Resumes after them.
    pub token: Bytes,
    /// All that was there when the stream was opened has come. Said once for
    /// each stream; later at times.
    pub caught_up: bool,
}

/// What a subscriber is handed.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// Events, or a token alone.
    Events(SubscriptionEvents),
    /// The current state begins: collect the events that follow in a fresh
    /// set, and throw away what an earlier scan that never ended has
    /// collected. What is in use stays in use.
    StateBegin {
        /// Resumes at the beginning of the scan.
        token: Bytes,
    },
    /// The current state is complete: the fresh set takes the place of the old
    /// one as a whole.
    StateEnd {
        /// Resumes after the scan.
        token: Bytes,
    },
    /// What ended during an absence, names only: stop using it, in the set in
    /// use and in a fresh one. The event itself follows in its place. There is
    /// nothing to confirm; after a break it comes again.
    Recalls(Vec<Received>),
}

impl Delivery {
    /// What resumes after it, and is confirmed; `None` for recalls.
    #[must_use]
    pub const fn token(&self) -> Option<&Bytes> {
        match self {
            Self::Events(SubscriptionEvents { token, .. })
            | Self::StateBegin { token }
            | Self::StateEnd { token } => Some(token),
            Self::Recalls(_) => None,
        }
    }

    /// The events in it, recalls among them.
    #[must_use]
    pub fn events(&self) -> &[Received] {
        match self {
            Self::Events(SubscriptionEvents { events, .. }) | Self::Recalls(events) => events,
            Self::StateBegin { .. } | Self::StateEnd { .. } => &[],
        }
    }
}
