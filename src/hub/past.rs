//! Decides how an indicator stood at a moment: for whom the roster and the
//! marking of that moment, and those of today, let see it. For all others it
//! is as absent as one that never was.

use uuid::Uuid;

use crate::base::clock::Timestamp;
use crate::model::position::Position;
use crate::policy::visibility::Purpose;

use super::caller::Caller;
use super::engine::Hub;
use super::error::Error;
use super::fetch::{self, Found, Moment, viewer};
use super::query;
use super::reported;
use super::rosters;
use super::shared::Shared;
use super::store_error;

impl Hub {
    /// One indicator by its public id, as it stood at `at`.
    ///
    /// # Errors
    /// `NOT_FOUND` where it was missing or hidden, or is; `HISTORY_TRUNCATED`.
    pub async fn get_as_of(&self, caller: &Caller, id: Uuid, at: Timestamp) -> Result<Found, Error> {
        // First: it is the same whatever is asked about.
        let least = self.shared.history.reaches(at)?;
        let handle = self.shared.sealer.handle(id).ok_or_else(Error::absent)?;
        let asker = caller.clone();
        let found = self.shared.question(caller, move |shared| {
            let origin = origin(shared, at)?.max(least);
            let (now, _) = fetch::newest(shared, &asker, handle)?;
            let stood = query::stood(shared, handle, origin)?.ok_or_else(Error::absent)?;
            let (header, body) = fetch::kept(shared, stood)?.ok_or_else(Error::absent)?;
            let today = shared.directory.load_full();
            let then = shared.rosters.at(origin, &today);
            if !rosters::saw_then(&then, viewer(&asker), header.class, Purpose::Get) {
                return Err(Error::absent());
            }
            let indicator = {
                let reclassed = shared.reclassed.read();
                let who = (&asker, Purpose::Get);
                fetch::told(shared, (&today, &reclassed), who, (&header, now.class), &body)?
            };
            let moment = Moment { end: origin.next(), then: Some(then) };
            let sightings = reported::told(shared, &asker, (handle, now.class), &moment)?;
            let collisions = fetch::collisions(shared, &asker, &header, &moment)?;
            // What is cut out meanwhile was missing.
            shared.history.covers(origin)?;
            asker.trail().told(handle, stood);
            Ok(Found { indicator, sightings, collisions })
        });
        found.await
    }
}

/// The last position of the log at a moment.
pub(super) fn origin(shared: &Shared, at: Timestamp) -> Result<Position, Error> {
    let committed = shared.tail.committed();
    if at >= shared.clock.now() {
        return Ok(committed);
    }
    let before = shared.store.position_before_time(at.as_micros().saturating_add(1));
    Ok(before.map_err(store_error)?.min(committed))
}
