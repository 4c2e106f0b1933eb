//! Decides how rows are met along the order where the records that may be asked
//! for are known: all others are passed over unread. Where they lie so far apart
//! that no page is met soon, they are sorted after all.

use std::collections::BTreeSet;

use rustc_hash::FxHashSet;

use crate::model::position::Position;
use crate::store::keys;

use super::super::error::Error;
use super::check::Range;
use super::order::Rank;
use super::sieve::Sieve;
use super::source::Source;
use super::walk::Walk;
use super::ways;

/// Most records that are known at once.
pub(super) const MAX_KNOWN: usize = 1 << 15;
/// Times that candidates are taken before the records are sorted; of fewer
/// records in the tests.
const PULLS: usize = if cfg!(test) { 2 } else { 12 };

/// Records by their handles.
#[derive(Debug)]
pub(super) enum Records {
    /// These.
    Known(FxHashSet<Position>),
    /// These, and a few others: too many to be kept one by one.
    Sifted(Sieve),
}

/// The records that alone may be asked for.
#[derive(Debug)]
pub(super) struct Among {
    handles: Records,
    /// And all that were born there.
    born: Range,
    pulls: usize,
}

impl Among {
    /// These.
    pub(super) const fn of(handles: Records) -> Self {
        Self { handles, born: Range::NONE, pulls: 0 }
    }

    /// These, and all that were born somewhere.
    pub(super) fn new(handles: Vec<Position>, born: Range) -> Self {
        Self { handles: Records::Known(handles.into_iter().collect()), born, pulls: 0 }
    }

    /// Whether a record is one of them.
    pub(super) fn holds(&self, handle: Position) -> bool {
        self.born.holds(handle)
            || match &self.handles {
                Records::Known(handles) => handles.contains(&handle),
                Records::Sifted(sieve) => sieve.holds(handle),
            }
    }

    /// Under which terms of birth all of them are, if those are no more than
    /// `most`.
    pub(super) fn born_terms(&self, most: usize) -> Option<Vec<u64>> {
        let (Range { after, upto }, Records::Known(handles)) = (self.born, &self.handles) else {
            return None;
        };
        let mut terms = BTreeSet::new();
        if after < upto {
            let (first, last) = (keys::born_term(after.next()), keys::born_term(upto));
            if last - first >= most as u64 {
                return None;
            }
            terms.extend(first..=last);
        }
        for &handle in handles {
            terms.insert(keys::born_term(handle));
            if terms.len() > most {
                return None;
            }
        }
        Some(terms.into_iter().collect())
    }
}

/// What to go on with past a rank, once it is time to sort the records; `None`:
/// the walk goes on, for it is not, or they are too many for that.
pub(super) fn sorted<'a>(walk: &mut Walk<'a>, past: Option<Rank>) -> Result<Option<Source<'a>>, Error> {
    let Some(among) = &mut walk.among else { return Ok(None) };
    among.pulls += 1;
    let Records::Known(handles) = &among.handles else { return Ok(None) };
    let many = among.born != Range::NONE || handles.len() > ways::MAX_SORTED;
    if among.pulls != PULLS || many {
        return Ok(None);
    }
    let mut handles: Vec<_> = handles.iter().copied().collect();
    handles.sort_unstable();
    let records: Vec<_> = handles.into_iter().map(ways::born_at).collect();
    ways::stand_sorted(walk, &records, past)
}
