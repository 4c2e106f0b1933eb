//! What is drawn: what is done to the hub, and what is asked of it. Pools are
//! small, so that things meet.

use luytre::base::clock::Timestamp;
use luytre::model::indicator::{Draft, Kind, Observable, RecommendedAction, Role, State, normalise};
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::org::OrgSlug;
use luytre::model::query::{IndicatorFilter, Order, Span, ValueMatch};
use luytre::model::search::Search;
use luytre::model::sighting::Outcome;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::engine::support::{ORGS, START, slug};

pub(super) const SECOND: u64 = 1_000_000;
pub(super) const HOUR: u64 = 3_600 * SECOND;

/// Values of records; of each file, the hashes that name it change.
pub(super) const VALUES: [&str; 16] = [
    "evil.example.vn",
    "a.evil.example.vn",
    "other.com.vn",
    "http://evil.example.vn/a?b=c",
    "http://198.51.100.7/x",
    "bob@mail.evil.example.vn",
    "evil.example.vn:8443",
    "198.51.100.7",
    "198.51.100.200",
    "198.51.101.7:443",
    "198.51.100.0/24",
    "198.51.100.128/25",
    "198.51.0.0/16",
    "2001:db8::7",
    "2001:db8::/48",
    "http://evil.example.vn/a-path-so-long-that-the-key-of-this-value-is-made-of-its-digest",
];
/// The assets of each organisation, and which of the values are about them.
pub(super) const OWN: [(&[&str], &[usize]); 4] = [
    (&["198.51.100.0/24"], &[4, 7, 8, 10, 11, 12]),
    (&["evil.example.vn", "2001:db8::/64"], &[0, 1, 3, 5, 6, 13, 14, 15]),
    (&[], &[]),
    (&["198.51.100.128/26", "198.51.101.0/24", "other.com.vn"], &[2, 9, 10, 11, 12]),
];
/// How many values there are: those, and unions of the hashes of two files.
pub(super) const COUNT: u8 = 20;
/// From this value on the source of what is published is always masked.
const MASKED: u8 = 18;
const LABELS: [&str; 3] = ["c2", "phishing", "rua-tiền"];
const FAMILIES: [&str; 3] = ["", "Họ A", "Emotet"];
const CAMPAIGNS: [&str; 2] = ["", "Hè 2026"];
const TECHNIQUES: [&str; 3] = ["T1204", "T1566", "T1566.001"];
const TEXTS: [&str; 6] = [
    "",
    "Lừa đảo qua tin nhắn, giả mạo ngân hàng",
    "lua dao qua mang xa hoi",
    "Máy chủ điều khiển ở Đà Nẵng",
    "phishing kit, giả mạo VNeID (đợt 2)",
    "Ngân hàng giả mạo tin nhắn lừa",
];
const SEARCHES: [&str; 12] = [
    "lua dao",
    "lừa đảo",
    "\"gia mao\"",
    "\"giả mạo ngân hàng\"",
    "ngan* nhan",
    "phish*",
    "Đà Nẵng",
    "đa*",
    "emotet",
    "rua tien",
    "\"tin nhắn lừa\"",
    "absent",
];
pub(super) const GROUP: &str = "ung-cuu";
/// The kinds of the organisations.
pub(super) const KINDS: [&str; 4] = ["ward", "bank", "ward", "department"];

/// What is published.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) value: u8,
    pub(super) marking: u8,
    pub(super) draft: Said,
    pub(super) reinstate: bool,
}

/// What is said of it, by places in pools.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    labels: u8,
    family: usize,
    campaign: usize,
    techniques: u8,
    confidence: Option<u8>,
    action: usize,
    role: usize,
    first_seen: u8,
    last_seen: u8,
    valid_from: u8,
    valid_until: u8,
    text: usize,
}

/// What is done.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Publish { org: usize, items: Vec<Item> },
    Revoke { pick: usize },
    Sight { org: usize, pick: usize, outcome: Outcome, open: bool },
    Regroup { members: u8 },
}

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) viewer: usize,
    pub(super) filter: Asked,
    pub(super) except: Option<Asked>,
    pub(super) order: Order,
    pub(super) as_of: Option<prop::sample::Index>,
    pub(super) sizes: Vec<usize>,
}

/// A filter whose moments are those of what was done.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) filter: IndicatorFilter,
    pub(super) added: [Option<prop::sample::Index>; 2],
    pub(super) published: [Option<prop::sample::Index>; 2],
    pub(super) sighted_since: Option<prop::sample::Index>,
}

fn said() -> impl Strategy<Value = Said> {
    let terms = (0_u8..8, 0_usize..3, 0_usize..2, 0_u8..8);
    let confidence = prop_oneof![Just(None), select(vec![Some(0), Some(40), Some(75), Some(100)])];
    let times = (0_u8..10, 0_u8..10, 0_u8..3, 0_u8..4);
    (terms, confidence, 0_usize..5, 0_usize..3, times, 0..TEXTS.len()).prop_map(
        |((labels, family, campaign, techniques), confidence, action, role, times, text)| {
            let (first_seen, last_seen, valid_from, valid_until) = times;
            Said {
                labels,
                family,
                campaign,
                techniques,
                confidence,
                action,
                role,
                first_seen: first_seen.min(last_seen),
                last_seen,
                valid_from,
                valid_until,
                text,
            }
        },
    )
}

fn item() -> impl Strategy<Value = Item> {
    (0..COUNT, 0_u8..8, said(), prop::bool::weighted(0.3))
        .prop_map(|(value, marking, draft, reinstate)| Item { value, marking, draft, reinstate })
}

fn op() -> impl Strategy<Value = Op> {
    let org = 0..ORGS.len();
    let outcome = select(Outcome::ALL);
    prop_oneof![
        8 => (org.clone(), prop::collection::vec(item(), 1..14)).prop_map(|(org, items)| Op::Publish { org, items }),
        2 => any::<usize>().prop_map(|pick| Op::Revoke { pick }),
        4 => (org, any::<usize>(), outcome, any::<bool>())
            .prop_map(|(org, pick, outcome, open)| Op::Sight { org, pick, outcome, open }),
        1 => (0_u8..16).prop_map(|members| Op::Regroup { members }),
    ]
}

pub(super) fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..most)
}

/// A value and its other hashes.
pub(super) fn value(number: u8) -> (Observable, Vec<Observable>) {
    if let Some(text) = VALUES.get(usize::from(number)) {
        return (normalise::detect(text).unwrap().observable, Vec::new());
    }
    let (md5, sha256) = ("0a".repeat(16), "0d".repeat(32));
    let (other, masked) = ("0b".repeat(16), "0e".repeat(32));
    let file = |md5: Option<&str>, sha256: Option<&str>| {
        normalise::file(normalise::Hashes { md5, sha1: None, sha256, sha512: None }).unwrap()
    };
    match number {
        16 => file(Some(&md5), None),
        17 => file(Some(&md5), Some(&sha256)),
        18 => file(Some(&other), Some(&masked)),
        _ => (normalise::detect("masked.example.vn").unwrap().observable, Vec::new()),
    }
}

/// Whether the source of what is published so is masked.
pub(super) const fn is_masked(value: u8, marking: u8) -> bool {
    value >= MASKED || marking == 7
}

/// How what is published of a value travels.
pub(super) fn marking(value: u8, marking: u8) -> Marking {
    let to = |tlp, orgs: &[usize]| Marking {
        recipients: Recipients {
            organisations: orgs.iter().map(|&org| slug(org)).collect(),
            ..Recipients::default()
        },
        ..Marking::open(tlp)
    };
    if is_masked(value, marking) {
        return Marking { caveats: Caveats::MASKED_SOURCE, ..to(Tlp::Amber, &[1, 2]) };
    }
    match marking {
        0 => Marking::open(Tlp::Clear),
        1 | 2 => Marking::open(Tlp::Green),
        3 => to(Tlp::Amber, &[1]),
        4 => to(Tlp::Amber, &[2, 3]),
        5 => Marking {
            recipients: Recipients { groups: vec![OrgSlug::parse(GROUP).unwrap()], ..Recipients::default() },
            ..Marking::open(Tlp::AmberStrict)
        },
        _ => to(Tlp::AmberStrict, &[]),
    }
}

/// Few hours, some of them not on the hour; and about midnights some days on.
fn seen(number: u8) -> Option<Timestamp> {
    const MIDNIGHT: u64 = 100 * HOUR;
    let offset = [
        0,
        HOUR,
        HOUR + 7 * SECOND,
        HOUR + 1_800 * SECOND,
        5 * HOUR,
        30 * HOUR + 1,
        MIDNIGHT - 24 * HOUR + 1,
        MIDNIGHT - 1,
        MIDNIGHT,
    ];
    let offset = offset.get(usize::from(number).checked_sub(1)?)?;
    Some(Timestamp::from_micros_clamped(START - 100 * HOUR + offset))
}

fn some_of(all: &[&str], bits: u8) -> Vec<String> {
    let chosen = all.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0);
    chosen.map(|(_, text)| (*text).to_owned()).collect()
}

pub(super) fn draft(item: &Item) -> Draft {
    let (observable, aliases) = value(item.value);
    let said = item.draft;
    let action = [
        None,
        Some(RecommendedAction::Monitor),
        Some(RecommendedAction::Block),
        Some(RecommendedAction::Hunt),
        Some(RecommendedAction::Isolate),
    ];
    let at = |offset: i64| Timestamp::from_micros_clamped(START.checked_add_signed(offset).unwrap());
    let hours = |count: i64| count * 3_600 * 1_000_000;
    Draft {
        aliases,
        labels: some_of(&LABELS, said.labels),
        family: FAMILIES[said.family].to_owned(),
        campaign: CAMPAIGNS[said.campaign].to_owned(),
        techniques: some_of(&TECHNIQUES, said.techniques),
        confidence: said.confidence,
        action: action[said.action],
        role: [None, Some(Role::Infrastructure), Some(Role::Tool)][said.role],
        first_seen: seen(said.first_seen),
        last_seen: seen(said.last_seen)
            .filter(|last| seen(said.first_seen).is_none_or(|first| first <= *last)),
        valid_from: [None, Some(at(hours(-50))), Some(at(hours(2)))][usize::from(said.valid_from)],
        valid_until: [None, Some(at(hours(900))), Some(at(hours(901))), Some(at(hours(-1)))]
            [usize::from(said.valid_until)]
        .filter(|until| said.valid_from != 2 || *until > at(hours(2))),
        description: TEXTS[said.text].to_owned(),
        reinstate: item.reinstate.then(|| "it is back".into()),
        ..Draft::new(observable, marking(item.value, item.marking))
    }
}

fn value_match() -> impl Strategy<Value = ValueMatch> {
    let net = select(vec!["198.51.100.0/24", "198.51.100.7/32", "198.0.0.0/8", "2001:db8::/32", "::/0"]);
    let suffix = select(vec!["evil.example.vn", "vn", "com.vn", "example.vn", "absent.vn"]);
    let prefix =
        select(vec!["http://evil", "evil.", "198.51.100.", "0d", "bob@", "http://evil.example.vn/a-"]);
    prop_oneof![
        4 => (0..COUNT, any::<bool>()).prop_map(|(number, alias)| {
            let (value, aliases) = value(number);
            ValueMatch::Exact(aliases.into_iter().next().filter(|_| alias).unwrap_or(value))
        }),
        1 => prefix.prop_map(|prefix| ValueMatch::Prefix(prefix.to_owned())),
        2 => suffix.prop_map(|suffix| ValueMatch::DomainSuffix(suffix.to_owned())),
        2 => net.clone().prop_map(|net| ValueMatch::Inside(net.parse().unwrap())),
        2 => net.prop_map(|net| ValueMatch::Containing(net.parse().unwrap())),
    ]
}

fn span() -> impl Strategy<Value = Span> {
    (1_u8..10, 1_u8..10, 0_u8..3).prop_map(|(from, to, which)| {
        let (from, to) = (seen(from.min(to)), seen(from.max(to)).filter(|_| from != to));
        match which {
            0 => Span { from, to: None },
            1 => Span { from: None, to },
            _ => Span { from, to },
        }
    })
}

fn some<T: Clone + std::fmt::Debug + 'static>(all: Vec<T>) -> impl Strategy<Value = Vec<T>> {
    let most = all.len().min(3);
    subsequence(all, 1..=most)
}

fn named(all: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    some(all.to_vec()).prop_map(|names| {
        let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        names.sort();
        names
    })
}

/// A filter of one field.
fn field() -> BoxedStrategy<IndicatorFilter> {
    let none = IndicatorFilter::default;
    let slugs = || {
        some((0..ORGS.len()).collect::<Vec<_>>())
            .prop_map(|orgs| orgs.into_iter().map(slug).collect::<Vec<_>>())
    };
    let kinds = vec![Kind::Ipv4, Kind::Cidr, Kind::Domain, Kind::Url, Kind::Md5, Kind::Sha256];
    let at = (0_u64..4).prop_map(|at| Timestamp::from_micros_clamped(START + at * HOUR - HOUR));
    prop_oneof![
        Just(IndicatorFilter { own_assets: true, ..none() }),
        some(kinds).prop_map(move |kinds| IndicatorFilter { kinds, ..none() }),
        slugs().prop_map(move |owners| IndicatorFilter { owners, ..none() }),
        named(&LABELS).prop_map(move |labels| IndicatorFilter { labels, ..none() }),
        some(Tlp::ALL.to_vec()).prop_map(move |tlps| IndicatorFilter { tlps, ..none() }),
        some(vec![Role::Infrastructure, Role::Tool])
            .prop_map(move |roles| IndicatorFilter { roles, ..none() }),
        named(&["họ a", "EMOTET"]).prop_map(move |families| IndicatorFilter { families, ..none() }),
        named(&["hè 2026"]).prop_map(move |campaigns| IndicatorFilter { campaigns, ..none() }),
        named(&TECHNIQUES).prop_map(move |techniques| IndicatorFilter { techniques, ..none() }),
        some(State::ALL.to_vec()).prop_map(move |states| IndicatorFilter { states, ..none() }),
        prop::collection::vec(value_match(), 1..3)
            .prop_map(move |values| IndicatorFilter { values, ..none() }),
        named(&["bank", "ward"]).prop_map(move |org_kinds| IndicatorFilter { org_kinds, ..none() }),
        (0_u8..101, 0_u8..101)
            .prop_map(move |(a, b)| IndicatorFilter { confidence: Some((a.min(b), a.max(b))), ..none() }),
        some(RecommendedAction::ALL.to_vec()).prop_map(move |actions| IndicatorFilter { actions, ..none() }),
        span().prop_map(move |first_seen| IndicatorFilter { first_seen, ..none() }),
        span().prop_map(move |last_seen| IndicatorFilter { last_seen, ..none() }),
        at.prop_map(move |at| IndicatorFilter { valid_at: Some(at), ..none() }),
        select(SEARCHES.to_vec())
            .prop_map(move |search| IndicatorFilter { text: Some(Search::parse(search).unwrap()), ..none() }),
        slugs().prop_map(move |sighted_by| IndicatorFilter { sighted_by, ..none() }),
        some(Outcome::ALL.to_vec()).prop_map(move |outcomes| IndicatorFilter { outcomes, ..none() }),
    ]
    .boxed()
}

fn join(a: IndicatorFilter, b: IndicatorFilter) -> IndicatorFilter {
    fn or<T>(a: Vec<T>, b: Vec<T>) -> Vec<T> {
        if a.is_empty() { b } else { a }
    }
    let span = |a: Span, b: Span| if a.is_open() { b } else { a };
    IndicatorFilter {
        kinds: or(a.kinds, b.kinds),
        owners: or(a.owners, b.owners),
        labels: or(a.labels, b.labels),
        tlps: or(a.tlps, b.tlps),
        roles: or(a.roles, b.roles),
        families: or(a.families, b.families),
        campaigns: or(a.campaigns, b.campaigns),
        techniques: or(a.techniques, b.techniques),
        own_assets: a.own_assets || b.own_assets,
        states: or(a.states, b.states),
        values: or(a.values, b.values),
        org_kinds: or(a.org_kinds, b.org_kinds),
        confidence: a.confidence.or(b.confidence),
        actions: or(a.actions, b.actions),
        first_seen: span(a.first_seen, b.first_seen),
        last_seen: span(a.last_seen, b.last_seen),
        valid_at: a.valid_at.or(b.valid_at),
        text: a.text.or(b.text),
        sighted_by: or(a.sighted_by, b.sighted_by),
        outcomes: or(a.outcomes, b.outcomes),
        ..IndicatorFilter::default()
    }
}

pub(super) fn asked(most: usize) -> impl Strategy<Value = Asked> {
    let moment = || prop::option::weighted(0.15, any::<prop::sample::Index>());
    let filter = prop::collection::vec(field(), 0..=most)
        .prop_map(|fields| fields.into_iter().fold(IndicatorFilter::default(), join));
    (filter, [moment(), moment()], [moment(), moment()], moment()).prop_map(
        |(filter, added, published, sighted_since)| Asked { filter, added, published, sighted_since },
    )
}

pub(super) fn ask() -> impl Strategy<Value = Ask> {
    let as_of = prop::option::weighted(0.3, any::<prop::sample::Index>());
    let except = prop::option::weighted(0.25, asked(2));
    let sizes = prop::collection::vec(1_usize..9, 1..4);
    (0..ORGS.len(), asked(3), except, select(Order::ALL), as_of, sizes).prop_map(
        |(viewer, filter, except, order, as_of, sizes)| Ask { viewer, filter, except, order, as_of, sizes },
    )
}

/// Few values whose marking changes, and with it who sees them, as does a group.
pub(super) fn remarkings(most: usize) -> impl Strategy<Value = Vec<Op>> {
    let item = (0_u8..6, select(vec![1, 3, 5, 5]), said()).prop_map(|(value, marking, draft)| Item {
        value,
        marking,
        draft,
        reinstate: false,
    });
    let op = prop_oneof![
        3 => prop::collection::vec(item, 1..4).prop_map(|items| Op::Publish { org: 0, items }),
        2 => (0_u8..16).prop_map(|members| Op::Regroup { members }),
    ];
    prop::collection::vec(op, 1..most)
}

/// What is asked by the marking of a moment that has passed.
pub(super) fn ask_by_marking() -> impl Strategy<Value = Ask> {
    (ask(), any::<prop::sample::Index>(), some(Tlp::ALL.to_vec())).prop_map(|(ask, as_of, tlps)| Ask {
        filter: Asked {
            filter: IndicatorFilter { tlps, ..IndicatorFilter::default() },
            added: [None, None],
            published: [None, None],
            sighted_since: None,
        },
        except: None,
        as_of: Some(as_of),
        ..ask
    })
}
