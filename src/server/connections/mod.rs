//! Decides which connections may exist: how many, from where, and for how long
//! their certificates stay good.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::handshake::Refused;
use super::listener::Limits;
use super::sever::{Cause, End, tell};
use crate::base::clock::{self, Timestamp};
use crate::model::org::OrgSlug;
use crate::model::principal::SpiffeId;
use crate::pki::identity::{CertificateId, Identity, IssuerDigest};
use crate::pki::tls::Snapshot;

mod counters;
mod gate;
mod networks;
mod place;

pub use counters::Counters;
use gate::{Gate, Word};
use networks::{Crowd, Network, Networks};
pub(super) use place::Place;

/// Of so many that have been silent for longest one makes way for a newcomer.
const OLDEST: usize = 32;

/// Every connection of a listener, from the accepted socket to its close.
#[derive(Debug)]
pub struct Connections {
    state: Mutex<State>,
    /// Somebody waits for his turn to shake hands.
    waits: Notify,
    counters: Counters,
}

#[derive(Debug)]
struct State {
    next: u64,
    /// Connections that have not finished the handshake.
    pending: usize,
    /// Those of them that have said nothing yet, the oldest first.
    silent: BTreeMap<u64, Pending>,
    /// Those that have said hello.
    heard: HashMap<u64, Pending>,
    /// Which of these shake hands.
    gate: Gate,
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

    /// Takes the place of one of the connections that have been silent for
    /// longest, that of whoever has the most, or else of one that has said
    /// hello and comes no further.
    fn displace(&mut self, now: Instant, newcomer: Networks) -> Option<Told> {
        let crowd =
            |pending: &Pending| self.networks.get(&pending.networks.widest()).map_or(0, |c| c.handshakes);
        let silent = self.silent.iter().take(OLDEST).max_by_key(|(number, p)| (crowd(p), Reverse(**number)));
        if let Some((&number, _)) = silent
            && let Some(silent) = self.silent.remove(&number)
        {
            return Some(self.lose(silent));
        }
        let last = self.gate.last(now, newcomer.widest())?;
        self.gate.leave(last);
        self.heard.remove(&last).map(|heard| self.lose(heard))
    }

    fn lose(&mut self, pending: Pending) -> Told {
        self.leave_handshake(pending.networks);
        self.leave(pending.networks);
        Told::Gone(pending)
    }

    /// Gives turns to those who wait for one; what has to be told.
    fn settle(&mut self, now: Instant) -> Vec<Told> {
        let words = self.gate.settle(now);
        let told = words.into_iter().filter_map(|word| match word {
            Word::Turn(number) => self.heard.get_mut(&number)?.turn.take().map(Told::Turn),
            Word::Gone(number) => {
                let heard = self.heard.remove(&number)?;
                Some(self.lose(heard))
            }
        });
        told.collect()
    }
}

/// A connection before the end of its handshake.
#[derive(Debug)]
struct Pending {
    networks: Networks,
    /// Cancelled when its place goes to another.
    displaced: CancellationToken,
    /// Used when it is its turn; there while it waits for that.
    turn: Option<oneshot::Sender<()>>,
}

/// What a connection is to be told once the table is free again, for it wakes
/// a task.
#[must_use]
enum Told {
    Turn(oneshot::Sender<()>),
    Gone(Pending),
}

impl Told {
    fn tell(self) {
        match self {
            // Whoever is gone by now leaves by himself.
            Self::Turn(turn) => {
                let _ = turn.send(());
            }
            Self::Gone(pending) => pending.displaced.cancel(),
        }
    }
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

/// What stands for all addresses that one host may have.
pub(super) fn source(from: IpAddr) -> IpAddr {
    Networks::of(from).narrowest()
}

impl Connections {
    /// An empty table for a listener with these limits.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let state = State {
            next: 0,
            pending: 0,
            silent: BTreeMap::new(),
            heard: HashMap::new(),
            gate: Gate::new(limits.max_handshakes, limits.handshake_grace),
            networks: HashMap::new(),
            live: HashMap::new(),
        };
        Self { state: Mutex::new(state), waits: Notify::new(), counters: Counters::default() }
    }

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
        let chosen: Vec<(End, Cause)> = self
            .state
            .lock()
            .live
            .values()
            .filter_map(|live| Some((live.end.clone(), cause(live)?)))
            .collect();
        // All of them first: nothing passes any more when this returns. What it
        // takes to tell them all comes after it.
        let cut = chosen.into_iter().filter(|(end, cause)| self.cut(end, *cause));
        let cut: Vec<_> = cut.map(|(end, _)| end).collect();
        let count = cut.len();
        tell(&cut);
        count
    }

    /// Ends one connection and counts it.
    pub(super) fn end(&self, end: &End, cause: Cause) {
        if self.cut(end, cause) {
            tell(std::slice::from_ref(end));
        }
    }

    fn cut(&self, end: &End, cause: Cause) -> bool {
        let first = end.cut(cause);
        if first {
            self.counters.count_ended(cause);
        }
        first
    }

    /// Gives out the turns that come with time alone, without end.
    pub(super) async fn usher(&self) {
        loop {
            let due = self.state.lock().gate.due();
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => self.waits.notified().await,
            }
            let told = self.state.lock().settle(clock::monotonic());
            told.into_iter().for_each(Told::tell);
        }
    }

    /// A place for a connection from `from`, if there is room. Where only
    /// connections before the end of their handshake are in the way, the one
    /// that has been silent for longest loses its place, or else one that has
    /// said hello and comes no further.
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
            Some(state.displace(clock::monotonic(), networks).ok_or(Refused::HandshakesSaturated)?)
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
        let token = CancellationToken::new();
        state.silent.insert(number, Pending { networks, displaced: token.clone(), turn: None });
        drop(state);
        displaced.into_iter().for_each(Told::tell);
        Ok(Place::new(Arc::clone(self), networks, number, token))
    }
}

#[cfg(test)]
mod tests;
