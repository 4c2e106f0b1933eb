//! Decides how a unit that leads holds an indicator for a day, and how that
//! ends, by its word or by itself.

use bytes::Bytes;
use uuid::Uuid;

use crate::base::random;

use super::ask::told_at;
use super::caller::Caller;
use super::containing;
use super::engine::Hub;
use super::error::Error;
use super::fetch;
use super::proposal::{Change, Decision, HoldAct, Proposal, ProposedHold};
use super::store_error;

/// Holds that are ended in one call.
const AT_ONCE: usize = 64;

impl Hub {
    /// Holds an indicator: everyone but its owner and the caller's organisation,
    /// which must be one that leads and may see it, sees it no longer, for a
    /// day at most. Returns the hold, an encoded `luytre.v1.IndicatorHold`.
    ///
    /// # Errors
    /// `NOT_FOUND`, `ROLE_INSUFFICIENT`, `INDICATOR_REVOKED`, `INDICATOR_HELD`,
    /// `RATE_LIMITED`; as [`Hub::publish`].
    pub async fn hold_indicator(
        &self,
        caller: &Caller,
        request_id: Uuid,
        indicator: Uuid,
        reason: String,
    ) -> Result<Bytes, Error> {
        self.guard_text(caller.identity().as_str(), "hold", "reason", &reason)?;
        self.propose_hold(caller, request_id, indicator, HoldAct::Hold { reason }).await
    }

    /// Ends such a hold: the indicator stands as before.
    ///
    /// # Errors
    /// `NOT_FOUND`, `ROLE_INSUFFICIENT`; as [`Hub::publish`].
    pub async fn release_indicator(
        &self,
        caller: &Caller,
        request_id: Uuid,
        indicator: Uuid,
        note: String,
    ) -> Result<Bytes, Error> {
        self.guard_text(caller.identity().as_str(), "release", "note", &note)?;
        self.propose_hold(caller, request_id, indicator, HoldAct::Release { note }).await
    }

    async fn propose_hold(
        &self,
        caller: &Caller,
        request_id: Uuid,
        indicator: Uuid,
        act: HoldAct,
    ) -> Result<Bytes, Error> {
        let indicator = self.shared.sealer.handle(indicator).ok_or_else(Error::absent)?;
        let asker = caller.clone();
        self.blocking(move |shared| fetch::visible_header(shared, &asker, indicator)).await?;
        let asked = ProposedHold { indicator, act };
        let encoded = containing::encode(&asked);
        let decision =
            self.propose_one(caller, request_id, &encoded, Change::Contain(Box::new(asked))).await?;
        let position = told_at(decision)?;
        self.blocking(move |shared| {
            let (_, body) = fetch::item(shared, position)?.ok_or_else(|| fetch::damaged(position))?;
            fetch::inner(&body, position)
        })
        .await
    }

    /// Ends holds whose time is over by the hub's clock: how many; call it again
    /// where there were any.
    ///
    /// # Errors
    /// `STORE_READ_ONLY`, `DRAINING`, or a failure of the store.
    ///
    /// # Cancellation
    /// Dropping the future loses nothing: the next call goes on.
    pub async fn end_holds(&self) -> Result<usize, Error> {
        let now = self.now();
        let lasting = self.blocking(|shared| shared.store.lasting(AT_ONCE).map_err(store_error)).await?;
        let mut ended = 0;
        for (_, indicator) in lasting.into_iter().filter(|(until, _)| *until <= now) {
            let decisions = self
                .propose(|reply| Proposal {
                    request: None,
                    content: random::bytes(),
                    salt: random::bytes(),
                    caller: None,
                    change: Change::Contain(Box::new(ProposedHold { indicator, act: HoldAct::End })),
                    reply,
                })
                .await?;
            ended += decisions.iter().filter(|decision| matches!(decision, Decision::Written { .. })).count();
        }
        Ok(ended)
    }
}
