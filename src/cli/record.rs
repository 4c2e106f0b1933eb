//! Decides how indicators and events read as JSON: one flat object a line, the
//! same in every command.

use serde::Serialize;

use crate::base::clock::Timestamp;
use crate::base::digest;
use crate::interop::jsonl;
use crate::interop::row::Row;
use crate::model::indicator::{RevocationReason, Role, State};
use crate::model::marking::Tlp;
use crate::model::sighting::Outcome;
use crate::wire::convert::shown;
use crate::wire::observable::flat;
use crate::wire::proto::v1;

use super::language::Language;
use super::notices::{CollisionRecord, HeldRecord, HoldRecord, RepublicationRecord};
use super::output::for_eyes;

/// An indicator, or what an event says of one.
#[derive(Default, Serialize)]
pub(super) struct Record {
    #[serde(skip_serializing_if = "String::is_empty")]
    event_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    event: &'static str,
    /// Said ahead of the event itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    recall: bool,
    /// The indicator, as files hold it too.
    #[serde(flatten)]
    row: Row,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sightings: Vec<SightingRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    collisions: Vec<CollisionRecord>,
}

/// A sighting, or an event that brings one.
#[derive(Debug, Serialize)]
pub(super) struct SightingRecord {
    #[serde(skip_serializing_if = "String::is_empty")]
    event_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    event: &'static str,
    name: String,
    indicator: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    sighted_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reporter: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    create_time: Option<String>,
}

/// A line around the current state.
#[derive(Debug, Serialize)]
pub(super) struct Bracket {
    event: &'static str,
}

/// The current state begins.
pub(super) const STATE_BEGIN: Bracket = Bracket { event: "state-begin" };
/// The current state is complete.
pub(super) const STATE_END: Bracket = Bracket { event: "state-end" };

/// What one event says.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum EventRecord {
    /// Of an indicator.
    Indicator(Box<Record>),
    /// Of a sighting.
    Sighting(Box<SightingRecord>),
    /// Of a collision.
    Collision(Box<CollisionRecord>),
    /// Of leave to republish.
    Republication(Box<RepublicationRecord>),
    /// Of what lists hold back.
    Held(Box<HeldRecord>),
    /// Of a hold.
    Hold(Box<HoldRecord>),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Record {
    /// An indicator as it stands.
    pub(super) fn of(indicator: v1::Indicator) -> Self {
        Self { row: Row::of(shown::read(indicator)), ..Self::default() }
    }

    /// The same with what was told of it.
    pub(super) fn with(mut self, sightings: Vec<v1::Sighting>, collisions: Vec<v1::Collision>) -> Self {
        self.sightings = sightings.into_iter().map(SightingRecord::of).collect();
        self.collisions = collisions.into_iter().map(CollisionRecord::of).collect();
        self
    }

    /// Whether it belongs to those who were attacked, and so into no plain list.
    pub(super) fn is_of_a_victim(&self) -> bool {
        self.row.said.role.as_deref() == Some(Role::Victim.as_str())
    }

    /// The canonical value.
    pub(super) fn value(&self) -> &str {
        self.row.said.value.as_deref().unwrap_or_default()
    }

    /// When this version was added.
    pub(super) fn changed(&self) -> Option<Timestamp> {
        self.row.version.and_then(Timestamp::from_micros)
    }

    /// The columns of a table for people: kind, label, owner, state, value,
    /// name, and the rest.
    pub(super) fn columns(&self, language: Language) -> [String; 7] {
        let name = self.row.name.strip_prefix("indicators/").unwrap_or(&self.row.name);
        let masked =
            self.row.owner.is_empty() && self.row.said.caveats.iter().any(|caveat| caveat == "masked-source");
        let owner =
            if masked { language.say("source masked", "nguồn được ẩn") } else { &self.row.owner };
        [
            self.row.said.kind.clone().unwrap_or_default(),
            self.row.said.tlp.clone().unwrap_or_default(),
            owner.to_owned(),
            self.row.state.to_owned(),
            for_eyes(self.value()),
            name.to_owned(),
            self.told(),
        ]
    }

    /// The role, the family, the labels, and what the marking says beyond its
    /// label.
    fn told(&self) -> String {
        let jsonl::Record { to, to_groups, to_persons, labels, caveats, role, family, .. } = &self.row.said;
        let mut parts: Vec<_> = [role, family].into_iter().flatten().map(|said| for_eyes(said)).collect();
        if !labels.is_empty() {
            parts.push(format!("[{}]", labels.join(" ")));
        }
        let groups = to_groups.iter().map(|slug| format!("groups/{slug}"));
        let readers: Vec<_> = to.iter().cloned().chain(groups).chain(to_persons.iter().cloned()).collect();
        if !readers.is_empty() {
            parts.push(format!("→ {}", readers.join(", ")));
        }
        if !caveats.is_empty() {
            parts.push(format!("({})", caveats.join(", ")));
        }
        parts.join("  ")
    }
}

impl SightingRecord {
    /// A sighting as it stands.
    pub(super) fn of(sighting: v1::Sighting) -> Self {
        Self {
            event_id: String::new(),
            event: "",
            name: sighting.name,
            indicator: sighting.indicator,
            outcome: outcome(sighting.outcome),
            sighted_count: sighting.sighted_count,
            first_seen: time(sighting.first_seen),
            last_seen: time(sighting.last_seen),
            note: sighting.note,
            reporter: slug(&sighting.reporter).to_owned(),
            create_time: time(sighting.create_time),
        }
    }
}

/// An event as its receiver reads it, or the recall that precedes it; `None`
/// if it is of a later release.
pub(super) fn event(kind: v1::EventKind, event: v1::Event, recall: bool) -> Option<EventRecord> {
    let event_id = digest::hex(&event.event_id);
    let name = event_name(kind);
    Some(match event.subject? {
        v1::event::Subject::Indicator(indicator) => EventRecord::Indicator(Box::new(Record {
            event_id,
            event: name,
            recall,
            ..Record::of(indicator)
        })),
        v1::event::Subject::Sighting(sighting) => EventRecord::Sighting(Box::new(SightingRecord {
            event_id,
            event: name,
            ..SightingRecord::of(sighting)
        })),
        v1::event::Subject::Collision(collision) => {
            EventRecord::Collision(Box::new(CollisionRecord::of(collision).told_by(event_id, name)))
        }
        v1::event::Subject::Republication(told) => {
            EventRecord::Republication(Box::new(RepublicationRecord::of(told).told_by(event_id, name)))
        }
        v1::event::Subject::HeldPublication(told) => {
            EventRecord::Held(Box::new(HeldRecord::of(told).told_by(event_id, name)))
        }
        v1::event::Subject::IndicatorHold(told) => {
            EventRecord::Hold(Box::new(HoldRecord::of(told).told_by(event_id, name)))
        }
    })
}

/// The canonical value that an event brings for a plain list.
pub(super) fn event_value(event: v1::Event) -> Option<String> {
    match event.subject? {
        v1::event::Subject::Indicator(indicator) if indicator.role() == v1::IndicatorRole::Victim => None,
        v1::event::Subject::Indicator(indicator) => {
            Some(flat(indicator.observable).1).filter(|value| !value.is_empty())
        }
        v1::event::Subject::Sighting(_)
        | v1::event::Subject::Collision(_)
        | v1::event::Subject::Republication(_)
        | v1::event::Subject::HeldPublication(_)
        | v1::event::Subject::IndicatorHold(_) => None,
    }
}

/// The text of an observable as it was given or as the hub spells it.
pub(super) fn text(observable: v1::Observable) -> String {
    flat(Some(observable)).1
}

/// The name of a state; empty for none.
pub(super) fn state(value: i32) -> &'static str {
    if value == 0 { "" } else { number(value).and_then(State::from_number).map_or("unknown", State::as_str) }
}

/// The name of a reason to take an indicator back.
pub(super) fn revocation_reason(value: i32) -> &'static str {
    number(value).and_then(RevocationReason::from_number).map_or("unknown", RevocationReason::as_str)
}

/// The name of what a sighting says.
pub(super) fn outcome(value: i32) -> &'static str {
    number(value).and_then(Outcome::from_number).map_or("unknown", Outcome::as_str)
}

pub(super) const fn event_name(kind: v1::EventKind) -> &'static str {
    match kind {
        v1::EventKind::Unspecified => "unknown",
        v1::EventKind::New => "new",
        v1::EventKind::Update => "update",
        v1::EventKind::Withdrawn => "withdrawn",
        v1::EventKind::Revoked => "revoked",
        v1::EventKind::Expired => "expired",
        v1::EventKind::Sighted => "sighted",
        v1::EventKind::Collision => "collision",
        v1::EventKind::Republication => "republication",
        v1::EventKind::Held => "held",
        v1::EventKind::Contained => "contained",
    }
}

/// A label that is not known is read as RED, and one that is absent too.
pub(super) fn tlp(value: i32) -> &'static str {
    number(value).map_or(Tlp::Red, Tlp::from_number_or_red).as_str()
}

pub(super) fn caveat_names(caveats: v1::Caveats) -> Vec<String> {
    shown::caveats(caveats).names().map(str::to_owned).collect()
}

pub(super) fn number(value: i32) -> Option<u8> {
    u8::try_from(value).ok().filter(|&number| number > 0)
}

/// The slug in the name of an organisation.
pub(super) fn slug(name: &str) -> &str {
    name.strip_prefix("organisations/").unwrap_or(name)
}

/// A moment as RFC 3339; `None` for none, or for one before 1970.
pub(super) fn time(at: Option<prost_types::Timestamp>) -> Option<String> {
    let at = at?;
    let seconds = u64::try_from(at.seconds).ok()?;
    let micros = u64::try_from(at.nanos).ok()? / 1_000;
    Timestamp::from_micros(seconds.checked_mul(1_000_000)?.checked_add(micros)?).map(|at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indicator() -> v1::Indicator {
        v1::Indicator {
            name: "indicators/x".into(),
            observable: Some(v1::Observable {
                value: Some(v1::observable::Value::File(v1::FileHashes {
                    md5: "d41d8cd98f00b204e9800998ecf8427e".into(),
                    sha1: String::new(),
                    sha256: "e3b0".into(),
                    sha512: String::new(),
                })),
            }),
            marking: Some(v1::Marking {
                tlp: 3,
                organisations: vec!["organisations/pa05".into()],
                ..v1::Marking::default()
            }),
            owner: "organisations/sa-ict".into(),
            confidence: Some(0),
            state: 2,
            version: 5,
            revocation: Some(v1::Revocation { reason: 1, note: String::new(), revoke_time: None }),
            valid_until: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            ..v1::Indicator::default()
        }
    }

    #[test]
    fn an_event_reads_as_one_flat_object() {
        let event = event(
            v1::EventKind::Revoked,
            v1::Event {
                event_id: vec![0xab, 0x01].into(),
                subject: Some(v1::event::Subject::Indicator(indicator())),
            },
            false,
        );
        assert_eq!(
            serde_json::to_string(&event.unwrap()).unwrap(),
            r#"{"event_id":"ab01","event":"revoked","name":"indicators/x","value":"e3b0","kind":"sha256","md5":"d41d8cd98f00b204e9800998ecf8427e","tlp":"TLP:AMBER","to":["pa05"],"confidence":0,"valid_until":"1970-01-01T00:00:01Z","owner":"sa-ict","state":"revoked","version":5,"revocation":{"reason":"false-positive"}}"#
        );
    }

    #[test]
    fn a_marking_is_told_in_full() {
        let marking = v1::Marking {
            tlp: 4,
            organisations: vec!["organisations/pa05".into()],
            groups: vec!["groups/ung-cuu".into()],
            principals: vec!["spiffe://hub.example/org/a/user/an".into()],
            caveats: Some(v1::Caveats {
                watch_do_not_block: true,
                no_onward_feed: true,
                ..v1::Caveats::default()
            }),
        };
        let given = v1::Indicator {
            marking: Some(marking),
            published_by: "organisations/giam-sat".into(),
            republication_of: "indicators/y".into(),
            labels: vec!["c2".into()],
            role: 1,
            family: "Họ A".into(),
            campaign: "hè".into(),
            attack_techniques: vec!["T1566".into()],
            ..indicator()
        };
        let record = Record::of(given);
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["tlp"], "TLP:AMBER+STRICT");
        assert_eq!(json["to"], serde_json::json!(["pa05"]));
        assert_eq!(json["to_groups"], serde_json::json!(["ung-cuu"]));
        assert_eq!(json["to_persons"], serde_json::json!(["spiffe://hub.example/org/a/user/an"]));
        assert_eq!(json["caveats"], serde_json::json!(["watch-do-not-block", "no-onward-feed"]));
        assert_eq!(
            (&json["published_by"], &json["republication_of"]),
            (&"giam-sat".into(), &"indicators/y".into())
        );
        assert_eq!(
            (&json["role"], &json["family"], &json["campaign"]),
            (&"victim".into(), &"Họ A".into(), &"hè".into())
        );
        assert_eq!(json["techniques"], serde_json::json!(["T1566"]));
        assert_eq!(
            record.columns(Language::En)[6],
            "victim  Họ A  [c2]  → pa05, groups/ung-cuu, spiffe://hub.example/org/a/user/an  (watch-do-not-block, no-onward-feed)"
        );
        assert_eq!(record.columns(Language::Vi)[..2], ["sha256", "TLP:AMBER+STRICT"]);
    }

    #[test]
    fn an_owner_who_is_not_told_is_called_masked() {
        let caveats = v1::Caveats { masked_source: true, ..v1::Caveats::default() };
        let marking = Some(v1::Marking { caveats: Some(caveats), ..v1::Marking::default() });
        let masked = v1::Indicator { owner: String::new(), marking, ..indicator() };
        let masked = Record::of(masked);
        let owner = |language| masked.columns(language)[2].clone();
        assert_eq!(
            (owner(Language::En), owner(Language::Vi)),
            ("source masked".into(), "nguồn được ẩn".into())
        );
    }

    #[test]
    fn a_label_that_is_not_known_is_read_as_red() {
        for number in [0, 6, -1, 1_000] {
            let marking = v1::Marking { tlp: number, ..v1::Marking::default() };
            let record = Record::of(v1::Indicator { marking: Some(marking), ..indicator() });
            assert_eq!(record.row.said.tlp.as_deref(), Some("TLP:RED"), "{number}");
        }
    }

    #[test]
    fn a_withdrawn_indicator_brings_its_name_only() {
        let bare = v1::Indicator { name: "indicators/x".into(), ..v1::Indicator::default() };
        let event =
            v1::Event { event_id: vec![1].into(), subject: Some(v1::event::Subject::Indicator(bare)) };
        let json =
            serde_json::to_value(super::event(v1::EventKind::Withdrawn, event, true).unwrap()).unwrap();
        assert_eq!((&json["event"], &json["recall"]), (&"withdrawn".into(), &true.into()));
        assert!(json.get("tlp").is_none() && json.get("value").is_none(), "{json}");
    }
}
