//! Decides which records may have held at a moment that is asked about, and in
//! which order they are met.

use crate::base::clock::Timestamp;
use crate::model::position::Position;
use crate::store::keys::{self, Dimension};

use super::super::error::Error;
use super::super::store_error;
use super::among::{Among, MAX_KNOWN};
use super::check::Range;
use super::order::Rank;
use super::source::Source;
use super::walk::Walk;
use super::ways::{FEW_BORN, born, born_at, in_order, is_late, of_records};

/// An hour in microseconds.
const HOUR: u64 = 3_600_000_000;

/// Along the order, of what may have held at the moment that is asked about:
/// what was born by then, and what says that it held before it was born.
pub(super) fn held<'a>(walk: &mut Walk<'a>, past: Option<Rank>) -> Result<Source<'a>, Error> {
    let known = match walk.asked.filter.valid_at {
        Some(at) if walk.indexed => held_at(walk, at)?,
        _ => None,
    };
    match known {
        Some((handles, Position::ZERO)) => {
            let born = handles.into_iter().map(born_at).collect();
            of_records(walk, Some(born), &[], past)
        }
        Some((handles, upto)) => {
            walk.among = Some(Among::new(handles, Range { after: Position::ZERO, upto }));
            in_order(walk, &[], past)
        }
        None => in_order(walk, &[], past),
    }
}

/// The records that may have held, and the position by which others were born
/// that may have, too; `None`: most, or too many.
fn held_at(walk: &Walk<'_>, at: Timestamp) -> Result<Option<(Vec<Position>, Position)>, Error> {
    let store = &walk.shared.store;
    // An hour later, since what is recorded together is told apart by time.
    let born_by = store.position_before_time(at.as_micros().saturating_add(HOUR)).map_err(store_error)?;
    if born_by >= walk.origin.at {
        return Ok(None);
    }
    let terms = 0..=keys::valid_from_term(at);
    let blocks = store.all_postings_in(Dimension::ValidFrom, terms, walk.origin.at.next());
    let (mut blocks, mut handles) = (blocks.map_err(store_error)?, Vec::new());
    while let Some(block) = blocks.next_block().map_err(store_error)? {
        handles.extend(block.into_iter().map(|posting| posting.handle));
        if handles.len() > MAX_KNOWN || is_late(walk, 0) {
            return Ok(None);
        }
    }
    Ok(Some(match born(walk, (Position::ZERO, born_by), FEW_BORN, |_| true)? {
        None => (handles, born_by),
        Some(born) => {
            handles.extend(born);
            handles.sort_unstable();
            handles.dedup();
            (handles, Position::ZERO)
        }
    }))
}
