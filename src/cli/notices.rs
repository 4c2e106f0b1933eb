//! Decides how notices read as JSON, collisions, what is said of leave to
//! republish and what lists hold back: one flat object a line.

use serde::Serialize;

use crate::model::containment::HoldState;
use crate::model::held::HeldState;
use crate::model::indicator::{Kind, RecommendedAction};
use crate::model::republication::LeaveState;
use crate::wire::observable::flat;
use crate::wire::proto::v1;

use super::record::{caveat_names, number, slug, time, tlp};

/// A collision, or an event that tells of one.
#[derive(Debug, Serialize)]
pub(super) struct CollisionRecord {
    #[serde(skip_serializing_if = "String::is_empty")]
    event_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    event: &'static str,
    name: String,
    indicator: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    publish_time: Option<String>,
    /// Left out where the other's record is hidden.
    #[serde(skip_serializing_if = "String::is_empty")]
    other: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    other_owner: String,
}

/// Leave to republish, or an event that tells of it.
#[derive(Debug, Serialize)]
pub(super) struct RepublicationRecord {
    #[serde(skip_serializing_if = "String::is_empty")]
    event_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    event: &'static str,
    name: String,
    pub(super) indicator: String,
    pub(super) organisation: String,
    pub(super) state: &'static str,
    pub(super) awaits_answer: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wish: Option<Reach>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    requester: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) widest: Option<Reach>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expire_time: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) note: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    answerer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_time: Option<String>,
}

/// What lists hold back of an indicator, or an event that tells of it.
#[derive(Debug, Serialize)]
pub(super) struct HeldRecord {
    #[serde(skip_serializing_if = "String::is_empty")]
    event_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    event: &'static str,
    name: String,
    pub(super) indicator: String,
    owner: String,
    kind: &'static str,
    pub(super) value: String,
    pub(super) recommended_action: &'static str,
    /// The etag of an answer.
    pub(super) version: u64,
    pub(super) state: &'static str,
    pub(super) lists: Vec<HeldList>,
    pub(super) deciders: Vec<String>,
    requester: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_time: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) note: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    answerer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_time: Option<String>,
}

/// The hold of a unit that leads, or an event that tells of it.
#[derive(Debug, Serialize)]
pub(super) struct HoldRecord {
    #[serde(skip_serializing_if = "String::is_empty")]
    event_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    event: &'static str,
    name: String,
    indicator: String,
    holder: String,
    state: &'static str,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_time: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    release_time: Option<String>,
}

/// A list that holds something back.
#[derive(Debug, Serialize)]
pub(super) struct HeldList {
    pub(super) list: String,
    title: String,
    version: u64,
}

/// How far something may travel, spelt as `publish` reads it.
#[derive(Debug, Serialize)]
pub(super) struct Reach {
    tlp: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    to: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    to_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    to_persons: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    caveats: Vec<String>,
}

impl CollisionRecord {
    /// A collision as it was told.
    pub(super) fn of(collision: v1::Collision) -> Self {
        Self {
            event_id: String::new(),
            event: "",
            name: collision.name,
            indicator: collision.indicator,
            publish_time: time(collision.publish_time),
            other: collision.other,
            other_owner: slug(&collision.other_owner).to_owned(),
        }
    }

    /// The same as an event tells it.
    pub(super) fn told_by(self, event_id: String, event: &'static str) -> Self {
        Self { event_id, event, ..self }
    }
}

impl RepublicationRecord {
    /// Leave as it stands, or as it was told.
    pub(super) fn of(told: v1::Republication) -> Self {
        Self {
            event_id: String::new(),
            event: "",
            name: told.name,
            indicator: told.indicator,
            organisation: slug(&told.organisation).to_owned(),
            state: number(told.state).and_then(LeaveState::from_number).map_or("unknown", LeaveState::as_str),
            awaits_answer: told.awaits_answer,
            wish: told.wish.map(Reach::of),
            reason: told.reason,
            requester: told.requester,
            request_time: time(told.request_time),
            widest: told.widest.map(Reach::of),
            expire_time: time(told.expire_time),
            note: told.note,
            answerer: told.answerer,
            answer_time: time(told.answer_time),
        }
    }

    /// The same as an event tells it.
    pub(super) fn told_by(self, event_id: String, event: &'static str) -> Self {
        Self { event_id, event, ..self }
    }
}

impl HeldRecord {
    /// What is held as it stands, or as it was told.
    pub(super) fn of(told: v1::HeldPublication) -> Self {
        let (kind, value, _) = flat(told.observable);
        let list = |v1::GuardList { list, title, version }| HeldList { list, title, version };
        Self {
            event_id: String::new(),
            event: "",
            name: told.name,
            indicator: told.indicator,
            owner: slug(&told.owner).to_owned(),
            kind: kind.map_or("", Kind::as_str),
            value,
            recommended_action: number(told.recommended_action)
                .and_then(RecommendedAction::from_number)
                .map_or("unknown", RecommendedAction::as_str),
            version: told.version,
            state: number(told.state).and_then(HeldState::from_number).map_or("unknown", HeldState::as_str),
            lists: told.lists.into_iter().map(list).collect(),
            deciders: told.deciders.iter().map(|name| slug(name).to_owned()).collect(),
            requester: told.requester,
            request_time: time(told.request_time),
            note: told.note,
            answerer: told.answerer,
            answer_time: time(told.answer_time),
        }
    }

    /// The same as an event tells it.
    pub(super) fn told_by(self, event_id: String, event: &'static str) -> Self {
        Self { event_id, event, ..self }
    }
}

impl HoldRecord {
    /// A hold as it was told.
    pub(super) fn of(told: v1::IndicatorHold) -> Self {
        Self {
            event_id: String::new(),
            event: "",
            name: told.name,
            indicator: told.indicator,
            holder: slug(&told.holder).to_owned(),
            state: number(told.state).and_then(HoldState::from_number).map_or("unknown", HoldState::as_str),
            reason: told.reason,
            hold_time: time(told.hold_time),
            expire_time: time(told.expire_time),
            note: told.note,
            release_time: time(told.release_time),
        }
    }

    /// The same as an event tells it.
    pub(super) fn told_by(self, event_id: String, event: &'static str) -> Self {
        Self { event_id, event, ..self }
    }
}

impl Reach {
    fn of(marking: v1::Marking) -> Self {
        let v1::Marking { tlp: label, organisations, groups, principals, caveats } = marking;
        let group = |name: &String| name.strip_prefix("groups/").unwrap_or(name).to_owned();
        Self {
            tlp: tlp(label),
            to: organisations.iter().map(|name| slug(name).to_owned()).collect(),
            to_groups: groups.iter().map(group).collect(),
            to_persons: principals,
            caveats: caveats.map(caveat_names).unwrap_or_default(),
        }
    }

    /// The same in a column of a table.
    pub(super) fn column(&self) -> String {
        let Self { tlp, to, to_groups, to_persons, caveats } = self;
        let groups = to_groups.iter().map(|slug| format!("groups/{slug}"));
        let readers: Vec<_> = to.iter().cloned().chain(groups).chain(to_persons.iter().cloned()).collect();
        let mut text = (*tlp).to_owned();
        if !readers.is_empty() {
            text.push_str(&format!(" to {}", readers.join(", ")));
        }
        if !caveats.is_empty() {
            text.push_str(&format!(" ({})", caveats.join(", ")));
        }
        text
    }
}
