//! Decides which roster files are taken: JSON, every problem reported at once
//! with its path, nothing half-read.
//!
//! ```json
//! {
//!   "title": "free text",
//!   "organisations": [{
//!     "slug": "so-khcn-2025", "kind": "department", "parent": "ubnd-hanoi",
//!     "names": [{ "vi": "Sở Khoa học và Công nghệ", "en": "…", "short": "Sở KH&CN", "from": null }],
//!     "valid_from": "2025-03-01", "valid_to": null,
//!     "predecessors": ["so-tttt", "so-khcn"], "successors": [],
//!     "lifecycle": [{ "what": "founded", "on": "2025-03-01", "legal_basis": "…" }],
//!     "protected": ["hanoi.gov.vn", "203.0.113.0/24"],
//!     "note": "free text"
//!   }],
//!   "duties": [{
//!     "duty": "lead-unit-infosec", "scope": "ubnd-hanoi", "holder": "ca-hanoi",
//!     "from": "2025-07-01", "to": null, "legal_basis": "…"
//!   }],
//!   "principals": [{
//!     "id": "spiffe://luytre.example/org/ca-hanoi/system/soc",
//!     "roles": ["publisher", "subscriber"], "from": null, "to": null
//!   }],
//!   "groups": [{
//!     "slug": "nhom-ung-cuu", "vi": "Nhóm ứng cứu sự cố", "en": "…",
//!     "members": [{ "organisation": "ca-hanoi", "from": "2025-07-01", "to": null }]
//!   }],
//!   "relations": [{
//!     "kind": "acts-for", "subject": "dv-giam-sat-a", "object": "ubnd-ba-dinh",
//!     "from": "2019-11-15", "to": null, "legal_basis": "…"
//!   }]
//! }
//! ```
//!
//! Every `to` is the first day on which something no longer holds. Only `slug`,
//! a name and `kind` are required of an organisation. The flat form of name
//! registers is read as well: `name_vi`, `name_en` and `short_vi` in place of
//! `names`, `role_assignments` (`role`, `org`, `basis`) in place of `duties`.
//! Kinds and duties are kept in kebab-case, however they are written.

mod check;
mod places;
mod records;
mod write;

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::Value;
use time::Date;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;

use crate::model::Invalid;
use crate::model::asset::Asset;
use crate::model::org::{DatedName, Happening, MAX_PROTECTED, OrgSlug, Organisation, Step, kebab};
use crate::model::principal::{Role, Roles, SpiffeId};
use crate::model::roster::{Duty, Grant, Group, Member, Relation, RelationKind, Roster};

use records::{
    Document, DutyRecord, GroupRecord, NameRecord, OrganisationRecord, PrincipalRecord, Record,
    RelationRecord, StepRecord,
};

pub use places::Places;
pub use write::write;

/// Largest roster, in bytes.
pub const MAX_BYTES: usize = 8 << 20;
/// Most records of one sort.
pub const MAX_RECORDS: usize = 20_000;
/// Longest text in a roster, in bytes.
pub const MAX_TEXT_BYTES: usize = 1_024;
/// Most steps in the life of one organisation.
pub const MAX_STEPS: usize = 64;
/// Most problems reported of one file.
pub const MAX_PROBLEMS: usize = 200;

const DAY: StaticFormatDescription = format_description!("[year]-[month]-[day]");

/// Reads a roster.
///
/// # Errors
/// Everything that is wrong with it, up to [`MAX_PROBLEMS`], by path.
pub fn parse(text: &[u8]) -> Result<Roster, Vec<Invalid>> {
    read(text).map(|(roster, _)| roster)
}

/// Reads a roster, and where in the file each record stands.
///
/// # Errors
/// As [`parse`].
pub fn read(text: &[u8]) -> Result<(Roster, Places), Vec<Invalid>> {
    if text.len() > MAX_BYTES {
        return Err(vec![Invalid::new("", format!("a roster holds at most {MAX_BYTES} bytes"))]);
    }
    let document: Document = serde_json::from_slice(text)
        .map_err(|error| vec![Invalid::new("", format!("this is not a roster in JSON: {error}"))])?;

    let mut problems = Problems::default();
    let organisations = read_all("organisations", document.organisations, &mut problems, read_organisation);
    let duties = read_all("duties", document.duties, &mut problems, read_duty);
    let principals = read_all("principals", document.principals, &mut problems, read_principal);
    let groups = read_all("groups", document.groups, &mut problems, read_group);
    let relations = read_all("relations", document.relations, &mut problems, read_relation);

    let known = check::distinct("organisations", "slug", &organisations, |o| &o.slug, &mut problems);
    check::organisations(&organisations, &known, &mut problems);
    check::duties(&duties, &known, &mut problems);
    check::distinct("principals", "id", &principals, |(id, _)| id, &mut problems);
    check::principals(&principals, &known, &mut problems);
    check::distinct("groups", "slug", &groups, |g| &g.slug, &mut problems);
    check::groups(&groups, &known, &mut problems);
    check::relations(&relations, &known, &mut problems);

    problems.finish(|| {
        let places = Places::new([
            ("organisations", organisations.iter().map(|(_, o)| o.slug.to_string()).collect()),
            ("principals", principals.iter().map(|(_, (id, _))| id.to_string()).collect()),
            ("groups", groups.iter().map(|(_, group)| group.slug.to_string()).collect()),
        ]);
        let roster = Roster {
            organisations: organisations.into_iter().map(|(_, o)| (o.slug.clone(), o)).collect(),
            duties: duties.into_iter().map(|(_, duty)| duty).collect(),
            principals: principals.into_iter().map(|(_, grant)| grant).collect(),
            groups: groups.into_iter().map(|(_, group)| (group.slug.clone(), group)).collect(),
            relations: relations.into_iter().map(|(_, relation)| relation).collect(),
        };
        (roster, places)
    })
}

/// A record with its place in the file.
type Placed<T> = (usize, T);

/// What is wrong so far, each under the path of the record being read.
#[derive(Default)]
struct Problems {
    found: Vec<Invalid>,
    path: String,
}

impl Problems {
    fn report(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        self.add(Invalid::new(field, problem));
    }

    fn add(&mut self, invalid: Invalid) {
        if self.found.len() < MAX_PROBLEMS {
            self.found.push(if self.path.is_empty() { invalid } else { invalid.under(&self.path) });
        }
    }

    /// The value, or a report at `field`.
    fn take<T>(&mut self, field: &str, read: Result<T, Invalid>) -> Option<T> {
        read.map_err(|invalid| self.add(invalid.under(field))).ok()
    }

    fn finish<T>(self, sound: impl FnOnce() -> T) -> Result<T, Vec<Invalid>> {
        if self.found.is_empty() { Ok(sound()) } else { Err(self.found) }
    }
}

/// Reads each record by itself; what cannot be read is reported and left out.
fn read_all<R: DeserializeOwned, T>(
    field: &str,
    records: Vec<Record>,
    problems: &mut Problems,
    read: fn(R, &mut Problems) -> Option<T>,
) -> Vec<Placed<T>> {
    if records.len() > MAX_RECORDS {
        problems.report(field, format!("at most {MAX_RECORDS} records"));
        return Vec::new();
    }
    let mut sound = Vec::with_capacity(records.len());
    for (at, Record(fields)) in records.into_iter().enumerate() {
        problems.path = format!("{field}[{at}]");
        match serde_json::from_value(Value::Object(fields)) {
            Ok(record) => sound.extend(read(record, problems).map(|value| (at, value))),
            Err(error) => problems.report("", error.to_string()),
        }
    }
    problems.path.clear();
    sound
}

/// The slug of a body that the roster makes known.
fn own_slug(text: &str) -> Result<OrgSlug, Invalid> {
    let slug = OrgSlug::parse(text)?;
    if slug.is_hubs_own() {
        let problem = format!("{slug} is the hub's own name for itself; choose another slug");
        return Err(Invalid::new("", problem));
    }
    Ok(slug)
}

fn read_organisation(record: OrganisationRecord, problems: &mut Problems) -> Option<Organisation> {
    let slug = problems.take("slug", own_slug(&record.slug));
    let kind = problems.take("kind", kebab(&record.kind));
    let flat = record.name_vi.map(|vi| NameRecord {
        vi,
        en: record.name_en.unwrap_or_default(),
        short: record.short_vi.unwrap_or_default(),
        from: None,
        to: None,
    });
    if flat.is_some() != record.names.is_empty() {
        problems.report("names", "give at least one name, either in `names` or as `name_vi`");
    }
    let names = read_names(record.names.into_iter().chain(flat).collect(), problems);
    let parent = record.parent.map(|parent| problems.take("parent", OrgSlug::parse(&parent)));
    let (valid_from, valid_to) = span("valid_from", record.valid_from, "valid_to", record.valid_to, problems);
    let predecessors = read_slugs("predecessors", &record.predecessors, problems);
    let successors = read_slugs("successors", &record.successors, problems);
    let lifecycle = read_lifecycle(record.lifecycle, problems);
    let protected = read_protected(&record.protected, problems);
    Some(Organisation {
        slug: slug?,
        names,
        kind: kind?,
        parent: parent.flatten(),
        valid_from,
        valid_to,
        lifecycle,
        predecessors,
        successors,
        protected,
    })
}

/// Names and networks, each once and in order.
fn read_protected(texts: &[String], problems: &mut Problems) -> Vec<Asset> {
    if texts.len() > MAX_PROTECTED {
        problems.report("protected", format!("at most {MAX_PROTECTED} names and networks"));
        return Vec::new();
    }
    let read = texts
        .iter()
        .enumerate()
        .filter_map(|(at, text)| problems.take(&format!("protected[{at}]"), Asset::parse(text)));
    read.collect::<BTreeSet<_>>().into_iter().collect()
}

fn read_names(records: Vec<NameRecord>, problems: &mut Problems) -> Vec<DatedName> {
    let mut names: Vec<DatedName> = Vec::with_capacity(records.len());
    let outer = problems.path.clone();
    for (at, record) in records.into_iter().enumerate() {
        problems.path = format!("{outer}.names[{at}]");
        if record.vi.is_empty() {
            problems.report("vi", "the name in Vietnamese is required");
        }
        for (field, text) in [("vi", &record.vi), ("en", &record.en), ("short", &record.short)] {
            problems.take(field, check_text(text));
        }
        let (from, to) = span("from", record.from, "to", record.to, problems);
        if names.last().is_some_and(|before| before.to.is_none() || from.is_none() || before.to > from) {
            problems.report("from", "names follow one another, oldest first, without overlap");
        }
        names.push(DatedName { vi: record.vi, en: record.en, short: record.short, from, to });
    }
    problems.path = outer;
    names
}

fn read_lifecycle(records: Vec<StepRecord>, problems: &mut Problems) -> Vec<Step> {
    if records.len() > MAX_STEPS {
        problems.report("lifecycle", format!("at most {MAX_STEPS} steps"));
        return Vec::new();
    }
    let mut steps: Vec<Step> = Vec::with_capacity(records.len());
    let outer = problems.path.clone();
    for (at, record) in records.into_iter().enumerate() {
        problems.path = format!("{outer}.lifecycle[{at}]");
        let what = Happening::from_name(&record.what).ok_or_else(|| {
            let names: Vec<_> = Happening::ALL.into_iter().map(Happening::as_str).collect();
            Invalid::new("", format!("no such step; there are {}", names.join(", ")))
        });
        let what = problems.take("what", what);
        let on = problems.take("on", day(&record.on));
        if record.legal_basis.is_empty() {
            problems.report("legal_basis", "say where it is laid down");
        }
        problems.take("legal_basis", check_text(&record.legal_basis));
        let Some((what, on)) = what.zip(on) else { continue };
        if steps.last().is_some_and(|before| before.on > on) {
            problems.report("on", "steps follow one another, oldest first");
        }
        steps.push(Step { what, on, legal_basis: record.legal_basis });
    }
    problems.path = outer;
    steps
}

fn read_duty(record: DutyRecord, problems: &mut Problems) -> Option<Duty> {
    let duty = problems.take("duty", kebab(&record.duty));
    let scope = problems.take("scope", kebab(&record.scope));
    let holder = problems.take("holder", OrgSlug::parse(&record.holder));
    let (from, to) = span("from", record.from, "to", record.to, problems);
    if record.legal_basis.is_empty() {
        problems.report("legal_basis", "say where the duty is laid down");
    }
    problems.take("legal_basis", check_text(&record.legal_basis));
    Some(Duty { duty: duty?, scope: scope?, holder: holder?, from, to, legal_basis: record.legal_basis })
}

fn read_principal(record: PrincipalRecord, problems: &mut Problems) -> Option<(SpiffeId, Grant)> {
    let id = problems.take("id", SpiffeId::parse(&record.id));
    if record.roles.is_empty() {
        problems.report("roles", "give at least one role, or leave the principal out");
    }
    let mut roles = Roles::NONE;
    for (at, name) in record.roles.iter().enumerate() {
        match Role::from_name(name) {
            Some(role) => roles = roles.with(role),
            None => problems.report(format!("roles[{at}]"), unknown_role()),
        }
    }
    let (from, to) = span("from", record.from, "to", record.to, problems);
    Some((id?, Grant { roles, from, to }))
}

fn read_group(record: GroupRecord, problems: &mut Problems) -> Option<Group> {
    let slug = problems.take("slug", own_slug(&record.slug));
    for (field, text) in [("vi", &record.vi), ("en", &record.en)] {
        problems.take(field, check_text(text));
    }
    let outer = problems.path.clone();
    let mut members = Vec::with_capacity(record.members.len());
    for (at, member) in record.members.into_iter().enumerate() {
        problems.path = format!("{outer}.members[{at}]");
        let organisation = problems.take("organisation", OrgSlug::parse(&member.organisation));
        let (from, to) = span("from", member.from, "to", member.to, problems);
        members.extend(organisation.map(|organisation| Member { organisation, from, to }));
    }
    problems.path = outer;
    Some(Group { slug: slug?, vi: record.vi, en: record.en, members })
}

fn read_relation(record: RelationRecord, problems: &mut Problems) -> Option<Relation> {
    let kind = kebab(&record.kind).and_then(|name| {
        RelationKind::from_name(&name)
            .ok_or_else(|| Invalid::new("", "no such relation; there are client-of and acts-for"))
    });
    let kind = problems.take("kind", kind);
    let subject = problems.take("subject", OrgSlug::parse(&record.subject));
    let object = problems.take("object", OrgSlug::parse(&record.object));
    let (from, to) = span("from", record.from, "to", record.to, problems);
    if record.legal_basis.is_empty() {
        problems.report("legal_basis", "name the contract or agreement");
    }
    problems.take("legal_basis", check_text(&record.legal_basis));
    Some(Relation {
        kind: kind?,
        subject: subject?,
        object: object?,
        from,
        to,
        legal_basis: record.legal_basis,
    })
}

fn unknown_role() -> String {
    let names: Vec<_> = Role::ALL.into_iter().map(Role::as_str).collect();
    format!("no such role; there are {}", names.join(", "))
}

fn read_slugs(field: &str, slugs: &[String], problems: &mut Problems) -> Vec<OrgSlug> {
    let mut read = Vec::with_capacity(slugs.len());
    for (at, slug) in slugs.iter().enumerate() {
        let path = format!("{field}[{at}]");
        if let Some(slug) = problems.take(&path, OrgSlug::parse(slug)) {
            if read.contains(&slug) {
                problems.report(path, "stands twice");
            } else {
                read.push(slug);
            }
        }
    }
    read
}

fn span(
    from_field: &str,
    from: Option<String>,
    to_field: &str,
    to: Option<String>,
    problems: &mut Problems,
) -> (Option<Date>, Option<Date>) {
    let from = from.and_then(|text| problems.take(from_field, day(&text)));
    let to = to.and_then(|text| problems.take(to_field, day(&text)));
    if let (Some(first), Some(end)) = (from, to)
        && end <= first
    {
        problems.report(to_field, format!("must be later than `{from_field}`: it is the first day after"));
    }
    (from, to)
}

fn day(text: &str) -> Result<Date, Invalid> {
    Date::parse(text, DAY)
        .ok()
        .filter(|_| text.len() == "2019-12-10".len())
        .ok_or_else(|| Invalid::new("", "a day is written YYYY-MM-DD"))
}

fn check_text(text: &str) -> Result<(), Invalid> {
    if text.len() > MAX_TEXT_BYTES {
        Err(Invalid::new("", format!("at most {MAX_TEXT_BYTES} bytes")))
    } else if text.chars().any(char::is_control) {
        Err(Invalid::new("", "control characters are not text"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
