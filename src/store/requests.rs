//! Decides what is remembered of answered requests, so that a retry gets the
//! first answer: a bounded index in memory over packed records on disk.

use std::collections::VecDeque;
use std::time::Duration;

use prost::Message as _;
use rustc_hash::FxHashMap;

use crate::base::clock::Timestamp;
use crate::base::digest;
use crate::model::position::Position;

use super::db::{Error, Store};
use super::keys::{self, Family, KeyKind};
use super::proto;

/// How long an answered request is remembered.
pub const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
/// Most requests remembered; the oldest are forgotten first. Publishing the
/// same again is harmless even then, as it changes nothing; a sighting would be
/// recorded twice.
pub const MAX_REMEMBERED: usize = 1 << 20;

/// What names a request: first 16 bytes of SHA-256 over who asked and the id
/// chosen by him.
pub type RequestKey = [u8; 16];

/// The key of `request_id` of `author`.
#[must_use]
pub fn request_key(author: &str, request_id: &[u8; 16]) -> RequestKey {
    let mut hash = digest::Sha256::default();
    hash.update(request_id);
    hash.update(author.as_bytes());
    first_16(&hash.finish())
}

/// The first 16 bytes of a digest.
#[must_use]
pub fn first_16(digest: &[u8; 32]) -> [u8; 16] {
    digest.first_chunk::<16>().copied().unwrap_or_default()
}

/// What happened to one item of a request. Numbers are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemOutcome {
    /// Written at this position: a new version of some kind.
    Written(Position),
    /// The same content stood at this position already.
    Unchanged(Position),
    /// Refused by what stood in the log: a number from [`REFUSALS_FROM`] on.
    Refused(u32),
}

const WRITTEN: u32 = 1;
const UNCHANGED: u32 = 2;
/// Numbers of refusals begin here; the engine gives them their meaning.
pub const REFUSALS_FROM: u32 = 16;

/// Packs outcomes run by run: consecutive positions cost one number.
#[must_use]
pub fn pack(outcomes: &[ItemOutcome]) -> Vec<proto::OutcomeRun> {
    let mut runs: Vec<proto::OutcomeRun> = Vec::new();
    for outcome in outcomes {
        let effect = match outcome {
            ItemOutcome::Written(_) => WRITTEN,
            ItemOutcome::Unchanged(_) => UNCHANGED,
            ItemOutcome::Refused(number) => *number,
        };
        let run = match runs.last_mut() {
            Some(run) if run.effect == effect => run,
            _ => {
                runs.push(proto::OutcomeRun { effect, ..Default::default() });
                let Some(run) = runs.last_mut() else { continue };
                run
            }
        };
        match outcome {
            ItemOutcome::Written(at) if run.count > 0 => {
                // Written items stand one after the other; only a break in
                // that, which a later layout may bring, lists them all.
                let first = run.positions.first().copied().unwrap_or_default();
                if run.positions.len() > 1 || first + u64::from(run.count) != at.raw() {
                    if run.positions.len() == 1 {
                        run.positions = (0..u64::from(run.count)).map(|n| first + n).collect();
                    }
                    run.positions.push(at.raw());
                }
            }
            ItemOutcome::Written(at) | ItemOutcome::Unchanged(at) => run.positions.push(at.raw()),
            ItemOutcome::Refused(_) => {}
        }
        run.count += 1;
    }
    runs
}

/// Unpacks what [`pack`] packed; `None` if the runs are damaged.
#[must_use]
pub fn unpack(runs: &[proto::OutcomeRun]) -> Option<Vec<ItemOutcome>> {
    let mut out = Vec::new();
    for run in runs {
        let count = usize::try_from(run.count).ok()?;
        for n in 0..count.min(crate::model::position::MAX_ITEMS) {
            out.push(match run.effect {
                WRITTEN if run.positions.len() == 1 => {
                    ItemOutcome::Written(Position::from_raw(run.positions.first()? + n as u64))
                }
                WRITTEN => ItemOutcome::Written(Position::from_raw(*run.positions.get(n)?)),
                UNCHANGED => ItemOutcome::Unchanged(Position::from_raw(*run.positions.get(n)?)),
                number if number >= REFUSALS_FROM => ItemOutcome::Refused(number),
                _ => return None,
            });
        }
    }
    Some(out)
}

/// The index over answered requests: which group answered which request.
#[derive(Debug, Default)]
pub struct Index {
    groups: FxHashMap<RequestKey, u64>,
    order: VecDeque<(Timestamp, u64, Vec<RequestKey>)>,
    last: u64,
}

impl Index {
    /// Rebuilds the index from what is on disk.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn load(store: &Store) -> Result<Self, Error> {
        let mut index = Self::default();
        let mut records = store.records(Family::Meta, &[KeyKind::Request.byte()])?;
        while let Some((key, value)) = records.next_record()? {
            let damaged = || Error::corrupt("requests", &key);
            let group = keys::number_of(&key).ok_or_else(damaged)?;
            let packed = proto::RequestGroup::decode(value.as_slice()).map_err(|_| damaged())?;
            index.add(group, &packed);
        }
        Ok(index)
    }

    /// A number for the next group.
    #[must_use]
    pub const fn next_group(&self) -> u64 {
        self.last.saturating_add(1)
    }

    /// Adds a group's requests.
    pub fn add(&mut self, group: u64, packed: &proto::RequestGroup) {
        self.last = self.last.max(group);
        let keys: Vec<RequestKey> =
            packed.requests.iter().filter_map(|r| r.key.as_ref().try_into().ok()).collect();
        let time = packed.requests.last().map_or(0, |r| r.time);
        for key in &keys {
            self.groups.insert(*key, group);
        }
        self.order.push_back((Timestamp::from_micros_clamped(time), group, keys));
    }

    /// The group that answered a request.
    #[must_use]
    pub fn group(&self, key: &RequestKey) -> Option<u64> {
        self.groups.get(key).copied()
    }

    /// Number of requests remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Takes the oldest group out if it is past its time or one too many.
    pub fn forget_one(&mut self, now: Timestamp) -> Option<u64> {
        let (time, ..) = self.order.front()?;
        if now.since(*time) < RETENTION && self.groups.len() <= MAX_REMEMBERED {
            return None;
        }
        let (_, group, keys) = self.order.pop_front()?;
        for key in keys {
            if self.groups.get(&key) == Some(&group) {
                self.groups.remove(&key);
            }
        }
        Some(group)
    }
}

impl Store {
    /// The answered requests of a group.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn requests(&self, group: u64) -> Result<Option<proto::RequestGroup>, Error> {
        self.small(&keys::request(group))?
            .map(|bytes| {
                proto::RequestGroup::decode(bytes.as_slice()).map_err(|_| Error::corrupt("requests", group))
            })
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcome() -> impl Strategy<Value = ItemOutcome> {
        prop_oneof![
            any::<u32>().prop_map(|n| ItemOutcome::Written(Position::from_raw(n.into()))),
            any::<u32>().prop_map(|n| ItemOutcome::Unchanged(Position::from_raw(n.into()))),
            (REFUSALS_FROM..20).prop_map(ItemOutcome::Refused),
        ]
    }

    proptest! {
        #[test]
        fn packed_outcomes_unpack_to_themselves(all in proptest::collection::vec(outcome(), 0..30)) {
            prop_assert_eq!(unpack(&pack(&all)), Some(all));
        }

        #[test]
        fn consecutive_positions_cost_one_number(first: u32, count in 1_usize..900) {
            let all: Vec<_> = (0..count)
                .map(|n| ItemOutcome::Written(Position::from_raw(u64::from(first) + n as u64)))
                .collect();
            let runs = pack(&all);
            prop_assert_eq!((runs.len(), runs[0].positions.len()), (1, 1));
            prop_assert_eq!(unpack(&runs), Some(all));
        }
    }
}
