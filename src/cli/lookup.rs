//! Decides how `luytre lookup` asks and answers: in the order of the values.

use std::time::Duration;

use serde::Serialize;

use crate::client::{Client, Found, Refusal};
use crate::interop;
use crate::model::indicator::wider::Relation;
use crate::wire::observable::{flat, of_text};
use crate::wire::proto::v1::{IndicatorState, LookupMatch};

use super::arguments::{Lookup, PlainOrJson};
use super::exit::Failure;
use super::input;
use super::output::{self, Data};
use super::record;

/// A slow source is looked up after this long.
const LINGER: Duration = Duration::from_millis(200);

#[derive(Debug, Serialize)]
struct Answer {
    value: String,
    known: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    matches: Vec<Match>,
    /// There are more than the hub tells.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

#[derive(Debug, Serialize)]
struct Match {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    owner: String,
    /// Its source is masked, and no owner told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    masked: bool,
    state: &'static str,
    /// How it is about the value; none from a hub that does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<&'static str>,
    /// What it is about, where that is not the value.
    #[serde(skip_serializing_if = "String::is_empty")]
    matched: String,
}

impl From<LookupMatch> for Match {
    fn from(found: LookupMatch) -> Self {
        let relation = u8::try_from(found.relation).ok().filter(|number| *number > 0);
        Self {
            state: record::state(found.state),
            name: found.name,
            masked: found.owner.is_empty(),
            owner: record::slug(&found.owner).to_owned(),
            how: relation.map(|number| Relation::from_number(number).map_or("unknown", Relation::as_str)),
            matched: flat(found.matched).1,
        }
    }
}

/// Runs the command.
pub(super) async fn run(client: &Client, options: &Lookup, data: &mut Data) -> Result<(), Failure> {
    let lookup = client.lookup();
    let mut lookup = if options.exact { lookup } else { lookup.wide() };
    let mut refused = 0;
    if options.values.iter().any(|value| value == "-") {
        if options.values.len() > 1 {
            return Err(Failure::Usage("luytre: give values, or - alone to read them from stdin".to_owned()));
        }
        let mut lines = input::stdin_lines();
        loop {
            let found = match tokio::time::timeout(LINGER, lines.recv()).await {
                Ok(Some(Ok(line))) => lookup.push(of_text(options.kind, line.text)).await?,
                Ok(Some(Err(error @ interop::Error::Read { .. }))) => {
                    return Err(Failure::Io(error.to_string()));
                }
                Ok(Some(Err(error))) => {
                    output::talk(&format!("luytre: {error}"));
                    refused += 1;
                    continue;
                }
                Ok(None) => break,
                // A slow source is not held back until a batch is full.
                Err(_) => {
                    let found = lookup.flush().await?;
                    refused += write(found, options.format, data)?;
                    data.flush()?;
                    continue;
                }
            };
            refused += write(found, options.format, data)?;
        }
    } else {
        for value in &options.values {
            let found = lookup.push(of_text(options.kind, value.clone())).await?;
            refused += write(found, options.format, data)?;
        }
    }
    refused += write(lookup.flush().await?, options.format, data)?;
    data.flush()?;
    refused += write(lookup.finish().await?, options.format, data)?;
    if refused == 0 { Ok(()) } else { Err(Failure::SomeRefused) }
}

/// Writes results; returns how many values the hub could not read.
fn write(found: Vec<Found>, format: PlainOrJson, data: &mut Data) -> Result<u64, Failure> {
    let mut refused = 0;
    for Found { observable, result } in found {
        let value = record::text(observable);
        let problem = result.rejected.as_ref().map(|status| {
            refused += 1;
            Refusal::from_item(status).to_string()
        });
        match format {
            PlainOrJson::Jsonl => data.json(&Answer {
                value,
                known: !result.matches.is_empty(),
                matches: result.matches.into_iter().map(Match::from).collect(),
                truncated: result.truncated,
                refused: problem,
            })?,
            PlainOrJson::Plain => {
                if result.matches.iter().any(|found| found.state() == IndicatorState::Active) {
                    data.line(&output::on_one_line(&value))?;
                }
                if let Some(problem) = problem {
                    output::talk(&format!("luytre: one value cannot be read: {problem}"));
                }
            }
        }
    }
    Ok(refused)
}
