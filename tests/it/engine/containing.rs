//! The hold of a unit that leads: for a day nobody but the owner and that unit
//! sees what is held, whichever way he looks, and then it stands as before.

use bytes::Bytes;
use luytre::base::clock::{Clock as _, Timestamp};
use luytre::hub::error::{Error, Reason};
use luytre::hub::{Caller, Effect, Exported, Open, Start, Wanted};
use luytre::model::containment::LONGEST;
use luytre::model::export::Format;
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, State, normalise};
use luytre::model::marking::{Marking, Recipients, Tlp};
use luytre::model::query::IndicatorFilter;
use luytre::model::roster::{Duty, Roster};
use luytre::wire::proto::v1;
use prost::Message as _;
use uuid::Uuid;

use super::leave::{drafted, green, put, to, verified};
use super::support::{Engine, START, Stream, block_on, identity, roster, slug};

const OWNER: usize = 0;
const LEAD: usize = 1;
const READER: usize = 2;
const OTHER: usize = 3;
const VALUE: &str = "spill.example";
const SECOND: u64 = 1_000_000;
const DAY: u64 = 24 * 3_600 * SECOND;
const NEW: i32 = 1;
const WITHDRAWN: i32 = 3;
const CONTAINED: i32 = 12;
const HELD: i32 = 1;
const RELEASED: i32 = 2;
const REVOKED: i32 = 3;

fn world() -> Roster {
    let mut roster = roster();
    roster.duties.push(Duty {
        duty: "lead-unit".into(),
        scope: "city".into(),
        holder: slug(LEAD),
        from: None,
        to: None,
        legal_basis: String::new(),
    });
    roster
}

fn engine() -> Engine {
    Engine::of(world(), START, |_| ())
}

async fn publish(hub: &Engine, draft: Draft) -> Uuid {
    hub.clock.advance(SECOND);
    put(hub, &hub.caller(OWNER), draft).await.unwrap().id
}

fn told(encoded: Result<Bytes, Error>) -> Result<v1::IndicatorHold, Error> {
    encoded.map(|encoded| v1::IndicatorHold::decode(encoded).unwrap())
}

async fn hold(hub: &Engine, by: usize, id: Uuid) -> Result<v1::IndicatorHold, Error> {
    hub.clock.advance(SECOND);
    let caller = hub.caller(by);
    told(hub.hub.hold_indicator(&caller, Uuid::new_v4(), id, "an annex".to_owned()).await)
}

async fn release(hub: &Engine, by: usize, id: Uuid) -> Result<v1::IndicatorHold, Error> {
    hub.clock.advance(SECOND);
    let caller = hub.caller(by);
    told(hub.hub.release_indicator(&caller, Uuid::new_v4(), id, "nothing in it".to_owned()).await)
}

fn why<T: std::fmt::Debug>(result: Result<T, Error>) -> Reason {
    result.unwrap_err().reason
}

async fn revoke(hub: &Engine, id: Uuid) {
    let revocation = Revocation { reason: RevocationReason::Withdrawn, note: String::new() };
    hub.hub.revoke(&hub.caller(OWNER), Uuid::new_v4(), id, revocation, None).await.unwrap();
}

async fn shown(hub: &Engine, id: Uuid) -> v1::Indicator {
    v1::Indicator::decode(hub.hub.get(&hub.caller(OWNER), id).await.unwrap().indicator).unwrap()
}

/// In how many of the ways to look at it somebody finds it: by its id, as of a
/// moment, its versions, in a list, by its value, in a dossier, in an export, in
/// the present state and in the log from its beginning (where it is not dropped
/// again).
async fn ways(hub: &Engine, caller: &Caller, id: Uuid, then: Timestamp) -> [bool; 9] {
    let value = normalise::detect(VALUE).unwrap().observable;
    let got = hub.hub.get(caller, id).await.is_ok();
    let as_of = hub.hub.get_as_of(caller, id, then).await.is_ok();
    let versions = hub.hub.versions(caller, id, 9, "").await.is_ok();
    let list = hub.hub.list(caller, IndicatorFilter::default(), 9, "").await.unwrap().indicators;
    let found = hub.hub.lookup(caller, vec![value.clone()]).await.unwrap().remove(0);
    let dossier = hub.hub.dossier(caller, value, Vec::new()).await.unwrap();
    let asserted = !dossier.assertions.is_empty();
    let exported = exported(hub, caller).await;
    let mut streamed = Vec::new();
    for start in [Start::CurrentState, Start::Earliest] {
        let open = Open { start: Some(start), credit: 100, ..Open::default() };
        let mut stream = hub.stream_of(caller, open).await.unwrap();
        streamed.push(!kept(&mut stream, id).await.is_empty());
        stream.leave().await;
    }
    let [state, log] = streamed[..] else { panic!("two streams") };
    [got, as_of, versions, !list.is_empty(), !found.is_empty(), asserted, exported, state, log]
}

/// Whether a file for another program has the value.
async fn exported(hub: &Engine, caller: &Caller) -> bool {
    let wanted = Wanted {
        filter: IndicatorFilter::default(),
        format: Format::JsonLines,
        if_none_match: None,
        position_token: String::new(),
        offset: 0,
    };
    let mut export = hub.hub.export(caller, wanted).unwrap();
    let mut content = Vec::new();
    while let Some(piece) = export.next().await.unwrap() {
        if let Exported::Chunk(bytes) = piece {
            content.extend_from_slice(&bytes);
        }
    }
    String::from_utf8(content).unwrap().contains(VALUE)
}

/// What a stream leaves somebody of an indicator: every version he was ever
/// told in full.
async fn kept(stream: &mut Stream, id: Uuid) -> Vec<i32> {
    let name = format!("indicators/{id}");
    let mut kinds = Vec::new();
    while let Some(frame) = stream.next().await {
        match frame.unwrap() {
            v1::subscribe_response::Message::Batch(batch) => {
                for event in crate::harness::told::events(batch) {
                    if event.indicator.as_ref().is_some_and(|indicator| indicator.name == name) {
                        kinds.push(event.kind);
                    }
                }
            }
            v1::subscribe_response::Message::Heartbeat(heartbeat) if heartbeat.caught_up => break,
            _ => {}
        }
    }
    kinds.retain(|kind| *kind != WITHDRAWN);
    kinds
}

/// What the owner hears of holds.
async fn notices(hub: &Engine, org: usize) -> Vec<v1::IndicatorHold> {
    let open = Open { start: Some(Start::Earliest), credit: 100, include_notices: true, ..Open::default() };
    let mut stream = hub.stream(org, open).await.unwrap();
    let events = stream.drain(10).await.into_iter().flat_map(|batch| batch.events);
    let notices = events.filter(|event| event.kind == CONTAINED).map(|event| event.hold.unwrap()).collect();
    stream.leave().await;
    notices
}

#[test]
fn what_is_held_is_seen_by_its_owner_and_who_leads_alone_whichever_way_others_look() {
    block_on(async {
        for marking in [green(), Marking::open(Tlp::Clear), to(Tlp::Amber, &[LEAD, READER, OTHER])] {
            let hub = engine();
            let id = publish(&hub, drafted(VALUE, marking, None)).await;
            hub.clock.advance(SECOND);
            let then = hub.clock.now();
            let reader = hub.caller(READER);
            let open = Open { start: Some(Start::Earliest), credit: 100, ..Open::default() };
            let mut stream = hub.stream_of(&reader, open.clone()).await.unwrap();
            assert_eq!(kept(&mut stream, id).await, [NEW]);
            let token = stream.token.clone();
            assert_eq!(ways(&hub, &reader, id, then).await, [true; 9]);

            let held = hold(&hub, LEAD, id).await.unwrap();
            assert_eq!((held.state, held.reason.as_str()), (HELD, "an annex"));
            assert_eq!(held.holder, "organisations/bravo");
            assert_eq!(stream.until(WITHDRAWN).await.indicator.unwrap().name, held.indicator);
            stream.leave().await;
            for org in [READER, OTHER] {
                assert_eq!(ways(&hub, &hub.caller(org), id, then).await, [false; 9], "{org}");
            }
            for org in [OWNER, LEAD] {
                assert_eq!(ways(&hub, &hub.caller(org), id, then).await, [true; 9], "{org}");
            }
            let resumed = Open { start: Some(Start::Token(token)), ..open };
            let mut stream = hub.stream_of(&reader, resumed).await.unwrap();
            stream.until(WITHDRAWN).await;
            stream.leave().await;
            assert_eq!(notices(&hub, OWNER).await, [held]);
            assert_eq!(notices(&hub, READER).await, []);
            let hub = hub.reopen(|_| ()).await;
            assert_eq!(ways(&hub, &hub.caller(READER), id, then).await, [false; 9]);
            verified(hub).await;
        }
    });
}

#[test]
fn a_hold_ends_after_a_day_by_itself_or_before_by_who_leads_and_all_is_as_it_was() {
    block_on(async {
        let hub = engine();
        let draft = || Draft { raw: Some("spill[.]example".into()), ..drafted(VALUE, green(), None) };
        let (id, other) =
            (publish(&hub, draft()).await, publish(&hub, drafted("b.example", green(), None)).await);
        let before = shown(&hub, id).await;
        let held = hold(&hub, LEAD, id).await.unwrap();
        hold(&hub, LEAD, other).await.unwrap();
        let early = release(&hub, LEAD, other).await.unwrap();
        assert_eq!((early.state, early.note.as_str()), (RELEASED, "nothing in it"));
        assert_eq!(why(release(&hub, LEAD, other).await), Reason::NotFound, "it is over");

        hub.clock.advance(DAY - 4 * SECOND);
        assert_eq!(hub.hub.end_holds().await.unwrap(), 0, "not before its time");
        let hub = hub.reopen(|_| ()).await;
        hub.clock.advance(SECOND);
        assert_eq!((hub.hub.end_holds().await.unwrap(), hub.hub.end_holds().await.unwrap()), (1, 0));
        let after = v1::Indicator { version: before.version, ..shown(&hub, id).await };
        assert_eq!(after, before);
        assert!(hub.hub.get(&hub.caller(READER), id).await.is_ok());
        let heard = notices(&hub, OWNER).await;
        let states: Vec<_> =
            heard.iter().map(|told| (told.indicator == held.indicator, told.state)).collect();
        assert_eq!(states, [(true, HELD), (false, HELD), (false, RELEASED), (true, RELEASED)]);
        let again = put(&hub, &hub.caller(OWNER), draft()).await.unwrap();
        assert_eq!(again.effect, Effect::Unchanged, "nothing was said anew");
        // Or a day were no bound.
        assert_eq!(why(hold(&hub, LEAD, id).await), Reason::IndicatorHeld);
        let changed = Draft { labels: vec!["c2".into()], ..draft() };
        put(&hub, &hub.caller(OWNER), changed).await.unwrap();
        hold(&hub, LEAD, id).await.unwrap();
        verified(hub).await;
    });
}

#[test]
fn who_does_not_lead_or_may_not_see_it_holds_nothing() {
    block_on(async {
        let hub = engine();
        let open = publish(&hub, drafted(VALUE, green(), None)).await;
        let narrow = publish(&hub, drafted("b.example", to(Tlp::Amber, &[READER]), None)).await;
        assert_eq!(why(hold(&hub, READER, open).await), Reason::RoleInsufficient);
        assert_eq!(why(hold(&hub, LEAD, narrow).await), Reason::NotFound);
        assert_eq!(why(hold(&hub, OTHER, narrow).await), Reason::NotFound);
        hold(&hub, LEAD, open).await.unwrap();
        for org in [READER, OTHER] {
            assert_eq!(why(release(&hub, org, open).await), Reason::NotFound, "{org}: it is hidden from him");
        }
        assert_eq!(why(release(&hub, OWNER, open).await), Reason::RoleInsufficient, "nor does the owner");
        // Of what is for named persons, these alone.
        let recipients =
            Recipients { principals: vec![identity(LEAD), identity(READER)], ..Default::default() };
        let red = drafted("c.example", Marking { recipients, ..Marking::open(Tlp::Red) }, None);
        let red = publish(&hub, red).await;
        hold(&hub, LEAD, red).await.unwrap();
        assert!(hub.hub.get(&hub.caller(LEAD), red).await.is_ok());
        assert_eq!(why(hub.hub.get(&hub.caller(READER), red).await.map(|_| ())), Reason::NotFound);
        assert_eq!(shown(&hub, red).await.marking.unwrap().principals, [identity(LEAD).to_string()]);
        verified(hub).await;
    });
}

#[test]
fn while_it_is_held_its_owner_revokes_and_says_nothing_else() {
    block_on(async {
        let hub = engine();
        let owner = hub.caller(OWNER);
        let id = publish(&hub, drafted(VALUE, green(), None)).await;
        let held = hold(&hub, LEAD, id).await.unwrap();
        let same = put(&hub, &owner, drafted(VALUE, green(), None)).await.unwrap();
        assert_eq!((same.effect, same.id), (Effect::Unchanged, id));
        let changed = || Draft { labels: vec!["c2".into()], ..drafted(VALUE, green(), None) };
        let request = Uuid::new_v4();
        let refused =
            hub.hub.publish(&owner, request, vec![Ok(changed())]).await.unwrap().remove(0).unwrap_err();
        assert_eq!(refused.reason, Reason::IndicatorHeld);
        let until = Timestamp::from_micros_clamped(START + 2 * SECOND).saturating_add(LONGEST);
        let minute = until.to_string();
        assert!(refused.problem.contains(&minute[..13]), "{}: {minute}", refused.problem);
        assert_eq!(held.expire_time.unwrap().seconds, i64::try_from(until.as_seconds()).unwrap());
        let again =
            hub.hub.publish(&owner, request, vec![Ok(changed())]).await.unwrap().remove(0).unwrap_err();
        assert_eq!(again, refused, "a retry gets its first answer");

        revoke(&hub, id).await;
        assert_eq!(why(hub.hub.get(&hub.caller(READER), id).await.map(|_| ())), Reason::NotFound);
        // Nor does he bring it back before the day is over, or a hold were none.
        let back = || Draft { reinstate: Some("it was right".into()), ..drafted(VALUE, green(), None) };
        assert_eq!(put(&hub, &owner, back()).await.unwrap_err().reason, Reason::IndicatorHeld);
        let states: Vec<_> = notices(&hub, OWNER).await.iter().map(|told| told.state).collect();
        assert_eq!(states, [HELD, REVOKED]);
        let hub = hub.reopen(|_| ()).await;
        let owner = hub.caller(OWNER);
        assert_eq!(put(&hub, &owner, back()).await.unwrap_err().reason, Reason::IndicatorHeld);
        hub.clock.advance(2 * DAY);
        assert_eq!(hub.hub.end_holds().await.unwrap(), 0, "the hold ended with it");
        assert_eq!(shown(&hub, id).await.state, i32::from(State::Revoked.number()));
        assert_eq!(why(hold(&hub, LEAD, id).await), Reason::IndicatorRevoked);
        assert_eq!(put(&hub, &owner, back()).await.unwrap().effect, Effect::Reinstated);
        assert!(hub.hub.get(&hub.caller(READER), id).await.is_ok());
        verified(hub).await;
    });
}

#[test]
fn what_ends_by_itself_while_it_is_held_comes_to_light_with_the_end_of_the_hold() {
    block_on(async {
        let hub = engine();
        let valid_until = Some(Timestamp::from_micros_clamped(START + DAY / 2));
        let draft = || Draft { valid_until, ..drafted(VALUE, green(), None) };
        let id = publish(&hub, draft()).await;
        hold(&hub, LEAD, id).await.unwrap();
        hub.clock.advance(DAY / 2);
        assert_eq!(hub.hub.expire().await.unwrap().indicators, 1);
        let reader = hub.caller(READER);
        assert_eq!(why(hub.hub.get(&reader, id).await.map(|_| ())), Reason::NotFound, "the day goes on");
        hub.clock.advance(DAY);
        assert_eq!(hub.hub.end_holds().await.unwrap(), 1);
        assert!(hub.hub.get(&reader, id).await.is_ok());
        assert_eq!(shown(&hub, id).await.state, i32::from(State::Expired.number()));
        assert_eq!(put(&hub, &hub.caller(OWNER), draft()).await.unwrap().effect, Effect::Unchanged);
        assert_eq!(why(hold(&hub, LEAD, id).await), Reason::IndicatorRevoked, "there is nothing to hold");
        verified(hub).await;
    });
}

#[test]
fn units_that_lead_do_not_hold_an_indicator_in_turn() {
    block_on(async {
        let mut roster = world();
        let lead = roster.duties[0].clone();
        roster.duties.push(Duty { holder: slug(OTHER), ..lead });
        let hub = Engine::of(roster, START, |_| ());
        let id = publish(&hub, drafted(VALUE, green(), None)).await;
        hold(&hub, LEAD, id).await.unwrap();
        release(&hub, LEAD, id).await.unwrap();
        for org in [LEAD, OTHER] {
            assert_eq!(why(hold(&hub, org, id).await), Reason::IndicatorHeld, "{org}");
        }
        verified(hub).await;
    });
}

#[test]
fn a_repeated_hold_is_one_hold() {
    block_on(async {
        let hub = engine();
        let id = publish(&hub, drafted(VALUE, green(), None)).await;
        let (lead, request) = (hub.caller(LEAD), Uuid::new_v4());
        let ask = async || hub.hub.hold_indicator(&lead, request, id, "why".to_owned()).await.unwrap();
        let first = ask().await;
        assert_eq!(ask().await, first);
        let version = shown(&hub, id).await.version;
        assert_eq!(told(Ok(first.clone())).unwrap(), hold(&hub, LEAD, id).await.unwrap(), "it lasts already");
        release(&hub, LEAD, id).await.unwrap();
        assert_eq!(ask().await, first, "and is not held again for a request that was answered");
        assert!(shown(&hub, id).await.version > version);
        assert!(hub.hub.get(&hub.caller(READER), id).await.is_ok());
        assert_eq!(notices(&hub, OWNER).await.len(), 2);
        verified(hub).await;
    });
}
