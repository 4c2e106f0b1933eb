//! Decides whether the records of a roster hold together.

use std::collections::{BTreeMap, BTreeSet};

use super::{Placed, Problems};
use crate::model::Invalid;
use crate::model::invalid::Reason;
use crate::model::org::{OrgSlug, Organisation};
use crate::model::principal::SpiffeId;
use crate::model::roster::{Duty, Grant, Group, Relation};

/// The organisations of the file by slug.
type Known<'a> = BTreeMap<&'a OrgSlug, &'a Organisation>;

/// The records by their key; a key that stands twice is reported.
pub(super) fn distinct<'a, T, K: Ord>(
    field: &str,
    key_field: &str,
    records: &'a [Placed<T>],
    key: impl Fn(&'a T) -> &'a K,
    problems: &mut Problems,
) -> BTreeMap<&'a K, &'a T> {
    let mut seen: BTreeMap<&K, (usize, &T)> = BTreeMap::new();
    for (at, record) in records {
        if let Some((first, _)) = seen.get(key(record)) {
            problems
                .report(format!("{field}[{at}].{key_field}"), format!("stands already at {field}[{first}]"));
        } else {
            seen.insert(key(record), (*at, record));
        }
    }
    seen.into_iter().map(|(key, (_, record))| (key, record)).collect()
}

fn is_known(path: String, slug: &OrgSlug, known: &Known<'_>, problems: &mut Problems) -> bool {
    let found = known.contains_key(slug);
    if !found {
        let unknown = Invalid::new(path, format!("no organisation has the slug {slug}"));
        problems.add(unknown.because(Reason::OrganisationUnknown));
    }
    found
}

/// Superiors and successions hold together.
pub(super) fn organisations(
    organisations: &[Placed<Organisation>],
    known: &Known<'_>,
    problems: &mut Problems,
) {
    for (at, org) in organisations {
        problems.path = format!("organisations[{at}]");
        if let Some(parent) = &org.parent
            && is_known("parent".into(), parent, known, problems)
            && is_below_itself(org, known)
        {
            problems.report("parent", "the superior bodies go round in a circle");
        }
        succession(org, PREDECESSORS, SUCCESSORS, known, problems);
        succession(org, SUCCESSORS, PREDECESSORS, known, problems);
    }
    problems.path.clear();
}

fn is_below_itself(org: &Organisation, known: &Known<'_>) -> bool {
    let mut passed = BTreeSet::from([&org.slug]);
    let mut above = org.parent.as_ref();
    while let Some(slug) = above {
        if *slug == org.slug {
            return true;
        }
        if !passed.insert(slug) {
            return false;
        }
        above = known.get(slug).and_then(|o| o.parent.as_ref());
    }
    false
}

/// A field of an organisation, and how to read it.
type Direction = (&'static str, fn(&Organisation) -> &Vec<OrgSlug>);

const PREDECESSORS: Direction = ("predecessors", |org| &org.predecessors);
const SUCCESSORS: Direction = ("successors", |org| &org.successors);

/// Whoever names a successor is named by it as predecessor, and the reverse.
fn succession(
    org: &Organisation,
    (field, there): Direction,
    (reverse, back): Direction,
    known: &Known<'_>,
    problems: &mut Problems,
) {
    for (at, other) in there(org).iter().enumerate() {
        let path = format!("{field}[{at}]");
        if *other == org.slug {
            problems.report(path, "a body does not follow itself");
        } else if is_known(path.clone(), other, known, problems)
            && known.get(other).is_some_and(|o| !back(o).contains(&org.slug))
        {
            problems.report(path, format!("{other} does not name {} among its {reverse}", org.slug));
        }
    }
}

/// Every holder of a duty is in the roster.
pub(super) fn duties(duties: &[Placed<Duty>], known: &Known<'_>, problems: &mut Problems) {
    for (at, duty) in duties {
        is_known(format!("duties[{at}].holder"), &duty.holder, known, problems);
    }
}

/// Every member of a group is in the roster, and no group has the slug of an
/// organisation: a marking names both in the same way.
pub(super) fn groups(groups: &[Placed<Group>], known: &Known<'_>, problems: &mut Problems) {
    for (at, group) in groups {
        if known.contains_key(&group.slug) {
            problems.report(format!("groups[{at}].slug"), "an organisation has this slug");
        }
        for (place, member) in group.members.iter().enumerate() {
            let path = format!("groups[{at}].members[{place}].organisation");
            is_known(path, &member.organisation, known, problems);
        }
    }
}

/// Both ends of a relation are in the roster, and are two.
pub(super) fn relations(relations: &[Placed<Relation>], known: &Known<'_>, problems: &mut Problems) {
    for (at, relation) in relations {
        is_known(format!("relations[{at}].subject"), &relation.subject, known, problems);
        is_known(format!("relations[{at}].object"), &relation.object, known, problems);
        if relation.subject == relation.object {
            problems.report(format!("relations[{at}].object"), "nobody works for himself");
        }
    }
}

/// Every principal is of an organisation in the roster, and of one trust domain.
pub(super) fn principals(
    principals: &[Placed<(SpiffeId, Grant)>],
    known: &Known<'_>,
    problems: &mut Problems,
) {
    let domain = principals.first().map(|(_, (id, _))| id.trust_domain()).unwrap_or_default();
    for (at, (id, _)) in principals {
        let path = format!("principals[{at}].id");
        if id.trust_domain() != domain {
            problems.report(path.clone(), format!("every principal is of one trust domain, here {domain}"));
        }
        is_known(path, id.org(), known, problems);
    }
}
