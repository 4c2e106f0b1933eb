//! Decides which sightings of an indicator are told, of those that the caller
//! may see: of each reporter as many as of every other, so that nobody who
//! reports often pushes out the others; and how far is looked for them. What is
//! hidden takes no place, and is passed over by its class alone.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::audience::ClassNo;
use crate::model::position::Position;
use crate::policy::visibility::Purpose;
use crate::store::sightings::{Sighting, Sightings};

use super::caller::Caller;
use super::directory::Directory;
use super::error::Error;
use super::fetch::{MAX_TOLD, Moment, damaged, inner, viewer};
use super::shared::Shared;
use super::source::{Reported, Source};
use super::store_error;

/// Most sightings by one reporter that the caller may not see and that are
/// passed over for those that he may: the same however many reporters there
/// are, some of them hidden. Past them it is as if there were no older.
const PASSED_OF_EACH: usize = 100_000;
/// Most reporters whose sightings are told.
const MAX_REPORTERS: usize = 1_000;
/// Most reporters of whom the caller may see nothing and who are passed over
/// for the others; past them it is as if there were no more.
const PASSED_REPORTERS: usize = 16_000;

/// How far is looked for sightings that the caller sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Reporters of whom something was seen, at most.
    pub(super) told: usize,
    /// Reporters of whom nothing was, at most.
    pub(super) passed: usize,
    /// Hidden sightings of one reporter, at most.
    pub(super) passed_of_each: usize,
}

impl Bounds {
    /// Those of an answer that tells of so many reporters.
    pub(super) const fn of(told: usize) -> Self {
        Self { told, passed: PASSED_REPORTERS, passed_of_each: PASSED_OF_EACH }
    }

    /// Whether no more reporters are looked at.
    pub(super) const fn are_met(self) -> bool {
        self.told == 0 || self.passed == 0
    }

    /// Goes through the sightings of an indicator, reporter by reporter, of each
    /// the newest first. `take` is called with those whose class is seen, and
    /// how many of the same reporter came before; it says whether older ones of
    /// his are wanted too. What is left of the bounds is for other indicators.
    pub(super) fn walk(
        &mut self,
        sightings: &mut Sightings<'_>,
        sees: impl Fn(ClassNo) -> bool,
        mut take: impl FnMut(usize, &Sighting<'_>) -> bool,
    ) -> Result<(), Error> {
        // They often have the class of the one before.
        let mut last = (None, false);
        while !self.are_met() {
            let Some(reporter) = sightings.peek().map_err(store_error)?.map(|first| first.reporter) else {
                break;
            };
            let (mut seen, mut passed) = (0, 0);
            while let Some(sighting) = sightings.peek().map_err(store_error)? {
                if sighting.reporter != reporter {
                    break;
                }
                if last.0 != Some(sighting.class) {
                    last = (Some(sighting.class), sees(sighting.class));
                }
                let more = if last.1 {
                    seen += 1;
                    take(seen - 1, &sighting)
                } else {
                    passed += 1;
                    passed < self.passed_of_each
                };
                if !more {
                    sightings.pass(reporter);
                    break;
                }
                sightings.advance();
            }
            *if seen == 0 { &mut self.passed } else { &mut self.told } -= 1;
        }
        Ok(())
    }
}

/// The sightings up to a moment of an indicator that is of `class_now` today,
/// those that the caller might see then and may see today, newest first. Each
/// reporter's newest come before another's second newest.
pub(super) fn told(
    shared: &Shared,
    caller: &Caller,
    (indicator, class_now): (Position, ClassNo),
    moment: &Moment,
) -> Result<Vec<Bytes>, Error> {
    let mut sightings = shared.store.sightings(indicator, moment.end).map_err(store_error)?;
    // After it was settled what there is, so that it knows their classes.
    let (directory, viewer) = (shared.directory.load(), viewer(caller));
    let sees = |class| {
        let may = |directory: &Directory| directory.visible(viewer, class, Purpose::Get);
        may(&directory) && moment.then.as_deref().is_none_or(may)
    };
    // The best by rank among those of their reporter, then by age.
    let mut chosen = BTreeMap::new();
    Bounds::of(MAX_REPORTERS).walk(&mut sightings, sees, |rank, sighting| {
        let place = (rank, Reverse(sighting.position));
        if chosen.len() == MAX_TOLD && chosen.last_key_value().is_some_and(|(last, _)| *last < place) {
            return false;
        }
        chosen.insert(place, (Reported::from(sighting), Bytes::copy_from_slice(sighting.body)));
        if chosen.len() > MAX_TOLD {
            chosen.pop_last();
        }
        true
    })?;
    let mut chosen: Vec<_> = chosen.into_iter().map(|((_, at), found)| (at, found)).collect();
    chosen.sort_unstable_by_key(|(at, _)| *at);
    let show = |(Reverse(at), (reported, body)): (Reverse<Position>, (Reported, Bytes))| {
        let source = Source::of_sighting(&directory, viewer, reported, class_now, Purpose::Get);
        source.show_sighting(inner(&body, at)?).ok_or_else(|| damaged(at))
    };
    chosen.into_iter().map(show).collect()
}

#[cfg(test)]
mod tests;
