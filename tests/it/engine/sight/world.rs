//! A hub and the model of it, which go through the same steps.

use std::collections::BTreeSet;

use luytre::base::clock::Timestamp;
use luytre::hub::error::Reason;
use luytre::hub::{Asked, Caller, Effect};
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, Observable, normalise};
use luytre::model::invalid;
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::org::{DatedName, Happening, OrgSlug, Organisation};
use luytre::model::principal::{Roles, SpiffeId};
use luytre::model::roster::{Duty, Grant, Group, Member, Patch, Relation, RelationKind, Roster};
use luytre::model::sighting::{Outcome, SightingDraft};
use time::macros::date;
use time::{Date, Duration};
use uuid::Uuid;

use super::super::support::{Engine, START};
use super::model::{ACTIVE, EXPIRED, Model, REVOKED, SIGN, Seen, Version, is_domain};
use super::rules::{For, Mark, Mutant, ORGS, Person, Rules, Sort, Span};
use super::secrets;
use super::steps::{Case, Item, Step, VIEWERS};
use super::viewer::Viewer;

pub(super) const HOUR: u64 = 3_600_000_000;

pub(super) struct World {
    pub(super) hub: Option<Engine>,
    pub(super) model: Model,
    pub(super) viewers: Vec<Viewer>,
    parents: Vec<Option<usize>>,
}

pub(super) fn slug(org: usize) -> OrgSlug {
    OrgSlug::parse(&secrets::org(org)).unwrap()
}

fn group(group: usize) -> OrgSlug {
    OrgSlug::parse(&secrets::group(group)).unwrap()
}

pub(super) fn identity(person: Person) -> SpiffeId {
    let (org, name) = (secrets::org(person.0), secrets::person(person));
    SpiffeId::parse(&format!("spiffe://hub.example/org/{org}/user/{name}")).unwrap()
}

pub(super) fn value(value: usize) -> Observable {
    let name = format!("{}.example", secrets::value(value));
    let text = if is_domain(value) { name } else { format!("http://{name}/x") };
    normalise::detect(&text).unwrap().observable
}

pub(super) fn marking(mark: &Mark) -> Marking {
    let caveat = |set, caveat| if set { caveat } else { Caveats::NONE };
    let mut principals: Vec<_> = mark.persons.iter().map(|&person| identity(person)).collect();
    principals.sort();
    Marking {
        tlp: mark.tlp,
        recipients: Recipients {
            organisations: mark.organisations.iter().copied().map(slug).collect(),
            groups: mark.groups.iter().copied().map(group).collect(),
            principals,
        },
        caveats: caveat(mark.providers, Caveats::PROVIDERS_MAY_READ)
            .with(caveat(mark.masked, Caveats::MASKED_SOURCE)),
    }
}

fn day(day: i64) -> Date {
    date!(2026 - 01 - 01) + Duration::days(day)
}

fn days((from, to): Span) -> (Option<Date>, Option<Date>) {
    (from.map(day), to.map(day))
}

fn timestamp(hours: i64) -> Timestamp {
    Timestamp::from_micros_clamped(START + u64::try_from(hours).unwrap() * HOUR)
}

/// The roster that the rules are of.
fn roster(rules: &Rules, parents: &[Option<usize>]) -> Roster {
    let organisation = |org: usize| {
        let name = |vi: &str| DatedName {
            vi: vi.into(),
            en: String::new(),
            short: String::new(),
            from: None,
            to: None,
        };
        let life = &rules.lives[org];
        let suspended = |from| luytre::model::org::Step {
            what: Happening::Suspended,
            on: day(from),
            legal_basis: "a decision".into(),
        };
        Organisation {
            slug: slug(org),
            names: vec![name("Đơn vị")],
            kind: "unit".into(),
            parent: parents[org].filter(|parent| *parent != org).map(slug),
            valid_from: life.from.map(day),
            valid_to: life.to.map(day),
            lifecycle: life.suspended.map(suspended).into_iter().collect(),
            predecessors: Vec::new(),
            successors: life.successors.iter().copied().map(slug).collect(),
            protected: Vec::new(),
        }
    };
    let members = |of: usize| {
        let his = rules.members.iter().filter(move |(group, ..)| *group == of);
        his.map(|&(_, org, span)| {
            let (from, to) = days(span);
            Member { organisation: slug(org), from, to }
        })
    };
    let group_of = |of: usize| Group {
        slug: group(of),
        vi: "Nhóm".into(),
        en: String::new(),
        members: members(of).collect(),
    };
    let relation = |&(sort, subject, object, span): &(Sort, usize, usize, Span)| {
        let (from, to) = days(span);
        let kind = match sort {
            Sort::ClientOf => RelationKind::ClientOf,
            Sort::ActsFor => RelationKind::ActsFor,
        };
        Relation { kind, subject: slug(subject), object: slug(object), from, to, legal_basis: "c".into() }
    };
    let duty = |&(holder, leads, span): &(usize, bool, Span)| {
        let (from, to) = days(span);
        let duty = if leads { "lead-unit-infosec" } else { "national-lead-unit" };
        let (duty, scope, legal_basis) = (duty.into(), "city".into(), "a law".into());
        Duty { duty, scope, holder: slug(holder), from, to, legal_basis }
    };
    let grant = || Grant { roles: Roles::from_bits(0xff), from: None, to: None };
    let persons = (0..ORGS).map(|org| (org, 0)).chain([(2, 1)]);
    Roster {
        organisations: (0..ORGS).map(|org| (slug(org), organisation(org))).collect(),
        duties: rules.duties.iter().map(duty).collect(),
        principals: persons.map(|person| (identity(person), grant())).collect(),
        groups: (0..2).map(|of| (group(of), group_of(of))).collect(),
        relations: rules.relations.iter().map(relation).collect(),
    }
}

impl World {
    /// The hub at first, and a model of it that has a rule wrong, if told so.
    pub(super) async fn new(case: &Case, mutant: Option<Mutant>) -> Self {
        let mut model = Model::new(case.wishes.clone());
        model.rules.mutant = mutant;
        let hub = Engine::of(roster(&model.rules, &case.parents), START, |options| {
            options.ring_bytes = case.ring;
            // What is owed is told when the model says so.
            options.debt_delay = std::time::Duration::from_secs(3_600);
        });
        let viewers = (0..VIEWERS.len()).map(Viewer::new).collect();
        let mut world = Self { hub: Some(hub), model, viewers, parents: case.parents.clone() };
        world.sign().await;
        for (viewer, way) in case.ways.iter().enumerate() {
            world.act(&Step::Return { viewer, way: *way }).await;
        }
        world
    }

    pub(super) fn hub(&self) -> &Engine {
        self.hub.as_ref().expect("the hub is open")
    }

    pub(super) fn caller(&self, person: Person) -> Caller {
        self.hub().caller_named(identity(person))
    }

    /// Does a step, and notes who may see what after it.
    pub(super) async fn act(&mut self, step: &Step) {
        match step {
            Step::Publish { owner, by, items } => self.publish(*owner, *by, items).await,
            Step::Remark { pick, mark } => self.remark(*pick, mark).await,
            Step::Again { pick } => self.again(*pick).await,
            Step::Revoke { pick } => self.revoke(*pick).await,
            Step::Sight { viewer, pick, same } => self.sight(*viewer, *pick, *same).await,
            Step::Pass { hours, tick } => self.pass(*hours, *tick).await,
            Step::Listen { viewer, frames } => self.listen(*viewer, *frames).await,
            Step::Ask { viewer, filtered } => self.ask(*viewer, *filtered).await,
            Step::Leave { viewer } => self.leave(*viewer).await,
            Step::Return { viewer, way } => self.join(*viewer, *way).await,
            Step::Reopen => self.reopen().await,
            Step::Rest => self.rest().await,
            Step::Members(_) | Step::Relations(_) | Step::Duties(_) | Step::Live { .. } => {
                self.change_roster(step).await;
            }
        }
        self.model.look();
    }

    /// Has the hub tell what it owes.
    pub(super) async fn settle(&mut self) {
        self.hub().hub.probe().await.unwrap();
        self.model.settle();
    }

    async fn change_roster(&mut self, step: &Step) {
        self.settle().await;
        let before = roster(&self.model.rules, &self.parents);
        self.model.rules.take(step, self.model.today());
        let patch = Patch::between(&before, &roster(&self.model.rules, &self.parents));
        self.hub().hub.change_roster(&self.caller((0, 0)), Uuid::new_v4(), patch).await.unwrap();
    }

    /// A record of somebody who takes part today.
    fn pick(&self, pick: usize, which: impl Fn(usize) -> bool) -> Option<usize> {
        let all = (0..self.model.records.len()).filter(|&record| {
            let held = &self.model.records[record];
            held.value != SIGN && self.model.is_here(held.owner) && which(record)
        });
        let all: Vec<_> = all.collect();
        all.get(pick % all.len().max(1)).copied()
    }

    async fn remark(&mut self, pick: usize, mark: &Mark) {
        let Some(record) = self.pick(pick, |_| true) else { return };
        let (held, now) = (&self.model.records[record], self.model.now(record));
        let holds = now.until.map(|until| (until - self.model.hours).max(0));
        let (value, owner, label, mark) = (held.value, held.owner, now.label, mark.clone());
        self.publish(owner, None, &[Item { value, mark, label, holds, reinstate: false }]).await;
    }

    /// What says that all before it has come.
    async fn sign(&mut self) {
        let mark = Mark::open(Tlp::Clear);
        let item = Item { value: SIGN, mark, label: true, holds: None, reinstate: false };
        self.publish(0, None, &[item]).await;
    }

    async fn publish(&mut self, owner: usize, by: Option<usize>, items: &[Item]) {
        let author = (by.unwrap_or(owner), 0);
        let here = self.model.is_here(author.0);
        let caller = self.hub().caller_as(identity(author));
        assert_eq!(caller.is_ok(), here, "who does not take part does not get in");
        let Ok(caller) = caller else { return };
        let Model { rules, .. } = &self.model;
        let allowed =
            by.is_none_or(|by| rules.related(Sort::ActsFor, by, owner) && rules.is_active(owner, rules.day));
        let (mut drafts, mut versions) = (Vec::new(), Vec::new());
        // What is masked does not come beside what is not.
        let alike = |item: &&Item| item.mark.masked == items[0].mark.masked;
        for Item { value: number, mark, label, holds, reinstate } in items.iter().filter(alike) {
            let (note, until) = (self.model.note(), holds.map(|hours| self.model.hours + hours));
            let reason = reinstate.then(|| self.model.note());
            let state = if holds.is_some_and(|hours| hours <= 0) { EXPIRED } else { ACTIVE };
            let version = Version::new(usize::MAX, owner, mark.clone(), note);
            let version = Version { label: *label, until, state, reason, by, ..version };
            drafts.push(Ok(draft(&version, *number)));
            versions.push((*number, version));
        }
        let on_behalf_of = by.map(|_| slug(owner));
        let asked = Asked { request_id: Uuid::new_v4(), on_behalf_of };
        self.settle().await;
        let results = self.hub().hub.publish(&caller, asked, drafts).await.unwrap();
        let mut published = BTreeSet::new();
        for ((value, mut version), result) in versions.into_iter().zip(results) {
            if !allowed {
                assert_eq!(result.unwrap_err().reason, Reason::DelegationMissing);
                continue;
            }
            if self.model.addresses_none(&version.mark) {
                let reason = Reason::Input(invalid::Reason::OrganisationUnknown);
                assert_eq!(result.unwrap_err().reason, reason, "nobody reads for whom it names");
                continue;
            }
            let known = self.model.find(owner, value);
            let revoked = known.is_some_and(|record| self.model.now(record).state == REVOKED);
            let (effect, reason) = match (known, revoked, version.reason) {
                (Some(_), true, None) => {
                    assert_eq!(result.unwrap_err().reason, Reason::IndicatorRevoked);
                    continue;
                }
                (Some(_), true, Some(reason)) => (Effect::Reinstated, Some(reason)),
                (Some(_), false, _) => (Effect::Updated, None),
                (None, ..) => (Effect::Created, None),
            };
            let answer = result.unwrap();
            assert_eq!(answer.effect, effect);
            version.reason = reason;
            version.record = known.unwrap_or_else(|| self.model.create(owner, value, answer.id));
            assert_eq!(self.model.records[version.record].id, answer.id);
            published.insert(version.record);
            self.model.push(version);
        }
        self.model.collide(author, owner, &published);
    }

    async fn again(&mut self, pick: usize) {
        let Some(record) = self.pick(pick, |record| self.model.now(record).state != REVOKED) else {
            return;
        };
        let Version { owner, .. } = *self.model.now(record);
        let now = Version { reason: None, ..self.model.now(record).clone() };
        let items = vec![Ok(draft(&now, self.model.records[record].value))];
        let caller = self.caller((owner, 0));
        self.settle().await;
        let answer = self.hub().hub.publish(&caller, Uuid::new_v4(), items).await.unwrap().remove(0);
        if self.model.addresses_none(&now.mark) {
            answer.unwrap_err();
        } else {
            assert_eq!(answer.unwrap().effect, Effect::Unchanged);
        }
    }

    async fn revoke(&mut self, pick: usize) {
        let Some(record) = self.pick(pick, |_| true) else { return };
        let reason = self.model.note();
        let (owner, id) = (self.model.records[record].owner, self.model.records[record].id);
        let revocation = Revocation { reason: RevocationReason::Withdrawn, note: secrets::note(reason) };
        let caller = self.caller((owner, 0));
        self.settle().await;
        self.hub().hub.revoke(&caller, Uuid::new_v4(), id, revocation, None).await.unwrap();
        let now = self.model.now(record).clone();
        if now.state != REVOKED {
            let seen = Seen::default();
            self.model.push(Version { state: REVOKED, reason: Some(reason), seen, ..now });
        }
    }

    async fn sight(&mut self, viewer: usize, pick: usize, same: bool) {
        let person = VIEWERS[viewer];
        if self.model.records.is_empty() || !self.model.is_here(person.0) {
            return;
        }
        let record = pick % self.model.records.len();
        let (id, note) = (self.model.records[record].id, self.model.note());
        self.settle().await;
        let Version { owner, mark, .. } = self.model.now(record).clone();
        let given = same.then(|| marking(&mark));
        let draft = SightingDraft {
            indicator: id,
            outcome: Outcome::SeenBlocked,
            count: 1,
            first_seen: None,
            last_seen: None,
            note: secrets::note(note),
            marking: given,
        };
        let caller = self.caller(person);
        let answer = self.hub().hub.report_sightings(&caller, Uuid::new_v4(), vec![Ok(draft)]).await;
        let answer = answer.unwrap().remove(0);
        let rules = &self.model.rules;
        let blind = mark.masked
            && !matches!(mark.tlp, Tlp::Clear | Tlp::Green)
            && !rules.told(person, owner, &mark, For::Getting);
        if !rules.visible(person, owner, &mark, For::Getting) {
            assert_eq!(answer.unwrap_err().reason, Reason::NotFound);
        } else if same && blind {
            answer.unwrap_err();
        } else if let Ok(name) = answer {
            self.model.push_sighting((record, person), same.then_some(mark), name.sighting, note);
        } else {
            assert!(same, "a sighting for its owner alone is always taken: {answer:?}");
        }
    }

    async fn pass(&mut self, hours: i64, tick: bool) {
        self.model.hours += hours;
        self.hub().clock.advance(u64::try_from(hours).unwrap() * HOUR);
        if !tick {
            return;
        }
        self.settle().await;
        self.hub().hub.turn_day().await.unwrap();
        self.model.rules.day = self.model.today();
        let mut ended = 0;
        loop {
            let expired = self.hub().hub.expire().await.unwrap();
            ended += expired.indicators;
            if !expired.more {
                break;
            }
        }
        assert_eq!(ended, self.model.expire() as u64);
    }

    async fn reopen(&mut self) {
        for viewer in 0..VIEWERS.len() {
            self.leave(viewer).await;
        }
        let hub = self.hub.take().expect("the hub is open");
        self.hub = Some(hub.reopen(|_| ()).await);
        for viewer in 0..VIEWERS.len() {
            self.join(viewer, super::steps::Way::Back(0)).await;
        }
    }

    /// Lets everyone who follows take what there is, and compares.
    pub(super) async fn rest(&mut self) {
        self.sign().await;
        self.model.look();
        for viewer in 0..VIEWERS.len() {
            self.settle_viewer(viewer).await;
        }
    }
}

/// What a producer says who publishes a version.
fn draft(version: &Version, number: usize) -> Draft {
    Draft {
        labels: if version.label { vec!["c2".to_owned()] } else { Vec::new() },
        description: secrets::note(version.note),
        valid_until: version.until.map(timestamp),
        reinstate: version.reason.map(secrets::note),
        ..Draft::new(value(number), marking(&version.mark))
    }
}
