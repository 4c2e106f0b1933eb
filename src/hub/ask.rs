//! Decides how a request comes to the writer, and what is answered where that
//! answers no more.

use prost::Message;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::base::{digest, random};
use crate::model::marking::Recipients;
use crate::model::position::Position;
use crate::store::requests;

use super::caller::Caller;
use super::engine::{Hub, draining};
use super::error::Error;
use super::proposal::{Answered, Change, Decision, Proposal, Refusal};
use super::rejection::Rejection;
use super::work::read_only;

/// Where it was told what became of a request about one thing.
///
/// # Errors
/// Why nothing did.
pub(super) fn told_at(decision: Option<Decision>) -> Result<Position, Error> {
    match decision {
        Some(Decision::Written { position, .. } | Decision::Unchanged { position, .. }) => Ok(position),
        Some(Decision::Refused(Refusal::Absent)) | None => Err(Error::absent()),
        Some(Decision::Refused(refusal)) => {
            let Rejection { reason, problem, .. } = Rejection::refused(refusal, &Recipients::default());
            Err(Error::new(reason, problem))
        }
    }
}

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

    /// Brings a request about one thing to the writer, `encoded` as its entry
    /// says it; what was decided, `None` where nothing was.
    pub(super) async fn propose_one(
        &self,
        caller: &Caller,
        request_id: Uuid,
        encoded: &impl Message,
        change: Change,
    ) -> Result<Option<Decision>, Error> {
        let content = requests::first_16(&digest::sha256(&encoded.encode_to_vec()));
        let author = caller.clone();
        let decided = self.propose(|reply| Proposal {
            request: Some(requests::request_key(author.identity().as_str(), request_id.as_bytes())),
            content,
            salt: random::bytes(),
            caller: Some(author),
            change,
            reply,
        });
        Ok(decided.await?.pop())
    }

    /// Why the writer answers no more: it was told to stop, or it died.
    pub(super) async fn unanswered(&self) -> Error {
        // What made it end is known once it takes nothing any more.
        self.lanes.0.gone().await;
        self.shared.latch.reason().map_or_else(draining, |reason| read_only(&reason))
    }
}
