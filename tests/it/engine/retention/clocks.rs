//! A clock that is wrong cuts nothing off.

use luytre::base::clock::Clock as _;
use luytre::hub::Open;
use luytre::hub::Start;

use super::super::model::{Item, Model, Op};
use super::super::support::Engine;
use super::{DAY, HOUR, engine, keep_less, settle, verified};

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
            let longer =
                luytre::model::retention::Retention { history: super::days(100), ..super::policy(vec![]) };
            options.retention = Some(std::sync::Arc::new(longer));
        })
        .await;
    keep_less(&engine).await;
    assert_eq!(kept(&engine, &model).await, 2);
}
