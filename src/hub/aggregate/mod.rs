//! Decides how it is counted what a caller may see: by the counters that the
//! hub keeps, where they can tell it, and else by going through what matches,
//! within bounds. Both give the same.
//!
//! Counters are kept apart by audience class, and a class says whose its
//! records are and how they are marked. So what is hidden adds nothing, and a
//! value that only hidden records carry makes no row.

mod counters;
mod kept;
mod scan;
mod sightings;
mod tally;
mod terms;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::model::aggregate::{Counted, CountedBy, Counting, Dimension, Spans};
use crate::model::position::Position;
use crate::store::term_names::TermKind;

use super::caller::Caller;
use super::engine::Hub;
use super::error::Error;
use super::indexer::behind;
use super::shared::Shared;
use tally::Tally;

pub use kept::Kept;

/// How much is gone through for one question.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Most indicators, or sightings, that are counted one by one.
    rows: u64,
    /// Longest time.
    time: Duration,
}

const BOUNDS: Bounds = Bounds { rows: 1_000_000, time: Duration::from_secs(10) };

impl Hub {
    /// Counts what matches and what the caller may see.
    ///
    /// # Errors
    /// `FIELD_INVALID` for spans that are none or too many, `INDEX_BEHIND`, or
    /// a failure of the store.
    pub async fn aggregate(&self, caller: &Caller, counting: Counting) -> Result<Counted, Error> {
        let as_of = self.now();
        let origin = self.shared.tail.committed();
        let spans = counting.histogram.map(|histogram| histogram.spans(as_of)).transpose()?;
        self.shared.index.reached(origin).await;
        let viewer = caller.clone();
        let counted = self.shared.question(caller, move |shared| {
            let asked = Asked { shared, caller: &viewer, counting: &counting, spans, origin, bounds: BOUNDS };
            let (tally, by) = asked.count()?;
            // What was cut out meanwhile was missing.
            shared.history.covers(origin)?;
            Ok(Counted { by, as_of, spans, ..tally.told(counting.rows, spans) })
        });
        counted.await
    }
}

/// One question, while it is answered.
struct Asked<'a> {
    shared: &'a Shared,
    caller: &'a Caller,
    counting: &'a Counting,
    spans: Option<Spans>,
    /// What stands here is counted.
    origin: Position,
    bounds: Bounds,
}

impl Asked<'_> {
    fn count(&self) -> Result<(Tally, CountedBy), Error> {
        let indexed = self.shared.index.upto() >= self.origin;
        if self.counting.by == Some(Dimension::Outcome) {
            // Nothing else leads from an outcome to its sightings.
            let counted = if indexed { sightings::count(self) } else { Err(behind()) };
            return Ok((counted?, CountedBy::Scan));
        }
        match counters::plan(self.counting, self.spans).filter(|_| indexed) {
            Some(plan) => Ok((counters::count(self, &plan)?, CountedBy::Counters)),
            None => Ok((scan::count(self)?, CountedBy::Scan)),
        }
    }
}

/// The sort of terms by which is counted, if it is by terms.
const fn term_kind(by: Option<Dimension>) -> Option<TermKind> {
    match by {
        Some(Dimension::Label) => Some(TermKind::Label),
        Some(Dimension::Family) => Some(TermKind::Family),
        Some(Dimension::Campaign) => Some(TermKind::Campaign),
        Some(Dimension::Technique) => Some(TermKind::Technique),
        _ => None,
    }
}
