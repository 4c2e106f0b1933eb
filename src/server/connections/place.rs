//! Decides how long a connection keeps its place, from the accepted socket to
//! the last call.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::networks::Networks;
use super::{Connections, Live, State, Told};
use crate::base::clock;
use crate::pki::identity::Identity;
use crate::server::handshake::Refused;
use crate::server::limits::Limits;
use crate::server::sever::End;

/// A connection's place in the table; leaves it when dropped.
pub(in crate::server) struct Place {
    all: Arc<Connections>,
    networks: Networks,
    number: u64,
    displaced: CancellationToken,
    stage: Stage,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has said nothing and may lose its place.
    Silent,
    /// It has said hello: it waits for its turn, or shakes hands, and may lose
    /// its place if it takes long.
    Heard,
    /// Its place is safe before the end of the handshake.
    Kept,
    /// It is served.
    Live,
}

impl Place {
    pub(super) const fn new(
        all: Arc<Connections>,
        networks: Networks,
        number: u64,
        displaced: CancellationToken,
    ) -> Self {
        Self { all, networks, number, displaced, stage: Stage::Silent }
    }

    /// Resolves once the place was given to another.
    pub(in crate::server) async fn displaced(&self) {
        self.displaced.cancelled().await;
    }

    /// The client has said hello; resolves when it is its turn to shake hands.
    /// Returns whether it still has its place.
    pub(in crate::server) async fn hear(&mut self) -> bool {
        let (sender, turn) = oneshot::channel();
        let (told, waits) = {
            let mut state = self.all.state.lock();
            let Some(mut pending) = state.silent.remove(&self.number) else { return false };
            pending.turn = Some(sender);
            self.stage = Stage::Heard;
            state.heard.insert(self.number, pending);
            state.gate.arrive(self.number, self.networks.widest());
            let told = state.settle(clock::monotonic());
            (told, state.gate.due().is_some())
        };
        told.into_iter().for_each(Told::tell);
        if waits {
            self.all.waits.notify_one();
        }
        turn.await.is_ok()
    }

    /// The hub has done its part of the handshake, and awaits the client's.
    pub(in crate::server) fn answered(&self) {
        self.all.state.lock().gate.answered(self.number, clock::monotonic());
    }

    /// From now on the place is safe, though the handshake is not over.
    /// Returns whether it still was there.
    pub(in crate::server) fn keep(&mut self) -> bool {
        let (kept, told) = {
            let mut state = self.all.state.lock();
            let kept = self.withdraw(&mut state);
            (kept, state.settle(clock::monotonic()))
        };
        if kept {
            self.stage = Stage::Kept;
        }
        told.into_iter().for_each(Told::tell);
        kept
    }

    /// The handshake is over: registers the connection, so that from now on a
    /// revocation finds it.
    ///
    /// # Errors
    /// The hub is full, or the place was lost.
    pub(in crate::server) fn register(
        &mut self,
        identity: &Identity,
        end: &End,
        limits: &Limits,
    ) -> Result<(), Refused> {
        let live = Live { identity: identity.clone(), end: end.clone() };
        let mut state = self.all.state.lock();
        if state.live.len() >= limits.max_connections {
            return Err(Refused::ConnectionsSaturated);
        }
        if !self.withdraw(&mut state) {
            return Err(Refused::Displaced);
        }
        state.live.insert(self.number, live);
        state.leave_handshake(self.networks);
        let told = state.settle(clock::monotonic());
        drop(state);
        self.stage = Stage::Live;
        told.into_iter().for_each(Told::tell);
        self.all.counters.count_served();
        Ok(())
    }

    /// Takes the place out of those that another may be given; returns whether
    /// it was among them.
    fn withdraw(&self, state: &mut State) -> bool {
        state.gate.leave(self.number);
        state.silent.remove(&self.number).or_else(|| state.heard.remove(&self.number)).is_some()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (removed, told) = {
            let mut state = self.all.state.lock();
            let removed = state.live.remove(&self.number);
            let pending = match self.stage {
                // One that was displaced has left the table already.
                Stage::Silent | Stage::Heard => self.withdraw(&mut state),
                Stage::Kept => true,
                Stage::Live => false,
            };
            if pending {
                state.leave_handshake(self.networks);
            }
            if pending || removed.is_some() {
                state.leave(self.networks);
            }
            (removed, state.settle(clock::monotonic()))
        };
        // Outside the lock, for it may wake tasks.
        drop(removed);
        told.into_iter().for_each(Told::tell);
    }
}
