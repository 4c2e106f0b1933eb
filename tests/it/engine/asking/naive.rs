//! What the hub knows as a list of versions, and questions answered by going
//! through all of it.

use std::collections::BTreeSet;

use luytre::base::clock::Timestamp;
use luytre::hub::Effect;
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, Observable, State, normalise, technique};
use luytre::model::marking::{Caveats, Marking, Tlp};
use luytre::model::org::OrgSlug;
use luytre::model::query::{IndicatorFilter, Order, ValueMatch};
use luytre::model::roster::{Group, Member, Patch};
use luytre::model::sighting::{Outcome, SightingDraft};
use luytre::wire::proto::v1;
use proptest::prelude::*;
use prost::Message as _;
use uuid::Uuid;

use super::draw::{self, Asked, GROUP, HOUR, Item, KINDS, Op, SECOND};
use crate::engine::support::{Engine, ORGS, slug};

/// One version of a record.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) record: usize,
    pub(super) version: u64,
    pub(super) state: State,
    pub(super) draft: Draft,
}

#[derive(Debug, Clone)]
pub(super) struct Sighting {
    pub(super) record: usize,
    reporter: usize,
    pub(super) outcome: Outcome,
    open: bool,
    pub(super) time: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Record {
    id: Uuid,
    pub(super) owner: usize,
}

/// All that ever happened.
#[derive(Debug, Clone, Default)]
pub(super) struct Naive {
    pub(super) versions: Vec<Version>,
    pub(super) sightings: Vec<Sighting>,
    pub(super) records: Vec<Record>,
    /// Members of the group from each time on.
    members: Vec<(u64, u8)>,
    /// When each thing was done.
    pub(super) times: Vec<u64>,
}

/// A question with its moments.
#[derive(Debug, Clone)]
pub(super) struct Question<'a> {
    pub(super) viewer: usize,
    pub(super) filter: &'a IndicatorFilter,
    pub(super) order: Order,
    /// What happened until then is known.
    pub(super) until: u64,
    pub(super) as_of: bool,
}

impl Naive {
    pub(super) async fn apply(&mut self, engine: &Engine, op: &Op) {
        engine.clock.advance(SECOND);
        self.times.push(engine.hub.now().as_micros());
        match op {
            // Open and masked sources come in requests of their own.
            Op::Publish { org, items } => {
                for of_masked in [false, true] {
                    let items =
                        items.iter().filter(|item| draw::is_masked(item.value, item.marking) == of_masked);
                    self.publish(engine, *org, &items.cloned().collect::<Vec<_>>()).await;
                }
            }
            Op::Revoke { pick } => self.revoke(engine, *pick).await,
            Op::Sight { org, pick, outcome, open } => {
                self.sight(engine, *org, *pick, *outcome, *open).await;
            }
            Op::Regroup { members } => {
                engine.hub.change_roster(&engine.caller(0), Uuid::new_v4(), group(*members)).await.unwrap();
                self.members.push((engine.hub.now().as_micros(), *members));
            }
        }
    }

    async fn publish(&mut self, engine: &Engine, org: usize, items: &[Item]) {
        if items.is_empty() {
            return;
        }
        let drafts: Vec<_> = items.iter().map(draw::draft).collect();
        let asked = drafts.iter().cloned().map(Ok).collect();
        let answers = engine.hub.publish(&engine.caller(org), Uuid::new_v4(), asked).await.unwrap();
        for (draft, answer) in drafts.into_iter().zip(answers) {
            let Ok(published) = answer else { continue };
            if published.effect == Effect::Unchanged {
                continue;
            }
            let known = self.records.iter().position(|record| record.id == published.id);
            let record = known.unwrap_or_else(|| {
                self.records.push(Record { id: published.id, owner: org });
                self.records.len() - 1
            });
            let past = draft.valid_until.is_some_and(|until| until <= engine.hub.now());
            let state = if past { State::Expired } else { State::Active };
            self.versions.push(Version { record, version: published.version, state, draft });
        }
    }

    async fn revoke(&mut self, engine: &Engine, pick: usize) {
        let Some(record) = pick.checked_rem(self.records.len()) else { return };
        let Record { id, owner, .. } = self.records[record];
        let revocation = Revocation { reason: RevocationReason::Withdrawn, note: String::new() };
        let caller = engine.caller(owner);
        let revoked = engine.hub.revoke(&caller, Uuid::new_v4(), id, revocation, None).await.unwrap();
        let version = v1::Indicator::decode(revoked).unwrap().version;
        let now = self.standing(record, u64::MAX).unwrap().clone();
        if now.version != version {
            self.versions.push(Version { version, state: State::Revoked, ..now });
        }
    }

    async fn sight(&mut self, engine: &Engine, org: usize, pick: usize, outcome: Outcome, open: bool) {
        let Some(record) = pick.checked_rem(self.records.len()) else { return };
        if is_masked(&self.standing(record, u64::MAX).unwrap().draft.marking) {
            return;
        }
        let draft = SightingDraft {
            indicator: self.records[record].id,
            outcome,
            count: u64::from(outcome != Outcome::SearchedNotFound),
            first_seen: None,
            last_seen: None,
            note: String::new(),
            marking: open.then(|| Marking::open(Tlp::Green)),
        };
        let answers =
            engine.hub.report_sightings(&engine.caller(org), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
        if answers[0].is_ok() {
            let time = engine.hub.now().as_micros();
            self.sightings.push(Sighting { record, reporter: org, outcome, open, time });
        }
    }

    /// Whether the viewer is told whose a version is.
    pub(super) fn told(&self, viewer: usize, version: &Version) -> bool {
        let now = self.standing(version.record, u64::MAX).unwrap();
        let masked = is_masked(&version.draft.marking) || is_masked(&now.draft.marking);
        !masked || self.records[version.record].owner == viewer
    }

    /// Checks that an indicator is shown with its owner, or without.
    pub(super) fn check(&self, viewer: usize, indicator: &v1::Indicator) {
        let version = self.versions.iter().find(|version| version.version == indicator.version).unwrap();
        let owner = format!("organisations/{}", slug(self.records[version.record].owner));
        let shown = if self.told(viewer, version) { owner } else { String::new() };
        assert_eq!(indicator.owner, shown);
    }

    /// The newest version of a record until a time.
    fn standing(&self, record: usize, until: u64) -> Option<&Version> {
        self.versions.iter().rev().find(|version| version.record == record && version.version <= until)
    }

    fn is_member(&self, org: usize, at: u64) -> bool {
        let members = self.members.iter().rev().find(|(from, _)| *from <= at);
        members.is_some_and(|(_, bits)| bits & (1 << org) != 0)
    }

    /// Whether the roster of a time lets `viewer` see what is marked so.
    fn reaches(&self, viewer: usize, owner: usize, marking: &Marking, at: u64) -> bool {
        viewer == owner
            || match marking.tlp {
                Tlp::Clear | Tlp::Green => true,
                _ => {
                    marking.recipients.organisations.contains(&slug(viewer))
                        || (!marking.recipients.groups.is_empty() && self.is_member(viewer, at))
                }
            }
    }

    fn visible(&self, ask: &Question<'_>, version: &Version) -> bool {
        let owner = self.records[version.record].owner;
        let now = &self.standing(version.record, u64::MAX).unwrap().draft.marking;
        let then = if ask.as_of { ask.until } else { u64::MAX };
        self.reaches(ask.viewer, owner, &version.draft.marking, then)
            && self.reaches(ask.viewer, owner, now, u64::MAX)
    }

    /// The versions that answer, in order.
    pub(super) fn answer(&self, ask: &Question<'_>) -> Vec<u64> {
        let mut found: Vec<&Version> = (0..self.records.len())
            .filter_map(|record| self.standing(record, ask.until))
            .filter(|version| self.visible(ask, version) && self.matches(ask, version))
            .collect();
        found.sort_by_key(|version| self.rank(ask.order, version));
        found.into_iter().map(|version| version.version).collect()
    }

    /// These versions in order.
    pub(super) fn ordered(&self, order: Order, versions: BTreeSet<u64>) -> Vec<u64> {
        let mut found: Vec<_> =
            self.versions.iter().filter(|version| versions.contains(&version.version)).collect();
        found.sort_by_key(|version| self.rank(order, version));
        found.into_iter().map(|version| version.version).collect()
    }

    pub(super) fn born(&self, record: usize) -> u64 {
        self.versions.iter().find(|version| version.record == record).unwrap().version
    }

    /// What comes first has the smallest.
    fn rank(&self, order: Order, version: &Version) -> (u64, u64) {
        let born = self.born(version.record);
        let hour = |at: Option<Timestamp>| {
            // On the hour comes before the rest of it.
            at.map(|at| at.as_micros() / HOUR * 2 + u64::from(at.as_micros() % HOUR != 0))
        };
        let newest = !version.version;
        let (said, falls) = match order {
            Order::ModifiedNewest => return (0, newest),
            Order::ModifiedOldest => return (0, version.version),
            Order::PublishedNewest => return (0, !born),
            Order::PublishedOldest => return (0, born),
            Order::FirstSeenNewest => (hour(version.draft.first_seen), true),
            Order::FirstSeenOldest => (hour(version.draft.first_seen), false),
            Order::LastSeenNewest => (hour(version.draft.last_seen), true),
            Order::LastSeenOldest => (hour(version.draft.last_seen), false),
            Order::ConfidenceHighest => (version.draft.confidence.map(u64::from), true),
            Order::ConfidenceLowest => (version.draft.confidence.map(u64::from), false),
        };
        (said.map_or(u64::MAX, |said| if falls { u64::MAX - 1 - said } else { said }), newest)
    }

    fn matches(&self, ask: &Question<'_>, version: &Version) -> bool {
        let filter = ask.filter;
        let states = if filter.states.is_empty() { vec![State::Active] } else { filter.states.clone() };
        states.contains(&version.state)
            && fields(&IndicatorFilter { states: Vec::new(), except: None, ..filter.clone() })
                .iter()
                .all(|field| self.field(ask, field, version))
            && !filter
                .except
                .as_deref()
                .is_some_and(|except| fields(except).iter().any(|field| self.field(ask, field, version)))
    }

    /// Whether a version matches a filter of one field.
    fn field(&self, ask: &Question<'_>, filter: &IndicatorFilter, version: &Version) -> bool {
        let owner = self.records[version.record].owner;
        let (draft, told) = (&version.draft, self.told(ask.viewer, version));
        let any = |asked: &[String], has: &dyn Fn(&str) -> bool| {
            asked.is_empty() || asked.iter().any(|asked| has(asked))
        };
        let same = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
        let within = |from: Option<Timestamp>, to: Option<Timestamp>, micros: u64| {
            from.is_none_or(|from| micros >= from.as_micros()) && to.is_none_or(|to| micros < to.as_micros())
        };
        let born = self.born(version.record);
        let valid = |at: Timestamp| {
            at.as_micros() >= draft.valid_from.map_or(born, Timestamp::as_micros)
                && draft.valid_until.is_none_or(|until| at < until)
        };
        (filter.kinds.is_empty() || filter.kinds.contains(&draft.observable.kind()))
            && (filter.owners.is_empty() || (told && filter.owners.contains(&slug(owner))))
            && any(&filter.labels, &|asked| draft.labels.iter().any(|label| label == asked))
            && (filter.tlps.is_empty() || filter.tlps.contains(&draft.marking.tlp))
            && (filter.roles.is_empty() || draft.role.is_some_and(|role| filter.roles.contains(&role)))
            && any(&filter.families, &|asked| same(asked, &draft.family))
            && any(&filter.campaigns, &|asked| same(asked, &draft.campaign))
            && any(&filter.techniques, &|asked| {
                draft.techniques.iter().any(|name| name == asked || technique::parent(name) == Some(asked))
            })
            && (!filter.own_assets || is_own(ask.viewer, draft))
            && (filter.states.is_empty() || filter.states.contains(&version.state))
            && within(filter.added_from, filter.added_to, version.version)
            && within(filter.published.from, filter.published.to, born)
            && (filter.values.is_empty() || filter.values.iter().any(|wanted| of_value(wanted, draft)))
            && (filter.org_kinds.is_empty()
                || (told && filter.org_kinds.iter().any(|kind| kind == KINDS[owner])))
            && filter.confidence.is_none_or(|(low, high)| {
                draft.confidence.is_some_and(|confidence| (low..=high).contains(&confidence))
            })
            && (filter.actions.is_empty()
                || draft.action.is_some_and(|action| filter.actions.contains(&action)))
            && filter.first_seen.holds(draft.first_seen)
            && filter.last_seen.holds(draft.last_seen)
            && filter.valid_at.is_none_or(valid)
            && filter.text.as_ref().is_none_or(|search| {
                let labels = draft.labels.iter().map(String::as_str);
                search.matches(labels.chain([draft.family.as_str(), &draft.campaign, &draft.description]))
            })
            && self.sighted(ask, filter, version)
    }

    /// Whether the viewer may see a sighting of an indicator that he may see.
    pub(super) fn shows(&self, viewer: usize, sighting: &Sighting) -> bool {
        sighting.open || sighting.reporter == viewer || self.records[sighting.record].owner == viewer
    }

    fn sighted(&self, ask: &Question<'_>, filter: &IndicatorFilter, version: &Version) -> bool {
        let IndicatorFilter { sighted_by, sighted_since, outcomes, .. } = filter;
        if sighted_by.is_empty() && sighted_since.is_none() && outcomes.is_empty() {
            return true;
        }
        let owner = self.records[version.record].owner;
        let masked = is_masked(&self.standing(version.record, u64::MAX).unwrap().draft.marking);
        // Who reported what is masked since is told to few.
        let told = |reporter: usize| !masked || reporter == ask.viewer || owner == ask.viewer;
        self.sightings.iter().any(|sighting| {
            sighting.record == version.record
                && (sighted_by.is_empty() || told(sighting.reporter))
                && sighting.time <= ask.until
                && self.shows(ask.viewer, sighting)
                && (sighted_by.is_empty() || sighted_by.contains(&slug(sighting.reporter)))
                && sighted_since.is_none_or(|since| sighting.time >= since.as_micros())
                && (outcomes.is_empty() || outcomes.contains(&sighting.outcome))
        })
    }

    /// The moment at which something was done.
    fn time(&self, at: &Option<prop::sample::Index>) -> Option<Timestamp> {
        let at = at.as_ref().filter(|_| !self.times.is_empty())?.index(self.times.len());
        Some(Timestamp::from_micros_clamped(self.times[at]))
    }

    /// The filter with its moments.
    pub(super) fn filter(&self, asked: &Asked, except: Option<&Asked>) -> IndicatorFilter {
        let (added, published) = (&asked.added, &asked.published);
        let ordered = |span: &[Option<prop::sample::Index>; 2]| {
            let (from, to) = (self.time(&span[0]), self.time(&span[1]));
            if from.zip(to).is_some_and(|(from, to)| from >= to) { (to, None) } else { (from, to) }
        };
        let ((added_from, added_to), (from, to)) = (ordered(added), ordered(published));
        IndicatorFilter {
            added_from,
            added_to,
            published: luytre::model::query::Span { from, to },
            sighted_since: self.time(&asked.sighted_since),
            except: except.map(|except| Box::new(self.filter(except, None))),
            ..asked.filter.clone()
        }
    }
}

/// Whether it is about an asset of the viewer's organisation.
fn is_own(viewer: usize, draft: &Draft) -> bool {
    let mut about = draw::OWN[viewer].1.iter().map(|at| normalise::detect(draw::VALUES[*at]).unwrap());
    about.any(|value| value.observable == draft.observable)
}

fn of_value(wanted: &ValueMatch, draft: &Draft) -> bool {
    let is = |value: &Observable| wanted.matches(value);
    is(&draft.observable) || draft.aliases.iter().any(is)
}

/// Each field by itself.
fn fields(f: &IndicatorFilter) -> Vec<IndicatorFilter> {
    let (none, f) = (IndicatorFilter::default, f.clone());
    let all = vec![
        IndicatorFilter { kinds: f.kinds, ..none() },
        IndicatorFilter { owners: f.owners, ..none() },
        IndicatorFilter { labels: f.labels, ..none() },
        IndicatorFilter { tlps: f.tlps, ..none() },
        IndicatorFilter { roles: f.roles, ..none() },
        IndicatorFilter { families: f.families, ..none() },
        IndicatorFilter { campaigns: f.campaigns, ..none() },
        IndicatorFilter { techniques: f.techniques, ..none() },
        IndicatorFilter { own_assets: f.own_assets, ..none() },
        IndicatorFilter { states: f.states, ..none() },
        IndicatorFilter { added_from: f.added_from, added_to: f.added_to, ..none() },
        IndicatorFilter { published: f.published, ..none() },
        IndicatorFilter { values: f.values, ..none() },
        IndicatorFilter { org_kinds: f.org_kinds, ..none() },
        IndicatorFilter { confidence: f.confidence, ..none() },
        IndicatorFilter { actions: f.actions, ..none() },
        IndicatorFilter { first_seen: f.first_seen, ..none() },
        IndicatorFilter { last_seen: f.last_seen, ..none() },
        IndicatorFilter { valid_at: f.valid_at, ..none() },
        IndicatorFilter { text: f.text, ..none() },
        IndicatorFilter {
            sighted_by: f.sighted_by,
            sighted_since: f.sighted_since,
            outcomes: f.outcomes,
            ..none()
        },
    ];
    all.into_iter().filter(|field| *field != none()).collect()
}

/// The group with these members from now on.
pub(super) fn group(members: u8) -> Patch {
    let of = OrgSlug::parse(GROUP).unwrap();
    let members = (0..ORGS.len()).filter(|org| members & (1 << org) != 0);
    let members = members.map(|org| Member { organisation: slug(org), from: None, to: None }).collect();
    let group = Group { slug: of.clone(), vi: "Ứng cứu".into(), en: String::new(), members };
    Patch { groups: vec![(of, Some(group))], ..Patch::default() }
}

fn is_masked(marking: &Marking) -> bool {
    marking.caveats.contains(Caveats::MASKED_SOURCE)
}
