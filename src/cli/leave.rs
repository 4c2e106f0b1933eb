//! Decides how `luytre leave` asks for leave to republish, answers, and shows
//! what became of it.

use crate::client::Client;
use crate::wire::proto::v1;

use super::arguments::{Leave, LeaveAction, ListLeave, Reach, TableOrJson};
use super::draft::{caveats, wire_time};
use super::exit::Failure;
use super::notices::RepublicationRecord;
use super::output::Data;

/// Runs the command.
pub(super) async fn run(client: &Client, options: &Leave, data: &mut Data) -> Result<(), Failure> {
    let told = match &options.action {
        LeaveAction::Ask(ask) => {
            client.request_republication(&ask.name, marking(&ask.reach), &ask.reason).await?
        }
        LeaveAction::Grant(grant) => {
            let asked = v1::GrantRepublicationRequest {
                request_id: String::new(),
                indicator: grant.name.clone(),
                organisation: grant.organisation.clone(),
                widest: Some(marking(&grant.reach)),
                expire_time: grant.until.map(wire_time),
                note: grant.note.clone(),
                on_behalf_of: grant.on_behalf_of.clone().unwrap_or_default(),
            };
            client.grant_republication(asked).await?
        }
        LeaveAction::Withdraw(withdraw) => {
            let own = "organisations/me";
            let asked = v1::WithdrawRepublicationRequest {
                request_id: String::new(),
                indicator: withdraw.name.clone(),
                organisation: withdraw.organisation.clone().unwrap_or_else(|| own.to_owned()),
                note: withdraw.note.clone(),
                on_behalf_of: withdraw.on_behalf_of.clone().unwrap_or_default(),
            };
            client.withdraw_republication(asked).await?
        }
        LeaveAction::List(options) => return list(client, options, data).await,
    };
    Ok(data.json(&RepublicationRecord::of(told))?)
}

fn marking(reach: &Reach) -> v1::Marking {
    v1::Marking {
        tlp: i32::from(reach.tlp.number()),
        organisations: reach.to.clone(),
        groups: reach.to_group.clone(),
        principals: reach.to_person.clone(),
        // Only those that have a meaning come this far.
        caveats: caveats(&reach.caveat).ok().filter(|_| !reach.caveat.is_empty()),
    }
}

async fn list(client: &Client, options: &ListLeave, data: &mut Data) -> Result<(), Failure> {
    let mut token = String::new();
    if options.format == TableOrJson::Table {
        data.line(&row("INDICATOR", "FOR", "STATE", "HOW FAR"))?;
    }
    loop {
        let (page, next) = client.republications(options.waiting, &token).await?;
        for told in page {
            let record = RepublicationRecord::of(told);
            match options.format {
                TableOrJson::Table => data.line(&line(&record))?,
                TableOrJson::Jsonl => data.json(&record)?,
            }
        }
        data.flush()?;
        if next.is_empty() {
            return Ok(());
        }
        token = next;
    }
}

fn line(record: &RepublicationRecord) -> String {
    let mut reach = Vec::new();
    if let Some(widest) = record.widest.as_ref().filter(|_| record.state == "granted") {
        let until = record.expire_time.as_ref().map(|until| format!(" until {until}"));
        reach.push(format!("{}{}", widest.column(), until.unwrap_or_default()));
    }
    if let Some(wish) = record.wish.as_ref().filter(|_| record.awaits_answer) {
        reach.push(format!("asks for {}: {}", wish.column(), record.reason));
    }
    if !record.note.is_empty() {
        reach.push(record.note.clone());
    }
    let name = record.indicator.strip_prefix("indicators/").unwrap_or(&record.indicator);
    row(name, &record.organisation, record.state, &reach.join("; "))
}

fn row(indicator: &str, organisation: &str, state: &str, reach: &str) -> String {
    format!("{indicator:36}  {organisation:20}  {state:9}  {reach}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_holds_and_what_is_asked() {
        let told = v1::Republication {
            indicator: "indicators/x".into(),
            organisation: "organisations/so-tttt".into(),
            state: 2,
            awaits_answer: true,
            wish: Some(v1::Marking { tlp: 1, ..v1::Marking::default() }),
            reason: "to warn all".into(),
            widest: Some(v1::Marking { tlp: 2, ..v1::Marking::default() }),
            expire_time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            ..v1::Republication::default()
        };
        let granted = line(&RepublicationRecord::of(told.clone()));
        assert!(
            granted.ends_with(
                "so-tttt               granted    TLP:GREEN until 1970-01-01T00:00:01Z; asks for TLP:CLEAR: to warn all"
            ),
            "{granted}"
        );
        let withdrawn = v1::Republication { state: 3, awaits_answer: false, note: "not yet".into(), ..told };
        assert!(line(&RepublicationRecord::of(withdrawn)).ends_with("withdrawn  not yet"));
    }
}
