//! Decides how `luytre held` shows what lists of the hub hold back, and answers
//! as the second person.

use crate::client::Client;
use crate::model::held::HeldState;
use crate::wire::proto::v1;

use super::arguments::{Held, HeldAction, ListHeld, TableOrJson};
use super::exit::Failure;
use super::language::Language;
use super::notices::{HeldRecord, HoldRecord};
use super::output::Data;

/// Runs the command.
pub(super) async fn run(
    client: &Client,
    options: &Held,
    language: Language,
    data: &mut Data,
) -> Result<(), Failure> {
    let held = |name: &str| format!("{name}/held");
    let told = match &options.action {
        HeldAction::List(options) => return list(client, options, language, data).await,
        HeldAction::Approve(answer) => {
            client.approve_publication(&held(&answer.name), &answer.etag, &answer.note).await?
        }
        HeldAction::Reject(answer) => {
            client.reject_publication(&held(&answer.name), &answer.etag, &answer.note).await?
        }
        HeldAction::Hold(hold) => {
            let told = client.hold_indicator(&hold.name, &hold.reason).await?;
            return Ok(data.json(&HoldRecord::of(told))?);
        }
        HeldAction::Release(release) => {
            let told = client.release_indicator(&release.name, &release.note).await?;
            return Ok(data.json(&HoldRecord::of(told))?);
        }
    };
    Ok(data.json(&HeldRecord::of(told))?)
}

async fn list(
    client: &Client,
    options: &ListHeld,
    language: Language,
    data: &mut Data,
) -> Result<(), Failure> {
    let mut token = String::new();
    if options.format == TableOrJson::Table {
        data.line(&row([
            language.say("INDICATOR", "CHỈ BÁO"),
            language.say("ETAG", "ETAG"),
            language.say("STATE", "TÌNH TRẠNG"),
            language.say("WHO ANSWERS", "AI DUYỆT"),
            language.say("WHAT AND WHY", "NỘI DUNG, LÝ DO"),
        ]))?;
    }
    loop {
        let (page, next) = client.held_publications(options.waiting, &token).await?;
        for told in page {
            match options.format {
                TableOrJson::Table => data.line(&line(told, language))?,
                TableOrJson::Jsonl => data.json(&HeldRecord::of(told))?,
            }
        }
        data.flush()?;
        if next.is_empty() {
            return Ok(());
        }
        token = next;
    }
}

fn line(told: v1::HeldPublication, language: Language) -> String {
    let record = HeldRecord::of(told);
    let name = record.indicator.strip_prefix("indicators/").unwrap_or(&record.indicator);
    let deciders = if record.deciders.is_empty() {
        language.say("nobody leads today", "chưa có đơn vị chủ trì").to_owned()
    } else {
        record.deciders.join(",")
    };
    let lists: Vec<_> = record.lists.iter().map(|list| list.list.as_str()).collect();
    let mut why = format!(
        "{} {}: {} {}",
        record.recommended_action,
        record.value,
        language.say("on", "trong danh sách"),
        lists.join(", ")
    );
    if !record.note.is_empty() {
        why.push_str(&format!("; {}", record.note));
    }
    let etag = record.version.to_string();
    row([name, &etag, state(record.state, language), &deciders, &why])
}

/// A state for people.
fn state(name: &'static str, language: Language) -> &'static str {
    match HeldState::from_name(name) {
        Some(HeldState::Waiting) => language.say("waiting", "chờ duyệt"),
        Some(HeldState::Approved) => language.say("approved", "đã duyệt"),
        Some(HeldState::Rejected) => language.say("rejected", "bị từ chối"),
        None => name,
    }
}

fn row([indicator, etag, state, deciders, why]: [&str; 5]) -> String {
    format!("{indicator:36}  {etag:16}  {state:10}  {deciders:20}  {why}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> v1::HeldPublication {
        let list = v1::GuardList { list: "cloudflare".into(), title: "Cloudflare".into(), version: 7 };
        v1::HeldPublication {
            indicator: "indicators/x".into(),
            observable: Some(v1::Observable {
                value: Some(v1::observable::Value::Domain("shared.example".into())),
            }),
            recommended_action: 2,
            version: 1_780_000_000_000_123,
            state: 1,
            lists: vec![list],
            deciders: vec!["organisations/so-tttt".into()],
            ..v1::HeldPublication::default()
        }
    }

    #[test]
    fn a_line_tells_what_waits_for_whom_and_what_to_answer_with() {
        let waiting = line(told(), Language::En);
        assert!(
            waiting.ends_with(
                "1780000000000123  waiting     so-tttt               block shared.example: on cloudflare"
            ),
            "{waiting}"
        );
        let vi = line(told(), Language::Vi);
        assert!(vi.contains("chờ duyệt") && vi.contains("trong danh sách cloudflare"), "{vi}");
        let nobody = line(v1::HeldPublication { deciders: Vec::new(), ..told() }, Language::En);
        assert!(nobody.contains("nobody leads today"), "{nobody}");
        let rejected = v1::HeldPublication { state: 3, note: "the city's resolver".into(), ..told() };
        assert!(line(rejected, Language::En).ends_with("on cloudflare; the city's resolver"));
    }
}
