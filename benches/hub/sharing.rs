//! Decides how it is measured what visibility costs, and what fan-out does.

use std::sync::Arc;
use std::time::Instant;

use luytre::wire::proto::v1;
use tokio::sync::{Barrier, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::harness::TestHub;
use super::items::{Encoded, Items, RECEIVER};
use super::load::{publish, spread};
use super::rows::{Heard, LIVE, OTHERS, Readings, WINDOW, end, feed, hub, plan, replay, subscribe, target};
use super::wire::{self, Target};
use super::{Sizes, process, raw};

/// One batch in so many is for the subscriber's eyes.
const VISIBLE: usize = 10;
/// Items of a request.
const BATCH: usize = 64;

/// P5: replay to one who may see one batch in ten, beside the replay of the
/// same to its owner, who sees all.
pub async fn skips(items: &mut Items, sizes: &Sizes, out: &mut Readings) {
    let hub = hub().await;
    let requests = items.addressed(sizes.batched / BATCH + 4, BATCH, VISIBLE);
    let seen = requests.len().div_ceil(VISIBLE) * BATCH;
    let loads = spread(&feed(&hub), 4, 4, requests).await;
    let done = publish(plan(hub.pid(), WINDOW), loads).await;
    let stored = done.items + 4 * BATCH;
    let some = replay(&hub, RECEIVER, "system/s0", seen).await;
    out.insert("p5.rate", some.rate * stored as f64 / seen as f64);
    out.insert("p5.cpu", some.cpu * seen as f64 / stored as f64);
    let all = replay(&hub, "agency", "system/feed", stored).await;
    out.insert("p5.all", all.rate);
    end(hub).await;
}

/// What visibility costs a replay: the same once with everything TLP:CLEAR,
/// once under all markings, turn about.
pub async fn replay_cost(items: &mut Items, sizes: &Sizes, out: &mut Readings) {
    let count = sizes.batched / BATCH + 4;
    let mut hubs = Vec::new();
    for requests in [items.clear(count, BATCH, OTHERS), items.shared(count, BATCH, OTHERS)] {
        let hub = hub().await;
        publish(plan(hub.pid(), WINDOW), spread(&feed(&hub), 4, 4, requests).await).await;
        hubs.push(hub);
    }
    let (mut costs, mut rates) = ([0.0; 2], [0.0; 2]);
    for turn in 0..8 {
        let kind = turn % 2;
        let replayed = replay(&hubs[kind], RECEIVER, "system/s0", count * BATCH).await;
        // The first of each warms.
        if turn > 1 {
            costs[kind] += replayed.cpu;
            rates[kind] += 1.0 / replayed.rate;
        }
    }
    out.insert("vis.replay", 100.0 * (costs[1] / costs[0] - 1.0));
    out.insert("vis.replay_time", 100.0 * (rates[1] / rates[0] - 1.0));
    for hub in hubs {
        end(hub).await;
    }
}

/// What visibility costs publishing, and fan-out to eight and to sixty-four.
pub async fn fan_out_cost(items: &mut Items, sizes: &Sizes, out: &mut Readings) {
    for (listeners, reading) in [(0, "vis.publish"), (8, "vis.fan8"), (64, "vis.fan64")] {
        let count = sizes.batched / BATCH / if listeners > LIVE { 8 } else { 2 };
        let mut costs = [0.0; 2];
        for turn in 0..6 {
            let kind = turn % 2;
            let requests = match kind {
                0 => items.clear(count, BATCH, OTHERS),
                _ => items.shared(count, BATCH, OTHERS),
            };
            let hub = hub().await;
            costs[kind] += listen(&hub, requests, listeners).await.spent;
            end(hub).await;
        }
        out.insert(reading, 100.0 * (costs[1] / costs[0] - 1.0));
    }
}

/// What it took that some heard what one published.
struct Listened {
    /// Until the last one had heard all of it.
    seconds: f64,
    /// Of the hub's processors, publishing included.
    spent: f64,
}

/// Lets `listeners` hear what one publishes.
async fn listen(hub: &TestHub, requests: Vec<Encoded>, listeners: usize) -> Listened {
    let count: usize = requests.iter().map(|request| request.items).sum();
    let mut heard = Vec::new();
    for number in 0..listeners {
        let target = target(hub, RECEIVER, &format!("system/s{}", number % LIVE));
        heard.push(subscribe(target.connect().await.unwrap(), v1::StartPosition::Latest).await);
    }
    let loads = spread(&feed(hub), 1, 1, requests).await;
    let before = process::cpu(hub.pid());
    let (_, seconds) =
        tokio::join!(publish(plan(hub.pid(), WINDOW), loads), hear(heard, count, wire::events));
    let spent = process::cpu(hub.pid()).saturating_sub(before).as_secs_f64();
    Listened { seconds, spent }
}

/// P6: what one publisher sends reaches so many who listen.
pub async fn fan_out(items: &mut Items, sizes: &Sizes, out: &mut Readings) {
    for (listeners, rate, cpu, limit, limit_cpu) in [
        (8, "p6.rate8", "p6.cpu8", "relay8.rate", "relay8.cpu"),
        (64, "p6.rate64", "p6.cpu64", "relay64.rate", "relay64.cpu"),
    ] {
        let hub = hub().await;
        let count = sizes.batched / BATCH / if listeners > LIVE { 8 } else { 2 };
        let requests = items.addressed(count, BATCH, 1);
        let deliveries = (count * BATCH * listeners) as f64;
        let Listened { seconds, spent } = listen(&hub, requests.clone(), listeners).await;
        out.insert(rate, deliveries / seconds);
        out.insert(cpu, spent / (deliveries / 1e6));
        if sizes.limits {
            let server = raw::Server::start(&hub.dir().join("pki"), hub.dir()).await;
            let raw_target = Target { address: server.address, ..feed(&hub) };
            let mut heard = Vec::new();
            for _ in 0..listeners {
                let (keep, none) = mpsc::channel(1);
                let channel = raw_target.connect().await.unwrap();
                let answers = wire::open(channel, raw::LISTEN, &[], ReceiverStream::new(none)).await.unwrap();
                heard.push((answers, keep));
            }
            let before = process::cpu(server.pid());
            let loads = spread(&raw_target, 1, 1, requests).await;
            let plan = super::load::Plan {
                path: raw::BIDI,
                metadata: &[("reply-bytes", BATCH * 57)],
                window: WINDOW,
                pid: server.pid(),
                count: None,
            };
            let (_, elapsed) = tokio::join!(publish(plan, loads), hear(heard, count, |_| 1));
            out.insert(limit, deliveries / elapsed);
            let spent = process::cpu(server.pid()).saturating_sub(before).as_secs_f64();
            out.insert(limit_cpu, spent / (deliveries / 1e6));
        }
        end(hub).await;
    }
}

/// Seconds until everyone has heard `total`, from the first that anyone heard.
async fn hear(heard: Vec<Heard>, total: usize, count: fn(&[u8]) -> usize) -> f64 {
    let first = Arc::new(Barrier::new(heard.len() + 1));
    let listeners: Vec<_> = heard
        .into_iter()
        .map(|(mut answers, keep)| {
            let first = Arc::clone(&first);
            tokio::spawn(async move {
                let _keep = keep;
                first.wait().await;
                let mut got = 0;
                while got < total {
                    got += count(&answers.message().await.unwrap().expect("the stream goes on"));
                }
            })
        })
        .collect();
    first.wait().await;
    let started = Instant::now();
    for listener in listeners {
        listener.await.unwrap();
    }
    started.elapsed().as_secs_f64()
}
