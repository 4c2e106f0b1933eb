//! Decides which version of a record stands at a position: the newest one at
//! or before it. Asked of many records with one read.

use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::base::clock;
use crate::model::audience::ClassNo;
use crate::model::position::Position;
use crate::store::keys::Dimension;

use super::super::error::Error;
use super::super::fetch;
use super::super::shared::Shared;
use super::super::store_error;

/// What stands of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Its version there; `None`: it was not born yet.
    pub(super) at: Option<Position>,
    /// Its class today; `None`: that of its first version, which stands.
    pub(super) class_now: Option<ClassNo>,
}

/// Knows what stands at an origin.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) at: Position,
    /// Versions of records that were changed since, by handle.
    found: FxHashMap<Position, Position>,
    /// Records that were dropped when the walk began: what is dropped while it
    /// goes on may be held by what it reads, and looks as if it never changed.
    dropped: u64,
}

/// Versions that are gone back over before what was published is looked at.
const HOPS: usize = 8;
/// Records that are remembered.
const MAX_FOUND: usize = 4_096;

impl Origin {
    pub(super) fn new(shared: &Shared, at: Position) -> Self {
        Self { at, found: FxHashMap::default(), dropped: shared.history.dropped() }
    }

    /// What stands of the first of the records that were born at `handles`, of
    /// one at least, and of as many more as there is time for. The directory is
    /// to be renewed after this.
    pub(super) fn of(
        &mut self,
        shared: &Shared,
        handles: &[Position],
        until: Option<Instant>,
    ) -> Result<Vec<Standing>, Error> {
        if handles.is_empty() {
            return Ok(Vec::new());
        }
        let latest = shared.store.latest(handles).map_err(store_error)?;
        let origin = self.at;
        let born = |handle: Position| (handle <= origin).then_some(handle);
        let mut out = Vec::with_capacity(handles.len());
        for (&handle, latest) in handles.iter().zip(latest) {
            out.push(match latest {
                None if shared.history.announced() != self.dropped && shared.was_dropped(handle)? => {
                    Standing { at: None, class_now: None }
                }
                None => Standing { at: born(handle), class_now: None },
                Some(latest) if latest.newest <= self.at => {
                    Standing { at: Some(latest.newest), class_now: Some(latest.class) }
                }
                Some(latest) if born(handle).is_none() => {
                    Standing { at: None, class_now: Some(latest.class) }
                }
                Some(latest) => {
                    if !out.is_empty() && until.is_some_and(|until| clock::monotonic() > until) {
                        break;
                    }
                    let at = self.before(shared, handle, latest.newest)?;
                    Standing { at: Some(at), class_now: Some(latest.class) }
                }
            });
        }
        Ok(out)
    }

    /// The newest version at or before the origin of a record that was changed
    /// since; found once, however many of its versions are candidates.
    pub(super) fn before(
        &mut self,
        shared: &Shared,
        handle: Position,
        newest: Position,
    ) -> Result<Position, Error> {
        if let Some(known) = self.found.get(&handle) {
            return Ok(*known);
        }
        let at = before(shared, handle, newest, self.at)?;
        if self.found.len() >= MAX_FOUND {
            self.found.clear();
        }
        self.found.insert(handle, at);
        Ok(at)
    }
}

/// The version of a record that stood at `origin`; none if it was not born yet.
///
/// # Errors
/// A failure of the store.
pub fn stood(shared: &Shared, handle: Position, origin: Position) -> Result<Option<Position>, Error> {
    if handle > origin {
        return Ok(None);
    }
    let latest = shared.store.latest(&[handle]).map_err(store_error)?.pop().flatten();
    let newest = latest.map_or(handle, |latest| latest.newest);
    if newest <= origin { Ok(Some(newest)) } else { before(shared, handle, newest, origin).map(Some) }
}

/// The newest version at or before `origin` of a record that was born by then.
/// By turns back from version to version, and back from the origin through all
/// that the owner published: who changes one record without end makes the
/// first way long and leaves the second one short, on which hundreds of
/// versions are passed over for each read of the first.
fn before(shared: &Shared, handle: Position, newest: Position, origin: Position) -> Result<Position, Error> {
    let (mut at, mut published) = (newest, None);
    loop {
        let mut owner = None;
        for _ in 0..HOPS {
            if at <= origin {
                return Ok(at);
            }
            // Where it was cut out, the record was dropped, or the origin is too old.
            let Some((header, _)) = fetch::kept(shared, at)? else { return Ok(Position::ZERO) };
            (at, owner) = (header.previous, Some(u64::from(header.owner.0)));
        }
        let Some(owner) = owner else { continue };
        let blocks = match &mut published {
            Some(blocks) => blocks,
            None => {
                let back = shared.store.postings_back(Dimension::Owner, owner, origin.next());
                published.insert(back.map_err(store_error)?)
            }
        };
        let block = blocks.next_block().map_err(store_error)?.unwrap_or_default();
        if let Some(found) = block.iter().rev().find(|posting| posting.handle == handle) {
            return Ok(found.position);
        }
    }
}
