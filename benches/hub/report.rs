//! Decides how results are shown: target, reached, limit, and who falls short.

use super::rows::Readings;
use super::table::{Target, shown};

/// A line of the report.
struct Line {
    row: &'static str,
    what: &'static str,
    reading: &'static str,
    unit: &'static str,
    target: Target,
    /// What the machine allows: name and reading, best first.
    limits: &'static [(&'static str, &'static str)],
}

const fn line(
    row: &'static str,
    what: &'static str,
    reading: &'static str,
    unit: &'static str,
    target: Target,
    limits: &'static [(&'static str, &'static str)],
) -> Line {
    Line { row, what, reading, unit, target, limits }
}

use Target::{AtLeast, AtMost, None as Seen};

const LINES: &[Line] = &[
    line(
        "P1",
        "publish, batches of 64, 4 connections",
        "p1.rate",
        "/s",
        AtLeast(120_000.0),
        &[("raw RocksDB", "rocks64.rate"), ("raw gRPC bidi", "bidi64.rate")],
    ),
    line(
        "",
        "  hub CPU seconds per million",
        "p1.cpu",
        "s",
        AtMost(12.0),
        &[("raw RocksDB", "rocks64.cpu"), ("raw gRPC bidi", "bidi64.cpu")],
    ),
    line("", "  answer to a batch, p50", "p1.p50", "ms", Seen, &[]),
    line("", "  answer to a batch, p99", "p1.p99", "ms", Seen, &[]),
    line(
        "P2",
        "publish, 256 callers, one item each",
        "p2.rate",
        "/s",
        AtLeast(70_000.0),
        &[("raw RocksDB", "rocks1.rate"), ("raw gRPC bidi", "bidi1.rate")],
    ),
    line("", "  answer, p99", "p2.p99", "ms", AtMost(10.0), &[("raw gRPC bidi", "bidi1.p99")]),
    line(
        "",
        "  hub CPU seconds per million",
        "p2.cpu",
        "s",
        Seen,
        &[("raw RocksDB", "rocks1.cpu"), ("raw gRPC bidi", "bidi1.cpu")],
    ),
    line(
        "P3",
        "one caller, one in flight: answer, p50",
        "p3.p50",
        "ms",
        AtMost(0.20),
        &[("fdatasync", "fdatasync.p50"), ("raw gRPC", "alone.p50")],
    ),
    line("", "  answer, p99", "p3.p99", "ms", AtMost(0.5), &[("raw gRPC", "alone.p99")]),
    line("", "  of it the commit, mean", "p3.commit", "ms", Seen, &[("fdatasync", "fdatasync.p50")]),
    line(
        "P4",
        "replay, published in batches of 64",
        "p4.rate",
        "/s",
        AtLeast(1_400_000.0),
        &[("raw gRPC stream", "stream.rate")],
    ),
    line(
        "",
        "  hub CPU seconds per million",
        "p4.cpu",
        "s",
        AtMost(0.7),
        &[("raw gRPC stream", "stream.cpu")],
    ),
    line("", "replay, published one by one", "p4s.rate", "/s", AtLeast(700_000.0), &[]),
    line("", "  hub CPU seconds per million", "p4s.cpu", "s", Seen, &[]),
    line(
        "P5",
        "replay, one batch in ten visible",
        "p5.rate",
        "/s",
        AtLeast(3_000_000.0),
        &[("all of it visible", "p5.all")],
    ),
    line("", "  hub CPU seconds per million", "p5.cpu", "s", Seen, &[]),
    line("", "visibility's part of a replay, CPU", "vis.replay", "%", AtMost(10.0), &[]),
    line("", "  the same in time", "vis.replay_time", "%", AtMost(10.0), &[]),
    line(
        "P6",
        "live fan-out to 8, batches of 64",
        "p6.rate8",
        "/s",
        AtLeast(1_200_000.0),
        &[("raw relay", "relay8.rate")],
    ),
    line("", "  hub CPU seconds per million", "p6.cpu8", "s", AtMost(0.6), &[("raw relay", "relay8.cpu")]),
    line("", "live fan-out to 64", "p6.rate64", "/s", AtLeast(1_500_000.0), &[("raw relay", "relay64.rate")]),
    line("", "  hub CPU seconds per million", "p6.cpu64", "s", AtMost(0.6), &[("raw relay", "relay64.cpu")]),
    line("", "visibility's part of publishing, CPU", "vis.publish", "%", Seen, &[]),
    line("", "visibility's part of fan-out to 8, CPU", "vis.fan8", "%", AtMost(10.0), &[]),
    line("", "visibility's part of fan-out to 64, CPU", "vis.fan64", "%", AtMost(10.0), &[]),
    line("", "1,000 filters of 100 organisations: tried", "crowd.considered", "/s", Seen, &[]),
    line("", "  CPU seconds per million tried", "crowd.cpu", "s", Seen, &[]),
    line("", "  delivered", "crowd.rate", "/s", Seen, &[]),
    line("", "  share of what was tried", "crowd.share", "%", Seen, &[]),
    line(
        "P7",
        "1,000/s to 8 live: delivery, p50",
        "p7.p50",
        "ms",
        AtMost(0.45),
        &[("raw relay", "relay.p50")],
    ),
    line("", "  delivery, p99", "p7.p99", "ms", AtMost(1.0), &[("raw relay", "relay.p99")]),
    line("", "  hub CPU seconds per million", "p7.cpu", "s", Seen, &[]),
    line("P8", "CURRENT_STATE, 1 in 10 visible, per million", "p8.seconds", "s", AtMost(3.0), &[]),
    line("", "  hub CPU seconds per million", "p8.cpu", "s", Seen, &[]),
    line("", "  the hub's memory meanwhile, growth", "p8.mib", "MiB", AtMost(32.0), &[]),
    line("", "  the first one after a start", "p8.first", "s", Seen, &[]),
    line("", "  its growth, block cache included", "p8.first_mib", "MiB", Seen, &[]),
    line("", "  of one kind, per million looked at", "p8.filter", "s", Seen, &[]),
    line("P9", "idle subscriber", "p9.kib", "KiB", AtMost(45.0), &[]),
    line("P10", "handshakes, 8 at once: share of the raw rate", "p10.share", "×", AtLeast(0.8), &[]),
    line("", "  handshakes", "p10.rate", "/s", Seen, &[("raw TLS", "handshake.rate")]),
    line("", "  hub CPU for one", "p10.cpu", "ms", Seen, &[("raw TLS", "handshake.cpu")]),
    line("", "  by authorities of its own", "p10.own", "/s", Seen, &[("raw TLS", "handshake.rate")]),
    line("", "    hub CPU for one", "p10.own_cpu", "ms", Seen, &[("raw TLS", "handshake.cpu")]),
    line("P19", "acknowledged and lost at kill -9", "p19.lost", "", AtMost(0.0), &[]),
    line("P21", "a value made canonical, on one core", "p21.value", "µs", AtMost(1.5), &[]),
    line("P25", "a value held against 150 lists, on one core", "p25.value", "µs", AtMost(2.0), &[]),
    line("P22", "the feeds imported, file by file", "p22.rate", "/s", Seen, &[]),
    line("", "  hub CPU seconds per million", "p22.cpu", "s", Seen, &[]),
    line("", "  again, when nothing changes", "p22.again", "/s", Seen, &[]),
    line("", "  only tried out", "p22.tried", "/s", Seen, &[]),
    line("P23", "revoked: last byte on 1 stream, p50", "p23.1.p50", "ms", Seen, &[]),
    line("", "  p99", "p23.1.p99", "ms", Seen, &[]),
    line("", "  worst", "p23.1.worst", "ms", AtMost(1_000.0), &[]),
    line("", "last byte on 100 streams, p50", "p23.100.p50", "ms", Seen, &[]),
    line("", "  p99", "p23.100.p99", "ms", Seen, &[]),
    line("", "  worst", "p23.100.worst", "ms", AtMost(1_000.0), &[]),
    line("", "last byte on 512 streams, p50", "p23.512.p50", "ms", Seen, &[]),
    line("", "  p99", "p23.512.p99", "ms", Seen, &[]),
    line("", "  worst", "p23.512.worst", "ms", AtMost(1_000.0), &[]),
    line("", "last byte on 1,000 of two, p50", "p23.1000.p50", "ms", Seen, &[]),
    line("", "  p99", "p23.1000.p99", "ms", Seen, &[]),
    line("", "  worst", "p23.1000.worst", "ms", AtMost(1_000.0), &[]),
    line("", "answer to the operator, worst", "p23.answer.worst", "ms", Seen, &[]),
    line("", "streams that were ended", "p23.streams", "", Seen, &[]),
    line("", "  without CERTIFICATE_REVOKED", "p23.wrong", "", AtMost(0.0), &[]),
    line(
        "",
        "100 end: delivery to others, p99",
        "p23.100.others",
        "ms",
        Seen,
        &[("none ends", "p23.100.calm")],
    ),
    line("", "  times what it is without", "p23.100.moved", "×", AtMost(1.25), &[]),
    line(
        "",
        "  delivery to others, worst",
        "p23.100.others.worst",
        "ms",
        Seen,
        &[("none ends", "p23.100.calm.worst")],
    ),
    line(
        "",
        "1,000 end: delivery to others, p99",
        "p23.1000.others",
        "ms",
        Seen,
        &[("none ends", "p23.1000.calm")],
    ),
    line("", "  times what it is without", "p23.1000.moved", "×", AtMost(1.25), &[]),
    line(
        "",
        "  delivery to others, worst",
        "p23.1000.others.worst",
        "ms",
        Seen,
        &[("none ends", "p23.1000.calm.worst")],
    ),
    line("P24", "half-open at once, half a hello said", "p24.half", "", Seen, &[]),
    line("", "  memory of the hub for one", "p24.half.kib", "KiB", Seen, &[]),
    line("", "  a good client connects, p50", "p24.half.p50", "ms", Seen, &[("alone", "p24.alone.p50")]),
    line("", "  p99", "p24.half.p99", "ms", Seen, &[("alone", "p24.alone.p99")]),
    line("", "half-open at once, the hello answered", "p24.whole", "", Seen, &[]),
    line("", "  memory of the hub for one", "p24.whole.kib", "KiB", Seen, &[]),
    line("", "  a good client connects, p50", "p24.whole.p50", "ms", Seen, &[("alone", "p24.alone.p50")]),
    line("", "  p99", "p24.whole.p99", "ms", Seen, &[("alone", "p24.alone.p99")]),
    line("", "usual limits, half: connects that succeed", "p24.usual.half.share", "%", AtLeast(100.0), &[]),
    line("", "  p99", "p24.usual.half.p99", "ms", Seen, &[("alone", "p24.alone.p99")]),
    line("", "usual limits, answered: that succeed", "p24.usual.whole.share", "%", AtLeast(100.0), &[]),
    line("", "  p99", "p24.usual.whole.p99", "ms", Seen, &[("alone", "p24.alone.p99")]),
    line("", "good connects that failed", "p24.failed", "", AtMost(0.0), &[]),
    line("", "not cut by the deadline", "p24.uncut", "", AtMost(0.0), &[]),
    line("P26", "64 items every 10 ms, nobody else: p99", "p26.alone", "ms", Seen, &[]),
    line("", "  beside a flood held to 20,000/s", "p26.held", "ms", Seen, &[]),
    line("", "  as a multiple", "p26.held.moved", "×", AtMost(2.0), &[]),
    line("", "  beside a flood that is not held", "p26.free", "ms", Seen, &[]),
    line("", "  as a multiple", "p26.free.moved", "×", Seen, &[]),
    line("P27", "an audit record made and hashed, on one core", "p27.record", "µs", Seen, &[]),
    line("", "  of the CPU of a batch of 64 of P1", "p27.share64", "%", AtMost(5.0), &[]),
    line("", "  of that of a single item of P2", "p27.share1", "%", AtMost(15.0), &[]),
    line("", "  of that of a look-up of 100", "p27.lookup.share", "%", AtMost(15.0), &[]),
    line("", "look-ups of 100: values", "p27.lookup.rate", "/s", Seen, &[]),
    line("", "  hub CPU for one", "p27.lookup.request", "µs", Seen, &[]),
    line("", "look-ups of one value, each with its record", "p27.rate", "/s", Seen, &[]),
    line("", "the audit exported at the prompt", "p27.export", "s", AtMost(10.0), &[]),
    line("", "  verified there", "p27.verify", "s", AtMost(10.0), &[]),
];

/// Readings of which the worst run counts, not the one in the middle.
fn counts_at_its_worst(name: &str) -> bool {
    [".worst", ".lost", ".wrong", ".failed", ".uncut"].iter().any(|ending| name.ends_with(ending))
}

/// The median of each reading; of those that must never be bad, the worst.
pub fn medians(runs: &[Readings]) -> Readings {
    let mut names: Vec<_> = runs.iter().flat_map(|run| run.keys().copied()).collect();
    names.sort_unstable();
    names.dedup();
    let median = |name| {
        let mut values: Vec<f64> = runs.iter().filter_map(|run| run.get(name).copied()).collect();
        values.sort_by(f64::total_cmp);
        let place = if counts_at_its_worst(name) { values.len() - 1 } else { values.len() / 2 };
        (name, values[place])
    };
    names.into_iter().map(median).collect()
}

/// Prints the table, and what falls short.
pub fn print(runs: &[Readings]) {
    let all = medians(runs);
    let mut short = Vec::new();
    let mut row = "";
    println!();
    println!("{:<4} {:<40} {:>13} {:>13}  {:<12} limit in the same run", "", "", "target", "reached", "");
    for line in LINES {
        if !line.row.is_empty() {
            row = line.row;
        }
        let Some(&value) = all.get(line.reading) else { continue };
        let target = line.target.told(line.unit);
        let verdict = line.target.verdict(value);
        let limits: Vec<_> = line
            .limits
            .iter()
            .filter_map(|(name, reading)| {
                let limit = *all.get(reading)?;
                Some(format!("{name} {} ({:.2})", shown(limit, line.unit), value / limit))
            })
            .collect();
        let reached = shown(value, line.unit);
        println!(
            "{:<4} {:<40} {target:>13} {reached:>13}  {verdict:<12} {}",
            line.row,
            line.what,
            limits.join(", ")
        );
        if !line.target.keeps(value) {
            short.push(format!("{row} {}: {reached}, target {target}", line.what.trim()));
        }
    }
    println!(
        "\nIn brackets: the hub as a multiple of the limit. Medians of {} runs; what is called worst, lost or \
         failed is the worst of them.",
        runs.len()
    );
    if short.is_empty() {
        println!("Every target measured here is reached.");
    } else {
        println!("Short of the target:");
        short.iter().for_each(|line| println!("  {line}"));
    }
}
