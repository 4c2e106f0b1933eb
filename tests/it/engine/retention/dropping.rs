//! What has ended for long enough goes, and nothing of it comes back.

use std::time::Duration;

use luytre::base::clock::{Clock as _, Timestamp};
use luytre::hub::error::Reason;
use luytre::hub::{Effect, Open, Published, Rejection, Start};
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, Kind, State, normalise};
use luytre::model::marking::{Caveats, Marking, Tlp};
use luytre::model::query::IndicatorFilter;
use luytre::model::retention::Rule;
use luytre::model::sighting::{Outcome, SightingDraft};
use luytre::wire::proto::v1;
use prost::Message as _;
use uuid::Uuid;

use super::super::support::Engine;
use super::{DAY, HOUR, days, engine, keep_less, policy, settle, verified};

pub(super) const ALPHA: usize = 0;
pub(super) const BRAVO: usize = 1;

fn rule(state: State, keep: Option<Duration>) -> Rule {
    Rule { kinds: vec![], tlps: vec![], states: vec![state], keep }
}

pub(super) fn all() -> Vec<Rule> {
    vec![rule(State::Revoked, Some(days(5))), rule(State::Expired, Some(days(30)))]
}

pub(super) fn draft(value: &str, marking: Marking) -> Draft {
    Draft::new(normalise::detect(value).unwrap().observable, marking)
}

pub(super) async fn publish(engine: &Engine, org: usize, draft: Draft) -> Result<Published, Rejection> {
    engine.hub.publish(&engine.caller(org), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap().remove(0)
}

pub(super) async fn open(engine: &Engine, value: &str) -> Uuid {
    publish(engine, ALPHA, draft(value, Marking::open(Tlp::Green))).await.unwrap().id
}

pub(super) async fn revoke(engine: &Engine, org: usize, id: Uuid) {
    let revocation = Revocation { reason: RevocationReason::FalsePositive, note: String::new() };
    engine.hub.revoke(&engine.caller(org), Uuid::new_v4(), id, revocation, None).await.unwrap();
}

async fn sight(engine: &Engine, org: usize, id: Uuid) {
    let draft = SightingDraft {
        indicator: id,
        outcome: Outcome::SeenBlocked,
        count: 1,
        first_seen: None,
        last_seen: None,
        note: String::new(),
        marking: None,
    };
    let answers = engine.hub.report_sightings(&engine.caller(org), Uuid::new_v4(), vec![Ok(draft)]).await;
    answers.unwrap().remove(0).unwrap();
}

pub(super) async fn expire(engine: &Engine) {
    while engine.hub.expire().await.unwrap().more {}
}

pub(super) async fn found(engine: &Engine, id: Uuid) -> bool {
    match engine.hub.get(&engine.caller(ALPHA), id).await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.reason, Reason::NotFound);
            false
        }
    }
}

async fn listed(engine: &Engine) -> usize {
    let filter = IndicatorFilter { states: State::ALL.to_vec(), ..IndicatorFilter::default() };
    engine.hub.list(&engine.caller(ALPHA), filter, 1_000, "").await.unwrap().indicators.len()
}

#[tokio::test]
async fn what_was_taken_back_goes_in_its_time_and_stays_refused() {
    let mut engine = engine(all());
    let id = open(&engine, "gone.example").await;
    let stays = open(&engine, "stays.example").await;
    sight(&engine, BRAVO, id).await;
    sight(&engine, BRAVO, stays).await;
    revoke(&engine, ALPHA, id).await;
    engine.clock.advance(9 * DAY);
    open(&engine, "later.example").await;
    keep_less(&engine).await;
    assert!(found(&engine, id).await, "nothing goes before its history has");
    engine.clock.advance(9 * DAY);
    open(&engine, "last.example").await;
    keep_less(&engine).await;
    for round in 0..2 {
        assert!(!found(&engine, id).await && found(&engine, stays).await);
        assert_eq!(listed(&engine).await, 3);
        let caller = engine.caller(ALPHA);
        let value = normalise::detect("gone.example").unwrap().observable;
        let matches = engine.hub.lookup(&caller, vec![value.clone()]).await.unwrap();
        assert!(matches[0].is_empty(), "{matches:?}");
        assert!(engine.hub.dossier(&caller, value, vec![]).await.unwrap().assertions.is_empty());
        assert_eq!(engine.hub.versions(&caller, id, 10, "").await.unwrap_err().reason, Reason::NotFound);
        let again = publish(&engine, ALPHA, draft("gone.example", Marking::open(Tlp::Green))).await;
        assert_eq!(again.unwrap_err().reason, Reason::IndicatorRevoked, "round {round}");
        verified(&engine);
        engine = engine.reopen(|_| ()).await;
    }
    // Another may have seen it, and its producer may be sure by now.
    let other = publish(&engine, BRAVO, draft("gone.example", Marking::open(Tlp::Green))).await.unwrap();
    assert_eq!(other.effect, Effect::Created);
    let sure =
        Draft { reinstate: Some("seen again".into()), ..draft("gone.example", Marking::open(Tlp::Green)) };
    let back = publish(&engine, ALPHA, sure).await.unwrap();
    assert!(back.effect == Effect::Created && back.id != id);
    let more = Draft { description: "more".into(), ..draft("gone.example", Marking::open(Tlp::Green)) };
    assert_eq!(publish(&engine, ALPHA, more).await.unwrap().effect, Effect::Updated);
    verified(&engine);
}

#[tokio::test]
async fn what_expired_goes_and_may_be_published_anew() {
    let engine = engine(all());
    let until = Timestamp::from_micros_clamped(engine.clock.now().as_micros() + HOUR);
    let soon = Draft { valid_until: Some(until), ..draft("soon.example", Marking::open(Tlp::Green)) };
    let id = publish(&engine, ALPHA, soon.clone()).await.unwrap().id;
    engine.clock.advance(2 * HOUR);
    expire(&engine).await;
    // Past its validity as it comes: nothing ends it later.
    let late = Draft { valid_until: Some(until), ..draft("late.example", Marking::open(Tlp::Green)) };
    let born = publish(&engine, ALPHA, late).await.unwrap().id;
    engine.clock.advance(20 * DAY);
    open(&engine, "x.example").await;
    keep_less(&engine).await;
    assert!(found(&engine, id).await && found(&engine, born).await, "their rule keeps them longer");
    engine.clock.advance(20 * DAY);
    open(&engine, "y.example").await;
    keep_less(&engine).await;
    assert!(!found(&engine, id).await && !found(&engine, born).await);
    let anew = publish(&engine, ALPHA, draft("soon.example", Marking::open(Tlp::Green))).await.unwrap();
    assert!(anew.effect == Effect::Created && anew.id != id);
    verified(&engine);
    // Postings of what is gone end nothing.
    engine.clock.advance(400 * DAY);
    expire(&engine).await;
    let engine = engine.reopen(|_| ()).await;
    expire(&engine).await;
    assert!(engine.hub.latched().is_none());
}

#[tokio::test]
async fn whose_a_dropped_record_was_does_not_show_in_anothers_notice() {
    let engine = Engine::with(|options| {
        options.retention = Some(std::sync::Arc::new(policy(all())));
        options.debt_delay = Duration::ZERO;
    });
    let notices =
        Open { start: Some(Start::Earliest), credit: 1_000, include_notices: true, ..Open::default() };
    let held =
        publish(&engine, ALPHA, draft("hit.example", Marking::open(Tlp::AmberStrict))).await.unwrap().id;
    let mut stream = engine.stream(ALPHA, notices).await.unwrap();
    let other = publish(&engine, BRAVO, draft("hit.example", Marking::open(Tlp::Green))).await.unwrap().id;
    let told = stream.until(7).await.collision.unwrap();
    assert_eq!(told.other_owner, "organisations/bravo");
    stream.leave().await;
    let masked = Marking { caveats: Caveats::MASKED_SOURCE, ..Marking::open(Tlp::Green) };
    publish(&engine, BRAVO, draft("hit.example", masked)).await.unwrap();
    revoke(&engine, BRAVO, other).await;
    engine.clock.advance(20 * DAY);
    open(&engine, "x.example").await;
    keep_less(&engine).await;
    assert!(!found(&engine, other).await);
    let engine = engine.reopen(|_| ()).await;
    let found = engine.hub.get(&engine.caller(ALPHA), held).await.unwrap();
    for collision in found.collisions {
        let told = v1::Collision::decode(collision).unwrap();
        assert_eq!((told.other.as_str(), told.other_owner.as_str()), ("", ""));
    }
    verified(&engine);
}

#[tokio::test]
async fn rules_tell_kinds_labels_and_states_apart_and_the_first_that_fits_decides() {
    let engine = engine(vec![
        Rule { kinds: vec![Kind::Ipv4], tlps: vec![], states: vec![], keep: None },
        Rule { kinds: vec![], tlps: vec![Tlp::Clear], states: vec![State::Revoked], keep: Some(days(5)) },
    ]);
    let mut ids = Vec::new();
    for (value, tlp) in [("198.51.100.1", Tlp::Clear), ("a.example", Tlp::Clear), ("b.example", Tlp::Green)] {
        let id = publish(&engine, ALPHA, draft(value, Marking::open(tlp))).await.unwrap().id;
        revoke(&engine, ALPHA, id).await;
        ids.push(id);
    }
    engine.clock.advance(20 * DAY);
    open(&engine, "x.example").await;
    keep_less(&engine).await;
    let mut left = Vec::new();
    for id in ids {
        left.push(found(&engine, id).await);
    }
    assert_eq!(left, [true, false, true]);
    verified(&engine);
}

#[tokio::test]
async fn a_hub_that_stops_while_it_drops_goes_on_and_each_step_can_be_verified() {
    let mut engine = engine(all());
    let mut ids = Vec::new();
    for number in 0..40 {
        let id = open(&engine, &format!("v{number}.example")).await;
        for _ in 0..number % 4 {
            sight(&engine, BRAVO, id).await;
        }
        ids.push(id);
    }
    for id in ids.iter().step_by(2) {
        revoke(&engine, ALPHA, *id).await;
    }
    engine.clock.advance(20 * DAY);
    // Sighted although it was taken back: past the base.
    sight(&engine, BRAVO, ids[2]).await;
    // At the same moment: its versions go on from the one before.
    open(&engine, "after.example").await;
    settle(&engine).await;
    engine.clock.advance(3 * DAY);
    let mut steps = 0;
    while engine.hub.retain().await.unwrap() {
        steps += 1;
        if steps % 2 == 0 {
            verified(&engine);
            engine = engine.reopen(|_| ()).await;
        }
    }
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(found(&engine, *id).await, number % 2 == 1, "{number}");
    }
    let open = Open { start: Some(Start::Earliest), credit: 99, include_sightings: true, ..Open::default() };
    let mut stream = engine.stream(ALPHA, open).await.unwrap();
    let heard: Vec<_> = stream.drain(9).await.into_iter().flat_map(|batch| batch.events).collect();
    assert!(heard.iter().all(|event| event.sighting.is_none()), "nothing is told of what is gone");
    stream.leave().await;
    verified(&engine);
    // And once the base has passed that as well.
    engine.clock.advance(20 * DAY);
    open_and_keep_less(&engine).await;
    verified(&engine);
}

async fn open_and_keep_less(engine: &Engine) {
    open(engine, "end.example").await;
    keep_less(engine).await;
}
