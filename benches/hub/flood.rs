//! Decides how it is measured what one organisation that floods costs another:
//! the same quiet publisher alone, beside a flood that is held to its limit,
//! and beside one that is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use luytre::model::principal::Role;

use super::Sizes;
use super::harness::TestHub;
use super::items::{Items, RECEIVER, other};
use super::load::{Encoded, quantile};
use super::rows::{OTHERS, Readings, WINDOW, target};
use super::wire::{self, Target};

/// Of each flood: streams, and items in a request.
const STREAMS: usize = 4;
const BATCH: usize = 64;
/// What the one that is held may send a second.
const HELD: &str = "[log]\nfilter = \"warn\"\n[limits.organisations.held]\nitems_per_second = 20000";
/// Between two requests of the quiet one.
const PACE: Duration = Duration::from_millis(10);
/// After a flood, until the hub has worked off what it left behind.
const REST: Duration = Duration::from_secs(5);

/// P26: a request of 64 items every 10 ms, from sending to its answer.
pub async fn neighbours(items: &mut Items, sizes: &Sizes, out: &mut Readings) {
    let publishers = ["quiet", "held", "free"];
    let builder = publishers
        .into_iter()
        .fold(TestHub::builder(), |hub, name| hub.principal(name, "system/feed", &[Role::Publisher]));
    let builder = (0..OTHERS).fold(builder.organisation(RECEIVER), |hub, n| hub.organisation(&other(n)));
    let mut hub = builder.config(HELD).start().await;
    let rounds = sizes.alone;
    let quiet = target(&hub, "quiet", "system/feed");
    let own = items.requests(3 * rounds, BATCH);
    let mut own = own.into_iter();
    let mut measured = async |rounds| paced(&quiet, own.by_ref().take(rounds).collect()).await;
    // The first warms everything.
    measured(rounds).await;
    // As much before the held flood as after it: a machine has its moods.
    let mut alone = measured(rounds / 2).await;
    let mut beside = Vec::new();
    for organisation in ["held", "free"] {
        let over = Arc::new(AtomicBool::new(false));
        let requests = items.requests(8_192, BATCH);
        let flood =
            tokio::spawn(flood(target(&hub, organisation, "system/feed"), requests, Arc::clone(&over)));
        let held = organisation == "held";
        // The held one has ten seconds' worth to spend first, at its own speed.
        tokio::time::sleep(Duration::from_secs(if held { 5 } else { 1 })).await;
        beside.push(quantile(&measured(rounds / 2).await, 0.99));
        over.store(true, Ordering::Relaxed);
        flood.await.expect("no flood panics");
        if held {
            tokio::time::sleep(REST).await;
            alone.extend(measured(rounds / 2).await);
        }
    }
    alone.sort_unstable();
    let alone = quantile(&alone, 0.99);
    out.insert("p26.alone", alone);
    for ((reading, moved), beside) in
        [("p26.held", "p26.held.moved"), ("p26.free", "p26.free.moved")].into_iter().zip(beside)
    {
        out.extend([(reading, beside), (moved, beside / alone)]);
    }
    hub.terminate().await;
}

/// Sends one request after the other, at its pace; how long each waited for its
/// answer, the shortest first.
async fn paced(to: &Target, requests: Vec<Encoded>) -> Vec<Duration> {
    let channel = to.connect().await.expect("the server takes a connection");
    let mut waits = Vec::with_capacity(requests.len());
    let mut tick = tokio::time::interval(PACE);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for request in requests {
        tick.tick().await;
        let sent = Instant::now();
        wire::unary(&channel, UNARY, request.bytes).await.expect("the quiet one is not refused");
        waits.push(sent.elapsed());
    }
    waits.sort_unstable();
    waits
}

const UNARY: &str = "/luytre.v1.ExchangeService/PublishIndicators";

/// Keeps as much under way as the hub takes, again and again, until told that
/// it is over. Who is refused comes again at once.
async fn flood(to: Target, requests: Vec<Encoded>, over: Arc<AtomicBool>) {
    let channel = to.connect().await.expect("the server takes a connection");
    let mut workers = Vec::new();
    for number in 0..STREAMS * WINDOW {
        let (channel, over) = (channel.clone(), Arc::clone(&over));
        let own: Vec<_> = requests.iter().skip(number).step_by(STREAMS * WINDOW).cloned().collect();
        workers.push(tokio::spawn(async move {
            for request in own.iter().cycle() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                // Refused or not, it is what a flood does.
                if wire::unary(&channel, UNARY, request.bytes.clone()).await.is_err() {
                    tokio::time::sleep(PACE).await;
                }
            }
        }));
    }
    for worker in workers {
        worker.await.expect("no flood panics");
    }
}
