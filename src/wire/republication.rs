//! Decides how leave to republish is told: what both sides read of it, and
//! who answered only the owner's.

use bytes::Bytes;
use prost::Message as _;
use uuid::Uuid;

use crate::model::org::OrgSlug;
use crate::model::principal::SpiffeId;
use crate::model::republication::{Answer, Leave, LeaveState, Terms, Wish};

use super::convert::{marking, name, time};
use super::event;
use super::proto::v1;

const NOTE: u32 = 12;
const ANSWERER: u32 = 13;

/// Leave for `organisation` to republish the indicator of this public id, an
/// encoded `luytre.v1.Republication`; `for_owner` says which side reads it.
#[must_use]
pub fn encode(indicator: Uuid, organisation: &OrgSlug, leave: &Leave, for_owner: bool) -> Vec<u8> {
    let Leave { state, open, wish, terms, answer } = leave;
    let mut out = v1::Republication {
        name: name::republication(indicator, organisation),
        indicator: name::indicator(indicator),
        organisation: name::organisation(organisation),
        state: i32::from(state.number()),
        awaits_answer: *open,
        ..v1::Republication::default()
    };
    if let Some(Wish { marking: wished, reason, requester, time: at }) = wish {
        out.wish = Some(marking::write(wished));
        (out.reason, out.requester) = (reason.clone(), requester.to_string());
        out.request_time = Some(time::write(*at));
    }
    if let Some(Terms { widest, until }) = terms {
        out.widest = Some(marking::write(widest));
        out.expire_time = until.map(time::write);
    }
    if let Some(Answer { note, answerer, time: at }) = answer {
        out.note.clone_from(note);
        if for_owner {
            out.answerer = answerer.to_string();
        }
        out.answer_time = Some(time::write(*at));
    }
    out.encode_to_vec()
}

/// The same as it was told to the other side, with who answered.
#[must_use]
pub fn tell_answerer(encoded: &[u8], answerer: &SpiffeId) -> Bytes {
    let mut out = encoded.to_vec();
    event::bytes(ANSWERER, answerer.as_str().as_bytes(), &mut out);
    out.into()
}

/// The same as it was told to the other side, for readers of this one: without
/// who answered.
///
/// # Errors
/// Where it is damaged.
pub fn leave_out_answerer(encoded: &[u8]) -> Result<Bytes, prost::DecodeError> {
    let told = v1::Republication { answerer: String::new(), ..v1::Republication::decode(encoded)? };
    Ok(told.encode_to_vec().into())
}

/// Leave, for who gave (`terms`) or withdrew it and may not see the indicator:
/// what he sent, and nothing of what there was.
#[must_use]
pub fn unseen(indicator: Uuid, organisation: &OrgSlug, terms: Option<&Terms>, note: &str) -> Bytes {
    let state = if terms.is_some() { LeaveState::Granted } else { LeaveState::Withdrawn };
    let leave = Leave { state, open: false, wish: None, terms: terms.cloned(), answer: None };
    let mut out = encode(indicator, organisation, &leave, false);
    if !note.is_empty() {
        event::bytes(NOTE, note.as_bytes(), &mut out);
    }
    out.into()
}
