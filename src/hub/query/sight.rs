//! Decides what of history a caller may see: what he may see today, and of a
//! past moment only what he might see then as well.

use std::sync::Arc;

use crate::model::audience::ClassNo;
use crate::model::position::Position;
use crate::policy::visibility::{Purpose, Viewer};

use super::super::caller::Caller;
use super::super::directory::Directory;
use super::super::rosters;
use super::super::seen::Classes;
use super::super::shared::Shared;
use super::super::source::Source;

/// What one caller may see for one purpose.
#[derive(Debug, Clone)]
pub(super) struct Sight<'a> {
    pub(super) viewer: Viewer<'a>,
    pub(super) purpose: Purpose,
    /// The roster of today.
    pub(super) now: Arc<Directory>,
    /// That of the moment asked about, and where that is.
    then: Option<(Position, Arc<Directory>)>,
    /// Nobody asked about a moment: what was begun goes on as it began.
    goes_on: bool,
    /// The classes whose records are seen today.
    seen: Arc<Classes>,
}

impl<'a> Sight<'a> {
    pub(super) fn new(
        shared: &Shared,
        caller: &'a Caller,
        purpose: Purpose,
        as_of: Option<Position>,
    ) -> Self {
        let now = shared.directory.load_full();
        let then = as_of.map(|at| (at, shared.rosters.at(at, &now)));
        let viewer = Viewer { org: caller.org(), principal: caller.identity() };
        let seen = now.seen(viewer, purpose);
        Self { viewer, purpose, now, then, goes_on: false, seen }
    }

    /// The same, for a walk that began at a position and goes on.
    pub(super) fn going_on(shared: &Shared, caller: &'a Caller, purpose: Purpose, begun: Position) -> Self {
        Self { goes_on: true, ..Self::new(shared, caller, purpose, Some(begun)) }
    }

    /// Goes over to the directory of today. To be done after a class was read.
    pub(super) fn renew(&mut self, shared: &Shared) {
        let renewed = shared.renew(&mut self.now);
        if renewed {
            self.seen = self.now.seen(self.viewer, self.purpose);
        }
        if renewed && let Some((at, then)) = &mut self.then {
            *then = shared.rosters.at(*at, &self.now);
        }
    }

    /// Whether what is seen is what may be seen today, of no moment that has
    /// passed, and every class that was read by now is known.
    pub(super) fn is_of_today(&self, shared: &Shared) -> bool {
        self.then.is_none() && Arc::ptr_eq(&self.now, &shared.directory.load())
    }

    /// The roster under which a question's organisations are meant.
    pub(super) fn directory(&self) -> &Directory {
        self.then.as_ref().map_or(&self.now, |(_, then)| then)
    }

    /// Whether a record that is of `class` today is seen.
    pub(super) fn sees_now(&self, class: ClassNo) -> bool {
        self.seen.holds(class)
    }

    /// Whether a version of `class` is seen: of a past moment by who might see
    /// it then. The record is to be seen as it is today besides.
    pub(super) fn sees(&self, class: ClassNo) -> bool {
        match &self.then {
            None => self.sees_now(class),
            // Who takes part from today on does so before the log turns the day.
            Some((_, then)) if self.goes_on && Arc::ptr_eq(then, &self.now) => self.sees_now(class),
            Some((_, then)) => rosters::saw_then(then, self.viewer, class, self.purpose),
        }
    }

    /// Whether the caller is told whose a version of `class` is, of a record
    /// that is of `class_now` today: whoever is not shown that, is not told it
    /// by an answer either.
    pub(super) fn told(&self, class: ClassNo, class_now: ClassNo) -> bool {
        let is_masked = self.now.class(class).is_none_or(|class| class.definition.marking.is_masked());
        let told_then = |directory: &Directory| directory.discloses(self.viewer, class, self.purpose);
        match Source::of(&self.now, self.viewer, class, class_now, self.purpose) {
            Source::Hidden => false,
            Source::AsStored => !is_masked,
            Source::Told(_) => self.then.as_ref().is_none_or(|(_, then)| told_then(then)),
        }
    }

    /// Whether he is told whose a record is that is of `class` today.
    pub(super) fn told_now(&self, class: ClassNo) -> bool {
        self.now.discloses(self.viewer, class, self.purpose)
    }
}
