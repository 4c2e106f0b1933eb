//! Decides which connections may exist: how many, from where, and for how long
//! their certificates stay good.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::handshake::Refused;
use super::listener::Limits;
use super::sever::{Cause, End};
use crate::base::clock::Timestamp;
use crate::pki::identity::{CertificateId, Identity};
use crate::pki::tls::{Snapshot, Standing};

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

    pub(super) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_accept_error(&self) {
        self.accept_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self, reason: Refused) {
        if let Some(count) = self.refused.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count_ended(&self, cause: Cause) {
        if let Some(count) = self.ended.get(cause as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Every connection of a listener, from the accepted socket to its close.
#[derive(Debug, Default)]
pub struct Connections {
    state: Mutex<State>,
    counters: Counters,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    total: usize,
    sources: HashMap<IpAddr, Source>,
    live: HashMap<u64, Live>,
}

impl State {
    fn leave_handshake(&mut self, source: IpAddr, shaking: &mut bool) {
        if let Some(source) = self.sources.get_mut(&source).filter(|_| std::mem::take(shaking)) {
            source.handshakes = source.handshakes.saturating_sub(1);
        }
    }
}

#[derive(Debug, Default)]
struct Source {
    connections: usize,
    handshakes: usize,
}

#[derive(Debug)]
struct Live {
    certificate: CertificateId,
    not_after: Timestamp,
    end: End,
}

impl Connections {
    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Connections that are being served.
    #[must_use]
    pub fn live(&self) -> usize {
        self.state.lock().live.len()
    }

    /// Connections in all, those at the handshake included.
    #[must_use]
    pub fn total(&self) -> usize {
        self.state.lock().total
    }

    /// Ends every connection under `certificate`; returns how many.
    pub fn sever(&self, certificate: &CertificateId, cause: Cause) -> usize {
        self.end_where(cause, |live| live.certificate == *certificate)
    }

    /// Ends every connection whose certificate is no longer good under
    /// `snapshot`, and no other; returns how many. To be called after each
    /// swap.
    pub fn sweep(&self, snapshot: &Snapshot, now: Timestamp) -> usize {
        let standing = |live: &Live| snapshot.standing(&live.certificate, live.not_after, now);
        self.end_where(Cause::Revoked, |live| standing(live) == Standing::Revoked)
            + self.end_where(Cause::Expired, |live| standing(live) == Standing::Expired)
    }

    fn end_where(&self, cause: Cause, chosen: impl Fn(&Live) -> bool) -> usize {
        // Ended outside the lock: waking a task may drop it, and with it a
        // place in this very table.
        let ends: Vec<End> = self
            .state
            .lock()
            .live
            .values()
            .filter(|live| chosen(live))
            .map(|live| live.end.clone())
            .collect();
        ends.iter().filter(|end| self.end(end, cause)).count()
    }

    /// Ends one connection and counts it.
    pub(super) fn end(&self, end: &End, cause: Cause) -> bool {
        let first = end.end(cause);
        if first {
            self.counters.count_ended(cause);
        }
        first
    }

    /// A place for a connection from `from`, if there is room.
    ///
    /// # Errors
    /// Which limit is reached.
    pub(super) fn admit(self: &Arc<Self>, from: IpAddr, limits: &Limits) -> Result<Place, Refused> {
        let source = source_of(from);
        let mut state = self.state.lock();
        if state.total >= limits.max_connections {
            return Err(Refused::ConnectionsSaturated);
        }
        let known = state.sources.entry(source).or_default();
        if known.connections >= limits.max_connections_per_source
            || known.handshakes >= limits.max_handshakes_per_source
        {
            return Err(Refused::SourceSaturated);
        }
        known.connections += 1;
        known.handshakes += 1;
        state.total += 1;
        let number = state.next;
        state.next += 1;
        drop(state);
        Ok(Place { all: Arc::clone(self), source, number, shaking: true })
    }
}

/// The network that a source is counted as: an address, or a /64 of IPv6, for
/// one host owns at least that much.
fn source_of(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// A connection's place in the table; leaves it when dropped.
pub(super) struct Place {
    all: Arc<Connections>,
    source: IpAddr,
    number: u64,
    shaking: bool,
}

impl Place {
    /// The handshake is over: registers the connection, so that from now on a
    /// revocation finds it.
    pub(super) fn register(&mut self, identity: &Identity, not_after: Timestamp, end: &End) {
        let live = Live { certificate: identity.certificate_id(), not_after, end: end.clone() };
        let mut state = self.all.state.lock();
        state.live.insert(self.number, live);
        state.leave_handshake(self.source, &mut self.shaking);
        drop(state);
        self.all.counters.served.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let removed = {
            let mut state = self.all.state.lock();
            let removed = state.live.remove(&self.number);
            state.leave_handshake(self.source, &mut self.shaking);
            state.total = state.total.saturating_sub(1);
            if let Some(source) = state.sources.get_mut(&self.source) {
                source.connections = source.connections.saturating_sub(1);
                if source.connections == 0 {
                    state.sources.remove(&self.source);
                }
            }
            removed
        };
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            max_connections: 3,
            max_connections_per_source: 2,
            max_handshakes_per_source: 2,
            ..Limits::default()
        }
    }

    #[test]
    fn one_source_cannot_take_every_place() {
        let all = Arc::new(Connections::default());
        let greedy = IpAddr::from([192, 0, 2, 1]);
        let _two = [all.admit(greedy, &limits()).unwrap(), all.admit(greedy, &limits()).unwrap()];
        assert_eq!(all.admit(greedy, &limits()).unwrap_err(), Refused::SourceSaturated);
        assert!(all.admit(IpAddr::from([192, 0, 2, 2]), &limits()).is_ok());
    }

    #[test]
    fn one_network_of_version_six_is_one_source() {
        let all = Arc::new(Connections::default());
        let host = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, last]);
        let _two = [all.admit(host(1), &limits()).unwrap(), all.admit(host(2), &limits()).unwrap()];
        assert_eq!(all.admit(host(3), &limits()).unwrap_err(), Refused::SourceSaturated);
    }

    #[test]
    fn a_place_is_free_again_once_left() {
        let all = Arc::new(Connections::default());
        for last in 0..100_u8 {
            drop(all.admit(IpAddr::from([192, 0, 2, last]), &limits()).unwrap());
        }
        assert_eq!(all.total(), 0);
        assert!(all.state.lock().sources.is_empty());
    }
}
