//! Decides, without a read, whether a record of a value can be one that a
//! caller sees: in memory, beside a fingerprint of each value, the audience
//! classes of its records. What is hidden from a caller then costs him what is
//! absent costs, and neither costs a read.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashTable;
use parking_lot::RwLock;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::base::tasks;
use crate::model::audience::ClassNo;
use crate::store::keys::{Family, KeyKind};
use crate::store::record::{self, Assertion};
use crate::store::{Store, db};

use super::shared::Shared;

/// Shards, so that growing one moves little and writers keep few readers
/// waiting: a power of two.
const SHARDS: usize = 1 << SHARD_BITS;
const SHARD_BITS: u32 = 10;
/// Bits of an entry that hold the audience class; those above hold the
/// fingerprint.
const CLASS_BITS: u32 = 24;
const CLASS_MASK: u64 = (1 << CLASS_BITS) - 1;
/// Values that are read before a store is open; the rest is read beside it.
const AT_ONCE: usize = 100_000;
/// Values between two looks at whether the hub goes down.
const PER_STEP: usize = 20_000;

/// The audience classes of every value's records, by fingerprint: nine bytes
/// and some room per record. Two values share a fingerprint of 50 bits once in
/// a long while, which costs a read and nothing else. The fingerprints are keyed
/// anew at each start, so that nobody finds such values. Nothing is taken out
/// before the next start, for it might be another value's: who might once see a
/// record costs a read when he looks it up.
pub struct Membership {
    shards: Box<[RwLock<HashTable<u64>>]>,
    keyed: RandomState,
    /// Whether every stored value is in.
    complete: AtomicBool,
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Membership(complete {})", self.is_complete())
    }
}

impl Default for Membership {
    fn default() -> Self {
        Self {
            shards: std::iter::repeat_with(RwLock::default).take(SHARDS).collect(),
            keyed: RandomState::new(),
            complete: AtomicBool::new(false),
        }
    }
}

impl Membership {
    /// Whether every stored value is in; until then all are read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().allocation_size()).sum()
    }

    /// Whether the value under `key` may have a record of a class that is
    /// seen. Never wrongly denied of what was written before.
    pub fn may_see(&self, key: &[u8], mut sees: impl FnMut(ClassNo) -> bool) -> bool {
        if !self.is_complete() {
            return true;
        }
        let Some((shard, print)) = self.place(key) else { return true };
        let shard = shard.read();
        shard.iter_hash(mixed(print)).any(|&entry| same(entry, print) && class(entry).is_none_or(&mut sees))
    }

    /// Adds the classes of what is about to be stored under `key`.
    pub fn add(&self, key: &[u8], assertions: &[Assertion]) {
        let Some((shard, print)) = self.place(key) else { return };
        let mut shard = shard.write();
        for assertion in assertions {
            insert(&mut shard, entry(print, assertion.class));
        }
    }

    /// [`Self::add`] for each of `values`.
    pub fn add_all<'a>(&self, values: impl Iterator<Item = (&'a Vec<u8>, &'a [Assertion])>) {
        values.for_each(|(key, assertions)| self.add(key, assertions));
    }

    fn place(&self, key: &[u8]) -> Option<(&RwLock<HashTable<u64>>, u64)> {
        let hash = self.keyed.hash_one(key);
        let shard = usize::try_from(hash >> (u64::BITS - SHARD_BITS)).ok()?;
        // The bits after those of the shard, at the top of the entry.
        Some((self.shards.get(shard)?, (hash << SHARD_BITS) & !CLASS_MASK))
    }
}

/// Whether two entries are of one fingerprint.
const fn same(entry: u64, print: u64) -> bool {
    entry & !CLASS_MASK == print & !CLASS_MASK
}

/// An entry; a class whose number is too great for it stands for any.
const fn entry(print: u64, class: ClassNo) -> u64 {
    let number = class.0 as u64;
    print | if number < CLASS_MASK { number } else { CLASS_MASK }
}

/// The class of an entry; `None`: any.
fn class(entry: u64) -> Option<ClassNo> {
    let number = entry & CLASS_MASK;
    u32::try_from(number).ok().filter(|_| number < CLASS_MASK).map(ClassNo)
}

/// The table's hash of an entry, by its fingerprint alone. The table looks at
/// the lowest and the highest bits, and the lowest hold the class.
const fn mixed(entry: u64) -> u64 {
    let print = entry & !CLASS_MASK;
    print | print >> CLASS_BITS
}

fn insert(shard: &mut HashTable<u64>, added: u64) {
    // It is there already: the same record again, or another of its class.
    let _ = shard.entry(mixed(added), |&known| known == added, |&known| mixed(known)).or_insert(added);
}

/// Adds what is stored under the keys from `from` on, at most `most` values;
/// where to go on, `None`: all is in.
///
/// # Errors
/// If a record is damaged, or the store fails.
pub fn fill(
    membership: &Membership,
    store: &Store,
    from: &[u8],
    most: usize,
) -> Result<Option<Vec<u8>>, db::Error> {
    let mut records = store.records_from(Family::Values, &[KeyKind::Value.byte()], from)?;
    let mut left = most;
    while let Some((key, value)) = records.next_record()? {
        if left == 0 {
            return Ok(Some(key));
        }
        let assertions =
            record::decode_assertions(&value).ok_or_else(|| db::Error::corrupt("assertions", "values"))?;
        membership.add(&key, &assertions);
        left -= 1;
    }
    membership.complete.store(true, Ordering::Release);
    Ok(None)
}

/// A membership of what is stored; where to go on beside the hub, if that is
/// too much to wait for.
///
/// # Errors
/// As [`fill`].
pub fn begin(store: &Store) -> Result<(Membership, Option<Vec<u8>>), db::Error> {
    let membership = Membership::default();
    let rest = fill(&membership, store, &[KeyKind::Value.byte()], AT_ONCE)?;
    Ok((membership, rest))
}

/// Goes on beside the hub until all is in, or until `stop`.
pub fn go_on(shared: &Arc<Shared>, mut from: Vec<u8>, stop: CancellationToken) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    tasks::spawn_blocking(move || {
        while !stop.is_cancelled() {
            match fill(&shared.membership, &shared.store, &from, PER_STEP) {
                Ok(Some(next)) => from = next,
                Ok(None) => return,
                Err(error) => {
                    // Reading tells of it where it matters; until then every
                    // look-up reads.
                    tracing::error!(%error, "look-ups are slower until the hub is started again");
                    return;
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::indicator::State;
    use crate::model::org::OrgNo;
    use crate::model::position::Position;

    fn assertions(classes: &[u32]) -> Vec<Assertion> {
        let of = |(owner, &class): (usize, &u32)| Assertion {
            owner: OrgNo(u32::try_from(owner).unwrap()),
            handle: Position::ZERO,
            newest: Position::ZERO,
            class: ClassNo(class),
            state: State::Active,
            alias: false,
            digest: 0,
        };
        classes.iter().enumerate().map(of).collect()
    }

    fn complete() -> Membership {
        let membership = Membership::default();
        membership.complete.store(true, Ordering::Release);
        membership
    }

    proptest! {
        #[test]
        fn who_might_see_a_record_of_a_value_may_see_it_and_nobody_else(
            changes in prop::collection::vec((0..20_u8, prop::collection::vec(1..6_u32, 0..4)), 0..200),
            seen in 1..6_u32,
        ) {
            let (membership, mut stored) = (complete(), std::collections::BTreeMap::new());
            for (key, classes) in changes {
                let all = assertions(&classes);
                membership.add(&[key], &all);
                stored.entry(key).or_insert_with(Vec::new).extend(classes);
            }
            for key in 0..21 {
                let there = stored.get(&key).is_some_and(|classes: &Vec<u32>| classes.contains(&seen));
                prop_assert_eq!(membership.may_see(&[key], |class| class == ClassNo(seen)), there);
            }
        }
    }

    #[test]
    fn everything_may_be_seen_until_everything_stored_is_in() {
        let membership = Membership::default();
        assert!(membership.may_see(b"a", |_| false));
    }

    #[test]
    fn a_class_too_great_for_an_entry_may_be_seen_by_anybody() {
        for class in [u32::MAX, 1 << CLASS_BITS, (1 << CLASS_BITS) - 1] {
            let membership = complete();
            membership.add(b"a", &assertions(&[class]));
            assert!(membership.may_see(b"a", |_| false), "{class}");
        }
        let membership = complete();
        membership.add(b"a", &assertions(&[(1 << CLASS_BITS) - 2]));
        assert!(!membership.may_see(b"a", |_| false));
    }

    #[test]
    fn many_values_take_few_bytes_each_and_are_told_apart() {
        let membership = complete();
        const VALUES: u32 = 200_000;
        for n in 0..VALUES {
            membership.add(&n.to_be_bytes(), &assertions(&[7]));
        }
        let told = (VALUES..2 * VALUES).filter(|n| membership.may_see(&n.to_be_bytes(), |_| true)).count();
        assert!((0..VALUES).all(|n| membership.may_see(&n.to_be_bytes(), |class| class == ClassNo(7))));
        assert!(told <= 1, "{told} of {VALUES} that are not there");
        assert!(membership.bytes() < 24 * VALUES as usize, "{}", membership.bytes());
    }
}
