//! Decides how a request comes to the writer, and what is answered where that
//! answers no more.

use tokio::sync::oneshot;

use super::caller::Caller;
use super::engine::{Hub, draining};
use super::error::Error;
use super::proposal::{Answered, Decision, Proposal};
use super::work::read_only;

impl Hub {
    /// Brings a request to the writer and waits until its answer is durable.
    pub(super) async fn propose(
        &self,
        proposal: impl FnOnce(oneshot::Sender<Result<Answered, Error>>) -> Proposal,
    ) -> Result<Vec<Decision>, Error> {
        match self.ask(proposal).await? {
            Answered::Decided(decisions) | Answered::Repeated(decisions, _) => Ok(decisions),
        }
    }

    /// The same, and whether it was answered before.
    pub(super) async fn ask(
        &self,
        proposal: impl FnOnce(oneshot::Sender<Result<Answered, Error>>) -> Proposal,
    ) -> Result<Answered, Error> {
        if self.shared.draining.is_cancelled() {
            return Err(draining());
        }
        self.shared.space.check()?;
        let (reply, answer) = oneshot::channel();
        let proposal = proposal(reply);
        // It goes with the proposal: a caller that goes away leaves that
        // behind.
        let caller = proposal.caller.as_ref().map(Caller::org);
        let pass = self.lanes.0.enter(caller, proposal.change.weight()).await;
        if !self.lanes.0.push(Box::new(proposal), pass) {
            return Err(self.unanswered().await);
        }
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(self.unanswered().await),
        }
    }

    /// Why the writer answers no more: it was told to stop, or it died.
    pub(super) async fn unanswered(&self) -> Error {
        // What made it end is known once it takes nothing any more.
        self.lanes.0.gone().await;
        self.shared.latch.reason().map_or_else(draining, |reason| read_only(&reason))
    }
}
