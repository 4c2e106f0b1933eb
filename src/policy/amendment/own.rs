//! Decides what of a change gives more to whoever proposes it: to himself, to
//! the others of his organisation, or to the organisation by whichever way
//! [`crate::policy::visibility::Audience::resolve`] goes. A third body that he
//! adds to a group or lets succeed another may be the one whose heir, client or
//! provider his organisation is.

use std::collections::{BTreeMap, BTreeSet};

use time::Date;

use crate::model::org::{OrgSlug, Standing};
use crate::model::principal::{Role, SpiffeId};
use crate::model::roster::{RelationKind, Roster};

/// Roles that let a colleague read: what he reads, the organisation has.
const READING: [Role; 2] = [Role::Subscriber, Role::Analyst];

/// What `author`, or his organisation, would have by the change on whichever
/// day from `today` on, and has not on that day without it: in words. Nobody
/// gives himself any of it alone.
#[must_use]
pub fn widens(before: &Roster, after: &Roster, today: Date, author: &SpiffeId) -> BTreeSet<String> {
    let days: BTreeSet<Date> = [before, after].into_iter().flat_map(|r| bounds(r, author.org())).collect();
    // Who reads what takes a walk through all of the roster, on each day.
    let reach = before.organisations != after.organisations
        || before.groups != after.groups
        || before.relations != after.relations;
    let mut gained = BTreeSet::new();
    for day in days.into_iter().filter(|day| *day > today).chain([today]) {
        let had = rights(before, author, day);
        gained.extend(rights(after, author, day).difference(&had).cloned());
        if reach {
            let had = Reading::of(before, author.org(), day);
            gained.extend(Reading::of(after, author.org(), day).beyond(&had));
        }
    }
    gained
}

/// Every day on which anything begins or ends that concerns what `org` may do
/// or read.
fn bounds<'a>(roster: &'a Roster, org: &'a OrgSlug) -> impl Iterator<Item = Date> + 'a {
    let organisations = roster.organisations.values().flat_map(|o| {
        [o.valid_from, o.valid_to].into_iter().chain(o.lifecycle.iter().map(|step| Some(step.on)))
    });
    let members = roster.groups.values().flat_map(|group| &group.members).flat_map(|m| [m.from, m.to]);
    let own = roster.principals.iter().filter(move |(id, _)| id.org() == org);
    organisations
        .chain(members)
        .chain(roster.duties.iter().filter(move |d| d.holder == *org).flat_map(|d| [d.from, d.to]))
        .chain(roster.relations.iter().flat_map(|r| [r.from, r.to]))
        .chain(own.flat_map(|(_, grant)| [grant.from, grant.to]))
        .flatten()
}

/// What `id`, its colleagues and its organisation may do on a day, in words.
fn rights(roster: &Roster, id: &SpiffeId, day: Date) -> BTreeSet<String> {
    let org = id.org();
    let mut rights = BTreeSet::new();
    for colleague in roster.principals.keys().filter(|other| other.org() == org) {
        let roles = roster.roles(colleague, day);
        for role in Role::ALL.into_iter().filter(|role| roles.contains(*role)) {
            if colleague == id {
                rights.insert(format!("the role {}", role.as_str()));
            } else if READING.contains(&role) {
                rights
                    .insert(format!("the role {} for {colleague}, of the same organisation", role.as_str()));
            }
        }
    }
    rights.extend(roster.duties_of(org, day).map(|duty| format!("the duty {} of {}", duty.duty, duty.scope)));
    let units = served(roster, RelationKind::ActsFor, org, day).filter(|unit| roster.is_active(unit, day));
    rights.extend(units.map(|unit| relation(RelationKind::ActsFor, unit)));
    rights
}

fn relation(kind: RelationKind, object: &OrgSlug) -> String {
    format!("the relation {} {object}", kind.as_str())
}

/// Whose client or provider `org` is on a day.
fn served<'a>(
    roster: &'a Roster,
    kind: RelationKind,
    org: &'a OrgSlug,
    day: Date,
) -> impl Iterator<Item = &'a OrgSlug> {
    let own = roster.relations.iter().filter(move |r| r.kind == kind && r.subject == *org);
    own.filter(move |r| r.holds(day)).map(|r| &r.object)
}

/// As what an organisation reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum As {
    /// Itself, or successor.
    Heir,
    /// Client of somebody.
    Client,
    /// Provider of somebody.
    Provider,
}

/// Classes that differ in who reads them, by what they say of one
/// organisation or group.
#[derive(Debug, Clone, Copy)]
enum Class {
    /// AMBER+STRICT for it.
    Strict,
    /// AMBER for it.
    Amber,
    /// Its own, and providers may read.
    Owned,
    /// AMBER for it, and providers may read. For an organisation, whoever
    /// reads this reads one of the others too.
    Wide,
}

impl Class {
    const fn admits(self, who: As) -> bool {
        match who {
            As::Heir => true,
            As::Client => matches!(self, Self::Amber | Self::Wide),
            As::Provider => matches!(self, Self::Owned | Self::Wide),
        }
    }
}

/// A way to read: as what, and whose heir, client or provider.
type Way<'a> = (As, &'a OrgSlug);

/// What one organisation reads on a day: collected from its own end of each
/// way, once for all that it leads to.
struct Reading<'a> {
    org: &'a OrgSlug,
    roster: &'a Roster,
    /// The ways by which it reads what is for an organisation.
    organisations: BTreeMap<&'a OrgSlug, BTreeSet<Way<'a>>>,
    /// The members by which it reads what is for a group.
    groups: BTreeMap<&'a OrgSlug, BTreeSet<&'a OrgSlug>>,
}

impl<'a> Reading<'a> {
    fn of(roster: &'a Roster, org: &'a OrgSlug, day: Date) -> Self {
        let mut followed: BTreeMap<&OrgSlug, Vec<&OrgSlug>> = BTreeMap::new();
        for ended in roster.organisations.values().filter(|o| o.standing(day) == Standing::Ended) {
            for heir in &ended.successors {
                followed.entry(heir).or_default().push(&ended.slug);
            }
        }
        let clients = served(roster, RelationKind::ClientOf, org, day).map(|to| (As::Client, to));
        let providers = served(roster, RelationKind::ActsFor, org, day).map(|to| (As::Provider, to));
        let mut organisations: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for way in clients.chain(providers).chain([(As::Heir, org)]) {
            let mut open = if roster.exists(way.1, day) { vec![way.1] } else { Vec::new() };
            while let Some(next) = open.pop() {
                if organisations.entry(next).or_default().insert(way) {
                    open.extend(followed.get(next).into_iter().flatten());
                }
            }
        }
        let mut groups: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for slug in roster.groups.keys() {
            let members = roster.members(slug, day).filter(|member| organisations.contains_key(member));
            groups.entry(slug).or_default().extend(members);
        }
        Self { org, roster, organisations, groups }
    }

    /// The ways to what is for `organisation` in a class.
    fn ways(&self, organisation: &OrgSlug, class: Class) -> impl Iterator<Item = Way<'a>> {
        let all = self.organisations.get(organisation).into_iter().flatten();
        all.copied().filter(move |(who, _)| class.admits(*who))
    }

    fn reads(&self, organisation: &OrgSlug, class: Class) -> bool {
        self.ways(organisation, class).next().is_some()
    }

    fn reads_of(&self, group: &OrgSlug, class: Class) -> bool {
        self.groups.get(group).into_iter().flatten().any(|member| self.reads(member, class))
    }

    /// What it reads beyond `before`, in words. What follows from something
    /// else that is told is not told again.
    fn beyond(&self, before: &Self) -> BTreeSet<String> {
        let mut told = BTreeSet::new();
        for class in [Class::Strict, Class::Amber, Class::Owned] {
            for body in self.organisations.keys().filter(|body| !before.reads(body, class)) {
                let direct = |by: &OrgSlug| by == *body || self.follows(body, before, class);
                let ways = self.ways(body, class).filter(|(_, by)| direct(by));
                told.extend(ways.map(|way| self.of_organisation(body, way)));
            }
        }
        for class in [Class::Strict, Class::Amber, Class::Wide] {
            for (group, members) in self.groups.iter().filter(|(group, _)| !before.reads_of(group, class)) {
                for member in members.iter().filter(|member| before.reads(member, class)) {
                    told.extend(self.ways(member, class).map(|way| self.of_group(group, member, way)));
                }
            }
        }
        told
    }

    /// Whether a body that follows `ended` was read by `before`: then it is the
    /// succession that is new.
    fn follows(&self, ended: &OrgSlug, before: &Self, class: Class) -> bool {
        let heirs = self.roster.organisations.get(ended).into_iter().flat_map(|o| &o.successors);
        heirs.into_iter().any(|heir| self.reads(heir, class) && before.reads(heir, class))
    }

    fn of_organisation(&self, body: &OrgSlug, (who, by): Way<'_>) -> String {
        match who {
            As::Heir if body == self.org => format!("the rights of {body}, its own organisation"),
            As::Heir => format!("the rights of {body}"),
            As::Client if body == by => relation(RelationKind::ClientOf, by),
            As::Provider if body == by => relation(RelationKind::ActsFor, by),
            As::Client => format!("what is TLP:AMBER for {body}, as client of {by}, which succeeds it"),
            As::Provider => {
                format!("what providers of {body} may read, acting for {by}, which succeeds it")
            }
        }
    }

    fn of_group(&self, group: &OrgSlug, member: &OrgSlug, (who, by): Way<'_>) -> String {
        let follows = if member == by { String::new() } else { format!(", which succeeds {member}") };
        match who {
            As::Heir if member == self.org => format!("membership of {group}"),
            As::Heir => format!("what is shared with the group {group}, as successor of {member}"),
            As::Client => {
                format!("what is TLP:AMBER for the group {group}, as client of {by}{follows}")
            }
            As::Provider => {
                format!("what providers of the group {group} may read, acting for {by}{follows}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
