//! Decides how `luytre show` asks for the dossier of a value, and how it reads
//! as JSON.

use serde::Serialize;

use crate::client::Client;
use crate::model::dossier::{ConflictKind, Kinship};
use crate::wire::observable::{flat, of_text};
use crate::wire::proto::v1;

use super::arguments::Show;
use super::exit::Failure;
use super::language::Language;
use super::output::{self, Data};
use super::record::{self, Record};

mod screen;

#[derive(Serialize)]
struct Dossier {
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<Score>,
    owners: Vec<String>,
    /// Whether there are sources that are masked.
    others: bool,
    conflicts: Vec<Conflict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_published: Option<String>,
    assertions: Vec<Record>,
    more_assertions: bool,
    sightings: Vec<Total>,
    more_sightings: bool,
    related: Vec<Group>,
}

#[derive(Serialize)]
struct Score {
    value: u32,
    confidence: u32,
    freshness: u32,
    trust: u32,
    sources: u32,
    false_positives: u32,
    half_life_days: u32,
    heard_time: Option<String>,
}

#[derive(Serialize)]
struct Conflict {
    kind: &'static str,
    indicators: Vec<String>,
    against: Vec<String>,
}

#[derive(Serialize)]
struct Total {
    #[serde(skip_serializing_if = "String::is_empty")]
    organisation_kind: String,
    day: String,
    outcome: &'static str,
    sighted_count: u64,
    reports: u32,
}

#[derive(Serialize)]
struct Group {
    relation: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    shared: String,
    values: Vec<Relative>,
    more: bool,
}

#[derive(Serialize)]
struct Relative {
    value: String,
    name: String,
    state: &'static str,
}

/// Runs the command.
pub(super) async fn run(
    client: &Client,
    options: &Show,
    language: Language,
    data: &mut Data,
) -> Result<(), Failure> {
    let answer = client.observable(of_text(options.kind, options.value.clone())).await?;
    if options.answer.json {
        data.json(&object(answer))?;
    } else {
        let unknown = answer.assertions.is_empty() && answer.related.is_empty();
        screen::write(answer, language, data)?;
        if unknown {
            output::talk(language.say(
                "luytre: nothing that you may see is known of it",
                "luytre: không có gì bạn được xem về giá trị này",
            ));
        }
    }
    Ok(())
}

/// The name of a relation, for programs.
fn relation(value: i32) -> &'static str {
    record::number(value).and_then(Kinship::from_number).map_or("unknown", Kinship::as_str)
}

fn object(answer: v1::GetObservableResponse) -> Dossier {
    let (kind, value, _) = flat(answer.observable);
    let v1::Corroboration { owners, others } = answer.corroboration.unwrap_or_default();
    Dossier {
        value,
        kind: kind.map(|kind| kind.as_str()),
        score: answer.score.map(|score| Score {
            value: score.value,
            confidence: score.confidence,
            freshness: score.freshness,
            trust: score.trust,
            sources: score.sources,
            false_positives: score.false_positives,
            half_life_days: score.half_life_days,
            heard_time: record::time(score.heard_time),
        }),
        owners: owners.iter().map(|owner| record::slug(owner).to_owned()).collect(),
        others,
        conflicts: answer.conflicts.into_iter().map(conflict).collect(),
        first_seen: record::time(answer.first_seen),
        last_seen: record::time(answer.last_seen),
        first_published: record::time(answer.first_published),
        assertions: answer.assertions.into_iter().map(Record::of).collect(),
        more_assertions: answer.more_assertions,
        sightings: answer.sightings.into_iter().map(total).collect(),
        more_sightings: answer.more_sightings,
        related: answer.related.into_iter().map(group).collect(),
    }
}

fn conflict(v1::Conflict { kind, indicators, against }: v1::Conflict) -> Conflict {
    let kind = record::number(kind).and_then(ConflictKind::from_number);
    Conflict { kind: kind.map_or("unknown", ConflictKind::as_str), indicators, against }
}

fn total(total: v1::SightingTotal) -> Total {
    let v1::SightingTotal { organisation_kind, day, outcome, sighted_count, reports } = total;
    Total { organisation_kind, day, outcome: record::outcome(outcome), sighted_count, reports }
}

fn group(v1::RelatedGroup { relation: of, shared, values, more }: v1::RelatedGroup) -> Group {
    let relative = |v1::RelatedObservable { observable, name, state }| Relative {
        value: flat(observable).1,
        name,
        state: record::state(state),
    };
    Group { relation: relation(of), shared, values: values.into_iter().map(relative).collect(), more }
}

#[cfg(test)]
mod tests;
