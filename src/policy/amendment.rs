//! Decides which changes of the roster are taken: history keeps what it held,
//! a slug is for ever, somebody still runs the hub, and nobody alone makes an
//! operator or coordinator, or widens his own rights.
//!
//! Paths name records by their key, as in `organisations[so-tttt].valid_to`.

use std::collections::BTreeSet;

use time::Date;

use crate::model::Invalid;
use crate::model::org::{DatedName, Organisation, Step};
use crate::model::principal::{Role, SpiffeId};
use crate::model::roster::{Grant, Group, Relation, Roster};

mod own;

pub use own::widens;

/// Roles that one person alone gives to nobody.
const BY_TWO: [Role; 2] = [Role::Operator, Role::Coordinator];

/// Whether `after` may follow `before` on `today`.
///
/// # Errors
/// Everything that speaks against it.
pub fn check(before: &Roster, after: &Roster, today: Date) -> Result<(), Vec<Invalid>> {
    let mut check = Check { today, found: Vec::new() };
    for (slug, was) in &before.organisations {
        match after.organisations.get(slug) {
            Some(is) => check.organisation(was, is),
            None => check.report(
                "organisations",
                "",
                format!("{slug} is missing; an organisation is never removed: give it a valid_to"),
            ),
        }
    }
    for (slug, is) in after.organisations.iter().filter(|(slug, _)| !before.organisations.contains_key(slug))
    {
        if before.groups.contains_key(slug) {
            check.report(&at("organisations", slug), "slug", "a group has this slug, for ever".to_owned());
        }
        if let Some(to) = is.valid_to.filter(|to| !ends_on(is, *to)) {
            check.report(&at("organisations", slug), "lifecycle", unexplained(to));
        }
    }
    check.spans("duties", &spans_of_duties(before), &spans_of_duties(after));
    check.spans("relations", &spans_of_relations(before), &spans_of_relations(after));
    for (id, is) in &after.principals {
        check.grant(id, before.principals.get(id), is);
    }
    for (slug, was) in &before.groups {
        match after.groups.get(slug) {
            Some(is) => {
                check.spans(&format!("{}.members", at("groups", slug)), &spans_of(was), &spans_of(is))
            }
            None => check.report(
                "groups",
                "",
                format!("{slug} is missing; a group is never removed: let its members end"),
            ),
        }
    }
    for (slug, is) in after.groups.iter().filter(|(slug, _)| !before.groups.contains_key(slug)) {
        check.spans(&format!("{}.members", at("groups", slug)), &[], &spans_of(is));
    }
    check.operators(before, after);
    if check.found.is_empty() { Ok(()) } else { Err(check.found) }
}

/// Who gains the operator's or coordinator's role by the change, on whichever
/// day from `today` on: by a grant, or because his organisation takes part on
/// a day on which it would not.
#[must_use]
pub fn gains(before: &Roster, after: &Roster, today: Date) -> Vec<(SpiffeId, Role)> {
    let mut gained = Vec::new();
    for (id, grant) in &after.principals {
        let days = days(id, [before, after], today);
        for role in BY_TWO.into_iter().filter(|&role| grant.roles.contains(role)) {
            let gains = |day| after.roles(id, day).contains(role) && !before.roles(id, day).contains(role);
            if days.iter().any(|&day| gains(day)) {
                gained.push((id.clone(), role));
            }
        }
    }
    gained
}

/// The days from `today` on, on which what `id` may do can change.
fn days(id: &SpiffeId, rosters: [&Roster; 2], today: Date) -> BTreeSet<Date> {
    let mut days = BTreeSet::from([today]);
    for roster in rosters {
        let grant = roster.principals.get(id);
        let org = roster.organisations.get(id.org());
        days.extend(grant.into_iter().flat_map(|g| [g.from, g.to]).flatten());
        days.extend(org.into_iter().flat_map(|o| [o.valid_from, o.valid_to]).flatten());
        days.extend(org.into_iter().flat_map(|o| &o.lifecycle).map(|step| step.on));
    }
    days.split_off(&today)
}

fn at(list: &str, key: &impl std::fmt::Display) -> String {
    format!("{list}[{key}]")
}

fn ends_on(org: &Organisation, day: Date) -> bool {
    org.lifecycle.iter().any(|step| step.what.ends() && step.on == day)
}

fn unexplained(to: Date) -> String {
    format!("say how it ends on {to} and where that is laid down: merged, split, absorbed or ended")
}

/// A dated record: what it says but for its end, and its span.
type Span<'a> = (Vec<&'a str>, Option<Date>, Option<Date>);

fn spans_of_duties(roster: &Roster) -> Vec<Span<'_>> {
    let span = |d: &'_ crate::model::roster::Duty| (d.from, d.to);
    let keys = roster.duties.iter().map(|d| vec![d.duty.as_str(), d.scope.as_str(), d.holder.as_str()]);
    keys.zip(roster.duties.iter().map(span)).map(|(key, (from, to))| (key, from, to)).collect()
}

fn spans_of_relations(roster: &Roster) -> Vec<Span<'_>> {
    let key = |r: &'_ Relation| (r.from, r.to);
    let keys = roster.relations.iter().map(|r| vec![r.kind.as_str(), r.subject.as_str(), r.object.as_str()]);
    keys.zip(roster.relations.iter().map(key)).map(|(key, (from, to))| (key, from, to)).collect()
}

fn spans_of(group: &Group) -> Vec<Span<'_>> {
    group.members.iter().map(|m| (vec![m.organisation.as_str()], m.from, m.to)).collect()
}

/// What speaks against a change so far.
struct Check {
    today: Date,
    found: Vec<Invalid>,
}

impl Check {
    fn report(&mut self, record: &str, field: &str, problem: String) {
        self.found.push(Invalid::new(field, problem).under(record));
    }

    fn past(&self) -> String {
        format!("a change takes effect today, {}, or later", self.today)
    }

    /// Whether a day is over: what held on it is history.
    fn over(&self, day: Option<Date>) -> bool {
        day.is_some_and(|day| day < self.today)
    }

    /// Whether something that begins on `from` has begun before today.
    fn begun(&self, from: Option<Date>) -> bool {
        from.is_none_or(|from| from < self.today)
    }

    fn organisation(&mut self, was: &Organisation, is: &Organisation) {
        if was == is {
            return;
        }
        let record = at("organisations", &was.slug);
        if was.valid_from != is.valid_from && (self.begun(was.valid_from) || self.begun(is.valid_from)) {
            let begun = "its first day is history; ".to_owned();
            let told = if self.begun(was.valid_from) { begun } else { String::new() } + &self.past();
            self.report(&record, "valid_from", told);
        }
        if was.valid_to != is.valid_to {
            if was.valid_to.is_some_and(|to| to <= self.today) {
                let told = "it has ended, and its slug never begins again; take another for a new body";
                self.report(&record, "valid_to", told.to_owned());
            } else if self.over(is.valid_to) {
                self.report(&record, "valid_to", self.past());
            }
        }
        self.succession(was, is, &record);
        self.lifecycle(was, is, &record);
        self.names(was, is, &record);
    }

    /// An end and a following body are explained by a step of their own.
    fn succession(&mut self, was: &Organisation, is: &Organisation, record: &str) {
        let new_end = is.valid_to.filter(|_| was.valid_to != is.valid_to);
        if let Some(to) = new_end.filter(|to| !ends_on(is, *to)) {
            self.report(record, "lifecycle", unexplained(to));
        }
        let kept = was.valid_to.is_some_and(|to| to <= self.today);
        if kept && was.successors.iter().any(|slug| !is.successors.contains(slug)) {
            let told = "who followed an organisation that has ended is history; others may be added";
            self.report(record, "successors", told.to_owned());
        }
        let added = is.successors.iter().any(|slug| !was.successors.contains(slug));
        let explained = is.lifecycle.iter().any(|s| s.what.ends() && !was.lifecycle.contains(s));
        if added && !explained {
            let told = "say where it is laid down that others follow it: a step merged, split or absorbed";
            self.report(record, "lifecycle", told.to_owned());
        }
        if added && is.valid_to.is_none() {
            let told = "a body that others follow has an end; name the day";
            self.report(record, "valid_to", told.to_owned());
        }
    }

    /// Steps that are over stay, but for the words of their legal basis.
    fn lifecycle(&mut self, was: &Organisation, is: &Organisation, record: &str) {
        let over = |all: &[Step]| -> Vec<_> {
            all.iter().filter(|step| step.on < self.today).map(|step| (step.what, step.on)).collect()
        };
        let (before, after) = (over(&was.lifecycle), over(&is.lifecycle));
        if before != after {
            let told = format!("what happened before today stays as it is; {}", self.past());
            self.report(record, "lifecycle", told);
        }
    }

    /// History keeps the names of its day; a new name has a step of its own.
    fn names(&mut self, was: &Organisation, is: &Organisation, record: &str) {
        if was.names == is.names {
            return;
        }
        let bounds = |names: &[DatedName]| -> BTreeSet<Date> {
            let all = names.iter().flat_map(|name| [name.from, name.to]).flatten();
            all.filter(|day| *day < self.today).collect()
        };
        let old = |names: &[DatedName]| names.iter().filter(|name| self.begun(name.from)).count();
        if bounds(&was.names) != bounds(&is.names) || old(&was.names) != old(&is.names) {
            let told =
                format!("history keeps the names of its day; let the last name end, and {}", self.past());
            self.report(record, "names", told);
            return;
        }
        for (place, (was, is)) in was.names.iter().zip(&is.names).enumerate() {
            if self.begun(was.from) && !is_corrected(&was.vi, &is.vi) {
                let told = "only the spelling of a name may be corrected; for another name, let this one end and add the next";
                self.report(record, &format!("names[{place}].vi"), told.to_owned());
            }
        }
        for (place, name) in is.names.iter().enumerate() {
            let Some(from) = name.from.filter(|from| *from >= self.today) else { continue };
            let new = !was.names.iter().any(|old| old.from == Some(from));
            if new && Some(from) != is.valid_from && !is.lifecycle.iter().any(|step| step.on == from) {
                let told = format!("say where the name from {from} is laid down: a step renamed");
                self.report(record, "lifecycle", told);
                self.report(record, &format!("names[{place}].from"), "no step has this day".to_owned());
            }
        }
    }

    fn grant(&mut self, id: &SpiffeId, was: Option<&Grant>, is: &Grant) {
        let record = at("principals", id);
        let from = was.map(|was| was.from);
        if from != Some(is.from) && self.over(is.from) {
            self.report(&record, "from", self.past());
        }
        let to = was.map(|was| was.to);
        if to != Some(is.to) && self.over(is.to) {
            self.report(&record, "to", self.past());
        }
    }

    /// What has begun stays, and ends today at the earliest; what is new
    /// begins today at the earliest.
    fn spans(&mut self, list: &str, before: &[Span<'_>], after: &[Span<'_>]) {
        let mut open: Vec<_> = after.iter().enumerate().collect();
        let mut gone = Vec::new();
        for was in before {
            // The very same first: two records may differ only in their ends.
            let same = open.iter().position(|(_, is)| *is == was);
            let same = same.or_else(|| open.iter().position(|(_, is)| (&is.0, is.1) == (&was.0, was.1)));
            match same {
                Some(place) => {
                    let (index, (_, _, to)) = open.remove(place);
                    if was.2 != *to && was.2.is_some_and(|end| end <= self.today) {
                        self.report(&at(list, &index), "to", "it has ended; add another record".to_owned());
                    } else if was.2 != *to && self.over(*to) {
                        self.report(&at(list, &index), "to", self.past());
                    }
                }
                None if self.begun(was.1) => gone.push(was.0.join(" ")),
                None => {}
            }
        }
        for what in gone {
            self.report(list, "", format!("`{what}` is missing; what has begun stays: give it a `to`"));
        }
        for (index, (_, from, _)) in open {
            if self.begun(*from) {
                self.report(&at(list, &index), "from", format!("name its first day; {}", self.past()));
            }
        }
    }

    /// On no day is the hub left without an operator by the change.
    fn operators(&mut self, before: &Roster, after: &Roster) {
        let operates = |roster: &Roster, id: &SpiffeId, day| roster.roles(id, day).contains(Role::Operator);
        let who = |roster: &Roster| -> Vec<SpiffeId> {
            let all = roster.principals.iter().filter(|(_, grant)| grant.roles.contains(Role::Operator));
            all.map(|(id, _)| id.clone()).collect()
        };
        let (had, has) = (who(before), who(after));
        let days: BTreeSet<Date> =
            had.iter().chain(&has).flat_map(|id| days(id, [before, after], self.today)).collect();
        let left = days.into_iter().find(|&day| {
            had.iter().any(|id| operates(before, id, day)) && !has.iter().any(|id| operates(after, id, day))
        });
        if let Some(day) = left {
            let told = format!("nobody would run the hub from {day} on; let another operator be there first");
            self.report("principals", "", told);
        }
    }
}

/// Whether two texts differ by no more than spelling: at most a quarter of
/// their letters.
fn is_corrected(was: &str, is: &str) -> bool {
    let letters = |text: &str| {
        let mut letters: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
        letters.sort_unstable();
        letters
    };
    let (mut rest, is) = (letters(was), letters(is));
    let longest = rest.len().max(is.len());
    let mut added = 0;
    for letter in &is {
        match rest.binary_search(letter) {
            Ok(found) => {
                rest.remove(found);
            }
            Err(_) => added += 1,
        }
    }
    rest.len().max(added) * 4 <= longest
}

#[cfg(test)]
mod tests;
