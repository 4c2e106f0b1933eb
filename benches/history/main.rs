//! Measures how the hub answers of a long history: `make bench-history`.
//!
//! The optimised `luytred` runs in a process of its own with a store of
//! millions of indicators, made through its own calls, and is asked over
//! mutual TLS on loopback. Speed never fails the build.

#![allow(
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_lossless,
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "a panic is the report of a measurement, and the bans guard the hub"
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

mod aggregates;
mod answers;
mod ask;
mod build;
#[path = "../common/mod.rs"]
mod common;
mod compare;
mod corpus;
mod disk;
mod engine;
mod filters;
mod growth;
#[path = "../../tests/it/harness/mod.rs"]
mod harness;
mod hidden;
mod hubs;
mod place;
mod report;
mod roster;
mod sqlite;
mod values;
mod words;

use common::{load, process, seeded, table, wire};

use self::answers::Heat;
use self::corpus::Corpus;
use self::filters::Source;
use self::place::{Made, Place, Recipe};

const ROWS: [&str; 12] =
    ["P11", "P12", "P13", "P14", "P15", "P16", "P17", "P18", "P20", "EXPORT", "HIDDEN", "SQLITE"];

/// That of the hub, for its engine where it is asked in this process, and for
/// what it is compared with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HELP: &str = "make bench-history BENCH=\"[ROW ...] [--only P13,P14] [--rows N] [--events N] [--data DIR] [--runs N]
    [--questions N] [--cold N] [--compare N] [--asking TEXT] [--no-limits] [--seed N]\"
Rows: P11 P12 P13 P14 P15 P16 P17 P18 P20 EXPORT HIDDEN SQLITE; all of them without a name.
  --rows N       indicators, 10000000 unless said    --events N  of all kinds, five for an indicator unless said
  --data DIR     keep the stores there, or use those that lie there
  --questions N  of each kind, warm: 300             --cold N    of each kind, cold: 60; 0: none
  --compare N    indicators beside SQLite: 1000000   --no-limits without SQLite
  --asking TEXT  of P13, P14 and SQLITE those kinds of questions alone whose names hold the text";

/// What is measured, and how much of it.
#[derive(Debug)]
pub struct Options {
    named: Vec<String>,
    runs: usize,
    seed: u64,
    rows: u64,
    events: u64,
    compare: u64,
    data: Option<PathBuf>,
    questions: usize,
    cold: usize,
    lookups: usize,
    depth: usize,
    limits: bool,
    asking: String,
}

fn options(words: &[String]) -> Result<Options, String> {
    let mut options = Options {
        named: Vec::new(),
        runs: 3,
        seed: 1,
        rows: 10_000_000,
        events: 0,
        compare: 1_000_000,
        data: None,
        questions: 300,
        cold: 60,
        lookups: 1_000_000,
        depth: 1_000_000,
        limits: true,
        asking: String::new(),
    };
    let mut words = words.iter();
    let number = |word: Option<&String>| {
        let digits = word.map(|word| word.replace(['_', ','], ""));
        digits.and_then(|word| word.parse::<u64>().ok()).ok_or("a number is missing; see --help")
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            // Cargo's own.
            "--bench" => {}
            "--no-limits" => options.limits = false,
            "--runs" => options.runs = number(words.next())?.max(1) as usize,
            "--seed" => options.seed = number(words.next())?,
            "--rows" => options.rows = number(words.next())?.max(10_000),
            "--events" => options.events = number(words.next())?,
            "--compare" => options.compare = number(words.next())?.max(10_000),
            "--questions" => options.questions = number(words.next())?.max(8) as usize,
            "--cold" => options.cold = number(words.next())? as usize,
            "--data" => options.data = Some(words.next().ok_or("--data names a directory")?.into()),
            "--asking" => words.next().ok_or("--asking names questions")?.clone_into(&mut options.asking),
            "--only" => {
                let named = words.next().ok_or("--only names rows, such as P13,P14")?;
                options.named.extend(named.split(',').map(str::to_owned));
            }
            "--help" => return Err(HELP.to_owned()),
            row if !row.starts_with('-') => options.named.push(row.to_owned()),
            other => return Err(format!("{other} is unknown\n{HELP}")),
        }
    }
    options.named.iter_mut().for_each(|row| row.make_ascii_uppercase());
    if let Some(row) = options.named.iter().find(|row| !ROWS.contains(&row.as_str())) {
        return Err(format!("{row} is no row of this benchmark\n{HELP}"));
    }
    if options.events == 0 {
        options.events = 5 * options.rows;
    }
    options.events = options.events.max(options.rows);
    options.lookups = options.lookups.min(options.rows as usize).max(10_000);
    options.depth = options.depth.min(options.rows as usize / 3);
    options.compare = options.compare.min(options.rows);
    Ok(options)
}

impl Options {
    fn wants(&self, rows: &[&str]) -> bool {
        self.named.is_empty() || self.named.iter().any(|row| rows.contains(&row.as_str()))
    }

    /// The kinds of questions that are asked.
    fn lines(&self) -> impl Iterator<Item = &'static filters::Row> + '_ {
        filters::ROWS.iter().filter(|line| line.what.contains(&self.asking))
    }

    /// As much of everything for so many indicators.
    fn recipe(&self, rows: u64) -> Recipe {
        let events = (u128::from(self.events) * u128::from(rows) / u128::from(self.rows)) as u64;
        Recipe { seed: self.seed, rows, events }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = options(&words).and_then(|options| {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
        runtime.block_on(measure(&options))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(64)
        }
    }
}

/// A store and what it was made of.
struct Store {
    place: Place,
    made: Made,
    corpus: Arc<Corpus>,
}

impl Store {
    async fn of(directory: &std::path::Path, recipe: Recipe, name: &str) -> Result<Self, String> {
        let place = Place::at(&directory.join(name));
        let (made, corpus) = build::store(&place, recipe, name).await?;
        println!(
            "{name}: {} indicators, {} versions and sightings, {} refused; made in {} s, {:.1} MiB on the disk",
            made.created,
            made.items,
            made.refused,
            made.ended - made.began,
            place.bytes() as f64 / 1024.0 / 1024.0
        );
        Ok(Self { place, made, corpus })
    }

    fn source(&self) -> Source<'_> {
        Source { corpus: &self.corpus, made: self.made }
    }
}

async fn measure(options: &Options) -> Result<(), String> {
    let temporary = tempfile::Builder::new().prefix("luytre-history-").tempdir().expect("a directory");
    let directory = options.data.clone().unwrap_or_else(|| temporary.path().to_owned());
    println!(
        "The history of {} indicators and {} events: {} runs, seed {}",
        options.rows, options.events, options.runs, options.seed
    );
    println!(
        "All was published now: the hub's clock is the machine's. What is told of being seen lies in two years."
    );
    let store = Store::of(&directory, options.recipe(options.rows), "history").await?;
    let small = match options.wants(&["P20"]) {
        true => Some(Store::of(&directory, options.recipe((options.rows / 10).min(100_000)), "small").await?),
        false => None,
    };
    let compared = match options.wants(&["SQLITE"]) && options.limits && options.compare < options.rows {
        true => Some(Store::of(&directory, options.recipe(options.compare), "compared").await?),
        false => None,
    };
    let mut runs = Vec::new();
    for run in 1..=options.runs {
        println!("run {run} of {}", options.runs);
        let mut out = report::Run::default();
        asked(&store, options, &mut out).await;
        if let Some(small) = &small {
            let of = |store: &Store| (store.place.clone(), Arc::clone(&store.corpus), store.made);
            let (small, large) = (of(small), of(&store));
            growth::growth((&small.0, &small.1, small.2), (&large.0, &large.1, large.2), options, &mut out)
                .await;
        }
        if options.wants(&["SQLITE"]) && options.limits {
            let store = compared.as_ref().unwrap_or(&store);
            compare::compare(&store.place, &store.source(), options, &mut out).await;
        }
        runs.push(out);
    }
    let cold = format!(
        "the hub restarted with a block cache of {}, and before each question the system told to forget all of the \
         store's files (posix_fadvise); {} questions of a kind",
        hubs::SMALL_CACHE,
        options.cold
    );
    report::print(&runs, &cold);
    Ok(())
}

/// What one hub on the large store is asked.
async fn asked(store: &Store, options: &Options, out: &mut report::Run) {
    let source = store.source();
    if options.wants(&["P16"]) {
        disk::weigh(&store.place, &store.made, out);
    }
    if options.wants(&["P17", "P18"]) {
        disk::start(&store.place, &store.corpus, out).await;
    }
    let mut hub = hubs::start(&store.place).await;
    let asker = hubs::analyst(&hub).await;
    if options.wants(&["P11"]) {
        answers::bulk(&asker, hub.pid(), &source, options, out).await;
    }
    questions(&asker, hub.pid(), &source, Heat::Warm, options, out).await;
    if options.wants(&["P20"]) {
        growth::depth(&asker, &source, options, out).await;
    }
    if options.wants(&["P17"]) {
        disk::resident(&hub, out);
    }
    if options.cold > 0 && options.wants(&["P12", "P13", "P14", "P15"]) {
        hubs::restart(&mut hub, hubs::SMALL_CACHE).await;
        store.place.sync();
        let asker = hubs::analyst(&hub).await;
        questions(&asker, hub.pid(), &source, Heat::Cold(&store.place), options, out).await;
        hubs::restart(&mut hub, hubs::CACHE).await;
    }
    if options.wants(&["EXPORT"]) {
        growth::export(&mut hub, out).await;
    }
    if options.wants(&["HIDDEN"]) {
        let asker = hubs::analyst(&hub).await;
        // Copying needs a store that nobody writes.
        let values = hidden::latency(&asker, &store.corpus, options, out).await;
        hubs::end(hub).await;
        hidden::reads(&store.place, &values, out).await;
    } else {
        hubs::end(hub).await;
    }
}

async fn questions(
    asker: &ask::Asker,
    pid: u32,
    source: &Source<'_>,
    heat: Heat<'_>,
    options: &Options,
    out: &mut report::Run,
) {
    println!("{}", if matches!(heat, Heat::Warm) { "  warm" } else { "  cold" });
    if options.wants(&["P12"]) {
        answers::single(asker, source, heat, options, out).await;
    }
    for row in ["P13", "P14"] {
        if options.wants(&[row]) {
            answers::pages(asker, pid, source, row, heat, options, out).await;
        }
    }
    if options.wants(&["P13"]) {
        answers::orders(asker, source, heat, options, out).await;
    }
    if options.wants(&["P15"]) {
        answers::histograms(asker, source, heat, options, out).await;
    }
}
