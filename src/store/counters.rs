//! Decides how it is known how many records hold, without looking at any: per
//! dimension, term and audience class, by the day and the month of their birth
//! and in all. Counts are merged by the engine, so nobody reads before he adds.
//!
//! ```text
//! key      kind u8 | granularity u8 | dimension u8 | bucket u32 | term u64
//! value    of each class, the smallest first: how much larger its number is
//!          than that before, and how many records hold: varints (protobuf), the
//!          second one zigzag; those of none are left out
//! ```
//!
//! All classes of a term lie together: whoever counts adds up those that he may
//! see, and reads one value for it, not one for each.
//!
//! Of labels and what is counted like them it is known by months how many
//! records of each kind carry them, too. There the number of a class is that of
//! the class and the kind in one.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

use prost::encoding::{decode_varint, encode_varint};
use rocksdb::compaction_filter::Decision;
use rocksdb::{DBRawIterator, MergeOperands, Options, ReadOptions};
use rustc_hash::FxHashMap;

use crate::base::clock::Timestamp;
use crate::model::audience::ClassNo;

use super::calls::count;
use super::db::{Error, Store};
use super::keys::{Dimension, Family, KeyKind};

/// Bytes of the key of a counter.
pub const KEY_BYTES: usize = 15;
/// The key of a counter.
pub type Key = [u8; KEY_BYTES];
const PREFIX_BYTES: usize = 3;
const DAY: u64 = 86_400;
/// Seconds by which days begin before those of UTC: they are those of Viet Nam,
/// where there is no summer time.
pub const OFFSET: u64 = 7 * 3_600;
/// After so many changes in memory a counter is one number again: a reader adds
/// up no more.
const MAX_CHANGES: usize = 32;
/// Bits of the number of a class that say the kind, where both are one.
const KIND_BITS: u32 = u8::BITS;

/// Over how long births are counted together. Numbers are stored: never reuse
/// one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Granularity {
    /// All of time: the one bucket 0.
    All = 0,
    /// Months since the Unix epoch, in Viet Nam.
    Month = 1,
    /// Days since the Unix epoch, in Viet Nam.
    Day = 2,
}

impl Granularity {
    /// Every granularity.
    pub const ALL: [Self; 3] = [Self::All, Self::Month, Self::Day];

    /// The bucket in which a moment lies.
    #[must_use]
    pub fn bucket(self, at: Timestamp) -> u32 {
        self.of_day(u32::try_from((at.as_seconds() + OFFSET) / DAY).unwrap_or(u32::MAX))
    }

    /// The bucket in which a day lies.
    #[must_use]
    pub fn of_day(self, day: u32) -> u32 {
        match self {
            Self::All => 0,
            Self::Month => {
                let date = Timestamp::from_micros_clamped(u64::from(day) * DAY * 1_000_000).to_offset();
                let years = u32::try_from(date.year()).unwrap_or_default().saturating_sub(1970);
                years.saturating_mul(12).saturating_add(u32::from(u8::from(date.month())).saturating_sub(1))
            }
            Self::Day => day,
        }
    }
}

/// What is counted of a record that holds.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    /// When its first version was published.
    pub born: Timestamp,
    /// Its audience class.
    pub class: ClassNo,
    /// Number of its kind.
    pub kind: u8,
    /// Its label terms, none twice.
    pub terms: &'a [u64],
}

/// What one commit group changes of the counters.
#[derive(Debug, Default)]
pub struct Counts {
    /// By day of birth, dimension, term and class; the rest follows.
    changes: FxHashMap<(u32, Dimension, u64, ClassNo), i64>,
    /// By month of birth, term, and class and kind in one.
    kinds: FxHashMap<(u32, u64, u64), i64>,
}

impl Counts {
    /// Notes that `by` records more of this sort hold.
    pub fn add(&mut self, record: &Counted<'_>, by: i64) {
        let day = Granularity::Day.bucket(record.born);
        let mut add = |dimension, term| {
            *self.changes.entry((day, dimension, term, record.class)).or_default() += by;
        };
        add(Dimension::Class, 0);
        add(Dimension::Kind, u64::from(record.kind));
        record.terms.iter().for_each(|&term| add(Dimension::Label, term));
        self.add_kinds(record, by);
    }

    /// Notes so in what is counted by kinds, and in nothing else.
    pub fn add_kinds(&mut self, record: &Counted<'_>, by: i64) {
        let month = Granularity::Month.bucket(record.born);
        for &term in record.terms {
            *self.kinds.entry((month, term, together(record.class, record.kind))).or_default() += by;
        }
    }

    /// At most how many keys' counters change.
    #[must_use]
    pub fn len(&self) -> usize {
        // Of terms that are counted by kinds there are no more.
        self.changes.len() * (Granularity::ALL.len() + 1)
    }

    /// The changes of what is counted by labels, and like them.
    pub fn of_labels(&self) -> impl Iterator<Item = Change> + '_ {
        let labels = self
            .changes
            .iter()
            .filter(|((_, dimension, ..), by)| *dimension == Dimension::Label && **by != 0);
        labels.map(|(&(day, _, term, class), &by)| Change { day, term, class, by })
    }

    /// How many changes there are of what is counted by kinds.
    #[must_use]
    pub fn kinds(&self) -> usize {
        self.kinds.len()
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.kinds.is_empty()
    }

    /// The keys whose counters change, in order, and what is to be merged with
    /// their values.
    pub fn changes(&self) -> impl Iterator<Item = (Key, Vec<u8>)> {
        let mut all: BTreeMap<_, BTreeMap<u64, i64>> = BTreeMap::new();
        for (&(day, dimension, term, class), &by) in self.changes.iter().filter(|(_, by)| **by != 0) {
            for granularity in Granularity::ALL {
                let key = key(granularity, dimension, granularity.of_day(day), term);
                *all.entry(key).or_default().entry(u64::from(class.0)).or_default() += by;
            }
        }
        for (&(month, term, both), &by) in self.kinds.iter().filter(|(_, by)| **by != 0) {
            let key = key(Granularity::Month, Dimension::LabelKind, month, term);
            *all.entry(key).or_default().entry(both).or_default() += by;
        }
        all.into_iter()
            .map(|(key, sums)| (key, encode(sums.into_iter())))
            .filter(|(_, value)| !is_nothing(value))
    }
}

/// How many more records hold that were born on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Day of their birth.
    pub day: u32,
    /// The term that they carry.
    pub term: u64,
    /// Their audience class.
    pub class: ClassNo,
    /// How many.
    pub by: i64,
}

/// A counter: how many records hold that were born in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count {
    /// Bucket of their birth.
    pub bucket: u32,
    /// The term that they carry; 0 where the dimension is the class itself.
    pub term: u64,
    /// Their audience class.
    pub class: ClassNo,
    /// Number of their kind, where the dimension is one beside kinds; else 0.
    pub kind: u8,
    /// How many.
    pub count: u64,
}

/// The key of the counter of a term in a bucket.
#[must_use]
pub fn key(granularity: Granularity, dimension: Dimension, bucket: u32, term: u64) -> Key {
    let mut key = [0; KEY_BYTES];
    let (head, rest) = key.split_at_mut(PREFIX_BYTES);
    head.copy_from_slice(&prefix(granularity, dimension));
    let (to_bucket, rest) = rest.split_at_mut(4);
    to_bucket.copy_from_slice(&bucket.to_be_bytes());
    rest.copy_from_slice(&term.to_be_bytes());
    key
}

pub(super) const fn prefix(granularity: Granularity, dimension: Dimension) -> [u8; PREFIX_BYTES] {
    [KeyKind::Counter.byte(), granularity as u8, dimension as u8]
}

/// Whether a value counts nothing: it is as good as none.
#[must_use]
pub const fn is_nothing(value: &[u8]) -> bool {
    value.is_empty()
}

/// A class and a kind in one number.
fn together(class: ClassNo, kind: u8) -> u64 {
    u64::from(class.0) << KIND_BITS | u64::from(kind)
}

/// The class of such a number, and the kind.
fn apart(both: u64) -> Option<(ClassNo, u8)> {
    let [.., kind] = both.to_be_bytes();
    Some((ClassNo(u32::try_from(both >> KIND_BITS).ok()?), kind))
}

/// Whether a key is that of a counter by kinds.
#[must_use]
pub fn is_by_kinds(key: &[u8]) -> bool {
    key.starts_with(&prefix(Granularity::Month, Dimension::LabelKind))
}

/// Shows the number of each class and its count; `None`: the bytes are damaged.
pub(super) fn read(mut value: &[u8], mut see: impl FnMut(u64, i64)) -> Option<()> {
    // Nearly all are of one byte, and many are read for one question.
    let next = |value: &mut &[u8]| match value.split_first() {
        Some((&byte, rest)) if byte < 0x80 => {
            *value = rest;
            Some(u64::from(byte))
        }
        _ => decode_varint(value).ok(),
    };
    let mut class = 0_u64;
    while !value.is_empty() {
        class = class.checked_add(next(&mut value)?)?;
        let zigzag = next(&mut value)?;
        see(class, (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
    }
    Some(())
}

/// How many records hold of the classes that are `seen`; `None`: the bytes are
/// damaged.
#[must_use]
pub fn sum_of(value: &[u8], seen: impl Fn(ClassNo) -> bool) -> Option<u64> {
    let (mut sum, mut whole) = (0_u64, true);
    read(value, |class, count| match (u32::try_from(class), u64::try_from(count)) {
        (Ok(class), Ok(count)) => sum += if seen(ClassNo(class)) { count } else { 0 },
        _ => whole = false,
    })?;
    whole.then_some(sum)
}

pub(super) fn encode(sums: impl Iterator<Item = (u64, i64)>) -> Vec<u8> {
    let (mut value, mut last) = (Vec::new(), 0);
    for (class, count) in sums.filter(|(_, count)| *count != 0) {
        encode_varint(class - last, &mut value);
        encode_varint((count << 1 ^ count >> (i64::BITS - 1)).cast_unsigned(), &mut value);
        last = class;
    }
    value
}

/// The engine adds changes up for a counter whose blocks are no longer in its
/// cache, too: else it would look for it at each further change, through all of
/// those before, and leave them as they are.
const ADD_UP_ALWAYS: &str = "strict_max_successive_merges=true";

/// What makes a family one of counters: changes are added up, and what came to
/// nothing is dropped as its tables are compacted.
pub(super) fn options() -> Options {
    // The binding has no call for this one; it is one of those the engine knows.
    let mut options = Options::default().get_options_from_string(ADD_UP_ALWAYS).unwrap_or_default();
    options.set_merge_operator_associative("luytre.sum", sum);
    options.set_max_successive_merges(MAX_CHANGES);
    options.set_compaction_filter("luytre.nought", |_, _, value| {
        if is_nothing(value) { Decision::Remove } else { Decision::Keep }
    });
    options
}

fn sum(_: &[u8], known: Option<&[u8]>, changes: &MergeOperands) -> Option<Vec<u8>> {
    changed(known.into_iter().chain(changes))
}

/// What a counter and its changes come to, as the engine adds them up; `None`:
/// the bytes are damaged.
pub fn changed<'v>(values: impl Iterator<Item = &'v [u8]>) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    for value in values {
        read(value, |class, by| all.push((class, by)))?;
    }
    add_up(all).map(|sums| encode(sums.into_iter()))
}

/// The sum for each class, the smallest class first; `None`: one is too large.
/// What was read since the last compaction is added up for every reader, so it
/// matters how: in a place for each class, where most classes are there.
fn add_up(mut all: Vec<(u64, i64)>) -> Option<Vec<(u64, i64)>> {
    const SPARSE: usize = 16;
    let Some(most) = all.iter().map(|(class, _)| *class).max() else { return Some(Vec::new()) };
    let most = usize::try_from(most).ok()?;
    if most / SPARSE > all.len() {
        // Each value is in order, and runs are what this sort makes use of.
        all.sort_by_key(|(class, _)| *class);
        let mut sums: Vec<(u64, i64)> = Vec::with_capacity(all.len());
        for (class, by) in all {
            match sums.last_mut().filter(|(last, _)| *last == class) {
                Some((_, sum)) => *sum = sum.checked_add(by)?,
                None => sums.push((class, by)),
            }
        }
        return Some(sums);
    }
    let mut sums = vec![0_i64; most + 1];
    for (class, by) in all {
        let sum = usize::try_from(class).ok().and_then(|class| sums.get_mut(class))?;
        *sum = sum.checked_add(by)?;
    }
    Some((0..).zip(sums).collect())
}

impl Store {
    /// The counters of a dimension in these buckets, by bucket, term and class:
    /// those of `terms`, or of every term where that is empty. Of
    /// [`Dimension::Class`] the one term is 0, and it counts all records.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn counts(
        &self,
        granularity: Granularity,
        dimension: Dimension,
        buckets: RangeInclusive<u32>,
        terms: &[u64],
    ) -> Result<Counters<'_>, Error> {
        count(&self.counters.walks, 1);
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(Family::Counters)?, options);
        let mut terms = terms.to_vec();
        terms.sort_unstable();
        terms.dedup();
        let first = terms.first().copied().unwrap_or_default();
        iterator.seek(key(granularity, dimension, *buckets.start(), first));
        let ready = VecDeque::new();
        Ok(Counters { iterator, granularity, dimension, last: *buckets.end(), terms, ready })
    }
}

/// Counters being read.
pub struct Counters<'a> {
    iterator: DBRawIterator<'a>,
    granularity: Granularity,
    dimension: Dimension,
    last: u32,
    /// Sorted; empty: all.
    terms: Vec<u64>,
    /// Those of a term that were read and not told yet.
    ready: VecDeque<Count>,
}

impl std::fmt::Debug for Counters<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counters")
    }
}

impl Counters<'_> {
    /// The next counter that is not zero; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn next_count(&mut self) -> Result<Option<Count>, Error> {
        let prefix = prefix(self.granularity, self.dimension);
        loop {
            if let Some(count) = self.ready.pop_front() {
                return Ok(Some(count));
            }
            let Some((key, value)) = self.iterator.item() else {
                self.iterator.status()?;
                return Ok(None);
            };
            let Some(rest) = key.strip_prefix(&prefix) else { return Ok(None) };
            let (bucket, term) = place(rest).ok_or_else(|| Error::corrupt("counter key", key))?;
            if bucket > self.last {
                return Ok(None);
            }
            if let Some((bucket, term)) = self.elsewhere(bucket, term) {
                self.iterator.seek(self::key(self.granularity, self.dimension, bucket, term));
                continue;
            }
            let (ready, mut whole, kinds) = (&mut self.ready, true, self.dimension == Dimension::LabelKind);
            let told = read(value, |number, count| {
                let of =
                    if kinds { apart(number) } else { u32::try_from(number).ok().map(|no| (ClassNo(no), 0)) };
                match of.zip(u64::try_from(count).ok()) {
                    Some(((class, kind), count)) => {
                        ready.push_back(Count { bucket, term, class, kind, count });
                    }
                    None => whole = false,
                }
            });
            if told.is_none() || !whole {
                ready.clear();
                return Err(Error::corrupt("counter", key));
            }
            self.iterator.next();
        }
    }

    /// Where to go on if nobody asked for the term: to the next of the terms, in
    /// this bucket or the one after.
    fn elsewhere(&self, bucket: u32, term: u64) -> Option<(u32, u64)> {
        let first = *self.terms.first()?;
        let place = self.terms.binary_search(&term).err()?;
        Some(match self.terms.get(place) {
            Some(&next) => (bucket, next),
            None => (bucket.saturating_add(1), first),
        })
    }
}

/// The bucket and the term in the rest of a key.
pub(super) fn place(rest: &[u8]) -> Option<(u32, u64)> {
    let (bucket, term) = rest.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*bucket), u64::from_be_bytes(term.try_into().ok()?)))
}

#[cfg(test)]
mod tests;
