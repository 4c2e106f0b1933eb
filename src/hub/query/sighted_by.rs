//! Decides which records were sighted as a question asks, before any of them is
//! met: all that postings of sightings name, unless these are so many that a
//! page of records is met sooner along the order.

use rustc_hash::{FxBuildHasher, FxHashSet};

use crate::model::sighting::Outcome;
use crate::store::keys::Dimension;

use super::super::error::Error;
use super::super::store_error;
use super::among::Records;
use super::check::{Range, Sightings};
use super::sieve::Sieve;
use super::walk::Walk;
use super::ways::{MAX_SORTED, is_late};

/// Most sightings that are read.
const MAX_SIGHTINGS: usize = 1 << 20;
/// Sightings beyond which records are sifted; the tests do so sooner.
const SIFTED: u64 = if cfg!(test) { 16 } else { 2 * MAX_SORTED as u64 };

/// The records of which there are sightings that may be asked for, and maybe
/// others; `None`: nobody knows.
pub(super) fn records(walk: &Walk<'_>) -> Result<Option<Records>, Error> {
    let Some(wanted) = &walk.asked.sightings else { return Ok(None) };
    let (dimension, terms) = terms(wanted);
    let Range { after, upto } = wanted.recorded;
    let upto = upto.min(walk.origin.at);
    let store = &walk.shared.store;
    let mut about = 0_u64;
    for &term in &terms {
        about += store.postings_between(dimension, term, (after, upto)).map_err(store_error)?;
    }
    if are_common(about, store.values_about()) {
        return Ok(None);
    }
    // What is too much to be sorted is not looked at one by one either.
    let mut found = match about > SIFTED {
        true => Records::Sifted(Sieve::of(about)),
        false => {
            let most = usize::try_from(about.min(SIFTED)).unwrap_or_default();
            Records::Known(FxHashSet::with_capacity_and_hasher(most, FxBuildHasher))
        }
    };
    let mut looked = 0;
    for term in terms {
        let mut blocks = store.postings_back(dimension, term, upto.next()).map_err(store_error)?;
        while let Some(block) = blocks.next_block().map_err(store_error)? {
            // What lies before it is older still.
            let is_last = block.first().is_some_and(|oldest| oldest.position <= after);
            let recorded = block.iter().filter(|posting| posting.position > after);
            looked += block.len();
            let handles = recorded.map(|posting| posting.handle);
            match &mut found {
                Records::Known(found) => found.extend(handles),
                Records::Sifted(sieve) => handles.for_each(|handle| sieve.insert(handle)),
            }
            if looked > MAX_SIGHTINGS || is_late(walk, 0) {
                return Ok(None);
            }
            if is_last {
                break;
            }
        }
    }
    Ok(Some(found))
}

/// Where sightings are posted of which some are asked for: by who reported
/// them, or if that is not asked by what they say.
fn terms(wanted: &Sightings) -> (Dimension, Vec<u64>) {
    if let Some(by) = &wanted.by {
        return (Dimension::SightedBy, by.iter().map(|org| u64::from(org.0)).collect());
    }
    let asked = |outcome: &&Outcome| wanted.outcomes.is_none_or(|bits| bits & (1 << outcome.number()) != 0);
    let numbers = Outcome::ALL.iter().filter(asked).map(|outcome| u64::from(outcome.number()));
    (Dimension::Outcome, numbers.collect())
}

/// Whether there are so many sightings that a page of their records is met along
/// the order before they were read. To look for the sightings of a record that
/// is met there costs as much as to read a thousand of them, and a page of a
/// hundred is met after a hundred times all records by their number.
const fn are_common(sightings: u64, records: u64) -> bool {
    const LOOKED_FOR: u64 = 1_000 * 100;
    let most = records.saturating_mul(LOOKED_FOR);
    sightings.saturating_mul(sightings) > if most == 0 { 1 } else { most }
}
