//! Decides which sightings are kept in memory: all of those records that were
//! asked about of late, whoever asked, for to seek them in the store costs more
//! than all else that is done for a record. Who may see which is decided
//! whenever they are looked at.

use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::model::position::Position;
use crate::model::sighting::Outcome;
use crate::store::sightings::Sighting;

use super::source::Reported;

/// Most sightings of a record that are kept.
pub const MOST: usize = 32;
/// Most bytes of all, and what a record of a few sightings takes, about: there is
/// room for those that the newest pages of some hundred questions look at.
const MAX_BYTES: u64 = 4 << 20;
const BYTES: usize = 192;
/// What a record takes beside its sightings, about.
const BESIDE: usize = 72;
/// Records are known to have been sighted since by one of so many numbers.
const PLACES: usize = 1 << 12;

/// A sighting, as far as questions go by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Where the log has it.
    pub position: Position,
    /// Who reported it.
    pub reported: Reported,
    /// What it says.
    pub outcome: Outcome,
}

impl From<&Sighting<'_>> for Told {
    fn from(sighting: &Sighting<'_>) -> Self {
        Self { position: sighting.position, reported: sighting.into(), outcome: sighting.outcome }
    }
}

/// The sightings of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// All that there are, in no order.
    All(Arc<[Told]>),
    /// More than [`MOST`].
    Many,
}

#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<Position, Known> for Bytes {
    fn weight(&self, _record: &Position, known: &Known) -> u64 {
        let sightings = match known {
            Known::All(sightings) => size_of_val::<[Told]>(sightings),
            Known::Many => 0,
        };
        (BESIDE + sightings) as u64
    }
}

/// Sightings of records that were asked about of late.
#[derive(Debug)]
pub struct Sighted {
    records: Cache<Position, Known, Bytes>,
    /// Of the records of a place, where the newest of their sightings stands that
    /// was recorded since the hub began.
    newest: Box<[Mutex<Position>]>,
}

impl Default for Sighted {
    fn default() -> Self {
        let many = usize::try_from(MAX_BYTES).unwrap_or(usize::MAX) / BYTES;
        Self {
            records: Cache::with_weighter(many, MAX_BYTES, Bytes),
            newest: (0..PLACES).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Sighted {
    /// What is known of a record: all that was shown before this was asked, and
    /// maybe some that is about to be.
    #[must_use]
    pub fn of(&self, record: Position) -> Option<Known> {
        self.records.get(&record)
    }

    /// Keeps what was read of a record once all up to a position was shown,
    /// unless it was sighted since: nobody is to find what another has missed.
    pub fn keep(&self, record: Position, known: Known, upto: Position) {
        let Some(newest) = self.newest.get(place(record)) else { return };
        let newest = newest.lock();
        if *newest <= upto {
            self.records.insert(record, known);
        }
    }

    /// A record was sighted: to be told before that is shown.
    pub fn forget(&self, record: Position, at: Position) {
        let Some(newest) = self.newest.get(place(record)) else { return };
        let mut newest = newest.lock();
        *newest = at.max(*newest);
        self.records.remove(&record);
    }
}

fn place(record: Position) -> usize {
    // A multiplier of SplitMix64 (Steele, Lea, Flood, 2014): of a product the
    // upper bits depend on all others.
    let hash = record.raw().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - PLACES.trailing_zeros());
    usize::try_from(hash).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audience::ClassNo;
    use crate::model::org::OrgNo;
    use crate::model::position::Seq;

    fn at(counter: u64) -> Position {
        Seq::new(0, counter).at(0)
    }

    fn told(counter: u64) -> Known {
        let reported = Reported { reporter: OrgNo(1), class: ClassNo(1), indicator_class: ClassNo(1) };
        Known::All(Arc::new([Told { position: at(counter), reported, outcome: Outcome::ALL[0] }]))
    }

    #[test]
    fn what_was_read_before_a_sighting_was_recorded_is_not_kept_after_it() {
        let sighted = Sighted::default();
        let record = at(1);
        sighted.keep(record, told(2), at(5));
        assert_eq!(sighted.of(record), Some(told(2)));
        sighted.forget(record, at(6));
        assert_eq!(sighted.of(record), None, "there is one more");
        sighted.keep(record, told(2), at(5));
        assert_eq!(sighted.of(record), None, "it was read before that");
        sighted.keep(record, told(6), at(6));
        assert_eq!(sighted.of(record), Some(told(6)));
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let sighted = Sighted::default();
        for counter in 1..200_000 {
            sighted.keep(at(counter), told(counter), at(counter));
        }
        assert!(sighted.records.weight() <= MAX_BYTES);
        assert!(sighted.records.len() > 20_000, "{}", sighted.records.len());
    }
}
