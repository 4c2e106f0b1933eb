//! Decides what is remembered of answered requests, so that a retry gets the
//! first answer: a bounded index in memory over packed records on disk.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use rustc_hash::FxHashMap;

use crate::base::clock::Timestamp;
use crate::base::digest;
use crate::model::org::OrgNo;
use crate::model::position::Position;

use super::db::{Error, Store};
use super::keys::{self, Family, KeyKind};
use super::proto;

/// How long an answered request is remembered.
pub const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
/// Most requests remembered; past that the oldest of the organisation with the
/// most are forgotten first. Publishing the same again is harmless even then,
/// as it changes nothing; a sighting would be recorded twice.
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

/// A [`proto::RequestGroup`] without what came of the requests: a start reads
/// a day of them.
#[derive(Clone, PartialEq, prost::Message)]
struct Heads {
    #[prost(message, repeated, tag = "1")]
    requests: Vec<Head>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Head {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(uint64, tag = "3")]
    time: u64,
    #[prost(uint32, tag = "5")]
    organisation: u32,
}

/// The index over answered requests: which group answered which request.
///
/// Past its bound the organisation that has most is forgotten most: whatever
/// the others send, each is remembered for its share at least.
#[derive(Debug)]
pub struct Index {
    groups: FxHashMap<RequestKey, u64>,
    /// Groups of which anything is remembered, oldest first.
    order: BTreeMap<u64, Remembered>,
    shelves: FxHashMap<OrgNo, Shelf>,
    /// Groups of which nothing is remembered any more.
    spent: VecDeque<u64>,
    last: u64,
    most: usize,
}

/// What is remembered of a group.
#[derive(Debug)]
struct Remembered {
    time: Timestamp,
    keys: Vec<(OrgNo, RequestKey)>,
}

/// What is remembered of an organisation.
#[derive(Debug, Default)]
struct Shelf {
    /// The groups with requests of its, oldest first.
    groups: VecDeque<u64>,
    count: usize,
}

impl Index {
    const fn new(most: usize) -> Self {
        Self {
            groups: FxHashMap::with_hasher(rustc_hash::FxBuildHasher),
            order: BTreeMap::new(),
            shelves: FxHashMap::with_hasher(rustc_hash::FxBuildHasher),
            spent: VecDeque::new(),
            last: 0,
            most,
        }
    }

    /// Rebuilds the index from what is on disk.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn load(store: &Store) -> Result<Self, Error> {
        Self::load_at_most(store, MAX_REMEMBERED)
    }

    fn load_at_most(store: &Store, most: usize) -> Result<Self, Error> {
        let mut index = Self::new(most);
        let mut records = store.records(Family::Meta, &[KeyKind::Request.byte()])?;
        while let Some((key, value)) = records.peek()? {
            let damaged = || Error::corrupt("requests", key);
            let group = keys::number_of(key).ok_or_else(damaged)?;
            let packed = Heads::decode(value).map_err(|_| damaged())?;
            index.remember(
                group,
                packed.requests.iter().map(|head| (head.organisation, &head.key, head.time)),
            );
            records.advance();
            // A group stays on disk while any of it is remembered.
            while index.forget_too_many() {}
        }
        Ok(index)
    }

    /// A number for the next group.
    #[must_use]
    pub const fn next_group(&self) -> u64 {
        self.last.saturating_add(1)
    }

    /// Adds a group's requests. Groups come in rising order.
    pub fn add(&mut self, group: u64, packed: &proto::RequestGroup) {
        self.remember(group, packed.requests.iter().map(|of| (of.organisation, &of.key, of.time)));
    }

    /// The same, of each who asked, its key, and when it was answered.
    fn remember<'r>(&mut self, group: u64, requests: impl ExactSizeIterator<Item = (u32, &'r Bytes, u64)>) {
        self.last = self.last.max(group);
        let (mut keys, mut answered) = (Vec::with_capacity(requests.len()), 0);
        for (org, key, time) in requests {
            answered = time;
            let Ok(key) = RequestKey::try_from(key.as_ref()) else { continue };
            let org = OrgNo(org);
            let shelf = self.shelves.entry(org).or_default();
            // Answered anew after it was forgotten, it is there once.
            shelf.count += usize::from(self.groups.insert(key, group).is_none());
            if shelf.groups.back() != Some(&group) {
                shelf.groups.push_back(group);
            }
            keys.push((org, key));
        }
        self.order.insert(group, Remembered { time: Timestamp::from_micros_clamped(answered), keys });
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

    /// Forgets what is past its time or too many, in so many steps at most.
    pub fn forget(&mut self, now: Timestamp, steps: usize) {
        for _ in 0..steps {
            if !self.forget_oldest(now) && !self.forget_too_many() {
                return;
            }
        }
    }

    /// Takes out a group of which nothing is remembered any more.
    pub fn next_spent(&mut self) -> Option<u64> {
        self.spent.pop_front()
    }

    /// Forgets the oldest group if it is past its time.
    fn forget_oldest(&mut self, now: Timestamp) -> bool {
        let Some(oldest) = self.order.first_entry().filter(|g| now.since(g.get().time) >= RETENTION) else {
            return false;
        };
        let (group, Remembered { keys, .. }) = oldest.remove_entry();
        for (org, key) in keys {
            self.remove(group, org, &key);
        }
        self.spent.push_back(group);
        true
    }

    /// Forgets the oldest share of the organisation that has most, if there
    /// are too many.
    fn forget_too_many(&mut self) -> bool {
        if self.groups.len() <= self.most {
            return false;
        }
        let Some(org) =
            self.shelves.iter().max_by_key(|(org, shelf)| (shelf.count, **org)).map(|(org, _)| *org)
        else {
            return false;
        };
        let Some(group) = self.shelves.get(&org).and_then(|shelf| shelf.groups.front().copied()) else {
            return false;
        };
        let Some(remembered) = self.order.get_mut(&group) else { return false };
        let (share, rest): (Vec<_>, Vec<_>) = remembered.keys.iter().copied().partition(|(of, _)| *of == org);
        remembered.keys = rest;
        if remembered.keys.is_empty() {
            self.order.remove(&group);
            self.spent.push_back(group);
        }
        for (_, key) in share {
            self.remove(group, org, &key);
        }
        true
    }

    /// Takes a request of the organisation's oldest group off its shelf.
    fn remove(&mut self, group: u64, org: OrgNo, key: &RequestKey) {
        let Some(shelf) = self.shelves.get_mut(&org) else { return };
        if shelf.groups.front() == Some(&group) {
            shelf.groups.pop_front();
        }
        if self.groups.get(key) == Some(&group) {
            self.groups.remove(key);
            shelf.count = shelf.count.saturating_sub(1);
        }
        if shelf.groups.is_empty() && shelf.count == 0 {
            self.shelves.remove(&org);
        }
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

    fn key(number: u64) -> RequestKey {
        *[number.to_be_bytes(), [7; 8]].concat().first_chunk().unwrap()
    }

    fn request(org: u32, number: u64, time: u64) -> proto::Request {
        proto::Request { key: key(number).to_vec().into(), time, organisation: org, ..Default::default() }
    }

    /// How many requests of which organisation each group holds.
    fn answered() -> impl Strategy<Value = Vec<Vec<(u32, u8)>>> {
        prop::collection::vec(prop::collection::vec((0..4_u32, 1..6_u8), 1..4), 1..60)
    }

    proptest! {
        #[test]
        fn what_is_forgotten_is_the_oldest_of_whoever_has_most(groups in answered(), most in 4..60_usize) {
            let mut index = Index::new(most);
            // Naively: group, organisation and number of each request.
            let mut model: Vec<(u64, u32, u64)> = Vec::new();
            let (mut number, mut spent) = (0, std::collections::BTreeSet::new());
            for (group, counts) in (1..).zip(&groups) {
                let mut packed = proto::RequestGroup::default();
                for &(org, count) in counts {
                    for _ in 0..count {
                        number += 1;
                        packed.requests.push(request(org, number, 1));
                        model.push((group, org, number));
                    }
                }
                prop_assert_eq!(index.next_group(), group);
                index.add(group, &packed);
                index.forget(Timestamp::from_micros_clamped(1), usize::MAX);
                while model.len() > most {
                    let count = |org| model.iter().filter(|(_, of, _)| *of == org).count();
                    let org = (0..4).max_by_key(|&org| (count(org), org)).unwrap();
                    let oldest = model.iter().find(|(_, of, _)| *of == org).unwrap().0;
                    model.retain(|(group, of, _)| (*group, *of) != (oldest, org));
                }
                for n in 1..=number {
                    let kept = model.iter().find(|(_, _, number)| *number == n).map(|(group, ..)| *group);
                    prop_assert_eq!(index.group(&key(n)), kept);
                }
                prop_assert_eq!(index.len(), model.len());
                spent.extend(std::iter::from_fn(|| index.next_spent()));
                let live: std::collections::BTreeSet<u64> = model.iter().map(|(group, ..)| *group).collect();
                prop_assert_eq!(&spent, &(1..=group).filter(|group| !live.contains(group)).collect());
            }
            let late = Timestamp::from_micros_clamped(1 + RETENTION.as_secs() * 1_000_000);
            index.forget(late, usize::MAX);
            prop_assert!(index.is_empty() && index.shelves.is_empty() && index.order.is_empty());
            spent.extend(std::iter::from_fn(|| index.next_spent()));
            prop_assert_eq!(spent.len(), groups.len());
        }

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

    #[test]
    fn an_organisation_that_floods_the_hub_pushes_out_its_own_requests_and_no_others() {
        let mut index = Index::new(100);
        let now = Timestamp::from_micros_clamped(1);
        let quiet = |n: u64| n.is_multiple_of(50);
        for n in 1..=1_000 {
            let mut packed = proto::RequestGroup { requests: vec![request(0, n, 1)] };
            if quiet(n) {
                packed.requests.push(request(1, 10_000 + n, 1));
            }
            index.add(n, &packed);
            index.forget(now, 2);
        }
        assert_eq!(index.len(), 100);
        for n in 1..=1_000 {
            assert_eq!(index.group(&key(10_000 + n)).is_some(), quiet(n), "{n} of the quiet one");
            assert_eq!(index.group(&key(n)).is_some(), n > 920, "{n} of the other");
        }
    }

    #[test]
    fn a_start_remembers_the_same_and_lets_the_rest_go_from_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let tuning = crate::store::Tuning { block_cache_bytes: 1 << 20, ..Default::default() };
        let store = Store::create(&dir.path().join("store"), &tuning).unwrap();
        let mut batch = crate::store::Batch::new(&store);
        for n in 1..=30 {
            let packed = proto::RequestGroup { requests: vec![request(u32::from(n > 5), n, 1)] };
            batch.requests(n, &packed.encode_to_vec()).unwrap();
        }
        store.commit(batch).unwrap();
        let mut index = Index::load_at_most(&store, 10).unwrap();
        let remembered: Vec<u64> = (1..=30).filter(|&n| index.group(&key(n)).is_some()).collect();
        assert_eq!(remembered, [1, 2, 3, 4, 5, 26, 27, 28, 29, 30]);
        let spent: Vec<u64> = std::iter::from_fn(|| index.next_spent()).collect();
        assert_eq!(spent, (6..=25).collect::<Vec<_>>());
        assert_eq!(index.next_group(), 31);
    }
}
