//! Every marking reaches exactly whom it names, however one asks; and who
//! publishes on another's behalf writes for it and reads no more.

use luytre::hub::error::Reason;
use luytre::hub::{Asked, Caller, Effect, Open, Published, Rejection, Start};
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, State, normalise};
use luytre::model::invalid;
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::org::OrgSlug;
use luytre::model::principal::{Roles, SpiffeId};
use luytre::model::query::IndicatorFilter;
use luytre::model::roster::{Grant, Group, Member, Patch, Relation, RelationKind};
use luytre::model::sighting::{Outcome, SightingDraft};
use luytre::wire::proto::v1;
use prost::Message as _;
use time::macros::date;
use uuid::Uuid;

use super::support::{Engine, Event, START, block_on, slug};

const ALPHA: usize = 0;
const BRAVO: usize = 1;
const CHARLIE: usize = 2;
const DELTA: usize = 3;
const DAY: u64 = 86_400_000_000;

fn marking(tlp: Tlp, organisations: &[usize]) -> Marking {
    let organisations = organisations.iter().map(|&org| slug(org)).collect();
    Marking { tlp, recipients: Recipients { organisations, ..Recipients::default() }, caveats: Caveats::NONE }
}

fn to_group(tlp: Tlp) -> Marking {
    let recipients = Recipients { groups: vec![group_slug()], ..Recipients::default() };
    Marking { tlp, recipients, caveats: Caveats::NONE }
}

fn red(persons: &[&SpiffeId]) -> Marking {
    let principals = persons.iter().map(|&id| id.clone()).collect();
    let recipients = Recipients { principals, ..Recipients::default() };
    Marking { tlp: Tlp::Red, recipients, caveats: Caveats::NONE }
}

fn group_slug() -> OrgSlug {
    OrgSlug::parse("ung-cuu").unwrap()
}

fn relation(kind: RelationKind, subject: usize, object: usize) -> Relation {
    let (subject, object) = (slug(subject), slug(object));
    Relation { kind, subject, object, from: None, to: None, legal_basis: "contract".into() }
}

async fn change(hub: &Engine, patch: Patch) {
    hub.hub.change_roster(&hub.caller(ALPHA), Uuid::new_v4(), patch).await.unwrap();
}

async fn relate(hub: &Engine, relations: Vec<Relation>) {
    change(hub, Patch { relations: Some(relations), ..Patch::default() }).await;
}

/// A person of an organisation, whom the roster knows from now on.
async fn person(hub: &Engine, org: usize, name: &str) -> Caller {
    let id = format!("spiffe://hub.example/org/{}/user/{name}", slug(org));
    let id = SpiffeId::parse(&id).unwrap();
    let grant = Grant { roles: Roles::from_bits(0xff), from: None, to: None };
    change(hub, Patch { principals: vec![(id.clone(), Some(grant))], ..Patch::default() }).await;
    hub.caller_named(id)
}

fn draft(value: &str, marking: Marking) -> Draft {
    Draft::new(normalise::detect(value).unwrap().observable, marking)
}

async fn try_publish(
    hub: &Engine,
    caller: &Caller,
    asked: impl Into<Asked>,
    draft: Draft,
) -> Result<Published, Rejection> {
    hub.hub.publish(caller, asked, vec![Ok(draft)]).await.unwrap().remove(0)
}

async fn publish(hub: &Engine, org: usize, value: &str, marking: Marking) -> Uuid {
    try_publish(hub, &hub.caller(org), Uuid::new_v4(), draft(value, marking)).await.unwrap().id
}

/// By which ways somebody finds an indicator.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
struct Found {
    get: bool,
    list: bool,
    lookup: bool,
    delivered: bool,
}

const ALL: Found = Found { get: true, list: true, lookup: true, delivered: true };
const NONE: Found = Found { get: false, list: false, lookup: false, delivered: false };
/// TLP:RED for its named persons.
const BY_NAME: Found = Found { get: true, delivered: true, ..NONE };

/// All that somebody is sent up to now, sightings included.
async fn heard(hub: &Engine, who: &Caller) -> Vec<Event> {
    let last = publish(hub, ALPHA, &format!("{}.example", Uuid::new_v4()), Marking::open(Tlp::Clear)).await;
    let open =
        Open { start: Some(Start::Earliest), credit: 1_000, include_sightings: true, ..Open::default() };
    let mut stream = hub.stream_of(who, open).await.unwrap();
    let heard = stream.up_to(&format!("indicators/{last}")).await;
    stream.leave().await;
    heard
}

async fn found(hub: &Engine, who: &Caller, id: Uuid, value: &str) -> Found {
    let named = format!("indicators/{id}");
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = hub.hub.list(who, IndicatorFilter::default(), 100, &page_token).await.unwrap();
        listed.extend(page.indicators.into_iter().map(|bytes| v1::Indicator::decode(bytes).unwrap().name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let value = normalise::detect(value).unwrap().observable;
    let matches = hub.hub.lookup(who, vec![value]).await.unwrap().remove(0);
    let delivered = heard(hub, who)
        .await
        .into_iter()
        .filter(|event| event.kind == i32::from(v1::EventKind::New))
        .any(|event| event.indicator.is_some_and(|indicator| indicator.name == named));
    Found {
        get: hub.hub.get(who, id).await.is_ok(),
        list: listed.contains(&named),
        lookup: matches.iter().any(|found| found.id == id),
        delivered,
    }
}

async fn verified(hub: Engine) {
    let dir = hub.close().await;
    let report = luytre::hub::verify(&dir.path().join("hub"), |_| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.differences);
}

#[test]
fn red_is_found_by_its_named_person_and_by_no_colleague_however_one_asks() {
    block_on(async {
        let hub = Engine::new();
        let (an, binh) = (person(&hub, BRAVO, "an").await, person(&hub, BRAVO, "binh").await);
        let id = publish(&hub, ALPHA, "red.example", red(&[an.identity()])).await;
        assert_eq!(found(&hub, &an, id, "red.example").await, BY_NAME);
        for other in [&binh, &hub.caller(BRAVO), &hub.caller(CHARLIE)] {
            assert_eq!(found(&hub, other, id, "red.example").await, NONE, "{:?}", other.identity());
        }
        assert_eq!(found(&hub, &hub.caller(ALPHA), id, "red.example").await, ALL, "its own");
        verified(hub).await;
    });
}

#[test]
fn amber_reaches_members_of_groups_and_clients_and_providers_only_where_they_may() {
    block_on(async {
        let hub = Engine::new();
        let member = Member { organisation: slug(BRAVO), from: None, to: None };
        let group =
            Group { slug: group_slug(), vi: "Ứng cứu".into(), en: String::new(), members: vec![member] };
        change(&hub, Patch { groups: vec![(group_slug(), Some(group))], ..Patch::default() }).await;
        let (client, provider) = (CHARLIE, DELTA);
        relate(
            &hub,
            vec![
                relation(RelationKind::ClientOf, client, BRAVO),
                relation(RelationKind::ActsFor, provider, BRAVO),
            ],
        )
        .await;
        let mut ticked = to_group(Tlp::Amber);
        ticked.caveats = Caveats::PROVIDERS_MAY_READ;
        for (value, marking, by_client, by_provider) in [
            ("amber.example", to_group(Tlp::Amber), ALL, NONE),
            ("ticked.example", ticked, ALL, ALL),
            ("strict.example", to_group(Tlp::AmberStrict), NONE, NONE),
            ("named.example", marking(Tlp::Amber, &[BRAVO]), ALL, NONE),
            ("namedstrict.example", marking(Tlp::AmberStrict, &[BRAVO]), NONE, NONE),
        ] {
            let id = publish(&hub, ALPHA, value, marking).await;
            let by = async |org| found(&hub, &hub.caller(org), id, value).await;
            let seen = (by(BRAVO).await, by(client).await, by(provider).await);
            assert_eq!(seen, (ALL, by_client, by_provider), "{value}");
        }
    });
}

#[test]
fn whom_the_roster_does_not_know_is_refused_by_name_and_so_again_on_a_retry() {
    block_on(async {
        let hub = Engine::new();
        let alpha = hub.caller(ALPHA);
        let unknown = |id: &str| SpiffeId::parse(id).unwrap();
        let of_bravo = unknown("spiffe://hub.example/org/bravo/user/nobody");
        let of_none = unknown("spiffe://hub.example/org/nowhere/user/nobody");
        let elsewhere = unknown("spiffe://other.example/org/bravo/system/soc");
        for (marking, reason, field, name) in [
            (to_group(Tlp::Amber), invalid::Reason::GroupUnknown, "marking.groups", "ung-cuu"),
            (red(&[&of_bravo]), invalid::Reason::PersonUnknown, "marking.principals", of_bravo.as_str()),
            (red(&[&of_none]), invalid::Reason::PersonUnknown, "marking.principals", of_none.as_str()),
            (red(&[&elsewhere]), invalid::Reason::PersonUnknown, "marking.principals", elsewhere.as_str()),
        ] {
            let request = Uuid::new_v4();
            let item = draft("unknown.example", marking);
            let refused = try_publish(&hub, &alpha, request, item.clone()).await.unwrap_err();
            assert_eq!((refused.reason, refused.field.as_str()), (Reason::Input(reason), field));
            assert!(refused.problem.starts_with(&format!("{name} is no")), "{}", refused.problem);
            let words = refused.problem.replace(name, "…");
            assert!(!words.contains("bravo") && !words.contains("nowhere"), "{words}");
            assert_eq!(try_publish(&hub, &alpha, request, item).await.unwrap_err(), refused);
        }
    });
}

fn sighting(indicator: Uuid, marking: Option<Marking>) -> SightingDraft {
    let (outcome, note) = (Outcome::SeenBlocked, String::new());
    SightingDraft { indicator, outcome, count: 1, first_seen: None, last_seen: None, note, marking }
}

async fn sight(
    hub: &Engine,
    who: &Caller,
    indicator: Uuid,
    marking: Option<Marking>,
) -> Result<(), Rejection> {
    let items = vec![Ok(sighting(indicator, marking))];
    hub.hub.report_sightings(who, Uuid::new_v4(), items).await.unwrap().remove(0).map(drop)
}

/// How many sightings somebody is shown with an indicator, and is sent.
async fn sightings(hub: &Engine, who: &Caller, indicator: Uuid) -> (usize, usize) {
    let shown = hub.hub.get(who, indicator).await.map_or(0, |found| found.sightings.len());
    let sent = heard(hub, who).await.into_iter().filter(|event| event.sighting.is_some()).count();
    (shown, sent)
}

#[test]
fn a_sighting_of_red_is_for_its_owner_and_the_person_alone() {
    block_on(async {
        let hub = Engine::new();
        let (an, binh) = (person(&hub, BRAVO, "an").await, person(&hub, BRAVO, "binh").await);
        let both = red(&[an.identity(), binh.identity()]);
        let (only, shared) = (
            publish(&hub, ALPHA, "only.example", red(&[an.identity()])).await,
            publish(&hub, ALPHA, "shared.example", both.clone()).await,
        );
        sight(&hub, &an, only, None).await.unwrap();
        sight(&hub, &an, shared, None).await.unwrap();
        let owner = hub.caller(ALPHA);
        assert_eq!(sightings(&hub, &an, only).await, (1, 2));
        assert_eq!(sightings(&hub, &owner, only).await, (1, 2));
        assert_eq!(sightings(&hub, &binh, shared).await, (0, 0), "not even of what he reads himself");
        assert_eq!(sightings(&hub, &hub.caller(BRAVO), only).await, (0, 0));
        sight(&hub, &an, shared, Some(both)).await.unwrap();
        assert_eq!(sightings(&hub, &binh, shared).await, (1, 1));
        assert_eq!(sightings(&hub, &hub.caller(BRAVO), shared).await, (0, 0));
        assert_eq!(sight(&hub, &binh, only, None).await.unwrap_err().reason, Reason::NotFound);
        verified(hub).await;
    });
}

#[test]
fn a_sighting_goes_as_far_as_its_reporter_says_and_never_further_than_its_indicator() {
    block_on(async {
        let hub = Engine::new();
        let id = publish(&hub, ALPHA, "seen.example", marking(Tlp::Amber, &[BRAVO, CHARLIE])).await;
        let (reporter, other) = (hub.caller(BRAVO), hub.caller(CHARLIE));
        for wide in [
            Marking::open(Tlp::Green),
            marking(Tlp::Amber, &[CHARLIE, DELTA]),
            red(&[hub.caller(DELTA).identity()]),
        ] {
            let refused = sight(&hub, &reporter, id, Some(wide)).await.unwrap_err();
            let invalid = Reason::Input(invalid::Reason::FieldInvalid);
            assert_eq!((refused.reason, refused.field.as_str()), (invalid, "marking"));
        }
        sight(&hub, &reporter, id, None).await.unwrap();
        assert_eq!(sightings(&hub, &other, id).await, (0, 0));
        sight(&hub, &reporter, id, Some(marking(Tlp::AmberStrict, &[CHARLIE]))).await.unwrap();
        assert_eq!(sightings(&hub, &other, id).await, (1, 1));
        assert_eq!(sightings(&hub, &hub.caller(ALPHA), id).await, (1, 1), "not named in the second");
        assert_eq!(sightings(&hub, &reporter, id).await, (2, 2));
        verified(hub).await;
    });
}

fn for_unit(unit: usize) -> Asked {
    Asked { request_id: Uuid::new_v4(), on_behalf_of: Some(slug(unit)) }
}

async fn stored(hub: &Engine, who: &Caller, id: Uuid) -> v1::Indicator {
    v1::Indicator::decode(hub.hub.get(who, id).await.unwrap().indicator).unwrap()
}

fn withdrawn() -> Revocation {
    Revocation { reason: RevocationReason::Withdrawn, note: String::new() }
}

#[test]
fn what_a_provider_publishes_is_the_unit_s_and_not_the_provider_s_to_read() {
    block_on(async {
        let hub = Engine::new();
        let (unit, provider) = (hub.caller(BRAVO), hub.caller(DELTA));
        relate(&hub, vec![relation(RelationKind::ActsFor, DELTA, BRAVO)]).await;
        let secret = draft("unit.example", marking(Tlp::AmberStrict, &[CHARLIE]));
        let made = try_publish(&hub, &provider, for_unit(BRAVO), secret.clone()).await.unwrap();
        assert_eq!(made.effect, Effect::Created);
        assert_eq!(found(&hub, &provider, made.id, "unit.example").await, NONE);
        assert_eq!(found(&hub, &unit, made.id, "unit.example").await, ALL);
        let told = stored(&hub, &hub.caller(CHARLIE), made.id).await;
        assert_eq!(
            (told.owner.as_str(), told.published_by.as_str()),
            ("organisations/bravo", "organisations/delta")
        );
        // The same from the unit itself is the same.
        let again = try_publish(&hub, &unit, Uuid::new_v4(), secret.clone()).await.unwrap();
        assert_eq!((again.id, again.effect), (made.id, Effect::Unchanged));
        // One of its own is another's assertion.
        let own = try_publish(&hub, &provider, Uuid::new_v4(), secret.clone()).await.unwrap();
        assert_ne!(own.id, made.id);
        let changed = Draft { confidence: Some(7), ..secret.clone() };
        let updated = try_publish(&hub, &unit, Uuid::new_v4(), changed.clone()).await.unwrap();
        assert_eq!((updated.id, updated.effect), (made.id, Effect::Updated));
        assert_eq!(stored(&hub, &unit, made.id).await.published_by, "");
        // Taken back on its behalf, and brought back.
        let answer = hub.hub.revoke(&provider, for_unit(BRAVO), made.id, withdrawn(), None).await.unwrap();
        let answer = v1::Indicator::decode(answer).unwrap();
        assert_eq!(answer.state, i32::from(State::Revoked.number()));
        assert!(answer.observable.is_none() && answer.marking.is_none(), "{answer:?}");
        assert_eq!(stored(&hub, &unit, made.id).await.state, i32::from(State::Revoked.number()));
        let back = Draft { reinstate: Some("seen again".into()), ..changed };
        let back = try_publish(&hub, &provider, for_unit(BRAVO), back).await.unwrap();
        assert_eq!((back.id, back.effect), (made.id, Effect::Reinstated));
        // The unit needs nobody's leave.
        relate(&hub, vec![]).await;
        hub.hub.revoke(&unit, Uuid::new_v4(), made.id, withdrawn(), None).await.unwrap();
        verified(hub).await;
    });
}

#[test]
fn who_does_not_act_for_a_unit_is_told_the_same_as_if_there_were_none() {
    block_on(async {
        let hub = Engine::new();
        let (provider, value) = (hub.caller(DELTA), draft("unit.example", Marking::open(Tlp::Green)));
        let owned = publish(&hub, BRAVO, "owned.example", marking(Tlp::AmberStrict, &[CHARLIE])).await;
        let absent = Asked { on_behalf_of: Some(OrgSlug::parse("nowhere").unwrap()), ..for_unit(BRAVO) };
        let first = try_publish(&hub, &provider, absent.clone(), value.clone()).await.unwrap_err();
        let second = try_publish(&hub, &provider, for_unit(BRAVO), value.clone()).await.unwrap_err();
        assert_eq!(first, second);
        assert_eq!((first.reason, first.field.as_str()), (Reason::DelegationMissing, ""));
        let mut told = Vec::new();
        for asked in [absent, for_unit(BRAVO)] {
            let asked = Asked { request_id: Uuid::new_v4(), ..asked };
            let error = hub.hub.revoke(&provider, asked, owned, withdrawn(), None).await.unwrap_err();
            told.push((error.reason, error.public));
        }
        assert_eq!(told[0], told[1]);
        assert_eq!(told[0], (first.reason, first.problem));
        // Acting for one unit opens no other's records.
        relate(&hub, vec![relation(RelationKind::ActsFor, DELTA, CHARLIE)]).await;
        let error = hub.hub.revoke(&provider, for_unit(CHARLIE), owned, withdrawn(), None).await.unwrap_err();
        assert_eq!(error.reason, Reason::NotFound);
    });
}

#[test]
fn a_contract_begins_and_ends_on_its_days_and_a_retry_gets_its_first_answer() {
    block_on(async {
        let hub = Engine::new();
        let provider = hub.caller(DELTA);
        let dated = Relation {
            from: Some(date!(2026 - 01 - 03)),
            to: Some(date!(2026 - 01 - 05)),
            ..relation(RelationKind::ActsFor, DELTA, BRAVO)
        };
        relate(&hub, vec![dated]).await;
        let value = |n: u64| draft(&format!("day{n}.example"), Marking::open(Tlp::Green));
        let (mut taken, mut asked) = (Vec::new(), Vec::new());
        for day in 1..=5 {
            // At the hub's place, UTC+7, late on each day and early on the
            // last: answers are remembered for 24 hours.
            let hour = if day == 5 { 8 } else { 23 };
            hub.clock.set(START + (day - 1) * DAY + (hour - 7) * DAY / 24);
            hub.hub.turn_day().await.unwrap();
            let request = for_unit(BRAVO);
            let answer = try_publish(&hub, &provider, request.clone(), value(day)).await;
            taken.push(answer.is_ok());
            asked.push((request, answer));
        }
        assert_eq!(taken, [false, false, true, true, false]);
        // The last that was taken, and the one that was not.
        for (day, now) in [(4, vec![]), (5, vec![relation(RelationKind::ActsFor, DELTA, BRAVO)])] {
            relate(&hub, now).await;
            let (request, answer) = asked[day - 1].clone();
            assert_eq!(try_publish(&hub, &provider, request, value(day as u64)).await, answer, "day {day}");
        }
        verified(hub).await;
    });
}
