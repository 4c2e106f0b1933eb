//! What is hidden from a caller is, for him, what is absent: every method
//! answers the same with and without a hidden record, and what asks for its
//! value asks the same of the store. A list passes over what is hidden on its
//! way through the log: it asks the same of the store whatever value that is
//! of, and so tells nothing of any.
//!
//! Masked before comparing: random ids, versions and times, which differ from
//! hub to hub anyway. Not compared: what fetching by an id asks of the store,
//! for an id that names nothing cannot be made (it is sealed), so no caller
//! can have one to compare with.

use std::time::Duration;

use luytre::base::clock::Clock as _;
use luytre::hub::{Caller, Dossier, Open, Start};
use luytre::model::aggregate::{Counting, Dimension, Histogram, Per};
use luytre::model::dossier::Kin;
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, Observable, Role, normalise};
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::query::{IndicatorFilter, Order, Question, ValueMatch};
use luytre::model::republication::Terms;
use luytre::model::sighting::{Outcome, SightingDraft};
use luytre::store::Calls;
use luytre::wire::convert::republication::{Grant, Request, Withdrawal};
use luytre::wire::event;
use luytre::wire::proto::v1;
use prost::Message as _;
use uuid::Uuid;

use crate::engine::support::{Engine, block_on, slug};

const OWNER: usize = 0;
const VIEWER: usize = 1;
const OTHER: usize = 2;
const NAMED: usize = 3;
const SECRET: &str = "secret.example";
/// The other hidden value, of a length that no other network has.
const SECRET_NETWORK: &str = "198.51.96.0/20";

/// Every way to hide a record from the viewer.
fn hidden(hub: &Engine) -> Vec<Marking> {
    let to = |tlp, organisations: Vec<_>, principals| Marking {
        tlp,
        recipients: Recipients { organisations, principals, ..Recipients::default() },
        caveats: Caveats::NONE,
    };
    let masked = Marking { caveats: Caveats::MASKED_SOURCE, ..to(Tlp::Amber, vec![slug(NAMED)], vec![]) };
    vec![
        to(Tlp::Amber, vec![slug(NAMED)], vec![]),
        to(Tlp::AmberStrict, vec![], vec![]),
        to(Tlp::Red, vec![], vec![hub.caller(NAMED).identity().clone()]),
        masked,
    ]
}

async fn publish(hub: &Engine, org: usize, value: &str, marking: Marking) -> Uuid {
    let draft = Draft {
        labels: vec!["c2".to_owned()],
        role: Some(Role::Sink),
        family: "Họ A".to_owned(),
        campaign: "Hè".to_owned(),
        techniques: vec!["T1566.001".to_owned()],
        ..Draft::new(normalise::detect(value).unwrap().observable, marking)
    };
    let results = hub.hub.publish(&hub.caller(org), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    results.into_iter().next().unwrap().unwrap().id
}

fn filters() -> Vec<IndicatorFilter> {
    let none = IndicatorFilter::default();
    vec![
        none.clone(),
        IndicatorFilter { owners: vec![slug(OWNER)], ..none.clone() },
        IndicatorFilter { labels: vec!["c2".to_owned()], ..none.clone() },
        IndicatorFilter { families: vec!["họ a".to_owned()], ..none.clone() },
        IndicatorFilter { campaigns: vec!["Hè".to_owned()], ..none.clone() },
        IndicatorFilter { techniques: vec!["T1566".to_owned()], ..none.clone() },
        IndicatorFilter { roles: vec![Role::Sink], ..none.clone() },
        IndicatorFilter { values: vec![ValueMatch::Exact(value(SECRET))], ..none.clone() },
        IndicatorFilter { values: vec![ValueMatch::Inside(net(SECRET_NETWORK))], ..none.clone() },
        IndicatorFilter { values: vec![ValueMatch::Containing(net("198.51.100.7/32"))], ..none.clone() },
        IndicatorFilter { tlps: vec![Tlp::Red, Tlp::Amber, Tlp::AmberStrict], ..none },
    ]
}

fn value(text: &str) -> Observable {
    normalise::detect(text).unwrap().observable
}

fn net(text: &str) -> ipnet::IpNet {
    text.parse().unwrap()
}

/// What one method answered, masked, and what it asked of the store.
type Told = (String, String, Option<Calls>);

/// Asks everything that can be asked; `id` names the hidden record, or
/// nothing.
async fn ask(hub: &Engine, id: Uuid) -> Vec<Told> {
    let caller = hub.caller(VIEWER);
    let mut told = Vec::new();
    for filter in filters() {
        for (size, order) in [
            (1, Order::ModifiedNewest),
            (100, Order::ModifiedNewest),
            (1, Order::PublishedOldest),
            (2, Order::ConfidenceHighest),
        ] {
            let question = Question { order, explain: true, ..Question::new(filter.clone()) };
            let before = hub.hub.store_calls();
            let page = hub.hub.list(&caller, question, size, "").await.unwrap();
            let calls = hub.hub.store_calls().since(&before);
            let shown: Vec<_> = page.indicators.iter().map(|bytes| seen(bytes)).collect();
            let answer = format!("{shown:?} {} {:?}", page.next_page_token.len(), page.plan);
            told.push((format!("list {filter:?} {size} {order:?}"), answer, Some(calls)));
        }
    }
    counts(hub, &caller, &mut told).await;
    let value = normalise::detect(SECRET).unwrap().observable;
    let before = hub.hub.store_calls();
    let found = hub.hub.lookup(&caller, vec![value]).await.unwrap();
    let calls = hub.hub.store_calls().since(&before);
    told.push(("lookup".to_owned(), format!("{found:?}"), Some(calls)));
    look_up_wide(hub, &caller, &mut told).await;
    dossiers(hub, &caller, &mut told).await;
    by_id(hub, &caller, id, &mut told).await;
    for start in [Start::Earliest, Start::CurrentState] {
        let open = Open {
            start: Some(start.clone()),
            credit: 100,
            include_sightings: true,
            include_notices: true,
            ..Open::default()
        };
        let mut stream = hub.stream(VIEWER, open).await.unwrap();
        let last =
            publish(hub, OTHER, &format!("last-{}.example", told.len()), Marking::open(Tlp::Clear)).await;
        let name = format!("indicators/{last}");
        let until =
            |event: &crate::engine::support::Event| event.indicator.as_ref().is_some_and(|i| i.name == name);
        let heard: Vec<_> = stream
            .take_until(100, until)
            .await
            .into_iter()
            .map(|event| (event.kind, event.indicator.map(|i| event::observables(&i).unwrap().0.to_string())))
            .collect();
        told.push((format!("subscribe {start:?}"), format!("{heard:?} {}", stream.token.len()), None));
        stream.leave().await;
    }
    // Last, for it leaves something behind.
    let before = hub.hub.store_calls();
    let draft = Draft::new(normalise::detect(SECRET).unwrap().observable, Marking::open(Tlp::Green));
    let published = hub.hub.publish(&caller, Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    let calls = hub.hub.store_calls().since(&before);
    let effect = published[0].as_ref().map(|published| published.effect);
    told.push(("publish".to_owned(), format!("{effect:?}"), Some(calls)));
    // What the hub owes for that, nobody's next request pays for.
    let before = hub.hub.store_calls();
    publish(hub, VIEWER, "next.example", Marking::open(Tlp::Green)).await;
    told.push(("publish next".to_owned(), String::new(), Some(hub.hub.store_calls().since(&before))));
    told
}

/// Counts by everything by which is counted.
async fn counts(hub: &Engine, caller: &Caller, told: &mut Vec<Told>) {
    let day = |offset| Histogram { per: Per::Day, from: None, to: None, offset };
    for filter in filters() {
        for by in std::iter::once(None).chain(Dimension::ALL.iter().copied().map(Some)) {
            for histogram in [None, Some(day(0)), Some(day(420))] {
                let counting = Counting { filter: filter.clone(), by, histogram, rows: 10 };
                let before = hub.hub.store_calls();
                let counted = hub.hub.aggregate(caller, counting).await.unwrap();
                let calls = hub.hub.store_calls().since(&before);
                let what = format!("count {filter:?} {by:?} {histogram:?}");
                told.push((what, format!("{counted:?}"), Some(calls)));
            }
        }
    }
}

/// Looks up what the hidden values contain: one by one, and together.
async fn look_up_wide(hub: &Engine, caller: &Caller, told: &mut Vec<Told>) {
    let contained = [
        SECRET,
        "a.b.secret.example",
        "http://a.secret.example/x",
        "bob@secret.example",
        SECRET_NETWORK,
        "198.51.100.7",
        "198.51.100.7:443",
        "198.51.100.0/24",
        "https://198.51.100.7:8443/",
        "a.open-1.example",
        "203.0.113.9",
    ];
    let values = contained.map(|text| normalise::detect(text).unwrap().observable);
    for asked in values.iter().map(std::slice::from_ref).chain([&values[..]]) {
        let before = hub.hub.store_calls();
        let found = hub.hub.lookup_wide(caller, asked.to_vec()).await.unwrap();
        let calls = hub.hub.store_calls().since(&before);
        let known = found.iter().map(|found| (found.exact.len(), &found.wider, found.truncated));
        let known: Vec<_> = known.map(|(exact, wider, cut)| (exact, wider.len(), cut)).collect();
        told.push(("lookup wide".to_owned(), format!("{known:?}"), Some(calls)));
    }
}

/// Asks for the dossiers of the hidden values and of what they contain, and
/// last for that of a value that shares its campaign with a hidden one.
async fn dossiers(hub: &Engine, caller: &Caller, told: &mut Vec<Told>) {
    for text in [SECRET, "http://a.secret.example/x", SECRET_NETWORK, "198.51.100.7", "open-1.example"] {
        let value = normalise::detect(text).unwrap().observable;
        let before = hub.hub.store_calls();
        let dossier = hub.hub.dossier(caller, value, Vec::new()).await.unwrap();
        let calls = hub.hub.store_calls().since(&before);
        let Dossier { assertions, more_assertions, summary, more_sightings, related } = dossier;
        let assertions: Vec<_> = assertions.iter().map(|bytes| seen(bytes)).collect();
        let values = |kin: &Kin| kin.values.iter().map(|relative| relative.value.to_string()).collect();
        let related: Vec<(_, Vec<_>, _)> =
            related.iter().map(|kin| (kin.kinship, values(kin), kin.more)).collect();
        let scored = summary.scored.map(|scored| (scored.score, scored.sources, scored.false_positives));
        let summary = (&summary.owners, summary.others, &summary.conflicts, &summary.totals, scored);
        let answer = format!("{assertions:?} {more_assertions} {summary:?} {more_sightings} {related:?}");
        // On its way through the campaign it passes over what is hidden.
        let method = if text == "open-1.example" { "dossier of a relative" } else { "dossier" };
        told.push((method.to_owned(), answer, Some(calls)));
    }
}

/// Everything that names the record.
async fn by_id(hub: &Engine, caller: &Caller, id: Uuid, told: &mut Vec<Told>) {
    let get = hub.hub.get(caller, id).await.map(|_| ());
    told.push(("get".to_owned(), format!("{get:?}"), None));
    let stood = hub.hub.get_as_of(caller, id, hub.clock.now()).await.map(|_| ());
    told.push(("get as of".to_owned(), format!("{stood:?}"), None));
    let versions = hub.hub.versions(caller, id, 100, "").await.map(|_| ());
    told.push(("versions".to_owned(), format!("{versions:?}"), None));
    let revocation = Revocation { reason: RevocationReason::FalsePositive, note: String::new() };
    let revoked = hub.hub.revoke(caller, Uuid::new_v4(), id, revocation, None).await.map(|_| ());
    told.push(("revoke".to_owned(), format!("{revoked:?}"), None));
    let sighting = SightingDraft {
        indicator: id,
        outcome: Outcome::SeenBlocked,
        count: 1,
        first_seen: None,
        last_seen: None,
        note: String::new(),
        marking: None,
    };
    let recorded = hub.hub.report_sightings(caller, Uuid::new_v4(), vec![Ok(sighting)]).await.unwrap();
    told.push(("report sightings".to_owned(), format!("{recorded:?}"), None));
    let explained = hub.hub.explain(caller, id, slug(OTHER), None).await.map(|_| ());
    told.push(("explain".to_owned(), format!("{explained:?}"), None));
    leave(hub, caller, id, told).await;
}

/// Everything about leave to republish it.
async fn leave(hub: &Engine, caller: &Caller, indicator: Uuid, told: &mut Vec<Told>) {
    let green = Marking::open(Tlp::Green);
    let request = Request { indicator, wish: green.clone(), reason: "r".to_owned() };
    let asked = hub.hub.request_republication(caller, Uuid::new_v4(), request).await.map(|_| ());
    told.push(("ask for leave".to_owned(), format!("{asked:?}"), None));
    for org in [VIEWER, OTHER] {
        let (organisation, note) = (slug(org), String::new());
        let terms = Terms { widest: green.clone(), until: None };
        let grant = Grant { indicator, organisation: organisation.clone(), terms, note: note.clone() };
        let granted = hub.hub.grant_republication(caller, Uuid::new_v4(), grant).await.map(|_| ());
        told.push((format!("grant leave to {org}"), format!("{granted:?}"), None));
        let withdrawal = Withdrawal { indicator, organisation, note };
        let withdrawn = hub.hub.withdraw_republication(caller, Uuid::new_v4(), withdrawal).await;
        told.push((format!("withdraw leave of {org}"), format!("{:?}", withdrawn.map(|_| ())), None));
    }
    for value in [SECRET, "other.example"] {
        let observable = normalise::detect(value).unwrap().observable;
        let draft = Draft { republication_of: Some(indicator), ..Draft::new(observable, green.clone()) };
        let refused = hub.hub.publish(caller, Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
        assert!(refused[0].is_err());
        told.push((format!("republish {value}"), format!("{refused:?}"), None));
    }
    let listed = hub.hub.list_republications(caller, false, 100, "").await;
    told.push(("list leave".to_owned(), format!("{listed:?}"), None));
}

/// What a page shows, without what is random.
fn seen(bytes: &[u8]) -> (String, String, i32) {
    let indicator = v1::Indicator::decode(bytes).unwrap();
    let value = event::observables(&indicator).unwrap().0.to_string();
    (value, indicator.owner.clone(), indicator.state)
}

async fn hub() -> Engine {
    // What the hub writes of its own accord, it writes after this test.
    let hub = Engine::with(|options| options.debt_delay = Duration::from_secs(3_600));
    for number in 0..3 {
        publish(&hub, OTHER, &format!("open-{number}.example"), Marking::open(Tlp::Green)).await;
    }
    publish(&hub, OTHER, "203.0.113.0/24", Marking::open(Tlp::Green)).await;
    hub
}

#[test]
fn what_is_hidden_is_answered_and_costs_what_is_absent_does() {
    block_on(async {
        let without = hub().await;
        let absent = ask(&without, Uuid::new_v4()).await;
        let all = hidden(&without);
        without.close().await;
        for marking in all {
            let (with, elsewhere) = (hub().await, hub().await);
            let secret = publish(&with, OWNER, SECRET, marking.clone()).await;
            publish(&with, OWNER, SECRET_NETWORK, marking.clone()).await;
            publish(&elsewhere, OWNER, "another.example", marking.clone()).await;
            publish(&elsewhere, OWNER, "192.0.2.0/25", marking.clone()).await;
            let told = ask(&with, secret).await;
            let of_another = ask(&elsewhere, Uuid::new_v4()).await;
            assert_eq!(told, of_another, "{marking:?}");
            for ((method, answer, calls), (_, expected, fewest)) in told.iter().zip(&absent) {
                assert_eq!(answer, expected, "{method} {marking:?}");
                if ["lookup", "lookup wide", "dossier", "publish", "publish next"].contains(&method.as_str())
                {
                    assert_eq!(calls, fewest, "{method} {marking:?}");
                }
            }
            with.close().await;
            elsewhere.close().await;
        }
    });
}
