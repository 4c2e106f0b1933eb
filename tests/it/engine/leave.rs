//! An owner's leave: who takes an indicator further under his own name asks,
//! and whoever may not read the original learns of none.

use std::time::Duration;

use bytes::Bytes;
use luytre::base::clock::Timestamp;
use luytre::hub::error::{Error, Reason};
use luytre::hub::{Caller, Open, Published, Rejection, Start};
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, normalise};
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::principal::{Roles, SpiffeId};
use luytre::model::query::IndicatorFilter;
use luytre::model::republication::Terms;
use luytre::model::roster::Grant as Roled;
use luytre::wire::convert::republication::{Grant, Request, Withdrawal};
use luytre::wire::proto::v1;
use prost::Message as _;
use uuid::Uuid;

use super::support::{Engine, START, Stream, block_on, identity, roster, slug};

pub(super) const OWNER: usize = 0;
pub(super) const ASKER: usize = 1;
pub(super) const NAMED: usize = 2;
pub(super) const OUTSIDER: usize = 3;
pub(super) const VALUE: &str = "203.0.113.77";
const COLLISION: i32 = 7;
const REPUBLICATION: i32 = 8;
pub(super) const REQUESTED: i32 = 1;
pub(super) const GRANTED: i32 = 2;
pub(super) const WITHDRAWN: i32 = 3;

pub(super) fn to(tlp: Tlp, organisations: &[usize]) -> Marking {
    let mut organisations: Vec<_> = organisations.iter().map(|&org| slug(org)).collect();
    organisations.sort();
    Marking { tlp, recipients: Recipients { organisations, ..Recipients::default() }, caveats: Caveats::NONE }
}

pub(super) fn green() -> Marking {
    Marking::open(Tlp::Green)
}

pub(super) fn named(id: Uuid) -> String {
    format!("indicators/{id}")
}

pub(super) fn drafted(value: &str, marking: Marking, of: Option<Uuid>) -> Draft {
    let observable = normalise::detect(value).unwrap().observable;
    Draft { republication_of: of, ..Draft::new(observable, marking) }
}

pub(super) async fn put(hub: &Engine, caller: &Caller, draft: Draft) -> Result<Published, Rejection> {
    let results = hub.hub.publish(caller, Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    results.into_iter().next().unwrap()
}

pub(super) async fn publish(hub: &Engine, org: usize, value: &str, marking: Marking) -> Uuid {
    put(hub, &hub.caller(org), drafted(value, marking, None)).await.unwrap().id
}

pub(super) async fn republish(
    hub: &Engine,
    org: usize,
    of: Uuid,
    marking: Marking,
) -> Result<Published, Rejection> {
    put(hub, &hub.caller(org), drafted(VALUE, marking, Some(of))).await
}

pub(super) fn reason(result: &Result<Published, Rejection>) -> Option<(Reason, &str)> {
    result.as_ref().err().map(|rejection| (rejection.reason, rejection.field.as_str()))
}

pub(super) const WITHOUT: Option<(Reason, &str)> = Some((Reason::RepublicationWithoutLeave, ""));
const TOO_WIDE: Option<(Reason, &str)> = Some((Reason::RepublicationTooWide, ""));
const INVALID: Option<(Reason, &str)> =
    Some((Reason::Input(luytre::model::invalid::Reason::FieldInvalid), "republication_of"));

/// The original: TLP:AMBER to who will ask and another.
pub(super) async fn original(hub: &Engine) -> Uuid {
    publish(hub, OWNER, VALUE, to(Tlp::Amber, &[ASKER, NAMED])).await
}

pub(super) fn wanted(indicator: Uuid) -> Request {
    Request { indicator, wish: green(), reason: "to warn every unit".to_owned() }
}

pub(super) fn told(encoded: Result<Bytes, Error>) -> Result<v1::Republication, Error> {
    encoded.map(|encoded| v1::Republication::decode(encoded).unwrap())
}

pub(super) async fn ask(hub: &Engine, caller: &Caller, indicator: Uuid) -> Result<v1::Republication, Error> {
    told(hub.hub.request_republication(caller, Uuid::new_v4(), wanted(indicator)).await)
}

pub(super) fn granted(indicator: Uuid, org: usize, widest: Marking) -> Grant {
    let terms = Terms { widest, until: None };
    Grant { indicator, organisation: slug(org), terms, note: "not before noon".to_owned() }
}

pub(super) async fn grant(hub: &Engine, by: usize, grant: Grant) -> Result<v1::Republication, Error> {
    told(hub.hub.grant_republication(&hub.caller(by), Uuid::new_v4(), grant).await)
}

pub(super) async fn withdraw(
    hub: &Engine,
    by: usize,
    indicator: Uuid,
    of: usize,
) -> Result<v1::Republication, Error> {
    let withdrawal = Withdrawal { indicator, organisation: slug(of), note: "no longer".to_owned() };
    told(hub.hub.withdraw_republication(&hub.caller(by), Uuid::new_v4(), withdrawal).await)
}

pub(super) async fn listed(
    hub: &Engine,
    caller: &Caller,
    waiting: bool,
    size: usize,
) -> Vec<v1::Republication> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let page = hub.hub.list_republications(caller, waiting, size, &token).await.unwrap();
        assert!(page.republications.len() <= size);
        all.extend(page.republications.into_iter().map(|one| v1::Republication::decode(one).unwrap()));
        if page.next_page_token.is_empty() {
            return all;
        }
        token = page.next_page_token;
    }
}

async fn revoke(hub: &Engine, org: usize, id: Uuid) {
    let revocation = Revocation { reason: RevocationReason::Withdrawn, note: String::new() };
    hub.hub.revoke(&hub.caller(org), Uuid::new_v4(), id, revocation, None).await.unwrap();
}

async fn follow(hub: &Engine, org: usize, start: Start) -> Stream {
    let open = Open { start: Some(start), credit: 1_000, include_notices: true, ..Open::default() };
    hub.stream(org, open).await.unwrap()
}

/// What leave `org` has heard of.
pub(super) async fn heard(hub: &Engine, org: usize) -> Vec<v1::Republication> {
    let mut stream = follow(hub, org, Start::Earliest).await;
    let events = stream.drain(10).await.into_iter().flat_map(|batch| batch.events);
    let heard = events.filter_map(|event| {
        assert_eq!(event.republication.is_some(), event.kind == REPUBLICATION);
        assert_eq!(event.collision, None);
        event.republication
    });
    let heard = heard.collect();
    stream.leave().await;
    heard
}

/// What `org` is shown of an indicator: by `get`, `list` and, from the
/// beginning and as the current state, by subscriptions. Each is what it
/// republishes, and the rest.
async fn shown(hub: &Engine, org: usize, id: Uuid) -> Vec<(String, Bytes)> {
    let caller = hub.caller(org);
    let name = named(id);
    let mut all = vec![v1::Indicator::decode(hub.hub.get(&caller, id).await.unwrap().indicator).unwrap()];
    let page = hub.hub.list(&caller, IndicatorFilter::default(), 100, "").await.unwrap();
    let page = page.indicators.into_iter().map(|one| v1::Indicator::decode(one).unwrap());
    all.extend(page.filter(|indicator| indicator.name == name));
    for start in [Start::Earliest, Start::CurrentState] {
        let open = Open { start: Some(start), credit: 1_000, ..Open::default() };
        let mut stream = hub.stream(org, open).await.unwrap();
        let event = stream
            .up_to(&name)
            .await
            .into_iter()
            .rev()
            .find(|event| event.indicator.as_ref().is_some_and(|indicator| indicator.name == name));
        stream.leave().await;
        let event = event.unwrap();
        let mut indicator = event.indicator.unwrap();
        assert_eq!(indicator.republication_of, "", "a body that others share says it");
        indicator.republication_of = event.disclosure.map(|told| told.republication_of).unwrap_or_default();
        all.push(indicator);
    }
    assert_eq!(all.len(), 4, "{all:?}");
    let split = all.into_iter().map(|mut indicator| {
        let original = std::mem::take(&mut indicator.republication_of);
        (original, indicator.encode_to_vec().into())
    });
    split.collect()
}

async fn assert_shown(hub: &Engine, org: usize, id: Uuid, original: &str) {
    for (told, _) in shown(hub, org, id).await {
        assert_eq!(told, original, "{org}");
    }
}

pub(super) async fn verified(hub: Engine) {
    let dir = hub.close().await;
    let report = luytre::hub::verify(&dir.path().join("hub"), |_| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.differences);
}

#[test]
fn leave_is_asked_given_and_used_and_outlasts_the_hub() {
    block_on(async {
        let hub = Engine::new();
        let id = original(&hub).await;
        let asked = ask(&hub, &hub.caller(ASKER), id).await.unwrap();
        assert_eq!(asked.name, format!("{}/republications/bravo", named(id)));
        assert_eq!((asked.state, asked.awaits_answer), (REQUESTED, true));
        assert_eq!(asked.requester, identity(ASKER).to_string());
        assert_eq!(heard(&hub, OWNER).await, std::slice::from_ref(&asked));
        assert_eq!(heard(&hub, ASKER).await, []);
        assert_eq!(reason(&republish(&hub, ASKER, id, green()).await), WITHOUT);

        let given = grant(&hub, OWNER, granted(id, ASKER, green())).await.unwrap();
        assert_eq!(
            (given.state, given.awaits_answer, given.note.as_str()),
            (GRANTED, false, "not before noon")
        );
        assert_eq!((given.widest.as_ref().unwrap().tlp, given.reason.as_str()), (2, "to warn every unit"));
        assert_eq!(given.answerer, identity(OWNER).to_string());
        let hub = hub.reopen(|_| ()).await;
        let answered = v1::Republication { answerer: String::new(), ..given.clone() };
        assert_eq!(heard(&hub, ASKER).await, std::slice::from_ref(&answered), "not who answered");
        assert_eq!(heard(&hub, OWNER).await.len(), 1);
        assert_eq!(listed(&hub, &hub.caller(OWNER), false, 9).await, [given]);
        assert_eq!(listed(&hub, &hub.caller(ASKER), false, 9).await, [answered]);
        for org in [NAMED, OUTSIDER] {
            assert_eq!(listed(&hub, &hub.caller(org), false, 9).await, []);
            assert_eq!(heard(&hub, org).await, []);
        }

        let other = republish(&hub, ASKER, id, green()).await.unwrap().id;
        for org in [OWNER, ASKER, NAMED] {
            assert_shown(&hub, org, other, &named(id)).await;
        }
        assert_shown(&hub, OUTSIDER, other, "").await;
        let all = [shown(&hub, OWNER, other).await, shown(&hub, OUTSIDER, other).await].concat();
        assert!(all.windows(2).all(|two| two[0].1 == two[1].1), "the rest is the same for all");
        let hub = hub.reopen(|_| ()).await;
        assert_shown(&hub, NAMED, other, &named(id)).await;
        assert_shown(&hub, OUTSIDER, other, "").await;
        verified(hub).await;
    });
}

#[test]
fn nothing_is_republished_without_leave_or_beyond_it() {
    block_on(async {
        let hub = Engine::new();
        let id = original(&hub).await;
        let amber = to(Tlp::Amber, &[NAMED]);
        grant(&hub, OWNER, granted(id, ASKER, green())).await.unwrap();
        assert_eq!(reason(&republish(&hub, ASKER, id, Marking::open(Tlp::Clear)).await), TOO_WIDE);
        let foreign = put(&hub, &hub.caller(ASKER), drafted("203.0.113.78", green(), Some(id))).await;
        assert_eq!(reason(&foreign), INVALID);
        assert_eq!(reason(&republish(&hub, OWNER, id, amber.clone()).await), INVALID);
        assert_eq!(reason(&republish(&hub, NAMED, id, green()).await), WITHOUT, "it is another's leave");

        grant(&hub, OWNER, granted(id, ASKER, amber.clone())).await.unwrap();
        assert_eq!(reason(&republish(&hub, ASKER, id, green()).await), TOO_WIDE, "the last grant counts");
        let first = republish(&hub, ASKER, id, amber).await.unwrap();
        withdraw(&hub, OWNER, id, ASKER).await.unwrap();
        let wider = to(Tlp::Amber, &[NAMED, OUTSIDER]);
        assert_eq!(reason(&republish(&hub, ASKER, id, wider).await), WITHOUT);

        let until = Some(Timestamp::from_micros_clamped(START + 10_000_000));
        let short = Grant { terms: Terms { widest: green(), until }, ..granted(id, ASKER, green()) };
        grant(&hub, OWNER, short.clone()).await.unwrap();
        hub.clock.set(START + 10_000_000);
        assert_eq!(reason(&republish(&hub, ASKER, id, green()).await), WITHOUT, "its time is over");
        let late = grant(&hub, OWNER, short).await.unwrap_err();
        assert_eq!(late.fields[0].field, "expire_time");

        grant(&hub, OWNER, granted(id, ASKER, green())).await.unwrap();
        revoke(&hub, OWNER, id).await;
        assert_eq!(reason(&republish(&hub, ASKER, id, green()).await), WITHOUT, "the original is revoked");
        assert_eq!(ask(&hub, &hub.caller(ASKER), id).await.unwrap_err().reason, Reason::IndicatorRevoked);
        let again = grant(&hub, OWNER, granted(id, ASKER, green())).await.unwrap_err();
        assert_eq!(again.reason, Reason::IndicatorRevoked);
        assert_shown(&hub, NAMED, first.id, &named(id)).await;
        verified(hub).await;
    });
}

#[test]
fn an_indicator_that_is_hidden_is_absent_for_who_asks_answers_or_republishes() {
    block_on(async {
        let hub = Engine::new();
        let (id, nothing) = (original(&hub).await, Uuid::new_v4());
        ask(&hub, &hub.caller(ASKER), id).await.unwrap();
        let outsider = hub.caller(OUTSIDER);
        let text = |error: Error| (error.reason, error.public, error.fields);
        let [hidden, absent] = [id, nothing].map(|id| ask(&hub, &outsider, id));
        assert_eq!(text(hidden.await.unwrap_err()), text(absent.await.unwrap_err()));
        for of in [ASKER, OUTSIDER] {
            let [hidden, absent] = [id, nothing].map(|id| grant(&hub, OUTSIDER, granted(id, of, green())));
            assert_eq!(text(hidden.await.unwrap_err()), text(absent.await.unwrap_err()));
            let [hidden, absent] = [id, nothing].map(|id| withdraw(&hub, OUTSIDER, id, of));
            assert_eq!(text(hidden.await.unwrap_err()), text(absent.await.unwrap_err()));
        }
        for value in [VALUE, "203.0.113.78"] {
            let [hidden, absent] = [id, nothing].map(|id| {
                let draft = drafted(value, green(), Some(id));
                put(&hub, &outsider, draft)
            });
            let hidden = hidden.await.unwrap_err();
            assert_eq!((hidden.reason, hidden.field.as_str()), (Reason::NotFound, "republication_of"));
            assert_eq!(hidden, absent.await.unwrap_err());
        }
        let denied = grant(&hub, NAMED, granted(id, ASKER, green())).await.unwrap_err();
        assert_eq!(denied.reason, Reason::RoleInsufficient, "who sees it is told that it is another's");
        let unseen = grant(&hub, OWNER, granted(id, OUTSIDER, green())).await.unwrap_err();
        assert_eq!(unseen.fields[0].field, "organisation");

        grant(&hub, OWNER, granted(id, ASKER, green())).await.unwrap();
        let other = republish(&hub, ASKER, id, green()).await.unwrap().id;
        assert_shown(&hub, NAMED, other, &named(id)).await;
        let narrower = drafted(VALUE, to(Tlp::Amber, &[OUTSIDER]), None);
        put(&hub, &hub.caller(OWNER), narrower).await.unwrap();
        assert_shown(&hub, NAMED, other, "").await;
        assert_shown(&hub, ASKER, other, "").await;
        assert_shown(&hub, OUTSIDER, other, &named(id)).await;
        let gone = republish(&hub, ASKER, id, Marking::open(Tlp::Clear)).await.unwrap_err();
        assert_eq!((gone.reason, gone.field.as_str()), (Reason::NotFound, "republication_of"));
        verified(hub).await;
    });
}

#[test]
fn later_versions_stay_republications_and_never_reach_further_by_themselves() {
    block_on(async {
        let hub = Engine::new();
        let id = original(&hub).await;
        let caller = hub.caller(ASKER);
        grant(&hub, OWNER, granted(id, ASKER, green())).await.unwrap();
        let first = republish(&hub, ASKER, id, green()).await.unwrap();
        assert_eq!(republish(&hub, ASKER, id, green()).await.unwrap().version, first.version, "unchanged");
        withdraw(&hub, OWNER, id, ASKER).await.unwrap();
        let labelled = Draft { labels: vec!["c2".to_owned()], ..drafted(VALUE, green(), None) };
        let second = put(&hub, &caller, labelled.clone()).await.unwrap();
        assert!(second.id == first.id && second.version > first.version);
        assert_shown(&hub, NAMED, first.id, &named(id)).await;
        assert_shown(&hub, OUTSIDER, first.id, "").await;
        assert_eq!(
            reason(&put(&hub, &caller, drafted(VALUE, Marking::open(Tlp::Clear), None)).await),
            WITHOUT
        );
        revoke(&hub, ASKER, first.id).await;
        let ended = hub.hub.get(&hub.caller(NAMED), first.id).await.unwrap().indicator;
        assert_eq!(v1::Indicator::decode(ended).unwrap().republication_of, named(id), "its end is one too");
        let back = Draft { reinstate: Some("again".to_owned()), ..labelled };
        assert_eq!(reason(&put(&hub, &caller, back.clone()).await), WITHOUT);
        grant(&hub, OWNER, granted(id, ASKER, green())).await.unwrap();
        assert_eq!(put(&hub, &caller, back).await.unwrap().id, first.id);
        assert_shown(&hub, NAMED, first.id, &named(id)).await;

        let rival = publish(&hub, NAMED, VALUE, to(Tlp::Amber, &[ASKER])).await;
        assert_eq!(reason(&republish(&hub, ASKER, rival, green()).await), WITHOUT);
        grant(&hub, NAMED, granted(rival, ASKER, green())).await.unwrap();
        republish(&hub, ASKER, rival, green()).await.unwrap();
        assert_shown(&hub, NAMED, first.id, &named(rival)).await;
        assert_shown(&hub, OWNER, first.id, "").await;
        verified(hub).await;
    });
}

#[test]
fn a_repeated_request_gets_its_first_answer_and_is_told_once() {
    block_on(async {
        let hub = Engine::new();
        let id = original(&hub).await;
        let (asker, owner) = (hub.caller(ASKER), hub.caller(OWNER));
        let request = Uuid::new_v4();
        let again = async || hub.hub.request_republication(&asker, request, wanted(id)).await.unwrap();
        assert_eq!(again().await, again().await);
        let answer = Uuid::new_v4();
        let give =
            async || hub.hub.grant_republication(&owner, answer, granted(id, ASKER, green())).await.unwrap();
        let given = give().await;
        withdraw(&hub, OWNER, id, ASKER).await.unwrap();
        assert_eq!(give().await, given, "and is not given again");
        assert_eq!(reason(&republish(&hub, ASKER, id, green()).await), WITHOUT);
        assert_eq!((heard(&hub, OWNER).await.len(), heard(&hub, ASKER).await.len()), (1, 2));
        let other = Request { reason: "another".to_owned(), ..wanted(id) };
        let refused = hub.hub.request_republication(&asker, request, other).await.unwrap_err();
        assert_eq!(refused.reason, Reason::DuplicateRequestId);
        verified(hub).await;
    });
}

#[test]
fn each_side_lists_what_concerns_it_page_by_page_and_gives_up_what_it_asked() {
    block_on(async {
        let hub = Engine::new();
        let (owner, asker) = (hub.caller(OWNER), hub.caller(ASKER));
        let mut ids = Vec::new();
        for host in 1..6 {
            let value = format!("198.51.100.{host}");
            ids.push(publish(&hub, OWNER, &value, to(Tlp::Amber, &[ASKER, NAMED])).await);
        }
        let theirs = publish(&hub, ASKER, "192.0.2.1", green()).await;
        for id in &ids {
            ask(&hub, &asker, *id).await.unwrap();
        }
        ask(&hub, &owner, theirs).await.unwrap();
        for size in [1, 2, 9] {
            let mut of_owner = listed(&hub, &owner, false, size).await;
            let last = of_owner.pop().unwrap();
            assert_eq!((last.indicator, last.organisation.as_str()), (named(theirs), "organisations/alpha"));
            let mut names: Vec<_> = of_owner.into_iter().map(|one| one.indicator).collect();
            names.sort_unstable();
            let mut expected: Vec<_> = ids.iter().copied().map(named).collect();
            expected.sort_unstable();
            assert_eq!(names, expected);
            assert_eq!(listed(&hub, &asker, false, size).await.len(), 6);
        }
        let given_up = withdraw(&hub, ASKER, ids[0], ASKER).await.unwrap();
        assert_eq!((given_up.state, given_up.awaits_answer), (WITHDRAWN, false));
        assert_eq!(withdraw(&hub, ASKER, ids[0], ASKER).await.unwrap_err().reason, Reason::NotFound);
        let told = v1::Republication { answerer: identity(ASKER).to_string(), ..given_up };
        assert_eq!(heard(&hub, OWNER).await.last(), Some(&told), "the owner is told");
        grant(&hub, OWNER, granted(ids[1], ASKER, green())).await.unwrap();
        assert_eq!(listed(&hub, &owner, true, 2).await.len(), 4);
        assert_eq!(listed(&hub, &owner, false, 2).await.len(), 6);
        // Who has leave asks for more, and keeps it meanwhile.
        let more = ask(&hub, &asker, ids[1]).await.unwrap();
        assert_eq!((more.state, more.awaits_answer), (GRANTED, true));
        let wrong = hub.hub.list_republications(&owner, true, 2, "x").await.unwrap_err();
        assert_eq!(wrong.reason, Reason::PageTokenInvalid);
        verified(hub).await;
    });
}

#[test]
fn leave_for_red_stays_between_the_owner_and_the_named_person() {
    block_on(async {
        let mut roster = roster();
        let colleague = SpiffeId::parse("spiffe://hub.example/org/bravo/user/an").unwrap();
        let roles = Roled { roles: Roles::from_bits(0xff), from: None, to: None };
        roster.principals.insert(colleague.clone(), roles);
        let hub = Engine::of(roster, START, |_| ());
        let mut red = to(Tlp::Red, &[]);
        red.recipients.principals = vec![identity(ASKER)];
        let id = publish(&hub, OWNER, VALUE, red).await;
        let colleague = hub.caller_named(colleague);
        assert_eq!(ask(&hub, &colleague, id).await.unwrap_err().reason, Reason::NotFound);
        ask(&hub, &hub.caller(ASKER), id).await.unwrap();
        grant(&hub, OWNER, granted(id, ASKER, green())).await.unwrap();
        assert_eq!(listed(&hub, &hub.caller(ASKER), false, 9).await.len(), 1);
        assert_eq!(listed(&hub, &colleague, false, 9).await, []);
        let own = Withdrawal { indicator: id, organisation: slug(ASKER), note: String::new() };
        let taken = hub.hub.withdraw_republication(&colleague, Uuid::new_v4(), own).await;
        assert_eq!(taken.unwrap_err().reason, Reason::NotFound);
        assert_eq!(heard(&hub, ASKER).await.len(), 1);
        let open = Open { start: Some(Start::Earliest), credit: 9, include_notices: true, ..Open::default() };
        let mut stream = hub.stream_of(&colleague, open).await.unwrap();
        assert!(stream.drain(9).await.is_empty());
        stream.leave().await;

        let other = republish(&hub, ASKER, id, green()).await.unwrap().id;
        let got = hub.hub.get(&colleague, other).await.unwrap().indicator;
        assert_eq!(v1::Indicator::decode(got).unwrap().republication_of, "");
        let got = hub.hub.get(&hub.caller(ASKER), other).await.unwrap().indicator;
        assert_eq!(v1::Indicator::decode(got).unwrap().republication_of, named(id));
        verified(hub).await;
    });
}

#[test]
fn an_owner_hears_of_no_collision_with_what_he_gave_leave_for() {
    block_on(async {
        let hub = Engine::with(|options| options.debt_delay = Duration::ZERO);
        let id = original(&hub).await;
        grant(&hub, OWNER, granted(id, ASKER, green())).await.unwrap();
        republish(&hub, ASKER, id, green()).await.unwrap();
        // Now it is hidden from who republished it, and the next version of
        // that would be a collision.
        put(&hub, &hub.caller(OWNER), drafted(VALUE, to(Tlp::Amber, &[NAMED]), None)).await.unwrap();
        let labelled = Draft { labels: vec!["c2".to_owned()], ..drafted(VALUE, green(), None) };
        put(&hub, &hub.caller(ASKER), labelled).await.unwrap();
        // The last one is told of, so the one before had its turn.
        let last = publish(&hub, OWNER, "last.example", to(Tlp::Amber, &[NAMED])).await;
        publish(&hub, ASKER, "last.example", green()).await;
        let mut stream = follow(&hub, OWNER, Start::Earliest).await;
        assert_eq!(stream.until(COLLISION).await.collision.unwrap().indicator, named(last));
        stream.leave().await;
        verified(hub).await;
    });
}
