//! Decides who takes part: organisations, dated role assignments, principals,
//! groups, and who works for whom.

use std::collections::{BTreeMap, BTreeSet};

use time::Date;

use super::org::{OrgSlug, Organisation, Standing};
use super::principal::{Roles, SpiffeId};

/// Everyone who takes part, at one moment of the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    /// Organisations by slug.
    pub organisations: BTreeMap<OrgSlug, Organisation>,
    /// Duties by date: who leads, who coordinates.
    pub duties: Vec<Duty>,
    /// Principals with a role.
    pub principals: BTreeMap<SpiffeId, Grant>,
    /// Groups that a marking can name, by slug.
    pub groups: BTreeMap<OrgSlug, Group>,
    /// Who works for whom.
    pub relations: Vec<Relation>,
}

/// A group of organisations that a marking can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Permanent key; groups and organisations never share one.
    pub slug: OrgSlug,
    /// Name in Vietnamese.
    pub vi: String,
    /// Name in English; may be empty.
    pub en: String,
    /// Who belongs to it, by date.
    pub members: Vec<Member>,
}

/// The span over which an organisation belongs to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which organisation.
    pub organisation: OrgSlug,
    /// First day; `None`: no known bound.
    pub from: Option<Date>,
    /// First day on which it no longer holds.
    pub to: Option<Date>,
}

/// How one organisation works for another. Numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RelationKind {
    /// The first receives security services from the second: what is shared
    /// with the second as TLP:AMBER is for the first too (TLP 2.0: clients).
    ClientOf = 1,
    /// The first works for the second, publishes on its behalf, and reads its
    /// TLP:AMBER where the source allows providers to.
    ActsFor = 2,
}

impl RelationKind {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::ClientOf, Self::ActsFor];

    /// The number that is stored.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// The name in roster files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientOf => "client-of",
            Self::ActsFor => "acts-for",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A dated relation between two organisations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// How.
    pub kind: RelationKind,
    /// The client, or the provider that acts.
    pub subject: OrgSlug,
    /// Its provider, or the unit that it acts for.
    pub object: OrgSlug,
    /// First day; `None`: no known bound.
    pub from: Option<Date>,
    /// First day on which it no longer holds.
    pub to: Option<Date>,
    /// The contract or sharing agreement that says so.
    pub legal_basis: String,
}

impl Relation {
    /// Whether it holds on `date`.
    #[must_use]
    pub fn holds(&self, date: Date) -> bool {
        holds(self.from, self.to, date)
    }
}

/// What a change of the roster puts in place of what stands. Organisations
/// are never removed: they end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patch {
    /// Organisations, new or changed.
    pub organisations: Vec<Organisation>,
    /// All duties, if any changed.
    pub duties: Option<Vec<Duty>>,
    /// Principals, new or changed; without a grant: removed.
    pub principals: Vec<(SpiffeId, Option<Grant>)>,
    /// Groups, new or changed; `None`: removed.
    pub groups: Vec<(OrgSlug, Option<Group>)>,
    /// All relations, if any changed.
    pub relations: Option<Vec<Relation>>,
}

impl Patch {
    /// What makes `after` of `before`. Organisations that `after` lacks stay.
    #[must_use]
    pub fn between(before: &Roster, after: &Roster) -> Self {
        let changed = after.organisations.values().filter(|o| before.organisations.get(&o.slug) != Some(o));
        let granted = after.principals.iter().filter(|(id, grant)| before.principals.get(id) != Some(grant));
        let removed = before.principals.keys().filter(|id| !after.principals.contains_key(id));
        let groups = after.groups.iter().filter(|(slug, group)| before.groups.get(slug) != Some(group));
        let dissolved = before.groups.keys().filter(|slug| !after.groups.contains_key(slug));
        Self {
            organisations: changed.cloned().collect(),
            duties: (before.duties != after.duties).then(|| after.duties.clone()),
            principals: granted
                .map(|(id, grant)| (id.clone(), Some(grant.clone())))
                .chain(removed.map(|id| (id.clone(), None)))
                .collect(),
            groups: groups
                .map(|(slug, group)| (slug.clone(), Some(group.clone())))
                .chain(dissolved.map(|slug| (slug.clone(), None)))
                .collect(),
            relations: (before.relations != after.relations).then(|| after.relations.clone()),
        }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A dated duty of an organisation, such as `lead_unit_infosec`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duty {
    /// Which duty.
    pub duty: String,
    /// Within what.
    pub scope: String,
    /// Who holds it.
    pub holder: OrgSlug,
    /// First day; `None`: no known bound.
    pub from: Option<Date>,
    /// First day on which it no longer holds.
    pub to: Option<Date>,
    /// Where it is laid down.
    pub legal_basis: String,
}

/// The roles of a principal over a span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The roles.
    pub roles: Roles,
    /// First day; `None`: from the beginning.
    pub from: Option<Date>,
    /// First day on which they no longer hold.
    pub to: Option<Date>,
}

impl Roster {
    /// Roles of `principal` on `date`: none unless the roster names it and its
    /// organisation is active.
    #[must_use]
    pub fn roles(&self, principal: &SpiffeId, date: Date) -> Roles {
        let active = self.is_active(principal.org(), date);
        match self.principals.get(principal) {
            Some(grant) if active && holds(grant.from, grant.to, date) => grant.roles,
            _ => Roles::NONE,
        }
    }

    /// Whether `org` takes part on `date`.
    #[must_use]
    pub fn is_active(&self, org: &OrgSlug, date: Date) -> bool {
        self.organisations.get(org).is_some_and(|o| o.standing(date) == Standing::Active)
    }

    /// Duties of `org` on `date`.
    pub fn duties_of<'a>(&'a self, org: &'a OrgSlug, date: Date) -> impl Iterator<Item = &'a Duty> {
        self.duties.iter().filter(move |d| d.holder == *org && holds(d.from, d.to, date))
    }

    /// Who leads on `date`: the holders of a duty whose name begins with
    /// `lead-unit`.
    pub fn lead_units(&self, date: Date) -> impl Iterator<Item = &OrgSlug> {
        let leads = move |d: &&Duty| d.duty.starts_with("lead-unit") && holds(d.from, d.to, date);
        self.duties.iter().filter(leads).map(|d| &d.holder)
    }

    /// Whether `org` exists on `date`, suspended or not.
    #[must_use]
    pub fn exists(&self, org: &OrgSlug, date: Date) -> bool {
        self.organisations
            .get(org)
            .is_some_and(|o| matches!(o.standing(date), Standing::Active | Standing::Suspended))
    }

    /// Who has the rights of `org` on `date`: itself while it exists, then
    /// its successors, and theirs.
    #[must_use]
    pub fn heirs<'a>(&'a self, org: &'a OrgSlug, date: Date) -> Vec<&'a OrgSlug> {
        let (mut heirs, mut seen, mut open) = (Vec::new(), BTreeSet::new(), vec![org]);
        while let Some(next) = open.pop() {
            let Some(organisation) = self.organisations.get(next) else { continue };
            if !seen.insert(next) {
                continue;
            }
            match organisation.standing(date) {
                Standing::Active | Standing::Suspended => heirs.push(next),
                Standing::Ended => open.extend(&organisation.successors),
                Standing::Planned => {}
            }
        }
        heirs
    }

    /// Whether somebody has the rights of `org` on `date`, or will have by what
    /// the roster says today: it has not ended for good.
    #[must_use]
    pub fn lives_on(&self, org: &OrgSlug, date: Date) -> bool {
        let (mut seen, mut open) = (BTreeSet::new(), vec![org]);
        while let Some(next) = open.pop() {
            let Some(organisation) = self.organisations.get(next).filter(|_| seen.insert(next)) else {
                continue;
            };
            if organisation.standing(date) != Standing::Ended {
                return true;
            }
            open.extend(&organisation.successors);
        }
        false
    }

    /// Members of `group` on `date`.
    pub fn members<'a>(&'a self, group: &OrgSlug, date: Date) -> impl Iterator<Item = &'a OrgSlug> {
        self.groups
            .get(group)
            .into_iter()
            .flat_map(|group| &group.members)
            .filter(move |member| holds(member.from, member.to, date))
            .map(|member| &member.organisation)
    }

    /// Subjects that stand in `kind` to `object` on `date`.
    pub fn subjects<'a>(
        &'a self,
        kind: RelationKind,
        object: &'a OrgSlug,
        date: Date,
    ) -> impl Iterator<Item = &'a OrgSlug> {
        self.relations
            .iter()
            .filter(move |r| r.kind == kind && r.object == *object && r.holds(date))
            .map(|r| &r.subject)
    }

    /// Whether `subject` stands in `kind` to `object` on `date`.
    #[must_use]
    pub fn relates(&self, kind: RelationKind, subject: &OrgSlug, object: &OrgSlug, date: Date) -> bool {
        self.subjects(kind, object, date).any(|other| other == subject)
    }

    /// Whether `provider` acts for `unit` on `date`, and the unit takes part.
    #[must_use]
    pub fn acts_for(&self, provider: &OrgSlug, unit: &OrgSlug, date: Date) -> bool {
        self.is_active(unit, date) && self.relates(RelationKind::ActsFor, provider, unit, date)
    }

    /// Whether a day after `last` and not after `date` is the first or the
    /// last of anything, so that others may see on `date` what they did not.
    #[must_use]
    pub fn turns(&self, last: Date, date: Date) -> bool {
        let turns = |bounds: [Option<Date>; 2]| bounds.iter().flatten().any(|b| last < *b && *b <= date);
        self.organisations.values().any(|o| {
            turns([o.valid_from, o.valid_to]) || o.lifecycle.iter().any(|step| turns([Some(step.on), None]))
        }) || self.relations.iter().any(|r| turns([r.from, r.to]))
            || self.groups.values().flat_map(|g| &g.members).any(|m| turns([m.from, m.to]))
            || self.duties.iter().any(|d| turns([d.from, d.to]))
    }

    /// Puts what `patch` says in place of what stands.
    pub fn apply(&mut self, patch: Patch) {
        self.organisations.extend(patch.organisations.into_iter().map(|o| (o.slug.clone(), o)));
        for (id, grant) in patch.principals {
            match grant {
                Some(grant) => self.principals.insert(id, grant),
                None => self.principals.remove(&id),
            };
        }
        for (slug, group) in patch.groups {
            match group {
                Some(group) => self.groups.insert(slug, group),
                None => self.groups.remove(&slug),
            };
        }
        if let Some(duties) = patch.duties {
            self.duties = duties;
        }
        if let Some(relations) = patch.relations {
            self.relations = relations;
        }
    }
}

/// Whether a span of days holds `date`; the end is the first day after.
fn holds(from: Option<Date>, to: Option<Date>, date: Date) -> bool {
    from.is_none_or(|from| from <= date) && to.is_none_or(|to| date < to)
}
