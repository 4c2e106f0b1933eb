//! Decides how indicators end that are past their `valid_until`: by entries
//! that the hub itself proposes, each record once, to the second and not to
//! the hour under which its posting lies. How far that has got is kept with
//! the entries, so a hub that was down goes on where it stopped.
//!
//! The rest is [`apply`](super::apply)'s: what the clock decides is carried in
//! the entry, and whatever was revoked, extended or shortened meanwhile is
//! judged by the version that stands. An indicator that is past its validity
//! already when it is published goes on record as expired at once: its
//! history is complete, and nobody acts on it for a moment. A new version of
//! an expired record that holds is NEW to subscribers; the same content again
//! changes nothing.

use parking_lot::Mutex;

use crate::base::clock::Timestamp;
use crate::base::random;
use crate::model::position::Position;
use crate::store::Store;
use crate::store::keys::{self, Dimension};
use crate::store::postings::Posting;
use crate::wire::event;

use super::agenda::{Agenda, KEPT, Next, Soonest, hour_begins};
use super::engine::Hub;
use super::error::Error;
use super::fetch::damaged;
use super::group::Group;
use super::proposal::{Change, Decision, Due, Proposal};
use super::shared::Shared;
use super::store_error;

/// Steps of one call: an entry, or a look at the postings.
const STEPS: usize = 16;
/// Postings read before the hours that follow are left to the next step.
const READ_AT_ONCE: usize = 100_000;

/// Which indicators end next, and who sees to it.
#[derive(Debug)]
pub struct Expiries {
    pub(super) agenda: Mutex<Agenda>,
    /// One at a time: how far it got is told by what is still to be done.
    turn: tokio::sync::Mutex<()>,
}

impl Expiries {
    /// Everything before the hour `fence` is done.
    #[must_use]
    pub fn new(fence: u64) -> Self {
        Self { agenda: Mutex::new(Agenda::new(fence, KEPT)), turn: tokio::sync::Mutex::default() }
    }
}

/// The hour before which everything that had to has expired, once `group` is durable, where that
/// was `fence` so far. It moves back where the clock was set back over it.
pub(super) fn expiry_fence(shared: &Shared, fence: u64, group: &Group<'_>) -> u64 {
    let done = group.expired.as_ref().map(|done| shared.expiries.agenda.lock().fence(done));
    let coming = group.validities.iter().map(|due| keys::expiry_term(due.until)).min();
    done.unwrap_or(fence).min(coming.unwrap_or(u64::MAX))
}

/// What one call ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Indicators that are expired now.
    pub indicators: u64,
    /// Whether there may be more that are due.
    pub more: bool,
}

impl Hub {
    /// Ends indicators that are past their validity by the hub's clock, in
    /// bounded steps: call it again at once where there are more.
    ///
    /// # Errors
    /// `STORE_READ_ONLY`, `DRAINING`, or a failure of the store.
    ///
    /// # Cancellation
    /// Dropping the future loses nothing: the next call goes on.
    pub async fn expire(&self) -> Result<Expired, Error> {
        let expiries = &self.shared.expiries;
        let _turn = expiries.turn.lock().await;
        let now = self.now();
        let mut expired = Expired::default();
        for _ in 0..STEPS {
            let next = expiries.agenda.lock().next(now);
            match next {
                Next::Rest => return Ok(expired),
                Next::Note => {
                    self.end(Vec::new()).await?;
                }
                Next::Read { from, before } => {
                    let (read, count) =
                        self.blocking(move |shared| read(&shared.store, from, before)).await?;
                    expiries.agenda.lock().take(read, count);
                }
                Next::End(due) => {
                    let all = due.clone();
                    let holding = self.blocking(move |shared| holding(&shared.store, &all)).await?;
                    expiries.agenda.lock().remove(due.iter().filter(|due| !holding.contains(due)));
                    if holding.is_empty() {
                        continue;
                    }
                    let decisions = self.end(holding.clone()).await?;
                    let ended = decisions.iter().filter(|d| matches!(d, Decision::Written { .. })).count();
                    expired.indicators += ended as u64;
                    let done = holding.iter().zip(&decisions);
                    let done =
                        done.filter(|(_, d)| matches!(d, Decision::Written { .. })).map(|(due, _)| due);
                    expiries.agenda.lock().remove(done);
                    if ended < holding.len() {
                        // Something came between, be it the clock set back.
                        return Ok(expired);
                    }
                }
            }
        }
        Ok(Expired { more: true, ..expired })
    }

    async fn end(&self, due: Vec<Due>) -> Result<Vec<Decision>, Error> {
        self.propose(|reply| Proposal {
            request: None,
            content: random::bytes(),
            salt: random::bytes(),
            caller: None,
            change: Change::Expire(due),
            reply,
        })
        .await
    }
}

/// Those whose version still stands: a later one has a validity of its own.
fn holding(store: &Store, due: &[Due]) -> Result<Vec<Due>, Error> {
    let handles: Vec<_> = due.iter().map(|due| due.version.handle).collect();
    let latest = store.latest(&handles).map_err(store_error)?;
    let stands = due.iter().zip(latest).filter(|(due, latest)| {
        latest.map_or(due.version.handle, |latest| latest.newest) == due.version.position
    });
    Ok(stands.map(|(due, _)| *due).collect())
}

/// What ends from `from` on, before the hour `before`, as the postings say:
/// the soonest of it, and how many postings were read.
fn read(store: &Store, from: Due, before: u64) -> Result<(Soonest, usize), Error> {
    let (mut soonest, mut count) = (Soonest::until(hour_begins(before), KEPT), 0);
    let mut hour = keys::expiry_term(from.until);
    while let Some(term) = store.term_from(Dimension::Expiry, hour).map_err(store_error)? {
        if term >= before {
            break;
        }
        if count >= READ_AT_ONCE {
            soonest.cut(hour_begins(term));
            break;
        }
        let mut blocks =
            store.postings_after(Dimension::Expiry, term, Position::ZERO).map_err(store_error)?;
        while let Some(block) = blocks.next_block().map_err(store_error)? {
            count += block.len();
            validities(store, &block, &mut |due| {
                if due >= from {
                    soonest.insert(due);
                }
            })?;
        }
        hour = term + 1;
    }
    Ok((soonest, count))
}

/// Tells `each` when the versions of a block end; neighbours share a chunk.
fn validities(store: &Store, block: &[Posting], each: &mut impl FnMut(Due)) -> Result<(), Error> {
    let mut postings = block.iter().peekable();
    while let Some(&&Posting { position: at, .. }) = postings.peek() {
        let Some(chunk) = store.chunk_at(at).map_err(store_error)? else {
            store.gone(at).map_err(store_error)?;
            postings.next();
            continue;
        };
        let view = chunk.view().ok_or_else(|| damaged(at))?;
        for item in view.items() {
            // What was cut out ends no more.
            while let Some(gone) =
                postings.next_if(|posting| item.as_ref().is_some_and(|item| posting.position < item.position))
            {
                store.gone(gone.position).map_err(store_error)?;
            }
            let item = item.ok_or_else(|| damaged(at))?;
            if let Some(&version) = postings.next_if(|posting| posting.position == item.position) {
                // Of a version that was replaced the birth alone may be left.
                if !item.header.op.is_version() {
                    continue;
                }
                let until: Option<Timestamp> = event::valid_until(item.body).ok_or_else(|| damaged(at))?;
                each(Due { until: until.ok_or_else(|| damaged(at))?, version });
            }
        }
        let last = view.last_position();
        while let Some(gone) = postings.next_if(|posting| posting.position <= last) {
            store.gone(gone.position).map_err(store_error)?;
        }
    }
    Ok(())
}
