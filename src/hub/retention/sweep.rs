//! Decides how what was replaced by the base is cut out: the log is followed
//! from the last base to this one, once, and each version that is met there
//! ends the one before it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::base::digest::Multiset;
use crate::model::position::Position;
use crate::store::chunk::{ItemView, Op, Rest, View};
use crate::store::truncate::Truncated;
use crate::store::{Batch, Store, db};

use super::super::error::Error;
use super::super::shared::Shared;
use super::super::store_error;

/// Bytes of the log that are followed in one step.
const STEP_BYTES: usize = if cfg!(test) { 4 << 10 } else { 1 << 20 };
/// Items that are cut out in one step, and some more of the same chunk.
const STEP_ITEMS: usize = if cfg!(test) { 16 } else { 2_048 };

/// Follows the log towards the base; whether that took a step.
pub(super) fn follow(shared: &Shared) -> Result<ControlFlow<()>, Error> {
    let base = shared.history.base().position;
    let mark = shared.store.truncated().map_err(store_error)?;
    if mark.upto >= base {
        return Ok(ControlFlow::Continue(()));
    }
    step(&shared.store, mark, base).map_err(store_error)?;
    Ok(ControlFlow::Break(()))
}

/// One step from the mark on; where that gets to.
pub(super) fn step(store: &Store, mut mark: Truncated, base: Position) -> Result<Truncated, db::Error> {
    let mut gone = BTreeMap::new();
    let mut log = store.reader()?;
    log.seek_after(mark.upto);
    let mut read = 0;
    while read < STEP_BYTES && gone.len() < STEP_ITEMS {
        let Some((first, bytes)) = log.peek()?.filter(|(first, _)| *first <= base) else {
            mark.upto = base;
            break;
        };
        let view = View::parse(first, bytes).ok_or_else(|| db::Error::corrupt("chunk", first))?;
        for item in view.items() {
            let item = item.ok_or_else(|| db::Error::corrupt("item", first))?;
            ends(store, &item, mark.dropped > 0, &mut gone)?;
        }
        mark.pass(first, bytes, view.last_position());
        read += bytes.len();
        log.advance();
    }
    let cuts = store.cuts(&gone)?;
    cuts.note(&mut mark);
    store.truncate(&cuts, &mark)?;
    Ok(mark)
}

/// What an item ends: the version before it; itself, if it tells of a record
/// that was dropped.
fn ends(
    store: &Store,
    item: &ItemView<'_>,
    any_dropped: bool,
    gone: &mut BTreeMap<Position, Rest>,
) -> Result<(), db::Error> {
    let header = &item.header;
    if header.op.is_version() && header.previous != Position::ZERO {
        gone.insert(header.previous, Rest::Birth);
    }
    if any_dropped && tells_of_dropped(store, item)? {
        gone.insert(item.position, Rest::Nothing);
    }
    Ok(())
}

/// Whether an item tells of a record that is there no more.
pub(in super::super) fn tells_of_dropped(store: &Store, item: &ItemView<'_>) -> Result<bool, db::Error> {
    let header = &item.header;
    Ok(match header.op {
        Op::Sight | Op::Leave | Op::Held | Op::Contain => store.is_dropped(header.previous)?,
        Op::Notice => {
            store.is_dropped(header.previous)? || store.is_dropped(Position::from_raw(header.digest))?
        }
        _ => false,
    })
}

/// What is left, if the log does not say so yet, and nothing is to be cut out.
pub(super) fn undeclared(store: &Store) -> Result<Option<(Position, Multiset)>, db::Error> {
    let mark = store.truncated()?;
    let state = (mark.upto, mark.digest);
    let said = store.base_state()?.is_some_and(|said| said == state);
    Ok((!said && mark.upto != Position::ZERO).then_some(state))
}

/// Gives back the room of what was cut out, file by file; whether that took a
/// step.
pub(super) fn compact(shared: &Shared) -> Result<ControlFlow<()>, Error> {
    compact_next(&shared.store).map_err(store_error)
}

fn compact_next(store: &Store) -> Result<ControlFlow<()>, db::Error> {
    let mark = store.truncated()?;
    let (freed, from) = store.compacted()?;
    if freed == mark.freed && from == Position::ZERO {
        return Ok(ControlFlow::Continue(()));
    }
    // What is cut out while it goes on may lie behind it, and is for the next.
    let freed = if from == Position::ZERO { mark.freed } else { freed };
    let next = store.compact_log(from, mark.upto)?;
    let mut batch = Batch::new(store);
    match next {
        Some(next) => batch.compacted(freed, next)?,
        None => batch.compacted(freed, Position::ZERO)?,
    }
    store.write_behind(batch)?;
    Ok(ControlFlow::Break(()))
}
