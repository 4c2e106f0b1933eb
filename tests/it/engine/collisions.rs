//! An owner is told when another publishes a value that it holds hidden from
//! it; whoever published is told nothing, by no answer and by no delay.

use std::sync::Arc;
use std::time::Duration;

use luytre::base::clock::Clock;
use luytre::hub::{Hub, Open, Published, Start};
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, normalise};
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::store::Calls;
use luytre::wire::proto::v1;
use prost::Message as _;
use uuid::Uuid;

use super::support::{Engine, Event, Stream, block_on, slug};
use crate::harness::patience::patiently;

const ALPHA: usize = 0;
const BRAVO: usize = 1;
const CHARLIE: usize = 2;
const DELTA: usize = 3;
const VALUE: &str = "198.51.100.23";
const COLLISION: i32 = 7;

/// A hub that writes what it owes at once, or after a while.
fn hub(delay: Duration) -> Engine {
    Engine::with(|options| options.debt_delay = delay)
}

fn prompt() -> Engine {
    hub(Duration::ZERO)
}

fn to(tlp: Tlp, organisations: &[usize]) -> Marking {
    let mut organisations: Vec<_> = organisations.iter().map(|&org| slug(org)).collect();
    organisations.sort();
    Marking { tlp, recipients: Recipients { organisations, ..Recipients::default() }, caveats: Caveats::NONE }
}

/// TLP:RED to one person of `org`.
fn red(hub: &Engine, org: usize) -> Marking {
    let mut marking = to(Tlp::Red, &[]);
    marking.recipients.principals = vec![hub.caller(org).identity().clone()];
    marking
}

async fn publish(hub: &Engine, org: usize, value: &str, marking: Marking) -> Published {
    described(hub, org, value, marking, "").await
}

async fn described(hub: &Engine, org: usize, value: &str, marking: Marking, text: &str) -> Published {
    let observable = normalise::detect(value).unwrap().observable;
    let draft = Draft { description: text.to_owned(), ..Draft::new(observable, marking) };
    let results = hub.hub.publish(&hub.caller(org), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    results.into_iter().next().unwrap().unwrap()
}

async fn follow(hub: &Engine, org: usize) -> Stream {
    let open = Open { start: Some(Start::Earliest), credit: 1_000, include_notices: true, ..Open::default() };
    hub.stream(org, open).await.unwrap()
}

/// Waits until nothing is owed any more: the hub has committed `commits`
/// times since it was opened.
async fn settled(hub: &Engine, commits: u64) {
    let settling = async {
        while hub.hub.store_calls().commits < commits {
            tokio::task::yield_now().await;
        }
    };
    patiently("what is owed is written", settling).await;
}

/// What `org` was told so far.
async fn told(hub: &Engine, org: usize) -> Vec<v1::Collision> {
    let mut stream = follow(hub, org).await;
    let batches = stream.drain(10).await;
    stream.leave().await;
    let events = batches.into_iter().flat_map(|batch| batch.events);
    events
        .filter_map(|event| {
            assert_eq!(event.collision.is_some(), event.kind == COLLISION);
            event.collision
        })
        .collect()
}

async fn got(hub: &Engine, org: usize, id: Uuid) -> Vec<v1::Collision> {
    let found = hub.hub.get(&hub.caller(org), id).await.unwrap();
    found.collisions.into_iter().map(|encoded| v1::Collision::decode(encoded).unwrap()).collect()
}

fn named(id: Uuid) -> String {
    format!("indicators/{id}")
}

async fn verified(hub: Engine) {
    let dir = hub.close().await;
    let report = luytre::hub::verify(&dir.path().join("hub"), |_| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.differences);
}

#[test]
fn an_owner_is_told_once_of_each_record_of_another_and_nobody_else_is() {
    block_on(async {
        let hub = prompt();
        let held = publish(&hub, ALPHA, VALUE, red(&hub, DELTA)).await;
        let mut live = follow(&hub, ALPHA).await;
        let other = publish(&hub, BRAVO, VALUE, to(Tlp::Green, &[])).await;
        let first = live.until(COLLISION).await.collision.unwrap();
        live.leave().await;
        assert_eq!(first.indicator, named(held.id));
        assert!(first.name.starts_with(&format!("{}/collisions/", named(held.id))));
        let at = first.publish_time.unwrap();
        assert_eq!(u64::try_from(at.seconds).unwrap(), other.version / 1_000_000);
        assert_eq!(
            (first.other.as_str(), first.other_owner.as_str()),
            (named(other.id).as_str(), "organisations/bravo")
        );
        // Neither the same again nor a new version is news; another's is.
        described(&hub, BRAVO, VALUE, to(Tlp::Green, &[]), "more").await;
        let third = publish(&hub, CHARLIE, VALUE, to(Tlp::Amber, &[BRAVO])).await;
        let mut live = follow(&hub, ALPHA).await;
        // Both may come in one batch.
        let is_second = |event: &Event| event.collision.as_ref().is_some_and(|told| told.other.is_empty());
        let second = live.take_until(100, is_second).await.pop().unwrap().collision.unwrap();
        live.leave().await;
        assert_eq!(
            (second.other.as_str(), second.other_owner.as_str()),
            ("", ""),
            "it may not see {third:?}"
        );
        assert_eq!(told(&hub, ALPHA).await, [first.clone(), second.clone()]);
        for org in [BRAVO, CHARLIE, DELTA] {
            assert_eq!(told(&hub, org).await, [], "{org}");
        }
        // It may ask later, and only the owner gets an answer.
        assert_eq!(got(&hub, ALPHA, held.id).await, [second, first]);
        assert_eq!(got(&hub, DELTA, held.id).await, []);
        verified(hub).await;
    });
}

#[test]
fn an_owner_who_lowers_a_marking_still_finds_what_he_was_told_before() {
    block_on(async {
        let hub = prompt();
        let held = publish(&hub, ALPHA, VALUE, red(&hub, DELTA)).await;
        publish(&hub, BRAVO, VALUE, to(Tlp::Green, &[])).await;
        let mut live = follow(&hub, ALPHA).await;
        live.until(COLLISION).await;
        live.leave().await;
        publish(&hub, ALPHA, VALUE, to(Tlp::Green, &[])).await;
        assert_eq!(got(&hub, ALPHA, held.id).await.len(), 1);
        assert_eq!(got(&hub, BRAVO, held.id).await, [], "who may read the record, and no more");
        verified(hub).await;
    });
}

#[test]
fn nothing_is_told_of_what_the_publisher_sees_or_no_longer_stands_or_is_for_named_eyes() {
    block_on(async {
        let hub = prompt();
        publish(&hub, ALPHA, "seen.example", to(Tlp::Amber, &[BRAVO])).await;
        publish(&hub, BRAVO, "seen.example", to(Tlp::Green, &[])).await;
        let gone = publish(&hub, ALPHA, "gone.example", to(Tlp::Amber, &[CHARLIE])).await;
        let why = Revocation { reason: RevocationReason::FalsePositive, note: String::new() };
        hub.hub.revoke(&hub.caller(ALPHA), Uuid::new_v4(), gone.id, why, None).await.unwrap();
        publish(&hub, BRAVO, "gone.example", to(Tlp::Green, &[])).await;
        // Whoever guesses must not hear when a TLP:RED record hits it.
        publish(&hub, ALPHA, "guess.example", to(Tlp::Amber, &[CHARLIE])).await;
        publish(&hub, BRAVO, "guess.example", red(&hub, DELTA)).await;
        publish(&hub, ALPHA, "own.example", red(&hub, DELTA)).await;
        described(&hub, ALPHA, "own.example", red(&hub, DELTA), "more").await;
        // The last one is told of, so all before it had their turn.
        let held = publish(&hub, ALPHA, "last.example", to(Tlp::Amber, &[CHARLIE])).await;
        publish(&hub, BRAVO, "last.example", to(Tlp::Green, &[])).await;
        let mut live = follow(&hub, ALPHA).await;
        assert_eq!(live.until(COLLISION).await.collision.unwrap().indicator, named(held.id));
        live.leave().await;
        assert_eq!(told(&hub, ALPHA).await.len(), 1);
        verified(hub).await;
    });
}

#[test]
fn what_is_owed_when_the_hub_dies_is_told_after_the_next_start() {
    block_on(async {
        // Nothing owed is written but with a request, and none comes.
        let Engine { hub: dying, clock, mut options, dir } = hub(Duration::from_secs(3_600));
        let engine = Engine {
            hub: Arc::clone(&dying),
            clock: Arc::clone(&clock),
            options: options.clone(),
            dir: Arc::clone(&dir),
        };
        let held = publish(&engine, ALPHA, VALUE, red(&engine, DELTA)).await;
        publish(&engine, BRAVO, VALUE, to(Tlp::Green, &[])).await;
        let commits = dying.store_calls().commits;
        assert_eq!(commits, 2, "the answer came before any notice");
        // Dropped without a word: the writer ends where it stands.
        drop((engine, dying));
        let report = reread(&options.data_dir).await;
        assert_eq!(report.entries, 3, "the log ends with the publication");
        options.debt_delay = Duration::ZERO;
        let engine = Engine { hub: Hub::open(options.clone()).unwrap(), clock, options, dir };
        let mut live = follow(&engine, ALPHA).await;
        assert_eq!(live.until(COLLISION).await.collision.unwrap().indicator, named(held.id));
        live.leave().await;
        let engine = engine.reopen(|_| ()).await;
        assert_eq!(told(&engine, ALPHA).await.len(), 1, "once, however often the hub starts");
        verified(engine).await;
    });
}

/// Verifies a directory as soon as the hub that had it has let go of it.
async fn reread(data_dir: &std::path::Path) -> luytre::hub::VerifyReport {
    let reading = async {
        loop {
            match luytre::hub::verify(data_dir, |_| ()) {
                Err(luytre::store::Error::Locked(_)) => tokio::task::yield_now().await,
                other => return other.unwrap(),
            }
        }
    };
    patiently("the directory", reading).await
}

#[test]
fn the_publisher_gets_the_answer_and_costs_the_store_what_a_fresh_value_does() {
    block_on(async {
        let hits = cost(VALUE).await;
        let fresh = cost("203.0.113.9").await;
        assert_eq!(hits, fresh);
    });
}

/// What publishing [`VALUE`] answers and asks of the store where `held` is
/// held hidden from the publisher.
async fn cost(held: &str) -> (String, Calls) {
    let hub = hub(Duration::from_secs(3_600));
    publish(&hub, ALPHA, held, red(&hub, DELTA)).await;
    let before = hub.hub.store_calls();
    let answer = publish(&hub, BRAVO, VALUE, to(Tlp::Amber, &[CHARLIE])).await;
    let calls = hub.hub.store_calls().since(&before);
    assert!(calls.values == 1 && calls.commits == 1 && calls.written > 0, "{calls:?}");
    assert!(answer.version >= hub.clock.now().as_micros());
    let answer = Published { id: Uuid::nil(), version: 0, ..answer };
    hub.close().await;
    (format!("{answer:?}"), calls)
}

#[test]
fn a_commit_follows_a_publication_whether_or_not_it_has_anything_to_tell() {
    block_on(async {
        for held in [VALUE, "203.0.113.9"] {
            let hub = prompt();
            settled(&hub, 1).await;
            let before = hub.hub.store_calls().commits;
            publish(&hub, ALPHA, held, red(&hub, DELTA)).await;
            settled(&hub, before + 2).await;
            publish(&hub, BRAVO, VALUE, to(Tlp::Amber, &[CHARLIE])).await;
            settled(&hub, before + 4).await;
            hub.close().await;
        }
    });
}

#[test]
fn reading_a_record_costs_the_store_the_same_however_often_it_was_hit() {
    block_on(async {
        let mut costs = Vec::new();
        for value in [VALUE, "203.0.113.9"] {
            let hub = prompt();
            let held = publish(&hub, ALPHA, VALUE, to(Tlp::Amber, &[DELTA])).await;
            publish(&hub, BRAVO, value, to(Tlp::Green, &[])).await;
            if value == VALUE {
                let mut live = follow(&hub, ALPHA).await;
                live.until(COLLISION).await;
                live.leave().await;
            }
            let hub = hub.reopen(|options| options.debt_delay = Duration::from_secs(3_600)).await;
            let before = hub.hub.store_calls();
            assert_eq!(got(&hub, DELTA, held.id).await, []);
            costs.push(hub.hub.store_calls().since(&before));
            hub.close().await;
        }
        assert_eq!(costs[0], costs[1]);
    });
}

#[test]
fn a_notice_is_sent_to_whom_asked_for_notices_only() {
    block_on(async {
        let hub = prompt();
        publish(&hub, ALPHA, VALUE, red(&hub, DELTA)).await;
        publish(&hub, BRAVO, VALUE, to(Tlp::Green, &[])).await;
        let mut live = follow(&hub, ALPHA).await;
        live.until(COLLISION).await;
        live.leave().await;
        let plain = Open { start: Some(Start::Earliest), credit: 1_000, ..Open::default() };
        let mut stream = hub.stream(ALPHA, plain.clone()).await.unwrap();
        let kinds: Vec<_> = stream.drain(10).await.iter().flat_map(|b| &b.events).map(|e| e.kind).collect();
        assert_eq!(kinds, [1, 1]);
        let token = stream.token.clone();
        stream.leave().await;
        // A token is good for what it was made for.
        let open = Open { start: Some(Start::Token(token)), include_notices: true, ..plain };
        assert!(hub.stream(ALPHA, open).await.is_err());
        hub.close().await;
    });
}
