//! A clock that is wrong cuts nothing off.

use luytre::base::clock::Clock as _;
use luytre::hub::Open;
use luytre::hub::Start;

use super::super::model::{Item, Model, Op};
use super::super::support::Engine;
use super::dropping::{ALPHA, all, found, open, revoke};
use super::{DAY, HOUR, engine, keep_less, policy, settle, verified};

async fn two_versions(engine: &Engine) -> Model {
    let mut model = Model::default();
    for note in 0..2 {
        let item = Item { value: 0, marking: 1, labels: 0, note, reinstate: false };
        model.apply(engine, &Op::Publish { org: 0, items: vec![item] }).await;
        engine.clock.advance(HOUR);
    }
    model
}

async fn kept(engine: &Engine, model: &Model) -> usize {
    engine.hub.versions(&engine.caller(0), model.records[0].id, 10, "").await.unwrap().versions.len()
}

#[tokio::test]
async fn a_hub_that_starts_with_a_clock_a_year_ahead_drops_nothing_once_it_is_set_right() {
    let engine = engine(vec![]);
    let model = two_versions(&engine).await;
    let right = engine.clock.now().as_micros();
    let engine = engine.reopen(|_| ()).await;
    engine.clock.set(right + 365 * DAY);
    settle(&engine).await;
    // It is noticed a day later.
    engine.clock.set(right + DAY);
    settle(&engine).await;
    for _ in 0..4 {
        engine.clock.advance(DAY);
        settle(&engine).await;
    }
    assert_eq!(kept(&engine, &model).await, 2);
    let open = Open { start: Some(Start::Earliest), credit: 9, ..Open::default() };
    let mut stream = engine.stream(0, open).await.unwrap();
    assert_eq!(stream.any().await.kind, 1, "all of the log is there");
    stream.leave().await;
    verified(&engine);
    // In its time it goes.
    engine.clock.advance(20 * DAY);
    keep_less(&engine).await;
    assert_eq!(kept(&engine, &model).await, 1);
}

#[tokio::test]
async fn what_is_planned_waits_for_its_time() {
    let engine = engine(vec![]);
    let model = two_versions(&engine).await;
    engine.clock.advance(11 * DAY);
    settle(&engine).await;
    engine.clock.advance(3 * DAY - HOUR);
    settle(&engine).await;
    assert_eq!(kept(&engine, &model).await, 2);
    engine.clock.advance(HOUR);
    settle(&engine).await;
    assert_eq!(kept(&engine, &model).await, 1);
}

#[tokio::test]
async fn a_policy_that_keeps_more_by_now_calls_off_what_was_planned() {
    let engine = engine(vec![]);
    let model = two_versions(&engine).await;
    engine.clock.advance(11 * DAY);
    settle(&engine).await;
    let engine = engine
        .reopen(|options| {
            let longer = luytre::model::retention::Retention { history: super::days(100), ..policy(vec![]) };
            options.retention = Some(std::sync::Arc::new(longer));
        })
        .await;
    keep_less(&engine).await;
    assert_eq!(kept(&engine, &model).await, 2);
}

/// A record that ended, below the base, of a hub without rules.
async fn ended() -> (Engine, uuid::Uuid) {
    let engine = engine(vec![]);
    let id = open(&engine, "gone.example").await;
    revoke(&engine, ALPHA, id).await;
    engine.clock.advance(20 * DAY);
    open(&engine, "later.example").await;
    keep_less(&engine).await;
    (engine, id)
}

#[tokio::test]
async fn a_rule_that_is_new_waits_as_well_and_can_be_taken_back() {
    let (engine, id) = ended().await;
    let with = |rules| {
        move |options: &mut luytre::hub::Options| {
            options.retention = Some(std::sync::Arc::new(policy(rules)));
        }
    };
    let engine = engine.reopen(with(all())).await;
    settle(&engine).await;
    engine.clock.advance(3 * DAY - HOUR);
    settle(&engine).await;
    assert!(found(&engine, id).await);
    // Taken back, and asked for again later: it waits anew.
    let engine = engine.reopen(with(all().into_iter().rev().take(1).collect())).await;
    settle(&engine).await;
    engine.clock.advance(HOUR);
    let engine = engine.reopen(with(all())).await;
    settle(&engine).await;
    assert!(found(&engine, id).await);
    engine.clock.advance(3 * DAY - HOUR);
    let engine = engine.reopen(|_| ()).await;
    settle(&engine).await;
    assert!(found(&engine, id).await);
    engine.clock.advance(HOUR);
    settle(&engine).await;
    assert!(!found(&engine, id).await);
    verified(&engine);
}

#[tokio::test]
async fn a_rule_that_was_met_by_a_clock_ahead_waits_once_that_is_set_right() {
    let (engine, id) = ended().await;
    let right = engine.clock.now().as_micros();
    engine.clock.set(right + 365 * DAY);
    let rules = |options: &mut luytre::hub::Options| {
        options.retention = Some(std::sync::Arc::new(policy(all())));
    };
    let engine = engine.reopen(rules).await;
    settle(&engine).await;
    engine.clock.set(right + HOUR);
    settle(&engine).await;
    engine.clock.advance(3 * DAY - HOUR);
    settle(&engine).await;
    assert!(found(&engine, id).await);
    engine.clock.advance(HOUR);
    settle(&engine).await;
    assert!(!found(&engine, id).await);
}
