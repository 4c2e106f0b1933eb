//! Decides what is an organisation's own at a position of the log, for a stream
//! that asks for nothing else: what it registered by then, and what those had
//! that it followed then. Where that changes, the stream changes over, as where
//! the roster does.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::asset::{self, Asset, Matcher};
use crate::model::org::OrgNo;
use crate::model::position::Position;
use crate::model::reached::Together;

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

/// From where something changed on, until something does.
#[derive(Debug)]
struct Span {
    /// The same for whoever asks within it.
    from: Position,
    /// Whose assets are in it.
    orgs: Vec<OrgNo>,
    matcher: Arc<Matcher>,
}

impl Span {
    /// The one in which `at` is, under the roster that held there.
    fn of(shared: &Shared, org: OrgNo, at: Position, directory: &Directory) -> Result<Self, Forgotten> {
        let orgs: Vec<_> = std::iter::once(org).chain(directory.followed_by(org)).collect();
        let mut from = directory.generation();
        for org in &orgs {
            let record = shared.assets.of(*org);
            if record.known_from > at {
                return Err(Forgotten);
            }
            from = from.max(record.last(at));
        }
        // There may be nothing before the first roster.
        let from = from.min(at);
        let compile = || {
            let stood = |org| shared.assets.of(org).at(at).ok_or(Forgotten);
            let own = |org| stood(org).map(|list| asset::own(&list).cloned().collect::<Vec<Asset>>());
            let (list, inherited) = (stood(org)?, inherited(directory, org, own)?);
            Ok(Matcher::new(asset::watched(&list, &inherited)))
        };
        let matcher = shared.assets.compiled((org, from), compile)?;
        Ok(Self { from, orgs, matcher })
    }

    /// Where the next change after `position` is, of the roster or of assets.
    /// Of changes before what is known, none can be told from another.
    fn next(&self, shared: &Shared, position: Position) -> Result<Option<Position>, Forgotten> {
        let mut next = shared.rosters.next(position);
        for org in &self.orgs {
            let record = shared.assets.of(*org);
            if record.known_from > position {
                return Err(Forgotten);
            }
            next = record.next(position).into_iter().chain(next).min();
        }
        Ok(next)
    }

    /// Just before so many changes of assets, of which the last is at `at`.
    fn before(&self, shared: &Shared, at: Position, together: Together) -> Result<Position, Forgotten> {
        let records: Vec<_> = self.orgs.iter().map(|org| shared.assets.of(*org)).collect();
        let changes = records.iter().flat_map(|record| record.past.iter().map(|(changed, _)| *changed));
        let mut changes: Vec<_> = changes.filter(|changed| *changed <= at).collect();
        changes.sort_unstable();
        let first = changes.len().checked_sub(usize::from(together.count())).ok_or(Forgotten)?;
        changes.get(first).map(|changed| changed.just_before()).ok_or(Forgotten)
    }
}

/// What was somebody's own somewhere is not known any more.
#[derive(Debug, Clone, Copy)]
struct Forgotten;

impl From<Forgotten> for Error {
    fn from(Forgotten: Forgotten) -> Self {
        forgotten()
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
            // Where changes since it began are forgotten, one may be among them.
            && span.next(shared, span.from).is_ok_and(|next| next.is_none_or(|next| next > at))
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
        Ok(Held { then, now, own, had: None })
    }

    /// Just before a change of the roster, or so many together of what is the
    /// viewer's own, of which the last is at `at`.
    ///
    /// # Errors
    /// As [`Self::own_at`].
    pub(super) fn before_changes(
        &self,
        shared: &Shared,
        at: Position,
        together: Together,
        now: &Arc<Directory>,
    ) -> Result<Position, Error> {
        match &self.own {
            Some(own) if together != Together::ONE => {
                Ok(own.span(shared, at, now)?.before(shared, at, together)?)
            }
            _ => Ok(at.just_before()),
        }
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
            Some(own) => Ok(own.span(shared, at, now)?.next(shared, at)?),
            None => Ok(shared.rosters.next(at)),
        }
    }
}

impl Shared {
    /// What was `org`'s own at `at`, for what is gone through with that.
    ///
    /// # Errors
    /// `PAGE_TOKEN_INVALID` where that is not known any more.
    pub(super) fn own_at(&self, org: OrgNo, at: Position) -> Result<Arc<Matcher>, Error> {
        let directory = self.rosters.at(at, &self.directory.load_full());
        let span = Span::of(self, org, at, &directory).map_err(|Forgotten| {
            Error::new(
                Reason::PageTokenInvalid,
                "your organisation's assets have changed too often since this was begun; start again without a token",
            )
        })?;
        Ok(span.matcher)
    }

    /// From where on it is known what was the organisation's own.
    pub(super) fn own_known_from(&self, org: OrgNo) -> Position {
        let directory = self.directory.load();
        let orgs = std::iter::once(org).chain(directory.followed_by(org));
        orgs.map(|org| self.assets.of(org).known_from).max().unwrap_or_default()
    }
}
