//! Decides when the past is cut off, by a clock that may be wrong: what is
//! planned is noted with the time of then, and waits. A clock that was a year
//! ahead as it was planned, and was set right meanwhile, is behind that time:
//! the plan is void.

use crate::base::clock::Timestamp;
use crate::model::position::Position;
use crate::model::retention::Retention;
use crate::store::truncate::Base;
use crate::store::{Batch, Store, db};

use super::super::error::Error;
use super::super::shared::Shared;
use super::super::store_error;

use std::time::Duration;

/// Between two plans at least.
const APART: Duration = Duration::from_secs(24 * 3_600);
/// The part of what is kept whole that passes between two plans at least.
const PART: u32 = 8;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing for now.
    Rest,
    /// Something was done; there may be more.
    Again,
    /// What was planned.
    Do(Base),
}

/// What is to be done at `now`; a clock that is doubted decides nothing.
pub(super) fn next(
    shared: &Shared,
    policy: &Retention,
    now: Timestamp,
    doubted: bool,
) -> Result<Step, Error> {
    let store = &shared.store;
    if let Some(planned) = store.planned_base().map_err(store_error)? {
        if now < planned.planned {
            tracing::warn!(
                planned = %planned.planned, %now,
                "the clock was ahead as it was planned to cut off history: the plan is void"
            );
            forget(store).map_err(store_error)?;
            return Ok(Step::Again);
        }
        if planned.horizon.saturating_add(policy.history) > planned.planned {
            tracing::info!("the policy keeps more by now: what was planned is void");
            forget(store).map_err(store_error)?;
            return Ok(Step::Again);
        }
        let ripe = !doubted && now >= planned.planned.saturating_add(policy.grace);
        return Ok(if ripe { Step::Do(planned) } else { Step::Rest });
    }
    let base = shared.history.base();
    let apart = APART.min(policy.history / PART);
    if doubted || now < base.planned.saturating_add(apart) {
        return Ok(Step::Rest);
    }
    let horizon = now.saturating_sub(policy.history);
    let upto = shared.tail.committed().min(shared.index.upto());
    let position = last_by(store, horizon, upto).map_err(store_error)?;
    if position <= base.position {
        return Ok(Step::Rest);
    }
    let mut batch = Batch::new(store);
    let planned = Base { position, horizon, planned: now };
    batch.planned_base(Some(&planned)).and_then(|()| store.commit(batch)).map_err(store_error)?;
    tracing::info!(%horizon, grace = ?policy.grace, "it is planned to cut off history");
    Ok(Step::Again)
}

/// No plan any more.
pub(super) fn forget(store: &Store) -> Result<(), db::Error> {
    let mut batch = Batch::new(store);
    batch.planned_base(None)?;
    store.commit(batch)
}

/// The last position of the last entry that is over by `horizon`, and by
/// `upto`.
pub(super) fn last_by(store: &Store, horizon: Timestamp, upto: Position) -> Result<Position, db::Error> {
    let by = store.position_before_time(horizon.as_micros().saturating_add(1))?.min(upto);
    let mut back = store.scan_back(by)?;
    while let Some(chunk) = back.next_chunk()? {
        let view = chunk.view().ok_or_else(|| db::Error::corrupt("chunk", chunk.first))?;
        if view.last && view.last_position() <= by {
            return Ok(view.last_position());
        }
    }
    Ok(Position::ZERO)
}
