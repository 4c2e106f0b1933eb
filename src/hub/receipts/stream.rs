//! Decides what is gathered of a stream between two commits.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::clock::Timestamp;
use crate::model::receipt::{Told, Way};
use crate::store::receipts::Party;

use super::journal::Noted;

/// A stream of a subscription, and what it delivered that is not on record yet.
#[derive(Debug)]
pub struct Stream {
    party: Arc<Party>,
    gathered: Mutex<Gathered>,
}

#[derive(Debug, Default)]
struct Gathered {
    delivered: Told,
    recalled: Told,
    /// When the first of it was.
    since: Option<Timestamp>,
    /// Whether the journal knows that there is something.
    listed: bool,
}

impl Stream {
    /// A stream that has delivered nothing.
    #[must_use]
    pub fn new(party: Party) -> Arc<Self> {
        Arc::new(Self { party: Arc::new(party), gathered: Mutex::default() })
    }

    /// Who receives.
    #[must_use]
    pub const fn party(&self) -> &Arc<Party> {
        &self.party
    }

    /// Adds what went out: by how many entries that grew, for neighbours become
    /// one, and whether the journal has to be told that there is something.
    pub(super) fn add(&self, way: Way, told: Told, now: Timestamp) -> (usize, bool) {
        let mut gathered = self.gathered.lock();
        gathered.since.get_or_insert(now);
        let of_way = match way {
            Way::Recalled => &mut gathered.recalled,
            _ => &mut gathered.delivered,
        };
        let before = of_way.weight();
        of_way.append(told);
        let grown = of_way.weight() - before;
        (grown, !std::mem::replace(&mut gathered.listed, true))
    }

    /// Takes what was gathered; `unlist`: the journal has forgotten the stream.
    pub(super) fn take(&self, unlist: bool, out: &mut Vec<Noted>) {
        let mut gathered = self.gathered.lock();
        gathered.listed &= !unlist;
        let Some(time) = gathered.since.take() else { return };
        // Recalls go out before anything else does.
        for (way, told) in [
            (Way::Recalled, std::mem::take(&mut gathered.recalled)),
            (Way::Delivered, std::mem::take(&mut gathered.delivered)),
        ] {
            if !told.is_empty() {
                let party = Arc::clone(&self.party);
                out.push(Noted { party, way, time, audit: None, told, acked: None });
            }
        }
    }
}
