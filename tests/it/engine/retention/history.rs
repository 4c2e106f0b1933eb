//! What was replaced goes, and what stood by then stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use luytre::base::clock::{Clock as _, Timestamp};
use luytre::hub::error::Reason;
use luytre::hub::{Open, Start};
use luytre::model::indicator::State;
use luytre::model::query::{IndicatorFilter, Order, Question};
use luytre::model::retention::Rule;
use luytre::wire::proto::v1;
use luytre::wire::proto::v1::subscribe_response::Message;
use proptest::prelude::*;
use prost::Message as _;

use super::super::model::{self, Item, Model, Op};
use super::super::support::{Engine, block_on, events};
use super::{DAY, HOUR, SECOND, days, engine, keep_less, policy, settle, verified};

fn item(value: u8, note: u8) -> Item {
    Item { value, marking: 1, labels: 3, note, reinstate: false }
}

fn publish(items: Vec<Item>) -> Op {
    Op::Publish { org: 0, items }
}

fn indicator(bytes: impl Into<bytes::Bytes>) -> v1::Indicator {
    v1::Indicator::decode(bytes.into()).unwrap()
}

/// What stands, by name, as a list tells it page by page.
async fn listed(engine: &Engine, viewer: usize, question: Question) -> BTreeMap<String, v1::Indicator> {
    let (mut all, mut token) = (BTreeMap::new(), String::new());
    loop {
        let page = engine.hub.list(&engine.caller(viewer), question.clone(), 3, &token).await.unwrap();
        let page_of = page.indicators.into_iter().map(indicator);
        for found in page_of {
            assert!(all.insert(found.name.clone(), found).is_none(), "each is listed once");
        }
        token = page.next_page_token;
        if token.is_empty() {
            return all;
        }
    }
}

/// What stands, as the scan of the current state brings it.
async fn scanned(engine: &Engine, viewer: usize) -> BTreeMap<String, v1::Indicator> {
    let open = Open { start: Some(Start::CurrentState), credit: 1_000, ..Open::default() };
    let mut stream = engine.stream(viewer, open).await.unwrap();
    let mut all = BTreeMap::new();
    loop {
        match stream.next().await.unwrap().unwrap() {
            Message::Batch(batch) => {
                for event in events(batch) {
                    let found = event.indicator.unwrap();
                    all.insert(found.name.clone(), found);
                }
            }
            Message::StateEnd(_) => break,
            _ => {}
        }
    }
    stream.leave().await;
    all
}

/// What a viewer is to find at a moment: versions by name.
fn stood(model: &Model, viewer: usize, at: u64) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for (number, record) in model.records.iter().enumerate() {
        let mut of = model.events.iter().filter(|e| e.record == number && e.sighting.is_none());
        let Some(last) = of.rfind(|event| event.version <= at) else { continue };
        let seen = Model::sees(viewer, last.owner, last.item.marking) && model.visible_now(viewer, number);
        if seen {
            all.insert(format!("indicators/{}", record.id.hyphenated()), last.version);
        }
    }
    all
}

fn versions(found: &BTreeMap<String, v1::Indicator>) -> BTreeMap<String, u64> {
    found.iter().map(|(name, found)| (name.clone(), found.version)).collect()
}

fn all_states() -> IndicatorFilter {
    IndicatorFilter { states: State::ALL.to_vec(), ..IndicatorFilter::default() }
}

/// Whether everything that is kept is found, whichever way it is asked for.
async fn check(engine: &Engine, model: &Model, moments: &[u64]) {
    check_without(engine, model, moments, &BTreeSet::new()).await;
}

/// The same where these were dropped.
async fn check_without(engine: &Engine, model: &Model, moments: &[u64], dropped: &BTreeSet<String>) {
    let stood = |model, viewer, at| {
        let mut all = stood(model, viewer, at);
        all.retain(|name, _| !dropped.contains(name));
        all
    };
    for viewer in 0..4 {
        let now = stood(model, viewer, u64::MAX);
        for &order in Order::ALL {
            let question = Question { order, ..Question::new(all_states()) };
            let found = listed(engine, viewer, question).await;
            assert_eq!(versions(&found), now, "{order:?}");
            found.values().for_each(|found| model.check_content(found));
        }
        let active = IndicatorFilter { states: vec![State::Active], ..IndicatorFilter::default() };
        let holding = listed(engine, viewer, Question::new(active)).await;
        assert_eq!(scanned(engine, viewer).await, holding);
        for &at in moments {
            let at = Timestamp::from_micros_clamped(at);
            let question = Question { as_of: Some(at), ..Question::new(all_states()) };
            let found = listed(engine, viewer, question).await;
            assert_eq!(versions(&found), stood(model, viewer, at.as_micros()), "as of {at}");
        }
    }
}

#[tokio::test]
async fn what_was_replaced_is_cut_out_and_what_stands_stays() {
    let (engine, mut model) = (engine(vec![]), Model::default());
    for note in 0..2 {
        model.apply(&engine, &publish((0..5).map(|value| item(value, note)).collect())).await;
        engine.clock.advance(HOUR);
    }
    let before = verified(&engine);
    let (caller, id) = (engine.caller(1), model.records[0].id);
    let then = Timestamp::from_micros_clamped(engine.clock.now().as_micros() - HOUR);
    assert!(engine.hub.get_as_of(&caller, id, then).await.is_ok());
    let open = |start| Open { start: Some(start), credit: 1_000, ..Open::default() };
    let one = Open { credit: 1, ..open(Start::Earliest) };
    let mut early = engine.stream(1, one).await.unwrap();
    early.any().await;
    let token = early.token.clone();
    early.leave().await;

    engine.clock.advance(20 * DAY);
    model.apply(&engine, &publish(vec![item(0, 0), item(10, 0)])).await;
    keep_less(&engine).await;

    let after = verified(&engine);
    assert!(after.items < before.items, "{} of {}", after.items, before.items);
    let now = engine.clock.now().as_micros();
    check(&engine, &model, &[now - 12 * DAY, now - HOUR, now]).await;
    let told = engine.hub.versions(&caller, id, 100, "").await.unwrap();
    assert_eq!(told.versions.len(), 2, "the version of the base, and the one after it");
    let kept = told.truncated_before.unwrap();
    assert!(told.versions[1].time < kept && kept < told.versions[0].time, "{kept}");
    // It says nothing of the indicator, and comes with the end.
    let other = engine.hub.versions(&caller, model.records[5].id, 100, "").await.unwrap();
    assert_eq!((other.versions.len(), other.truncated_before), (1, Some(kept)));
    let page = engine.hub.versions(&caller, id, 1, "").await.unwrap();
    assert_eq!((page.next_page_token.is_empty(), page.truncated_before), (false, None));
    // The same for everyone, and whatever is asked about.
    for id in [id, uuid::Uuid::new_v4()] {
        let refused = engine.hub.get_as_of(&caller, id, then).await.unwrap_err();
        assert_eq!(refused.reason, Reason::HistoryTruncated);
        assert!(refused.public.contains("2026-01-11T02:00:00"), "{}", refused.public);
    }
    let question = Question { as_of: Some(then), ..Question::new(IndicatorFilter::default()) };
    let refused = engine.hub.list(&caller, question, 10, "").await.unwrap_err();
    assert_eq!(refused.reason, Reason::HistoryTruncated);
    let refused = engine.stream(1, open(Start::Token(token))).await.err().unwrap();
    assert_eq!(refused.reason, Reason::ResumeTokenExpired);
    assert!(refused.public.contains("CURRENT_STATE"));
    let refused = engine.stream(1, open(Start::Time(then))).await.err().unwrap();
    assert_eq!(refused.reason, Reason::HistoryTruncated);
    // What is kept of the log is whole.
    let mut kept = engine.stream(1, open(Start::Earliest)).await.unwrap();
    let heard: Vec<_> = kept.drain(100).await.into_iter().flat_map(|batch| batch.events).collect();
    assert_eq!(heard.iter().map(|event| event.kind).collect::<Vec<_>>(), [2, 1]);
}

#[tokio::test]
async fn without_a_policy_nothing_is_ever_cut_out() {
    let (engine, mut model) = (Engine::new(), Model::default());
    for note in [0, 1, 0, 1] {
        model.apply(&engine, &publish(vec![item(0, note)])).await;
        engine.clock.advance(400 * DAY);
    }
    settle(&engine).await;
    let told = engine.hub.versions(&engine.caller(0), model.records[0].id, 100, "").await.unwrap();
    assert_eq!((told.versions.len(), told.truncated_before), (4, None));
}

#[tokio::test]
async fn a_subscriber_that_is_behind_the_base_is_told_and_one_past_it_loses_nothing() {
    let (engine, mut model) = (engine(vec![]), Model::default());
    let open = |start| Open { start: Some(start), credit: 1, ..Open::default() };
    let mut slow = engine.stream(1, open(Start::Latest)).await.unwrap();
    for value in 0..5 {
        model.apply(&engine, &publish(vec![item(value, 0)])).await;
    }
    let first = slow.any().await;
    assert_eq!(first.kind, 1);
    engine.clock.advance(20 * DAY);
    let mut quick = engine.stream(1, open(Start::Latest)).await.unwrap();
    model.apply(&engine, &publish(vec![item(0, 1)])).await;
    // The ring holds it all yet; a hub that was started anew does not.
    let token = slow.token.clone();
    slow.leave().await;
    keep_less(&engine).await;
    assert_eq!(quick.any().await.kind, 2);
    let passed = quick.token.clone();
    quick.leave().await;
    let engine = engine.reopen(|_| ()).await;
    let refused = engine.stream(1, open(Start::Token(token))).await.err().unwrap();
    assert_eq!(refused.reason, Reason::ResumeTokenExpired);
    model.apply(&engine, &publish(vec![item(1, 1)])).await;
    let mut quick = engine.stream(1, open(Start::Token(passed))).await.unwrap();
    let heard = quick.any().await;
    assert_eq!((heard.kind, heard.indicator.unwrap().version), (2, model.now(1).version));
}

#[tokio::test]
async fn a_hub_that_stops_after_any_step_goes_on_where_it_was() {
    let (mut engine, mut model) = (engine(vec![]), Model::default());
    for note in [0, 1, 0] {
        for value in 0..11 {
            model.apply(&engine, &publish(vec![item(value, note)])).await;
            model.apply(&engine, &Op::Sight { org: 1, pick: usize::from(value) }).await;
        }
        engine.clock.advance(HOUR);
    }
    engine.clock.advance(11 * DAY);
    let (mut steps, mut idle) = (0, 0);
    while idle < 2 {
        if engine.hub.retain().await.unwrap() {
            (steps, idle) = (steps + 1, 0);
            verified(&engine);
            engine = engine.reopen(|_| ()).await;
        } else {
            engine.clock.advance(3 * DAY + SECOND);
            idle += 1;
        }
    }
    assert!(steps > 3, "{steps}");
    let now = engine.clock.now().as_micros();
    check(&engine, &model, &[now]).await;
    verified(&engine);
}

#[tokio::test]
async fn a_page_that_began_before_the_base_ends_with_advice_and_not_with_a_gap() {
    let (engine, mut model) = (engine(vec![]), Model::default());
    model.apply(&engine, &publish((0..5).map(|value| item(value, 0)).collect())).await;
    let caller = engine.caller(0);
    let page = engine.hub.list(&caller, IndicatorFilter::default(), 2, "").await.unwrap();
    assert!(!page.next_page_token.is_empty());
    engine.clock.advance(HOUR);
    model.apply(&engine, &publish((0..5).map(|value| item(value, 1)).collect())).await;
    engine.clock.advance(20 * DAY);
    model.apply(&engine, &publish(vec![item(0, 0)])).await;
    keep_less(&engine).await;
    let refused = engine.hub.list(&caller, IndicatorFilter::default(), 2, &page.next_page_token).await;
    assert_eq!(refused.unwrap_err().reason, Reason::HistoryTruncated);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_hub_that_keeps_less_tells_of_what_it_keeps_as_one_that_keeps_all(
        rounds in prop::collection::vec((model::ops(8), 0_u64..14, any::<bool>()), 1..6)
    ) {
        block_on(async move {
            let (mut engine, mut model) = (engine(vec![]), Model::default());
            for (ops, passed, reopen) in rounds {
                for op in &ops {
                    model.apply(&engine, op).await;
                    engine.clock.advance(HOUR);
                }
                engine.clock.advance(passed * DAY);
                keep_less(&engine).await;
                if reopen {
                    engine = engine.reopen(|_| ()).await;
                }
                let now = engine.clock.now().as_micros();
                check(&engine, &model, &[now - 9 * DAY, now - DAY]).await;
                verified(&engine);
            }
        });
    }

    #[test]
    fn what_has_ended_is_gone_everywhere_and_nothing_else_is(
        ops in model::ops(24), later in model::ops(4), reopen: bool
    ) {
        block_on(async move {
            let (mut engine, mut model) = (Engine::new(), Model::default());
            for op in &ops {
                model.apply(&engine, op).await;
                engine.clock.advance(HOUR);
            }
            let ended = |number: &usize| model.now(*number).state == State::Revoked;
            let ended: Vec<_> = (0..model.records.len()).filter(ended).collect();
            engine.clock.advance(20 * DAY);
            for op in &later {
                model.apply(&engine, op).await;
            }
            let all = Rule { kinds: vec![], tlps: vec![], states: vec![], keep: Some(days(2)) };
            engine = engine.reopen(|options| options.retention = Some(Arc::new(policy(vec![all])))).await;
            keep_less(&engine).await;
            if reopen {
                engine = engine.reopen(|_| ()).await;
            }
            // What was brought back, or written of since, has not ended.
            let written = &model.events;
            let dropped = ended.into_iter().filter(|number| {
                let since = |event: &&model::Version| event.record == *number && event.sighting.is_none();
                let last = written.iter().rfind(since).unwrap();
                last.state == State::Revoked && last.version < engine.clock.now().as_micros() - 15 * DAY
            });
            let name = |number: usize| format!("indicators/{}", model.records[number].id.hyphenated());
            let dropped: BTreeSet<_> = dropped.map(name).collect();
            let now = engine.clock.now().as_micros();
            check_without(&engine, &model, &[now - 12 * DAY, now], &dropped).await;
            for name in &dropped {
                let id = name.trim_start_matches("indicators/").parse().unwrap();
                for org in 0..4 {
                    let refused = engine.hub.get(&engine.caller(org), id).await.unwrap_err();
                    assert_eq!(refused.reason, Reason::NotFound);
                }
            }
            verified(&engine);
        });
    }
}
