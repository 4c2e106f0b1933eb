//! Decides how the store is weighed, and how long a hub takes to come up.

use std::time::{Duration, Instant};

use super::corpus::{BATCH, Corpus};
use super::harness::TestHub;
use super::place::{Made, Place};
use super::report::Run;
use super::table::Target;
use super::{build, hubs, process};

const MIB: f64 = 1024.0 * 1024.0;
/// The block cache as configured, in MiB.
pub const CACHE_MIB: f64 = 256.0;

/// P16: what the store takes on the disk. The hub does not run, and its
/// background has merged what it wants to; nothing more is forced.
pub fn weigh(place: &Place, made: &Made, out: &mut Run) {
    let bytes = place.bytes() as f64;
    let items = made.items.max(1) as f64;
    let encoded = made.bytes as f64 / items;
    out.figure("P16", "disk, all of it", "MiB", Target::None, bytes / MIB);
    let allowed = 1.5 * encoded + 250.0;
    out.figure(
        "P16",
        "disk for one stored item (version, sighting)",
        "B",
        Target::AtMost(allowed),
        bytes / items,
    );
    out.figure("P16", "  its encoded size", "B", Target::None, encoded);
    let created = made.created.max(1) as f64;
    out.figure(
        "P16",
        "disk for one indicator with all that happened to it",
        "B",
        Target::None,
        bytes / created,
    );
    out.figure("P16", "  stored items for each", "", Target::None, items / created);
}

/// P17: memory after all that was asked.
pub fn resident(hub: &TestHub, out: &mut Run) {
    let mib = process::resident_kib(hub.pid()) as f64 / 1024.0;
    out.figure("P17", "resident memory after the questions", "MiB", Target::AtMost(CACHE_MIB + 400.0), mib);
}

/// P18: from nothing to ready, after a good end and after none.
pub async fn start(place: &Place, corpus: &Corpus, out: &mut Run) {
    let mut hub = place.hub();
    let mut clean = Vec::new();
    for _ in 0..3 {
        place.evict();
        let started = Instant::now();
        hub.serve().await;
        clean.push(started.elapsed().as_secs_f64());
        hubs::settle(hub.pid(), Duration::from_secs(120)).await;
        let resident = process::resident_kib(hub.pid()) as f64 / 1024.0;
        if clean.len() == 1 {
            out.figure(
                "P17",
                "resident memory after a start",
                "MiB",
                Target::AtMost(CACHE_MIB + 400.0),
                resident,
            );
        }
        assert!(hub.terminate().await.success(), "the hub ends well");
    }
    clean.sort_by(f64::total_cmp);
    out.figure("P18", "cold start to ready, after a good end", "s", Target::AtMost(2.0), clean[1]);
    drop(hub);
    let copy = place.copy("killed");
    let requests = build::fresh(corpus, 800, 0);
    let mut hub = copy.hub();
    hub.serve().await;
    let published = tokio::select! {
        taken = build::more(&hub, requests) => Some(taken),
        () = tokio::time::sleep(Duration::from_secs(2)) => None,
    };
    hub.kill9();
    copy.evict();
    let started = Instant::now();
    hub.serve().await;
    let span = started.elapsed().as_secs_f64();
    let told = published.map_or_else(String::new, |items| format!(" ({items} items, all published by then)"));
    out.figure(
        "P18",
        format!("cold start to ready, after kill -9 while publishing{told}"),
        "s",
        Target::AtMost(10.0),
        span,
    );
    hubs::end(hub).await;
    copy.remove();
}

/// P20: what an item costs to publish, on a copy of the store; in processor
/// seconds of the hub for a million, until it is quiet again.
pub async fn publishing(place: &Place, corpus: &Corpus) -> f64 {
    const LISTS: u64 = 160;
    let copy = place.copy("published");
    let hub = hubs::start(&copy).await;
    // The first ones warm.
    build::more(&hub, build::fresh(corpus, 20, LISTS)).await;
    let requests = build::fresh(corpus, LISTS, 0);
    hubs::settle(hub.pid(), Duration::from_secs(120)).await;
    let before = process::cpu(hub.pid());
    let taken = build::more(&hub, requests).await;
    hubs::indexed(&hub).await;
    hubs::settle(hub.pid(), Duration::from_secs(600)).await;
    let spent = process::cpu(hub.pid()).saturating_sub(before).as_secs_f64();
    hubs::end(hub).await;
    copy.remove();
    assert!(taken > LISTS * BATCH / 2, "most of it is taken");
    spent / (taken as f64 / 1e6)
}
