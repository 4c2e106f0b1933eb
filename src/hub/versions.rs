//! Decides which versions of an indicator a caller is told of: those that the
//! roster let him see while they stood, of an indicator that he may see today.
//! Newest first, each beside the one before that he is told of.

use bytes::Bytes;
use uuid::Uuid;

use crate::base::clock::Timestamp;
use crate::base::digest;
use crate::model::audience::ClassNo;
use crate::model::event::VersionChange;
use crate::model::position::Position;
use crate::policy::visibility::Purpose;
use crate::store::chunk::{ItemHeader, Op};
use crate::wire::token::{Place, Use};

use super::caller::Caller;
use super::engine::Hub;
use super::error::{Error, Reason};
use super::fetch::{self, viewer};
use super::list::MAX_PAGE;
use super::shared::Shared;
use super::store_error;

/// Bytes of a page after which it is closed: what differs from version to
/// version is told beside them, before and after.
const PAGE_BYTES: usize = 1 << 20;
/// Most versions that are read for a page, some of them hidden; one that is cut
/// short by it has a token and goes on where it stopped.
const MAX_READ: usize = 20_000;
const METHOD: &str = "ListIndicatorVersions";

/// A version as the caller is shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionView {
    /// An encoded `luytre.v1.Indicator`.
    pub indicator: Bytes,
    /// What the version did.
    pub change: VersionChange,
    /// When it was added.
    pub time: Timestamp,
    /// The one before that the caller may see, encoded likewise.
    pub before: Option<Bytes>,
}

/// A page of versions.
#[derive(Debug, Clone, Default)]
pub struct VersionPage {
    /// Newest first.
    pub versions: Vec<VersionView>,
    /// For the next page; empty at the end and only there.
    pub next_page_token: String,
    /// At the end: from when on versions that were replaced are kept. It is
    /// that of the hub, and says nothing of this indicator.
    pub truncated_before: Option<Timestamp>,
}

impl Hub {
    /// A page of the versions of an indicator, by its public id.
    ///
    /// # Errors
    /// `NOT_FOUND` where it is missing or hidden; `PAGE_TOKEN_INVALID`.
    pub async fn versions(
        &self,
        caller: &Caller,
        id: Uuid,
        page_size: usize,
        page_token: &str,
    ) -> Result<VersionPage, Error> {
        let arguments = digest::sha256(id.as_bytes());
        let purpose = Use::Page { method: METHOD, arguments: &arguments };
        let to = caller.identity();
        let place = if page_token.is_empty() {
            None
        } else {
            Some(self.shared.tokens.open_text(to, purpose, page_token).map_err(|_| {
                Error::new(
                    Reason::PageTokenInvalid,
                    "the page_token is not from the page before of this same indicator; start again without one",
                )
            })?)
        };
        let handle = self.shared.sealer.handle(id).ok_or_else(Error::absent)?;
        let viewer = caller.clone();
        let size = page_size.clamp(1, MAX_PAGE);
        let (versions, next) = self
            .shared
            .question(caller, move |shared| {
                let (newest, _) = fetch::newest_of_any(shared, handle)?;
                if !shared.directory.load().visible(fetch::viewer(&viewer), newest.class, Purpose::Search) {
                    return Err(Error::absent());
                }
                let begin = match place {
                    Some(place) => Next { at: place.position, until: Some(place.origin) },
                    None => Next { at: newest_at(shared, handle)?, until: None },
                };
                Walk { shared, caller: &viewer, class_now: newest.class, next: Some(begin) }.page(size)
            })
            .await?;
        let next_page_token = match next {
            Some(Next { at, until }) => {
                let place = Place { position: at, origin: until.unwrap_or(at), ..Place::default() };
                self.shared.tokens.seal_text(to, purpose, place).map_err(Error::internal)?
            }
            None => String::new(),
        };
        // Asked after the versions were read: what was missing then is told of.
        let horizon = self.shared.history.base().horizon;
        let truncated_before = (next.is_none() && horizon != Timestamp::EPOCH).then_some(horizon);
        Ok(VersionPage { versions, next_page_token, truncated_before })
    }
}

fn newest_at(shared: &Shared, handle: Position) -> Result<Position, Error> {
    let latest = shared.store.latest(&[handle]).map_err(store_error)?.pop().flatten();
    Ok(latest.map_or(handle, |latest| latest.newest))
}

/// A version that is looked at next, and where the one after it stands.
#[derive(Debug, Clone, Copy)]
struct Next {
    at: Position,
    until: Option<Position>,
}

/// A version that the caller is told of.
struct Told {
    at: Next,
    header: ItemHeader,
    indicator: Bytes,
}

impl Told {
    /// The version beside the one before, if there is one; `cut`: it is not
    /// known whether there is.
    fn beside(self, before: Option<&Self>, cut: bool) -> VersionView {
        VersionView {
            change: change(&self.header, before.is_some() || cut),
            time: Timestamp::from_micros_clamped(self.header.version),
            indicator: self.indicator,
            before: before.map(|before| before.indicator.clone()),
        }
    }
}

/// What a version did, for who knows one before it, or does not.
const fn change(header: &ItemHeader, known: bool) -> VersionChange {
    match header.op {
        Op::Revoke => VersionChange::Revoked,
        Op::Expire => VersionChange::Expired,
        Op::Reinstate => VersionChange::Reinstated,
        _ if known => VersionChange::Updated,
        _ => VersionChange::Created,
    }
}

/// A walk back through the versions of one record.
struct Walk<'a> {
    shared: &'a Shared,
    caller: &'a Caller,
    class_now: ClassNo,
    next: Option<Next>,
}

impl Walk<'_> {
    /// The page, and the version with which the next one begins.
    fn page(mut self, size: usize) -> Result<(Vec<VersionView>, Option<Next>), Error> {
        let (mut page, mut bytes) = (Vec::new(), 0);
        // The one that waits for the one before it.
        let mut waiting: Option<Told> = None;
        for _ in 0..MAX_READ {
            let Some(next) = self.next else {
                page.extend(waiting.map(|told| told.beside(None, false)));
                return Ok((page, None));
            };
            let Some(told) = self.look(next)? else { continue };
            if let Some(waiting) = waiting.take() {
                bytes += waiting.indicator.len();
                page.push(waiting.beside(Some(&told), false));
                if page.len() == size || bytes > PAGE_BYTES {
                    return Ok((page, Some(told.at)));
                }
            }
            waiting = Some(told);
        }
        page.extend(waiting.map(|told| told.beside(None, true)));
        Ok((page, self.next))
    }

    /// Looks at a version; none if the caller is not told of it.
    fn look(&mut self, at: Next) -> Result<Option<Told>, Error> {
        let Next { at: position, until } = at;
        let Some((header, body)) = fetch::kept(self.shared, position)? else {
            // History begins later: what is kept ends here.
            self.next = None;
            return Ok(None);
        };
        let before = Some(header.previous).filter(|before| *before != Position::ZERO);
        self.next = before.map(|before| Next { at: before, until: Some(position) });
        let reclassed = self.shared.reclassed.read();
        // After the classes were read, so that it knows them.
        let today = self.shared.directory.load();
        let viewer = viewer(self.caller);
        if !today.visible(viewer, self.class_now, Purpose::Search) {
            return Ok(None);
        }
        // Who joined while it stood was let see it then.
        let last =
            until.map_or_else(|| self.shared.tail.committed(), |until| Position::from_raw(until.raw() - 1));
        let stood = position..=last.max(position);
        if !self.shared.rosters.saw_while(stood, &today, viewer, header.class, Purpose::Search) {
            return Ok(None);
        }
        let who = (self.caller, Purpose::Search);
        let indicator =
            fetch::told(self.shared, (&today, &reclassed), who, (&header, self.class_now), &body)?;
        // The last one read for a page is told beside the one after it.
        self.caller.trail().told(header.handle, position);
        Ok(Some(Told { at, header, indicator }))
    }
}
