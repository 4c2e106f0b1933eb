//! Each viewer's set, built from frames alone, is at every rest what a naive
//! reading of the rules says, over random rosters, markings and absences; and
//! no frame names what its viewer could never see.

use std::collections::{BTreeMap, BTreeSet};

use luytre::hub::error::Reason;
use luytre::hub::{Caller, Open, Start};
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, normalise};
use luytre::model::invalid;
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::org::OrgSlug;
use luytre::model::principal::{Roles, SpiffeId};
use luytre::model::query::IndicatorFilter;
use luytre::model::roster::{Grant, Group, Member, Patch, Relation, RelationKind};
use proptest::prelude::*;
use time::{Date, Duration};
use uuid::Uuid;

use super::sight_rules::{Mutant, Person, Rules, Sort, Span, visible};
use super::support::{Engine, Event, ORGS, Stream, block_on, identity, roster, slug};

const DAY: u64 = 86_400_000_000;
/// Values from here on are signs that all before has come.
const FIRST_SIGN: usize = 1_000;
/// The organisation that ends, and is followed by another.
const ENDING: usize = 3;
/// Who follows: every organisation but the one that ends, and of one two.
const VIEWERS: [Person; 4] = [(0, 0), (1, 0), (2, 0), (2, 1)];

/// A marking, in numbers.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) tlp: Tlp,
    pub(super) organisations: Vec<usize>,
    pub(super) group: bool,
    pub(super) persons: Vec<Person>,
    pub(super) providers: bool,
}

#[derive(Debug, Clone)]
enum Op {
    Publish { owner: usize, value: usize, mark: Mark, label: bool },
    Revoke { pick: usize },
    Members(Vec<(usize, Span)>),
    Relations(Vec<(Sort, usize, usize, Span)>),
    End { days: i64, successor: Option<usize> },
    Days(u8),
    Leave(usize),
    Return { viewer: usize, anew: bool },
}

fn span() -> impl Strategy<Value = Span> {
    let bound = || prop_oneof![3 => Just(None), 1 => (-3_i64..12).prop_map(Some)];
    (bound(), bound()).prop_map(|(from, to)| match (from, to) {
        (Some(from), Some(to)) if to <= from => (Some(from), None),
        span => span,
    })
}

prop_compose! {
    fn mark()(
        tlp in prop::sample::select(Tlp::ALL.to_vec()),
        organisations in prop::sample::subsequence((0..ORGS.len()).collect::<Vec<_>>(), 0..3),
        group: bool,
        persons in prop::sample::subsequence(vec![(0, 0), (1, 0), (2, 0), (2, 1), (3, 0)], 0..3),
        providers: bool,
    ) -> Mark {
        Mark { tlp, organisations, group, persons, providers }
    }
}

fn op() -> impl Strategy<Value = Op> {
    let org = || 0..ORGS.len();
    let relation = (prop_oneof![Just(Sort::ClientOf), Just(Sort::ActsFor)], org(), org(), span());
    prop_oneof![
        8 => (org(), 0..3_usize, mark(), any::<bool>())
            .prop_map(|(owner, value, mark, label)| Op::Publish { owner, value, mark, label }),
        1 => any::<usize>().prop_map(|pick| Op::Revoke { pick }),
        2 => prop::collection::vec((org(), span()), 0..3).prop_map(Op::Members),
        2 => prop::collection::vec(relation, 0..4).prop_map(|mut relations| {
            relations.retain(|(_, subject, object, _)| subject != object);
            Op::Relations(relations)
        }),
        1 => (0_i64..8, prop::option::of(0..ENDING)).prop_map(|(days, successor)| Op::End { days, successor }),
        2 => (1_u8..5).prop_map(Op::Days),
        2 => (0..VIEWERS.len()).prop_map(Op::Leave),
        2 => (0..VIEWERS.len(), prop::bool::weighted(0.3))
            .prop_map(|(viewer, anew)| Op::Return { viewer, anew }),
    ]
}

impl Mark {
    fn nobody() -> Self {
        let (organisations, persons) = (Vec::new(), Vec::new());
        Self { tlp: Tlp::Red, organisations, group: false, persons, providers: false }
    }
}

fn named(id: Uuid) -> String {
    format!("indicators/{id}")
}

/// A record as the model knows it.
#[derive(Debug, Clone)]
struct Record {
    owner: usize,
    value: usize,
    mark: Mark,
    label: bool,
    version: u64,
    revoked: bool,
}

/// A subscriber's end.
struct Follower {
    person: Person,
    filter: IndicatorFilter,
    stream: Option<Stream>,
    token: Option<bytes::Bytes>,
    set: BTreeMap<Uuid, u64>,
    /// Records that he was ever allowed to see.
    once: BTreeSet<Uuid>,
    /// Those that he was allowed to see since he was last at rest, or came.
    lately: BTreeSet<Uuid>,
}

impl Follower {
    /// The records that he may see today.
    fn sees(&self, rules: &Rules, records: &BTreeMap<Uuid, Record>) -> BTreeSet<Uuid> {
        let seen = records.iter().filter(|(_, r)| visible(rules, self.person, r.owner, &r.mark, None));
        seen.map(|(id, _)| *id).collect()
    }
}

struct World {
    hub: Engine,
    rules: Rules,
    records: BTreeMap<Uuid, Record>,
    followers: Vec<Follower>,
}

fn person((org, number): Person) -> SpiffeId {
    match number {
        0 => identity(org),
        _ => SpiffeId::parse(&format!("spiffe://hub.example/org/{}/user/analyst", ORGS[org])).unwrap(),
    }
}

fn group_slug() -> OrgSlug {
    OrgSlug::parse("ung-cuu").unwrap()
}

fn marking(mark: &Mark) -> Marking {
    let addressed = matches!(mark.tlp, Tlp::Amber | Tlp::AmberStrict);
    let mut organisations: Vec<_> = mark.organisations.iter().map(|&org| slug(org)).collect();
    organisations.sort();
    let mut persons: Vec<_> = mark.persons.iter().map(|&p| person(p)).collect();
    persons.sort();
    Marking {
        tlp: mark.tlp,
        recipients: Recipients {
            organisations: if addressed { organisations } else { Vec::new() },
            groups: if addressed && mark.group { vec![group_slug()] } else { Vec::new() },
            principals: if mark.tlp == Tlp::Red { persons } else { Vec::new() },
        },
        caveats: if mark.providers { Caveats::PROVIDERS_MAY_READ } else { Caveats::NONE },
    }
}

impl World {
    async fn new(filtered: bool) -> Self {
        let hub = Engine::new();
        let analyst = Grant { roles: Roles::from_bits(0xff), from: None, to: None };
        let mut world =
            Self { rules: Rules::default(), records: BTreeMap::new(), followers: Vec::new(), hub };
        let members =
            Group { slug: group_slug(), vi: "Ứng cứu".into(), en: String::new(), members: vec![] };
        let patch = Patch {
            principals: vec![(person((2, 1)), Some(analyst))],
            groups: vec![(group_slug(), Some(members))],
            ..Patch::default()
        };
        world.change(patch).await;
        for (number, person) in VIEWERS.into_iter().enumerate() {
            let labels = if filtered && number % 2 == 0 { vec!["c2".to_owned()] } else { Vec::new() };
            let filter = IndicatorFilter { labels, ..IndicatorFilter::default() };
            let (set, once, lately) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
            let mut follower = Follower { person, filter, stream: None, token: None, set, once, lately };
            world.join(&mut follower, true).await;
            world.followers.push(follower);
        }
        world
    }

    fn caller(&self, who: Person) -> Caller {
        self.hub.caller_named(person(who))
    }

    async fn change(&self, patch: Patch) {
        self.hub.hub.change_roster(&self.caller((0, 0)), Uuid::new_v4(), patch).await.unwrap();
    }

    async fn join(&self, follower: &mut Follower, anew: bool) {
        let start = match &follower.token {
            Some(token) if !anew => Start::Token(token.clone()),
            _ => {
                follower.set.clear();
                follower.token = None;
                Start::Earliest
            }
        };
        let filter = follower.filter.clone();
        let open = Open { start: Some(start), filter, credit: 5, ..Open::default() };
        follower.lately.clear();
        follower.stream = Some(self.hub.stream_of(&self.caller(follower.person), open).await.unwrap());
    }

    fn span(&self, (from, to): Span) -> (Option<Date>, Option<Date>) {
        let day = |days| self.rules.began + Duration::days(self.rules.day + days);
        (from.map(day), to.map(day))
    }

    /// Does it, and notes who may see what after it.
    async fn apply(&mut self, op: &Op) {
        self.act(op).await;
        for follower in &mut self.followers {
            let seen = follower.sees(&self.rules, &self.records);
            follower.once.extend(&seen);
            follower.lately.extend(seen);
        }
    }

    async fn act(&mut self, op: &Op) {
        match op {
            Op::Publish { owner, value, mark, label } => self.publish(*owner, *value, mark, *label).await,
            Op::Revoke { pick } => self.revoke(*pick).await,
            Op::Members(members) => {
                self.rules.members = members.iter().map(|&(org, span)| (org, self.rules.fix(span))).collect();
                let members = members.iter().map(|&(org, span)| {
                    let (from, to) = self.span(span);
                    Member { organisation: slug(org), from, to }
                });
                let (slug, vi, en) = (group_slug(), "Ứng cứu".into(), String::new());
                let group = Group { slug: slug.clone(), vi, en, members: members.collect() };
                self.change(Patch { groups: vec![(slug, Some(group))], ..Patch::default() }).await;
            }
            Op::Relations(relations) => {
                let fix =
                    |&(sort, a, b, span): &(Sort, usize, usize, Span)| (sort, a, b, self.rules.fix(span));
                self.rules.relations = relations.iter().map(fix).collect();
                let relations = relations.iter().map(|&(sort, subject, object, span)| {
                    let (from, to) = self.span(span);
                    let kind = match sort {
                        Sort::ClientOf => RelationKind::ClientOf,
                        Sort::ActsFor => RelationKind::ActsFor,
                    };
                    let legal_basis = "contract".to_owned();
                    Relation { kind, subject: slug(subject), object: slug(object), from, to, legal_basis }
                });
                self.change(Patch { relations: Some(relations.collect()), ..Patch::default() }).await;
            }
            Op::End { days, successor } => {
                if self.rules.ended().is_some() {
                    return;
                }
                self.rules.end = Some((self.rules.day + days, *successor));
                let mut ending = roster().organisations.remove(&slug(ENDING)).unwrap();
                ending.valid_to = self.span((None, Some(*days))).1;
                ending.successors = successor.iter().map(|&org| slug(org)).collect();
                self.change(Patch { organisations: vec![ending], ..Patch::default() }).await;
            }
            Op::Days(days) => {
                self.hub.clock.advance(u64::from(*days) * DAY);
                self.rules.day += i64::from(*days);
                self.hub.hub.turn_day().await.unwrap();
            }
            Op::Leave(number) => {
                if let Some(stream) = self.followers[*number].stream.take() {
                    stream.leave().await;
                }
            }
            Op::Return { viewer, anew } => {
                let mut follower = self.followers.remove(*viewer);
                if let Some(stream) = follower.stream.take() {
                    stream.leave().await;
                }
                self.join(&mut follower, *anew).await;
                self.followers.insert(*viewer, follower);
            }
        }
    }

    async fn publish(&mut self, owner: usize, value: usize, mark: &Mark, label: bool) {
        if owner == ENDING && self.rules.ended().is_some() {
            return;
        }
        let observable = normalise::detect(&format!("n{value}.example")).unwrap().observable;
        let labels = if label { vec!["c2".to_owned()] } else { Vec::new() };
        let draft = Draft { labels, ..Draft::new(observable, marking(mark)) };
        // Nobody would ever read for it.
        let gone = self.rules.ended() == Some(None)
            && draft.marking.recipients.organisations.contains(&slug(ENDING));
        let caller = self.caller((owner, 0));
        let results = self.hub.hub.publish(&caller, Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
        match results.into_iter().next().unwrap() {
            Err(rejection) if gone => {
                assert_eq!(rejection.reason, Reason::Input(invalid::Reason::OrganisationUnknown));
            }
            Ok(published) => {
                assert!(!gone, "an organisation that ended for good is not addressed");
                let version = published.version;
                let record = Record { owner, value, mark: mark.clone(), label, version, revoked: false };
                self.records.insert(published.id, record);
            }
            Err(rejection) => {
                let revoked =
                    self.records.values().any(|r| r.owner == owner && r.value == value && r.revoked);
                assert!(revoked, "{rejection:?}");
                assert_eq!(rejection.reason, Reason::IndicatorRevoked);
            }
        }
    }

    async fn revoke(&mut self, pick: usize) {
        let held: Vec<_> = self.records.iter().filter(|(_, r)| !r.revoked).map(|(id, _)| *id).collect();
        let Some(&id) = held.get(pick % held.len().max(1)) else { return };
        let owner = self.records[&id].owner;
        if owner == ENDING && self.rules.ended().is_some() {
            return;
        }
        let revocation = Revocation { reason: RevocationReason::FalsePositive, note: String::new() };
        let caller = self.caller((owner, 0));
        self.hub.hub.revoke(&caller, Uuid::new_v4(), id, revocation, None).await.unwrap();
        self.records.get_mut(&id).unwrap().revoked = true;
    }

    /// Lets everyone who follows take what there is, and compares.
    async fn rest(&mut self) {
        // What everyone sees, last of all: with it, all has come.
        let everyone = Mark { tlp: Tlp::Clear, ..Mark::nobody() };
        let value = FIRST_SIGN + self.records.len();
        self.apply(&Op::Publish { owner: 0, value, mark: everyone, label: true }).await;
        let last = *self.records.iter().max_by_key(|(_, record)| record.version).unwrap().0;
        let Self { rules, records, followers, .. } = self;
        for follower in followers {
            let seen = follower.sees(rules, records);
            let lately = std::mem::replace(&mut follower.lately, seen.clone());
            let Some(stream) = &mut follower.stream else { continue };
            let until = |event: &Event| event.indicator.as_ref().is_some_and(|i| i.name == named(last));
            for event in stream.take_until(3, until).await {
                let indicator = event.indicator.expect("no sightings were asked for");
                let id: Uuid = indicator.name.trim_start_matches("indicators/").parse().unwrap();
                assert!(follower.once.contains(&id), "{:?} was told of what was never his", follower.person);
                match event.kind {
                    1 | 2 | 4 => {
                        assert!(lately.contains(&id), "{:?} was sent what is not his", follower.person);
                        let held = follower.set.contains_key(&id);
                        assert!(event.kind != 2 || held, "an update is of what one has");
                        assert!(event.kind != 1 || !held, "what is new comes once");
                        if event.kind == 4 {
                            follower.set.remove(&id);
                        } else {
                            follower.set.insert(id, indicator.version);
                        }
                    }
                    3 => {
                        let bare = luytre::wire::proto::v1::Indicator {
                            name: indicator.name.clone(),
                            ..Default::default()
                        };
                        assert_eq!(indicator, bare, "what is withdrawn is named, and no more");
                        follower.set.remove(&id);
                    }
                    other => panic!("kind {other}"),
                }
            }
            follower.token = Some(stream.token.clone());
            let wanted = |r: &Record| !r.revoked && (follower.filter.labels.is_empty() || r.label);
            let expected: BTreeMap<_, _> = records
                .iter()
                .filter(|(id, record)| seen.contains(id) && wanted(record))
                .map(|(id, record)| (*id, record.version))
                .collect();
            assert_eq!(follower.set, expected, "the set of {:?} on {rules:?}", follower.person);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 300, ..ProptestConfig::default() })]
    #[test]
    fn every_viewers_set_is_what_the_rules_say_whatever_changes_and_whoever_was_away(
        ops in prop::collection::vec((op(), prop::bool::weighted(0.5)), 1..40), filtered: bool
    ) {
        block_on(async {
            let mut world = World::new(filtered).await;
            for (op, rest) in &ops {
                world.apply(op).await;
                if *rest {
                    world.rest().await;
                }
            }
            for viewer in 0..VIEWERS.len() {
                world.apply(&Op::Return { viewer, anew: false }).await;
            }
            world.rest().await;
            for viewer in 0..VIEWERS.len() {
                world.apply(&Op::Return { viewer, anew: true }).await;
            }
            world.rest().await;
            let World { hub, followers, .. } = world;
            for follower in followers {
                follower.stream.unwrap().leave().await;
            }
            let dir = hub.close().await;
            let report = luytre::hub::verify(&dir.path().join("hub"), |_| ()).unwrap();
            assert!(report.is_clean(), "{:?}", report.differences);
        });
    }

    #[test]
    fn a_marking_of_no_known_organisation_is_nobodys(value in 0..6_usize) {
        // An unknown recipient is refused, never widened.
        block_on(async {
            let hub = Engine::new();
            let observable = normalise::detect(&format!("n{value}.example")).unwrap().observable;
            let organisations = vec![OrgSlug::parse("nobody").unwrap()];
            let recipients = Recipients { organisations, ..Recipients::default() };
            let marking = Marking { tlp: Tlp::Amber, recipients, caveats: Caveats::NONE };
            let items = vec![Ok(Draft::new(observable, marking))];
            let results = hub.hub.publish(&hub.caller(0), Uuid::new_v4(), items).await.unwrap();
            let reason = results[0].as_ref().unwrap_err().reason;
            assert_eq!(reason, Reason::Input(invalid::Reason::OrganisationUnknown));
        });
    }
}

/// The property above compares with `visible`. For each rule of it, the same
/// rule turned wrong must lead to another set in some case that the property
/// may draw: else the property could not tell.
#[test]
fn the_property_tells_every_rule_from_its_mutant() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let cases = prop::collection::vec(op(), 20..40);
    let mut alive: BTreeSet<_> = Mutant::ALL.into_iter().collect();
    for _ in 0..400 {
        let mut rules = Rules::default();
        let mut held: BTreeMap<(usize, usize), Mark> = BTreeMap::new();
        for op in cases.new_tree(&mut runner).unwrap().current() {
            match op {
                Op::Publish { owner, value, mark, .. } => {
                    held.insert((owner, value), mark);
                }
                Op::Members(members) => {
                    rules.members = members.iter().map(|&(org, span)| (org, rules.fix(span))).collect();
                }
                Op::Relations(relations) => {
                    let fix =
                        |&(sort, a, b, span): &(Sort, usize, usize, Span)| (sort, a, b, rules.fix(span));
                    rules.relations = relations.iter().map(fix).collect();
                }
                Op::End { days, successor } if rules.end.is_none() => {
                    rules.end = Some((rules.day + days, successor));
                }
                Op::Days(days) => rules.day += i64::from(days),
                _ => {}
            }
            for ((owner, _), mark) in &held {
                for viewer in VIEWERS {
                    let right = visible(&rules, viewer, *owner, mark, None);
                    alive.retain(|mutant| visible(&rules, viewer, *owner, mark, Some(*mutant)) == right);
                }
            }
        }
    }
    assert!(alive.is_empty(), "no case tells {alive:?} from the rule");
}
