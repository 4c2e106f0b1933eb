//! Decides what is an organisation's own at a position of the log, for a stream
//! that asks for nothing else: what it registered by then, and what those had
//! that it followed then. Where that changes, the stream changes over, as where
//! the roster does.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::asset::{self, Asset, Matcher};
use crate::model::org::OrgNo;
use crate::model::position::Position;

use super::asset::inherited;
use super::directory::Directory;
use super::error::{Error, Reason};
use super::select::{Held, Selection};
use super::shared::Shared;

/// What is one organisation's own, along the log.
#[derive(Debug)]
pub(super) struct Own {
    org: OrgNo,
    /// What was asked for last: a stream goes on from where it is.
    last: Mutex<Option<Arc<Span>>>,
}

/// From a position on, until something changes.
#[derive(Debug)]
struct Span {
    from: Position,
    /// Whose assets are in it.
    orgs: Vec<OrgNo>,
    matcher: Arc<Matcher>,
}

impl Span {
    fn of(shared: &Shared, org: OrgNo, from: Position, directory: &Directory) -> Result<Self, Error> {
        let stood = |org| shared.assets.of(org).at(from).ok_or_else(forgotten);
        let own = |org| stood(org).map(|list| asset::own(&list).cloned().collect::<Vec<Asset>>());
        let (list, inherited) = (stood(org)?, inherited(directory, org, own)?);
        let matcher = Arc::new(Matcher::new(asset::watched(&list, &inherited)));
        let orgs = std::iter::once(org).chain(directory.followed_by(org)).collect();
        Ok(Self { from, orgs, matcher })
    }

    /// Where the next change after `position` is, of the roster or of assets.
    fn next(&self, shared: &Shared, position: Position) -> Option<Position> {
        let changed = self.orgs.iter().filter_map(|org| shared.assets.of(*org).next(position));
        changed.chain(shared.rosters.next(position)).min()
    }
}

fn forgotten() -> Error {
    Error::new(
        Reason::ResumeTokenExpired,
        "your organisation's assets have changed too often since; start at CURRENT_STATE, which tells of what stands about those of today",
    )
}

impl Own {
    pub(super) const fn new(org: OrgNo) -> Self {
        Self { org, last: Mutex::new(None) }
    }

    /// The same, to be asked anew.
    pub(super) const fn again(&self) -> Self {
        Self::new(self.org)
    }

    fn span(&self, shared: &Shared, at: Position, now: &Arc<Directory>) -> Result<Arc<Span>, Error> {
        let last = self.last.lock().clone();
        if let Some(span) = last.filter(|span| span.from <= at)
            && span.next(shared, span.from).is_none_or(|next| next > at)
        {
            return Ok(span);
        }
        let span = Arc::new(Span::of(shared, self.org, at, &shared.rosters.at(at, now))?);
        *self.last.lock() = Some(Arc::clone(&span));
        Ok(span)
    }
}

impl Selection {
    /// What is the viewer's own at `at`, if that alone is asked for; `now` is
    /// the directory of today.
    ///
    /// # Errors
    /// `RESUME_TOKEN_EXPIRED` where it is not known any more.
    pub(super) fn own_at(
        &self,
        shared: &Shared,
        at: Position,
        now: &Arc<Directory>,
    ) -> Result<Option<Arc<Matcher>>, Error> {
        let Some(own) = &self.own else { return Ok(None) };
        own.span(shared, at, now).map(|span| Some(Arc::clone(&span.matcher)))
    }

    /// Under what a position is looked at; `now` is the directory of today.
    ///
    /// # Errors
    /// As [`Self::own_at`].
    pub(super) fn held(&self, shared: &Shared, at: Position, now: Arc<Directory>) -> Result<Held, Error> {
        let (then, own) = (shared.rosters.at(at, &now), self.own_at(shared, at, &now)?);
        Ok(Held { then, now, own })
    }

    /// Where the next change after `at` is, of the roster or of what is asked
    /// for.
    ///
    /// # Errors
    /// As [`Self::own_at`].
    pub(super) fn next_change(
        &self,
        shared: &Shared,
        at: Position,
        now: &Arc<Directory>,
    ) -> Result<Option<Position>, Error> {
        match &self.own {
            Some(own) => Ok(own.span(shared, at, now)?.next(shared, at)),
            None => Ok(shared.rosters.next(at)),
        }
    }
}

impl Shared {
    /// From where on it is known what was the organisation's own.
    pub(super) fn own_known_from(&self, org: OrgNo) -> Position {
        let directory = self.directory.load();
        let orgs = std::iter::once(org).chain(directory.followed_by(org));
        orgs.map(|org| self.assets.of(org).known_from).max().unwrap_or_default()
    }
}
