//! Decides which version of a record stands at a position: the newest one at
//! or before it. Asked of many records with one read.

use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::base::clock;
use crate::model::audience::ClassNo;
use crate::model::position::Position;
use crate::store::keys::Dimension;
use crate::store::postings::Posting;

use super::super::error::Error;
use super::super::fetch;
use super::super::replaced::Known;
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

    /// What stands of the first of some records, of one at least, and of as many
    /// more as there is time for. Of each a version is known; if that was
    /// replaced, what stands in its place is told only of `records`, else `None`
    /// may be. The directory is to be renewed after this.
    pub(super) fn of(
        &mut self,
        shared: &Shared,
        (versions, records): (&[Posting], bool),
        until: Option<Instant>,
    ) -> Result<Vec<Standing>, Error> {
        let mut known = self.known(shared, versions, records);
        let asked: Vec<_> = versions.iter().zip(&known).filter(|(_, known)| known.is_none()).collect();
        let asked: Vec<_> = asked.into_iter().map(|(version, _)| version.handle).collect();
        if asked.is_empty() {
            return Ok(known.into_iter().flatten().collect());
        }
        let mut latest = shared.store.latest(&asked).map_err(store_error)?.into_iter();
        let origin = self.at;
        let born = |handle: Position| (handle <= origin).then_some(handle);
        let mut out = Vec::with_capacity(versions.len());
        for (version, known) in versions.iter().zip(known.drain(..)) {
            if let Some(known) = known {
                out.push(known);
                continue;
            }
            let handle = version.handle;
            out.push(match latest.next().flatten() {
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

    /// What is known without a read.
    fn known(&self, shared: &Shared, versions: &[Posting], records: bool) -> Vec<Option<Standing>> {
        // What is being dropped is asked for.
        if shared.history.announced() != self.dropped {
            return vec![None; versions.len()];
        }
        let (look, reclassed) = (shared.replaced.look(), shared.reclassed.read());
        let known = |version: &Posting| match look.at(version.position, self.at) {
            Known::Stands => Some(Standing {
                at: Some(version.position),
                class_now: reclassed.get(&version.handle).copied(),
            }),
            Known::Replaced if !records => Some(Standing { at: None, class_now: None }),
            Known::Replaced | Known::Unknown => None,
        };
        versions.iter().map(known).collect()
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
