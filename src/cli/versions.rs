//! Decides how `luytre versions` tells what each version of an indicator did.

use serde::Serialize;

use crate::base::clock::Timestamp;
use crate::client::Client;
use crate::model::event::VersionChange;
use crate::wire::convert::time;
use crate::wire::event;
use crate::wire::proto::v1;

use super::arguments::Versions;
use super::exit::Failure;
use super::language::{Language, moment};
use super::output::{self, Data, for_eyes};
use super::record::{self, Record};

/// Versions in a page.
const PAGE: u64 = 100;
/// Longest text of a field that is shown to people, in characters.
const SHOWN: usize = 60;

#[derive(Serialize)]
struct Version {
    version: u64,
    change: &'static str,
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compared_to: Option<u64>,
    changes: Vec<Change>,
    indicator: Record,
}

#[derive(Serialize)]
struct Change {
    field: String,
    before: String,
    after: String,
}

/// Runs the command.
pub(super) async fn run(
    client: &Client,
    options: &Versions,
    language: Language,
    data: &mut Data,
) -> Result<(), Failure> {
    let limit = if options.limit == 0 { u64::MAX } else { options.limit };
    let mut walk = client.versions(&options.name, i32::try_from(limit.min(PAGE)).unwrap_or(i32::MAX));
    let (mut printed, mut oldest) = (0, None);
    while let Some(page) = walk.next_page().await? {
        for version in page {
            if printed == limit {
                output::talk(&format!("luytre: there are more than {limit} versions; --limit 0 shows all"));
                return Ok(());
            }
            printed += 1;
            oldest = version.time.as_ref().and_then(event::timestamp);
            if options.answer.json { data.json(&object(version))? } else { write(&version, language, data)? }
        }
        data.flush()?;
    }
    if let Some(text) = cut_short(walk.truncated_before(), oldest, language) {
        output::talk(&text);
    }
    Ok(())
}

/// What is said where versions may be missing before the oldest that is told.
fn cut_short(kept: Option<Timestamp>, oldest: Option<Timestamp>, language: Language) -> Option<String> {
    let kept = kept.filter(|kept| oldest.is_none_or(|oldest| oldest < *kept))?;
    let moment = moment(Some(time::write(kept)));
    Some(match language {
        Language::En => format!(
            "luytre: versions that were replaced before {moment} are kept no longer: what came first may be missing"
        ),
        Language::Vi => format!(
            "luytre: các phiên bản bị thay thế trước {moment} không còn được lưu: có thể thiếu những phiên bản đầu"
        ),
    })
}

fn object(version: v1::IndicatorVersion) -> Version {
    let change = name(version.change);
    let v1::IndicatorVersion { indicator, change: _, time, compared_to, changes } = version;
    let indicator = indicator.unwrap_or_default();
    let changes = changes.into_iter();
    Version {
        version: indicator.version,
        change,
        time: record::time(time),
        compared_to: (compared_to > 0).then_some(compared_to),
        changes: changes
            .map(|v1::FieldChange { field, before, after }| Change { field, before, after })
            .collect(),
        indicator: Record::of(indicator),
    }
}

fn write(version: &v1::IndicatorVersion, language: Language, data: &mut Data) -> Result<(), Failure> {
    let indicator = version.indicator.clone().unwrap_or_default();
    let by = match (record::slug(&indicator.published_by), record::slug(&indicator.owner)) {
        _ if name(version.change) == VersionChange::Expired.as_str() => {
            language.say("the hub", "trung tâm").to_owned()
        }
        ("", "") => language.say("source masked", "nguồn được ẩn").to_owned(),
        ("", owner) => owner.to_owned(),
        (provider, owner) => format!("{provider} {} {owner}", language.say("for", "thay mặt")),
    };
    let (time, etag) = (moment(version.time), indicator.version);
    data.line(&format!(
        "{time}  {}  {}  {by}  etag {etag}",
        did(version.change, language),
        label(&indicator)
    ))?;
    if let Some(v1::Revocation { reason, note, .. }) = &indicator.revocation {
        let reason = record::revocation_reason(*reason);
        let text = format!("    {}: {reason}  {}", language.say("why", "lý do"), for_eyes(note));
        data.line(text.trim_end())?;
    }
    if let Some(v1::Reinstatement { reason }) = &indicator.reinstatement {
        data.line(&format!("    {}: {}", language.say("why", "lý do"), for_eyes(reason)))?;
    }
    for v1::FieldChange { field, before, after } in &version.changes {
        // They were told just now.
        if !field.starts_with("revocation.") && !field.starts_with("reinstatement.") {
            data.line(&format!("    {field}: {} → {}", short(before), short(after)))?;
        }
    }
    Ok(())
}

fn label(indicator: &v1::Indicator) -> &'static str {
    record::tlp(indicator.marking.as_ref().map_or(0, |marking| marking.tlp))
}

/// What a version did, for programs.
fn name(change: i32) -> &'static str {
    record::number(change).and_then(VersionChange::from_number).map_or("unknown", VersionChange::as_str)
}

/// The same for people.
fn did(change: i32, language: Language) -> &'static str {
    match record::number(change).and_then(VersionChange::from_number) {
        Some(VersionChange::Created) => language.say("created", "tạo mới"),
        Some(VersionChange::Updated) => language.say("updated", "cập nhật"),
        Some(VersionChange::Revoked) => language.say("revoked", "thu hồi"),
        Some(VersionChange::Expired) => language.say("expired", "hết hạn"),
        Some(VersionChange::Reinstated) => language.say("reinstated", "khôi phục"),
        None => language.say("unknown", "không rõ"),
    }
}

/// A text on one line, cut to what an eye takes in; a dash for none.
fn short(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    let text = for_eyes(&text.replace('\n', ", "));
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::Printed;

    fn version() -> v1::IndicatorVersion {
        let change = |field: &str, before: &str, after: &str| v1::FieldChange {
            field: field.into(),
            before: before.into(),
            after: after.into(),
        };
        v1::IndicatorVersion {
            indicator: Some(v1::Indicator {
                name: "indicators/x".into(),
                owner: "organisations/sa-ict".into(),
                published_by: "organisations/giam-sat".into(),
                marking: Some(v1::Marking { tlp: 3, ..v1::Marking::default() }),
                revocation: Some(v1::Revocation { reason: 1, note: "ours".into(), revoke_time: None }),
                version: 7,
                ..v1::Indicator::default()
            }),
            change: 3,
            time: Some(prost_types::Timestamp { seconds: 1_767_225_600, nanos: 0 }),
            compared_to: 5,
            changes: vec![
                change("labels", "", "c2\nphishing"),
                change("revocation.note", "", "ours"),
                change("description", &"dài ".repeat(30), ""),
            ],
        }
    }

    #[test]
    fn a_version_is_told_in_the_language_of_the_reader_and_its_label_is_not_translated() {
        let told = |language| {
            let printed = Printed::default();
            let mut data = Data::to(printed.clone());
            write(&version(), language, &mut data).unwrap();
            data.flush().unwrap();
            printed.text()
        };
        let long = "dài ".repeat(15);
        assert_eq!(
            told(Language::En),
            format!(
                "2026-01-01 07:00:00 +07:00  revoked  TLP:AMBER  giam-sat for sa-ict  etag 7\n    why: false-positive  ours\n    labels: - → c2, phishing\n    description: {long}… → -\n"
            )
        );
        assert!(
            told(Language::Vi)
                .starts_with("2026-01-01 07:00:00 +07:00  thu hồi  TLP:AMBER  giam-sat thay mặt sa-ict")
        );
    }

    #[test]
    fn versions_that_may_be_missing_are_spoken_of_and_no_others_in_the_language_of_the_reader() {
        let at = |micros| Timestamp::from_micros(micros);
        let kept = at(1_767_225_600_000_000);
        let before = at(1_767_225_599_999_999);
        assert_eq!(cut_short(None, before, Language::En), None);
        assert_eq!(cut_short(kept, kept, Language::En), None, "all of it was told");
        assert_eq!(
            cut_short(kept, before, Language::En).unwrap(),
            "luytre: versions that were replaced before 2026-01-01 07:00:00 +07:00 are kept no longer: what came first may be missing"
        );
        assert!(
            cut_short(kept, None, Language::Vi)
                .unwrap()
                .contains("bị thay thế trước 2026-01-01 07:00:00 +07:00")
        );
    }

    #[test]
    fn a_version_as_json_has_its_indicator_and_every_change() {
        let json = serde_json::to_value(object(version())).unwrap();
        assert_eq!(
            (&json["change"], &json["version"], &json["compared_to"]),
            (&"revoked".into(), &7.into(), &5.into())
        );
        assert_eq!(json["changes"].as_array().map(Vec::len), Some(3));
        assert_eq!(json["indicator"]["owner"], "sa-ict");
    }
}
