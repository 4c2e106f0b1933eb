//! Decides what a listener counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::server::handshake::Refused;
use crate::server::sever::Cause;

/// What a listener counted since it started.
#[derive(Debug, Default)]
pub struct Counters {
    accepted: AtomicU64,
    accept_errors: AtomicU64,
    served: AtomicU64,
    refused: [AtomicU64; Refused::ALL.len()],
    ended: [AtomicU64; Cause::ALL.len()],
}

impl Counters {
    /// TCP connections accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Failures to accept, such as running out of file descriptors.
    #[must_use]
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }

    /// Connections whose handshake succeeded.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Connections refused for this reason.
    #[must_use]
    pub fn refused(&self, reason: Refused) -> u64 {
        self.refused.get(reason as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Connections that the hub ended for this cause.
    #[must_use]
    pub fn ended(&self, cause: Cause) -> u64 {
        self.ended.get(cause as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    pub(in crate::server) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::server) fn count_accept_error(&self) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::server) fn count_refused(&self, reason: Refused) {
        if let Some(count) = self.refused.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count_served(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_ended(&self, cause: Cause) {
        if let Some(count) = self.ended.get(cause as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}
