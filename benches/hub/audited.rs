//! Decides how it is measured what the audit costs: to make a record, to answer
//! look-ups that have one each, and to export and verify many.

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use luytre::base::clock::Timestamp;
use luytre::model::audit::{Phase, Purpose, Record, Tree};
use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use prost::Message as _;

use super::Sizes;
use super::harness::{Credentials, TestHub, text_value};
use super::load::{Encoded, Plan, publish, spread};
use super::rows::{OTHERS, Readings, WINDOW, end, target};

const LOOKUP: &str = "/luytre.v1.ExchangeService/LookupObservables";
/// Values in a look-up whose cost is compared.
const VALUES: usize = 100;
/// Streams at once.
const STREAMS: usize = 8;
/// Records that are made on one core.
const MADE: usize = 200_000;

/// P27: look-ups of 100, then as many of one value as make the log a million
/// records long, then its export and its verification at the prompt.
pub async fn audited(sizes: &Sizes, out: &mut Readings) {
    out.insert("p27.record", record());
    let builder = TestHub::builder()
        .principal("agency", "system/siem", &[Role::Subscriber, Role::Analyst])
        .principal("hub", "user/auditor", &[Role::Auditor]);
    let builder = (0..OTHERS).fold(builder, |hub, n| hub.organisation(&super::items::other(n)));
    let limits = "[log]\nfilter = \"warn\"\n[limits]\nlookups_per_second = 100000000";
    let hub = builder.config(limits).start().await;
    let asker = target(&hub, "agency", "system/siem");
    let plan = Plan { path: LOOKUP, metadata: &[], window: WINDOW, pid: hub.pid(), count: None };
    let many = lookups(sizes.records / 100, VALUES);
    let done = publish(plan, spread(&asker, STREAMS, STREAMS, many).await).await;
    out.insert("p27.lookup.rate", done.rate());
    let request = done.cpu_per_million() * VALUES as f64;
    out.insert("p27.lookup.request", request);
    out.insert("p27.lookup.share", 100.0 * out["p27.record"] / request);
    for (name, reading, items) in [("p27.share64", "p1.cpu", 64.0), ("p27.share1", "p2.cpu", 1.0)] {
        if let Some(cpu) = out.get(reading).copied() {
            out.insert(name, 100.0 * out["p27.record"] / (cpu * items));
        }
    }
    let one = lookups(sizes.records, 1);
    let done = publish(plan, spread(&asker, STREAMS, STREAMS, one).await).await;
    out.insert("p27.rate", done.rate());
    if done.lost > 0 {
        println!("  P27: {} look-ups were not answered", done.lost);
    }
    let (to, key) = (hub.dir().join("exported"), hub.dir().join("audit.key"));
    let started = Instant::now();
    at_the_prompt(&hub, &["audit", "export", "--to", to.to_str().expect("a path is text")]);
    out.insert("p27.export", started.elapsed().as_secs_f64());
    let shown = at_the_prompt(&hub, &["audit", "checkpoint", "--show-key"]);
    std::fs::write(&key, shown).expect("the key is written");
    let started = Instant::now();
    let mut verify = Command::new(env!("CARGO_BIN_EXE_luytre"));
    verify.args(["audit", "verify"]).arg(&to).arg("--audit-key").arg(&key);
    let verified = verify.output().expect("luytre starts");
    out.insert("p27.verify", started.elapsed().as_secs_f64());
    assert!(verified.status.success(), "the log is sound");
    println!("  P27: {}", String::from_utf8_lossy(&verified.stdout).trim());
    end(hub).await;
}

/// Microseconds of one core to make a record, encode it, hash it and take it
/// into the tree. What is left is the write of its some 300 bytes with those of
/// the commit group.
fn record() -> f64 {
    let (mut tree, mut grown) = (Tree::default(), Vec::new());
    let started = Instant::now();
    for number in 0..MADE {
        let record = Record {
            phase: Phase::Whole,
            purpose: Purpose::Search,
            asked: number as u32,
            principal: "spiffe://hub.example/org/so-tttt/system/siem".to_owned(),
            about: "indicators of so-tttt".to_owned(),
            ..Record::note("LookupObservables", Timestamp::from_micros_clamped(number as u64))
        };
        let encoded = black_box(record.encode());
        tree.push(Record::leaf(&encoded), &mut grown);
        grown.clear();
    }
    started.elapsed().as_secs_f64() * 1e6 / MADE as f64
}

/// Requests for values that the hub does not know.
fn lookups(count: usize, values: usize) -> Vec<Encoded> {
    let request = |first: usize| {
        let value = |number: usize| Some(text_value(&format!("h{number}.example")));
        let observables = (first..first + values).filter_map(value).collect();
        let request = v1::LookupObservablesRequest { observables, ..Default::default() };
        Encoded { bytes: request.encode_to_vec().into(), items: values }
    };
    (0..count.max(STREAMS * 2)).map(|number| request(number * values)).collect()
}

/// What `luytre` prints to the auditor. It has no bound: the pipe is read.
fn at_the_prompt(hub: &TestHub, words: &[&str]) -> Vec<u8> {
    let Credentials { certificate, key } = hub.credentials("hub", "user/auditor");
    let mut command = Command::new(env!("CARGO_BIN_EXE_luytre"));
    command.args(words).arg("--hub").arg(format!("localhost:{}", hub.grpc().port()));
    command.arg("--ca").arg(hub.server_ca()).arg("--cert").arg(certificate).arg("--key").arg(key);
    let output = command.output().expect("luytre starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
