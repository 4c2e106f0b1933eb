//! Decides that no call ends without its record, and that no answer which holds
//! what few may see leaves before its record is durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use uuid::Uuid;

use crate::model::indicator::Observable;
use crate::policy::access::Method;
use crate::store::keys;

use super::super::caller::{Caller, PeerCertificate};
use super::super::engine::{Hub, draining};
use super::super::error::Error;
use super::super::work::read_only;
use super::trail::Trail;

/// How a call ends that went well.
const OK: &str = "OK";

/// A call that is to have a record, whatever becomes of it.
#[derive(Debug)]
pub struct Closing {
    hub: Arc<Hub>,
    trail: Trail,
    ended: AtomicBool,
}

impl Closing {
    /// A call begins.
    #[must_use]
    pub fn begin(hub: &Arc<Hub>, call: Uuid, method: Option<Method>, peer: &PeerCertificate) -> Arc<Self> {
        let trail = Trail::begin(call, method, peer, hub.now());
        Arc::new(Self { hub: Arc::clone(hub), trail, ended: AtomicBool::new(false) })
    }

    /// What the engine notes of the call.
    #[must_use]
    pub const fn trail(&self) -> &Trail {
        &self.trail
    }

    /// Notes that a stream begins; returns once that is durable, if it may carry
    /// content.
    ///
    /// # Errors
    /// `STORE_READ_ONLY`, `DRAINING`.
    pub async fn open(&self) -> Result<(), Error> {
        self.hub.note(&self.trail, true, OK).await
    }

    /// Notes how a call of one answer ended; returns once the answer may leave.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn conclude(&self, outcome: &'static str) -> Result<(), Error> {
        if self.ended.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.hub.note(&self.trail, false, outcome).await
    }

    /// Notes how a call ended of which nothing is to leave any more.
    pub fn end(&self, outcome: &'static str) {
        if !self.ended.swap(true, Ordering::AcqRel) && !self.trail.is_written() {
            self.hub.shared.note_call(&self.trail, false, outcome);
        }
    }
}

impl Hub {
    /// Notes how one message of a stream was answered; returns once the answer
    /// may leave.
    ///
    /// # Errors
    /// `STORE_READ_ONLY`, `DRAINING`.
    pub async fn conclude(&self, trail: &Trail, outcome: &'static str) -> Result<(), Error> {
        self.note(trail, false, outcome).await
    }

    /// Notes which values a caller asks about, by a digest under a key of the
    /// hub's: who has them can have it confirmed, and nobody can guess them.
    pub fn note_values(&self, caller: &Caller, values: &[Observable]) {
        let keys: Vec<_> = values.iter().map(keys::value).collect();
        caller.trail().digest(self.shared.audit.keyed().of(keys.iter().map(Vec::as_slice)));
    }

    async fn note(&self, trail: &Trail, opened: bool, outcome: &'static str) -> Result<(), Error> {
        if trail.is_written() {
            return Ok(());
        }
        let Some(number) = self.shared.note_call(trail, opened, outcome) else { return Ok(()) };
        let journal = &self.shared.audit.journal;
        if outcome == OK {
            self.shared.note_told(trail, Some(number));
            self.shared.receipts.room().await;
        }
        if outcome != OK || !trail.must_wait() {
            if journal.is_crowded() {
                // That it was lost is told to whoever waits for it.
                let _ = journal.durable(number).await;
            }
            return Ok(());
        }
        let durable = journal.durable(number).await;
        trail.noted(self.shared.audit.index_of(number));
        durable.map_err(|_| self.shared.latch.reason().map_or_else(draining, |reason| read_only(&reason)))
    }
}
