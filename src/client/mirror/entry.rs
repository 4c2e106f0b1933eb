//! Decides what a delivery changes in a mirror, and how that is written.

use bytes::Bytes;
use prost::Message as _;

use crate::client::delivery::Delivery;
use crate::client::received::Received;
use crate::wire::proto::v1;
use v1::event::Subject;

/// Form of the entries.
pub(super) const FORM: u32 = 1;

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Step {
    /// Changes, in order; none if the token alone advanced.
    Changes = 0,
    /// The current state begins.
    Begin = 1,
    /// The current state is complete.
    End = 2,
    /// What must not be used any more, in either set.
    Recalls = 3,
    /// A snapshot begins: of this form, of this subscription.
    Snapshot = 4,
    /// A part of the set in use.
    InUse = 5,
    /// A part of the set that is being collected.
    Fresh = 6,
    /// The snapshot is complete.
    Whole = 7,
}

/// One step of a mirror. Unlike the messages of the hub it tells all that is
/// needed by itself.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Entry {
    #[prost(enumeration = "Step", tag = "1")]
    pub(super) step: i32,
    /// Resumes after it; none where it does not advance.
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) token: Bytes,
    #[prost(message, repeated, tag = "3")]
    pub(super) changes: Vec<Change>,
    /// Of a snapshot: what the mirror is of.
    #[prost(string, tag = "4")]
    pub(super) asked: String,
    /// Of a snapshot.
    #[prost(uint32, tag = "5")]
    pub(super) form: u32,
    /// Of a snapshot: whether the set in use was ever complete.
    #[prost(bool, tag = "6")]
    pub(super) complete: bool,
    /// Of a snapshot: whether a set is being collected.
    #[prost(bool, tag = "7")]
    pub(super) collecting: bool,
}

/// What becomes of one indicator.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Change {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// 0 where nothing newer can be held.
    #[prost(uint64, tag = "2")]
    pub(super) version: u64,
    /// The indicator; empty: it is gone.
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) indicator: Bytes,
}

impl Entry {
    /// What a delivery does.
    pub(super) fn of(delivery: &Delivery) -> Self {
        let (step, changes) = match delivery {
            Delivery::Events(events) => (Step::Changes, changes(&events.events)),
            Delivery::Recalls(events) => (Step::Recalls, changes(events)),
            Delivery::StateBegin { .. } => (Step::Begin, Vec::new()),
            Delivery::StateEnd { .. } => (Step::End, Vec::new()),
        };
        let token = delivery.token().cloned().unwrap_or_default();
        Self { step: step.into(), token, changes, ..Self::default() }
    }
}

fn changes(events: &[Received]) -> Vec<Change> {
    events.iter().filter_map(change).collect()
}

fn change(received: &Received) -> Option<Change> {
    let Some(Subject::Indicator(indicator)) = &received.event.subject else { return None };
    let name = indicator.name.clone();
    match received.kind {
        v1::EventKind::New | v1::EventKind::Update => {
            Some(Change { name, version: indicator.version, indicator: indicator.encode_to_vec().into() })
        }
        // The whole indicator comes along, or its name alone.
        v1::EventKind::Revoked | v1::EventKind::Expired => {
            Some(Change { name, version: indicator.version, indicator: Bytes::new() })
        }
        v1::EventKind::Withdrawn => Some(Change { name, version: 0, indicator: Bytes::new() }),
        v1::EventKind::Sighted
        | v1::EventKind::Collision
        | v1::EventKind::Republication
        | v1::EventKind::Held
        | v1::EventKind::Contained
        | v1::EventKind::Unspecified => None,
    }
}
