//! Decides what each row measures.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use prost::Message as _;
use tokio::sync::{Barrier, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::Sizes;
use super::harness::{TestHub, value_of};
use super::items::{Items, RECEIVER, mix, other};
use super::load::{Plan, Published, publish, quantile, spread, stream};
use super::wire::{self, Target};
use super::{process, raw};

/// Everything that one run measured, by name.
pub type Readings = BTreeMap<&'static str, f64>;

/// Requests of one stream under way at once, as many as the hub takes.
pub const WINDOW: usize = 32;
/// Bytes of the hub's answer to a batch of 64, and to a single item.
const BATCH_REPLY: usize = 64 * 57;
const SINGLE_REPLY: usize = 57;
/// Organisations that only take part.
pub const OTHERS: usize = 100;
/// Subscribers of the live row.
pub const LIVE: usize = 8;

/// A hub with one agency that publishes and one that receives.
pub async fn hub() -> TestHub {
    let mut builder =
        TestHub::builder().principal("agency", "system/feed", &[Role::Publisher, Role::Subscriber]);
    for number in 0..LIVE {
        builder = builder.principal(RECEIVER, &format!("system/s{number}"), &[Role::Subscriber]);
    }
    for number in 0..OTHERS {
        builder = builder.organisation(&other(number));
    }
    builder.config("[log]\nfilter = \"warn\"").start().await
}

pub fn target(hub: &TestHub, organisation: &str, name: &str) -> Target {
    Target { address: hub.grpc(), tls: hub.peer(organisation, name).tls() }
}

pub fn feed(hub: &TestHub) -> Target {
    target(hub, "agency", "system/feed")
}

pub const fn plan(pid: u32, window: usize) -> Plan {
    Plan { path: wire::PUBLISH, metadata: &[], window, pid, count: Some(wire::published) }
}

/// P1 and P4: batches of 64 over four connections, then all of it once more
/// to one subscriber.
pub async fn batches(items: &mut Items, sizes: &Sizes, out: &mut Readings) {
    let hub = hub().await;
    let requests = items.requests(sizes.batched / 64 + 4, 64);
    let bytes: usize = requests.iter().map(|request| request.bytes.len()).sum();
    let item_bytes = bytes / (sizes.batched + 4 * 64);
    let loads = spread(&feed(&hub), 4, 4, requests.clone()).await;
    let done = publish(plan(hub.pid(), WINDOW), loads).await;
    note_lost("P1", &done, out);
    out.insert("p1.rate", done.rate());
    out.insert("p1.cpu", done.cpu_per_million());
    out.insert("p1.p50", done.wait(0.5));
    out.insert("p1.p99", done.wait(0.99));
    let stored = done.items + 4 * 64;
    let replayed = replay(&hub, RECEIVER, "system/s0", stored).await;
    out.insert("p4.rate", replayed.rate);
    out.insert("p4.cpu", replayed.cpu);
    let (pki, dir) = (hub.dir().join("pki"), hub.dir());
    if sizes.limits {
        let cost = raw::rocksdb(dir, 4, 64, sizes.batched, item_bytes);
        out.insert("rocks64.rate", cost.rate);
        out.insert("rocks64.cpu", cost.cpu);
        let server = raw::Server::start(&pki, dir).await;
        let raw_target = Target { address: server.address, ..feed(&hub) };
        let loads = spread(&raw_target, 4, 4, requests).await;
        let plan = Plan {
            path: raw::BIDI,
            metadata: &[("reply-bytes", BATCH_REPLY)],
            window: WINDOW,
            pid: server.pid(),
            count: None,
        };
        let done = publish(plan, loads).await;
        out.insert("bidi64.rate", done.rate());
        out.insert("bidi64.cpu", done.cpu_per_million());
        let cost = raw_stream(&raw_target, server.pid(), replayed.bytes, stored).await;
        out.insert("stream.rate", cost.rate);
        out.insert("stream.cpu", cost.cpu);
    }
    end(hub).await;
}

/// P2 and the second half of P4: single items from 256 callers.
pub async fn singles(items: &mut Items, sizes: &Sizes, out: &mut Readings) {
    let hub = hub().await;
    let requests = items.requests(sizes.single + 256, 1);
    let bytes = requests.iter().map(|request| request.bytes.len()).sum::<usize>() / requests.len();
    let loads = spread(&feed(&hub), 8, 256, requests.clone()).await;
    let done = publish(plan(hub.pid(), 1), loads).await;
    note_lost("P2", &done, out);
    out.insert("p2.rate", done.rate());
    out.insert("p2.cpu", done.cpu_per_million());
    out.insert("p2.p50", done.wait(0.5));
    out.insert("p2.p99", done.wait(0.99));
    let replayed = replay(&hub, RECEIVER, "system/s0", done.items + 256).await;
    out.insert("p4s.rate", replayed.rate);
    out.insert("p4s.cpu", replayed.cpu);
    if sizes.limits {
        let cost = raw::rocksdb(hub.dir(), 256, 1, sizes.single, bytes);
        out.insert("rocks1.rate", cost.rate);
        out.insert("rocks1.cpu", cost.cpu);
        let server = raw::Server::start(&hub.dir().join("pki"), hub.dir()).await;
        let raw_target = Target { address: server.address, ..feed(&hub) };
        let loads = spread(&raw_target, 8, 256, requests).await;
        let metadata = &[("reply-bytes", SINGLE_REPLY)];
        let plan = Plan { path: raw::BIDI, metadata, window: 1, pid: server.pid(), count: None };
        let done = publish(plan, loads).await;
        out.insert("bidi1.rate", done.rate());
        out.insert("bidi1.cpu", done.cpu_per_million());
        out.insert("bidi1.p99", done.wait(0.99));
    }
    end(hub).await;
}

/// P3: one caller, one request in flight.
pub async fn alone(items: &mut Items, sizes: &Sizes, out: &mut Readings) {
    let hub = hub().await;
    let requests = items.requests(sizes.alone, 1);
    let done = publish(plan(hub.pid(), 1), spread(&feed(&hub), 1, 1, requests.clone()).await).await;
    note_lost("P3", &done, out);
    out.insert("p3.commit", mean_commit(&hub).await);
    out.insert("p3.p50", done.wait(0.5));
    out.insert("p3.p99", done.wait(0.99));
    if sizes.limits {
        out.insert("fdatasync.p50", raw::fdatasync(hub.dir()).as_secs_f64() * 1e3);
        let server = raw::Server::start(&hub.dir().join("pki"), hub.dir()).await;
        let raw_target = Target { address: server.address, ..feed(&hub) };
        let metadata = &[("reply-bytes", SINGLE_REPLY)];
        let plan = Plan { path: raw::BIDI, metadata, window: 1, pid: server.pid(), count: None };
        let done = publish(plan, spread(&raw_target, 1, 1, requests).await).await;
        out.insert("alone.p50", done.wait(0.5));
        out.insert("alone.p99", done.wait(0.99));
    }
    end(hub).await;
}

/// Mean time of a commit so far, in milliseconds, as the hub itself counts.
async fn mean_commit(hub: &TestHub) -> f64 {
    let (_, page) = hub.get("/metrics").await;
    let number = |name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse::<f64>().ok()).unwrap_or(f64::NAN)
    };
    1e3 * number("luytre_store_commit_seconds_total ") / number("luytre_store_commits_total ")
}

/// P7: a thousand a second to eight who listen.
pub async fn live(items: &mut Items, sizes: &Sizes, out: &mut Readings) {
    let hub = hub().await;
    let requests: Vec<_> = items.requests(sizes.live, 1).into_iter().map(|request| request.bytes).collect();
    let mut heard = Vec::new();
    for number in 0..LIVE {
        let target = target(&hub, RECEIVER, &format!("system/s{number}"));
        heard.push(subscribe(target.connect().await.unwrap(), v1::StartPosition::Latest).await);
    }
    let publisher = feed(&hub).connect().await.unwrap();
    let before = process::cpu(hub.pid());
    let (p50, p99) = paced(publisher, wire::PUBLISH, &[], requests.clone(), heard, wire::events).await;
    out.insert("p7.p50", p50);
    out.insert("p7.p99", p99);
    let cpu = process::cpu(hub.pid()).saturating_sub(before).as_secs_f64();
    out.insert("p7.cpu", cpu / (requests.len() as f64 / 1e6));
    if sizes.limits {
        let server = raw::Server::start(&hub.dir().join("pki"), hub.dir()).await;
        let raw_target = Target { address: server.address, ..feed(&hub) };
        let mut heard = Vec::new();
        for _ in 0..LIVE {
            let (keep, none) = mpsc::channel(1);
            let channel = raw_target.connect().await.unwrap();
            let answers = wire::open(channel, raw::LISTEN, &[], ReceiverStream::new(none)).await.unwrap();
            heard.push((answers, keep));
        }
        let publisher = raw_target.connect().await.unwrap();
        let metadata = &[("reply-bytes", SINGLE_REPLY)];
        let (p50, p99) = paced(publisher, raw::BIDI, metadata, requests, heard, |_| 1).await;
        out.insert("relay.p50", p50);
        out.insert("relay.p99", p99);
    }
    end(hub).await;
}

/// P9: what a subscriber costs who hears nothing, with a connection of its own.
pub async fn idle(sizes: &Sizes, out: &mut Readings) {
    let hub = hub().await;
    let target = target(&hub, RECEIVER, "system/s0");
    let mut open = Vec::new();
    let mut before = 0;
    // The first ones pay for what the process needs anyway.
    for number in 0..sizes.idle + 50 {
        if number == 50 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            before = process::resident_kib(hub.pid());
        }
        let channel = target.connect().await.unwrap();
        open.push(subscribe(channel, v1::StartPosition::Latest).await);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after = process::resident_kib(hub.pid());
    out.insert("p9.kib", after.saturating_sub(before) as f64 / sizes.idle as f64);
    drop(open);
    end(hub).await;
}

/// P19: killed under full load; what was acknowledged must all be there.
pub async fn crash(items: &mut Items, sizes: &Sizes, out: &mut Readings) {
    let mut hub = hub().await;
    let target = feed(&hub);
    let mut values = vec![Vec::new(); 4];
    let mut requests = vec![Vec::new(); 4];
    for number in 0..sizes.crash / 64 {
        let (request, held) = items.request(64);
        requests[number % 4].push(request);
        values[number % 4].push(held);
    }
    let start = Arc::new(Barrier::new(5));
    let mut streams = Vec::new();
    for requests in requests {
        let channel = target.connect().await.unwrap();
        streams.push(tokio::spawn(stream(plan(hub.pid(), WINDOW), channel, requests, Arc::clone(&start))));
    }
    start.wait().await;
    let moment = 200 + mix(sizes.crash as u64 ^ luytre::base::random::u64()) % 600;
    tokio::time::sleep(Duration::from_millis(moment)).await;
    hub.kill9();
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    for (stream, held) in streams.into_iter().zip(values) {
        let done = stream.await.unwrap();
        // Answers come in order; the first, which warms, is not among them.
        let answered = done.waits.len() + 1;
        refused += (answered - 1) * 64 - done.items;
        acknowledged.extend(held.into_iter().take(answered).flatten());
    }
    hub.serve().await;
    let stored = stored_values(&hub).await;
    let lost = acknowledged.iter().filter(|value| !stored.contains(*value)).count();
    let sound = hub.terminate().await.success() && hub.luytred(&["verify"]).status.success();
    println!(
        "  P19: killed after {moment} ms; {} acknowledged, {} stored, {lost} lost{}",
        acknowledged.len(),
        stored.len(),
        if sound { "" } else { "; luytred verify FAILED" }
    );
    out.insert("p19.lost", (lost + refused) as f64 + if sound { 0.0 } else { 1.0 });
}

fn note_lost(row: &str, done: &Published, out: &mut Readings) {
    if done.lost > 0 {
        println!("  {row}: {} items were refused or not answered", done.lost);
        *out.entry("refused").or_default() += done.lost as f64;
    }
}

pub async fn end(mut hub: TestHub) {
    hub.terminate().await;
}

pub type Heard = (Streaming<Bytes>, mpsc::Sender<Bytes>);

/// A subscription to everything, opened.
pub async fn subscribe(channel: Channel, from: v1::StartPosition) -> Heard {
    subscribe_to(channel, from, None).await
}

/// A subscription to what `filter` wants, opened.
pub async fn subscribe_to(
    channel: Channel,
    from: v1::StartPosition,
    filter: Option<v1::IndicatorFilter>,
) -> Heard {
    let open = v1::Open {
        start: Some(v1::open::Start::Position(from.into())),
        initial_credit: 1_000_000_000,
        filter,
        ..Default::default()
    };
    let request = v1::SubscribeRequest { message: Some(v1::subscribe_request::Message::Open(open)) };
    let (send, receive) = mpsc::channel(4);
    send.send(request.encode_to_vec().into()).await.unwrap();
    let mut answers = wire::open(channel, wire::SUBSCRIBE, &[], ReceiverStream::new(receive)).await.unwrap();
    answers.message().await.unwrap().expect("Opened");
    (answers, send)
}

pub struct Replayed {
    pub rate: f64,
    pub cpu: f64,
    bytes: usize,
}

/// Streams everything from the beginning to one subscriber.
pub async fn replay(hub: &TestHub, organisation: &str, name: &str, expected: usize) -> Replayed {
    let target = target(hub, organisation, name);
    // What publishing left to the background is not the reader's cost.
    settle(hub.pid()).await;
    let channel = target.connect().await.unwrap();
    let (started, before) = (Instant::now(), process::cpu(hub.pid()));
    let (mut answers, _keep) = subscribe(channel, v1::StartPosition::Earliest).await;
    let (mut count, mut bytes) = (0, 0);
    while count < expected {
        let message = answers.message().await.unwrap().expect("the stream goes on");
        bytes += message.len();
        count += wire::events(&message);
    }
    let elapsed = started.elapsed().as_secs_f64();
    let cpu = process::cpu(hub.pid()).saturating_sub(before).as_secs_f64();
    let million = count as f64 / 1e6;
    Replayed { rate: count as f64 / elapsed, cpu: cpu / million, bytes }
}

/// Waits until the process does next to nothing, at most ten seconds.
pub async fn settle(pid: u32) {
    let mut before = process::cpu(pid);
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = process::cpu(pid);
        if now.saturating_sub(before) < Duration::from_millis(20) {
            return;
        }
        before = now;
    }
}

/// The same bytes as a replay, in messages of the same size, without a hub.
async fn raw_stream(target: &Target, pid: u32, bytes: usize, items: usize) -> raw::Cost {
    const CHUNK: usize = 256 << 10;
    let (_keep, none) = mpsc::channel(1);
    let metadata = [("chunk-bytes", CHUNK), ("chunks", bytes / CHUNK + 1)];
    let channel = target.connect().await.unwrap();
    let (started, before) = (Instant::now(), process::cpu(pid));
    let mut answers = wire::open(channel, raw::STREAM, &metadata, ReceiverStream::new(none)).await.unwrap();
    while answers.message().await.unwrap().is_some() {}
    let cpu = process::cpu(pid).saturating_sub(before).as_secs_f64();
    let rate = items as f64 / started.elapsed().as_secs_f64();
    raw::Cost { rate, cpu: cpu / (items as f64 / 1e6) }
}

/// Sends one request a millisecond, and returns median and 99th percentile of
/// the milliseconds from sending to each subscriber's receipt.
async fn paced(
    publisher: Channel,
    path: &'static str,
    metadata: &'static [(&'static str, usize)],
    requests: Vec<Bytes>,
    heard: Vec<Heard>,
    count: fn(&[u8]) -> usize,
) -> (f64, f64) {
    let total = requests.len();
    let base = Instant::now();
    let sent: Arc<Vec<AtomicU64>> = Arc::new((0..total).map(|_| AtomicU64::new(0)).collect());
    let nanos = move || u64::try_from(base.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let subscribers: Vec<_> = heard
        .into_iter()
        .map(|(mut answers, keep)| {
            let sent = Arc::clone(&sent);
            tokio::spawn(async move {
                let _keep = keep;
                let mut spans = Vec::with_capacity(total);
                while spans.len() < total {
                    let message = answers.message().await.unwrap().expect("the stream goes on");
                    let now = nanos();
                    for _ in 0..count(&message) {
                        let span = now.saturating_sub(sent[spans.len()].load(Ordering::Relaxed));
                        spans.push(Duration::from_nanos(span));
                    }
                }
                spans
            })
        })
        .collect();
    let (send, receive) = mpsc::channel(64);
    let answers = tokio::spawn(async move {
        let mut answers = wire::open(publisher, path, metadata, ReceiverStream::new(receive)).await.unwrap();
        while answers.message().await.unwrap().is_some() {}
    });
    let mut pace = tokio::time::interval(Duration::from_millis(1));
    for (number, request) in requests.into_iter().enumerate() {
        pace.tick().await;
        sent[number].store(nanos(), Ordering::Relaxed);
        send.send(request).await.unwrap();
    }
    drop(send);
    answers.await.unwrap();
    let mut spans = Vec::new();
    for subscriber in subscribers {
        // The first hundred warm what is cold.
        spans.extend(subscriber.await.unwrap().into_iter().skip(100));
    }
    spans.sort_unstable();
    (quantile(&spans, 0.5), quantile(&spans, 0.99))
}

/// The values of everything that the hub replays.
async fn stored_values(hub: &TestHub) -> HashSet<String> {
    let channel = target(hub, RECEIVER, "system/s0").connect().await.unwrap();
    let (mut answers, _keep) = subscribe(channel, v1::StartPosition::Earliest).await;
    let mut values = HashSet::new();
    // Quiet for this long means that all was sent: nobody publishes.
    while let Ok(message) = tokio::time::timeout(Duration::from_secs(2), answers.message()).await {
        let message = message.unwrap().expect("the stream goes on");
        let message = v1::SubscribeResponse::decode(message).unwrap().message;
        let Some(v1::subscribe_response::Message::Batch(batch)) = message else { continue };
        values.extend(batch.events.iter().filter_map(|event| match &event.subject {
            Some(v1::event::Subject::Indicator(indicator)) => Some(value_of(indicator)),
            _ => None,
        }));
    }
    values
}
