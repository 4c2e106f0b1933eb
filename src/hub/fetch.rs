//! Decides how one indicator is got by its id: what may not be seen is as
//! absent as what never was.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::model::audience::ClassNo;
use crate::model::marking::Tlp;
use crate::model::org::OrgNo;
use crate::model::position::Position;
use crate::policy::visibility::{Purpose, Viewer};
use crate::store::chunk::{Chunk, ItemHeader};
use crate::store::db;
use crate::store::keys::Dimension;
use crate::wire::{disclosure, event};

use super::caller::Caller;
use super::directory::Directory;
use super::engine::Hub;
use super::error::Error;
use super::reported;
use super::shared::{Reclassed, Shared};
use super::source::{self, Other, Source};
use super::store_error;

/// Most sightings, and most collisions, that come with an indicator.
pub(super) const MAX_TOLD: usize = 100;
/// Most collisions that are read to find those the caller may see: there is one
/// for each organisation that holds the value, and all are the owner's.
const MAX_COLLISIONS_READ: usize = 1_000;

/// One indicator and its sightings, encoded `luytre.v1` messages.
#[derive(Debug, Clone)]
pub struct Found {
    /// The indicator as it now stands.
    pub indicator: Bytes,
    /// Sightings that the caller may see, newest first: of each reporter as
    /// many as of every other, if there are more than fit.
    pub sightings: Vec<Bytes>,
    /// Its newest collisions, if the caller is its owner, newest first.
    pub collisions: Vec<Bytes>,
}

/// The moment as of which a record is looked at.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    /// What stands from here on is not there yet.
    pub(super) end: Position,
    /// Who was who, unless it is as today.
    pub(super) then: Option<Arc<Directory>>,
}

impl Moment {
    /// This one.
    const NOW: Self = Self { end: Position::from_raw(u64::MAX), then: None };
}

impl Hub {
    /// One indicator by its public id.
    ///
    /// # Errors
    /// `NOT_FOUND` where it is missing or hidden.
    pub async fn get(&self, caller: &Caller, id: Uuid) -> Result<Found, Error> {
        let handle = self.shared.sealer.handle(id).ok_or_else(Error::absent)?;
        let caller = caller.clone();
        self.blocking(move |shared| {
            let (at, header, body) = newest_at(shared, &caller, handle)?;
            let indicator = shown(shared, &caller, &header, &body)?;
            let sightings = reported::told(shared, &caller, (handle, header.class), &Moment::NOW)?;
            let collisions = collisions(shared, &caller, &header, &Moment::NOW)?;
            // What is told with it may be narrower, and is not looked at.
            if sightings.is_empty() && collisions.is_empty() {
                caller.trail().saw(Tlp::from_number_or_red(header.tlp));
            }
            caller.trail().gave(1);
            caller.trail().told(handle, at);
            Ok(Found { indicator, sightings, collisions })
        })
        .await
    }
}

/// The newest version of an indicator, in a body, as the caller is shown it.
pub(super) fn shown(
    shared: &Shared,
    caller: &Caller,
    header: &ItemHeader,
    body: &Bytes,
) -> Result<Bytes, Error> {
    let reclassed = shared.reclassed.read();
    // After the classes were read, so that it knows them.
    let today = shared.directory.load();
    told(shared, (&today, &reclassed), (caller, Purpose::Get), (header, header.class), body)
}

/// A version of an indicator, in a body, as a caller is shown it whose right
/// to see it is settled; with the class that its record is of today.
pub(super) fn told(
    shared: &Shared,
    (today, reclassed): (&Directory, &Reclassed),
    (caller, purpose): (&Caller, Purpose),
    (header, class_now): (&ItemHeader, ClassNo),
    body: &Bytes,
) -> Result<Bytes, Error> {
    let at = header.handle;
    let source = Source::of(today, viewer(caller), header.class, class_now, purpose);
    let shown = source.show_indicator(inner(body, at)?).ok_or_else(|| damaged(at))?;
    let original = source::original(today, reclassed, viewer(caller), header, purpose);
    Ok(match original {
        Some(original) => disclosure::tell_original(&shown, shared.sealer.id(original)),
        None => shown,
    })
}

pub(super) const fn viewer(caller: &Caller) -> Viewer<'_> {
    Viewer { org: caller.org(), principal: caller.identity() }
}

pub(super) fn inner(body: &Bytes, at: Position) -> Result<Bytes, Error> {
    event::subject(body).map(|subject| body.slice_ref(subject)).ok_or_else(|| damaged(at))
}

/// The newest version of an indicator that the caller may see.
pub(super) fn newest(
    shared: &Shared,
    caller: &Caller,
    handle: Position,
) -> Result<(ItemHeader, Bytes), Error> {
    newest_at(shared, caller, handle).map(|(_, header, body)| (header, body))
}

/// The same, and where it stands.
fn newest_at(
    shared: &Shared,
    caller: &Caller,
    handle: Position,
) -> Result<(Position, ItemHeader, Bytes), Error> {
    let (at, header, body) = newest_of_any_at(shared, handle)?;
    if !shared.directory.load().visible(viewer(caller), header.class, Purpose::Get) {
        return Err(Error::absent());
    }
    Ok((at, header, body))
}

/// The newest version of an indicator, whoever may see it.
pub(super) fn newest_of_any(shared: &Shared, handle: Position) -> Result<(ItemHeader, Bytes), Error> {
    newest_of_any_at(shared, handle).map(|(_, header, body)| (header, body))
}

/// The same, and where it stands.
pub(super) fn newest_of_any_at(
    shared: &Shared,
    handle: Position,
) -> Result<(Position, ItemHeader, Bytes), Error> {
    let latest = shared.store.latest(&[handle]).map_err(store_error)?.pop().flatten();
    let at = latest.map_or(handle, |latest| latest.newest);
    let (header, body) = item(shared, at)?.ok_or_else(Error::absent)?;
    if !header.op.is_version() || header.handle != handle {
        return Err(Error::absent());
    }
    Ok((at, header, body))
}

/// Header of the newest version of an indicator, for who writes on behalf of
/// its owner: it tells him nothing but whether it is the owner's.
pub(super) fn header_of(shared: &Shared, owner: OrgNo, handle: Position) -> Result<ItemHeader, Error> {
    let (header, _) = newest_of_any(shared, handle)?;
    if header.owner == owner { Ok(header) } else { Err(Error::absent()) }
}

/// Header of the newest version of an indicator that the caller may see.
pub(super) fn visible_header(
    shared: &Shared,
    caller: &Caller,
    handle: Position,
) -> Result<ItemHeader, Error> {
    newest(shared, caller, handle).map(|(header, _)| header)
}

/// The item at a position; `None` where the log has none.
pub(super) fn item(shared: &Shared, at: Position) -> Result<Option<(ItemHeader, Bytes)>, Error> {
    let chunk = shared.store.chunk_at(at).map_err(store_error)?;
    chunk.map_or(Ok(None), |chunk| item_of(&chunk, at))
}

/// The item at a position where there was one; `None`: it was cut out.
pub(super) fn kept(shared: &Shared, at: Position) -> Result<Option<(ItemHeader, Bytes)>, Error> {
    let found = item(shared, at)?;
    if found.is_none() {
        shared.store.gone(at).map_err(store_error)?;
    }
    Ok(found)
}

/// The item at a position, if the chunk has it.
pub(super) fn item_of(chunk: &Chunk, at: Position) -> Result<Option<(ItemHeader, Bytes)>, Error> {
    let view = chunk.view().ok_or_else(|| damaged(at))?;
    for item in view.items() {
        let item = item.ok_or_else(|| damaged(at))?;
        if item.position == at {
            return Ok(Some((item.header, chunk.bytes.slice_ref(item.body))));
        }
    }
    Ok(None)
}

/// A damaged item.
pub(super) fn damaged(at: Position) -> Error {
    store_error(db::Error::corrupt("item", at))
}

/// Whether the caller is told of collisions of the record, as its owner or
/// the owner's heir; if not, not even their number must show in how many reads
/// the answer takes.
fn hears(shared: &Shared, caller: &Caller, record: &ItemHeader) -> bool {
    let directory = shared.directory.load();
    let heir = |owner| directory.roster().heirs(owner, directory.date()).contains(&caller.identity().org());
    caller.org() == record.owner || directory.slug(record.owner).is_some_and(heir)
}

/// The newest collisions of a record, newest first; none unless the caller is
/// told of them.
pub(super) fn collisions(
    shared: &Shared,
    caller: &Caller,
    record: &ItemHeader,
    moment: &Moment,
) -> Result<Vec<Bytes>, Error> {
    if !hears(shared, caller, record) {
        return Ok(Vec::new());
    }
    let mut directory = shared.directory.load_full();
    let (of, end) = (record.handle.raw(), moment.end);
    let mut back = shared.store.postings_back(Dimension::Collision, of, end).map_err(store_error)?;
    let (mut out, mut read) = (Vec::new(), 0);
    while let Some(block) = back.next_block().map_err(store_error)? {
        for posting in block.into_iter().rev() {
            read += 1;
            if out.len() >= MAX_TOLD || read > MAX_COLLISIONS_READ {
                return Ok(out);
            }
            let at = posting.position;
            let Some((header, body)) = kept(shared, at)? else { continue };
            if directory.visible(viewer(caller), header.class, Purpose::Get) {
                let reclassed = shared.reclassed.read().get(&posting.handle).copied();
                let other = reclassed.unwrap_or(header.previous_class);
                shared.renew(&mut directory);
                let told = if shared.was_dropped(posting.handle)? {
                    // Nobody knows any more how far it may be told of.
                    Other::Hidden
                } else {
                    Source::of_notice(&directory, viewer(caller), &header, other, Purpose::Get)
                };
                out.push(told.show_collision(inner(&body, at)?).ok_or_else(|| damaged(at))?);
            }
        }
    }
    Ok(out)
}
