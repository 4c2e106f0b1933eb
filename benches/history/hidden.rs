//! Decides how it is shown that what is hidden costs what is absent costs: the
//! reads of the store, counted in this process, and the time a caller waits.

use luytre::wire::proto::v1;

use super::ask::{Asker, Times};
use super::corpus::Corpus;
use super::engine::Engine;
use super::place::Place;
use super::report::Run;
use super::table::Target;
use super::{Options, answers};

/// Hidden values, and as many absent ones.
pub type Values = [Vec<v1::observable::Value>; 2];

/// Values that some may see and the analyst may not, and values that nobody
/// published.
async fn values(asker: &Asker, corpus: &Corpus, count: usize) -> Values {
    let mut hidden = Vec::with_capacity(count);
    let mut dice = corpus.dice(0x41d, 0);
    for _ in 0..count * 200 {
        if hidden.len() == count {
            break;
        }
        let number = dice.below(corpus.rows);
        if !corpus.is_hidden(number) {
            continue;
        }
        let (_, value) = corpus.value(number);
        // Another may have published it for all.
        if answers::look_up(asker, value.clone()).await.1.matches.is_empty() {
            hidden.push(value);
        }
    }
    // Under the same domains, so that as much may contain them.
    let (mut absent, mut number) = (Vec::with_capacity(hidden.len()), corpus.rows);
    while absent.len() < hidden.len() {
        let (_, value) = corpus.values.of(&corpus.words, number);
        number += 1;
        // A network may be one that is there.
        if answers::look_up(asker, value.clone()).await.1.matches.is_empty() {
            absent.push(value);
        }
    }
    [hidden, absent]
}

/// What is absent and what is hidden, looked up one by one in turn.
pub async fn latency(asker: &Asker, corpus: &Corpus, options: &Options, out: &mut Run) -> Values {
    let values = values(asker, corpus, options.questions * 2).await;
    let mut times = [Times::default(), Times::default()];
    for pass in 0..2 {
        times = [Times::default(), Times::default()];
        for (number, (hidden, absent)) in values[0].iter().zip(&values[1]).enumerate() {
            // Whichever is first pays for what both need.
            for kind in if (number + pass).is_multiple_of(2) { [0, 1] } else { [1, 0] } {
                times[kind].add(answers::look_up(asker, [hidden, absent][kind].clone()).await.0);
            }
        }
    }
    for (name, times) in ["hidden", "absent"].into_iter().zip(&times) {
        for (what, value) in [("p50", times.p50()), ("p90", times.p90()), ("p99", times.p99())] {
            out.figure("HIDDEN", format!("look-up of one {name} value, {what}"), "ms", Target::None, value);
        }
    }
    values
}

/// The reads that both need of a store that no hub serves.
pub async fn reads(place: &Place, values: &Values, out: &mut Run) {
    let copy = place.copy("read");
    let reads = counted(&copy, values).await;
    copy.remove();
    for (name, of) in ["hidden", "absent"].into_iter().zip(reads) {
        let count = values[0].len();
        out.figure(
            "HIDDEN",
            format!("reads of the store for {count} {name} values"),
            "",
            Target::None,
            of[0],
        );
        out.figure("HIDDEN", format!("  the same with what contains them, {name}"), "", Target::None, of[1]);
    }
    let differ = (reads[0][0] - reads[1][0]).abs();
    out.figure("HIDDEN", "more reads for one than for the other", "", Target::AtMost(0.0), differ);
}

/// Values read for exact look-ups, and for wide ones.
async fn counted(place: &Place, values: &Values) -> [[f64; 2]; 2] {
    let engine = Engine::open(place).await;
    let mut out = [[0.0; 2]; 2];
    for (kind, values) in values.iter().enumerate() {
        for value in values {
            let reads = engine.reads(value.clone()).await;
            out[kind][0] += reads[0] as f64;
            out[kind][1] += reads[1] as f64;
        }
    }
    engine.close().await;
    out
}
