//! Decides when less of the past is kept, one bounded step at a time: what is
//! planned waits until the clock has agreed with itself for a while; then an
//! entry says from where on the log is kept whole, what was replaced by then is
//! cut out behind it, and what has ended for long enough is dropped.
//!
//! Nothing is cut out before the entry that says so is durable, and each step
//! is one batch with the mark of how far it got: a hub that is killed goes on
//! where it was. What was said goes on though the policy is taken away.
//!
//! * [`apply`] says what the entries do, [`history`] what can still be asked;
//! * [`reload`] makes the state again, for `verify`;
//! * [`mod@forecast`] tells what would go;
//! * [`sweep`] cuts out what was replaced, [`drops`] finds what is kept no longer, [`plan`] holds
//!   the clock against itself.

mod apply;
mod drops;
mod forecast;
mod history;
mod plan;
mod reload;
mod sweep;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::base::random;
use crate::model::retention::Retention;

use super::engine::Hub;
use super::error::Error;
use super::proposal::{Change, Decision, Proposal};
use super::shared::Shared;
use super::{store_error, usage};

pub(super) use apply::stored;
pub use apply::{Candidate, Dropped, Retain};
pub use forecast::{Forecast, forecast};
pub use history::History;
use plan::Step;
pub(super) use sweep::tells_of_dropped;

/// One at a time keeps less of the past.
pub type Turn = tokio::sync::Mutex<()>;

impl Hub {
    /// Takes a step towards keeping what the policy says and no more; whether
    /// there is more to do at once.
    ///
    /// # Errors
    /// `STORE_READ_ONLY`, `DRAINING`, or a failure of the store.
    ///
    /// # Cancellation
    /// Dropping the future loses nothing, but a step that was begun goes on by
    /// itself: another call meanwhile would count twice what both cut out.
    pub async fn retain(&self) -> Result<bool, Error> {
        let _turn = self.shared.retaining.lock().await;
        if self.shared.latch.reason().is_some() {
            return Ok(false);
        }
        if self.retention_step(sweep::follow).await?.is_break() {
            return Ok(true);
        }
        if self.retention_step(drops::told).await?.is_break() {
            return Ok(true);
        }
        if self.shared.space.is_low() {
            // No entry is taken; but what was cut out can give its room back.
            return Ok(self.retention_step(sweep::compact).await?.is_break());
        }
        let policy = self.options.retention.clone();
        if let Some(policy) = &policy
            && self.drop_some(Arc::clone(policy)).await?
        {
            return Ok(true);
        }
        let declared = self.blocking(|shared| sweep::undeclared(&shared.store).map_err(store_error)).await?;
        if let Some((position, digest)) = declared {
            self.say_retained(Retain::State { position, digest }).await?;
            return Ok(true);
        }
        if self.retention_step(sweep::compact).await?.is_break() {
            return Ok(true);
        }
        if let Some(policy) = policy
            && self.plan_retention(&policy).await?
        {
            return Ok(true);
        }
        Ok(self.retention_step(usage::count).await?.is_break())
    }

    /// A step that needs no entry; whether it did anything.
    async fn retention_step(
        &self,
        step: fn(&Shared) -> Result<ControlFlow<()>, Error>,
    ) -> Result<ControlFlow<()>, Error> {
        self.blocking(step).await
    }

    /// Finds some records that are kept no longer, and drops them; whether
    /// there may be more.
    async fn drop_some(&self, policy: Arc<Retention>) -> Result<bool, Error> {
        let (now, doubted) = (self.now(), self.shared.clock.is_doubted());
        if doubted {
            return Ok(false);
        }
        let found = self
            .blocking(move |shared| drops::find(&shared.store, &policy, now).map_err(store_error))
            .await?;
        let Some(found) = found else { return Ok(false) };
        if !found.candidates.is_empty() {
            self.say_retained(Retain::Ask(found.candidates.clone())).await?;
        }
        self.blocking(move |shared| found.note(&shared.store).map_err(store_error)).await?;
        Ok(true)
    }

    /// Plans, or does what was planned; whether there is more to do.
    async fn plan_retention(&self, policy: &Retention) -> Result<bool, Error> {
        // What is not indexed yet is not cut off.
        self.shared.index.reached(self.shared.tail.committed()).await;
        let (now, doubted, policy) = (self.now(), self.shared.clock.is_doubted(), policy.clone());
        let wanted = policy.clone();
        let step = self.blocking(move |shared| plan::next(shared, &wanted, now, doubted)).await?;
        match step {
            Step::Rest => Ok(false),
            Step::Again => Ok(true),
            Step::Do(base) => {
                self.say_retained(Retain::Base { base, policy: policy.to_string() }).await?;
                self.blocking(|shared| plan::forget(&shared.store).map_err(store_error)).await?;
                tracing::info!(horizon = %base.horizon, "history is kept from here on");
                Ok(true)
            }
        }
    }

    async fn say_retained(&self, step: Retain) -> Result<Vec<Decision>, Error> {
        self.propose(|reply| Proposal {
            request: None,
            content: random::bytes(),
            salt: random::bytes(),
            caller: None,
            change: Change::Retain(Box::new(step)),
            reply,
        })
        .await
    }
}
