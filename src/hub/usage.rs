//! Decides what is told of how much of the log each organisation takes.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::model::org::OrgSlug;
use crate::model::position::Position;

use super::engine::Hub;
use super::error::Error;
use super::shared::Shared;
use super::store_error;

/// Bytes of the log that are counted in one step, of a store that an earlier
/// release indexed.
const STEP_BYTES: usize = if cfg!(test) { 4 << 10 } else { 1 << 20 };

/// What each organisation takes, as far as it is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Storage {
    /// Bytes of what it published and reported, headers and bodies, as they lie
    /// in the log before the store compresses them.
    pub organisations: BTreeMap<OrgSlug, u64>,
    /// Entries that are still to be counted, at most.
    pub uncounted: u64,
}

impl Hub {
    /// What each organisation takes: one small record, whatever there is.
    ///
    /// # Errors
    /// A failure of the store.
    pub fn storage(&self) -> Result<Storage, Error> {
        let usage = self.shared.store.usage().map_err(store_error)?;
        let directory = self.shared.directory.load();
        let named = |(number, bytes)| Some((directory.slug(number)?.clone(), bytes));
        let (from, upto) = usage.missing();
        let (indexed, committed) = (self.shared.index.upto(), self.shared.tail.committed());
        Ok(Storage {
            uncounted: entries(from, upto) + entries(indexed, committed),
            organisations: usage.bytes.into_iter().filter_map(named).collect(),
        })
    }
}

/// How many entries lie between two positions at most: a restore leaves some
/// numbers out.
pub(super) const fn entries(after: Position, upto: Position) -> u64 {
    upto.seq().counter().saturating_sub(after.seq().counter())
}

/// Makes up for what is not counted yet; whether that took a step.
pub(super) fn count(shared: &Shared) -> Result<ControlFlow<()>, Error> {
    let counted = shared.store.fill_usage(STEP_BYTES).map_err(store_error)?;
    Ok(if counted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
}
