//! Decides how `luytre lookup` asks and answers: in the order of the values.

use std::path::Path;

use serde::Serialize;

use crate::client::{Client, Found, Refusal};
use crate::wire::proto::v1::IndicatorState;

use super::arguments::{Lookup, PlainOrJson};
use super::exit::Failure;
use super::input::{self, Lines};
use super::output::{self, Data};
use super::record;

#[derive(Debug, Serialize)]
struct Answer {
    value: String,
    known: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    matches: Vec<Match>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

#[derive(Debug, Serialize)]
struct Match {
    name: String,
    owner: String,
    state: &'static str,
}

/// Runs the command.
pub(super) async fn run(client: &Client, options: &Lookup, data: &mut Data) -> Result<(), Failure> {
    let mut lookup = client.lookup();
    let mut refused = 0;
    if options.values.iter().any(|value| value == "-") {
        if options.values.len() > 1 {
            return Err(Failure::Usage("luytre: give values, or - alone to read them from stdin".to_owned()));
        }
        let mut lines = Lines::open(Path::new("-")).await?;
        while let Some(line) =
            lines.next().await.map_err(|error| Failure::Io(format!("cannot read the input: {error}")))?
        {
            match line.text {
                Ok(text) => {
                    if let Some(value) = input::value(&text) {
                        refused += write(lookup.push_text(value).await?, options.format, data)?;
                    }
                }
                Err(problem) => {
                    output::talk(&format!("luytre: line {}: {problem}", line.number));
                    refused += 1;
                }
            }
        }
    } else {
        for value in &options.values {
            refused += write(lookup.push_text(value).await?, options.format, data)?;
        }
    }
    refused += write(lookup.flush().await?, options.format, data)?;
    data.flush()?;
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
                matches: result
                    .matches
                    .into_iter()
                    .map(|found| Match {
                        state: record::state(found.state),
                        name: found.name,
                        owner: found.owner.strip_prefix("organisations/").map(str::to_owned).unwrap_or(found.owner),
                    })
                    .collect(),
                refused: problem,
            })?,
            PlainOrJson::Plain => {
                if result.matches.iter().any(|found| found.state() == IndicatorState::Active) {
                    data.line(&value)?;
                }
                if let Some(problem) = problem {
                    output::talk(&format!("luytre: one value cannot be read: {problem}"));
                }
            }
        }
    }
    Ok(refused)
}
