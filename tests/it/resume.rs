//! A subscriber that is cut at any moment goes on exactly where it was: by
//! token or cursor, from memory or from the log, through a crash and a
//! restore, with a filter and without.

use std::collections::BTreeSet;

use luytre::model::principal::Role;
use luytre::wire::proto::v1;

use crate::harness::listener::{End, reason};
use crate::harness::patience::patiently;
use crate::harness::{Heard, Listener, Publisher, Seed, TestHub, amber, draft};

/// The smallest ring that a hub takes.
const CONFIG: &str = "[limits]\nring_bytes = \"1MiB\"\nheartbeat = \"1s\"";
/// Items of 10 KiB that a ring of 1 MiB cannot hold.
const MORE_THAN_THE_RING: u64 = 300;

async fn hub() -> TestHub {
    TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher])
        .principal("b", "system/fw", &[Role::Subscriber])
        .principal("c", "system/fw", &[Role::Subscriber])
        .config(CONFIG)
        .start()
        .await
}

/// Item `number`: every fifth for organisation `c` only; 10 KiB long.
fn item(_: usize, number: u64) -> (String, v1::IndicatorDraft) {
    let value = format!("i{number}.resume.example");
    let mut draft = draft(&value);
    draft.labels = vec![if number.is_multiple_of(2) { "even" } else { "odd" }.to_owned()];
    draft.description = "x".repeat(10_000);
    (value, if number.is_multiple_of(5) { amber(draft, &["c"]) } else { draft })
}

fn feed(hub: &TestHub, seed: &mut Seed) -> Publisher {
    Publisher::new(hub.peer("a", "system/feed"), seed.fork(), 0, item)
}

/// Publishes `count` items in batches of random size.
async fn publish(feed: &mut Publisher, seed: &mut Seed, count: u64) {
    let mut left = count;
    while left > 0 {
        let batch = seed.between(1, 40).min(left);
        feed.publish(batch).await.unwrap();
        left -= batch;
    }
    assert!(feed.problems.is_empty(), "{:?}", feed.problems);
}

/// Numbers of the items that a listener of this name is to hear.
fn wanted(who: &str, items: impl Iterator<Item = u64>) -> Vec<u64> {
    items
        .filter(|number| {
            (who.starts_with('c') || !number.is_multiple_of(5))
                && (!who.ends_with("even") || number.is_multiple_of(2))
        })
        .collect()
}

fn number(heard: &Heard) -> u64 {
    heard.value.trim_start_matches('i').split('.').next().unwrap().parse().unwrap()
}

fn numbers(listener: &Listener) -> Vec<u64> {
    listener.heard.iter().map(number).collect()
}

/// One of each: by token and by cursor, filtered and not, who sees all and
/// who does not.
fn listeners(hub: &TestHub) -> Vec<Listener> {
    let even = || v1::IndicatorFilter { labels: vec!["even".to_owned()], ..Default::default() };
    let (b, c) = (|| hub.peer("b", "system/fw"), || hub.peer("c", "system/fw"));
    vec![
        Listener::new(b(), "b by token"),
        Listener::new(b(), "b by token, even").filtered(even()),
        Listener::new(b(), "b by cursor").named("b", "all"),
        Listener::new(c(), "c by cursor, even").named("c", "half").filtered(even()),
        Listener::new(c(), "c by token"),
    ]
}

/// Listens to the end of what is there for it.
async fn hear(listener: Listener, seed: &mut Seed, items: u64) -> Listener {
    let last = wanted(listener.who(), 0..items).pop().unwrap();
    let listener = listener
        .listen_until(seed.fork(), move |heard| heard.last().is_some_and(|heard| number(heard) >= last));
    let listener = patiently("a listener hears the last event", listener).await;
    assert!(listener.problems.is_empty(), "{:#?}", listener.problems);
    listener
}

fn assert_exact(listener: &Listener, items: u64) {
    assert_eq!(numbers(listener), wanted(listener.who(), 0..items), "{}", listener.who());
    let ids: BTreeSet<_> = listener.heard.iter().map(|heard| &heard.event_id).collect();
    assert_eq!(ids.len(), listener.heard.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_cut_at_random_hear_everything_once_and_in_order() {
    let mut seed = Seed::of_this_run("resume");
    let mut hub = hub().await;
    let total = 2 * MORE_THAN_THE_RING;
    let running: Vec<_> = listeners(&hub)
        .into_iter()
        .map(|listener| {
            let mut seed = seed.fork();
            tokio::spawn(async move { hear(listener, &mut seed, total).await })
        })
        .collect();
    let mut feed = feed(&hub, &mut seed);
    publish(&mut feed, &mut seed, total).await;
    for listener in running {
        assert_exact(&listener.await.unwrap(), total);
    }
    hub.terminate().await;
    hub.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_was_away_longer_than_the_ring_catches_up_from_the_log() {
    let mut seed = Seed::of_this_run("catch-up");
    let hub = hub().await;
    let mut feed = feed(&hub, &mut seed);
    publish(&mut feed, &mut seed, 50).await;
    let mut away = Vec::new();
    for listener in listeners(&hub) {
        away.push(hear(listener, &mut seed, 50).await);
    }
    publish(&mut feed, &mut seed, MORE_THAN_THE_RING).await;
    for listener in away {
        let listener = hear(listener, &mut seed, 50 + MORE_THAN_THE_RING).await;
        assert_exact(&listener, 50 + MORE_THAN_THE_RING);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_gives_no_credit_misses_nothing_when_the_ring_moves_on() {
    let mut seed = Seed::of_this_run("stall");
    let hub = hub().await;
    let mut feed = feed(&hub, &mut seed);
    publish(&mut feed, &mut seed, 10).await;
    let mut stalled = Listener::new(hub.peer("c", "system/fw"), "c by token");
    let (resume, stalling) = stalled.stalling();
    let running = tokio::spawn({
        let mut seed = seed.fork();
        async move {
            let total = 10 + MORE_THAN_THE_RING;
            let end = stalled.session(&mut seed, u64::MAX, |heard| heard.len() as u64 == total).await;
            (stalled, end)
        }
    });
    patiently("the reader stalls", stalling).await.unwrap();
    publish(&mut feed, &mut seed, MORE_THAN_THE_RING).await;
    resume.send(()).unwrap();
    let (listener, end) = patiently("the reader hears the rest", running).await.unwrap();
    assert!(matches!(end, End::Done), "{end:?}");
    assert!(listener.problems.is_empty(), "{:?}", listener.problems);
    assert_exact(&listener, 10 + MORE_THAN_THE_RING);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_go_on_after_a_crash_of_the_hub() {
    let mut seed = Seed::of_this_run("crash");
    let mut hub = hub().await;
    let mut feed = feed(&hub, &mut seed);
    let mut all = listeners(&hub);
    let mut total = 0;
    for _ in 0..4 {
        publish(&mut feed, &mut seed, 60).await;
        total += 60;
        let mut heard = Vec::new();
        for listener in all {
            heard.push(hear(listener, &mut seed, total - 7).await);
        }
        all = heard;
        hub.kill9();
        hub.serve().await;
    }
    for listener in all {
        assert_exact(&hear(listener, &mut seed, total).await, total);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_go_on_after_a_restore_and_those_ahead_of_it_are_told() {
    let mut seed = Seed::of_this_run("restore");
    let mut hub = hub().await;
    let mut feed = feed(&hub, &mut seed);
    publish(&mut feed, &mut seed, 60).await;
    let mut behind = Vec::new();
    for listener in listeners(&hub) {
        behind.push(hear(listener, &mut seed, 31).await);
    }
    let backup = hub.backup("backup");
    publish(&mut feed, &mut seed, 40).await;
    let mut ahead =
        hear(Listener::new(hub.peer("c", "system/fw"), "c by token").keeping_every_token(), &mut seed, 100)
            .await;
    assert_exact(&ahead, 100);

    hub.terminate().await;
    hub.restore(&backup);
    hub.verify();
    hub.serve().await;
    let end = ahead.session(&mut seed, u64::MAX, |_| false).await;
    let End::Broken(status) = end else { panic!("a token from after the backup was taken: {end:?}") };
    assert_eq!(reason(&status).as_deref(), Some("RESUME_TOKEN_EXPIRED"), "{status:?}");

    // What was lost is published again under new positions, and goes to all.
    let mut again = Publisher::new(hub.peer("a", "system/feed"), seed.fork(), 0, item).starting_at(60);
    publish(&mut again, &mut seed, 70).await;
    let before: BTreeSet<_> = ahead.heard[60..].iter().map(|heard| heard.event_id.clone()).collect();
    for listener in behind {
        let listener = hear(listener, &mut seed, 130).await;
        assert_exact(&listener, 130);
        assert!(
            listener.heard.iter().all(|heard| !before.contains(&heard.event_id)),
            "a position was issued twice"
        );
    }
    hub.terminate().await;
    hub.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_restored_twice_issues_no_position_twice() {
    let mut seed = Seed::of_this_run("restore twice");
    let mut hub = hub().await;
    let mut feed = feed(&hub, &mut seed);
    publish(&mut feed, &mut seed, 5).await;
    let backup = hub.backup("backup");
    let mut lives = Vec::new();
    for _ in 0..2 {
        hub.terminate().await;
        hub.restore(&backup);
        hub.serve().await;
        let mut feed = Publisher::new(hub.peer("a", "system/feed"), seed.fork(), 0, item).starting_at(5);
        publish(&mut feed, &mut seed, 5).await;
        let listener = Listener::new(hub.peer("c", "system/fw"), "c by token").keeping_every_token();
        let listener = hear(listener, &mut seed, 10).await;
        assert_exact(&listener, 10);
        lives.push(listener);
    }
    let ids = |listener: &Listener| listener.heard[5..].iter().map(|heard| heard.event_id.clone()).collect();
    let (first, second): (BTreeSet<_>, BTreeSet<_>) = (ids(&lives[0]), ids(&lives[1]));
    assert!(first.is_disjoint(&second), "event ids were issued twice");
    let End::Broken(status) = lives[0].session(&mut seed, u64::MAX, |_| false).await else {
        panic!("a token of the first life was taken in the second")
    };
    let reason = reason(&status).unwrap_or_default();
    assert!(reason.starts_with("RESUME_TOKEN_"), "{status:?}");
}
