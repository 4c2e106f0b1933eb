//! Decides how an event's body is made: the publisher's fields are encoded on
//! the publisher's task, the fields that order decides are appended by the
//! writer (protobuf allows fields in any order), and the whole is stored as it
//! travels: one element of `EventBatch.events`, tag and length included.

use prost::Message as _;
use prost::encoding::{
    DecodeContext, WireType, decode_key, encode_key, encode_varint, encoded_len_varint, skip_field,
};
use uuid::Uuid;

use crate::base::clock::Timestamp;
use crate::model::indicator::lifecycle::Revocation;
use crate::model::indicator::{Draft, Observable, RecommendedAction, State, normalise};
use crate::model::marking::{Caveats, Marking, Recipients, Tlp};
use crate::model::org::OrgSlug;
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::model::sighting::SightingDraft;

use super::observable::{FILE_FIELD, Spelt, field, hash_field, spelt};
use super::proto::v1;
use super::seal::Sealer;

const EVENTS: u32 = 1;
const EVENT_ID: u32 = 1;
const EVENT_INDICATOR: u32 = 2;
const EVENT_SIGHTING: u32 = 3;
const EVENT_COLLISION: u32 = 4;
const EVENT_REPUBLICATION: u32 = 5;
const EVENT_HELD: u32 = 8;
const EVENT_HOLD: u32 = 9;
const MARKING: u32 = 3;
const RAW_VALUE: u32 = 4;
const ACTION: u32 = 12;
/// Its key takes two bytes.
const PUBLISHED_BY: u32 = 26;

/// Appends a text field unless it is empty.
fn text(field: u32, value: &str, out: &mut Vec<u8>) {
    if !value.is_empty() {
        bytes(field, value.as_bytes(), out);
    }
}

pub(super) fn bytes(field: u32, value: &[u8], out: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

fn number(field: u32, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        encode_key(field, WireType::Varint, out);
        encode_varint(value, out);
    }
}

fn time(field: u32, at: Timestamp, out: &mut Vec<u8>) {
    let (seconds, nanos) = (at.as_seconds(), u64::from(at.subsec_micros()) * 1_000);
    let part = |value: u64| if value == 0 { 0 } else { 1 + encoded_len_varint(value) };
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint((part(seconds) + part(nanos)) as u64, out);
    number(1, seconds, out);
    number(2, nanos, out);
}

/// Appends a message field whose content `fill` writes; a content past 127
/// bytes moves once to make room for its length.
fn message(field: u32, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    encode_key(field, WireType::LengthDelimited, out);
    let length_at = out.len();
    out.push(0);
    fill(out);
    let length = out.len() - length_at - 1;
    if let (1, Some(slot)) = (encoded_len_varint(length as u64), out.get_mut(length_at)) {
        *slot = u8::try_from(length).unwrap_or_default();
    } else {
        let mut varint = Vec::with_capacity(10);
        encode_varint(length as u64, &mut varint);
        out.splice(length_at..=length_at, varint);
    }
}

fn observable(value: &Observable, aliases: &[Observable], out: &mut Vec<u8>) {
    let kind = value.kind();
    if kind.is_hash() {
        return message(FILE_FIELD, out, |out| {
            let mut all: Vec<_> = aliases.iter().chain([value]).collect();
            all.sort_unstable_by_key(|hash| hash.kind());
            for hash in all {
                text(hash_field(hash.kind()), &hash.to_string(), out);
            }
        });
    }
    match value.as_text() {
        Some(canonical) => text(field(kind), canonical, out),
        None => text(field(kind), &value.to_string(), out),
    }
}

fn marking(marking: &Marking, out: &mut Vec<u8>) {
    number(1, u64::from(marking.tlp.number()), out);
    if !marking.is_masked() {
        recipients(2, &marking.recipients, out);
    }
    if marking.caveats != Caveats::NONE {
        message(5, out, |out| {
            let has = |caveat| u64::from(marking.caveats.contains(caveat));
            number(1, has(Caveats::WATCH_DO_NOT_BLOCK), out);
            number(2, has(Caveats::PROVIDERS_MAY_READ), out);
            number(3, has(Caveats::MASKED_SOURCE), out);
            number(4, has(Caveats::NO_ONWARD_FEED), out);
        });
    }
}

/// Organisations, groups and principals in three fields from `first` on.
pub(super) fn recipients(first: u32, recipients: &Recipients, out: &mut Vec<u8>) {
    for org in &recipients.organisations {
        name(first, "organisations/", org.as_str(), out);
    }
    for group in &recipients.groups {
        name(first + 1, "groups/", group.as_str(), out);
    }
    for principal in &recipients.principals {
        text(first + 2, principal.as_str(), out);
    }
}

/// The publisher's fields of `luytre.v1.Indicator` and, unless the source is
/// masked, the owner, and who publishes on the owner's behalf, if it is not
/// the owner.
#[must_use]
pub fn encode_draft(draft: &Draft, owner: &OrgSlug, provider: Option<&OrgSlug>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    message(2, &mut out, |out| observable(&draft.observable, &draft.aliases, out));
    message(MARKING, &mut out, |out| marking(&draft.marking, out));
    for label in &draft.labels {
        text(5, label, &mut out);
    }
    if let Some(confidence) = draft.confidence {
        encode_key(6, WireType::Varint, &mut out);
        encode_varint(u64::from(confidence), &mut out);
    }
    text(7, &draft.description, &mut out);
    let times =
        [(8, draft.valid_from), (9, draft.valid_until), (10, draft.first_seen), (11, draft.last_seen)];
    for (field, at) in times {
        if let Some(at) = at {
            time(field, at, &mut out);
        }
    }
    number(ACTION, draft.action.map_or(0, |action| u64::from(action.number())), &mut out);
    number(13, draft.role.map_or(0, |role| u64::from(role.number())), &mut out);
    text(14, &draft.family, &mut out);
    text(15, &draft.campaign, &mut out);
    for technique in &draft.techniques {
        text(16, technique, &mut out);
    }
    let masked = draft.marking.is_masked();
    if !masked {
        organisation(20, owner, &mut out);
    }
    // Last, so that `meaning` can leave them out.
    text(RAW_VALUE, draft.raw.as_deref().unwrap_or_default(), &mut out);
    if let Some(provider) = provider.filter(|_| !masked) {
        organisation(PUBLISHED_BY, provider, &mut out);
    }
    out
}

/// What the fields of [`encode_draft`] say: without the spelling that the
/// publisher supplied, and without who published on the owner's behalf. The
/// same value spelt otherwise, or from the other of the two, is no other
/// content.
#[must_use]
pub fn meaning<'a>(fields: &'a [u8], raw: &str, published_by: &str) -> &'a [u8] {
    let text = |key: usize, text: &str| match text.len() {
        0 => 0,
        length => key + encoded_len_varint(length as u64) + length,
    };
    let left_out = text(1, raw) + text(2, published_by);
    fields.get(..fields.len().saturating_sub(left_out)).unwrap_or_default()
}

pub(super) fn organisation(field: u32, slug: &OrgSlug, out: &mut Vec<u8>) {
    name(field, "organisations/", slug.as_str(), out);
}

/// The reporter's fields of `luytre.v1.Sighting`, and the reporter.
#[must_use]
pub fn encode_sighting(draft: &SightingDraft, reporter: &OrgSlug) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    text(2, &format!("indicators/{}", draft.indicator.hyphenated()), &mut out);
    number(3, u64::from(draft.outcome.number()), &mut out);
    number(4, draft.count, &mut out);
    for (field, at) in [(5, draft.first_seen), (6, draft.last_seen)] {
        if let Some(at) = at {
            time(field, at, &mut out);
        }
    }
    text(7, &draft.note, &mut out);
    if let Some(given) = &draft.marking {
        message(8, &mut out, |out| marking(given, out));
    }
    if !draft.marking.as_ref().is_some_and(Marking::is_masked) {
        organisation(20, reporter, &mut out);
    }
    out
}

/// What order decides of an indicator's version.
#[derive(Debug, Clone, Copy)]
pub struct Decided<'a> {
    /// Where the event stands.
    pub position: Position,
    /// Where the record was born.
    pub handle: Position,
    /// State after the event.
    pub state: State,
    /// Version, in microseconds.
    pub version: u64,
    /// When the first version was published.
    pub created: Timestamp,
    /// Why it was revoked, if it was.
    pub revocation: Option<(&'a Revocation, Timestamp)>,
    /// Why it was brought back, if this version did so.
    pub reinstatement: Option<&'a str>,
}

/// The whole body of an indicator's event, and how many bytes at its end are
/// the hub's own.
#[must_use]
pub fn finish_indicator(sealer: &Sealer, fields: &[u8], decided: &Decided<'_>) -> (Vec<u8>, u16) {
    let mut tail = Vec::with_capacity(96);
    let mut id = Uuid::encode_buffer();
    let id = sealer.id(decided.handle).hyphenated().encode_lower(&mut id);
    name(1, "indicators/", id, &mut tail);
    number(21, u64::from(decided.state.number()), &mut tail);
    number(22, decided.version, &mut tail);
    time(23, decided.created, &mut tail);
    if let Some((revocation, at)) = decided.revocation {
        message(24, &mut tail, |out| {
            number(1, u64::from(revocation.reason.number()), out);
            text(2, &revocation.note, out);
            time(3, at, out);
        });
    }
    if let Some(reason) = decided.reinstatement {
        message(25, &mut tail, |out| text(1, reason, out));
    }
    wrap(sealer, decided.position, EVENT_INDICATOR, fields, &tail)
}

/// The whole body of a sighting's event, and how many bytes at its end are
/// the hub's own.
#[must_use]
pub fn finish_sighting(
    sealer: &Sealer,
    fields: &[u8],
    position: Position,
    indicator: Position,
    recorded: Timestamp,
) -> (Vec<u8>, u16) {
    let mut tail = Vec::with_capacity(128);
    let path =
        format!("{}/sightings/{}", sealer.id(indicator).hyphenated(), sealer.id(position).hyphenated());
    name(1, "indicators/", &path, &mut tail);
    time(21, recorded, &mut tail);
    wrap(sealer, position, EVENT_SIGHTING, fields, &tail)
}

/// What the owner of a record is told of another's.
#[derive(Debug, Clone, Copy)]
pub struct Collision<'a> {
    /// The owner's record.
    pub record: Position,
    /// When the other published.
    pub published: Timestamp,
    /// The other's record, where the owner may see it.
    pub other: Option<Position>,
    /// Whose it is, where the owner may know.
    pub other_owner: Option<&'a OrgSlug>,
}

/// The whole body of a collision's event, all of it the hub's own.
#[must_use]
pub fn finish_collision(sealer: &Sealer, position: Position, told: &Collision<'_>) -> (Vec<u8>, u16) {
    let mut tail = Vec::with_capacity(256);
    let record = sealer.id(told.record).hyphenated().to_string();
    let path = format!("{record}/collisions/{}", sealer.id(position).hyphenated());
    name(1, "indicators/", &path, &mut tail);
    name(2, "indicators/", &record, &mut tail);
    time(3, told.published, &mut tail);
    if let Some(other) = told.other {
        name(4, "indicators/", &sealer.id(other).hyphenated().to_string(), &mut tail);
    }
    if let Some(owner) = told.other_owner {
        organisation(5, owner, &mut tail);
    }
    wrap(sealer, position, EVENT_COLLISION, &[], &tail)
}

/// The whole body of an event about leave to republish: an encoded
/// `luytre.v1.Republication`, all of it the hub's own.
#[must_use]
pub fn finish_republication(sealer: &Sealer, position: Position, encoded: &[u8]) -> (Vec<u8>, u16) {
    wrap(sealer, position, EVENT_REPUBLICATION, &[], encoded)
}

/// The whole body of an event about what is held of an indicator: an encoded
/// `luytre.v1.HeldPublication`, all of it the hub's own.
#[must_use]
pub fn finish_held(sealer: &Sealer, position: Position, encoded: &[u8]) -> (Vec<u8>, u16) {
    wrap(sealer, position, EVENT_HELD, &[], encoded)
}

/// The whole body of an event about a hold: an encoded
/// `luytre.v1.IndicatorHold`, all of it the hub's own.
#[must_use]
pub fn finish_hold(sealer: &Sealer, position: Position, encoded: &[u8]) -> (Vec<u8>, u16) {
    wrap(sealer, position, EVENT_HOLD, &[], encoded)
}

/// The fields of [`encode_draft`] as they would be if this were recommended;
/// `None` if they are damaged, or nothing is recommended there.
#[must_use]
pub fn with_action(fields: &[u8], action: RecommendedAction) -> Option<Vec<u8>> {
    replaced(fields, ACTION, |out| number(ACTION, u64::from(action.number()), out))
}

/// The same as they would be if this were their marking.
#[must_use]
pub fn with_marking(fields: &[u8], given: &Marking) -> Option<Vec<u8>> {
    replaced(fields, MARKING, |out| message(MARKING, out, |out| marking(given, out)))
}

/// The fields with another content in the place of the first of this number.
fn replaced(fields: &[u8], wanted: u32, fill: impl FnOnce(&mut Vec<u8>)) -> Option<Vec<u8>> {
    let mut rest = fields;
    while !rest.is_empty() {
        let begin = fields.len() - rest.len();
        let (field, wire_type) = decode_key(&mut rest).ok()?;
        skip_field(wire_type, field, &mut rest, DecodeContext::default()).ok()?;
        if field == wanted {
            let mut out = fields.get(..begin)?.to_vec();
            fill(&mut out);
            out.extend_from_slice(rest);
            return Some(out);
        }
    }
    None
}

fn name(field: u32, prefix: &str, rest: &str, out: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint((prefix.len() + rest.len()) as u64, out);
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(rest.as_bytes());
}

fn wrap(sealer: &Sealer, position: Position, subject: u32, fields: &[u8], tail: &[u8]) -> (Vec<u8>, u16) {
    let subject_len = fields.len() + tail.len();
    let event_len = 18 + 1 + encoded_len_varint(subject_len as u64) + subject_len;
    let mut out = Vec::with_capacity(1 + encoded_len_varint(event_len as u64) + event_len);
    encode_key(EVENTS, WireType::LengthDelimited, &mut out);
    encode_varint(event_len as u64, &mut out);
    bytes(EVENT_ID, &sealer.event_id(position), &mut out);
    encode_key(subject, WireType::LengthDelimited, &mut out);
    encode_varint(subject_len as u64, &mut out);
    out.extend_from_slice(fields);
    out.extend_from_slice(tail);
    (out, u16::try_from(tail.len()).unwrap_or(u16::MAX))
}

/// The stub of an event: its id and the indicator's name, for a receiver who
/// may not read the body.
#[must_use]
pub fn stub(sealer: &Sealer, position: Position, handle: Position) -> Vec<u8> {
    let mut tail = Vec::with_capacity(64);
    let mut id = Uuid::encode_buffer();
    name(1, "indicators/", sealer.id(handle).hyphenated().encode_lower(&mut id), &mut tail);
    wrap(sealer, position, EVENT_INDICATOR, &[], &tail).0
}

/// A revoked indicator, encoded, for who revoked it and may not see it: what he
/// knows already.
#[must_use]
pub fn revoked_unseen(id: Uuid, version: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    name(1, "indicators/", id.hyphenated().encode_lower(&mut Uuid::encode_buffer()), &mut out);
    number(21, u64::from(State::Revoked.number()), &mut out);
    number(22, version, &mut out);
    out
}

/// The encoded subject inside a body; `None` if it is damaged.
#[must_use]
pub fn subject(body: &[u8]) -> Option<&[u8]> {
    let mut rest = body.get(1..)?;
    let length = usize::try_from(prost::encoding::decode_varint(&mut rest).ok()?).ok()?;
    let mut rest = rest.get(..length)?.get(19..)?;
    let length = usize::try_from(prost::encoding::decode_varint(&mut rest).ok()?).ok()?;
    (rest.len() == length).then_some(rest)
}

/// The fields that the publisher supplied, without the hub's own.
#[must_use]
pub fn publisher_fields(body: &[u8], tail_len: u16) -> Option<&[u8]> {
    let subject = subject(body)?;
    subject.get(..subject.len().checked_sub(usize::from(tail_len))?)
}

/// A moment from the wire; `None` before the epoch or past the year 9999.
#[must_use]
pub fn timestamp(at: &prost_types::Timestamp) -> Option<Timestamp> {
    let micros = u64::try_from(at.seconds).ok()?.checked_mul(1_000_000)?;
    Timestamp::from_micros(micros.checked_add(u64::try_from(at.nanos).ok()? / 1_000)?)
}

/// The marking of a stored indicator; `None` if it is damaged. An unknown
/// label is read as RED.
#[must_use]
pub fn stored_marking(marking: &v1::Marking) -> Option<Marking> {
    let caveats = marking.caveats.unwrap_or_default();
    let caveat = |given: bool, caveat: Caveats| if given { caveat } else { Caveats::NONE };
    let slug = |name: &String, prefix| OrgSlug::parse(name.strip_prefix(prefix)?).ok();
    let (organisations, groups) = (marking.organisations.iter(), marking.groups.iter());
    Some(Marking {
        tlp: Tlp::from_number_or_red(u8::try_from(marking.tlp).unwrap_or_default()),
        recipients: Recipients {
            organisations: organisations.map(|n| slug(n, "organisations/")).collect::<Option<_>>()?,
            groups: groups.map(|n| slug(n, "groups/")).collect::<Option<_>>()?,
            principals: marking.principals.iter().map(|p| SpiffeId::parse(p).ok()).collect::<Option<_>>()?,
        },
        caveats: caveat(caveats.watch_do_not_block, Caveats::WATCH_DO_NOT_BLOCK)
            .with(caveat(caveats.providers_may_read, Caveats::PROVIDERS_MAY_READ))
            .with(caveat(caveats.masked_source, Caveats::MASKED_SOURCE))
            .with(caveat(caveats.no_onward_feed, Caveats::NO_ONWARD_FEED)),
    })
}

/// The value of a stored indicator and its aliases.
#[must_use]
pub fn observables(indicator: &v1::Indicator) -> Option<(Observable, Vec<Observable>)> {
    stored_observables(indicator.observable.clone()?)
}

pub(super) fn stored_observables(stored: v1::Observable) -> Option<(Observable, Vec<Observable>)> {
    // What is stored is canonical already, by the rules of its day.
    match spelt(stored.value?) {
        Spelt::Text(kind, text) => Some((Observable::from_canonical(kind?, &text)?, Vec::new())),
        Spelt::File(v1::FileHashes { md5, sha1, sha256, sha512 }) => {
            let [md5, sha1, sha256, sha512] = [&md5, &sha1, &sha256, &sha512]
                .map(|text| Some(text.as_str()).filter(|text| !text.is_empty()));
            normalise::file(normalise::Hashes { md5, sha1, sha256, sha512 }).ok()
        }
    }
}

/// The one field of `luytre.v1.Indicator` that says when it ceases to hold;
/// all others are passed over.
#[derive(Clone, PartialEq, prost::Message)]
struct Validity {
    #[prost(message, optional, tag = "9")]
    valid_until: Option<prost_types::Timestamp>,
}

/// When the indicator inside a body ceases to hold; `None` if the body is
/// damaged.
#[must_use]
pub fn valid_until(body: &[u8]) -> Option<Option<Timestamp>> {
    match Validity::decode(subject(body)?).ok()?.valid_until {
        Some(until) => timestamp(&until).map(Some),
        None => Some(None),
    }
}

/// Decodes the indicator inside a body.
#[must_use]
pub fn decode_indicator(body: &[u8]) -> Option<v1::Indicator> {
    v1::Indicator::decode(subject(body)?).ok()
}
