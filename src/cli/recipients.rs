//! Decides how `luytre recipients` and `luytre recall` tell who received an
//! indicator, and how far its recall has got.

use serde::Serialize;

use crate::base::clock::Timestamp;
use crate::client::Client;
use crate::model::indicator::State;
use crate::model::receipt::Way;
use crate::wire::event;
use crate::wire::proto::v1;

use super::arguments::{RecallAction, RecallArguments, RecallStatus, Recipients};
use super::exit::Failure;
use super::language::{Language, moment};
use super::output::{self, Data};
use super::record;
use super::terminal::{pad, width};

#[derive(Debug, Serialize)]
struct RecipientRecord {
    organisation: String,
    #[serde(flatten)]
    received: ReceivedRecord,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    holders: Vec<HolderRecord>,
    /// Of an indicator that is older than receipts.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipts_begin_time: Option<String>,
}

#[derive(Debug, Serialize)]
struct HolderRecord {
    principal: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    subscription: String,
    certificate_serial: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_record: Option<u64>,
    #[serde(flatten)]
    received: ReceivedRecord,
}

#[derive(Debug, Serialize)]
struct ReceivedRecord {
    first_delivery_time: Option<String>,
    last_delivery_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_time: Option<String>,
    ways: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recall: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recall_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledge_time: Option<String>,
}

/// Runs `recipients`.
pub(super) async fn run(
    client: &Client,
    options: &Recipients,
    language: Language,
    data: &mut Data,
) -> Result<(), Failure> {
    let mut answer = client.recipients(&options.name).await?;
    answer.recipients.sort_by(|a, b| a.organisation.cmp(&b.organisation));
    if let Some(text) = unknown(&answer, language) {
        output::talk(&format!("luytre: {text}"));
    }
    if options.answer.json {
        return json(answer, data);
    }
    list(&answer, language, data)
}

/// Runs `recall`.
pub(super) async fn recall(
    client: &Client,
    options: &RecallArguments,
    language: Language,
    data: &mut Data,
) -> Result<(), Failure> {
    let RecallAction::Status(options) = &options.action;
    let RecallStatus { name, answer: asked } = options;
    let mut answer = client.recipients(name).await?;
    let unknown = unknown(&answer, language);
    let complete = answer.pending_count == 0 && answer.delivered_count == 0 && unknown.is_none();
    answer.recipients.retain(|one| state(received(one)) != v1::RecallState::Unspecified);
    // Not yet first, and of those alike whoever has waited longest.
    answer.recipients.sort_by_cached_key(|one| {
        let received = received(one);
        let since = since(received, answer.version_time).and_then(|at| event::timestamp(&at));
        (received.recall, since.unwrap_or(Timestamp::EPOCH), one.organisation.clone())
    });
    if asked.json {
        if let Some(text) = unknown {
            output::talk(&format!("luytre: {text}"));
        }
        json(answer, data)?
    } else {
        status(&answer, language, data)?
    }
    if complete { Ok(()) } else { Err(Failure::NotYetAcknowledged) }
}

/// That not all who received the indicator are on record; `None`: they are.
fn unknown(answer: &v1::ListRecipientsResponse, language: Language) -> Option<String> {
    answer.older_than_receipts.then(|| {
        let since = moment(answer.receipts_begin_time);
        match language {
            Language::En => format!(
                "receipts are known only since {since}: the indicator is older, and who received it before is not all on record"
            ),
            Language::Vi => format!(
                "biên nhận chỉ được biết từ {since}: chỉ báo có trước đó, và những ai nhận trước lúc ấy không được ghi đủ"
            ),
        }
    })
}

fn json(answer: v1::ListRecipientsResponse, data: &mut Data) -> Result<(), Failure> {
    let begin = answer.receipts_begin_time.filter(|_| answer.older_than_receipts);
    for recipient in answer.recipients {
        data.json(&object(recipient, begin))?;
    }
    Ok(())
}

fn object(recipient: v1::Recipient, receipts_begin: Option<prost_types::Timestamp>) -> RecipientRecord {
    let v1::Recipient { organisation, received, holders } = recipient;
    let holders = holders.into_iter().map(|holder| HolderRecord {
        principal: holder.principal,
        subscription: holder.subscription,
        certificate_serial: holder.certificate_serial,
        audit_record: holder.audit_record,
        received: received_object(holder.received.unwrap_or_default()),
    });
    RecipientRecord {
        organisation: record::slug(&organisation).to_owned(),
        holders: holders.collect(),
        received: received_object(received.unwrap_or_default()),
        receipts_begin_time: record::time(receipts_begin),
    }
}

fn received_object(received: v1::Received) -> ReceivedRecord {
    let recall = match state(&received) {
        v1::RecallState::Unspecified => None,
        v1::RecallState::Pending => Some("pending"),
        v1::RecallState::Delivered => Some("delivered"),
        v1::RecallState::Acknowledged => Some("acknowledged"),
    };
    ReceivedRecord {
        ways: ways(&received).map(Way::as_str).collect(),
        first_delivery_time: record::time(received.first_delivery_time),
        last_delivery_time: record::time(received.last_delivery_time),
        version_time: record::time(received.version_time),
        recall,
        recall_time: record::time(received.recall_time),
        acknowledge_time: record::time(received.acknowledge_time),
    }
}

fn received(recipient: &v1::Recipient) -> &v1::Received {
    const NOTHING: &v1::Received = &v1::Received {
        first_delivery_time: None,
        last_delivery_time: None,
        version_time: None,
        ways: Vec::new(),
        recall: 0,
        recall_time: None,
        acknowledge_time: None,
    };
    recipient.received.as_ref().unwrap_or(NOTHING)
}

fn state(received: &v1::Received) -> v1::RecallState {
    v1::RecallState::try_from(received.recall).unwrap_or_default()
}

fn ways(received: &v1::Received) -> impl Iterator<Item = Way> {
    received.ways.iter().filter_map(|way| Way::from_number(record::number(*way)?))
}

/// Since when it is as it is with the recall.
fn since(received: &v1::Received, ended: Option<prost_types::Timestamp>) -> Option<prost_types::Timestamp> {
    match state(received) {
        v1::RecallState::Acknowledged => received.acknowledge_time.or(received.recall_time),
        v1::RecallState::Delivered => received.recall_time,
        _ => ended,
    }
}

/// A way in words.
const fn way(way: Way, language: Language) -> &'static str {
    match way {
        Way::Delivered => language.say("subscription", "đăng ký"),
        Way::Recalled => language.say("recalled", "được gọi lại"),
        Way::Acknowledged => language.say("acknowledged", "đã xác nhận"),
        Way::Read => language.say("read", "đọc"),
        Way::LookedUp => language.say("look-up", "tra cứu"),
        Way::Exported => language.say("export", "xuất tệp"),
    }
}

fn all_ways(received: &v1::Received, language: Language) -> String {
    ways(received).map(|one| way(one, language)).collect::<Vec<_>>().join(", ")
}

/// Writes rows of a table, its columns as wide as they need.
fn table<const N: usize>(rows: &[[String; N]], data: &mut Data) -> Result<(), Failure> {
    let mut widths = [0; N];
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(cell));
        }
    }
    for row in rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| pad(cell, width)).collect();
        data.line(cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn list(answer: &v1::ListRecipientsResponse, language: Language, data: &mut Data) -> Result<(), Failure> {
    let head = [
        language.say("ORGANISATION", "ĐƠN VỊ"),
        language.say("FIRST", "LẦN ĐẦU"),
        language.say("LAST", "LẦN CUỐI"),
        language.say("VERSION OF", "PHIÊN BẢN LÚC"),
        language.say("ACKNOWLEDGED", "XÁC NHẬN LÚC"),
        language.say("HOW", "CÁCH NHẬN"),
    ];
    let mut rows = vec![head.map(str::to_owned)];
    let cells = |name: String, received: &v1::Received| {
        [
            name,
            moment(received.first_delivery_time),
            moment(received.last_delivery_time),
            moment(received.version_time),
            moment(received.acknowledge_time),
            all_ways(received, language),
        ]
    };
    for recipient in &answer.recipients {
        rows.push(cells(record::slug(&recipient.organisation).to_owned(), received(recipient)));
        for holder in &recipient.holders {
            let name = match holder.subscription.as_str() {
                "" => format!("  {}", holder.principal),
                name => format!("  {} ({name})", holder.principal),
            };
            rows.push(cells(name, &holder.received.clone().unwrap_or_default()));
        }
    }
    if !answer.recipients.is_empty() {
        table(&rows, data)?;
    }
    let count = answer.recipient_count;
    output::talk(&match language {
        Language::En if count == 1 => "luytre: one organisation received it".to_owned(),
        Language::En => format!("luytre: {count} organisations received it"),
        Language::Vi => format!("luytre: {count} đơn vị đã nhận"),
    });
    Ok(())
}

fn status(answer: &v1::ListRecipientsResponse, language: Language, data: &mut Data) -> Result<(), Failure> {
    let ended = record::number(answer.state).and_then(State::from_number);
    let stands = match ended {
        Some(State::Revoked) => language.say("revoked", "đã thu hồi"),
        Some(State::Expired) => language.say("expired", "đã hết hạn"),
        _ => language.say("active", "đang hiệu lực"),
    };
    data.line(&format!("{stands}  {}", moment(answer.version_time)))?;
    let v1::ListRecipientsResponse {
        recipient_count: all,
        pending_count: pending,
        delivered_count: delivered,
        acknowledged_count: acknowledged,
        ..
    } = answer;
    data.line(&match language {
        Language::En => format!(
            "received by {all}: not told yet {pending}, told and not acknowledged {delivered}, acknowledged {acknowledged}"
        ),
        Language::Vi => format!(
            "{all} đơn vị đã nhận: chưa được báo {pending}, đã báo mà chưa xác nhận {delivered}, đã xác nhận {acknowledged}"
        ),
    })?;
    if let Some(text) = unknown(answer, language) {
        data.line(&text)?;
    }
    if answer.recipients.is_empty() {
        return Ok(());
    }
    let head = [
        language.say("ORGANISATION", "ĐƠN VỊ"),
        language.say("RECALL", "THU HỒI"),
        language.say("SINCE", "TỪ LÚC"),
        language.say("LAST RECEIVED", "NHẬN LẦN CUỐI"),
        language.say("HOW", "CÁCH NHẬN"),
    ];
    let rows = answer.recipients.iter().map(|recipient| {
        let received = received(recipient);
        let how = match state(received) {
            v1::RecallState::Acknowledged => language.say("acknowledged", "đã xác nhận"),
            v1::RecallState::Delivered => language.say("told, not acknowledged", "đã báo, chưa xác nhận"),
            _ => language.say("not told yet", "chưa được báo"),
        };
        [
            record::slug(&recipient.organisation).to_owned(),
            how.to_owned(),
            moment(since(received, answer.version_time)),
            moment(received.last_delivery_time),
            all_ways(received, language),
        ]
    });
    let rows: Vec<_> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    table(&rows, data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::Printed;

    fn answer() -> v1::ListRecipientsResponse {
        let at = |seconds: i64| Some(prost_types::Timestamp { seconds: 1_767_225_600 + seconds, nanos: 0 });
        let recipient = |slug: &str, recall: i32| v1::Recipient {
            organisation: format!("organisations/{slug}"),
            received: Some(v1::Received {
                first_delivery_time: at(1),
                last_delivery_time: at(2),
                version_time: at(0),
                ways: vec![1, 4],
                recall,
                recall_time: at(60).filter(|_| recall > 1),
                acknowledge_time: at(120).filter(|_| recall > 2),
            }),
            holders: Vec::new(),
        };
        v1::ListRecipientsResponse {
            recipients: vec![recipient("so-y-te", 1), recipient("ca-hanoi", 3)],
            state: 2,
            version_time: at(30),
            recipient_count: 3,
            pending_count: 1,
            acknowledged_count: 1,
            ..v1::ListRecipientsResponse::default()
        }
    }

    fn told(language: Language, write: impl Fn(&mut Data, Language)) -> String {
        let printed = Printed::default();
        let mut data = Data::to(printed.clone());
        write(&mut data, language);
        data.flush().unwrap();
        printed.text()
    }

    #[test]
    fn how_far_a_recall_has_got_is_told_in_the_language_of_the_reader() {
        let write = |data: &mut Data, language| status(&answer(), language, data).unwrap();
        assert_eq!(
            told(Language::En, write),
            "revoked  2026-01-01 07:00:30 +07:00\n\
             received by 3: not told yet 1, told and not acknowledged 0, acknowledged 1\n\
             ORGANISATION  RECALL        SINCE                       LAST RECEIVED               HOW\n\
             so-y-te       not told yet  2026-01-01 07:00:30 +07:00  2026-01-01 07:00:02 +07:00  subscription, read\n\
             ca-hanoi      acknowledged  2026-01-01 07:02:00 +07:00  2026-01-01 07:00:02 +07:00  subscription, read\n"
        );
        let vi = told(Language::Vi, write);
        assert!(vi.contains("chưa được báo 1") && vi.contains("đăng ký, đọc"), "{vi}");
    }

    #[test]
    fn a_recipient_as_json_leaves_out_what_is_not_known() {
        let mut recipients = answer().recipients;
        let json = serde_json::to_value(object(recipients.remove(0), None)).unwrap();
        assert_eq!((&json["organisation"], &json["recall"]), (&"so-y-te".into(), &"pending".into()));
        assert_eq!(json["ways"], serde_json::json!(["delivered", "read"]));
        for unknown in ["recall_time", "holders", "receipts_begin_time"] {
            assert_eq!(json.get(unknown), None);
        }
    }

    #[test]
    fn of_an_indicator_that_is_older_than_receipts_it_is_said_since_when_there_are_some() {
        let mut older = answer();
        older.receipts_begin_time = Some(prost_types::Timestamp { seconds: 1_767_225_600, nanos: 0 });
        assert_eq!(unknown(&older, Language::En), None, "it is not");
        older.older_than_receipts = true;
        let text = told(Language::En, |data, language| status(&older, language, data).unwrap());
        assert!(text.contains("\nreceipts are known only since 2026-01-01 07:00:00 +07:00: "), "{text}");
        let text = told(Language::Vi, |data, language| status(&older, language, data).unwrap());
        assert!(text.contains("\nbiên nhận chỉ được biết từ 2026-01-01 07:00:00 +07:00: "), "{text}");
        let text = told(Language::En, |data, _| json(older.clone(), data).unwrap());
        assert_eq!(text.matches(r#""receipts_begin_time":"2026-01-01T00:00:00"#).count(), 2, "{text}");
    }

    #[test]
    fn recipients_are_told_with_the_principals_that_the_reader_is_shown() {
        let mut shown = answer();
        let holder = v1::RecipientHolder {
            principal: "spiffe://t.example/org/so-y-te/system/fw".into(),
            subscription: "firewall".into(),
            ..v1::RecipientHolder::default()
        };
        shown.recipients[0].holders.push(holder);
        let text = told(Language::Vi, |data, language| list(&shown, language, data).unwrap());
        assert!(text.starts_with("ĐƠN VỊ") && text.contains("/system/fw (firewall)"), "{text}");
    }
}
