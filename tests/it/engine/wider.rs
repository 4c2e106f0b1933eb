//! A wide look-up finds what a naive search finds, closest first, and little
//! at a time.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use luytre::hub::{WideMatches, verify};
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::wider::Relation;
use luytre::model::indicator::{Draft, Kind, Observable, State, normalise};
use luytre::model::marking::{Marking, Recipients, Tlp};
use proptest::prelude::*;
use uuid::Uuid;

use super::support::{Engine, ORGS, block_on, slug};

/// The public suffixes among the names that are made up here.
const SUFFIXES: [&str; 5] = ["vn", "com.vn", "io", "github.io", "org"];

fn read(text: &str) -> Observable {
    normalise::detect(text).unwrap().observable
}

/// Near the others, so that they meet.
fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0..2_u32, 0..8_u32)
            .prop_map(|(high, low)| IpAddr::from((0x0a01_0200 + (high << 16) + low).to_be_bytes())),
        (0..2_u128, 0..4_u128).prop_map(|(high, low)| {
            IpAddr::from(((0x2001_0db8 << 96) + (high << 64) + low).to_be_bytes())
        }),
    ]
}

fn network() -> impl Strategy<Value = String> {
    (address(), prop_oneof![3 => 0..33_u8, 1 => 60..129_u8]).prop_map(|(ip, length)| {
        let most = if ip.is_ipv4() { 32 } else { 128 };
        IpNet::new(ip, length.min(most)).unwrap().trunc().to_string()
    })
}

fn name() -> impl Strategy<Value = String> {
    let labels = prop::collection::vec(prop::sample::select(vec!["a", "b"]), 0..4);
    (labels, prop::sample::select(SUFFIXES.to_vec())).prop_map(|(labels, suffix)| {
        let name: String =
            labels.iter().map(|label| format!("{label}.")).chain([suffix.to_owned()]).collect();
        // No host name is a single label.
        if name.contains('.') { name } else { format!("a.{name}") }
    })
}

fn host() -> impl Strategy<Value = String> {
    let bracketed = address().prop_map(|ip| if ip.is_ipv4() { ip.to_string() } else { format!("[{ip}]") });
    prop_oneof![name(), bracketed]
}

fn value() -> impl Strategy<Value = Observable> {
    let scheme = prop::sample::select(vec!["http", "https", "ftp", "ssh"]);
    let port = prop::sample::select(vec!["", ":80", ":443", ":8080"]);
    prop_oneof![
        2 => address().prop_map(|ip| ip.to_string()),
        4 => network(),
        4 => name(),
        2 => (host(), prop::sample::select(vec![80, 443, 8080])).prop_map(|(host, port)| format!("{host}:{port}")),
        3 => (scheme, host(), port).prop_map(|(scheme, host, port)| format!("{scheme}://{host}{port}/x")),
        1 => name().prop_map(|name| format!("bob@{name}")),
        1 => Just("e7d705a3286e19ea42f587b344ee6865".to_owned()),
    ]
    .prop_map(|text| read(&text))
}

/// The host that a text names, and it with its port.
fn named(value: &Observable) -> Option<(Observable, Option<Observable>)> {
    let text = value.to_string();
    let (host, port) = match value.kind() {
        Kind::Endpoint => (text.rsplit_once(':')?.0.to_owned(), None),
        Kind::Email => (text.split_once('@')?.1.to_owned(), None),
        Kind::Url => {
            let (scheme, rest) = text.split_once("://")?;
            let authority = rest.split('/').next()?;
            let known = [("http", "80"), ("https", "443"), ("ftp", "21")];
            let known = known.iter().find(|(name, _)| *name == scheme).map(|(_, port)| (*port).to_owned());
            match authority.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
                Some((host, port)) => (host.to_owned(), Some(port.to_owned())),
                None => (authority.to_owned(), known),
            }
        }
        _ => return None,
    };
    Some((read(&host), port.map(|port| read(&format!("{host}:{port}")))))
}

fn holds(network: &Observable, value: &Observable) -> bool {
    let Observable::Cidr(network) = network else { return false };
    match value {
        Observable::Ipv4(ip) => network.contains(&IpAddr::V4(*ip)),
        Observable::Ipv6(ip) => network.contains(&IpAddr::V6(*ip)),
        Observable::Cidr(net) => network != net && network.contains(net),
        _ => false,
    }
}

fn is_above(parent: &Observable, value: &Observable) -> bool {
    let (Observable::Domain(parent), Observable::Domain(value)) = (parent, value) else { return false };
    value.ends_with(&format!(".{parent}")) && !SUFFIXES.contains(&parent.as_ref())
}

/// How `known` is about `asked`, if it is.
fn relation(asked: &Observable, known: &Observable) -> Option<Relation> {
    if asked == known {
        return Some(Relation::Exact);
    }
    if holds(known, asked) {
        return Some(Relation::ContainingNetwork);
    }
    if is_above(known, asked) {
        return Some(Relation::ParentDomain);
    }
    let (host, endpoint) = named(asked)?;
    if endpoint.as_ref() == Some(known) {
        Some(Relation::Endpoint)
    } else if host == *known {
        Some(Relation::Host)
    } else if holds(known, &host) {
        Some(Relation::HostNetwork)
    } else if is_above(known, &host) {
        Some(Relation::HostParentDomain)
    } else {
        None
    }
}

/// The farther, the later.
fn distance(relation: Relation, known: &Observable) -> (u8, usize) {
    match (relation, known) {
        (Relation::Exact, _) => (0, 0),
        (Relation::Endpoint, _) => (1, 0),
        (Relation::Host, _) => (2, 0),
        (_, Observable::Cidr(net)) => (3, 128 - usize::from(net.prefix_len())),
        (_, known) => (3, 300 - known.to_string().len()),
    }
}

const MARKINGS: usize = 4;

fn marking(number: usize, org: usize) -> Marking {
    let to = |tlp, org| Marking {
        recipients: Recipients { organisations: vec![slug(org)], ..Recipients::default() },
        ..Marking::open(tlp)
    };
    match number {
        0 => Marking::open(Tlp::Green),
        1 => to(Tlp::Amber, (org + 1) % ORGS.len()),
        2 => Marking::open(Tlp::AmberStrict),
        _ => Marking::open(Tlp::Red),
    }
}

fn sees(viewer: usize, org: usize, marking: usize) -> bool {
    viewer == org || marking == 0 || (marking == 1 && viewer == (org + 1) % ORGS.len())
}

#[derive(Debug, Clone)]
struct Publish {
    org: usize,
    value: Observable,
    marking: usize,
    revoke: bool,
}

prop_compose! {
    fn publish()(org in 0..ORGS.len(), value in value(), marking in 0..MARKINGS, revoke in prop::bool::weighted(0.1))
        -> Publish
    {
        Publish { org, value, marking, revoke }
    }
}

/// One record as it stands: its id, its marking, its state.
type Records = BTreeMap<(Observable, usize), (Uuid, usize, State)>;

async fn apply(engine: &Engine, publish: &Publish, records: &mut Records) {
    let Publish { org, value, marking: number, revoke } = publish.clone();
    let caller = engine.caller(org);
    let draft =
        Draft { labels: vec![format!("m{number}")], ..Draft::new(value.clone(), marking(number, org)) };
    let published = engine.hub.publish(&caller, Uuid::new_v4(), vec![Ok(draft)]).await.unwrap().remove(0);
    let Ok(published) = published else {
        assert_eq!(records[&(value, org)].2, State::Revoked);
        return;
    };
    let mut state = State::Active;
    if revoke {
        let why = Revocation { reason: RevocationReason::Withdrawn, note: String::new() };
        engine.hub.revoke(&caller, Uuid::new_v4(), published.id, why, None).await.unwrap();
        state = State::Revoked;
    }
    records.insert((value, org), (published.id, number, state));
}

type Seen = (Relation, String, Uuid, String, State);

fn expected(records: &Records, viewer: usize, asked: &Observable) -> Vec<Seen> {
    let mut all: Vec<_> = records
        .iter()
        .filter(|((_, org), (_, marking, _))| sees(viewer, *org, *marking))
        .filter_map(|((known, org), (id, _, state))| {
            let relation = relation(asked, known)?;
            let seen = (relation, known.to_string(), *id, ORGS[*org].to_owned(), *state);
            Some((distance(relation, known), *id, seen))
        })
        .collect();
    all.sort_by_key(|one| (one.0, one.1));
    all.into_iter().map(|(.., seen)| seen).collect()
}

fn seen(asked: &Observable, found: WideMatches) -> Vec<Seen> {
    let owner = |found: &luytre::hub::Match| found.owner.as_ref().unwrap().to_string();
    let exact = found.exact.iter().map(|m| (Relation::Exact, asked.to_string(), m.id, owner(m), m.state));
    let wider = found
        .wider
        .iter()
        .map(|m| (m.relation, m.value.to_string(), m.found.id, owner(&m.found), m.found.state));
    exact.chain(wider).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_wide_look_up_finds_what_a_naive_search_finds_and_hides_what_is_hidden(
        before in prop::collection::vec(publish(), 60), after in prop::collection::vec(publish(), 10),
        asked in prop::collection::vec(value(), 60)
    ) {
        block_on(async {
            let mut engine = Engine::new();
            let mut records = Records::new();
            for one in &before {
                apply(&engine, one, &mut records).await;
            }
            // What is known of networks is on the disk.
            engine = engine.reopen(|_| ()).await;
            for one in &after {
                apply(&engine, one, &mut records).await;
            }
            let asked: Vec<_> = asked.into_iter().chain(before.iter().map(|one| one.value.clone())).collect();
            for viewer in 0..ORGS.len() {
                let found = engine.hub.lookup_wide(&engine.caller(viewer), asked.clone()).await.unwrap();
                prop_assert_eq!(found.len(), asked.len());
                for (asked, found) in asked.iter().zip(found) {
                    prop_assert!(!found.truncated);
                    prop_assert_eq!(seen(asked, found), expected(&records, viewer, asked), "{}", asked);
                }
            }
            engine.close().await;
            Ok(())
        })?;
    }
}

/// Publishes every network that holds 10.1.2.3.
async fn all_networks(engine: &Engine, org: usize, marking: &Marking) {
    let networks = (0..32).map(|length| IpNet::new([10, 1, 2, 3].into(), length).unwrap().trunc());
    let drafts = networks.map(|net| Ok(Draft::new(Observable::Cidr(net), marking.clone()))).collect();
    engine.hub.publish(&engine.caller(org), Uuid::new_v4(), drafts).await.unwrap();
}

#[tokio::test]
async fn the_farthest_of_many_matches_are_left_out_and_that_is_told() {
    let engine = Engine::new();
    let (asked, caller) = (read("10.1.2.3"), engine.caller(0));
    let exact = Draft::new(asked.clone(), Marking::open(Tlp::Green));
    engine.hub.publish(&caller, Uuid::new_v4(), vec![Ok(exact)]).await.unwrap();
    for org in 0..3 {
        all_networks(&engine, org, &Marking::open(Tlp::Green)).await;
    }
    all_networks(&engine, 3, &Marking::open(Tlp::AmberStrict)).await;
    let wide = async |count: usize| {
        engine.hub.lookup_wide(&caller, vec![asked.clone(); count]).await.unwrap().remove(0)
    };
    let all = wide(1).await;
    assert_eq!(
        (all.exact.len(), all.wider.len(), all.truncated),
        (1, 96, false),
        "the hidden are not counted"
    );
    all_networks(&engine, 3, &Marking::open(Tlp::Green)).await;
    let most = wide(1).await;
    assert_eq!((most.exact.len(), most.wider.len(), most.truncated), (1, 100, true));
    let lengths = most.wider.iter().map(|found| match found.value {
        Observable::Cidr(net) => net.prefix_len(),
        _ => panic!("a network"),
    });
    assert_eq!(lengths.collect::<Vec<_>>(), (7..32).rev().flat_map(|length| [length; 4]).collect::<Vec<_>>());
    let shared = wide(1_000).await;
    assert_eq!((shared.exact.len(), shared.wider.len(), shared.truncated), (1, 10, true));
    assert_eq!(shared.wider, most.wider[..10]);
    assert!(engine.hub.lookup_wide(&caller, vec![asked.clone(); 1_001]).await.is_err());
    assert_eq!(engine.hub.lookup_wide(&caller, Vec::new()).await.unwrap(), []);
}

#[tokio::test]
async fn a_network_shared_by_many_values_is_read_once_and_what_nobody_showed_is_not_read() {
    let engine = Engine::new();
    let (viewer, open) = (engine.caller(1), Marking::open(Tlp::Green));
    let read_of = async |count: u8| {
        let before = engine.hub.store_calls();
        let asked = (0..count).map(|last| Observable::Ipv4([10, 1, 2, last].into())).collect();
        engine.hub.lookup_wide(&viewer, asked).await.unwrap();
        engine.hub.store_calls().since(&before).values
    };
    assert_eq!(read_of(100).await, 0);
    all_networks(&engine, 0, &Marking::open(Tlp::AmberStrict)).await;
    assert_eq!(read_of(100).await, 0, "nothing that he may see");
    let draft = Draft::new(read("10.1.2.0/24"), open);
    engine.hub.publish(&engine.caller(2), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    assert_eq!(read_of(100).await, 1, "their one /24");
    let hub = engine.path().to_owned();
    let _dir = engine.close().await;
    assert!(verify(&hub, |_| ()).unwrap().is_clean());
}
