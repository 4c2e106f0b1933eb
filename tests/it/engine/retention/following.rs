//! What goes on after something was cut out: what ends later, what comes again,
//! who stood still, and who asks once more.

use luytre::base::clock::{Clock as _, Timestamp};
use luytre::hub::error::Reason;
use luytre::hub::{Effect, Open, Start};
use luytre::model::indicator::{Draft, State};
use luytre::model::marking::{Marking, Tlp};
use luytre::model::query::IndicatorFilter;
use uuid::Uuid;

use super::super::support::Engine;
use super::dropping::{ALPHA, BRAVO, all, draft, expire, found, open, publish, revoke};
use super::{DAY, HOUR, engine, keep_less, settle, verified};

fn green(value: &str) -> Draft {
    draft(value, Marking::open(Tlp::Green))
}

fn in_time(engine: &Engine, micros: u64) -> Option<Timestamp> {
    Some(Timestamp::from_micros_clamped(engine.clock.now().as_micros() + micros))
}

async fn expired(engine: &Engine) -> usize {
    let filter = IndicatorFilter { states: vec![State::Expired], ..IndicatorFilter::default() };
    engine.hub.list(&engine.caller(ALPHA), filter, 1_000, "").await.unwrap().indicators.len()
}

#[tokio::test]
async fn what_ends_after_a_version_that_was_cut_out_would_have_still_ends() {
    let engine = engine(vec![]);
    let (first, second) = (in_time(&engine, 40 * DAY), in_time(&engine, 41 * DAY));
    let once = Draft { valid_until: first, ..green("a.example") };
    publish(&engine, ALPHA, once.clone()).await.unwrap();
    publish(&engine, ALPHA, Draft { valid_until: first, ..green("b.example") }).await.unwrap();
    engine.clock.advance(HOUR);
    publish(&engine, ALPHA, Draft { valid_until: second, ..once }).await.unwrap();
    engine.clock.advance(20 * DAY);
    open(&engine, "x.example").await;
    keep_less(&engine).await;
    let engine = engine.reopen(|_| ()).await;
    engine.clock.advance(17 * DAY);
    expire(&engine).await;
    assert_eq!(expired(&engine).await, 1, "the one that was not extended");
    engine.clock.advance(2 * DAY);
    expire(&engine).await;
    assert_eq!(expired(&engine).await, 2);
    verified(&engine);
}

#[tokio::test]
async fn what_was_brought_back_and_then_expired_may_be_published_anew() {
    let engine = engine(all());
    let id = open(&engine, "back.example").await;
    revoke(&engine, ALPHA, id).await;
    for later in ["a.example", "b.example"] {
        engine.clock.advance(9 * DAY);
        open(&engine, later).await;
        keep_less(&engine).await;
    }
    assert!(!found(&engine, id).await);
    let until = in_time(&engine, HOUR);
    let back = Draft { reinstate: Some("seen again".into()), valid_until: until, ..green("back.example") };
    let back = publish(&engine, ALPHA, back).await.unwrap();
    engine.clock.advance(2 * HOUR);
    expire(&engine).await;
    for later in ["c.example", "d.example"] {
        engine.clock.advance(20 * DAY);
        open(&engine, later).await;
        keep_less(&engine).await;
    }
    assert!(!found(&engine, back.id).await);
    verified(&engine);
    assert_eq!(publish(&engine, ALPHA, green("back.example")).await.unwrap().effect, Effect::Created);
    verified(&engine);
}

#[tokio::test]
async fn a_stream_that_stood_still_while_the_base_passed_it_is_told_so() {
    let engine = engine(all());
    let still = Open { start: Some(Start::Latest), credit: 1, ..Open::default() };
    let mut stream = engine.stream(BRAVO, still).await.unwrap();
    let mut ids = Vec::new();
    for value in ["a.example", "b.example", "c.example"] {
        ids.push(open(&engine, value).await);
    }
    stream.any().await;
    revoke(&engine, ALPHA, ids[1]).await;
    for later in ["d.example", "e.example"] {
        engine.clock.advance(9 * DAY);
        open(&engine, later).await;
        keep_less(&engine).await;
    }
    assert!(!found(&engine, ids[1]).await);
    // All of it is in memory yet.
    stream.grant(100).await;
    assert_eq!(stream.error().await.reason, Reason::ResumeTokenExpired);
}

#[tokio::test]
async fn a_request_that_is_repeated_after_an_item_was_dropped_undoes_nothing() {
    let engine = engine(all());
    let old = Draft { valid_until: in_time(&engine, HOUR), ..green("old.example") };
    let id = publish(&engine, ALPHA, old.clone()).await.unwrap().id;
    engine.clock.advance(2 * HOUR);
    expire(&engine).await;
    engine.clock.advance(40 * DAY);
    open(&engine, "x.example").await;
    settle(&engine).await;
    engine.clock.advance(3 * DAY);
    let (caller, request) = (engine.caller(ALPHA), Uuid::new_v4());
    let ask = async || {
        let items = vec![Ok(old.clone()), Ok(green("new.example"))];
        engine.hub.publish(&caller, request, items).await.unwrap()
    };
    let first = ask().await;
    let (unchanged, created) = (first[0].as_ref().unwrap(), first[1].as_ref().unwrap());
    assert_eq!((unchanged.effect, unchanged.id, created.effect), (Effect::Unchanged, id, Effect::Created));
    settle(&engine).await;
    assert!(!found(&engine, id).await);
    let more = Draft { description: "more".into(), ..green("new.example") };
    let newer = publish(&engine, ALPHA, more).await.unwrap();
    let again = ask().await;
    assert!(again[0].is_err(), "nobody knows it any more");
    assert_eq!(again[1].as_ref().unwrap().version, created.version);
    let versions = engine.hub.versions(&caller, newer.id, 10, "").await.unwrap().versions;
    assert_eq!(versions.len(), 2, "nothing was done again");
}

#[tokio::test]
async fn what_is_still_to_be_cut_out_after_a_restore_is_told_in_entries_and_not_in_epochs() {
    let engine = engine(vec![]);
    for value in ["a.example", "b.example"] {
        open(&engine, value).await;
    }
    let copy = engine.dir.path().join("saved");
    engine.hub.backup(&copy).unwrap();
    let engine = engine
        .reopen(|options| {
            let to = options.data_dir.with_extension("restored");
            luytre::hub::restore(&copy, &to, options.clock.as_ref()).unwrap();
            options.data_dir = to;
        })
        .await;
    open(&engine, "c.example").await;
    engine.clock.advance(20 * DAY);
    settle(&engine).await;
    engine.clock.advance(3 * DAY);
    let mut most = 0;
    while engine.hub.retain().await.unwrap() {
        most = most.max(engine.hub.statistics().truncation_behind);
    }
    // A restore leaves numbers of entries out.
    assert!((4..1 << 40).contains(&most), "{most}");
    assert_eq!(engine.hub.statistics().truncation_behind, 0);
    verified(&engine);
}
