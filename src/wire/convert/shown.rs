//! Decides how an indicator of the public contract reads, from a hub of
//! whatever release: a label that is not known is RED, and a set that grew has
//! members that are not known.

use prost::Message as _;

use crate::base::clock::Timestamp;
use crate::model::indicator::shown::{Hashes, Revoked, Told};
use crate::model::indicator::{RecommendedAction, RevocationReason, Role, Shown, State};
use crate::model::marking::{Caveats, Tlp};
use crate::wire::event::timestamp;
use crate::wire::observable::flat;
use crate::wire::proto::v1;

/// Reads an encoded indicator; `None` if it is damaged.
#[must_use]
pub fn decode(encoded: &[u8]) -> Option<Shown> {
    v1::Indicator::decode(encoded).ok().map(read)
}

/// Reads an indicator.
#[must_use]
pub fn read(indicator: v1::Indicator) -> Shown {
    let (kind, value, others) = flat(indicator.observable);
    let v1::FileHashes { md5, sha1, sha256, sha512 } = others;
    let label = indicator.marking.as_ref().map(|marking| marking.tlp);
    let v1::Marking { tlp: _, organisations, groups, principals, caveats } =
        indicator.marking.unwrap_or_default();
    // Without a value there is nothing to protect; with one, silence is RED.
    let label = label.or_else(|| (!value.is_empty()).then_some(0));
    Shown {
        name: indicator.name,
        kind,
        others: Hashes { md5, sha1, sha256, sha512 },
        raw: indicator.raw_value,
        tlp: label.map(tlp),
        organisations: organisations.iter().map(|name| slug(name)).collect(),
        groups: groups.iter().map(|name| name.strip_prefix("groups/").unwrap_or(name).to_owned()).collect(),
        principals,
        caveats: caveats.map(self::caveats).unwrap_or_default(),
        labels: indicator.labels,
        confidence: indicator.confidence.and_then(|confidence| u8::try_from(confidence).ok()),
        description: indicator.description,
        valid_from: time(indicator.valid_from.as_ref()),
        valid_until: time(indicator.valid_until.as_ref()),
        first_seen: time(indicator.first_seen.as_ref()),
        last_seen: time(indicator.last_seen.as_ref()),
        action: number(indicator.recommended_action).and_then(RecommendedAction::from_number),
        role: number(indicator.role).and_then(Role::from_number),
        family: indicator.family,
        campaign: indicator.campaign,
        techniques: indicator.attack_techniques,
        owner: slug(&indicator.owner),
        published_by: slug(&indicator.published_by),
        republication_of: indicator.republication_of,
        state: Told::from_number(indicator.state, State::from_number),
        version: indicator.version,
        create_time: time(indicator.create_time.as_ref()),
        revoked: indicator.revocation.map(|revocation| Revoked {
            reason: Told::from_number(revocation.reason, RevocationReason::from_number),
            note: revocation.note,
            time: time(revocation.revoke_time.as_ref()),
        }),
        value,
    }
}

/// A label that is not known is read as RED, and one that is absent too.
fn tlp(value: i32) -> Tlp {
    number(value).map_or(Tlp::Red, Tlp::from_number_or_red)
}

/// Reads what the source adds to a marking.
#[must_use]
pub fn caveats(caveats: v1::Caveats) -> Caveats {
    let v1::Caveats { watch_do_not_block, providers_may_read, masked_source, no_onward_feed } = caveats;
    [
        (watch_do_not_block, Caveats::WATCH_DO_NOT_BLOCK),
        (providers_may_read, Caveats::PROVIDERS_MAY_READ),
        (masked_source, Caveats::MASKED_SOURCE),
        (no_onward_feed, Caveats::NO_ONWARD_FEED),
    ]
    .into_iter()
    .filter(|(given, _)| *given)
    .fold(Caveats::NONE, |all, (_, caveat)| all.with(caveat))
}

fn number(value: i32) -> Option<u8> {
    u8::try_from(value).ok().filter(|&number| number > 0)
}

/// The slug in the name of an organisation.
fn slug(name: &str) -> String {
    name.strip_prefix("organisations/").unwrap_or(name).to_owned()
}

fn time(at: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    timestamp(at?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_that_is_not_known_is_read_as_red() {
        let observable = Some(crate::wire::observable::of_text(None, "a.example".to_owned()));
        for number in [0, 6, -1, 1_000] {
            let marking = v1::Marking { tlp: number, ..v1::Marking::default() };
            let shown = read(v1::Indicator { marking: Some(marking), ..v1::Indicator::default() });
            assert_eq!(shown.tlp, Some(Tlp::Red), "{number}");
        }
        assert_eq!(read(v1::Indicator { observable, ..v1::Indicator::default() }).tlp, Some(Tlp::Red));
        assert_eq!(read(v1::Indicator::default()).tlp, None);
    }

    #[test]
    fn what_a_later_release_says_is_unknown_and_not_wrong() {
        let later = v1::Indicator { state: 99, role: 99, recommended_action: 99, ..v1::Indicator::default() };
        let shown = read(later);
        assert_eq!((shown.state, shown.role, shown.action), (Told::Unknown, None, None));
        assert_eq!(decode(&[0xff]), None);
    }
}
