//! What waits for a second person, and what is held for a day, is made again
//! from what is left below a base.

use luytre::hub::Caller;
use luytre::model::indicator::{Draft, RecommendedAction};
use luytre::model::marking::{Marking, Tlp};
use luytre::wire::convert::held::Verdict;
use luytre::wire::proto::v1;
use prost::Message as _;
use uuid::Uuid;

use super::super::held::{LEAD, OWNER, VALUE, blocking, world};
use super::super::leave::put;
use super::super::support::{Engine, START};
use super::dropping::{all, revoke};
use super::{DAY, HOUR, keep_less, policy, verified};

async fn block(engine: &Engine, value: &str) -> Uuid {
    engine.clock.advance(HOUR);
    let draft = blocking(value, Marking::open(Tlp::Green));
    put(engine, &engine.caller(OWNER), draft).await.unwrap().id
}

async fn verdict(engine: &Engine, id: Uuid) -> Verdict {
    let shown = engine.hub.get(&engine.caller(OWNER), id).await.unwrap().indicator;
    let expected = v1::Indicator::decode(shown).unwrap().version;
    Verdict { indicator: id, expected, note: "checked".to_owned() }
}

async fn states(engine: &Engine, caller: &Caller) -> Vec<i32> {
    let page = engine.hub.list_held(caller, false, 100, "").await.unwrap();
    let mut states: Vec<_> =
        page.held.into_iter().map(|one| v1::HeldPublication::decode(one).unwrap().state).collect();
    states.sort_unstable();
    states
}

#[tokio::test]
async fn what_waits_and_what_was_answered_is_made_again_below_a_base() {
    let retention = std::sync::Arc::new(policy(all()));
    let engine = Engine::of(world(Some(LEAD)), START, |options| options.retention = Some(retention));
    let (owner, lead) = (engine.caller(OWNER), engine.caller(LEAD));
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(block(&engine, &format!("w{n}.gov.kh")).await);
    }
    // One waits; one is let out, one refused; one is let out and changed, one
    // revoked and dropped in the end, one asked again as another version.
    for id in [ids[1], ids[3], ids[4]] {
        let verdict = verdict(&engine, id).await;
        engine.hub.approve_held(&lead, Uuid::new_v4(), verdict).await.unwrap();
    }
    let refused = verdict(&engine, ids[2]).await;
    engine.hub.reject_held(&lead, Uuid::new_v4(), refused).await.unwrap();
    let watched = Draft {
        action: Some(RecommendedAction::Monitor),
        labels: vec!["c2".into()],
        ..blocking("w3.gov.kh", Marking::open(Tlp::Green))
    };
    put(&engine, &owner, watched).await.unwrap();
    revoke(&engine, OWNER, ids[4]).await;
    let relabelled = Draft { labels: vec!["c2".into()], ..blocking("w5.gov.kh", Marking::open(Tlp::Green)) };
    put(&engine, &owner, relabelled).await.unwrap();
    let hold = engine.hub.hold_indicator(&lead, Uuid::new_v4(), ids[0], "why".to_owned());
    hold.await.unwrap();
    engine.clock.advance(DAY);
    assert_eq!(engine.hub.end_holds().await.unwrap(), 1);
    assert_eq!(states(&engine, &owner).await, [1, 1, 2, 3]);
    verified(&engine);

    engine.clock.advance(20 * DAY);
    block(&engine, "later.gov.kh").await;
    keep_less(&engine).await;
    assert_eq!(states(&engine, &owner).await, [1, 1, 1, 2, 3]);
    verified(&engine);
    // What is below the base is answered above it.
    let late = verdict(&engine, ids[0]).await;
    engine.hub.approve_held(&lead, Uuid::new_v4(), late).await.unwrap();
    engine.hub.hold_indicator(&lead, Uuid::new_v4(), ids[1], "why".to_owned()).await.unwrap();
    verified(&engine);
    let again = put(&engine, &owner, blocking("w1.gov.kh", Marking::open(Tlp::Green))).await.unwrap();
    assert_eq!(again.effect, luytre::hub::Effect::Unchanged, "{VALUE}: what was let out stays so");
    engine.clock.advance(20 * DAY);
    engine.hub.end_holds().await.unwrap();
    keep_less(&engine).await;
    verified(&engine);
}
