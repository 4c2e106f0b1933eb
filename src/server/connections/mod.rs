//! Decides which connections may exist: how many, from where, and for how long
//! their certificates stay good.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::handshake::Refused;
use super::listener::Limits;
use super::sever::{Cause, End};
use crate::base::clock::Timestamp;
use crate::model::org::OrgSlug;
use crate::model::principal::SpiffeId;
use crate::pki::identity::{CertificateId, Identity, IssuerDigest};
use crate::pki::tls::Snapshot;

mod counters;
mod networks;

pub use counters::Counters;
use networks::{Crowd, Network, Networks};

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

#[derive(Debug)]
struct Live {
    identity: Identity,
    end: End,
}

/// Which connections are meant.
#[derive(Debug, Clone, Copy)]
pub enum Whose<'a> {
    /// Those under one certificate.
    Certificate(&'a CertificateId),
    /// Those of one system or person, whatever its certificate.
    Holder(&'a SpiffeId),
    /// Those of everyone in one organisation.
    Organisation(&'a OrgSlug),
    /// Those under certificates of one authority.
    Authority(IssuerDigest),
}

impl Whose<'_> {
    fn are(self, identity: &Identity) -> bool {
        match self {
            Self::Certificate(id) => identity.issuer == id.issuer && identity.serial == id.serial,
            Self::Holder(holder) => identity.spiffe_id == *holder,
            Self::Organisation(slug) => identity.spiffe_id.org() == slug,
            Self::Authority(issuer) => identity.issuer == issuer,
        }
    }
}

/// A certificate under which connections are open now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// Which.
    pub certificate: CertificateId,
    /// Its holder.
    pub holder: SpiffeId,
    /// How many connections.
    pub connections: usize,
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

    /// Ends these connections; returns how many.
    pub fn sever(&self, whose: Whose<'_>, cause: Cause) -> usize {
        self.end_where(cause, |live| whose.are(&live.identity))
    }

    /// How many of these connections are being served.
    #[must_use]
    pub fn count(&self, whose: Whose<'_>) -> usize {
        self.state.lock().live.values().filter(|live| whose.are(&live.identity)).count()
    }

    /// The certificates under which connections are being served, by issuer
    /// and serial.
    #[must_use]
    pub fn in_use(&self) -> Vec<InUse> {
        let mut all: BTreeMap<CertificateId, InUse> = BTreeMap::new();
        for Live { identity, .. } in self.state.lock().live.values() {
            let certificate = identity.certificate_id();
            let holder = || identity.spiffe_id.clone();
            all.entry(certificate)
                .or_insert_with_key(|id| InUse { certificate: id.clone(), holder: holder(), connections: 0 })
                .connections += 1;
        }
        all.into_values().collect()
    }

    /// Ends every connection whose certificate is no longer good under
    /// `snapshot`, and no other; returns how many. To be called after each
    /// swap, and whenever the ledger has changed.
    pub fn sweep(&self, snapshot: &Snapshot, now: Timestamp) -> usize {
        let fallen = |live: &Live| Cause::of(snapshot.standing(&live.identity, now));
        self.end_each(fallen)
    }

    fn end_where(&self, cause: Cause, chosen: impl Fn(&Live) -> bool) -> usize {
        self.end_each(|live| chosen(live).then_some(cause))
    }

    fn end_each(&self, cause: impl Fn(&Live) -> Option<Cause>) -> usize {
        // Ended outside the lock: waking a task may drop it, and with it a
        // place in this very table.
        let ends: Vec<(End, Cause)> = self
            .state
            .lock()
            .live
            .values()
            .filter_map(|live| Some((live.end.clone(), cause(live)?)))
            .collect();
        ends.iter().filter(|(end, cause)| self.end(end, *cause)).count()
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
        end: &End,
        limits: &Limits,
    ) -> Result<(), Refused> {
        if !self.hear() {
            return Err(Refused::Displaced);
        }
        let live = Live { identity: identity.clone(), end: end.clone() };
        let mut state = self.all.state.lock();
        if state.live.len() >= limits.max_connections {
            return Err(Refused::ConnectionsSaturated);
        }
        state.live.insert(self.number, live);
        state.leave_handshake(self.networks);
        self.stage = Stage::Live;
        drop(state);
        self.all.counters.count_served();
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
mod tests;
