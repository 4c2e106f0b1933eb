//! Measures the hub beside the limits of the machine: `make bench`.
//!
//! The optimised `luytred` runs in a process of its own and is spoken to over
//! mutual TLS on loopback. Each limit is measured in the same run, with the
//! same bytes. Speed never fails the build; a lost item does.

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

use std::path::Path;
use std::process::ExitCode;

mod audited;
#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod flood;
mod guards;
mod handshakes;
#[path = "../../tests/it/harness/mod.rs"]
mod harness;
mod intake;
mod items;
mod raw;
mod report;
mod rows;
mod severing;
mod sharing;
mod state;
mod values;

use common::{load, process, seeded, table, wire};

/// How much of everything.
#[derive(Debug, Clone)]
pub struct Sizes {
    batched: usize,
    single: usize,
    alone: usize,
    live: usize,
    idle: usize,
    crash: usize,
    state: usize,
    crowd: usize,
    handshakes: usize,
    revocations: usize,
    half_open: usize,
    records: usize,
    limits: bool,
}

const FULL: Sizes = Sizes {
    batched: 1_000_000,
    single: 300_000,
    alone: 5_000,
    live: 10_000,
    idle: 400,
    crash: 400_000,
    state: 10_000_000,
    crowd: 64_000,
    handshakes: 8_000,
    revocations: 6,
    half_open: 10_000,
    records: 1_000_000,
    limits: true,
};

const QUICK: Sizes = Sizes {
    batched: 200_000,
    single: 50_000,
    alone: 1_000,
    live: 2_000,
    idle: 400,
    crash: 200_000,
    state: 1_000_000,
    crowd: 16_000,
    handshakes: 2_000,
    revocations: 2,
    half_open: 2_000,
    records: 100_000,
    limits: true,
};

const ROWS: [&str; 18] = [
    "P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10", "P19", "P21", "P22", "P23", "P24", "P25",
    "P26", "P27",
];

const HELP: &str =
    "make bench BENCH=\"[ROW ...] [--only P1,P4] [--runs N] [--quick] [--no-limits] [--seed N]\"
Rows: P1 P2 P3 P4 P5 P6 P7 P8 P9 P10 P19 P21 P22 P23 P24 P25 P26 P27; all of them without a name. DATA=DIR: lists that shape the hosts.";

#[derive(Debug)]
struct Options {
    rows: Vec<String>,
    runs: usize,
    seed: u64,
    sizes: Sizes,
}

fn options(words: &[String]) -> Result<Options, String> {
    let mut options = Options { rows: Vec::new(), runs: 3, seed: 1, sizes: FULL };
    let mut limits = true;
    let mut words = words.iter();
    let number = |word: Option<&String>| {
        word.and_then(|word| word.parse::<u64>().ok()).ok_or("a number is missing; see --help")
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            // Cargo's own.
            "--bench" => {}
            "--quick" => options.sizes = QUICK,
            "--no-limits" => limits = false,
            "--runs" => options.runs = number(words.next())?.max(1) as usize,
            "--seed" => options.seed = number(words.next())?,
            "--only" => {
                let named = words.next().ok_or("--only names rows, such as P1,P4")?;
                options.rows.extend(named.split(',').map(str::to_owned));
            }
            row if row.starts_with(['P', 'p']) => options.rows.push(row.to_owned()),
            "--help" => return Err(HELP.to_owned()),
            other => return Err(format!("{other} is unknown\n{HELP}")),
        }
    }
    options.rows.iter_mut().for_each(|row| row.make_ascii_uppercase());
    if let Some(row) = options.rows.iter().find(|row| !ROWS.contains(&row.as_str())) {
        return Err(format!("{row} is no row of this benchmark\n{HELP}"));
    }
    options.sizes.limits = limits;
    Ok(options)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    match words.first().map(String::as_str) {
        Some("--be-server") => {
            runtime.block_on(raw::serve(Path::new(&words[1]), Path::new(&words[2])));
            return ExitCode::SUCCESS;
        }
        Some("--be-rocksdb") => {
            let numbers = [2, 3, 4, 5].map(|place| words[place].parse().expect("a number"));
            raw::write_rocksdb(Path::new(&words[1]), numbers);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    match options(&words) {
        Ok(options) => runtime.block_on(measure(&options)),
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(64)
        }
    }
}

async fn measure(options: &Options) -> ExitCode {
    let wanted = |rows: &[&str]| {
        options.rows.is_empty() || options.rows.iter().any(|row| rows.contains(&row.as_str()))
    };
    let mut items = items::Items::new(options.seed);
    println!(
        "The hub beside the limits of this machine: {} runs, seed {}; {}",
        options.runs, options.seed, items.origin
    );
    let mut runs = Vec::new();
    for run in 1..=options.runs {
        println!("run {run} of {}", options.runs);
        let mut out = rows::Readings::new();
        if wanted(&["P1", "P4"]) {
            rows::batches(&mut items, &options.sizes, &mut out).await;
        }
        if wanted(&["P2", "P4"]) {
            rows::singles(&mut items, &options.sizes, &mut out).await;
        }
        if wanted(&["P3"]) {
            rows::alone(&mut items, &options.sizes, &mut out).await;
        }
        if wanted(&["P5"]) {
            sharing::skips(&mut items, &options.sizes, &mut out).await;
            sharing::replay_cost(&mut items, &options.sizes, &mut out).await;
        }
        if wanted(&["P6"]) {
            sharing::fan_out(&mut items, &options.sizes, &mut out).await;
            sharing::fan_out_cost(&mut items, &options.sizes, &mut out).await;
            crowd::crowd(&mut items, &options.sizes, &mut out).await;
        }
        if wanted(&["P7"]) {
            rows::live(&mut items, &options.sizes, &mut out).await;
        }
        // Ten million are published once; what is asked of them is asked thrice.
        if wanted(&["P8"]) && run == 1 {
            state::current(&mut items, &options.sizes, &mut out).await;
        }
        if wanted(&["P9"]) {
            rows::idle(&options.sizes, &mut out).await;
        }
        if wanted(&["P10"]) {
            handshakes::rate(&options.sizes, &mut out).await;
        }
        if wanted(&["P19"]) {
            rows::crash(&mut items, &options.sizes, &mut out).await;
        }
        if wanted(&["P21"]) {
            values::canonical(&mut items, &mut out);
        }
        if wanted(&["P22"]) {
            intake::import(&mut items, &mut out).await;
        }
        if wanted(&["P23"]) {
            severing::revocation(&mut items, &options.sizes, &mut out).await;
        }
        if wanted(&["P24"]) {
            handshakes::half_open(&options.sizes, &mut out).await;
        }
        if wanted(&["P25"]) {
            guards::judged(&mut items, &mut out);
        }
        if wanted(&["P26"]) {
            flood::neighbours(&mut items, &options.sizes, &mut out).await;
        }
        if wanted(&["P27"]) {
            audited::audited(&options.sizes, &mut out).await;
        }
        runs.push(out);
    }
    report::print(&runs);
    if runs.iter().any(|run| run.get("p19.lost").is_some_and(|lost| *lost > 0.0)) {
        eprintln!("What was acknowledged was lost: that is a defect, whatever the speed.");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
