//! What is about an organisation's own assets reaches whoever watches them, and
//! nothing else does: held against a list that is too simple to be wrong.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use luytre::hub::error::{Kind, Reason};
use luytre::hub::{Open, Start, verify};
use luytre::model::asset::{Asset, AssetChange};
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, normalise};
use luytre::model::marking::{Marking, Recipients, Tlp};
use luytre::model::org::OrgSlug;
use luytre::model::query::{IndicatorFilter, Question};
use luytre::model::roster::Patch;
use luytre::model::sighting::{Outcome, SightingDraft};
use luytre::wire::proto::v1;
use luytre::wire::proto::v1::subscribe_response::Message;
use proptest::prelude::*;
use prost::Message as _;
use uuid::Uuid;

use crate::harness::patience::patiently;

use super::assets_meanwhile::churn;
use super::support::{Engine, Event, Stream, block_on, events, slug};

pub(super) const VIEWER: usize = 1;
pub(super) const OTHER: usize = 2;
pub(super) const NEW: i32 = 1;
const UPDATE: i32 = 2;
pub(super) const WITHDRAWN: i32 = 3;
const SIGHTED: i32 = 6;

/// Assets, and which of [`VALUES`] are about each, by their places.
const ASSETS: [(&str, &[usize]); 7] = [
    ("198.51.100.0/24", &[0, 1, 2, 3, 4, 5]),
    ("198.51.100.128/25", &[3, 4, 5]),
    ("2001:db8::/32", &[7, 8]),
    ("hà-nội.example", &[9, 10, 11]),
    ("mail.hà-nội.example", &[11]),
    ("AS64500", &[13]),
    ("203.0.113.9", &[]),
];
const VALUES: [&str; 16] = [
    "198.51.100.7",
    "::ffff:198.51.100.8",
    "http://198.51.100.7:8080/x",
    "198.51.100.200:443",
    "198.51.0.0/16",
    "198.51.100.192/26",
    "198.51.101.7",
    "2001:db8:1::7",
    "http://[2001:db8::1]/",
    "hà-nội.example",
    "https://a.b.HÀ-NỘI.example/x?y",
    "bob@mail.hà-nội.example",
    "xhà-nội.example",
    "AS64500",
    "d41d8cd98f00b204e9800998ecf8427e",
    "hanoi.example",
];
/// Always the viewer's own: tells that all before it has come.
pub(super) const MARK: &str = "mark.example";

#[derive(Debug, Clone)]
enum Op {
    Publish { value: usize, marking: usize, note: u8 },
    Revoke { value: usize },
    Change { org: usize, add: u8, remove: u8 },
    Regroup { member: bool },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..VALUES.len(), 0..4_usize, 0..2_u8).prop_map(|(value, marking, note)| Op::Publish { value, marking, note }),
        1 => (0..VALUES.len()).prop_map(|value| Op::Revoke { value }),
        3 => (any::<u8>(), any::<u8>()).prop_map(|(add, remove)| Op::Change { org: VIEWER, add, remove }),
        1 => any::<u8>().prop_map(|add| Op::Change { org: OTHER, add, remove: 0 }),
        1 => any::<bool>().prop_map(|member| Op::Regroup { member }),
    ]
}

pub(super) fn marking(number: usize) -> Marking {
    let group = OrgSlug::parse("those").unwrap();
    let to = |tlp, organisations: Vec<OrgSlug>, groups: Vec<OrgSlug>| Marking {
        recipients: Recipients { organisations, groups, ..Recipients::default() },
        ..Marking::open(tlp)
    };
    match number {
        0 => Marking::open(Tlp::Green),
        1 => to(Tlp::Amber, vec![slug(VIEWER)], Vec::new()),
        2 => to(Tlp::Amber, vec![slug(OTHER)], Vec::new()),
        _ => to(Tlp::Amber, Vec::new(), vec![group]),
    }
}

fn change(add: &[&str], remove: &[&str]) -> AssetChange {
    let read = |texts: &[&str]| texts.iter().map(|text| Asset::parse(text).unwrap()).collect();
    AssetChange { add: read(add), remove: read(remove) }
}

pub(super) async fn register(engine: &Engine, org: usize, add: &[&str], remove: &[&str]) {
    let caller = engine.caller(org);
    engine.hub.change_assets(&caller, Uuid::new_v4(), change(add, remove), None).await.unwrap();
}

/// Publishes as the first organisation.
pub(super) async fn publish(engine: &Engine, value: &str, marking: Marking, note: u8) -> Option<Uuid> {
    let observable = normalise::detect(value).unwrap().observable;
    let draft = Draft { description: format!("note {note}"), ..Draft::new(observable, marking) };
    let answers = engine.hub.publish(&engine.caller(0), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    answers.into_iter().next().unwrap().ok().map(|published| published.id)
}

/// What stands, and what is whose own.
#[derive(Default)]
struct Naive {
    /// By the place of the value: id, marking, whether it was taken back.
    records: BTreeMap<usize, (Uuid, usize, bool)>,
    assets: BTreeSet<usize>,
    member: bool,
    marks: u8,
}

impl Naive {
    async fn apply(&mut self, engine: &Engine, op: &Op) {
        engine.clock.advance(1_000_000);
        match *op {
            Op::Publish { value, marking: number, note } => {
                if let Some(id) = publish(engine, VALUES[value], marking(number), note).await {
                    self.records.insert(value, (id, number, false));
                }
            }
            Op::Revoke { value } => {
                let Some((id, _, revoked)) = self.records.get_mut(&value) else { return };
                let revocation = Revocation { reason: RevocationReason::Withdrawn, note: String::new() };
                let caller = engine.caller(0);
                engine.hub.revoke(&caller, Uuid::new_v4(), *id, revocation, None).await.unwrap();
                *revoked = true;
            }
            Op::Change { org, add, remove } => {
                let chosen = |bits: u8| (0..ASSETS.len()).filter(move |at| bits & (1 << at) != 0);
                let (add, remove): (BTreeSet<_>, BTreeSet<_>) =
                    (chosen(add).collect(), chosen(remove & !add).collect());
                let texts =
                    |places: &BTreeSet<usize>| places.iter().map(|at| ASSETS[*at].0).collect::<Vec<_>>();
                register(engine, org, &texts(&add), &texts(&remove)).await;
                if org == VIEWER {
                    self.assets = &(&self.assets | &add) - &remove;
                }
            }
            Op::Regroup { member } => {
                let bits = if member { 1 << VIEWER } else { 0 };
                let patch = those(bits);
                engine.hub.change_roster(&engine.caller(0), Uuid::new_v4(), patch).await.unwrap();
                self.member = member;
            }
        }
    }

    fn is_own(&self, value: usize) -> bool {
        self.assets.iter().any(|at| ASSETS[*at].1.contains(&value))
    }

    /// Names of what the viewer has of his own.
    fn expected(&self) -> BTreeSet<String> {
        let held = self.records.iter().filter(|(value, (_, marking, revoked))| {
            !revoked && self.is_own(**value) && matches!((marking, self.member), (0 | 1, _) | (3, true))
        });
        held.map(|(_, (id, ..))| format!("indicators/{id}")).collect()
    }

    /// Publishes something that ends what was done so far.
    async fn mark(&mut self, engine: &Engine) -> String {
        engine.clock.advance(1_000_000);
        self.marks += 1;
        let marked = format!("m{}.{MARK}", self.marks);
        format!("indicators/{}", publish(engine, &marked, Marking::open(Tlp::Green), 0).await.unwrap())
    }
}

/// The group with these members.
fn those(bits: u8) -> Patch {
    use luytre::model::roster::{Group, Member};
    let of = OrgSlug::parse("those").unwrap();
    let members = (0..4).filter(|org| bits & (1 << org) != 0);
    let members = members.map(|org| Member { organisation: slug(org), from: None, to: None }).collect();
    let group = Group { slug: of.clone(), vi: "Nhóm".into(), en: String::new(), members };
    Patch { groups: vec![(of, Some(group))], ..Patch::default() }
}

pub(super) fn own() -> IndicatorFilter {
    IndicatorFilter { own_assets: true, ..IndicatorFilter::default() }
}

pub(super) fn open(start: Start) -> Open {
    Open { filter: own(), start: Some(start), credit: 2, ..Open::default() }
}

/// What a client makes of the events.
#[derive(Default, Clone)]
struct Set(BTreeSet<String>);

impl Set {
    fn take(&mut self, events: &[Event]) {
        for event in events {
            let Some(indicator) = &event.indicator else { continue };
            match event.kind {
                NEW | UPDATE => self.0.insert(indicator.name.clone()),
                _ => self.0.remove(&indicator.name),
            };
        }
    }
}

/// Takes what comes up to the mark; the values that it brought.
async fn take(stream: &mut Stream, set: &mut Set, mark: &str) -> BTreeSet<String> {
    // A state comes in an order of its own: the mark may be anywhere in it.
    let (mut brought, mut quiet, mut scanning, mut marked) = (BTreeSet::new(), 0, false, false);
    loop {
        if stream.spent() {
            stream.grant(3).await;
        }
        // What ends a scan comes whether there is credit or not.
        let message = stream.next().await.expect("the stream lasts").expect("no error");
        set.take(&std::mem::take(&mut stream.recalls));
        match &message {
            Message::StateBegin(_) => scanning = true,
            Message::StateEnd(_) => scanning = false,
            _ => {}
        }
        let Message::Batch(batch) = message else {
            if marked && !scanning {
                return brought;
            }
            quiet += 1;
            assert!(quiet < 2_000, "the mark does not come");
            continue;
        };
        quiet = 0;
        let events = events(batch);
        set.take(&events);
        let used = events.iter().filter(|event| event.kind == NEW || event.kind == UPDATE);
        brought.extend(used.filter_map(|event| value(event.indicator.as_ref()?)));
        if events.iter().any(|event| event.indicator.as_ref().is_some_and(|found| found.name == mark)) {
            set.0.remove(mark);
            marked = true;
            if !scanning {
                return brought;
            }
        }
    }
}

/// The next event, within a while.
pub(super) async fn next(stream: &mut Stream) -> Event {
    patiently("an event", stream.any()).await
}

fn value(indicator: &v1::Indicator) -> Option<String> {
    use v1::observable::Value;
    match indicator.observable.clone()?.value? {
        Value::Ipv4(text)
        | Value::Ipv6(text)
        | Value::Cidr(text)
        | Value::Domain(text)
        | Value::Url(text)
        | Value::Endpoint(text)
        | Value::Email(text)
        | Value::Asn(text) => Some(text),
        _ => Some("of another kind".to_owned()),
    }
}

async fn listed(engine: &Engine, org: usize, filter: IndicatorFilter) -> BTreeSet<String> {
    let page = engine.hub.list(&engine.caller(org), Question::new(filter), 500, "").await.unwrap();
    let name = |bytes: Bytes| v1::Indicator::decode(bytes).unwrap().name;
    page.indicators.into_iter().map(name).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24, max_shrink_iters: 24, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn whoever_watches_has_at_every_moment_what_he_may_see_about_his_own_and_nothing_else(
        first in prop::collection::vec(op(), 0..14),
        then in prop::collection::vec(op(), 1..14),
        at_last in prop::collection::vec(op(), 0..10),
        ring in prop_oneof![Just(1), Just(64_usize << 20)],
        forgets in any::<bool>(),
    ) {
        block_on(async {
            let mut engine = Engine::with(|options| options.ring_bytes = ring);
            let mut naive = Naive::default();
            naive.apply(&engine, &Op::Regroup { member: false }).await;
            register(&engine, VIEWER, &[MARK], &[]).await;
            for op in &first {
                naive.apply(&engine, op).await;
            }
            if forgets {
                churn(&engine).await;
            }
            let mark = naive.mark(&engine).await;
            let about: BTreeSet<String> = VALUES.iter().enumerate()
                .filter(|(at, _)| ASSETS.iter().any(|(_, values)| values.contains(at)))
                .map(|(_, text)| normalise::detect(text).unwrap().observable.to_string())
                .collect();
            let mut streams = Vec::new();
            for start in [Start::CurrentState, Start::Earliest] {
                let mut stream = engine.stream(VIEWER, open(start)).await.unwrap();
                let mut set = Set::default();
                let brought = take(&mut stream, &mut set, &mark).await;
                prop_assert_eq!(&set.0, &naive.expected());
                let brought: Vec<_> = brought.iter().filter(|value| !value.ends_with(MARK)).collect();
                prop_assert!(brought.iter().all(|value| about.contains(*value)), "{:?}", brought);
                streams.push((stream, set));
            }
            for op in &then {
                naive.apply(&engine, op).await;
            }
            let mark = naive.mark(&engine).await;
            let mut tokens = Vec::new();
            for (mut stream, mut set) in streams {
                take(&mut stream, &mut set, &mark).await;
                prop_assert_eq!(&set.0, &naive.expected());
                tokens.push((stream.token.clone(), set));
                stream.leave().await;
            }
            let mut found = listed(&engine, VIEWER, own()).await;
            for mark in listed(&engine, VIEWER, IndicatorFilter::default()).await.difference(&found.clone()) {
                prop_assert!(!naive.expected().contains(mark));
            }
            let marks: Vec<_> = found.difference(&naive.expected()).cloned().collect();
            prop_assert_eq!(marks.len(), usize::from(naive.marks), "only what ended each part");
            found.retain(|name| !marks.contains(name));
            prop_assert_eq!(found, naive.expected());
            engine = engine.reopen(|_| ()).await;
            for op in &at_last {
                naive.apply(&engine, op).await;
            }
            let mark = naive.mark(&engine).await;
            for (token, mut set) in tokens {
                let mut stream = engine.stream(VIEWER, open(Start::Token(token))).await.unwrap();
                take(&mut stream, &mut set, &mark).await;
                prop_assert_eq!(&set.0, &naive.expected(), "resumed");
                stream.leave().await;
            }
            let path = engine.path().to_owned();
            let dir = engine.close().await;
            let report = verify(&path, |_| ()).unwrap();
            prop_assert!(report.is_clean(), "{:?}", report.differences);
            drop(dir);
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn what_stands_about_a_new_asset_comes_at_once_and_goes_when_it_is_taken_off() {
    let engine = Engine::new();
    let known = publish(&engine, "198.51.100.7", Marking::open(Tlp::Green), 0).await.unwrap();
    let hidden = publish(&engine, "198.51.100.8", marking(2), 0).await.unwrap();
    let mut stream = engine.stream(VIEWER, Open { credit: 100, ..open(Start::Latest) }).await.unwrap();
    register(&engine, VIEWER, &["198.51.100.0/24", "example.vn"], &[]).await;
    let event = stream.until(NEW).await;
    assert_eq!(event.indicator.unwrap().name, format!("indicators/{known}"));
    // Two assets hold the next: it stays until neither does.
    let other = publish(&engine, "http://a.example.vn/", Marking::open(Tlp::Green), 0).await.unwrap();
    assert_eq!(stream.until(NEW).await.indicator.unwrap().name, format!("indicators/{other}"));
    register(&engine, VIEWER, &["a.example.vn"], &[]).await;
    register(&engine, VIEWER, &[], &["example.vn"]).await;
    register(&engine, VIEWER, &[], &["198.51.100.0/24"]).await;
    let gone = next(&mut stream).await;
    assert_eq!((gone.kind, gone.indicator.unwrap().name), (WITHDRAWN, format!("indicators/{known}")));
    register(&engine, VIEWER, &[], &["a.example.vn"]).await;
    let gone = next(&mut stream).await;
    assert_eq!((gone.kind, gone.indicator.unwrap().name), (WITHDRAWN, format!("indicators/{other}")));
    assert!(
        !listed(&engine, VIEWER, IndicatorFilter::default()).await.contains(&format!("indicators/{hidden}"))
    );
    stream.leave().await;
    engine.close().await;
}

#[tokio::test]
async fn sightings_come_of_what_is_about_own_assets_alone() {
    let engine = Engine::new();
    register(&engine, VIEWER, &["198.51.100.0/24"], &[]).await;
    let own_one = publish(&engine, "198.51.100.7", Marking::open(Tlp::Green), 0).await.unwrap();
    let other = publish(&engine, "203.0.113.7", Marking::open(Tlp::Green), 0).await.unwrap();
    let wanted = Open { include_sightings: true, credit: 100, ..open(Start::Latest) };
    let mut stream = engine.stream(VIEWER, wanted).await.unwrap();
    for indicator in [other, own_one] {
        let draft = SightingDraft {
            indicator,
            outcome: Outcome::SeenBlocked,
            count: 1,
            first_seen: None,
            last_seen: None,
            note: String::new(),
            marking: Some(Marking::open(Tlp::Green)),
        };
        let caller = engine.caller(OTHER);
        engine
            .hub
            .report_sightings(&caller, Uuid::new_v4(), vec![Ok(draft)])
            .await
            .unwrap()
            .remove(0)
            .unwrap();
    }
    let event = next(&mut stream).await;
    assert_eq!(event.kind, SIGHTED);
    assert_eq!(event.sighting.unwrap().indicator, format!("indicators/{own_one}"));
    stream.leave().await;
    engine.close().await;
}

#[tokio::test]
async fn a_list_is_its_organisations_alone_and_changes_whole_or_not_at_all() {
    let engine = Engine::new();
    let (viewer, other) = (engine.caller(VIEWER), engine.caller(OTHER));
    let empty = engine.hub.assets(&other).await.unwrap();
    let texts = async |caller: &luytre::hub::Caller| {
        let view = engine.hub.assets(caller).await.unwrap();
        view.assets.iter().map(|view| view.asset.to_string()).collect::<Vec<_>>()
    };
    let request = Uuid::new_v4();
    let first = change(&["AS64500", "Example.VN", "198.51.100.9/24"], &[]);
    let stands = engine.hub.change_assets(&viewer, request, first.clone(), None).await.unwrap();
    assert_eq!(texts(&viewer).await, ["198.51.100.0/24", "example.vn", "AS64500"]);
    assert_eq!(engine.hub.change_assets(&viewer, request, first.clone(), None).await.unwrap(), stands);
    let again = engine.hub.change_assets(&viewer, request, change(&["AS1"], &[]), None).await.unwrap_err();
    assert_eq!(again.reason, Reason::DuplicateRequestId);
    assert_eq!(engine.hub.assets(&other).await.unwrap(), empty, "nobody else can tell");

    let later = change(&["AS64501"], &["AS64500"]);
    let etag = Some(stands.etag.clone());
    let now = engine.hub.change_assets(&viewer, Uuid::new_v4(), later.clone(), etag.clone()).await.unwrap();
    assert_ne!(now.etag, stands.etag);
    let stale = engine.hub.change_assets(&viewer, Uuid::new_v4(), later, etag).await.unwrap_err();
    assert_eq!((stale.reason, stale.kind()), (Reason::EtagMismatch, Kind::Stale));
    assert_eq!(texts(&viewer).await, ["198.51.100.0/24", "example.vn", "AS64501"]);

    let many =
        |from: u32| AssetChange { add: (from..from + 4_093).map(system).collect(), ..Default::default() };
    engine.hub.change_assets(&viewer, Uuid::new_v4(), many(100_000), None).await.unwrap();
    let full =
        engine.hub.change_assets(&viewer, Uuid::new_v4(), change(&["AS1"], &[]), None).await.unwrap_err();
    assert_eq!(full.reason, Reason::RateLimited, "{full}");
    assert_eq!(texts(&viewer).await.len(), 4_096);
    let swapped = change(&["AS1"], &["AS64501"]);
    engine.hub.change_assets(&viewer, Uuid::new_v4(), swapped, None).await.unwrap();

    let before = engine.hub.assets(&viewer).await.unwrap();
    let engine = engine.reopen(|_| ()).await;
    assert_eq!(engine.hub.assets(&engine.caller(VIEWER)).await.unwrap(), before);
    engine.close().await;
}

fn system(number: u32) -> Asset {
    Asset::parse(&format!("AS{number}")).unwrap()
}

#[tokio::test]
async fn whoever_follows_one_that_ended_has_its_assets_watched_until_it_drops_them() {
    let engine = Engine::new();
    register(&engine, OTHER, &["198.51.100.0/24", "example.vn"], &[]).await;
    register(&engine, VIEWER, &["AS64500"], &[]).await;
    let known = publish(&engine, "198.51.100.7", Marking::open(Tlp::Green), 0).await.unwrap();
    let named = publish(&engine, "a.example.vn", Marking::open(Tlp::Green), 0).await.unwrap();
    let mut stream = engine.stream(VIEWER, Open { credit: 100, ..open(Start::Latest) }).await.unwrap();
    let viewer = engine.caller(VIEWER);
    assert_eq!(engine.hub.assets(&viewer).await.unwrap().assets.len(), 1);

    let mut organisation = super::support::roster().organisations[&slug(OTHER)].clone();
    organisation.valid_to = Some(time::macros::date!(2025 - 12 - 31));
    organisation.successors = vec![slug(VIEWER)];
    let patch = Patch { organisations: vec![organisation], ..Patch::default() };
    engine.hub.change_roster(&engine.caller(0), Uuid::new_v4(), patch).await.unwrap();

    let came: BTreeSet<String> =
        [next(&mut stream).await, next(&mut stream).await].map(|event| event.indicator.unwrap().name).into();
    assert_eq!(came, [known, named].map(|id| format!("indicators/{id}")).into());
    let view = engine.hub.assets(&viewer).await.unwrap();
    let told: Vec<_> =
        view.assets.iter().map(|view| (view.asset.to_string(), view.inherited_from.clone())).collect();
    let from = Some(slug(OTHER));
    let expected = [
        ("198.51.100.0/24".to_owned(), from.clone()),
        ("example.vn".to_owned(), from),
        ("AS64500".to_owned(), None),
    ];
    assert_eq!(told, expected);
    register(&engine, VIEWER, &[], &["example.vn"]).await;
    let gone = next(&mut stream).await;
    assert_eq!((gone.kind, gone.indicator.unwrap().name), (WITHDRAWN, format!("indicators/{named}")));
    assert_eq!(engine.hub.assets(&viewer).await.unwrap().assets.len(), 2);
    register(&engine, VIEWER, &["example.vn"], &[]).await;
    assert_eq!(next(&mut stream).await.indicator.unwrap().name, format!("indicators/{named}"));
    stream.leave().await;
    let path = engine.path().to_owned();
    let dir = engine.close().await;
    assert!(verify(&path, |_| ()).unwrap().is_clean());
    drop(dir);
}
