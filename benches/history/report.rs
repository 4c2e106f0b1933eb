//! Decides how results are shown: distributions, single figures, and ratios to
//! SQLite, and which of them fall short.

use super::table::{Target, shown};

/// How long questions of a kind took, in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    pub row: &'static str,
    pub what: &'static str,
    /// What 99 in 100 may take, warm; 0: only to be seen.
    pub target: f64,
    /// p50 and p99 warm, p50 and p99 cold; p99 of what the hub was at work, warm.
    pub cells: [f64; 5],
    /// Questions that failed, of all that were asked.
    pub failed: usize,
}

/// A figure with a target.
#[derive(Debug, Clone)]
pub struct Figure {
    pub row: &'static str,
    pub what: String,
    pub unit: &'static str,
    pub target: Target,
    pub value: f64,
}

/// A filter asked of the hub and of SQLite: medians and 99th percentiles in
/// milliseconds.
#[derive(Debug, Clone)]
pub struct Ratio {
    pub what: &'static str,
    /// p50 and p99 of the hub, then of SQLite.
    pub cells: [f64; 4],
    /// p50 and p99 of the hub's engine, asked in the process that asks.
    pub engine: [f64; 2],
    /// p50 of a call that asks nothing.
    pub empty: f64,
    /// First pages that were not the same.
    pub differ: usize,
}

/// All that one run measured.
#[derive(Debug, Clone, Default)]
pub struct Run {
    pub timings: Vec<Timing>,
    pub figures: Vec<Figure>,
    pub ratios: Vec<Ratio>,
}

impl Run {
    pub fn figure(
        &mut self,
        row: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        target: Target,
        value: f64,
    ) {
        let what = what.into();
        println!("  {row} {what}: {}", shown(value, unit));
        self.figures.push(Figure { row, what, unit, target, value });
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn medians<const N: usize>(all: &[[f64; N]]) -> [f64; N] {
    std::array::from_fn(|place| median(all.iter().map(|cells| cells[place]).collect()))
}

/// Prints the medians of all runs.
pub fn print(runs: &[Run], cold: &str) {
    let Some(first) = runs.first() else { return };
    let mut short = Vec::new();
    if !first.timings.is_empty() {
        timings(runs, &first.timings, cold, &mut short);
    }
    if !first.figures.is_empty() {
        figures(runs, &first.figures, &mut short);
    }
    if !first.ratios.is_empty() {
        ratios(runs, &first.ratios, &mut short);
    }
    println!("\nMedians of {} runs.", runs.len());
    if short.is_empty() {
        println!("Every target measured here is reached.");
    } else {
        println!("Short of the target:");
        short.iter().for_each(|line| println!("  {line}"));
    }
}

fn timings(runs: &[Run], lines: &[Timing], cold: &str, short: &mut Vec<String>) {
    println!(
        "\n{:<4} {:<42} {:>10} {:>10} {:>10} {:>9}  {:<11} {:>9} {:>9}",
        "", "milliseconds", "p99 at most", "p50 warm", "p99 warm", "CPU p99", "", "p50 cold", "p99 cold"
    );
    for line in lines {
        let same = |other: &&Timing| other.row == line.row && other.what == line.what;
        let all: Vec<_> = runs.iter().filter_map(|run| run.timings.iter().find(same)).collect();
        let cells = medians(&all.iter().map(|timing| timing.cells).collect::<Vec<_>>());
        let failed: usize = all.iter().map(|timing| timing.failed).sum();
        let target = if line.target > 0.0 { Target::AtMost(line.target) } else { Target::None };
        let verdict = if failed > 0 { format!("{failed} FAILED") } else { target.verdict(cells[1]) };
        let asked = if line.target > 0.0 { format!("{:.0}", line.target) } else { String::new() };
        let cell = |value: f64| if value.is_nan() { String::new() } else { format!("{value:.3}") };
        println!(
            "{:<4} {:<42} {asked:>11} {:>10} {:>10} {:>9}  {verdict:<11} {:>9} {:>9}",
            line.row,
            line.what,
            cell(cells[0]),
            cell(cells[1]),
            cell(cells[4]),
            cell(cells[2]),
            cell(cells[3])
        );
        if failed > 0 || !target.keeps(cells[1]) {
            short.push(format!(
                "{} {}: p99 {:.3} ms warm, {failed} failed, target {} ms",
                line.row, line.what, cells[1], line.target
            ));
        }
    }
    println!("Cold: {cold}");
}

fn figures(runs: &[Run], lines: &[Figure], short: &mut Vec<String>) {
    println!("\n{:<6} {:<58} {:>14} {:>14}", "", "", "target", "reached");
    for line in lines {
        let same = |other: &&Figure| other.row == line.row && other.what == line.what;
        let value =
            median(runs.iter().filter_map(|run| run.figures.iter().find(same)).map(|f| f.value).collect());
        let (target, reached) = (line.target.told(line.unit), shown(value, line.unit));
        println!(
            "{:<6} {:<58} {target:>14} {reached:>14}  {}",
            line.row,
            line.what,
            line.target.verdict(value)
        );
        if !line.target.keeps(value) {
            short.push(format!("{} {}: {reached}, target {target}", line.row, line.what));
        }
    }
}

fn ratios(runs: &[Run], lines: &[Ratio], short: &mut Vec<String>) {
    println!(
        "\n{:<34} {:^17}  {:^17}  {:^17}  {:^26}",
        "", "hub, by its call", "hub, its engine", "SQLite", "times SQLite, p50"
    );
    println!(
        "{:<34} {:>8} {:>8}  {:>8} {:>8}  {:>8} {:>8}  {:>8} {:>8} {:>8}",
        "milliseconds", "p50", "p99", "p50", "p99", "p50", "p99", "call", "less", "engine"
    );
    for line in lines {
        let same = |other: &&Ratio| other.what == line.what;
        let all: Vec<_> = runs.iter().filter_map(|run| run.ratios.iter().find(same)).collect();
        let [p50, p99, sql50, sql99] = medians(&all.iter().map(|ratio| ratio.cells).collect::<Vec<_>>());
        let [own50, own99] = medians(&all.iter().map(|ratio| ratio.engine).collect::<Vec<_>>());
        let empty = median(all.iter().map(|ratio| ratio.empty).collect());
        let differ: usize = all.iter().map(|ratio| ratio.differ).sum();
        let [call, less, engine] = [p50, (p50 - empty).max(0.0), own50].map(|hub| hub / sql50);
        let mut note = if engine > 1.0 { "SLOWER".to_owned() } else { String::new() };
        if differ > 0 {
            note += &format!(" {differ} pages differ");
        }
        println!(
            "{:<34} {p50:>8.3} {p99:>8.3}  {own50:>8.3} {own99:>8.3}  {sql50:>8.3} {sql99:>8.3}  {call:>8.2} {less:>8.2} {engine:>8.2}  {note}",
            line.what
        );
        if engine > 1.0 {
            short.push(format!(
                "SQLite is faster at {}: the engine takes {engine:.2} times as long",
                line.what
            ));
        }
        if differ > 0 {
            short.push(format!("{} of {} are not the same in SQLite", differ, line.what));
        }
    }
    println!(
        "Call: by gRPC and mutual TLS; less: without the median of a call that asks nothing (WhoAmI, {:.3} ms);\n\
         engine: asked in this process, as SQLite is, with the caller's rights looked at, which SQLite knows nothing of.",
        median(runs.iter().flat_map(|run| run.ratios.first()).map(|ratio| ratio.empty).collect())
    );
}
