//! Decides how rows are met along the order where the records that may be asked
//! for are known: all others are passed over unread. Where they lie so far apart
//! that no page is met soon, they are sorted after all.

use rustc_hash::FxHashSet;

use crate::model::position::Position;

use super::super::error::Error;
use super::order::Rank;
use super::source::Source;
use super::walk::Walk;
use super::ways;

/// Most records that are known at once.
pub(super) const MAX_KNOWN: usize = 1 << 15;
/// Times that candidates are taken before the records are sorted; of fewer
/// records in the tests.
const PULLS: usize = if cfg!(test) { 2 } else { 12 };

/// The records that alone may be asked for.
#[derive(Debug)]
pub(super) struct Among {
    handles: FxHashSet<Position>,
    /// And all that were born by then.
    born_by: Position,
    pulls: usize,
}

impl Among {
    /// These, and all that were born by a position.
    pub(super) fn new(handles: Vec<Position>, born_by: Position) -> Self {
        Self { handles: handles.into_iter().collect(), born_by, pulls: 0 }
    }

    /// Whether a record is one of them.
    pub(super) fn holds(&self, handle: Position) -> bool {
        handle <= self.born_by || self.handles.contains(&handle)
    }
}

/// What to go on with past a rank, once it is time to sort the records; `None`:
/// the walk goes on, for it is not, or they are too many for that.
pub(super) fn sorted<'a>(walk: &mut Walk<'a>, past: Option<Rank>) -> Result<Option<Source<'a>>, Error> {
    let Some(among) = &mut walk.among else { return Ok(None) };
    among.pulls += 1;
    let many = among.born_by != Position::ZERO || among.handles.len() > ways::MAX_SORTED;
    if among.pulls != PULLS || many {
        return Ok(None);
    }
    let mut handles: Vec<_> = among.handles.iter().copied().collect();
    handles.sort_unstable();
    ways::stand_sorted(walk, &handles, past)
}
