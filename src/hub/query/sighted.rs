//! Decides whether a record was sighted as a question asks: by one sighting
//! that the caller may see, and whose reporter he is told if he asks for one.

use crate::model::audience::ClassNo;
use crate::model::org::OrgNo;
use crate::model::position::Position;
use crate::store::sightings::{Sighting, Sightings};

use super::super::error::Error;
use super::super::shared::Shared;
use super::super::source::Source;
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
}

impl<'a> Kept<'a> {
    /// The sightings of a record below `end`.
    fn of(
        &mut self,
        shared: &'a Shared,
        record: Position,
        end: Position,
    ) -> Result<&mut Sightings<'a>, Error> {
        let kept = self.walk.take().filter(|_| !self.records.is_multiple_of(KEPT));
        self.records += 1;
        let walk = match kept {
            Some(mut walk) => {
                shared.store.sightings_again(&mut walk, record, end);
                walk
            }
            None => shared.store.sightings(record, end).map_err(store_error)?,
        };
        Ok(self.walk.insert(walk))
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
    let end = wanted.recorded.upto.min(record.origin).next();
    let sightings = kept.of(shared, record.handle, end)?;
    let mut asked = Asked { sight, record, wanted, last: (None, false), left: READ };
    let Some(by) = &wanted.by else {
        // By whomever: no more than there are organisations.
        while asked.left > 0
            && let Some(reporter) = newest(sightings)?.map(|newest| newest.reporter)
        {
            if asked.any(sightings, reporter)? {
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
        if asked.any(sightings, reporter)? {
            return Ok(true);
        }
    }
    Ok(false)
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
                if self.says(&sighting) {
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
    fn says(&self, sighting: &Sighting<'_>) -> bool {
        let said = self.wanted.outcomes.is_none_or(|all| all & (1 << sighting.outcome.number()) != 0);
        said && (self.wanted.by.is_none() || self.told(sighting))
    }

    /// Whether the caller is told who reported it.
    fn told(&self, sighting: &Sighting<'_>) -> bool {
        let Sight { now, viewer, purpose, .. } = self.sight;
        match Source::of_sighting(now, *viewer, sighting.into(), self.record.class_now, *purpose) {
            Source::Hidden => false,
            Source::Told(_) => true,
            Source::AsStored => {
                now.class(sighting.class).is_some_and(|class| !class.definition.marking.is_masked())
            }
        }
    }
}
