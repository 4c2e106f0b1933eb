//! Decides when a walk that reads much and meets little goes over to what a
//! range of terms holds, gathered whole: how dense in the order that lies which
//! is asked for nobody knows before, and to gather a wide range costs as much as
//! to read some thousands of versions.

use rustc_hash::FxHashSet;

use super::super::error::Error;
use super::super::store_error;
use super::beside::{self, range_of};
use super::lists::List;
use super::order::{self, Rank};
use super::plan::bounds;
use super::source::Source;
use super::stream::Way;
use super::walk::Walk;
use super::ways;

/// Times that candidates are taken before the range is gathered; of fewer in
/// the tests.
const PULLS: usize = if cfg!(test) { 2 } else { 8 };
/// Most postings that are gathered, of lists or of a range.
const MAX_GATHERED: u64 = 1 << 19;
/// Versions that are read without going through the range for them.
const FEW: usize = if cfg!(test) { 4 } else { 1_024 };

/// What is gathered later, if it comes to that.
#[derive(Debug)]
pub(super) struct Later {
    /// The lists that are walked until then; perhaps the range alone.
    lists: Vec<List>,
    pulls: usize,
}

impl Later {
    /// For a walk along lists, one of which is a range, or beside one.
    pub(super) fn of(walk: &Walk<'_>, lists: &[List]) -> Option<Self> {
        let alone = matches!(lists, [one] if range_of(one).is_some());
        let range = alone || (walk.beside.is_some() && !lists.is_empty());
        (range && walk.order.by_version() && walk.among.is_none())
            .then(|| Self { lists: lists.to_vec(), pulls: 0 })
    }
}

/// What to go on with past a rank, once it is time to gather; `None`: the walk
/// goes on, for it is not, or that is too much.
pub(super) fn gathered<'a>(walk: &mut Walk<'a>, past: Option<Rank>) -> Result<Option<Source<'a>>, Error> {
    let Some(later) = &mut walk.later else { return Ok(None) };
    later.pulls += 1;
    if later.pulls != PULLS {
        return Ok(None);
    }
    let Some(Later { lists, .. }) = walk.later.take() else { return Ok(None) };
    let (mut after, mut upto) = bounds(walk);
    if let Some((at, _)) = past.map(|past| past.parts(walk.order)) {
        match order::way(walk.order) {
            Way::Back => upto = upto.min(at),
            Way::On => after = after.max(at),
        }
    }
    let alone = matches!(lists.as_slice(), [one] if range_of(one).is_some());
    let range = if alone { lists.first() } else { walk.beside.as_ref() };
    let Some((dimension, terms)) = range.and_then(range_of) else { return Ok(None) };
    let about = walk.shared.store.postings_about(dimension, terms).map_err(store_error)?;
    if about > MAX_GATHERED {
        return Ok(None);
    }
    let found = if alone {
        beside::whole(walk, (dimension, terms), (after, upto), MAX_GATHERED)?
    } else {
        let most = usize::try_from(MAX_GATHERED).unwrap_or(usize::MAX);
        let Some(mut all) = ways::in_common(walk, &lists, (after, upto), most)? else { return Ok(None) };
        if all.len() > FEW {
            let wanted: FxHashSet<_> = all.iter().map(|posting| posting.position).collect();
            let held = beside::held(walk, (dimension, terms), (after, upto), &wanted)?;
            let Some(held) = held else { return Ok(None) };
            all.retain(|posting| held.contains(&posting.position));
        }
        Some(all)
    };
    Ok(found.map(|postings| ways::gathered(walk, postings, past)))
}
