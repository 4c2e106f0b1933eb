//! Who exists, who is refused, who inherits what and who leads, on the days
//! of the story: the organisations of the shared roster from 15/12/2019 on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use luytre::base::clock::Clock as _;
use luytre::hub::error::Reason;
use luytre::hub::{Open, Start};
use luytre::interop::roster;
use luytre::model::indicator::{Draft, normalise};
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::org::OrgSlug;
use luytre::model::principal::{Roles, SpiffeId};
use luytre::model::roster::{Grant, Roster};
use serde_json::Value;
use time::Date;
use time::macros::date;
use uuid::Uuid;

use crate::engine::support::{Engine, Stream, block_on, noon};

const BEGIN: Date = date!(2019 - 12 - 15);

/// The shared roster as it lies there; `None`: it does not.
pub(crate) fn shared() -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/roster.json");
    if let Ok(text) = std::fs::read(&path) {
        return Some(serde_json::from_slice(&text).unwrap());
    }
    eprintln!("skipped: there is no {}", path.display());
    None
}

fn slug(text: &str) -> OrgSlug {
    OrgSlug::parse(text).unwrap()
}

fn id(org: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://hub.example/org/{org}/system/soc")).unwrap()
}

/// A hub of these organisations, one system in each.
fn hub(file: &Value) -> Engine {
    let mut roster: Roster = roster::parse(file.to_string().as_bytes()).unwrap();
    let grant = Grant { roles: Roles::from_bits(0b11), from: None, to: None };
    let systems = roster.organisations.keys().map(|org| (id(org.as_str()), grant.clone()));
    roster.principals = systems.collect();
    Engine::of(roster, noon(BEGIN), |_| ())
}

fn set(hub: &Engine, day: Date) {
    hub.clock.set_noon(day);
    assert_eq!(hub.clock.now().day(), day);
}

/// The days that a field of the records names.
fn days<'a>(records: &'a Value, field: &'a str) -> impl Iterator<Item = &'a str> {
    records.as_array().unwrap().iter().filter_map(move |record| record[field].as_str())
}

async fn publish(hub: &Engine, org: &str, value: &str, tlp: Tlp, recipients: Recipients) -> String {
    let observable = normalise::detect(value).unwrap().observable;
    let draft = Draft::new(observable, Marking { tlp, recipients, caveats: Caveats::NONE });
    let caller = hub.caller_as(id(org)).unwrap();
    let results = hub.hub.publish(&caller, Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    format!("indicators/{}", results.into_iter().next().unwrap().unwrap().id)
}

async fn follow(hub: &Engine, org: &str) -> Stream {
    let open = Open { start: Some(Start::Earliest), credit: 1_000, ..Open::default() };
    hub.stream_of(&hub.caller_as(id(org)).unwrap(), open).await.unwrap()
}

async fn heard(stream: &mut Stream) -> Vec<String> {
    let batches = stream.drain(10).await;
    let events = batches.into_iter().flat_map(|batch| batch.events);
    events.map(|event| event.indicator.unwrap().name).collect()
}

#[test]
fn on_each_day_those_exist_whom_the_roster_names_and_the_others_are_refused() {
    let Some(file) = shared() else { return };
    block_on(async {
        let hub = hub(&file);
        for day in [
            BEGIN,
            date!(2025 - 02 - 28),
            date!(2025 - 03 - 01),
            date!(2025 - 06 - 30),
            date!(2025 - 07 - 01),
        ] {
            set(&hub, day);
            hub.hub.turn_day().await.unwrap();
            let text = day.to_string();
            let mut count = BTreeMap::from([(true, 0), (false, 0)]);
            for org in file["organisations"].as_array().unwrap() {
                let begun = org["valid_from"].as_str().is_none_or(|from| from <= text.as_str());
                let ended = org["valid_to"].as_str().is_some_and(|to| to <= text.as_str());
                let expected = if begun && !ended { None } else { Some(Reason::OrganisationInactive) };
                let slug = org["slug"].as_str().unwrap();
                let refused = hub.caller_as(id(slug)).err().map(|error| error.reason);
                assert_eq!(refused, expected, "{slug} on {day}");
                *count.entry(refused.is_none()).or_default() += 1;
            }
            assert!(count[&true] > 10 && count[&false] > 2, "{day}: {count:?}");
        }
    });
}

#[test]
fn a_day_begins_a_generation_exactly_where_something_begins_or_ends() {
    let Some(file) = shared() else { return };
    block_on(async {
        let hub = hub(&file);
        let end = date!(2025 - 08 - 01);
        let mut expected: BTreeSet<String> = BTreeSet::new();
        for (list, fields) in
            [("organisations", ["valid_from", "valid_to"]), ("role_assignments", ["from", "to"])]
        {
            expected.extend(fields.iter().flat_map(|field| days(&file[list], field)).map(str::to_owned));
        }
        let inside = BEGIN.to_string()..=end.to_string();
        expected.retain(|day| inside.contains(day) && *day != BEGIN.to_string());
        let (mut turned, mut day) = (BTreeSet::new(), BEGIN);
        while day <= end {
            set(&hub, day);
            if hub.hub.turn_day().await.unwrap() {
                turned.insert(day.to_string());
            }
            day = day.next_day().unwrap();
        }
        assert!(turned.len() >= 3, "{turned:?}");
        assert_eq!(turned, expected);
        let dir = hub.close().await;
        let report = luytre::hub::verify(&dir.path().join("hub"), |_| ()).unwrap();
        assert!(report.is_clean(), "{:?}", report.differences);
    });
}

#[test]
fn a_successor_gains_amber_from_its_day_on_and_red_never() {
    let Some(file) = shared() else { return };
    block_on(async {
        let hub = hub(&file);
        let to = |org: &str| Recipients { organisations: vec![slug(org)], ..Recipients::default() };
        let person = |org: &str| Recipients { principals: vec![id(org)], ..Recipients::default() };
        let amber = publish(&hub, "ca-hanoi", "amber.example", Tlp::Amber, to("so-tttt")).await;
        publish(&hub, "ca-hanoi", "red.example", Tlp::Red, person("so-tttt")).await;
        let national = publish(&hub, "ca-hanoi", "national.example", Tlp::Amber, to("vncert")).await;
        publish(&hub, "ca-hanoi", "nationalred.example", Tlp::Red, person("vncert")).await;
        let mut predecessor = follow(&hub, "so-tttt").await;
        assert_eq!(heard(&mut predecessor).await.len(), 2, "the predecessor reads both");
        let mut standing = follow(&hub, "a05").await;
        assert_eq!(heard(&mut standing).await, [""; 0]);

        set(&hub, date!(2025 - 02 - 28));
        assert!(hub.hub.turn_day().await.unwrap(), "a body began in 2023");
        assert_eq!(heard(&mut standing).await, [""; 0], "the day before");
        assert_eq!(hub.caller_as(id("so-khcn-2025")).unwrap_err().reason, Reason::OrganisationInactive);

        set(&hub, date!(2025 - 03 - 01));
        assert!(hub.hub.turn_day().await.unwrap());
        assert_eq!(heard(&mut standing).await, [national], "the effective day");
        let mut successor = follow(&hub, "so-khcn-2025").await;
        assert_eq!(heard(&mut successor).await, [amber]);
        assert_eq!(predecessor.error().await.reason, Reason::OrganisationInactive, "its stream ends");
    });
}

#[test]
fn the_lead_unit_of_hanoi_is_another_in_february_and_in_august_2025() {
    let Some(file) = shared() else { return };
    block_on(async {
        let hub = hub(&file);
        let lead = || -> Vec<String> {
            let all = hub.hub.organisations().into_iter();
            let all = all.filter(|view| view.duties.iter().any(|duty| duty == "lead-unit-infosec"));
            all.map(|view| view.organisation.slug.to_string()).collect()
        };
        assert_eq!(lead(), ["so-tttt"]);
        set(&hub, date!(2025 - 02 - 28));
        assert_eq!(lead(), ["so-tttt"]);
        set(&hub, date!(2025 - 03 - 01));
        assert_eq!(lead(), [""; 0], "nobody is named between");
        set(&hub, date!(2025 - 08 - 01));
        assert_eq!(lead(), ["ca-hanoi"]);
    });
}
