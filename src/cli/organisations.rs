//! Decides how `luytre organisations` shows who takes part: page by page, as
//! columns or JSON lines.

use serde::Serialize;

use crate::client::Client;
use crate::wire::proto::v1;

use super::arguments::{Organisations, TableOrJson};
use super::exit::Failure;
use super::output::Data;
use super::record;

#[derive(Debug, Serialize)]
struct Record {
    organisation: String,
    display_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    display_name_en: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    short_name: String,
    kind: String,
    state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    parent: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    valid_from: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    valid_to: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    predecessors: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    successors: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    duties: Vec<String>,
    /// All its names, if it had others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<Name>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lifecycle: Vec<Step>,
}

#[derive(Debug, Serialize)]
struct Name {
    display_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    from: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    to: String,
}

#[derive(Debug, Serialize)]
struct Step {
    what: String,
    on: String,
    legal_basis: String,
}

impl Record {
    fn of(organisation: v1::Organisation, state: &'static str) -> Self {
        let slugs = |names: &[String]| names.iter().map(|name| record::slug(name).to_owned()).collect();
        let names = organisation.names.into_iter();
        let names: Vec<_> =
            names.map(|n| Name { display_name: n.display_name, from: n.from, to: n.to }).collect();
        let steps = organisation.lifecycle.into_iter();
        Self {
            organisation: record::slug(&organisation.name).to_owned(),
            display_name: organisation.display_name,
            display_name_en: organisation.display_name_en,
            short_name: organisation.short_name,
            kind: organisation.kind,
            state,
            parent: record::slug(&organisation.parent).to_owned(),
            valid_from: organisation.valid_from,
            valid_to: organisation.valid_to,
            predecessors: slugs(&organisation.predecessors),
            successors: slugs(&organisation.successors),
            duties: organisation.duties,
            names: if names.len() > 1 { names } else { Vec::new() },
            lifecycle: steps.map(|s| Step { what: s.what, on: s.on, legal_basis: s.legal_basis }).collect(),
        }
    }
}

/// Runs the command.
pub(super) async fn run(client: &Client, options: &Organisations, data: &mut Data) -> Result<(), Failure> {
    let mut token = String::new();
    if options.format == TableOrJson::Table {
        data.line(&row("ORGANISATION", "STATE", "KIND", "NAME"))?;
    }
    loop {
        let (page, next) = client.organisations(options.all, &token).await?;
        for organisation in page {
            let state = state(organisation.state());
            match options.format {
                TableOrJson::Table => data.line(&row(
                    record::slug(&organisation.name),
                    state,
                    &organisation.kind,
                    &organisation.display_name,
                ))?,
                TableOrJson::Jsonl => data.json(&Record::of(organisation, state))?,
            }
        }
        data.flush()?;
        if next.is_empty() {
            return Ok(());
        }
        token = next;
    }
}

fn row(organisation: &str, state: &str, kind: &str, name: &str) -> String {
    format!("{organisation:28}  {state:9}  {kind:16}  {name}")
}

const fn state(state: v1::OrganisationState) -> &'static str {
    match state {
        v1::OrganisationState::Active => "active",
        v1::OrganisationState::Suspended => "suspended",
        v1::OrganisationState::Ended => "ended",
        v1::OrganisationState::Planned => "planned",
        v1::OrganisationState::Unspecified => "",
    }
}
