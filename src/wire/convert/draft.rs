//! Decides when a draft of an indicator is complete and within its bounds.

use crate::model::Invalid;
use crate::model::indicator::draft::{self, MAX_DESCRIPTION_BYTES, MAX_LABELS, MAX_NAME_BYTES};
use crate::model::indicator::lifecycle::MAX_NOTE_BYTES;
use crate::model::indicator::technique::MAX_TECHNIQUES;
use crate::model::indicator::{Draft, RecommendedAction, Role, technique};
use crate::wire::proto::v1;

use super::{marking, name, observable, text, time};

/// Reads a draft.
///
/// # Errors
/// The first field that is missing or out of bounds, the marking before all
/// else.
pub fn read(pb: v1::IndicatorDraft) -> Result<Draft, Invalid> {
    let v1::IndicatorDraft {
        observable,
        marking,
        labels,
        confidence,
        description,
        valid_from,
        valid_until,
        first_seen,
        last_seen,
        recommended_action,
        role,
        family,
        campaign,
        attack_techniques,
        republication_of,
        reinstate,
    } = pb;
    let marking = marking::read(marking).map_err(|invalid| invalid.under("marking"))?;
    let observable::Read { observable, aliases, raw } =
        observable::read(observable).map_err(|invalid| invalid.under("observable"))?;
    let (valid_from, valid_until) =
        time::open_span(("valid_from", valid_from), ("valid_until", valid_until))?;
    let (first_seen, last_seen) = time::span(("first_seen", first_seen), ("last_seen", last_seen))?;
    let (action, role) = (read_action(recommended_action)?, read_role(role)?);
    Role::check(role, action)?;
    Ok(Draft {
        observable,
        aliases,
        raw,
        marking,
        labels: read_labels(labels)?,
        confidence: read_confidence(confidence)?,
        description: text::bounded("description", description, MAX_DESCRIPTION_BYTES)?,
        valid_from,
        valid_until,
        first_seen,
        last_seen,
        action,
        role,
        family: text::name("family", family, MAX_NAME_BYTES)?,
        campaign: text::name("campaign", campaign, MAX_NAME_BYTES)?,
        techniques: read_techniques(attack_techniques)?,
        republication_of: (!republication_of.is_empty())
            .then(|| name::read_indicator("republication_of", &republication_of))
            .transpose()?,
        reinstate: reinstate
            .map(|v1::Reinstatement { reason }| text::required("reinstate.reason", reason, MAX_NOTE_BYTES))
            .transpose()?,
    })
}

/// Reads labels: each well-formed; sorted and without repeats.
///
/// # Errors
/// Too many, or the first that is not well-formed.
pub fn read_labels(mut labels: Vec<String>) -> Result<Vec<String>, Invalid> {
    if labels.len() > MAX_LABELS {
        return Err(Invalid::new("labels", format!("at most {MAX_LABELS}; these are {}", labels.len())));
    }
    for (i, label) in labels.iter().enumerate() {
        draft::check_label(label).map_err(|invalid| invalid.under(format_args!("labels[{i}]")))?;
    }
    labels.sort_unstable();
    labels.dedup();
    Ok(labels)
}

/// Reads techniques of ATT&CK: each well-formed; sorted and without repeats.
fn read_techniques(mut names: Vec<String>) -> Result<Vec<String>, Invalid> {
    if names.len() > MAX_TECHNIQUES {
        let problem = format!("at most {MAX_TECHNIQUES}; these are {}", names.len());
        return Err(Invalid::new("attack_techniques", problem));
    }
    for (i, name) in names.iter().enumerate() {
        technique::check(name).map_err(|invalid| invalid.under(format_args!("attack_techniques[{i}]")))?;
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn read_confidence(confidence: Option<u32>) -> Result<Option<u8>, Invalid> {
    match confidence.map(u8::try_from) {
        None => Ok(None),
        Some(Ok(value @ 0..=100)) => Ok(Some(value)),
        Some(_) => Err(Invalid::new("confidence", "0 to 100 (STIX 2.1, section 3.2)")),
    }
}

fn read_action(number: i32) -> Result<Option<RecommendedAction>, Invalid> {
    if number == 0 {
        return Ok(None);
    }
    super::known("recommended_action", number, RecommendedAction::from_number).map(Some)
}

fn read_role(number: i32) -> Result<Option<Role>, Invalid> {
    if number == 0 {
        return Ok(None);
    }
    super::known("role", number, Role::from_number).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::invalid::Reason;

    fn pb() -> v1::IndicatorDraft {
        v1::IndicatorDraft {
            observable: Some(v1::Observable {
                value: Some(v1::observable::Value::Ipv4("198.51.100.7".into())),
            }),
            marking: Some(v1::Marking { tlp: 2, ..Default::default() }),
            ..Default::default()
        }
    }

    fn field(pb: v1::IndicatorDraft) -> String {
        read(pb).unwrap_err().field
    }

    fn at(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    #[test]
    fn every_field_reaches_the_model() {
        let full = v1::IndicatorDraft {
            labels: vec!["phishing".into(), "botnet".into(), "phishing".into()],
            confidence: Some(0),
            description: "mô tả".into(),
            valid_from: at(1),
            valid_until: at(2),
            first_seen: at(3),
            last_seen: at(3),
            recommended_action: 2,
            role: 2,
            family: "Họ A".into(),
            campaign: "Hè 2026".into(),
            attack_techniques: vec!["T1566.001".into(), "T1059".into(), "T1566.001".into()],
            republication_of: "indicators/0f9c5a3e-5c1f-4a7b-9d53-2f6f0f3f8a11".into(),
            reinstate: Some(v1::Reinstatement { reason: "seen again".into() }),
            ..pb()
        };
        let draft = read(full).unwrap();
        assert_eq!(draft.labels, ["botnet", "phishing"]);
        assert_eq!(draft.confidence, Some(0));
        assert_eq!(draft.description, "mô tả");
        assert_eq!([draft.valid_from, draft.valid_until].map(|t| t.unwrap().as_seconds()), [1, 2]);
        assert_eq!([draft.first_seen, draft.last_seen].map(|t| t.unwrap().as_seconds()), [3, 3]);
        assert_eq!(draft.action, Some(RecommendedAction::Block));
        assert_eq!(draft.role, Some(Role::Infrastructure));
        assert_eq!((draft.family.as_str(), draft.campaign.as_str()), ("Họ A", "Hè 2026"));
        assert_eq!(draft.techniques, ["T1059", "T1566.001"]);
        assert_eq!(draft.republication_of.unwrap().to_string(), "0f9c5a3e-5c1f-4a7b-9d53-2f6f0f3f8a11");
        assert_eq!(draft.reinstate.as_deref(), Some("seen again"));
    }

    #[test]
    fn a_refusal_names_the_path_of_the_field() {
        assert_eq!(field(v1::IndicatorDraft { observable: None, ..pb() }), "observable");
        assert_eq!(
            field(v1::IndicatorDraft { marking: Some(v1::Marking::default()), ..pb() }),
            "marking.tlp"
        );
        assert_eq!(field(v1::IndicatorDraft { labels: vec!["a".into(), "B".into()], ..pb() }), "labels[1]");
        assert_eq!(field(v1::IndicatorDraft { labels: vec!["a".into(); 65], ..pb() }), "labels");
        let attack_techniques = vec!["T1566".into(), "phishing".into()];
        assert_eq!(field(v1::IndicatorDraft { attack_techniques, ..pb() }), "attack_techniques[1]");
        let attack_techniques = vec!["T1566".into(); 33];
        assert_eq!(field(v1::IndicatorDraft { attack_techniques, ..pb() }), "attack_techniques");
        assert_eq!(field(v1::IndicatorDraft { confidence: Some(101), ..pb() }), "confidence");
        assert_eq!(field(v1::IndicatorDraft { confidence: Some(256), ..pb() }), "confidence");
        assert_eq!(
            field(v1::IndicatorDraft { description: "a".repeat(16 * 1024 + 1), ..pb() }),
            "description"
        );
        assert_eq!(
            field(v1::IndicatorDraft { valid_from: at(2), valid_until: at(2), ..pb() }),
            "valid_until"
        );
        assert_eq!(field(v1::IndicatorDraft { first_seen: at(2), last_seen: at(1), ..pb() }), "last_seen");
        assert_eq!(field(v1::IndicatorDraft { recommended_action: 5, ..pb() }), "recommended_action");
        assert_eq!(field(v1::IndicatorDraft { republication_of: "x".into(), ..pb() }), "republication_of");
        assert_eq!(
            field(v1::IndicatorDraft { reinstate: Some(v1::Reinstatement::default()), ..pb() }),
            "reinstate.reason"
        );
    }

    #[test]
    fn a_victim_is_never_recommended_to_be_blocked() {
        let draft = |role, recommended_action| v1::IndicatorDraft { role, recommended_action, ..pb() };
        for action in [2, 4] {
            let invalid = read(draft(1, action)).unwrap_err();
            assert_eq!(invalid.field, "recommended_action");
            assert!(invalid.problem.contains("a victim is warned and helped"), "{invalid:?}");
            assert!(read(draft(2, action)).is_ok() && read(draft(0, action)).is_ok());
        }
        for action in [0, 1, 3] {
            assert_eq!(read(draft(1, action)).unwrap().role, Some(Role::Victim));
        }
        assert_eq!(field(draft(5, 0)), "role");
        assert_eq!(field(v1::IndicatorDraft { family: "a".repeat(129), ..pb() }), "family");
        assert_eq!(field(v1::IndicatorDraft { campaign: "a\nb".into(), ..pb() }), "campaign");
    }

    #[test]
    fn a_draft_without_a_marking_is_refused_before_its_value_is_read() {
        let invalid = read(v1::IndicatorDraft { marking: None, observable: None, ..pb() }).unwrap_err();
        assert_eq!((invalid.field.as_str(), invalid.reason), ("marking", Reason::MarkingRequired));
    }
}
