//! Decides whether a record was sighted as a question asks: by one sighting
//! that the caller may see, and whose reporter he is told if he asks for one.

use crate::model::audience::ClassNo;
use crate::model::org::OrgNo;
use crate::model::position::Position;
use crate::store::chunk::{ItemHeader, Op};
use crate::store::keys::{self, Dimension};
use crate::store::postings::Posting;
use crate::wire::facts;

use super::super::error::Error;
use super::super::fetch::{self, damaged};
use super::super::shared::Shared;
use super::super::source::Source;
use super::super::store_error;
use super::check::Sightings;
use super::sight::Sight;

/// Most sightings by one reporter that are read, newest first, and most of one
/// record in all. Those that the caller may not see are passed over unread, by
/// the classes beside them, and count for nothing: no answer depends on them.
const READ_OF_EACH: usize = 1_000;
const READ: usize = 8_192;
/// Sightings by one reporter that are told of at once: few have more.
const FEW: usize = 64;

/// A record whose sightings are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighted {
    pub(super) handle: Position,
    /// Its class today.
    pub(super) class_now: ClassNo,
    /// Sightings after this are not known yet.
    pub(super) origin: Position,
}

/// Whether there is such a sighting of the record.
pub(super) fn is(
    shared: &Shared,
    sight: &Sight<'_>,
    record: Sighted,
    wanted: &Sightings,
) -> Result<bool, Error> {
    let mut reporters = match &wanted.by {
        Some(by) => by.clone(),
        None => reporters(shared, record)?,
    };
    // Not in the order of first sightings, which may be hidden.
    reporters.sort_unstable();
    reporters.dedup();
    let mut left = READ;
    for reporter in reporters {
        if by(shared, sight, record, reporter, wanted, &mut left)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whoever reported sightings of the record: no more than there are
/// organisations.
fn reporters(shared: &Shared, record: Sighted) -> Result<Vec<OrgNo>, Error> {
    let mut blocks = shared
        .store
        .postings_after(Dimension::Reporter, record.handle.raw(), Position::ZERO)
        .map_err(store_error)?;
    let mut all = Vec::new();
    while let Some(block) = blocks.next_block().map_err(store_error)? {
        let known = block.into_iter().filter(|first| first.position <= record.origin);
        all.extend(known.filter_map(|first| first.number().map(OrgNo)));
    }
    Ok(all)
}

/// Whether there is one by this reporter.
fn by(
    shared: &Shared,
    sight: &Sight<'_>,
    record: Sighted,
    reporter: OrgNo,
    wanted: &Sightings,
    left: &mut usize,
) -> Result<bool, Error> {
    let term = keys::sighting_term(record.handle, reporter);
    let upto = wanted.recorded.upto.min(record.origin);
    let end = left.saturating_sub(READ_OF_EACH);
    // Newest first; whether it is one, or `None` where no more are to be read.
    let mut look = |posting: &Posting| {
        if posting.position <= wanted.recorded.after {
            return Ok(None);
        }
        if posting.position > upto || !posting.number().is_some_and(|class| is_seen(sight, ClassNo(class))) {
            return Ok(Some(false));
        }
        if *left == end {
            return Ok(None);
        }
        *left -= 1;
        one(shared, sight, record, posting.position, wanted).map(Some)
    };
    let store = &shared.store;
    let mut back = None;
    let mut block = match store.few_postings(Dimension::Sighting, term, FEW).map_err(store_error)? {
        Some(all) => all,
        None => {
            let blocks = store.postings_back(Dimension::Sighting, term, upto.next());
            back.insert(blocks.map_err(store_error)?).next_block().map_err(store_error)?.unwrap_or_default()
        }
    };
    while !block.is_empty() {
        for posting in block.iter().rev() {
            match look(posting)? {
                Some(true) => return Ok(true),
                Some(false) => {}
                None => return Ok(false),
            }
        }
        let next = back.as_mut().map(|back| back.next_block()).transpose().map_err(store_error)?;
        block = next.flatten().unwrap_or_default();
    }
    Ok(false)
}

/// Whether a sighting of this class is seen: it has the one class for good.
fn is_seen(sight: &Sight<'_>, class: ClassNo) -> bool {
    sight.sees(class) && sight.sees_now(class)
}

/// Whether the item there is one; it was recorded in time.
pub(super) fn one(
    shared: &Shared,
    sight: &Sight<'_>,
    record: Sighted,
    at: Position,
    wanted: &Sightings,
) -> Result<bool, Error> {
    let Some((header, body)) = fetch::kept(shared, at)? else { return Ok(false) };
    // Two terms may be the same by chance, and the class is looked at again.
    if header.op != Op::Sight || header.previous != record.handle || !is_seen(sight, header.class) {
        return Ok(false);
    }
    if wanted.by.as_ref().is_some_and(|by| !by.contains(&header.owner))
        || (wanted.by.is_some() && !told(sight, &header, record.class_now))
    {
        return Ok(false);
    }
    let Some(outcomes) = wanted.outcomes else { return Ok(true) };
    let outcome = facts::outcome(&body).ok_or_else(|| damaged(at))?;
    Ok(outcomes & (1 << outcome.number()) != 0)
}

/// Whether the caller is told who reported it.
fn told(sight: &Sight<'_>, sighting: &ItemHeader, indicator_now: ClassNo) -> bool {
    let source = Source::of_sighting(&sight.now, sight.viewer, sighting, indicator_now, sight.purpose);
    match source {
        Source::Hidden => false,
        Source::Told(_) => true,
        Source::AsStored => {
            sight.now.class(sighting.class).is_some_and(|class| !class.definition.marking.is_masked())
        }
    }
}
