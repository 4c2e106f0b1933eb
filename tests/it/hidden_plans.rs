//! What a plan tells is made of the question and of what the caller may see: it
//! is the same, word by word and number by number, in a world with hidden
//! records, versions, sightings and owners and in one without.

use std::time::Duration;

use luytre::base::clock::Timestamp;
use luytre::model::indicator::{Draft, Kind, Observable, RecommendedAction, Role, State, normalise};
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::query::{IndicatorFilter, Order, Question, Span, ValueMatch};
use luytre::model::search::Search;
use luytre::model::sighting::{Outcome, SightingDraft};
use luytre::wire::event;
use luytre::wire::proto::v1;
use prost::Message as _;
use uuid::Uuid;

use crate::engine::support::{Engine, START, block_on, slug};

const OWNER: usize = 0;
const VIEWER: usize = 1;
const OTHER: usize = 2;
const NAMED: usize = 3;
const HOUR: u64 = 3_600_000_000;
const MD5: &str = "0a0b0c0d0e0f00112233445566778899";

fn value(text: &str) -> Observable {
    normalise::detect(text).unwrap().observable
}

fn to(org: usize) -> Marking {
    Marking {
        recipients: Recipients { organisations: vec![slug(org)], ..Recipients::default() },
        ..Marking::open(Tlp::Amber)
    }
}

fn at(hour: u64) -> Option<Timestamp> {
    Some(Timestamp::from_micros_clamped(START - 1_000 * HOUR + hour * HOUR))
}

fn draft(value: Observable, marking: Marking) -> Draft {
    Draft {
        labels: vec!["c2".to_owned()],
        role: Some(Role::Sink),
        family: "Họ A".to_owned(),
        campaign: "Hè".to_owned(),
        techniques: vec!["T1566.001".to_owned()],
        confidence: Some(70),
        action: Some(RecommendedAction::Block),
        first_seen: at(1),
        last_seen: at(2),
        description: "lừa đảo qua tin nhắn".to_owned(),
        ..Draft::new(value, marking)
    }
}

async fn publish(hub: &Engine, org: usize, drafts: Vec<Draft>) -> Vec<Uuid> {
    let drafts = drafts.into_iter().map(Ok).collect();
    let results = hub.hub.publish(&hub.caller(org), Uuid::new_v4(), drafts).await.unwrap();
    results.into_iter().map(|result| result.unwrap().id).collect()
}

async fn sight(hub: &Engine, org: usize, indicator: Uuid, marking: Option<Marking>) {
    let sighting = SightingDraft {
        indicator,
        outcome: Outcome::SeenBlocked,
        count: 1,
        first_seen: None,
        last_seen: None,
        note: String::new(),
        marking,
    };
    let reported =
        hub.hub.report_sightings(&hub.caller(org), Uuid::new_v4(), vec![Ok(sighting)]).await.unwrap();
    assert!(reported[0].is_ok());
}

/// What one world has that the viewer is not to know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hidden {
    Nothing,
    /// Records, by the hundred, of all that is asked for.
    Records,
    /// Sightings of what he sees.
    Sightings,
    /// A hash that a file had in a version that he does not see.
    Hash,
    /// That it is the owner who published what is masked.
    Owner,
}

async fn world(hidden: Hidden) -> Engine {
    let hub = Engine::with(|options| options.debt_delay = Duration::from_secs(3_600));
    let file = |hashes: Option<&str>| {
        let sha256 = "0d".repeat(32);
        normalise::file(normalise::Hashes { md5: hashes, sha256: Some(&sha256), ..Default::default() })
            .unwrap()
    };
    let of_file = |hash, marking| {
        let (observable, aliases) = file(hash);
        Draft { aliases, ..draft(observable, marking) }
    };
    let open = |number: usize| draft(value(&format!("open-{number}.example")), Marking::open(Tlp::Green));
    let seen = publish(&hub, OTHER, (0..6).map(open).collect()).await;
    sight(&hub, OTHER, seen[1], Some(Marking::open(Tlp::Green))).await;
    let mut drafts: Vec<_> = (10..16).map(open).collect();
    drafts[0] = Draft::new(value("203.0.113.0/24"), Marking::open(Tlp::Green));
    drafts[1] = Draft { first_seen: None, last_seen: None, confidence: None, ..drafts[1].clone() };
    publish(&hub, OTHER, drafts).await;
    let former = (hidden == Hidden::Hash).then_some(MD5);
    publish(&hub, OTHER, vec![of_file(former, to(NAMED))]).await;
    publish(&hub, OTHER, vec![of_file(None, Marking::open(Tlp::Green))]).await;
    let masked = Marking { caveats: Caveats::MASKED_SOURCE, ..to(VIEWER) };
    let source = if hidden == Hidden::Owner { OWNER } else { NAMED };
    publish(&hub, source, vec![draft(value("masked.example"), masked)]).await;
    if hidden == Hidden::Records {
        for text in ["secret", "other"] {
            let secret = |number: usize| {
                let marking =
                    if number.is_multiple_of(2) { to(NAMED) } else { Marking::open(Tlp::AmberStrict) };
                let seen = at(u64::try_from(number).unwrap());
                let said = draft(value(&format!("{text}-{number}.example")), marking);
                Draft { first_seen: seen, last_seen: seen, ..said }
            };
            publish(&hub, OWNER, (0..200).map(secret).collect()).await;
        }
        publish(&hub, OWNER, vec![draft(value("198.51.100.7"), to(NAMED))]).await;
    }
    if hidden == Hidden::Sightings {
        for indicator in [seen[0], seen[2], seen[3]] {
            sight(&hub, NAMED, indicator, None).await;
        }
    }
    hub
}

fn filters() -> Vec<IndicatorFilter> {
    let none = IndicatorFilter::default;
    let span = || Span { from: at(0), to: at(500) };
    let text = |search| Some(Search::parse(search).unwrap());
    let values = |values: Vec<ValueMatch>| IndicatorFilter { values, ..none() };
    let net = |text: &str| text.parse().unwrap();
    let mut filters = vec![
        none(),
        IndicatorFilter { kinds: vec![Kind::Domain], ..none() },
        IndicatorFilter { owners: vec![slug(OWNER)], ..none() },
        IndicatorFilter { owners: vec![slug(NAMED), slug(OTHER)], ..none() },
        IndicatorFilter { labels: vec!["c2".to_owned()], ..none() },
        IndicatorFilter { tlps: vec![Tlp::Amber, Tlp::AmberStrict], ..none() },
        IndicatorFilter { roles: vec![Role::Sink], ..none() },
        IndicatorFilter { families: vec!["họ a".to_owned()], ..none() },
        IndicatorFilter { campaigns: vec!["Hè".to_owned()], ..none() },
        IndicatorFilter { techniques: vec!["T1566".to_owned()], ..none() },
        IndicatorFilter { states: vec![State::Revoked], ..none() },
        IndicatorFilter { org_kinds: vec!["unit".to_owned()], ..none() },
        IndicatorFilter { confidence: Some((60, 80)), ..none() },
        IndicatorFilter { actions: vec![RecommendedAction::Block], ..none() },
        IndicatorFilter { first_seen: span(), ..none() },
        IndicatorFilter { last_seen: Span { from: at(2), to: None }, ..none() },
        IndicatorFilter { published: Span { from: at(0), to: None }, ..none() },
        IndicatorFilter { added_from: at(0), ..none() },
        IndicatorFilter { valid_at: Some(Timestamp::from_micros_clamped(START + HOUR)), ..none() },
        IndicatorFilter { text: text("lua dao"), ..none() },
        IndicatorFilter { text: text("nha*"), ..none() },
        IndicatorFilter { sighted_by: vec![slug(NAMED)], ..none() },
        IndicatorFilter { sighted_since: at(0), ..none() },
        IndicatorFilter { outcomes: vec![Outcome::SeenBlocked], ..none() },
        values(vec![ValueMatch::Exact(value(MD5))]),
        values(vec![ValueMatch::Exact(value("secret-0.example"))]),
        values(vec![ValueMatch::Prefix("0a0b0c".to_owned())]),
        values(vec![ValueMatch::Prefix("secret".to_owned())]),
        values(vec![ValueMatch::DomainSuffix("example".to_owned())]),
        values(vec![ValueMatch::Inside(net("0.0.0.0/0"))]),
        values(vec![ValueMatch::Containing(net("198.51.100.7/32"))]),
    ];
    let mixed = IndicatorFilter { kinds: vec![Kind::Domain], first_seen: span(), ..filters[4].clone() };
    filters.push(IndicatorFilter { outcomes: vec![Outcome::SeenBlocked], ..mixed.clone() });
    filters.push(IndicatorFilter { except: Some(Box::new(filters[12].clone())), ..mixed });
    filters
}

/// What the pages of an answer show, and the plan of each.
type Told = (String, Vec<(Vec<String>, String)>);

async fn ask(hub: &Engine) -> Vec<Told> {
    let caller = hub.caller(VIEWER);
    let mut told = Vec::new();
    for filter in filters() {
        for &order in Order::ALL {
            for size in [2, 100] {
                let question = Question { order, explain: true, ..Question::new(filter.clone()) };
                let (mut pages, mut token) = (Vec::new(), String::new());
                loop {
                    let page = hub.hub.list(&caller, question.clone(), size, &token).await.unwrap();
                    pages.push((
                        page.indicators.iter().map(|bytes| seen(bytes)).collect(),
                        format!("{:?}", page.plan),
                    ));
                    token = page.next_page_token;
                    if token.is_empty() {
                        break;
                    }
                }
                told.push((format!("{filter:?} {order:?} {size}"), pages));
            }
        }
    }
    told
}

/// What a row shows, without what is random.
fn seen(bytes: &[u8]) -> String {
    let indicator = v1::Indicator::decode(bytes).unwrap();
    let (value, _) = event::observables(&indicator).unwrap();
    format!("{value} {}", indicator.owner)
}

#[test]
fn a_plan_tells_the_same_with_and_without_what_is_hidden() {
    block_on(async {
        let without = world(Hidden::Nothing).await;
        let expected = ask(&without).await;
        without.close().await;
        let rows: usize = expected.iter().flat_map(|(_, pages)| pages).map(|(rows, _)| rows.len()).sum();
        assert!(rows > 1_000, "{rows} rows are compared");
        for hidden in [Hidden::Records, Hidden::Sightings, Hidden::Hash, Hidden::Owner] {
            let with = world(hidden).await;
            for ((question, told), (_, expected)) in ask(&with).await.iter().zip(&expected) {
                assert_eq!(told, expected, "{hidden:?}: {question}");
            }
            with.close().await;
        }
    });
}

#[test]
fn what_only_hidden_records_have_takes_no_longer_than_what_none_has() {
    block_on(async {
        let hub = world(Hidden::Records).await;
        let hidden = |number: usize| {
            let secret = draft(value(&format!("http://secret.example/{number}")), to(NAMED));
            Draft {
                labels: vec!["secret".to_owned()],
                family: "secret".to_owned(),
                role: Some(Role::Tool),
                ..secret
            }
        };
        publish(&hub, OWNER, (0..100).map(hidden).collect()).await;
        let (none, caller) = (IndicatorFilter::default, hub.caller(VIEWER));
        let names = || vec!["secret".to_owned()];
        let absent = IndicatorFilter { labels: vec!["absent".to_owned()], ..none() };
        let asked = [
            IndicatorFilter { labels: names(), ..none() },
            IndicatorFilter { families: names(), ..none() },
            IndicatorFilter { roles: vec![Role::Tool], ..none() },
            IndicatorFilter { kinds: vec![Kind::Url], ..none() },
            IndicatorFilter { owners: vec![slug(OWNER)], ..none() },
            IndicatorFilter { labels: names(), outcomes: vec![Outcome::SeenBlocked], ..none() },
            IndicatorFilter {
                labels: names(),
                values: vec![ValueMatch::DomainSuffix("example".to_owned())],
                ..none()
            },
        ];
        let cost = async |filter: &IndicatorFilter, order| {
            let question = Question { order, ..Question::new(filter.clone()) };
            // All is indexed once this is answered.
            hub.hub.list(&caller, question.clone(), 1, "").await.unwrap();
            let before = hub.hub.store_calls();
            let page = hub.hub.list(&caller, question, 1, "").await.unwrap();
            assert_eq!((page.indicators.len(), page.next_page_token.as_str()), (0, ""));
            let calls = hub.hub.store_calls().since(&before);
            (calls.latest, calls.chunks, calls.postings, calls.values)
        };
        for &order in Order::ALL {
            let least = cost(&absent, order).await;
            for filter in &asked {
                assert_eq!(cost(filter, order).await, least, "{filter:?} {order:?}");
            }
        }
        hub.close().await;
    });
}
