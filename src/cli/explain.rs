//! Decides how `luytre explain` tells why an organisation sees an indicator,
//! or does not.

use serde::Serialize;

use crate::client::Client;
use crate::wire::proto::v1;

use super::arguments::{Explain, PlainOrJson};
use super::exit::Failure;
use super::output::Data;
use super::record;

#[derive(Debug, Serialize)]
struct Explanation {
    indicator: String,
    organisation: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    person: String,
    visible: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
struct Step {
    why: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    organisation: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    person: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    date: String,
    text: String,
    text_vi: String,
}

impl Step {
    fn of(step: v1::AccessStep) -> Self {
        let name = step.why().as_str_name();
        let why = name.strip_prefix("ACCESS_WHY_").unwrap_or(name).to_ascii_lowercase().replace('_', "-");
        let organisation = record::slug(&step.organisation).to_owned();
        let v1::AccessStep { group, principal, date, text, text_vi, .. } = step;
        Self { why, organisation, group, person: principal, date, text, text_vi }
    }
}

/// Runs `explain`.
pub(super) async fn run(client: &Client, options: &Explain, data: &mut Data) -> Result<(), Failure> {
    let person = options.person.clone().unwrap_or_default();
    let answer = client.explain(&options.name, &options.organisation, &person).await?;
    let told = Explanation {
        indicator: options.name.clone(),
        organisation: record::slug(&options.organisation).to_owned(),
        person,
        visible: answer.visible,
        steps: answer.steps.into_iter().map(Step::of).collect(),
    };
    if options.format == PlainOrJson::Jsonl {
        return Ok(data.json(&told)?);
    }
    let verdict =
        if told.visible { "sees it · được xem" } else { "does not see it · không được xem" };
    let who = if told.person.is_empty() { &told.organisation } else { &told.person };
    data.line(&format!("{who} {verdict}"))?;
    for step in &told.steps {
        data.line(&format!("  {} · {}", step.text, step.text_vi))?;
    }
    Ok(())
}
