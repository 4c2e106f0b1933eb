//! Decides how a roster is written as a file: what [`super::parse`] reads
//! gives the same roster again.

use serde_json::{Map, Value};
use time::Date;

use super::DAY;
use crate::model::org::{DatedName, OrgSlug, Organisation, Step};
use crate::model::principal::{Role, SpiffeId};
use crate::model::roster::{Duty, Grant, Group, Member, Relation, Roster};

/// Writes a roster for people to read and change. Every record has all its
/// bounds, so that it is seen where one may be set. `etag` names what was
/// written; empty: nothing does.
#[must_use]
pub fn write(roster: &Roster, etag: &str) -> String {
    let all = |records: Vec<Value>| Value::Array(records);
    let etag = if etag.is_empty() { Value::Null } else { text(etag) };
    let document = object([
        ("etag", etag),
        ("organisations", all(roster.organisations.values().map(organisation).collect())),
        ("duties", all(roster.duties.iter().map(duty).collect())),
        ("principals", all(roster.principals.iter().map(principal).collect())),
        ("groups", all(roster.groups.values().map(group).collect())),
        ("relations", all(roster.relations.iter().map(relation).collect())),
    ]);
    let mut text = format!("{document:#}");
    text.push('\n');
    text
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

fn day(date: Option<Date>) -> Value {
    date.and_then(|date| date.format(DAY).ok()).map_or(Value::Null, Value::String)
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn slugs(slugs: &[OrgSlug]) -> Value {
    slugs.iter().map(|slug| text(slug.as_str())).collect()
}

fn organisation(org: &Organisation) -> Value {
    object([
        ("slug", text(org.slug.as_str())),
        ("kind", text(&org.kind)),
        ("names", org.names.iter().map(name).collect()),
        ("parent", org.parent.as_ref().map_or(Value::Null, |parent| text(parent.as_str()))),
        ("valid_from", day(org.valid_from)),
        ("valid_to", day(org.valid_to)),
        ("predecessors", slugs(&org.predecessors)),
        ("successors", slugs(&org.successors)),
        ("lifecycle", org.lifecycle.iter().map(step).collect()),
        ("protected", org.protected.iter().map(|asset| text(&asset.to_string())).collect()),
    ])
}

fn name(name: &DatedName) -> Value {
    object([
        ("vi", text(&name.vi)),
        ("en", text(&name.en)),
        ("short", text(&name.short)),
        ("from", day(name.from)),
        ("to", day(name.to)),
    ])
}

fn step(step: &Step) -> Value {
    object([
        ("what", text(step.what.as_str())),
        ("on", day(Some(step.on))),
        ("legal_basis", text(&step.legal_basis)),
    ])
}

fn duty(duty: &Duty) -> Value {
    object([
        ("duty", text(&duty.duty)),
        ("scope", text(&duty.scope)),
        ("holder", text(duty.holder.as_str())),
        ("from", day(duty.from)),
        ("to", day(duty.to)),
        ("legal_basis", text(&duty.legal_basis)),
    ])
}

fn principal((id, grant): (&SpiffeId, &Grant)) -> Value {
    object([
        ("id", text(id.as_str())),
        ("roles", grant.roles.iter().map(Role::as_str).map(text).collect()),
        ("from", day(grant.from)),
        ("to", day(grant.to)),
    ])
}

fn group(group: &Group) -> Value {
    let member = |member: &Member| {
        object([
            ("organisation", text(member.organisation.as_str())),
            ("from", day(member.from)),
            ("to", day(member.to)),
        ])
    };
    object([
        ("slug", text(group.slug.as_str())),
        ("vi", text(&group.vi)),
        ("en", text(&group.en)),
        ("members", group.members.iter().map(member).collect()),
    ])
}

fn relation(relation: &Relation) -> Value {
    object([
        ("kind", text(relation.kind.as_str())),
        ("subject", text(relation.subject.as_str())),
        ("object", text(relation.object.as_str())),
        ("from", day(relation.from)),
        ("to", day(relation.to)),
        ("legal_basis", text(&relation.legal_basis)),
    ])
}
