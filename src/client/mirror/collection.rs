//! Decides what stands, delivery by delivery: a set in use, and a fresh one
//! beside it while the hub tells its current state.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;

use crate::client::delivery::Delivery;
use crate::client::error::Error;
use crate::wire::proto::v1;

use super::entry::{Change, Entry, Step};

/// Indicators by name, as they stand for this subscriber.
///
/// Feed it every delivery of a [`Subscription`](crate::client::Subscription)
/// that started with [`Start::CurrentState`](crate::client::Start). While the
/// hub tells its current state, what was in use before stays in use, and is
/// replaced as a whole at the end. Memory is that of the indicators as they
/// travel, twice while a state is being told.
///
/// A [`Mirror`](super::Mirror) is a collection that also survives its process.
#[derive(Debug, Default)]
pub struct Collection {
    in_use: Set,
    /// Collected between the beginning and the end of a state.
    fresh: Option<Set>,
    /// Whether what is in use was ever all of a state.
    complete: bool,
}

/// Indicators by name. The bytes are those of the names and indicators.
#[derive(Debug, Default)]
struct Set {
    by_name: BTreeMap<Box<str>, Kept>,
    bytes: u64,
}

struct Kept {
    version: u64,
    indicator: Bytes,
}

impl std::fmt::Debug for Kept {
    /// The version only: values do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kept({})", self.version)
    }
}

impl Set {
    /// Applies a change unless something newer is held: after a scan the log
    /// tells older things again. Returns whether it made a difference.
    fn change(&mut self, change: &Change) -> bool {
        let Change { name, version, indicator } = change;
        if let Some(held) = self.by_name.get(name.as_str()) {
            let older = *version > 0 && *version < held.version;
            if older || held.indicator == *indicator {
                return false;
            }
        } else if indicator.is_empty() {
            return false;
        }
        let size = |indicator: &Bytes| (name.len() + indicator.len()) as u64;
        let before = if indicator.is_empty() {
            self.by_name.remove(name.as_str())
        } else {
            self.bytes += size(indicator);
            // A copy of its own: a slice would keep the whole message alive.
            let indicator = Bytes::copy_from_slice(indicator);
            self.by_name.insert(name.as_str().into(), Kept { version: *version, indicator })
        };
        if let Some(before) = before {
            self.bytes = self.bytes.saturating_sub(size(&before.indicator));
        }
        true
    }

    fn changes(&self) -> impl Iterator<Item = Change> {
        self.by_name.iter().map(|(name, kept)| Change {
            name: name.to_string(),
            version: kept.version,
            indicator: kept.indicator.clone(),
        })
    }
}

impl Collection {
    /// Applies a delivery. Returns whether what is in use changed.
    ///
    /// # Errors
    /// The hub ended a state that it did not begin.
    pub fn take(&mut self, delivery: &Delivery) -> Result<bool, Error> {
        self.apply(&Entry::of(delivery))
    }

    /// Whether what is in use is, or was, all of what the subscriber may see:
    /// before that it is not known what stands.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Number of indicators in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.in_use.by_name.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_use.by_name.is_empty()
    }

    /// The indicator of this resource name, if it is in use.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<v1::Indicator> {
        self.in_use.by_name.get(name).and_then(decode)
    }

    /// The indicators in use, by name.
    pub fn iter(&self) -> impl Iterator<Item = v1::Indicator> {
        self.in_use.by_name.values().filter_map(decode)
    }

    /// Applies an entry. Returns whether what is in use changed.
    pub(super) fn apply(&mut self, entry: &Entry) -> Result<bool, Error> {
        match entry.step() {
            Step::Changes => {
                let set = self.fresh.as_mut().unwrap_or(&mut self.in_use);
                let changed = apply(set, &entry.changes);
                Ok(changed && self.fresh.is_none())
            }
            Step::Recalls => {
                if let Some(fresh) = &mut self.fresh {
                    apply(fresh, &entry.changes);
                }
                Ok(apply(&mut self.in_use, &entry.changes))
            }
            Step::Begin => {
                self.fresh = Some(Set::default());
                Ok(false)
            }
            Step::End => {
                let fresh = self
                    .fresh
                    .take()
                    .ok_or_else(|| Error::Protocol("a current state ended that had not begun".to_owned()))?;
                self.in_use = fresh;
                self.complete = true;
                Ok(true)
            }
            Step::Snapshot => {
                *self = Self::default();
                Ok(true)
            }
            Step::InUse => Ok(apply(&mut self.in_use, &entry.changes)),
            Step::Fresh => {
                apply(self.fresh.get_or_insert_default(), &entry.changes);
                Ok(false)
            }
            Step::Whole => {
                self.complete = entry.complete;
                self.fresh =
                    if entry.collecting { Some(self.fresh.take().unwrap_or_default()) } else { None };
                Ok(true)
            }
        }
    }

    /// Whether a state is being told.
    pub(super) const fn is_collecting(&self) -> bool {
        self.fresh.is_some()
    }

    /// Bytes of all that is held, about.
    pub(super) fn bytes(&self) -> u64 {
        self.in_use.bytes + self.fresh.as_ref().map_or(0, |fresh| fresh.bytes)
    }

    /// The set in use, as changes to an empty one.
    pub(super) fn in_use(&self) -> impl Iterator<Item = Change> {
        self.in_use.changes()
    }

    /// The set that is being collected, likewise.
    pub(super) fn fresh(&self) -> impl Iterator<Item = Change> {
        self.fresh.iter().flat_map(Set::changes)
    }
}

fn apply(set: &mut Set, changes: &[Change]) -> bool {
    let mut changed = false;
    for change in changes {
        changed |= set.change(change);
    }
    changed
}

fn decode(kept: &Kept) -> Option<v1::Indicator> {
    // Encoded by us, and under a checksum on disk: it always decodes.
    v1::Indicator::decode(kept.indicator.as_ref()).ok()
}
