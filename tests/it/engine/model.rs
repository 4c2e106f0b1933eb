//! The hub as a naive list: every version ever, in order, and nothing clever.

use luytre::hub::error::Reason;
use luytre::hub::{Effect, Open};
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::normalise;
use luytre::model::indicator::{Draft, Kind, Observable, Role, State};
use luytre::model::marking::{Marking, Recipients, Tlp};
use luytre::model::query::IndicatorFilter;
use luytre::model::sighting::{Outcome, SightingDraft};
use luytre::wire::proto::v1;
use proptest::prelude::*;
use prost::Message as _;
use uuid::Uuid;

use super::support::{Engine, Event, ORGS, slug};

pub(crate) const LABELS: [&str; 3] = ["c2", "phishing", "rua-tiền"];
const VALUES: u8 = 11;
const MARKINGS: u8 = 5;

/// What a test publishes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) value: u8,
    pub(crate) marking: u8,
    pub(crate) labels: u8,
    pub(crate) note: u8,
    pub(crate) reinstate: bool,
}

/// What a test does to the hub.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Publish { org: usize, items: Vec<Item> },
    Revoke { org: usize, pick: usize },
    Sight { org: usize, pick: usize },
}

prop_compose! {
    fn item()(
        value in 0..VALUES, marking in 0..MARKINGS, labels in 0_u8..8, note in 0_u8..2, reinstate in prop::bool::weighted(0.3)
    ) -> Item {
        Item { value, marking, labels, note, reinstate }
    }
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let org = 0..ORGS.len();
    prop_oneof![
        5 => (0..2_usize, prop::collection::vec(item(), 1..12)).prop_map(|(org, items)| Op::Publish { org, items }),
        1 => (org.clone(), prop::collection::vec(item(), 1..40)).prop_map(|(org, items)| Op::Publish { org, items }),
        2 => (0..2_usize, any::<usize>()).prop_map(|(org, pick)| Op::Revoke { org, pick }),
        1 => (org, any::<usize>()).prop_map(|(org, pick)| Op::Sight { org, pick }),
    ]
}

pub(crate) fn ops(count: usize) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..count)
}

/// The values: two of no kinship, then one file's hashes in many unions.
pub(crate) fn value(value: u8) -> (Observable, Vec<Observable>) {
    let (md5, sha1, sha256) =
        (["0a", "0b"].map(|b| b.repeat(16)), "0c".repeat(20), ["0d", "0e"].map(|b| b.repeat(32)));
    let (md5, sha1, sha256) = ([&*md5[0], &*md5[1]], &*sha1, [&*sha256[0], &*sha256[1]]);
    let file = |md5: Option<&str>, sha1: Option<&str>, sha256: Option<&str>| {
        normalise::file(normalise::Hashes { md5, sha1, sha256, sha512: None }).unwrap()
    };
    match value {
        0 => (normalise::detect("evil.example").unwrap().observable, vec![]),
        1 => (normalise::detect("198.51.100.7").unwrap().observable, vec![]),
        2 => (normalise::detect("http://evil.example/a?b=c").unwrap().observable, vec![]),
        3 => file(Some(md5[0]), None, None),
        4 => file(None, None, Some(sha256[0])),
        5 => file(Some(md5[0]), None, Some(sha256[0])),
        6 => file(Some(md5[1]), None, Some(sha256[0])),
        7 => file(Some(md5[0]), Some(sha1), None),
        8 => file(None, Some(sha1), Some(sha256[1])),
        9 => file(Some(md5[1]), Some(sha1), Some(sha256[1])),
        _ => file(Some(md5[1]), None, None),
    }
}

pub(crate) fn keys(number: u8) -> Vec<Observable> {
    let (first, mut all) = value(number);
    all.push(first);
    all
}

pub(crate) fn marking(marking: u8) -> Marking {
    let named = |orgs: &[usize]| Recipients {
        organisations: orgs.iter().map(|&o| slug(o)).collect(),
        ..Recipients::default()
    };
    let to = |tlp, orgs| Marking { recipients: named(orgs), ..Marking::open(tlp) };
    match marking {
        0 => Marking::open(Tlp::Clear),
        1 => Marking::open(Tlp::Green),
        2 => to(Tlp::Amber, &[1]),
        3 => to(Tlp::Amber, &[2, 3]),
        _ => to(Tlp::AmberStrict, &[]),
    }
}

pub(crate) fn labels(bits: u8) -> Vec<String> {
    (0..3).filter(|bit| bits & (1 << bit) != 0).map(|bit| LABELS[bit].to_owned()).collect()
}

/// What the item says of the attack, changing with its note and its labels.
pub(crate) fn role(item: &Item) -> Option<Role> {
    [None, Some(Role::Victim), Some(Role::Infrastructure), Some(Role::Tool)]
        [usize::from(item.value + item.note) % 4]
}

pub(crate) fn family(item: &Item) -> &'static str {
    ["", "Họ A", "Họ B"][usize::from(item.labels + item.note) % 3]
}

pub(crate) fn campaign(item: &Item) -> &'static str {
    ["", "Hè 2026"][usize::from(item.marking + item.note) % 2]
}

pub(crate) fn techniques(item: &Item) -> &'static [&'static str] {
    [&[] as &[_], &["T1566.001"], &["T1059", "T1566"]][usize::from(item.value + 2 * item.note) % 3]
}

pub(crate) fn draft(item: &Item) -> Draft {
    let (observable, aliases) = value(item.value);
    Draft {
        aliases,
        labels: labels(item.labels),
        description: format!("note {}", item.note),
        role: role(item),
        family: family(item).to_owned(),
        campaign: campaign(item).to_owned(),
        techniques: techniques(item).iter().map(|&name| name.to_owned()).collect(),
        reinstate: item.reinstate.then(|| "it is back".into()),
        ..Draft::new(observable, marking(item.marking))
    }
}

/// One event of the log.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) record: usize,
    pub(crate) owner: usize,
    pub(crate) item: Item,
    pub(crate) state: State,
    pub(crate) version: u64,
    /// The version before, unless the record was revoked then.
    before: Option<Item>,
    /// Name and reporter, for a sighting.
    pub(crate) sighting: Option<(Uuid, usize)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) id: Uuid,
    pub(crate) owner: usize,
    /// Its newest version.
    pub(crate) newest: usize,
}

/// All that ever happened.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) events: Vec<Version>,
    pub(crate) records: Vec<Record>,
}

/// What a subscriber expects: kind, name, version.
pub(crate) type Expected = (i32, String, u64);

impl Model {
    pub(crate) fn now(&self, record: usize) -> &Version {
        &self.events[self.records[record].newest]
    }

    /// Who may see what `owner` marked so.
    pub(crate) fn sees(viewer: usize, owner: usize, marking: u8) -> bool {
        viewer == owner
            || match marking {
                0 | 1 => true,
                2 => viewer == 1,
                3 => viewer == 2 || viewer == 3,
                _ => false,
            }
    }

    pub(crate) fn visible_now(&self, viewer: usize, record: usize) -> bool {
        Self::sees(viewer, self.records[record].owner, self.now(record).item.marking)
    }

    /// The records of `org` that hold one of these keys now.
    fn holders(&self, org: usize, keys: &[Observable]) -> Vec<usize> {
        let holds =
            |record: &usize| self::keys(self.now(*record).item.value).iter().any(|key| keys.contains(key));
        (0..self.records.len()).filter(|&r| self.records[r].owner == org).filter(holds).collect()
    }

    /// Does `op` to the hub and to the model, and compares the answers.
    pub(crate) async fn apply(&mut self, engine: &Engine, op: &Op) {
        match op {
            Op::Publish { org, items } => self.publish(engine, *org, items).await,
            Op::Revoke { org, pick } => self.revoke(engine, *org, *pick).await,
            Op::Sight { org, pick } => self.sight(engine, *org, *pick).await,
        }
    }

    async fn publish(&mut self, engine: &Engine, org: usize, items: &[Item]) {
        let drafts = items.iter().map(|item| Ok(draft(item))).collect();
        let answers = engine.hub.publish(&engine.caller(org), Uuid::new_v4(), drafts).await.unwrap();
        assert_eq!(answers.len(), items.len());
        for (item, answer) in items.iter().zip(answers) {
            let plain = Item { reinstate: false, ..item.clone() };
            let holders = self.holders(org, &keys(item.value));
            let expected = match holders.as_slice() {
                [] => Ok((None, Effect::Created)),
                &[record] => match self.now(record) {
                    now if now.state == State::Revoked && !item.reinstate => Err(Reason::IndicatorRevoked),
                    now if now.state == State::Revoked => Ok((Some(record), Effect::Reinstated)),
                    now if now.item == plain => Ok((Some(record), Effect::Unchanged)),
                    _ => Ok((Some(record), Effect::Updated)),
                },
                _ => Err(Reason::IdentityConflict),
            };
            match (expected, answer) {
                (Err(reason), Err(rejection)) => assert_eq!(rejection.reason, reason),
                (Ok((record, effect)), Ok(published)) => {
                    assert_eq!(published.effect, effect);
                    if effect == Effect::Unchanged {
                        let record = record.unwrap();
                        assert_eq!(published.version, self.now(record).version);
                        assert_eq!(published.id, self.records[record].id);
                        continue;
                    }
                    let record = record.unwrap_or_else(|| {
                        self.records.push(Record { id: published.id, owner: org, newest: 0 });
                        self.records.len() - 1
                    });
                    assert_eq!(published.id, self.records[record].id);
                    let before = (effect == Effect::Updated).then(|| self.now(record).item.clone());
                    self.push(record, plain, State::Active, published.version, before);
                }
                (expected, answer) => panic!("{item:?}: expected {expected:?}, got {answer:?}"),
            }
        }
    }

    fn push(&mut self, record: usize, item: Item, state: State, version: u64, before: Option<Item>) {
        let owner = self.records[record].owner;
        assert!(self.events.iter().all(|event| event.version < version), "versions rise");
        self.records[record].newest = self.events.len();
        self.events.push(Version { record, owner, item, state, version, before, sighting: None });
    }

    async fn revoke(&mut self, engine: &Engine, org: usize, pick: usize) {
        if self.records.is_empty() {
            return;
        }
        let record = pick % self.records.len();
        let (id, owner) = (self.records[record].id, self.records[record].owner);
        let revocation = Revocation { reason: RevocationReason::FalsePositive, note: "harmless".into() };
        let answer = engine.hub.revoke(&engine.caller(org), Uuid::new_v4(), id, revocation, None).await;
        let now = self.now(record).clone();
        match answer {
            Err(error) if !self.visible_now(org, record) => assert_eq!(error.reason, Reason::NotFound),
            Err(error) => {
                assert_eq!(error.reason, Reason::RoleInsufficient);
                assert_ne!(org, owner);
            }
            Ok(bytes) => {
                assert_eq!(org, owner);
                let revoked = v1::Indicator::decode(bytes).unwrap();
                assert_eq!(revoked.state, i32::from(State::Revoked.number()));
                if now.state == State::Revoked {
                    assert_eq!(revoked.version, now.version);
                } else {
                    let before = Some(now.item.clone());
                    self.push(record, now.item, State::Revoked, revoked.version, before);
                }
            }
        }
    }

    async fn sight(&mut self, engine: &Engine, org: usize, pick: usize) {
        if self.records.is_empty() {
            return;
        }
        let record = pick % self.records.len();
        let Record { id, owner, .. } = self.records[record];
        let draft = SightingDraft {
            indicator: id,
            outcome: Outcome::SeenBlocked,
            count: 3,
            first_seen: None,
            last_seen: None,
            note: String::new(),
            marking: None,
        };
        let answer =
            engine.hub.report_sightings(&engine.caller(org), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
        match &answer[0] {
            Err(rejection) => {
                assert_eq!(rejection.reason, Reason::NotFound);
                assert!(!self.visible_now(org, record));
            }
            Ok(name) => {
                assert!(self.visible_now(org, record));
                let item = self.now(record).item.clone();
                let sighting = Some((name.sighting, org));
                let version = self.events.last().map_or(0, |event| event.version);
                self.events.push(Version {
                    record,
                    owner,
                    item,
                    state: State::Active,
                    version,
                    before: None,
                    sighting,
                });
            }
        }
    }

    /// What a subscriber that reads all from `from` on, today, should get.
    pub(crate) fn expected(&self, viewer: usize, open: &Open, from: usize) -> Vec<Expected> {
        let mut out = Vec::new();
        for event in &self.events[from..] {
            let record = &self.records[event.record];
            let name = format!("indicators/{}", record.id.hyphenated());
            if let Some((sighting, reporter)) = event.sighting {
                // It goes no further than its indicator does today.
                let told = viewer == reporter || viewer == event.owner;
                if open.include_sightings && told && self.visible_now(viewer, event.record) {
                    out.push((6, format!("{name}/sightings/{}", sighting.hyphenated()), 0));
                }
                continue;
            }
            let wanted = |item: &Item| {
                Self::sees(viewer, event.owner, item.marking) && matches(&open.filter, event.owner, item)
            };
            let before = event.before.as_ref().is_some_and(wanted);
            let after = wanted(&event.item) && self.visible_now(viewer, event.record);
            let kind = match (before, after, event.state) {
                (_, true, State::Revoked) => 4,
                (false, true, _) => 1,
                (true, true, _) => 2,
                (true, false, _) => 3,
                (false, false, _) => continue,
            };
            out.push((kind, name, if kind == 3 { 0 } else { event.version }));
        }
        out
    }

    /// Whether the events are what was expected, content included.
    pub(crate) fn check(&self, events: &[Event], expected: &[Expected]) {
        let seen: Vec<Expected> = events
            .iter()
            .map(|event| match (&event.indicator, &event.sighting) {
                (Some(indicator), None) => (event.kind, indicator.name.clone(), indicator.version),
                (None, Some(sighting)) => (event.kind, sighting.name.clone(), 0),
                _ => panic!("one subject"),
            })
            .collect();
        assert_eq!(seen, expected);
        for event in events {
            let Some(indicator) = &event.indicator else { continue };
            if event.kind == 3 {
                let stub = v1::Indicator { name: indicator.name.clone(), ..Default::default() };
                assert_eq!(*indicator, stub, "what is withdrawn carries its name only");
                continue;
            }
            self.check_content(indicator);
        }
    }

    /// Whether an indicator says what its version said.
    pub(crate) fn check_content(&self, indicator: &v1::Indicator) {
        let is = |event: &&Version| event.version == indicator.version && event.sighting.is_none();
        let event = self.events.iter().find(is).expect("a version that was published");
        assert_eq!(indicator.name, format!("indicators/{}", self.records[event.record].id.hyphenated()));
        assert_eq!(indicator.labels, labels(event.item.labels));
        assert_eq!(indicator.description, format!("note {}", event.item.note));
        assert_eq!(
            (indicator.family.as_str(), indicator.campaign.as_str()),
            (family(&event.item), campaign(&event.item))
        );
        assert_eq!(indicator.attack_techniques, techniques(&event.item));
        assert_eq!(indicator.role, role(&event.item).map_or(0, |role| i32::from(role.number())));
        assert_eq!(indicator.state, i32::from(event.state.number()));
        assert_eq!(indicator.owner, format!("organisations/{}", ORGS[event.owner]));
        assert_eq!(luytre::wire::event::observables(indicator), Some(value(event.item.value)));
        assert_eq!(indicator.revocation.is_some(), event.state == State::Revoked);
    }
}

/// Whether a version of `owner` matches the filter, its times left aside.
pub(crate) fn matches(filter: &IndicatorFilter, owner: usize, item: &Item) -> bool {
    let labels = labels(item.labels);
    let named = |asked: &[String], name: &str| {
        asked.is_empty() || asked.iter().any(|asked| asked.to_lowercase() == name.to_lowercase())
    };
    (filter.kinds.is_empty() || filter.kinds.contains(&value(item.value).0.kind()))
        && (filter.owners.is_empty() || filter.owners.contains(&slug(owner)))
        && (filter.labels.is_empty() || filter.labels.iter().any(|label| labels.contains(label)))
        && (filter.tlps.is_empty() || filter.tlps.contains(&marking(item.marking).tlp))
        && (filter.roles.is_empty() || role(item).is_some_and(|role| filter.roles.contains(&role)))
        && named(&filter.families, family(item))
        && named(&filter.campaigns, campaign(item))
        && (filter.techniques.is_empty()
            || filter
                .techniques
                .iter()
                .any(|asked| techniques(item).iter().any(|name| name.starts_with(asked.as_str()))))
}

/// A filter that asks for a little of everything, or for nothing.
pub(crate) fn filter() -> impl Strategy<Value = IndicatorFilter> {
    let with = |(filter, attack): (IndicatorFilter, IndicatorFilter)| IndicatorFilter {
        roles: attack.roles,
        families: attack.families,
        campaigns: attack.campaigns,
        techniques: attack.techniques,
        ..filter
    };
    prop_oneof![3 => of_records(), 2 => of_the_attack(), 1 => (of_records(), of_the_attack()).prop_map(with)]
}

fn of_records() -> impl Strategy<Value = IndicatorFilter> {
    let some = |all: usize| prop_oneof![2 => Just(0_u32), 1 => 0..1_u32 << all];
    (some(9), some(4), some(3), some(4)).prop_map(|(kinds, owners, label_bits, tlps)| IndicatorFilter {
        kinds: Kind::ALL.iter().copied().filter(|kind| kinds & (1 << (kind.number() - 1)) != 0).collect(),
        owners: (0..4).filter(|org| owners & (1 << org) != 0).map(slug).collect(),
        labels: labels(u8::try_from(label_bits).unwrap()),
        tlps: Tlp::ALL.into_iter().filter(|tlp| tlps & (1 << (tlp.number() - 1)) != 0).collect(),
        ..IndicatorFilter::default()
    })
}

fn of_the_attack() -> impl Strategy<Value = IndicatorFilter> {
    let nothing = IndicatorFilter::default;
    let some = |names: &'static [&'static str]| {
        prop::sample::subsequence(names, 1..=names.len())
            .prop_map(|names| names.into_iter().map(str::to_owned).collect())
    };
    let roles = prop::sample::subsequence(Role::ALL, 1..=3);
    prop_oneof![
        roles.prop_map(move |roles| IndicatorFilter { roles, ..nothing() }),
        some(&["họ a", "Họ B", "none"]).prop_map(move |families| IndicatorFilter { families, ..nothing() }),
        some(&["HÈ 2026", "none"]).prop_map(move |campaigns| IndicatorFilter { campaigns, ..nothing() }),
        some(&["T1059", "T1566", "T1566.001"])
            .prop_map(move |techniques| IndicatorFilter { techniques, ..nothing() }),
    ]
}
