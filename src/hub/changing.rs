//! Decides which changes of what is a viewer's own are told of together: those
//! between which nothing is told to him, so that a list that is changed often
//! costs his stream one walk, not one for each change.
//!
//! Nothing is told between two changes where none of what comes there is about
//! what was his own before the first, which he may have, or about what is his
//! own there: then who goes over all of them at once has what he would have had
//! in the end. What he may not see does not count: it decides neither how many
//! changes that are, nor what is told of them.

use std::sync::Arc;

use crate::model::asset::Matcher;
use crate::model::position::Position;
use crate::model::reached::{Reached, Stage, Step, Together};

use super::error::Error;
use super::look::{self, Whence};
use super::recall::Skip;
use super::select::Selection;
use super::shared::Shared;

/// Changes that a stream has come to, while more may follow.
#[derive(Debug)]
pub(super) struct Changing {
    /// What was the viewer's own before the first.
    had: Option<Arc<Matcher>>,
    /// Where the last one is.
    last: Position,
    together: Together,
    /// How far was looked after it, and how far there was to look at first: who
    /// is about to catch up is not kept waiting by what comes meanwhile, and
    /// nobody can tell by what is told together whether that took long.
    cursor: Position,
    until: Position,
}

impl Changing {
    /// The change at `at`, of the roster or of what is the viewer's own.
    ///
    /// # Errors
    /// `RESUME_TOKEN_EXPIRED` where it is not known any more what was his own.
    pub(super) fn new(shared: &Shared, selection: &Selection, at: Position) -> Result<Self, Error> {
        let had = selection.own_at(shared, at.just_before(), &shared.directory.load_full())?;
        Ok(Self { had, last: at, together: Together::ONE, cursor: at, until: shared.tail.committed() })
    }

    /// Looks on; whether there may be more.
    pub(super) async fn goes_on(
        &mut self,
        shared: &Arc<Shared>,
        selection: &Arc<Selection>,
        skip: &Arc<Skip>,
    ) -> Result<bool, Error> {
        // The roster changes what may be seen: that goes by itself.
        let alone = |at: Position| shared.rosters.next(at.just_before()) == Some(at);
        let is_over = self.had.is_none() || self.cursor >= self.until || alone(self.last);
        let Some(more) = self.together.more().filter(|_| !is_over) else { return Ok(false) };
        let whence = Whence { cursor: self.cursor, credit: 1, had: self.had.clone() };
        let looked = look::at(shared, selection, skip, whence).await?;
        if looked.batch.count() > 0 {
            return Ok(false);
        }
        self.cursor = looked.cursor;
        let Some(next) = looked.generation else { return Ok(!looked.caught_up) };
        if alone(next) || next > self.until {
            return Ok(false);
        }
        (self.last, self.together, self.cursor) = (next, more, next);
        Ok(true)
    }

    /// Where the stream stands that goes over to what holds after them.
    pub(super) fn reached(&self) -> Reached {
        Reached { position: self.last, stage: Stage::Changed(self.together, Step::default()) }
    }
}
