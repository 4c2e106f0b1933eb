//! Decides which indicators an export goes over: every one that stood at its
//! position and that was asked for, once, as it stood then, in the order in
//! which those versions were recorded. That order depends on no index and on
//! nothing that came later, so that whatever finds the versions, the same ones
//! come in the same places.
//!
//! A version counts if its reader might see it under the roster of the position,
//! and may see the record under the roster of now.

use std::time::Duration;

use crate::hub::audit::Trail;
use crate::hub::caller::Caller;
use crate::hub::error::Error;
use crate::hub::fetch::damaged;
use crate::hub::list;
use crate::hub::query::{self, Past, Place, Row};
use crate::hub::shared::Shared;
use crate::hub::store_error;
use crate::model::indicator::{Shown, State};
use crate::model::marking::Tlp;
use crate::model::position::Position;
use crate::model::query::{IndicatorFilter, Order, Question};
use crate::policy::visibility::Purpose;
use crate::wire::convert::shown;
use crate::wire::event;

/// Most indicators in one stride: then another may have the thread.
const STRIDE: u64 = 16_384;
/// Longest time of one that finds nothing.
const STRIDE_TIME: Duration = Duration::from_millis(200);

/// A walk over what one reader asked for, as of one position.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    caller: Caller,
    question: Question,
    /// Versions that stood here.
    origin: Position,
    /// How far it has got; `None`: it begins.
    past: Option<Past>,
}

/// A version on the way.
pub(super) struct Found<'a, 'w> {
    shared: &'a Shared,
    caller: &'a Caller,
    walk: &'a mut query::Walk<'w>,
    row: Row,
}

impl Walk {
    /// What `filter` asks for, as it stood at `origin`.
    pub(super) fn new(caller: &Caller, filter: &IndicatorFilter, origin: Position) -> Self {
        let question = Question { order: Order::ModifiedOldest, ..Question::new(filter.clone()) };
        Self { caller: caller.clone(), question, origin, past: None }
    }

    /// What is noted of the reader's call.
    pub(super) const fn trail(&self) -> &Trail {
        self.caller.trail()
    }

    /// Whether the index is asked.
    pub(super) fn asks_index(&self) -> bool {
        query::asks_index(&self.question)
    }

    /// The same from the beginning.
    pub(super) fn again(&self) -> Self {
        Self { past: None, ..self.clone() }
    }

    /// Goes on for a while, or as long as `take` says; whether it is over.
    pub(super) fn stride(
        &mut self,
        shared: &Shared,
        take: &mut dyn FnMut(&mut Found<'_, '_>) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        let Self { caller, question, origin, past } = self;
        let place = Place { origin: *origin, past: *past };
        let time = Some(STRIDE_TIME);
        let mut walk = query::Walk::as_stood(shared, caller, question, Purpose::Export, place, time)?;
        for _ in 0..STRIDE {
            let Some(row) = walk.next_row()? else {
                *past = walk.cut();
                // What was cut out meanwhile was missing.
                shared.history.covers(*origin)?;
                return Ok(past.is_none());
            };
            *past = Some(walk.behind(&row));
            if !take(&mut Found { shared, caller, walk: &mut walk, row })? {
                break;
            }
        }
        shared.history.covers(*origin)?;
        Ok(false)
    }
}

/// Another indicator of the same value, as it stood.
pub(super) struct Other {
    /// What it says.
    pub(super) shown: Shown,
    /// Where that was recorded.
    pub(super) position: Position,
    /// Whether the export asked for it, and it may be in a file.
    pub(super) asked: bool,
}

impl Found<'_, '_> {
    /// Where it was recorded.
    pub(super) const fn position(&self) -> Position {
        self.row.position
    }

    /// Its record.
    pub(super) const fn handle(&self) -> Position {
        self.row.header.handle
    }

    /// Its label.
    pub(super) const fn tlp(&self) -> Tlp {
        Tlp::from_number_or_red(self.row.header.tlp)
    }

    /// The indicator as its reader is shown it.
    pub(super) fn shown(&self) -> Result<Shown, Error> {
        let told = list::show(self.shared, self.caller, &self.row, Purpose::Export)?;
        shown::decode(&told).ok_or_else(|| damaged(self.row.position))
    }

    /// The other indicators of the same value that stood and were active, of
    /// those that the reader may see, whatever he asked for. Nothing is read
    /// of the hidden ones.
    pub(super) fn others(&mut self, key: &[u8], mut see: impl FnMut(Other)) -> Result<(), Error> {
        let Self { shared, walk, row, .. } = self;
        let store = &shared.store;
        let assertions = store.assertions(&[key]).map_err(store_error)?.pop().unwrap_or_default();
        // Their classes may be newer than what the walk knows.
        walk.renew();
        for assertion in assertions {
            let handle = assertion.handle;
            let known = handle != row.header.handle && handle <= walk.origin();
            if !known || !walk.sees_now(assertion.class) {
                continue;
            }
            let position = walk.standing(handle, assertion.newest)?;
            let Some(chunk) = store.chunk_at(position).map_err(store_error)? else {
                store.gone(position).map_err(store_error)?;
                continue;
            };
            let view = chunk.view().ok_or_else(|| damaged(position))?;
            let item = view.item(position);
            let Some(item) = item else {
                store.gone(position).map_err(store_error)?;
                continue;
            };
            if item.header.state != State::Active || !walk.sees(item.header.class) {
                continue;
            }
            let asked = Tlp::from_number_or_red(item.header.tlp) != Tlp::Red
                && walk.answers(&item, assertion.class)?;
            let shown = event::subject(item.body).and_then(shown::decode).ok_or_else(|| damaged(position))?;
            see(Other { shown, position, asked });
        }
        Ok(())
    }
}
