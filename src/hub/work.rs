//! Decides from where the writer goes on, and what everyone is told once it no
//! longer writes.

use std::sync::Arc;

use crate::model::position::Seq;

use super::audit::laying::Laying;
use super::error::{Error, Reason};
use super::owed::Owed;
use super::receipts::book::Book;
use super::shared::Shared;

/// Where the writer goes on.
#[derive(Debug)]
pub struct Start {
    /// Number of the next entry.
    pub next: Seq,
    /// Version of the last item.
    pub last_version: u64,
    /// The hour before which everything that had to has expired.
    pub fence: u64,
    /// What owners are to be told.
    pub owed: Owed,
    /// Key of the first value that is not known in memory yet, if any.
    pub unread: Option<Vec<u8>>,
    /// What the audit goes on with.
    pub laying: Laying,
    /// What receipts go on with.
    pub book: Book,
}

/// Latches the store if the writer ends in any way but by being told to: its
/// callers would else be told for ever that the hub is going down.
pub(super) struct DeadMan {
    shared: Arc<Shared>,
    told: bool,
}

impl DeadMan {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared, told: false }
    }

    pub(super) fn stand_down(mut self) {
        self.told = true;
    }
}

impl Drop for DeadMan {
    fn drop(&mut self) {
        if !self.told {
            self.shared.latch.set(&"the writer ended unexpectedly");
            self.shared.shut();
        }
    }
}

/// The answer to whoever would write.
pub(super) fn read_only(reason: &str) -> Error {
    Error::new(
        Reason::StoreReadOnly,
        "the hub has stopped writing after a failure of its store; nothing acknowledged is lost; its operator must act",
    )
    .with_source(reason.to_owned())
}
