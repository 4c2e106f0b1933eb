//! Counts against a naive count: random records, markings, sightings, filters,
//! dimensions and spans; and counters against a scan of the same question.

use std::collections::{BTreeMap, BTreeSet};

use luytre::base::clock::Timestamp;
use luytre::model::aggregate::{Counted, CountedBy, Counting, Dimension, Histogram, Per, Spans};
use luytre::model::indicator::technique;
use luytre::model::query::{IndicatorFilter, Order, Span};
use proptest::prelude::*;
use proptest::sample::select;

use super::draw::{self, Asked, KINDS, SECOND};
use super::naive::{Naive, Question, Version};
use super::{cases, hub};
use crate::engine::support::{Engine, ORGS, START, block_on};

const DAY: u64 = 86_400 * SECOND;

/// What is to be counted.
#[derive(Debug, Clone)]
struct Ask {
    viewer: usize,
    filter: Asked,
    except: Option<Asked>,
    /// Days before the hub began, from when on what is published counts.
    published: Option<u64>,
    by: Option<Dimension>,
    histogram: Option<Histogram>,
    rows: usize,
}

fn histogram() -> impl Strategy<Value = Histogram> {
    let offset = prop_oneof![2 => Just(420), 1 => select(vec![0, -300, 331])];
    let at = |days: i64| {
        Some(Timestamp::from_micros_clamped(START.checked_add_signed(days * DAY as i64).unwrap()))
    };
    (select(Per::ALL), offset, prop::option::of(-3_i64..1), prop::option::of(3_i64..40)).prop_map(
        move |(per, offset, from, to)| Histogram {
            per,
            offset,
            from: from.and_then(at),
            to: to.and_then(at),
        },
    )
}

fn ask() -> impl Strategy<Value = Ask> {
    let filter = prop_oneof![3 => draw::asked(1), 1 => draw::asked(3)];
    let by = prop::option::weighted(0.9, select(Dimension::ALL));
    let published = prop::option::weighted(0.2, 0_u64..3);
    let except = prop::option::weighted(0.1, draw::asked(1));
    let rows = prop_oneof![3 => Just(100_usize), 1 => 1_usize..4];
    (0..ORGS.len(), filter, except, published, by, prop::option::of(histogram()), rows).prop_map(
        |(viewer, filter, except, published, by, histogram, rows)| Ask {
            viewer,
            filter,
            except,
            published,
            by,
            histogram,
            rows,
        },
    )
}

/// How many in all, by spans, and by values and spans.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    total: u64,
    spans: BTreeMap<Timestamp, u64>,
    rows: BTreeMap<Option<String>, (u64, BTreeMap<Timestamp, u64>)>,
}

impl Counts {
    fn add(&mut self, values: BTreeSet<Option<String>>, span: Option<Timestamp>) {
        self.total += 1;
        if let Some(span) = span {
            *self.spans.entry(span).or_default() += 1;
        }
        for value in values {
            let (count, spans) = self.rows.entry(value).or_default();
            *count += 1;
            if let Some(span) = span {
                *spans.entry(span).or_default() += 1;
            }
        }
    }

    /// Those of an answer that left out no row.
    fn of(counted: &Counted) -> Self {
        let spans = |buckets: &[(Timestamp, u64)]| buckets.iter().copied().collect();
        let rows = counted.rows.iter().map(|row| (row.value.clone(), (row.count, spans(&row.buckets))));
        Self { total: counted.total, spans: spans(&counted.buckets), rows: rows.collect() }
    }
}

impl Naive {
    /// In which rows a version is counted.
    fn values(&self, viewer: usize, version: &Version, by: Option<Dimension>) -> BTreeSet<Option<String>> {
        let (draft, owner) = (&version.draft, self.records[version.record].owner);
        let told = self.told(viewer, version);
        let one = |text: &str| BTreeSet::from([Some(text.to_owned())]);
        let some = |text: &str| if text.is_empty() { BTreeSet::new() } else { one(&text.to_lowercase()) };
        match by {
            None | Some(Dimension::Outcome) => BTreeSet::new(),
            Some(Dimension::Kind) => one(draft.observable.kind().as_str()),
            Some(Dimension::Owner) => BTreeSet::from([told.then(|| ORGS[owner].to_owned())]),
            Some(Dimension::OrgKind) => BTreeSet::from([told.then(|| KINDS[owner].to_owned())]),
            Some(Dimension::Tlp) => one(draft.marking.tlp.as_str()),
            Some(Dimension::Label) => draft.labels.iter().cloned().map(Some).collect(),
            Some(Dimension::Family) => some(&draft.family),
            Some(Dimension::Campaign) => some(&draft.campaign),
            Some(Dimension::Technique) => {
                let names = draft.techniques.iter();
                let all = names.flat_map(|name| technique::parent(name).into_iter().chain([name.as_str()]));
                all.map(|name| Some(name.to_owned())).collect()
            }
        }
    }

    fn count(&self, ask: &Ask, filter: &IndicatorFilter, spans: Option<Spans>) -> Counts {
        let until = u64::MAX;
        let question =
            Question { viewer: ask.viewer, filter, order: Order::ModifiedNewest, until, as_of: false };
        let found = self.answer(&question);
        let found: Vec<_> = self.versions.iter().filter(|version| found.contains(&version.version)).collect();
        let at = Timestamp::from_micros_clamped;
        let within =
            |micros: u64| spans.is_none_or(|spans| at(micros) >= spans.start() && at(micros) < spans.end());
        let span =
            |micros: u64| spans.map(|Spans { calendar, .. }| calendar.start(calendar.number(at(micros))));
        let mut counts = Counts::default();
        if ask.by == Some(Dimension::Outcome) {
            let matching: Vec<_> = found.iter().map(|version| version.record).collect();
            for sighting in self.sightings.iter().filter(|s| matching.contains(&s.record) && within(s.time)) {
                if self.shows(ask.viewer, sighting) {
                    let value = Some(sighting.outcome.as_str().to_owned());
                    counts.add(BTreeSet::from([value]), span(sighting.time));
                }
            }
            return counts;
        }
        for version in found {
            let born = self.born(version.record);
            if within(born) {
                counts.add(self.values(ask.viewer, version, ask.by), span(born));
            }
        }
        counts
    }
}

/// What is asked, with its moments.
fn counting(naive: &Naive, ask: &Ask) -> Counting {
    let mut filter = naive.filter(&ask.filter, ask.except.as_ref());
    if let Some(days) = ask.published {
        let from = Some(Timestamp::from_micros_clamped(START - DAY + days * DAY));
        filter.published = Span { from, to: None };
    }
    Counting { filter, by: ask.by, histogram: ask.histogram, rows: ask.rows }
}

async fn check(engine: &Engine, naive: &Naive, ask: &Ask) -> Result<(), TestCaseError> {
    let caller = engine.caller(ask.viewer);
    let counting = counting(naive, ask);
    let counted = engine.hub.aggregate(&caller, counting.clone()).await.unwrap();
    prop_assert!(counted.exact);
    let expected = naive.count(ask, &counting.filter, counted.spans);
    let sorted = counted.rows.windows(2).all(|pair| pair[0].count >= pair[1].count);
    prop_assert!(sorted, "the greatest first: {:?}", counted.rows);
    prop_assert_eq!(counted.more_rows + counted.rows.len() as u64, expected.rows.len() as u64);
    let whole = Counting { rows: 1_000, ..counting };
    let all = engine.hub.aggregate(&caller, whole.clone()).await.unwrap();
    prop_assert_eq!(&all.rows[..counted.rows.len()], &counted.rows[..]);
    prop_assert_eq!(&Counts::of(&all), &expected, "{:?} by {:?}", whole, all.by);
    if all.by == CountedBy::Counters {
        // To leave out nothing is what counters cannot tell.
        let filter = IndicatorFilter { except: Some(Box::default()), ..whole.filter.clone() };
        let scanned = engine.hub.aggregate(&caller, Counting { filter, ..whole }).await.unwrap();
        prop_assert_eq!(scanned, Counted { by: CountedBy::Scan, ..all });
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(16), max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn counters_and_scans_give_what_a_naive_count_gives(
        first in draw::ops(16), then in draw::ops(12), days in 0_u64..3, asks in prop::collection::vec(ask(), 32)
    ) {
        block_on(async {
            let (engine, mut naive) = hub().await;
            for op in &first {
                naive.apply(&engine, op).await;
            }
            // What is remembered of an answer is not to be what it was when
            // the same is asked again.
            for ask in &asks[..asks.len() / 2] {
                check(&engine, &naive, ask).await?;
            }
            engine.clock.advance(days * DAY + 12 * draw::HOUR);
            for op in &then {
                naive.apply(&engine, op).await;
            }
            engine.clock.advance(SECOND);
            for ask in &asks {
                check(&engine, &naive, ask).await?;
            }
            // Whatever was drawn, this is told by counters.
            let by = Some(Dimension::Kind);
            let all = Counting { filter: IndicatorFilter::default(), by, histogram: None, rows: 10 };
            let all = engine.hub.aggregate(&engine.caller(0), all).await.unwrap();
            prop_assert_eq!(all.by, CountedBy::Counters);
            engine.close().await;
            Ok(())
        })?;
    }
}
