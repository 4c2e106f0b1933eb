//! Decides what of an answer is random, and so not compared: ids of records
//! and of calls, tokens (their length is), and the certificate of this run.
//! Times and versions are compared: the calendar is set by hand.

use std::collections::BTreeMap;

use luytre::wire::proto::v1;
use prost::Message as _;
use v1::subscribe_response::Message as Heed;

/// The ids of a run, in the order in which they were met.
#[derive(Debug, Default)]
pub(super) struct Ids(BTreeMap<String, usize>);

/// Digits of an id, and its hyphens.
const ID: usize = 36;

impl Ids {
    /// Notes the id in this name, so that ids which are met in different
    /// places of two runs are told as the same.
    pub(super) fn meet(&mut self, name: &str) {
        self.mask(name);
    }

    /// The text, with a number in the place of each id, and whole seconds.
    pub(super) fn mask(&mut self, text: &str) -> String {
        let (mut masked, mut rest) = (String::new(), text);
        while let Some(next) = rest.chars().next() {
            if let Some((field, digits)) = below_a_second(rest) {
                masked.push_str(field);
                rest = &rest[field.len() + digits..];
            } else if let Some(id) = rest.get(..ID).filter(|id| is_id(id)) {
                let number = self.0.len();
                let number = *self.0.entry(id.to_owned()).or_insert(number);
                masked.push_str(&format!("<{number}>"));
                rest = &rest[ID..];
            } else {
                masked.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
        masked
    }
}

/// Where `text` begins with a field that tells of less than a second: what of
/// it stays, and how many digits go.
fn below_a_second(text: &str) -> Option<(&str, usize)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    if let Some(nanos) = text.strip_prefix("nanos: ") {
        return Some((&text[..7], digits(nanos)));
    }
    let count = digits(text.strip_prefix("version: ")?);
    let micros = count.min(6);
    Some((&text[..9 + count - micros], micros))
}

fn is_id(text: &str) -> bool {
    let fits = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.bytes().enumerate().all(fits)
}

/// Reads an answer and masks its tokens.
pub(super) type Read = fn(&[u8]) -> String;

fn length(token: &mut String) {
    *token = format!("{} long", token.len());
}

fn shown<M: prost::Message + Default + std::fmt::Debug>(bytes: &[u8], mask: impl Fn(&mut M)) -> String {
    let mut message = M::decode(bytes).unwrap();
    mask(&mut message);
    format!("{message:?}")
}

/// An answer without tokens.
pub(super) fn plain<M: prost::Message + Default + std::fmt::Debug>(bytes: &[u8]) -> String {
    shown::<M>(bytes, |_| ())
}

pub(super) fn list(bytes: &[u8]) -> String {
    shown(bytes, |page: &mut v1::ListIndicatorsResponse| length(&mut page.next_page_token))
}

/// A piece of an export; its content is told as text.
pub(super) fn export(bytes: &[u8]) -> String {
    use v1::export_indicators_response::Part;
    shown(bytes, |piece: &mut v1::ExportIndicatorsResponse| {
        if let Some(Part::Opening(opening)) = &mut piece.part {
            length(&mut opening.position_token);
        }
    })
}

/// Counts; only the moment differs from hub to hub.
pub(super) fn counts(bytes: &[u8]) -> String {
    shown(bytes, |counts: &mut v1::AggregateIndicatorsResponse| counts.as_of_time = None)
}

pub(super) fn versions(bytes: &[u8]) -> String {
    shown(bytes, |page: &mut v1::ListIndicatorVersionsResponse| length(&mut page.next_page_token))
}

pub(super) fn subscriptions(bytes: &[u8]) -> String {
    shown(bytes, |page: &mut v1::ListSubscriptionsResponse| length(&mut page.next_page_token))
}

pub(super) fn leaves(bytes: &[u8]) -> String {
    shown(bytes, |page: &mut v1::ListRepublicationsResponse| length(&mut page.next_page_token))
}

pub(super) fn held(bytes: &[u8]) -> String {
    shown(bytes, |page: &mut v1::ListHeldPublicationsResponse| length(&mut page.next_page_token))
}

/// Who received an open record; not under which certificates, and when.
pub(super) fn recipients(bytes: &[u8]) -> String {
    shown(bytes, |page: &mut v1::ListRecipientsResponse| {
        length(&mut page.next_page_token);
        page.version_time = None;
        for recipient in &mut page.recipients {
            recipient.received = None;
            for holder in &mut recipient.holders {
                (holder.received, holder.audit_record) = (None, None);
                length(&mut holder.certificate_serial);
            }
        }
    })
}

pub(super) fn roster(bytes: &[u8]) -> String {
    let v1::GetRosterResponse { document, etag, date } = v1::GetRosterResponse::decode(bytes).unwrap();
    format!("{} {etag} {date}", String::from_utf8(document.to_vec()).unwrap())
}

pub(super) fn whoami(bytes: &[u8]) -> String {
    shown(bytes, |me: &mut v1::WhoAmIResponse| {
        length(&mut me.certificate_serial);
        me.certificate_expire_time = None;
        me.renew_time = None;
        // It grows with the time that passes.
        me.allowances.iter_mut().for_each(|it| it.left = it.left.map(|_| 0));
    })
}

/// A frame; ids of events are random, and of one length.
pub(super) fn frame(bytes: &[u8]) -> String {
    let mask = |token: &mut bytes::Bytes| *token = format!("{} long", token.len()).into();
    shown(bytes, |frame: &mut v1::SubscribeResponse| match frame.message.as_mut().unwrap() {
        Heed::Opened(v1::Opened { resume_token, .. })
        | Heed::Heartbeat(v1::Heartbeat { resume_token, .. })
        | Heed::Acked(v1::Acked { resume_token })
        | Heed::Draining(v1::Draining { resume_token })
        | Heed::StateBegin(v1::StateBegin { resume_token })
        | Heed::StateEnd(v1::StateEnd { resume_token }) => mask(resume_token),
        Heed::Batch(v1::EventBatch { events, resume_token, .. }) => {
            mask(resume_token);
            events.iter_mut().for_each(|event| mask(&mut event.event_id));
        }
        Heed::Recalls(v1::RecallBatch { events, .. }) => {
            events.iter_mut().for_each(|event| mask(&mut event.event_id));
        }
        // It counts the calls of all members: see docs/audit.md.
        Heed::Checkpoint(v1::AuditCheckpoint { checkpoint }) => checkpoint.clear(),
    })
}
