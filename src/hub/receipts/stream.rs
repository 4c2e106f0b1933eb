//! Decides what is gathered of a stream between two commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::base::clock::Timestamp;
use crate::model::position::Position;
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
    /// The last acknowledgement, until it is taken.
    ack: Option<(Timestamp, Position)>,
    /// Up to where was acknowledged.
    acked: Position,
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

    /// Adds what went out, and to `waiting` by how many entries that grew, for
    /// neighbours become one; whether the journal has to be told that there is
    /// something.
    pub(super) fn add(&self, way: Way, told: Told, now: Timestamp, waiting: &AtomicUsize) -> bool {
        let mut gathered = self.gathered.lock();
        gathered.since.get_or_insert(now);
        let of_way = match way {
            Way::Recalled => &mut gathered.recalled,
            _ => &mut gathered.delivered,
        };
        let before = of_way.weight();
        of_way.append(told);
        // Before it can be taken, so that no more is taken than was added.
        waiting.fetch_add(of_way.weight() - before, Ordering::Relaxed);
        !std::mem::replace(&mut gathered.listed, true)
    }

    /// Keeps an acknowledgement, if it goes further than those before; whether
    /// it is the first that waits.
    pub(super) fn acknowledge(&self, position: Position, now: Timestamp) -> bool {
        let mut gathered = self.gathered.lock();
        if position <= gathered.acked {
            return false;
        }
        gathered.acked = position;
        gathered.ack.replace((now, position)).is_none()
    }

    /// Whether an acknowledgement waits.
    pub(super) fn is_acking(&self) -> bool {
        self.gathered.lock().ack.is_some()
    }

    /// Takes the acknowledgement that waits.
    pub(super) fn take_ack(&self) -> Option<Noted> {
        let (time, position) = self.gathered.lock().ack.take()?;
        let (party, told) = (Arc::clone(&self.party), Told::default());
        Some(Noted { party, way: Way::Acknowledged, time, audit: None, told, acked: Some(position) })
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
