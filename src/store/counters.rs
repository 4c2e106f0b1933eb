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
const PREFIX_BYTES: usize = 3;
const DAY: u64 = 86_400;
/// Seconds by which days begin before those of UTC: they are those of Viet Nam,
/// where there is no summer time.
pub const OFFSET: u64 = 7 * 3_600;
/// After so many changes in memory a counter is one number again: a reader adds
/// up no more.
const MAX_CHANGES: usize = 32;

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
    fn of_day(self, day: u32) -> u32 {
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
    }

    /// At most how many keys' counters change.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len() * Granularity::ALL.len()
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The keys whose counters change, in order, and what is to be merged with
    /// their values.
    pub fn changes(&self) -> impl Iterator<Item = ([u8; KEY_BYTES], Vec<u8>)> {
        let mut all: BTreeMap<_, Sums> = BTreeMap::new();
        for (&(day, dimension, term, class), &by) in self.changes.iter().filter(|(_, by)| **by != 0) {
            for granularity in Granularity::ALL {
                let key = key(granularity, dimension, granularity.of_day(day), term);
                *all.entry(key).or_default().entry(class).or_default() += by;
            }
        }
        all.into_iter().map(|(key, sums)| (key, encode(&sums))).filter(|(_, value)| !is_nothing(value))
    }
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
    /// How many.
    pub count: u64,
}

/// How many records hold of each class.
type Sums = BTreeMap<ClassNo, i64>;

fn key(granularity: Granularity, dimension: Dimension, bucket: u32, term: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    let (head, rest) = key.split_at_mut(PREFIX_BYTES);
    head.copy_from_slice(&prefix(granularity, dimension));
    let (to_bucket, rest) = rest.split_at_mut(4);
    to_bucket.copy_from_slice(&bucket.to_be_bytes());
    rest.copy_from_slice(&term.to_be_bytes());
    key
}

const fn prefix(granularity: Granularity, dimension: Dimension) -> [u8; PREFIX_BYTES] {
    [KeyKind::Counter.byte(), granularity as u8, dimension as u8]
}

/// Whether a value counts nothing: it is as good as none.
#[must_use]
pub const fn is_nothing(value: &[u8]) -> bool {
    value.is_empty()
}

/// Shows each class and its count; `None`: the bytes are damaged.
fn read(mut value: &[u8], mut see: impl FnMut(ClassNo, i64)) -> Option<()> {
    let mut class = 0_u32;
    while !value.is_empty() {
        let step = u32::try_from(decode_varint(&mut value).ok()?).ok()?;
        class = class.checked_add(step)?;
        let zigzag = decode_varint(&mut value).ok()?;
        see(ClassNo(class), (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
    }
    Some(())
}

fn encode(sums: &Sums) -> Vec<u8> {
    let (mut value, mut last) = (Vec::with_capacity(sums.len() * 3), 0);
    for (class, &count) in sums.iter().filter(|(_, count)| **count != 0) {
        encode_varint(u64::from(class.0 - last), &mut value);
        encode_varint((count << 1 ^ count >> (i64::BITS - 1)).cast_unsigned(), &mut value);
        last = class.0;
    }
    value
}

/// Makes a family one of counters: changes are added up, and what came to
/// nothing is dropped as its tables are compacted.
pub(super) fn set_up(options: &mut Options) {
    options.set_merge_operator_associative("luytre.sum", sum);
    options.set_max_successive_merges(MAX_CHANGES);
    options.set_compaction_filter("luytre.nought", |_, _, value| {
        if is_nothing(value) { Decision::Remove } else { Decision::Keep }
    });
}

fn sum(_: &[u8], known: Option<&[u8]>, changes: &MergeOperands) -> Option<Vec<u8>> {
    let mut sums = Sums::new();
    for value in known.into_iter().chain(changes) {
        let mut fits = true;
        read(value, |class, by| {
            let sum = sums.entry(class).or_default();
            let grown = sum.checked_add(by);
            fits &= grown.is_some();
            *sum = grown.unwrap_or(*sum);
        })?;
        if !fits {
            return None;
        }
    }
    Some(encode(&sums))
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
            let (ready, mut whole) = (&mut self.ready, true);
            let told = read(value, |class, count| match u64::try_from(count) {
                Ok(count) => ready.push_back(Count { bucket, term, class, count }),
                Err(_) => whole = false,
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

    /// The sum over `classes` of what is left, per bucket and term.
    ///
    /// # Errors
    /// As [`Self::next_count`].
    pub fn sum(mut self, classes: impl Fn(ClassNo) -> bool) -> Result<BTreeMap<(u32, u64), u64>, Error> {
        let mut sums = BTreeMap::new();
        while let Some(counter) = self.next_count()? {
            if classes(counter.class) {
                *sums.entry((counter.bucket, counter.term)).or_default() += counter.count;
            }
        }
        Ok(sums)
    }
}

/// The bucket and the term in the rest of a key.
fn place(rest: &[u8]) -> Option<(u32, u64)> {
    let (bucket, term) = rest.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*bucket), u64::from_be_bytes(term.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rocksdb::IteratorMode;

    use super::*;
    use crate::store::Tuning;
    use crate::store::index::Index;

    fn open(path: &std::path::Path) -> Store {
        let tuning = Tuning { block_cache_bytes: 1 << 20, ..Tuning::default() };
        Store::open_engine(path, &tuning, true).unwrap()
    }

    fn add(store: &Store, counts: Counts) {
        let index = Index { counts, ..Index::default() };
        store.add_index(&index, store.indexed().unwrap()).unwrap();
    }

    /// Keys that the family holds, be it for nothing.
    fn keys(store: &Store) -> usize {
        let family = store.family(Family::Counters).unwrap();
        store.db.iterator_cf(family, IteratorMode::Start).count()
    }

    #[test]
    fn births_are_counted_by_days_and_months_of_the_calendar() {
        let at = |text: &str| {
            let at = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
            Timestamp::from_offset(at.unwrap()).unwrap()
        };
        let buckets = |text| Granularity::ALL.map(|granularity| granularity.bucket(at(text)));
        assert_eq!(buckets("1970-01-01T00:00:00Z"), [0, 0, 0]);
        assert_eq!(buckets("1970-02-01T00:00:00+07:00"), [0, 1, 31]);
        assert_eq!(buckets("2024-02-29T23:59:59.999999+07:00"), [0, 54 * 12 + 1, 19_782]);
        assert_eq!(buckets("2026-01-01T00:00:00+07:00"), [0, 56 * 12, 20_454]);
        assert_eq!(buckets("9999-12-31T16:59:59Z"), [0, 8_030 * 12 - 1, 2_932_896]);
    }

    #[test]
    fn what_came_to_nothing_takes_no_room_once_it_is_compacted() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let record = |class, terms| Counted { born: Timestamp::EPOCH, class: ClassNo(class), kind: 1, terms };
        for by in [2, -1, -1] {
            let mut counts = Counts::default();
            counts.add(&record(1, &[7, 8]), by);
            counts.add(&record(2, &[7]), if by > 0 { 1 } else { 0 });
            add(&store, counts);
            store.flush().unwrap();
        }
        assert_eq!(keys(&store), 3 * 4);
        let family = store.family(Family::Counters).unwrap();
        // What is merged is written once before it is looked at.
        for _ in 0..2 {
            let mut options = rocksdb::CompactOptions::default();
            options.set_bottommost_level_compaction(rocksdb::BottommostLevelCompaction::Force);
            store.db.compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &options);
        }
        assert_eq!(keys(&store), 3 * 3);
        let mut counts = store.counts(Granularity::All, Dimension::Label, 0..=0, &[]).unwrap();
        let left = Count { bucket: 0, term: 7, class: ClassNo(2), count: 1 };
        assert_eq!((counts.next_count().unwrap(), counts.next_count().unwrap()), (Some(left), None));
    }

    #[test]
    fn many_changes_of_one_counter_add_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path());
        let count = |store: &Store| {
            let mut counts = store.counts(Granularity::All, Dimension::Class, 0..=0, &[0]).unwrap();
            counts.next_count().unwrap().map(|of| of.count)
        };
        for changes in 1..=5 * MAX_CHANGES as u64 {
            let mut counts = Counts::default();
            counts.add(&Counted { born: Timestamp::EPOCH, class: ClassNo(1), kind: 1, terms: &[] }, 1);
            add(&store, counts);
            assert_eq!(count(&store), Some(changes));
            if changes % 70 == 0 {
                drop(store);
                store = open(dir.path());
                assert_eq!(count(&store), Some(changes));
            }
        }
    }

    #[test]
    fn a_group_that_moves_nothing_writes_nothing() {
        let mut counts = Counts::default();
        let record = Counted { born: Timestamp::EPOCH, class: ClassNo(1), kind: 1, terms: &[7] };
        counts.add(&record, 1);
        counts.add(&record, -1);
        assert_eq!(counts.changes().count(), 0);
        // Neighbouring days are of one month.
        counts.add(&Counted { born: Timestamp::from_micros_clamped(DAY * 1_000_000), ..record }, 1);
        counts.add(&record, -1);
        let days = counts.changes().filter(|(key, _)| key[1] == Granularity::Day as u8);
        assert_eq!((days.count(), counts.changes().count()), (6, 6));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn counters_are_what_a_naive_count_gives(
            groups in prop::collection::vec(
                prop::collection::vec((0..80_u64, 1..4_u32, 1..4_u8, prop::sample::subsequence(&[0, 3, 4, u64::MAX], 0..3)), 1..8), 1..8
            ),
            gone in any::<u64>(), flush in 1..4_usize, from in 0..90_u32, to in 0..90_u32,
            asked in prop::sample::subsequence(&[0, 1, 2, 3, 4, u64::MAX], 0..4)
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut store = open(dir.path());
            let mut naive: BTreeMap<(u8, u8, Count), u64> = BTreeMap::new();
            for (place, group) in groups.iter().enumerate() {
                let mut counts = Counts::default();
                for (at, (day, class, kind, terms)) in group.iter().enumerate() {
                    let born = Timestamp::from_micros_clamped(day * DAY * 1_000_000 + 5);
                    let record = Counted { born, class: ClassNo(*class), kind: *kind, terms };
                    counts.add(&record, 1);
                    if gone >> ((place * 8 + at) % 64) & 1 == 1 {
                        counts.add(&record, -1);
                        continue;
                    }
                    let all = [(Dimension::Class, 0), (Dimension::Kind, u64::from(*kind))];
                    let labels = terms.iter().map(|&term| (Dimension::Label, term));
                    for (granularity, (dimension, term)) in Granularity::ALL.into_iter()
                        .flat_map(|of| all.into_iter().chain(labels.clone()).map(move |carried| (of, carried)))
                    {
                        let bucket = granularity.bucket(born);
                        let counter = Count { bucket, term, class: ClassNo(*class), count: 0 };
                        *naive.entry((granularity as u8, dimension as u8, counter)).or_default() += 1;
                    }
                }
                add(&store, counts);
                if place % flush == 0 {
                    store.flush().unwrap();
                    drop(store);
                    store = open(dir.path());
                }
            }
            for granularity in Granularity::ALL {
                for dimension in [Dimension::Class, Dimension::Kind, Dimension::Label] {
                    for (buckets, terms) in [(from..=to, asked.clone()), (0..=u32::MAX, Vec::new())] {
                        let expected: Vec<_> = naive.iter()
                            .filter(|((g, d, _), _)| (*g, *d) == (granularity as u8, dimension as u8))
                            .filter(|((_, _, of), _)| buckets.contains(&of.bucket))
                            .filter(|((_, _, of), _)| terms.is_empty() || terms.contains(&of.term))
                            .map(|((_, _, of), count)| Count { count: *count, ..*of })
                            .collect();
                        let read = || store.counts(granularity, dimension, buckets.clone(), &terms).unwrap();
                        let mut counters = read();
                        let mut all = Vec::new();
                        while let Some(count) = counters.next_count().unwrap() {
                            all.push(count);
                        }
                        prop_assert_eq!(&all, &expected);
                        let sum = read().sum(|class| class == ClassNo(1)).unwrap();
                        prop_assert_eq!(
                            sum.values().sum::<u64>(),
                            expected.iter().filter(|of| of.class == ClassNo(1)).map(|of| of.count).sum::<u64>()
                        );
                    }
                }
            }
        }
    }
}
