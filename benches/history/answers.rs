//! Decides how answers are measured: one row for each kind of question, warm
//! and cold (P12 to P15), and look-ups in bulk (P11).

use std::time::Duration;

use luytre::wire::proto::v1;
use prost::Message as _;

use super::ask::{Asker, DOSSIER, GET, LOOKUP, Question, Times, VERSIONS};
use super::corpus::Corpus;
use super::filters::{ROWS, Source};
use super::load::{Encoded, Plan, publish, spread};
use super::place::Place;
use super::report::{Run, Timing};
use super::seeded::Dice;
use super::table::Target;
use super::wire::{open, unary};
use super::{Options, aggregates, process};

/// Values of a request that looks up in bulk.
const BULK: usize = 1_000;
/// Requests under way on each stream, and streams.
const WINDOW: usize = 8;
const STREAMS: usize = 2;

/// Whether a kind of question is asked warm or cold.
#[derive(Debug, Clone, Copy)]
pub enum Heat<'a> {
    Warm,
    Cold(&'a Place),
}

impl<'a> Heat<'a> {
    const fn place(self) -> Option<&'a Place> {
        match self {
            Self::Warm => None,
            Self::Cold(place) => Some(place),
        }
    }

    const fn count(self, options: &Options) -> usize {
        match self {
            Self::Warm => options.questions,
            Self::Cold(_) => options.cold,
        }
    }
}

/// P11: values of a bulk stream, all of them absent, and all of them there.
pub async fn bulk(asker: &Asker, pid: u32, source: &Source<'_>, options: &Options, out: &mut Run) {
    let count = options.lookups / BULK;
    let corpus = source.corpus;
    let absent = Corpus::new(corpus.seed ^ 0xabcd, corpus.rows, corpus.until);
    let misses: Vec<_> = (0..count as u64)
        .map(|n| request((0..BULK as u64).map(|i| absent.value(absent.rows + n * 1_000 + i).1)))
        .collect();
    let hits: Vec<_> = (0..count as u64)
        .map(|number| {
            let mut dice = corpus.dice(0x41, number);
            request((0..BULK).map(|_| corpus.value(source.number(&mut dice)).1))
        })
        .collect();
    for (what, requests, target) in
        [("looked up in bulk, absent", misses, 1_000_000.0), ("looked up in bulk, found", hits, 150_000.0)]
    {
        let plan = Plan { path: LOOKUP, metadata: &[], window: WINDOW, pid, count: None };
        let done = publish(plan, spread(&asker.target, STREAMS, STREAMS, requests).await).await;
        assert_eq!(done.lost, 0, "every request is answered");
        out.figure("P11", format!("{what}: values"), "/s", Target::AtLeast(target), done.rate());
        out.figure(
            "P11",
            format!("{what}: CPU seconds of the hub per million"),
            "s",
            Target::None,
            done.cpu_per_million(),
        );
        out.figure("P11", format!("{what}: answer to {BULK}, p50"), "ms", Target::None, done.wait(0.5));
        out.figure("P11", format!("{what}: answer to {BULK}, p99"), "ms", Target::None, done.wait(0.99));
    }
}

fn request(values: impl Iterator<Item = v1::observable::Value>) -> Encoded {
    let observables: Vec<_> = values.map(|value| v1::Observable { value: Some(value) }).collect();
    let items = observables.len();
    let request = v1::LookupObservablesRequest { observables, ..Default::default() };
    Encoded { bytes: request.encode_to_vec().into(), items }
}

/// What one value's look-up finds, and how long that takes.
pub async fn look_up(asker: &Asker, value: v1::observable::Value) -> (Duration, v1::LookupResult) {
    let request = request(std::iter::once(value)).bytes;
    let started = std::time::Instant::now();
    let requests = tokio_stream::once(request);
    let mut answers = open(asker.channel.clone(), LOOKUP, &[], requests).await.expect("the call is taken");
    let answer = answers.message().await.expect("an answer").expect("an answer");
    let span = started.elapsed();
    let answer = v1::LookupObservablesResponse::decode(answer).expect("an answer");
    (span, answer.results.into_iter().next().unwrap_or_default())
}

/// Names of so many indicators that the analyst sees, and their values.
async fn known(
    asker: &Asker,
    source: &Source<'_>,
    salt: u64,
    count: usize,
) -> Vec<(String, v1::observable::Value)> {
    let mut out = Vec::with_capacity(count);
    let mut dice: Dice = source.corpus.dice(0x1d, salt);
    while out.len() < count {
        let values: Vec<_> =
            (0..BULK.min(count)).map(|_| source.corpus.value(source.number(&mut dice)).1).collect();
        let asked = request(values.iter().cloned()).bytes;
        let mut answers = open(asker.channel.clone(), LOOKUP, &[], tokio_stream::once(asked))
            .await
            .expect("the call is taken");
        let answer = answers.message().await.expect("an answer").expect("an answer");
        let answer = v1::LookupObservablesResponse::decode(answer).expect("an answer");
        let found = values.into_iter().zip(answer.results);
        out.extend(
            found.filter_map(|(value, result)| Some((result.matches.into_iter().next()?.name, value))),
        );
    }
    out.truncate(count);
    out
}

/// P12: one indicator, by its name and by its value.
pub async fn single(asker: &Asker, source: &Source<'_>, heat: Heat<'_>, options: &Options, out: &mut Run) {
    let count = heat.count(options);
    let warming = matches!(heat, Heat::Warm);
    for pass in 0..=u64::from(warming) {
        let known = known(asker, source, pass, count).await;
        let get = known.iter().map(|(name, _)| {
            Question::new(GET, &v1::GetIndicatorRequest { name: name.clone(), ..Default::default() })
        });
        let get: Vec<_> = get.collect();
        let by_value =
            |(_, value): &(String, v1::observable::Value)| super::filters::Ask::Exact(value.clone()).list();
        let lists: Vec<_> = known.iter().map(by_value).collect();
        let dossiers: Vec<_> = known
            .iter()
            .map(|(_, value)| {
                let observable = Some(v1::Observable { value: Some(value.clone()) });
                Question::new(DOSSIER, &v1::GetObservableRequest { observable })
            })
            .collect();
        let versions: Vec<_> = known
            .iter()
            .map(|(name, _)| {
                Question::new(
                    VERSIONS,
                    &v1::ListIndicatorVersionsRequest { name: name.clone(), ..Default::default() },
                )
            })
            .collect();
        let times = [
            ("get by name", 1.0, asker.times(&get, heat.place()).await),
            ("list by exact value", 1.0, asker.pages(&lists, heat.place()).await.times),
            ("dossier of a value", 0.0, asker.times(&dossiers, heat.place()).await),
            ("versions of an indicator", 0.0, asker.times(&versions, heat.place()).await),
        ];
        // The first pass of two only warms.
        if pass == u64::from(warming) {
            times.into_iter().for_each(|(what, target, times)| put(out, "P12", what, target, &times, heat));
        }
    }
}

/// P13 and P14: the first page of each filter.
pub async fn pages(
    asker: &Asker,
    pid: u32,
    source: &Source<'_>,
    row: &str,
    heat: Heat<'_>,
    options: &Options,
    out: &mut Run,
) {
    for line in options.lines().filter(|line| line.row == row) {
        let lists = |salt: u64, count: usize| -> Vec<_> {
            line.asks(source, salt, count).iter().map(super::filters::Ask::list).collect()
        };
        let count = heat.count(options);
        if matches!(heat, Heat::Warm) {
            asker.pages(&lists(1, count / 4), None).await;
        }
        let before = process::read_kib(pid);
        let asked = lists(2, count);
        let pages = asker.pages(&asked, heat.place()).await;
        let read = (process::read_kib(pid) - before) as f64 / count as f64;
        let failure = pages.times.first_failure.clone().unwrap_or_default();
        println!(
            "  {row} {}: {:.1} rows on average, {read:.0} KiB read from the disk for one, p99 {:.3} ms, {:.3} of them at work, worst {:.3} ms{} {failure}",
            line.what,
            pages.mean_rows(),
            pages.times.p99(),
            pages.times.busy(),
            pages.times.max(),
            if pages.cut > 0 { format!(", {} answers short of a page", pages.cut) } else { String::new() },
        );
        if matches!(heat, Heat::Warm) && pages.times.p99() > line.target {
            println!("    the slowest: {}", pages.explained(asker, &asked).await);
        }
        put(out, line.row, line.what, line.target, &pages.times, heat);
    }
}

/// The other orders, without a filter: seen only.
pub async fn orders(asker: &Asker, source: &Source<'_>, heat: Heat<'_>, options: &Options, out: &mut Run) {
    use v1::IndicatorOrder as Order;
    for (what, order) in [
        ("label, by modification, oldest first", Order::ModifiedOldest),
        ("label, by publication, newest first", Order::PublishedNewest),
        ("label, by first seen, latest first", Order::FirstSeenNewest),
        ("label, by last seen, latest first", Order::LastSeenNewest),
        ("label, by confidence, highest first", Order::ConfidenceHighest),
    ] {
        let label = ROWS.iter().find(|line| line.what == "label").expect("there is such a row");
        let lists = label.asks(source, 3, heat.count(options) / 2 + 1);
        let lists: Vec<_> =
            lists.iter().map(|ask| v1::ListIndicatorsRequest { order: order.into(), ..ask.list() }).collect();
        let pages = asker.pages(&lists, heat.place()).await;
        put(out, "", what, 0.0, &pages.times, heat);
    }
}

/// P15: histograms by month.
pub async fn histograms(
    asker: &Asker,
    source: &Source<'_>,
    heat: Heat<'_>,
    options: &Options,
    out: &mut Run,
) {
    for line in aggregates::ROWS {
        let count = heat.count(options);
        let questions: Vec<_> = (0..count as u64).map(|number| (line.make)(source, number)).collect();
        if matches!(heat, Heat::Warm) {
            asker.times(&questions[..count / 4], None).await;
        }
        let times = asker.times(&questions, heat.place()).await;
        if times.unknown {
            println!("  P15 {}: this hub has no such method", line.what);
            continue;
        }
        if let Some(failure) = &times.first_failure {
            println!("  P15 {}: {} of {count} failed: {failure}", line.what, times.failed);
        }
        put(out, "P15", line.what, line.target, &times, heat);
    }
}

fn put(out: &mut Run, row: &'static str, what: &'static str, target: f64, times: &Times, heat: Heat<'_>) {
    let known = out.timings.iter().position(|timing| timing.row == row && timing.what == what);
    let place = known.unwrap_or_else(|| {
        out.timings.push(Timing { row, what, target, cells: [f64::NAN; 5], failed: 0 });
        out.timings.len() - 1
    });
    let timing = &mut out.timings[place];
    let from = if matches!(heat, Heat::Warm) { 0 } else { 2 };
    timing.cells[from] = times.p50();
    timing.cells[from + 1] = times.p99();
    if from == 0 {
        timing.cells[4] = times.busy();
    }
    timing.failed += times.failed;
}

/// The median of a call that asks nothing.
pub async fn empty(asker: &Asker) -> f64 {
    let request = v1::WhoAmIRequest::default();
    let question = Question::new(super::ask::WHO_AM_I, &request);
    for _ in 0..200 {
        let _ = unary(&asker.channel, question.path, question.request.clone()).await;
    }
    asker.times(&vec![question; 1_000], None).await.p50()
}
