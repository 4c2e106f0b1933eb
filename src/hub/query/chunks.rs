//! Decides how the chunks of the log are come by that candidates lie in: the
//! newest are in memory, and of all others those are read together that are
//! asked for together.

use crate::model::position::Position;
use crate::store::chunk::Chunk;
use crate::store::log::Finder;

use super::super::error::Error;
use super::super::shared::Shared;
use super::super::store_error;

/// Most chunks that are read together: each has some kilobytes.
const MOST: usize = 32;

/// Chunks of the log, for one walk.
pub(super) struct Chunks<'a> {
    shared: &'a Shared,
    finder: Finder<'a>,
    /// The one that was asked for last.
    last: Option<Chunk>,
    /// Those that were read together, in order.
    ahead: Vec<Chunk>,
}

impl<'a> Chunks<'a> {
    pub(super) const fn of(shared: &'a Shared) -> Self {
        Self { shared, finder: shared.store.finder(), last: None, ahead: Vec::new() }
    }

    /// The chunk that holds the version at a position; `None`: that was cut out.
    /// Where it is read, those are that hold some of the positions asked for
    /// next.
    pub(super) fn at(
        &mut self,
        at: Position,
        next: impl Iterator<Item = Position>,
    ) -> Result<Option<Chunk>, Error> {
        if let Some(last) = self.last.as_ref().filter(|last| last.holds(at)) {
            return Ok(Some(last.clone()));
        }
        let mut found = self.newest(at).or_else(|| self.ahead_at(at));
        if found.is_none() && self.read(at, next)? {
            found = self.ahead_at(at);
        }
        if found.is_none() {
            found = self.finder.find(at).map_err(store_error)?;
        }
        match &found {
            Some(_) => self.last.clone_from(&found),
            None => self.shared.store.gone(at).map_err(store_error)?,
        }
        Ok(found)
    }

    /// Reads those together that hold a position and some of the next, if there
    /// are several.
    fn read(&mut self, at: Position, next: impl Iterator<Item = Position>) -> Result<bool, Error> {
        let mut wanted = vec![at];
        wanted.extend(next.filter(|next| self.newest(*next).is_none()).take(MOST - 1));
        let several = wanted.len() > 1;
        if several {
            wanted.sort_unstable();
            self.ahead = self.shared.store.likely_chunks(&wanted).map_err(store_error)?;
        }
        Ok(several)
    }

    /// The newest of the log is in memory, and is whole past its base.
    fn newest(&self, at: Position) -> Option<Chunk> {
        (at > self.shared.history.base().position).then(|| self.shared.tail.chunk_at(at)).flatten()
    }

    fn ahead_at(&self, at: Position) -> Option<Chunk> {
        let place = self.ahead.partition_point(|chunk| chunk.first <= at);
        self.ahead.get(place.checked_sub(1)?).filter(|chunk| chunk.holds(at)).cloned()
    }
}
