//! What ends by itself: every indicator expires once, when its newest
//! `valid_until` has passed, and whoever had it hears of it.

use std::collections::BTreeSet;

use luytre::base::clock::Timestamp;
use luytre::hub::{self, Effect, Open, Start, verify};
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, State, normalise};
use luytre::model::query::IndicatorFilter;
use luytre::wire::proto::v1;
use prost::Message as _;
use uuid::Uuid;

use super::model::marking;
use super::support::{Engine, Event, START};

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

const NEW: i32 = 1;
const EXPIRED: i32 = 5;

fn draft(value: u16, until: Option<u64>, note: u8) -> Draft {
    let [high, low] = value.to_be_bytes();
    let observable = normalise::detect(&format!("198.51.{high}.{low}")).unwrap().observable;
    Draft {
        valid_until: until.map(Timestamp::from_micros_clamped),
        description: format!("note {note}"),
        ..Draft::new(observable, marking(1))
    }
}

async fn publish(engine: &Engine, drafts: Vec<Draft>) -> Vec<(Uuid, Effect)> {
    let drafts = drafts.into_iter().map(Ok).collect();
    let answers = engine.hub.publish(&engine.caller(0), Uuid::new_v4(), drafts).await.unwrap();
    answers.into_iter().map(|answer| answer.unwrap()).map(|done| (done.id, done.effect)).collect()
}

async fn revoke(engine: &Engine, org: usize, id: Uuid) -> v1::Indicator {
    let revocation = Revocation { reason: RevocationReason::Withdrawn, note: String::new() };
    let answer = engine.hub.revoke(&engine.caller(org), Uuid::new_v4(), id, revocation, None).await;
    v1::Indicator::decode(answer.unwrap()).unwrap()
}

/// Ends all that is due, and says how many indicators that was.
async fn expire(engine: &Engine) -> u64 {
    let mut count = 0;
    loop {
        let expired = engine.hub.expire().await.unwrap();
        count += expired.indicators;
        if !expired.more {
            return count;
        }
    }
}

async fn events(engine: &Engine, viewer: usize, filter: IndicatorFilter) -> Vec<Event> {
    let open = Open { start: Some(Start::Earliest), filter, ..Open::default() };
    let mut stream = engine.stream(viewer, open).await.unwrap();
    let events = stream.drain(1_000).await.into_iter().flat_map(|batch| batch.events).collect();
    stream.leave().await;
    events
}

fn told(events: &[Event]) -> Vec<(i32, String)> {
    events.iter().map(|event| (event.kind, event.indicator.as_ref().unwrap().name.clone())).collect()
}

async fn state(engine: &Engine, id: Uuid) -> i32 {
    let found = engine.hub.get(&engine.caller(0), id).await.unwrap();
    v1::Indicator::decode(found.indicator).unwrap().state
}

async fn listed(engine: &Engine, viewer: usize, filter: IndicatorFilter) -> BTreeSet<String> {
    let page = engine.hub.list(&engine.caller(viewer), filter, 1_000, "").await.unwrap();
    let name = |bytes| v1::Indicator::decode(bytes).unwrap().name;
    page.indicators.into_iter().map(name).collect()
}

fn in_state(state: State) -> IndicatorFilter {
    IndicatorFilter { states: vec![state], ..IndicatorFilter::default() }
}

async fn verified(engine: Engine) -> hub::VerifyReport {
    let path = engine.path().to_owned();
    let _dir = engine.close().await;
    let report = verify(&path, |_| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.differences);
    report
}

#[tokio::test]
async fn an_indicator_expires_to_the_microsecond_and_once() {
    let engine = Engine::new();
    let id = publish(&engine, vec![draft(1, Some(START + HOUR + 5), 0)]).await[0].0;
    assert_eq!(expire(&engine).await, 0);
    engine.clock.set(START + HOUR + 4);
    assert_eq!((expire(&engine).await, state(&engine, id).await), (0, 1));
    engine.clock.set(START + HOUR + 5);
    assert_eq!((expire(&engine).await, state(&engine, id).await), (1, 3));
    engine.clock.advance(DAY);
    assert_eq!(expire(&engine).await, 0);
    let engine = engine.reopen(|_| ()).await;
    assert_eq!(expire(&engine).await, 0);
    let seen = events(&engine, 1, IndicatorFilter::default()).await;
    let name = format!("indicators/{id}");
    assert_eq!(told(&seen), [(NEW, name.clone()), (EXPIRED, name.clone())]);
    let expired = seen[1].indicator.as_ref().unwrap();
    assert_eq!((expired.state, &*expired.description), (3, "note 0"), "the whole of it comes");
    assert_eq!(listed(&engine, 1, in_state(State::Expired)).await, BTreeSet::from([name]));
    assert!(listed(&engine, 1, IndicatorFilter::default()).await.is_empty());
    let value = draft(1, None, 0).observable;
    assert_eq!(engine.hub.lookup(&engine.caller(1), vec![value]).await.unwrap()[0][0].state, State::Expired);
    verified(engine).await;
}

#[tokio::test]
async fn the_same_content_leaves_it_expired_and_a_version_that_holds_brings_it_back_as_new() {
    let engine = Engine::new();
    let first = draft(1, Some(START + SECOND), 0);
    let id = publish(&engine, vec![first.clone()]).await[0].0;
    engine.clock.advance(SECOND);
    assert_eq!(expire(&engine).await, 1);
    assert_eq!(publish(&engine, vec![first]).await, [(id, Effect::Unchanged)]);
    assert_eq!(state(&engine, id).await, 3);
    // Another one that is past too changes what is on record, for nobody.
    assert_eq!(publish(&engine, vec![draft(1, Some(START), 1)]).await, [(id, Effect::Updated)]);
    assert_eq!(state(&engine, id).await, 3);
    assert_eq!(publish(&engine, vec![draft(1, Some(START + DAY), 1)]).await, [(id, Effect::Updated)]);
    assert_eq!(state(&engine, id).await, 1);
    engine.clock.advance(DAY);
    assert_eq!(expire(&engine).await, 1);
    assert_eq!(publish(&engine, vec![draft(1, None, 1)]).await, [(id, Effect::Updated)]);
    let kinds: Vec<_> =
        events(&engine, 1, IndicatorFilter::default()).await.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [NEW, EXPIRED, NEW, EXPIRED, NEW]);
    verified(engine).await;
}

#[tokio::test]
async fn what_is_past_its_validity_as_it_comes_is_on_record_and_never_new() {
    let engine = Engine::new();
    engine.clock.advance(DAY);
    let mut drafts: Vec<_> = (0..3).map(|value| draft(value, Some(START + HOUR), 0)).collect();
    // Exactly now is past.
    drafts.push(draft(3, Some(START + DAY), 0));
    let past = publish(&engine, drafts.clone()).await;
    assert!(past.iter().all(|(_, effect)| *effect == Effect::Created), "{past:?}");
    let held = publish(&engine, vec![draft(9, None, 0)]).await[0].0;
    assert_eq!(expire(&engine).await, 0);
    assert!(publish(&engine, drafts).await.iter().all(|(_, effect)| *effect == Effect::Unchanged));
    // One that a subscriber has ends by an update that says so.
    publish(&engine, vec![draft(9, Some(START + HOUR), 0)]).await;
    let name = format!("indicators/{held}");
    let seen = events(&engine, 1, IndicatorFilter::default()).await;
    assert_eq!(told(&seen), [(NEW, name.clone()), (EXPIRED, name)]);
    assert_eq!(listed(&engine, 1, in_state(State::Expired)).await.len(), 5);
    assert_eq!(revoke(&engine, 0, past[0].0).await.state, 2);
    verified(engine).await;
}

#[tokio::test]
async fn a_hub_that_was_down_catches_up_once_in_entries_of_a_thousand() {
    let engine = Engine::new();
    // 2,500 within three weeks, and as many at one moment.
    for batch in 0..5_u64 {
        let spread = |value: u64| START + HOUR + value * (20 * DAY) / 2_500;
        let drafts = (0..1_000).map(|place| {
            let value = batch * 1_000 + place;
            let until = if value < 2_500 { spread(value) } else { START + 30 * DAY };
            draft(u16::try_from(value).unwrap(), Some(until), 0)
        });
        publish(&engine, drafts.collect()).await;
    }
    assert_eq!(expire(&engine).await, 0);
    let engine = engine.reopen(|_| ()).await;
    engine.clock.advance(25 * DAY);
    assert_eq!(expire(&engine).await, 2_500);
    let engine = engine.reopen(|_| ()).await;
    engine.clock.advance(25 * DAY);
    assert_eq!(expire(&engine).await, 2_500);
    let seen = events(&engine, 1, IndicatorFilter::default()).await;
    let expired: Vec<_> = seen.iter().filter(|event| event.kind == EXPIRED).collect();
    let names: BTreeSet<_> = expired.iter().map(|e| &e.indicator.as_ref().unwrap().name).collect();
    assert_eq!((expired.len(), names.len(), seen.len()), (5_000, 5_000, 10_000));
    let untils: Vec<_> =
        expired.iter().map(|e| e.indicator.as_ref().unwrap().valid_until.unwrap().seconds).collect();
    assert!(untils.is_sorted(), "what was due first ends first");
    let report = verified(engine).await;
    // The beginning, five publications, and twice three to expire 2,500.
    assert_eq!((report.entries, report.items), (1 + 5 + 6, 10_000));
}

#[tokio::test]
async fn a_restored_hub_expires_what_its_backup_had_not_and_nothing_twice() {
    let engine = Engine::new();
    let ids =
        publish(&engine, (1..=3).map(|v| draft(v, Some(START + u64::from(v) * DAY), 0)).collect()).await;
    engine.clock.advance(DAY);
    assert_eq!(expire(&engine).await, 1);
    let (backup, restored) = (engine.dir.path().join("backup"), engine.dir.path().join("restored"));
    engine.hub.backup(&backup).unwrap();
    engine.clock.advance(DAY);
    assert_eq!(expire(&engine).await, 1);
    hub::restore(&backup, &restored, engine.clock.as_ref()).unwrap();
    let engine = engine.reopen(|options| options.data_dir = restored.clone()).await;
    engine.clock.advance(DAY);
    assert_eq!(expire(&engine).await, 2);
    let seen = told(&events(&engine, 1, IndicatorFilter::default()).await);
    let expired: Vec<_> = ids.iter().map(|(id, _)| (EXPIRED, format!("indicators/{id}"))).collect();
    assert_eq!(seen[3..], expired);
    verified(engine).await;
}

#[tokio::test]
async fn what_was_published_while_the_clock_was_set_back_expires_too() {
    let engine = Engine::new();
    engine.clock.advance(3 * DAY);
    publish(&engine, vec![draft(1, Some(START + 3 * DAY + SECOND), 0)]).await;
    engine.clock.advance(DAY);
    assert_eq!(expire(&engine).await, 1);
    engine.clock.set(START);
    publish(&engine, vec![draft(2, Some(START + 2 * DAY), 0), draft(3, Some(START + HOUR), 0)]).await;
    engine.clock.set(START + DAY);
    assert_eq!(expire(&engine).await, 1);
    let engine = engine.reopen(|_| ()).await;
    engine.clock.set(START + 9 * DAY);
    assert_eq!(expire(&engine).await, 1);
    verified(engine).await;
}
