//! Decides what of encoded indicators and sightings a dossier weighs, and how
//! a dossier is told.

use prost::Message as _;

use crate::model::dossier::{Claim, Conflict, Kin, Met, Relative, Scored, Summary, Total};
use crate::model::indicator::{Kind, Observable, RecommendedAction, RevocationReason, Role, State};
use crate::model::org::OrgSlug;
use crate::model::sighting::Outcome;
use crate::wire::event;
use crate::wire::proto::v1;

use super::lookup::observable;
use super::{name, time};

/// What an encoded indicator says, as its reader is shown it; `None` if it is
/// damaged.
#[must_use]
pub fn claim(shown: &[u8]) -> Option<Claim> {
    let pb = v1::Indicator::decode(shown).ok()?;
    let at = |at: &Option<prost_types::Timestamp>| at.as_ref().and_then(event::timestamp);
    let revoked = pb.revocation.as_ref().and_then(|why| known(why.reason, RevocationReason::from_number));
    Some(Claim {
        id: name::read_indicator("name", &pb.name).ok()?,
        owner: organisation(&pb.owner)?,
        state: known(pb.state, State::from_number)?,
        revoked,
        confidence: pb.confidence.and_then(|confidence| u8::try_from(confidence).ok()),
        action: known(pb.recommended_action, RecommendedAction::from_number),
        role: known(pb.role, Role::from_number),
        republication: !pb.republication_of.is_empty(),
        first_seen: at(&pb.first_seen),
        last_seen: at(&pb.last_seen),
        created: at(&pb.create_time)?,
        added: crate::base::clock::Timestamp::from_micros_clamped(pb.version),
    })
}

/// What an encoded sighting says, as its reader is shown it, but for the kind
/// of who reported it; `None` if it is damaged.
#[must_use]
pub fn met(shown: &[u8]) -> Option<Met> {
    let pb = v1::Sighting::decode(shown).ok()?;
    let at = |at: &Option<prost_types::Timestamp>| at.as_ref().and_then(event::timestamp);
    Some(Met {
        indicator: name::read_indicator("indicator", &pb.indicator).ok()?,
        reporter: organisation(&pb.reporter)?,
        reporter_kind: String::new(),
        outcome: known(pb.outcome, Outcome::from_number)?,
        count: pb.sighted_count,
        first_seen: at(&pb.first_seen),
        last_seen: at(&pb.last_seen),
        recorded: at(&pb.create_time)?,
    })
}

/// What a stored indicator is about, and what it is said to belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The value, and its aliases.
    pub values: Vec<Observable>,
    /// The family of malware; empty if none is said.
    pub family: String,
    /// The campaign; empty if none is said.
    pub campaign: String,
}

/// Reads that of the body of an event; `None` if it is damaged.
#[must_use]
pub fn said(body: &[u8]) -> Option<Said> {
    let indicator = event::decode_indicator(body)?;
    let (value, aliases) = event::observables(&indicator)?;
    let values = std::iter::once(value).chain(aliases).collect();
    Some(Said { values, family: indicator.family, campaign: indicator.campaign })
}

/// The owner in a name; `None` if it is damaged.
fn organisation(name: &str) -> Option<Option<OrgSlug>> {
    if name.is_empty() {
        return Some(None);
    }
    name::read_organisation("", name).ok().map(Some)
}

fn known<T>(number: i32, from_number: impl FnOnce(u8) -> Option<T>) -> Option<T> {
    u8::try_from(number).ok().and_then(from_number)
}

/// The value that a dossier is about, and the other hashes of the same file.
#[must_use]
pub fn value(value: &Observable, aliases: &[Observable]) -> v1::Observable {
    if aliases.is_empty() {
        return observable(value);
    }
    let mut file = v1::FileHashes::default();
    for hash in aliases.iter().chain([value]) {
        let text = hash.to_string();
        match hash.kind() {
            Kind::Md5 => file.md5 = text,
            Kind::Sha1 => file.sha1 = text,
            Kind::Sha512 => file.sha512 = text,
            _ => file.sha256 = text,
        }
    }
    v1::Observable { value: Some(v1::observable::Value::File(file)) }
}

/// Tells what all of it comes to, in an answer that has the rest already.
#[must_use]
pub fn tell(
    answer: v1::GetObservableResponse,
    summary: Summary,
    related: Vec<Kin>,
) -> v1::GetObservableResponse {
    let Summary { owners, others, conflicts, first_seen, last_seen, first_published, totals, scored } =
        summary;
    v1::GetObservableResponse {
        corroboration: Some(v1::Corroboration {
            owners: owners.iter().map(name::organisation).collect(),
            others,
        }),
        conflicts: conflicts.into_iter().map(conflict).collect(),
        first_seen: first_seen.map(time::write),
        last_seen: last_seen.map(time::write),
        first_published: first_published.map(time::write),
        sightings: totals.into_iter().map(total).collect(),
        score: scored.map(score),
        related: related.into_iter().map(kin).collect(),
        ..answer
    }
}

fn conflict(Conflict { kind, indicators, against }: Conflict) -> v1::Conflict {
    let names = |ids: Vec<_>| ids.into_iter().map(name::indicator).collect();
    v1::Conflict { kind: kind.number().into(), indicators: names(indicators), against: names(against) }
}

fn total(Total { kind, day, outcome, count, reports }: Total) -> v1::SightingTotal {
    let (organisation_kind, day) = (kind, day.to_string());
    v1::SightingTotal {
        organisation_kind,
        day,
        outcome: outcome.number().into(),
        sighted_count: count,
        reports,
    }
}

fn score(Scored { score, sources, false_positives, heard, half_life_days }: Scored) -> v1::ObservableScore {
    v1::ObservableScore {
        value: score.value.into(),
        confidence: score.confidence.into(),
        freshness: score.freshness.into(),
        trust: score.trust.into(),
        sources,
        false_positives,
        half_life_days,
        heard_time: Some(time::write(heard)),
    }
}

fn kin(Kin { kinship, shared, values, more }: Kin) -> v1::RelatedGroup {
    let relative = |Relative { value, id, state }: Relative| v1::RelatedObservable {
        observable: Some(observable(&value)),
        name: name::indicator(id),
        state: state.number().into(),
    };
    let values = values.into_iter().map(relative).collect();
    v1::RelatedGroup { relation: kinship.number().into(), shared, values, more }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::dossier::{ConflictKind, Kinship};
    use crate::model::indicator::wider::Relation;

    #[test]
    fn the_sets_of_the_contract_and_of_the_model_are_numbered_alike() {
        let upper = |name: &str| name.to_uppercase().replace('-', "_");
        for kinship in Kinship::ALL {
            let contract = v1::ObservableRelation::try_from(i32::from(kinship.number())).unwrap();
            assert_eq!(contract.as_str_name(), format!("OBSERVABLE_RELATION_{}", upper(kinship.as_str())));
        }
        assert!(v1::ObservableRelation::try_from(11).is_err());
        for kind in ConflictKind::ALL {
            let contract = v1::ConflictKind::try_from(i32::from(kind.number())).unwrap();
            assert_eq!(contract.as_str_name(), format!("CONFLICT_KIND_{}", upper(kind.as_str())));
        }
        assert!(v1::ConflictKind::try_from(4).is_err());
        for relation in Relation::ALL.iter().filter(|relation| **relation != Relation::Exact) {
            let kinship = Kinship::from_number(relation.number()).unwrap();
            assert_eq!(kinship.as_str(), relation.as_str());
        }
    }

    #[test]
    fn a_masked_owner_is_none_and_a_damaged_one_is_damage() {
        let pb = v1::Indicator {
            name: "indicators/0f9c5a3e-5c1f-4a7b-9d53-2f6f0f3f8a11".into(),
            state: 1,
            create_time: Some(prost_types::Timestamp::default()),
            version: 7,
            confidence: Some(30),
            ..v1::Indicator::default()
        };
        let read = claim(&pb.encode_to_vec()).unwrap();
        assert_eq!((read.owner, read.confidence, read.role), (None, Some(30), None));
        assert_eq!(read.added.as_micros(), 7);
        let named = |owner: &str| v1::Indicator { owner: owner.into(), ..pb.clone() }.encode_to_vec();
        assert_eq!(claim(&named("organisations/a")).unwrap().owner, OrgSlug::parse("a").ok());
        assert_eq!(claim(&named("a")), None);
    }
}
