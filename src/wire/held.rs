//! Decides how it is told what a list holds back of an indicator.

use bytes::Bytes;
use prost::Message as _;
use uuid::Uuid;

use crate::base::clock::Timestamp;
use crate::model::held::{Held, HeldState};
use crate::model::indicator::RecommendedAction;
use crate::model::org::OrgSlug;
use crate::model::principal::SpiffeId;
use crate::model::republication::Answer;
use crate::model::warninglist::ListName;

use super::convert::{guard, name, time};
use super::event;
use super::proto::v1;

const ANSWERER: u32 = 13;

/// What stands beside a held publication when it is told.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// Public id of the indicator.
    pub indicator: Uuid,
    /// Whose it is.
    pub owner: &'a OrgSlug,
    /// The version to which it belongs, in microseconds.
    pub version: u64,
    /// Body of that version.
    pub body: &'a [u8],
    /// Who may answer.
    pub deciders: &'a [&'a OrgSlug],
}

/// An encoded `luytre.v1.HeldPublication`, without who answered; `None`: the
/// body is damaged.
#[must_use]
pub fn encode(held: &Held, beside: &Beside<'_>) -> Option<Vec<u8>> {
    let Held { action, lists, requester, time: at, state, answer, .. } = held;
    let observable = event::decode_indicator(beside.body)?.observable;
    let mut out = v1::HeldPublication {
        name: name::held(beside.indicator),
        indicator: name::indicator(beside.indicator),
        owner: name::organisation(beside.owner),
        observable,
        recommended_action: i32::from(action.number()),
        version: beside.version,
        state: i32::from(state.number()),
        lists: lists.iter().cloned().map(guard::list).collect(),
        deciders: beside.deciders.iter().map(|slug| name::organisation(slug)).collect(),
        requester: requester.to_string(),
        request_time: Some(time::write(*at)),
        ..v1::HeldPublication::default()
    };
    if let Some(Answer { note, time: at, .. }) = answer {
        out.note.clone_from(note);
        out.answer_time = Some(time::write(*at));
    }
    Some(out.encode_to_vec())
}

/// The same with who answered, for readers of his own organisation.
#[must_use]
pub fn tell_answerer(encoded: &[u8], answerer: &SpiffeId) -> Bytes {
    let mut out = encoded.to_vec();
    event::bytes(ANSWERER, answerer.as_str().as_bytes(), &mut out);
    out.into()
}

/// What an event tells of what is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What is recommended.
    pub action: RecommendedAction,
    /// The lists.
    pub lists: Vec<ListName>,
    /// Who published it.
    pub requester: SpiffeId,
    /// When.
    pub time: Timestamp,
    /// Where it stands.
    pub state: HeldState,
    /// Why and when it was answered.
    pub answer: Option<(String, Timestamp)>,
}

/// Reads the body of such an event; `None`: it is damaged.
#[must_use]
pub fn decode(body: &[u8]) -> Option<Told> {
    let told = v1::HeldPublication::decode(event::subject(body)?).ok()?;
    let number = |number: i32| u8::try_from(number).ok();
    let list = |v1::GuardList { list: slug, title: name, version }| ListName { slug, name, version };
    let time = |at: Option<prost_types::Timestamp>| event::timestamp(&at?);
    Some(Told {
        action: RecommendedAction::from_number(number(told.recommended_action)?)?,
        lists: told.lists.into_iter().map(list).collect(),
        requester: SpiffeId::parse(&told.requester).ok()?,
        time: time(told.request_time)?,
        state: HeldState::from_number(number(told.state)?)?,
        answer: match told.answer_time {
            None => None,
            some => Some((told.note, time(some)?)),
        },
    })
}
