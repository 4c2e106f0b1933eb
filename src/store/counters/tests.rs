//! What counters promise: they add up, whatever is merged when, and what came
//! to nothing goes.

use proptest::prelude::*;
use rocksdb::IteratorMode;
use rocksdb::perf::{PerfContext, PerfMetric, PerfStatsLevel, set_perf_stats};

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
    assert_eq!(keys(&store), 3 * 4 + 2);
    let family = store.family(Family::Counters).unwrap();
    // What is merged is written once before it is looked at.
    for _ in 0..2 {
        let mut options = rocksdb::CompactOptions::default();
        options.set_bottommost_level_compaction(rocksdb::BottommostLevelCompaction::Force);
        store.db.compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &options);
    }
    assert_eq!(keys(&store), 3 * 3 + 1);
    let mut counts = store.counts(Granularity::All, Dimension::Label, 0..=0, &[]).unwrap();
    let left = Count { bucket: 0, term: 7, class: ClassNo(2), kind: 0, count: 1 };
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
fn a_reader_adds_few_changes_up_though_the_count_before_is_in_no_cache() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for changes in 1..=10 * MAX_CHANGES {
        let mut counts = Counts::default();
        counts.add(&Counted { born: Timestamp::EPOCH, class: ClassNo(1), kind: 1, terms: &[] }, 1);
        add(&store, counts);
        if changes == MAX_CHANGES {
            // What is flushed is not put into the cache.
            store.flush().unwrap();
        }
    }
    set_perf_stats(PerfStatsLevel::EnableCount);
    let mut seen = PerfContext::default();
    seen.reset();
    let mut counts = store.counts(Granularity::All, Dimension::Class, 0..=0, &[0]).unwrap();
    assert_eq!(counts.next_count().unwrap().map(|of| of.count), Some(10 * MAX_CHANGES as u64));
    let added_up = seen.metric(PerfMetric::InternalMergeCount);
    assert!(added_up <= 2 * MAX_CHANGES as u64, "{added_up}");
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
    assert_eq!((days.count(), counts.changes().count()), (6, 6), "of days alone");
}

#[test]
fn what_is_added_up_is_the_same_however_many_classes_there_are() {
    let class = |number: u64, by| (number, by);
    for far in [9, 100_000] {
        let all = vec![class(far, 5), class(1, 2), class(far, -6), class(3, 1), class(1, -2)];
        let sums: Vec<_> = add_up(all).unwrap().into_iter().filter(|(_, sum)| *sum != 0).collect();
        assert_eq!(sums, [class(3, 1), class(far, -1)]);
        assert_eq!(add_up(vec![class(far, i64::MAX), class(far, 1)]), None);
    }
    assert_eq!(add_up(Vec::new()), Some(Vec::new()), "nothing and nothing is nothing");
    assert_eq!(encode(vec![class(3, 1), class(9, -1), class(10, 0)].into_iter()), [3, 2, 6, 1]);
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
                    let counter = Count { bucket, term, class: ClassNo(*class), kind: 0, count: 0 };
                    *naive.entry((granularity as u8, dimension as u8, counter)).or_default() += 1;
                }
                for &term in terms {
                    let bucket = Granularity::Month.bucket(born);
                    let counter = Count { bucket, term, class: ClassNo(*class), kind: *kind, count: 0 };
                    let of = (Granularity::Month as u8, Dimension::LabelKind as u8, counter);
                    *naive.entry(of).or_default() += 1;
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
            for dimension in [Dimension::Class, Dimension::Kind, Dimension::Label, Dimension::LabelKind] {
                for (buckets, terms) in [(from..=to, asked.clone()), (0..=u32::MAX, Vec::new())] {
                    let expected: Vec<_> = naive.iter()
                        .filter(|((g, d, _), _)| (*g, *d) == (granularity as u8, dimension as u8))
                        .filter(|((_, _, of), _)| buckets.contains(&of.bucket))
                        .filter(|((_, _, of), _)| terms.is_empty() || terms.contains(&of.term))
                        .map(|((_, _, of), count)| Count { count: *count, ..*of })
                        .collect();
                    let mut counters = store.counts(granularity, dimension, buckets.clone(), &terms).unwrap();
                    let mut all = Vec::new();
                    while let Some(count) = counters.next_count().unwrap() {
                        all.push(count);
                    }
                    prop_assert_eq!(&all, &expected);
                    for of in expected.iter().filter(|_| dimension != Dimension::LabelKind) {
                        let at = key(granularity, dimension, of.bucket, of.term);
                        let stored = store.still().counter(&at).unwrap();
                        prop_assert_eq!(sum_of(&stored, |class| class == of.class), Some(of.count));
                    }
                }
            }
        }
    }
}
