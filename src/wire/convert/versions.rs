//! Decides how two versions of an indicator differ, field by field: in what
//! one reader is shown of both, and so in nothing that he is not.

use std::fmt::Display;

use crate::base::clock::Timestamp;
use crate::model::event::VersionChange;
use crate::model::indicator::{RecommendedAction, RevocationReason, Role, State};
use crate::model::marking::Tlp;
use crate::wire::event;
use crate::wire::observable::{Spelt, spelt};
use crate::wire::proto::v1;

use super::time;

/// Longest text of a field, in bytes.
pub const MAX_TEXT_BYTES: usize = 1_024;
const ELLIPSIS: &str = "…";

/// Tells of a version, beside the one before it that the reader knows.
#[must_use]
pub fn write(
    indicator: v1::Indicator,
    before: Option<v1::Indicator>,
    change: VersionChange,
    at: Timestamp,
) -> v1::IndicatorVersion {
    let compared_to = before.as_ref().map_or(0, |before| before.version);
    let changes = before.map(|before| differences(before, &indicator)).unwrap_or_default();
    v1::IndicatorVersion {
        indicator: Some(indicator),
        change: change.number().into(),
        time: Some(time::write(at)),
        compared_to,
        changes,
    }
}

/// The fields in which two versions differ, in the order of the contract.
#[must_use]
pub fn differences(before: v1::Indicator, after: &v1::Indicator) -> Vec<v1::FieldChange> {
    let (before, after) = (fields(before), fields(after.clone()));
    let pairs = before.into_iter().zip(after).filter(|((_, before), (_, after))| before != after);
    pairs
        .map(|((field, before), (_, after))| v1::FieldChange {
            field: field.to_owned(),
            before: bounded(before),
            after: bounded(after),
        })
        .collect()
}

/// Every field that a version may change, as text; always the same in the same
/// order.
fn fields(indicator: v1::Indicator) -> Vec<(&'static str, String)> {
    let v1::Indicator {
        // The same in all versions, or another in each.
        name: _,
        version: _,
        create_time: _,
        observable,
        marking,
        raw_value,
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
        owner,
        state,
        revocation,
        reinstatement,
        published_by,
        republication_of,
    } = indicator;
    let v1::Marking { tlp, organisations, groups, principals, caveats } = marking.unwrap_or_default();
    let v1::Revocation { reason, note, revoke_time } = revocation.unwrap_or_default();
    let mut fields = values(observable);
    fields.extend([
        (
            "marking.tlp",
            u8::try_from(tlp).map(|tlp| Tlp::from_number_or_red(tlp).as_str().to_owned()).unwrap_or_default(),
        ),
        ("marking.organisations", lines(organisations)),
        ("marking.groups", lines(groups)),
        ("marking.principals", lines(principals)),
        ("marking.caveats", caveat_names(caveats.unwrap_or_default())),
        ("raw_value", raw_value),
        ("labels", lines(labels)),
        ("confidence", shown(confidence)),
        ("description", description),
        ("valid_from", moment(valid_from)),
        ("valid_until", moment(valid_until)),
        ("first_seen", moment(first_seen)),
        ("last_seen", moment(last_seen)),
        (
            "recommended_action",
            named(recommended_action, |n| RecommendedAction::from_number(n).map(RecommendedAction::as_str)),
        ),
        ("role", named(role, |n| Role::from_number(n).map(Role::as_str))),
        ("family", family),
        ("campaign", campaign),
        ("attack_techniques", lines(attack_techniques)),
        ("owner", owner),
        ("state", named(state, |n| State::from_number(n).map(State::as_str))),
        (
            "revocation.reason",
            named(reason, |n| RevocationReason::from_number(n).map(RevocationReason::as_str)),
        ),
        ("revocation.note", note),
        ("revocation.revoke_time", moment(revoke_time)),
        ("reinstatement.reason", reinstatement.map(|why| why.reason).unwrap_or_default()),
        ("published_by", published_by),
        ("republication_of", republication_of),
    ]);
    fields
}

fn values(observable: Option<v1::Observable>) -> Vec<(&'static str, String)> {
    let mut file = v1::FileHashes::default();
    let mut value = String::new();
    match observable.and_then(|observable| observable.value).map(spelt) {
        Some(Spelt::Text(_, text)) => value = text,
        Some(Spelt::File(hashes)) => file = hashes,
        None => {}
    }
    let v1::FileHashes { md5, sha1, sha256, sha512 } = file;
    vec![
        ("observable", value),
        ("observable.file.md5", md5),
        ("observable.file.sha1", sha1),
        ("observable.file.sha256", sha256),
        ("observable.file.sha512", sha512),
    ]
}

fn caveat_names(caveats: v1::Caveats) -> String {
    let v1::Caveats { watch_do_not_block, providers_may_read, masked_source, no_onward_feed } = caveats;
    let all = [
        (watch_do_not_block, "watch_do_not_block"),
        (providers_may_read, "providers_may_read"),
        (masked_source, "masked_source"),
        (no_onward_feed, "no_onward_feed"),
    ];
    lines(all.into_iter().filter(|(set, _)| *set).map(|(_, name)| name.to_owned()).collect())
}

fn lines(members: Vec<String>) -> String {
    members.join("\n")
}

fn shown(value: Option<impl Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn moment(at: Option<prost_types::Timestamp>) -> String {
    shown(at.as_ref().and_then(event::timestamp))
}

fn named(number: i32, name: impl FnOnce(u8) -> Option<&'static str>) -> String {
    match number {
        0 => String::new(),
        number => u8::try_from(number).ok().and_then(name).unwrap_or("unknown").to_owned(),
    }
}

/// A text that is cut where it is too long.
fn bounded(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let mut end = MAX_TEXT_BYTES - ELLIPSIS.len();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(ELLIPSIS);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(description: &str) -> v1::Indicator {
        let value = v1::observable::Value::Domain("a.example".into());
        v1::Indicator {
            name: "indicators/x".into(),
            observable: Some(v1::Observable { value: Some(value) }),
            marking: Some(v1::Marking { tlp: 2, ..v1::Marking::default() }),
            description: description.into(),
            state: 1,
            version: 5,
            ..v1::Indicator::default()
        }
    }

    fn changes(before: v1::Indicator, after: v1::Indicator) -> Vec<(String, String, String)> {
        let changes = differences(before, &after).into_iter();
        changes.map(|v1::FieldChange { field, before, after }| (field, before, after)).collect()
    }

    fn change(field: &str, before: &str, after: &str) -> (String, String, String) {
        (field.to_owned(), before.to_owned(), after.to_owned())
    }

    #[test]
    fn versions_differ_by_the_fields_that_changed_and_by_no_other() {
        assert_eq!(changes(version("a"), v1::Indicator { version: 6, ..version("a") }), []);
        let marking = v1::Marking {
            tlp: 3,
            organisations: vec!["organisations/a".into(), "organisations/b".into()],
            caveats: Some(v1::Caveats { no_onward_feed: true, ..v1::Caveats::default() }),
            ..v1::Marking::default()
        };
        let after = v1::Indicator {
            marking: Some(marking),
            confidence: Some(0),
            recommended_action: 2,
            valid_until: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            state: 2,
            revocation: Some(v1::Revocation { reason: 1, note: "n".into(), revoke_time: None }),
            ..version("b")
        };
        assert_eq!(
            changes(version("a"), after),
            [
                change("marking.tlp", "TLP:GREEN", "TLP:AMBER"),
                change("marking.organisations", "", "organisations/a\norganisations/b"),
                change("marking.caveats", "", "no_onward_feed"),
                change("confidence", "", "0"),
                change("description", "a", "b"),
                change("valid_until", "", "1970-01-01T00:00:01Z"),
                change("recommended_action", "", "block"),
                change("state", "active", "revoked"),
                change("revocation.reason", "", "false-positive"),
                change("revocation.note", "", "n"),
            ]
        );
    }

    #[test]
    fn a_hash_more_is_a_change_of_that_hash() {
        let file = |sha1: &str| {
            let file = v1::FileHashes { md5: "a".into(), sha1: sha1.into(), ..v1::FileHashes::default() };
            let value = Some(v1::observable::Value::File(file));
            v1::Indicator { observable: Some(v1::Observable { value }), ..version("") }
        };
        assert_eq!(changes(file(""), file("b")), [change("observable.file.sha1", "", "b")]);
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let long = "ữ".repeat(1_000);
        let [(_, before, after)]: [_; 1] = changes(version(&long), version("")).try_into().unwrap();
        assert!(
            before.len() <= MAX_TEXT_BYTES && before.len() > MAX_TEXT_BYTES - 4 && before.ends_with("ữ…")
        );
        assert_eq!(after, "");
        let full = "a".repeat(MAX_TEXT_BYTES);
        assert_eq!(changes(version(&full), version(""))[0].1, full);
    }

    #[test]
    fn a_version_says_to_which_it_is_compared() {
        let at = Timestamp::from_micros_clamped(6);
        let told = write(version("b"), Some(version("a")), VersionChange::Updated, at);
        assert_eq!((told.compared_to, told.changes.len(), told.change), (5, 1, 2));
        let first = write(version("b"), None, VersionChange::Created, at);
        assert_eq!((first.compared_to, first.changes.len(), first.change), (0, 0, 1));
        for change in VersionChange::ALL {
            let contract = v1::VersionChange::try_from(i32::from(change.number())).unwrap();
            assert_eq!(contract.as_str_name(), format!("VERSION_CHANGE_{}", change.as_str().to_uppercase()));
        }
    }
}
