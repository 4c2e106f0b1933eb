//! Decides what can still be asked about the past: the same for everyone,
//! whatever he may see.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::base::clock::Timestamp;
use crate::model::position::Position;
use crate::store::truncate::Base;
use crate::store::{Store, db};

use super::super::error::{Error, Reason};
use super::super::group::Group;
use super::super::shared::Shared;
use super::super::store_error;

/// From where on the log is kept whole, in memory.
#[derive(Debug, Default)]
pub struct History {
    base: RwLock<Base>,
    announced: AtomicU64,
    dropped: AtomicU64,
}

impl History {
    /// As it is stored.
    ///
    /// # Errors
    /// Whatever the store answers.
    pub fn load(store: &Store) -> Result<Self, db::Error> {
        let dropped = store.truncated()?.dropped;
        let counter = || AtomicU64::new(dropped);
        Ok(Self { base: RwLock::new(store.base()?), announced: counter(), dropped: counter() })
    }

    /// From where on the log is kept whole.
    #[must_use]
    pub fn base(&self) -> Base {
        *self.base.read()
    }

    /// Records that were dropped, or are being.
    #[must_use]
    pub fn announced(&self) -> u64 {
        self.announced.load(Ordering::Acquire)
    }

    /// Records that were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Acquire)
    }

    /// Takes in what a durable group says. Nothing is cut out before.
    pub(in super::super) fn show(&self, group: &Group<'_>) {
        if let Some(base) = group.base {
            *self.base.write() = base;
        }
        self.dropped.fetch_add(group.dropped.len() as u64, Ordering::AcqRel);
    }

    /// Counts what a group drops, before it is written: whoever reads what is
    /// left of a record knows by then that it may have been dropped.
    pub(in super::super) fn announce(&self, group: &Group<'_>) {
        self.announced.fetch_add(group.dropped.len() as u64, Ordering::AcqRel);
    }

    /// Whether what stood at `origin` can be told. To be asked once it was
    /// read, too: what is cut out meanwhile was missing then.
    ///
    /// # Errors
    /// `HISTORY_TRUNCATED`.
    pub fn covers(&self, origin: Position) -> Result<(), Error> {
        let base = self.base();
        if origin >= base.position { Ok(()) } else { Err(truncated(base.horizon)) }
    }

    /// Whether how things stood at a moment can be told, and the position by
    /// which that is at least: what stood there last may have been cut out.
    ///
    /// # Errors
    /// `HISTORY_TRUNCATED`.
    pub fn reaches(&self, at: Timestamp) -> Result<Position, Error> {
        let base = self.base();
        if at >= base.horizon { Ok(base.position) } else { Err(truncated(base.horizon)) }
    }

    /// Whether who has reached a position can be told what followed.
    ///
    /// # Errors
    /// `RESUME_TOKEN_EXPIRED`.
    pub fn follows(&self, reached: Position) -> Result<(), Error> {
        if reached >= self.base().position {
            return Ok(());
        }
        Err(Error::new(
            Reason::ResumeTokenExpired,
            "the hub no longer keeps all that followed this token; start at CURRENT_STATE, which replaces what you have",
        ))
    }
}

/// What is asked about is kept no longer.
fn truncated(horizon: Timestamp) -> Error {
    Error::new(
        Reason::HistoryTruncated,
        format!(
            "the hub keeps its history from {horizon} on; ask about that moment or a later one, and begin anew without a token what was begun before"
        ),
    )
}

impl Shared {
    /// Whether a record was dropped; where none ever was, without a read.
    ///
    /// # Errors
    /// A failure of the store.
    pub(in super::super) fn was_dropped(&self, handle: Position) -> Result<bool, Error> {
        if self.history.announced() == 0 || handle > self.history.base().position {
            return Ok(false);
        }
        self.store.is_dropped(handle).map_err(store_error)
    }
}
