//! Decides in which words a change of the roster is told: one line each, by
//! record, for the person who is about to make it or to agree with it.

use std::collections::BTreeMap;

use time::Date;

use super::org::{DatedName, OrgSlug, Organisation, Step};
use super::principal::Role;
use super::roster::{Duty, Grant, Group, Relation, RelationKind, Roster};

/// What makes `after` of `before`, in the words of `today`: what begins on a
/// later day is told as to come.
#[must_use]
pub fn differences(before: &Roster, after: &Roster, today: Date) -> Vec<String> {
    let mut told = Vec::new();
    for (slug, is) in &after.organisations {
        match before.organisations.get(slug) {
            Some(was) => organisation(was, is, today, &mut told),
            None => told.push(format!(
                "organisation {}: new{}",
                named(is, today),
                life(is.valid_from, is.valid_to)
            )),
        }
    }
    for slug in before.organisations.keys().filter(|slug| !after.organisations.contains_key(slug)) {
        told.push(format!("organisation {slug}: missing"));
    }
    let spans = |roster: &Roster| spans(roster.duties.iter().map(|d| (duty(d), d.from, d.to)));
    lists("duty", &spans(before), &spans(after), &mut told);
    for (id, is) in &after.principals {
        match before.principals.get(id) {
            Some(was) if was != is => {
                told.push(format!("principal {id}: {}, before: {}", grant(is), grant(was)))
            }
            Some(_) => {}
            None => told.push(format!("principal {id}: new, {}", grant(is))),
        }
    }
    for id in before.principals.keys().filter(|id| !after.principals.contains_key(id)) {
        told.push(format!("principal {id}: no role any more"));
    }
    groups(&before.groups, &after.groups, &mut told);
    let spans = |roster: &Roster| relations(&roster.relations);
    lists("relation", &spans(before), &spans(after), &mut told);
    told
}

fn relations(all: &[Relation]) -> Vec<Span> {
    spans(all.iter().map(|r| (relation(r), r.from, r.to)))
}

/// The organisation by the name of `today`.
fn named(org: &Organisation, today: Date) -> String {
    let begun = |name: &&DatedName| name.from.is_none_or(|from| from <= today);
    match org.names.iter().rev().find(begun).or_else(|| org.names.last()) {
        Some(name) => format!("{} ({})", org.slug, name.vi),
        None => org.slug.to_string(),
    }
}

/// ` from 2025-03-01 to 2026-01-01`, as far as there are bounds.
fn life(from: Option<Date>, to: Option<Date>) -> String {
    let from = from.map(|day| format!(" from {day}")).unwrap_or_default();
    let to = to.map(|day| format!(" until {day}")).unwrap_or_default();
    from + &to
}

fn or(date: Option<Date>, none: &str) -> String {
    date.map_or_else(|| none.to_owned(), |date| date.to_string())
}

fn list(slugs: &[OrgSlug]) -> String {
    let all: Vec<_> = slugs.iter().map(OrgSlug::as_str).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

fn organisation(was: &Organisation, is: &Organisation, today: Date, told: &mut Vec<String>) {
    let who = named(is, today);
    let mut tell = |what: String| told.push(format!("organisation {who}: {what}"));
    for step in is.lifecycle.iter().filter(|step| !was.lifecycle.contains(step)) {
        tell(self::step(step, today));
    }
    for step in was.lifecycle.iter().filter(|step| !is.lifecycle.contains(step)) {
        tell(format!("no longer: {}", self::step(step, today)));
    }
    if was.valid_from != is.valid_from {
        let (is, was) = (or(is.valid_from, "no known day"), or(was.valid_from, "no known day"));
        tell(format!("exists from {is}, before: {was}"));
    }
    if was.valid_to != is.valid_to {
        let (is, was) = (or(is.valid_to, "no known day"), or(was.valid_to, "no known day"));
        tell(format!("exists until {is}, before: {was}"));
    }
    if was.successors != is.successors {
        tell(format!("followed by {}, before: {}", list(&is.successors), list(&was.successors)));
    }
    if was.predecessors != is.predecessors {
        tell(format!("came from {}, before: {}", list(&is.predecessors), list(&was.predecessors)));
    }
    for asset in is.protected.iter().filter(|asset| !was.protected.contains(asset)) {
        tell(format!("protects {asset}"));
    }
    for asset in was.protected.iter().filter(|asset| !is.protected.contains(asset)) {
        tell(format!("no longer protects {asset}"));
    }
    if was.kind != is.kind {
        tell(format!("is a {}, before: {}", is.kind, was.kind));
    }
    if was.parent != is.parent {
        let parent = |org: &Organisation| org.parent.as_ref().map_or("none", OrgSlug::as_str).to_owned();
        tell(format!("under {}, before: {}", parent(is), parent(was)));
    }
    for name in is.names.iter().filter(|name| !was.names.contains(name)) {
        let to_come = if name.from.is_some_and(|from| from > today) { "will be " } else { "" };
        tell(format!("{to_come}named {}", self::name(name)));
    }
    // One that only ends on another day was told of by that.
    let kept = |name: &&DatedName| is.names.iter().any(|n| DatedName { to: name.to, ..n.clone() } == **name);
    for name in was.names.iter().filter(|name| !kept(name)) {
        tell(format!("no longer named {}", self::name(name)));
    }
}

fn step(step: &Step, today: Date) -> String {
    let Step { what, on, legal_basis } = step;
    if *on > today {
        format!("will be {} from {on} on ({legal_basis})", what.as_str())
    } else {
        format!("{} on {on} ({legal_basis})", what.as_str())
    }
}

fn name(name: &DatedName) -> String {
    let more: Vec<_> =
        [&name.en, &name.short].into_iter().filter(|t| !t.is_empty()).map(String::as_str).collect();
    let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join("; ")) };
    format!("{}{more}{}", name.vi, life(name.from, name.to))
}

fn grant(grant: &Grant) -> String {
    let roles: Vec<_> = grant.roles.iter().map(Role::as_str).collect();
    let roles = if roles.is_empty() { "no role".to_owned() } else { roles.join(", ") };
    roles + &life(grant.from, grant.to)
}

fn duty(duty: &Duty) -> String {
    format!("{} of {} held by {} ({})", duty.duty, duty.scope, duty.holder, duty.legal_basis)
}

fn relation(relation: &Relation) -> String {
    let how = match relation.kind {
        RelationKind::ClientOf => "is a client of",
        RelationKind::ActsFor => "acts for",
    };
    format!("{} {how} {} ({})", relation.subject, relation.object, relation.legal_basis)
}

fn groups(before: &BTreeMap<OrgSlug, Group>, after: &BTreeMap<OrgSlug, Group>, told: &mut Vec<String>) {
    let members = |group: Option<&Group>| {
        let all = group.into_iter().flat_map(|group| &group.members);
        spans(all.map(|m| (m.organisation.to_string(), m.from, m.to)))
    };
    for (slug, is) in after {
        let was = before.get(slug);
        match was {
            None => told.push(format!("group {slug} ({}): new", is.vi)),
            Some(was) if (&was.vi, &was.en) != (&is.vi, &is.en) => {
                told.push(format!("group {slug}: named {}, before: {}", is.vi, was.vi));
            }
            Some(_) => {}
        }
        lists(&format!("group {slug}, member"), &members(was), &members(Some(is)), told);
    }
    for slug in before.keys().filter(|slug| !after.contains_key(slug)) {
        told.push(format!("group {slug}: missing"));
    }
}

/// A dated record: what it says, from when, until when.
type Span = (String, Option<Date>, Option<Date>);

fn spans(all: impl Iterator<Item = Span>) -> Vec<Span> {
    all.collect()
}

/// Tells what was added and what is gone, and of what stays the new bounds.
fn lists(noun: &str, before: &[Span], after: &[Span], told: &mut Vec<String>) {
    let mut gone: Vec<&Span> = before.iter().collect();
    let mut new = Vec::new();
    for is in after {
        match gone.iter().position(|was| *was == is) {
            Some(place) => {
                gone.remove(place);
            }
            None => new.push(is),
        }
    }
    for (what, from, to) in new {
        match gone.iter().position(|was| was.0 == *what) {
            Some(place) => {
                let (_, was_from, was_to) = gone.remove(place);
                let open = |text: String| if text.is_empty() { " without end".to_owned() } else { text };
                told.push(format!(
                    "{noun} {what}:{}, before:{}",
                    open(life(*from, *to)),
                    open(life(*was_from, *was_to))
                ));
            }
            None => told.push(format!("{noun} {what}: new{}", life(*from, *to))),
        }
    }
    for (what, from, to) in gone {
        told.push(format!("{noun} {what}: gone{}", life(*from, *to)));
    }
}
