//! Decides whether a record was sighted as a question asks: by one sighting
//! that the caller may see, and whose reporter he is told if he asks for one.

use std::sync::Arc;

use crate::model::audience::ClassNo;
use crate::model::org::OrgNo;
use crate::model::position::Position;
use crate::model::sighting::Outcome;
use crate::store::sightings::{Sighting, Sightings};

use super::super::error::Error;
use super::super::shared::Shared;
use super::super::sighted::{Known, MOST, Told};
use super::super::source::{Reported, Source};
use super::super::store_error;
use super::check::Sightings as Wanted;
use super::sight::Sight;

/// Most sightings by one reporter that are held against a question, newest
/// first, and most of one record in all. Those that the caller may not see are
/// passed over by their classes alone, and count for nothing: no answer depends
/// on them.
const READ_OF_EACH: usize = 1_000;
const READ: usize = 8_192;

/// A record whose sightings are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighted {
    pub(super) handle: Position,
    /// Its class today.
    pub(super) class_now: ClassNo,
    /// Sightings after this are not known yet.
    pub(super) origin: Position,
}

/// Records that are looked at before what stands is looked at anew: until then
/// the engine keeps what was deleted.
const KEPT: usize = if cfg!(test) { 4 } else { 1_024 };

/// The sightings that were looked at last, kept from record to record.
#[derive(Debug, Default)]
pub(super) struct Kept<'a> {
    walk: Option<Sightings<'a>>,
    records: usize,
    /// All that was shown up to here is in the walk.
    upto: Position,
}

impl<'a> Kept<'a> {
    /// The sightings of a record below `end`.
    fn of(
        &mut self,
        shared: &'a Shared,
        record: Position,
        end: Position,
    ) -> Result<&mut Sightings<'a>, Error> {
        let walk = match self.walk.take() {
            Some(mut walk) => {
                shared.store.sightings_again(&mut walk, record, end);
                walk
            }
            None => {
                (self.upto, self.records) = (shared.tail.committed(), 0);
                shared.store.sightings(record, end).map_err(store_error)?
            }
        };
        Ok(self.walk.insert(walk))
    }

    /// All sightings of a record, from memory if they are there.
    fn all(&mut self, shared: &'a Shared, record: Position) -> Result<Known, Error> {
        self.records += 1;
        if self.records > KEPT {
            self.walk = None;
        }
        if let Some(known) = shared.sighted.of(record) {
            return Ok(known);
        }
        let mut told = Vec::new();
        let sightings = self.of(shared, record, Position::from_raw(u64::MAX))?;
        while told.len() <= MOST
            && let Some(sighting) = newest(sightings)?
        {
            told.push(Told::from(&sighting));
            sightings.advance();
        }
        let known = if told.len() <= MOST { Known::All(Arc::from(told)) } else { Known::Many };
        shared.sighted.keep(record, known.clone(), self.upto);
        Ok(known)
    }
}

/// Whether there is such a sighting of the record.
pub(super) fn is<'a>(
    shared: &'a Shared,
    sight: &Sight<'_>,
    record: Sighted,
    wanted: &Wanted,
    kept: &mut Kept<'a>,
) -> Result<bool, Error> {
    let mut asked = Asked { sight, record, wanted, last: (None, false), left: READ };
    match kept.all(shared, record.handle)? {
        Known::All(told) => Ok(told.iter().any(|told| asked.is(told))),
        Known::Many => asked.in_store(kept.of(shared, record.handle, asked.upto().next())?),
    }
}

fn newest<'a>(sightings: &'a mut Sightings<'_>) -> Result<Option<Sighting<'a>>, Error> {
    sightings.peek().map_err(store_error)
}

/// What is asked of the sightings of one record.
struct Asked<'a> {
    sight: &'a Sight<'a>,
    record: Sighted,
    wanted: &'a Wanted,
    /// The class that was looked at last, and whether it is seen: they often
    /// have the class of the one before.
    last: (Option<ClassNo>, bool),
    /// How many more are held against the question.
    left: usize,
}

impl Asked<'_> {
    /// Where the last sightings stand that count.
    fn upto(&self) -> Position {
        self.wanted.recorded.upto.min(self.record.origin)
    }

    /// Whether it is this one.
    fn is(&mut self, told: &Told) -> bool {
        let Told { position, reported, outcome } = *told;
        let by = self.wanted.by.as_ref().is_none_or(|by| by.contains(&reported.reporter));
        position > self.wanted.recorded.after
            && position <= self.upto()
            && by
            && self.is_seen(reported.class)
            && self.says(outcome, reported)
    }

    /// Whether it is one of those that are at hand.
    fn in_store(&mut self, sightings: &mut Sightings<'_>) -> Result<bool, Error> {
        let Some(by) = &self.wanted.by else {
            // By whomever: no more than there are organisations.
            while self.left > 0
                && let Some(reporter) = newest(sightings)?.map(|newest| newest.reporter)
            {
                if self.any(sightings, reporter)? {
                    return Ok(true);
                }
                sightings.pass(reporter);
            }
            return Ok(false);
        };
        let mut by = by.clone();
        by.sort_unstable();
        by.dedup();
        for reporter in by.into_iter().rev() {
            sightings.seek(reporter);
            if self.any(sightings, reporter)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether there is one by this reporter, whose newest is at hand if he has
    /// any.
    fn any(&mut self, sightings: &mut Sightings<'_>, reporter: OrgNo) -> Result<bool, Error> {
        let end = self.left.saturating_sub(READ_OF_EACH);
        while let Some(sighting) = newest(sightings)?
            && sighting.reporter == reporter
            && sighting.position > self.wanted.recorded.after
        {
            if self.is_seen(sighting.class) {
                if self.left == end {
                    return Ok(false);
                }
                self.left -= 1;
                if self.says(sighting.outcome, (&sighting).into()) {
                    return Ok(true);
                }
            }
            sightings.advance();
        }
        Ok(false)
    }

    /// Whether a sighting of this class is seen: it has the one class for good.
    fn is_seen(&mut self, class: ClassNo) -> bool {
        if self.last.0 != Some(class) {
            self.last = (Some(class), self.sight.sees(class) && self.sight.sees_now(class));
        }
        self.last.1
    }

    /// Whether it says what is asked, of whomever the caller may ask.
    fn says(&self, outcome: Outcome, reported: Reported) -> bool {
        let said = self.wanted.outcomes.is_none_or(|all| all & (1 << outcome.number()) != 0);
        said && (self.wanted.by.is_none() || self.told(reported))
    }

    /// Whether the caller is told who reported it.
    fn told(&self, reported: Reported) -> bool {
        let Sight { now, viewer, purpose, .. } = self.sight;
        match Source::of_sighting(now, *viewer, reported, self.record.class_now, *purpose) {
            Source::Hidden => false,
            Source::Told(_) => true,
            Source::AsStored => {
                now.class(reported.class).is_some_and(|class| !class.definition.marking.is_masked())
            }
        }
    }
}
