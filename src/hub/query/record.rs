//! Decides what a walk tells of a record that was not met on its way: whether
//! it is one that answers, and whose a version is.

use crate::model::audience::ClassNo;
use crate::model::position::Position;

use super::super::error::Error;
use super::super::fetch::damaged;
use super::super::store_error;
use super::walk::Walk;
use super::ways;

impl Walk<'_> {
    /// Whether what stands of the record that was born at `handle` may be seen
    /// and is asked for.
    ///
    /// # Errors
    /// A failure of the store.
    pub fn takes(&mut self, handle: Position) -> Result<bool, Error> {
        let standing = self.origin.of(self.shared, (&[ways::born_at(handle)], true), None)?.pop();
        let Some((at, class_now)) = standing.and_then(|standing| Some((standing.at?, standing.class_now)))
        else {
            return Ok(false);
        };
        self.renew();
        let Some(chunk) = self.chunk_at(at)? else { return Ok(false) };
        let view = chunk.view().ok_or_else(|| damaged(at))?;
        let Some(item) = view.item(at) else {
            self.shared.store.gone(at).map_err(store_error)?;
            return Ok(false);
        };
        self.answers(&item, class_now.unwrap_or(item.header.class))
    }

    /// The version that stands of a record that was born by the origin and
    /// whose newest version is at `newest`.
    ///
    /// # Errors
    /// A failure of the store.
    pub fn standing(&mut self, handle: Position, newest: Position) -> Result<Position, Error> {
        if newest <= self.origin.at { Ok(newest) } else { self.origin.before(self.shared, handle, newest) }
    }

    /// Whether the caller is told whose a version of `class` is, of a record
    /// that is of `class_now` today.
    #[must_use]
    pub fn tells(&self, class: ClassNo, class_now: ClassNo) -> bool {
        self.sight.told(class, class_now)
    }
}
