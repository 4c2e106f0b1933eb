//! Decides which connections may exist: how many, from where, and for how long
//! their certificates stay good.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fmt, iter};

use parking_lot::Mutex;
use tokio::sync::oneshot;

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
    /// Connections that have not finished the handshake.
    pending: usize,
    /// Those of them that have said nothing yet, the oldest first.
    silent: BTreeMap<u64, Silent>,
    networks: HashMap<Network, Crowd>,
    live: HashMap<u64, Live>,
}

impl State {
    fn leave_handshake(&mut self, networks: Networks) {
        self.pending = self.pending.saturating_sub(1);
        for network in networks.each() {
            if let Some(crowd) = self.networks.get_mut(&network) {
                crowd.handshakes = crowd.handshakes.saturating_sub(1);
            }
        }
    }

    fn leave(&mut self, networks: Networks) {
        for network in networks.each() {
            if let Some(crowd) = self.networks.get_mut(&network) {
                crowd.connections = crowd.connections.saturating_sub(1);
                if crowd.connections == 0 {
                    self.networks.remove(&network);
                }
            }
        }
    }

    /// Takes the place of the connection that has been silent for longest.
    fn displace(&mut self) -> Option<Silent> {
        let (_, oldest) = self.silent.pop_first()?;
        self.leave_handshake(oldest.networks);
        self.leave(oldest.networks);
        Some(oldest)
    }
}

/// A connection that has said nothing yet.
#[derive(Debug)]
struct Silent {
    networks: Networks,
    /// Gone with it, which tells the connection that it lost its place.
    _place: oneshot::Sender<Infallible>,
}

/// How many connections a network has.
#[derive(Debug, Default)]
struct Crowd {
    connections: usize,
    handshakes: usize,
}

/// What is counted together: its first address and the length of its prefix.
type Network = (IpAddr, u8);

/// How many times as much the wide network may have as the narrow one.
const WIDE_FACTOR: usize = 4;

/// The networks that a source is counted in.
#[derive(Debug, Clone, Copy)]
struct Networks {
    narrow: Network,
    wide: Option<Network>,
}

impl Networks {
    /// An address alone, or a /64 of IPv6, for one host owns at least that
    /// much, and the /48 around it, for one site does.
    fn of(from: IpAddr) -> Self {
        match from.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self {
                    narrow: (Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into(), 64),
                    wide: Some((Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into(), 48)),
                }
            }
            v4 => Self { narrow: (v4, 32), wide: None },
        }
    }

    fn each(self) -> impl Iterator<Item = Network> {
        iter::once(self.narrow).chain(self.wide)
    }

    /// Each network with how many times the limits of one source it may reach.
    fn factors(self) -> impl Iterator<Item = (Network, usize)> {
        self.each().zip([1, WIDE_FACTOR])
    }
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
        let state = self.state.lock();
        state.pending + state.live.len()
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

    /// A place for a connection from `from`, if there is room. Where only
    /// connections before their handshake are in the way, the one that has
    /// been silent for longest loses its place.
    ///
    /// # Errors
    /// Which limit is reached.
    pub(super) fn admit(self: &Arc<Self>, from: IpAddr, limits: &Limits) -> Result<Place, Refused> {
        let networks = Networks::of(from);
        let mut state = self.state.lock();
        if state.live.len() >= limits.max_connections {
            return Err(Refused::ConnectionsSaturated);
        }
        let crowded = networks.factors().any(|(network, factor)| {
            state.networks.get(&network).is_some_and(|crowd| {
                crowd.connections >= limits.max_connections_per_source.saturating_mul(factor)
                    || crowd.handshakes >= limits.max_handshakes_per_source.saturating_mul(factor)
            })
        });
        if crowded {
            return Err(Refused::SourceSaturated);
        }
        let displaced = if state.pending >= limits.max_pending {
            Some(state.displace().ok_or(Refused::HandshakesSaturated)?)
        } else {
            None
        };
        for network in networks.each() {
            let crowd = state.networks.entry(network).or_default();
            crowd.connections += 1;
            crowd.handshakes += 1;
        }
        state.pending += 1;
        let number = state.next;
        state.next += 1;
        let (sender, displacement) = oneshot::channel();
        state.silent.insert(number, Silent { networks, _place: sender });
        drop(state);
        // Outside the lock, for it wakes a task.
        drop(displaced);
        Ok(Place { all: Arc::clone(self), networks, number, stage: Stage::Silent(displacement) })
    }
}

/// A connection's place in the table; leaves it when dropped.
pub(super) struct Place {
    all: Arc<Connections>,
    networks: Networks,
    number: u64,
    stage: Stage,
}

/// How far a connection has come.
enum Stage {
    /// It has said nothing and may lose its place.
    Silent(oneshot::Receiver<Infallible>),
    /// It has begun the handshake.
    Shaking,
    /// It is served.
    Live,
    /// Its place is another's.
    Displaced,
}

impl Place {
    /// Resolves once the place was given to another; never after the first
    /// word.
    pub(super) async fn displaced(&mut self) {
        match &mut self.stage {
            Stage::Silent(displacement) => drop(displacement.await),
            Stage::Shaking | Stage::Live => std::future::pending().await,
            Stage::Displaced => {}
        }
    }

    /// The client has said hello: from now on the place is safe. Returns
    /// whether it still was there.
    pub(super) fn hear(&mut self) -> bool {
        if matches!(self.stage, Stage::Silent(_)) {
            let kept = self.all.state.lock().silent.remove(&self.number);
            self.stage = if kept.is_some() { Stage::Shaking } else { Stage::Displaced };
        }
        !matches!(self.stage, Stage::Displaced)
    }

    /// The handshake is over: registers the connection, so that from now on a
    /// revocation finds it.
    ///
    /// # Errors
    /// The hub is full, or the place was lost.
    pub(super) fn register(
        &mut self,
        identity: &Identity,
        not_after: Timestamp,
        end: &End,
        limits: &Limits,
    ) -> Result<(), Refused> {
        if !self.hear() {
            return Err(Refused::Displaced);
        }
        let live = Live { certificate: identity.certificate_id(), not_after, end: end.clone() };
        let mut state = self.all.state.lock();
        if state.live.len() >= limits.max_connections {
            return Err(Refused::ConnectionsSaturated);
        }
        state.live.insert(self.number, live);
        state.leave_handshake(self.networks);
        self.stage = Stage::Live;
        drop(state);
        self.all.counters.served.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // One that was displaced has left the table already.
        if !self.hear() {
            return;
        }
        let removed = {
            let mut state = self.all.state.lock();
            let removed = state.live.remove(&self.number);
            if removed.is_none() {
                state.leave_handshake(self.networks);
            }
            state.leave(self.networks);
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
            max_pending: 3,
            max_connections_per_source: 2,
            max_handshakes_per_source: 2,
            ..Limits::default()
        }
    }

    #[test]
    fn one_source_cannot_take_every_place() {
        let many = usize::MAX;
        for limits in [
            Limits { max_connections_per_source: many, ..limits() },
            Limits { max_handshakes_per_source: many, ..limits() },
        ] {
            let all = Arc::new(Connections::default());
            let greedy = IpAddr::from([192, 0, 2, 1]);
            let _two = [all.admit(greedy, &limits).unwrap(), all.admit(greedy, &limits).unwrap()];
            assert_eq!(all.admit(greedy, &limits).unwrap_err(), Refused::SourceSaturated);
            assert!(all.admit(IpAddr::from([192, 0, 2, 2]), &limits).is_ok());
        }
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
        assert!(all.state.lock().networks.is_empty());
    }

    #[test]
    fn a_site_of_version_six_cannot_take_every_place_by_its_many_networks() {
        let all = Arc::new(Connections::default());
        let limits = Limits { max_pending: 100, ..limits() };
        let host = |site: u16, network: u16| IpAddr::from([0x2001, 0xdb8, site, network, 0, 0, 0, 1]);
        let _places: Vec<_> = (0..8).map(|network| all.admit(host(1, network), &limits).unwrap()).collect();
        assert_eq!(all.admit(host(1, 8), &limits).unwrap_err(), Refused::SourceSaturated);
        assert!(all.admit(host(2, 0), &limits).is_ok());
    }

    #[test]
    fn a_newcomer_takes_the_place_of_the_one_that_was_silent_for_longest() {
        let all = Arc::new(Connections::default());
        let mut places: Vec<_> =
            (0..3_u8).map(|last| all.admit(IpAddr::from([192, 0, 2, last]), &limits()).unwrap()).collect();
        assert!(places[0].hear());
        places.push(all.admit(IpAddr::from([192, 0, 2, 9]), &limits()).unwrap());
        assert_eq!(all.total(), 3);
        let kept: Vec<_> = places.iter_mut().map(Place::hear).collect();
        assert_eq!(kept, [true, false, true, true]);
        drop(places);
        assert_eq!(all.total(), 0);
        assert!(all.state.lock().networks.is_empty());
    }

    #[test]
    fn those_who_have_said_hello_are_not_displaced() {
        let all = Arc::new(Connections::default());
        let mut places: Vec<_> =
            (0..3_u8).map(|last| all.admit(IpAddr::from([192, 0, 2, last]), &limits()).unwrap()).collect();
        assert!(places.iter_mut().all(Place::hear));
        let late = all.admit(IpAddr::from([192, 0, 2, 9]), &limits());
        assert_eq!(late.unwrap_err(), Refused::HandshakesSaturated);
    }
}
