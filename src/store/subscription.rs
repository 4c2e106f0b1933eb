//! Decides how a named subscription and its cursor are stored.

use prost::Message as _;

use crate::base::clock::Timestamp;
use crate::base::digest;
use crate::model::audience::ClassNo;
use crate::model::indicator::{Kind, Role};
use crate::model::marking::Tlp;
use crate::model::org::{OrgNo, OrgSlug};
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::model::query::IndicatorFilter;
use crate::model::reached::{Reached, Step};

use super::db::Error;
use super::proto;

/// Whose named subscription it is, and which: TLP:RED is for persons, so a name
/// belongs to one of them, not to the organisation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionKey {
    /// The principal's organisation.
    pub org: OrgNo,
    /// Who opened it first, and nobody else since.
    pub principal: SpiffeId,
    /// Its name, the last segment of the resource name.
    pub name: String,
}

/// A named subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Which indicators it wants.
    pub filter: IndicatorFilter,
    /// Whether it also wants sightings.
    pub sightings: bool,
    /// Whether it also wants notices.
    pub notices: bool,
    /// When it was created.
    pub created: Timestamp,
    /// Everything at or before it is the subscriber's: where it was first
    /// opened, then where it was last acknowledged.
    pub cursor: Reached,
    /// When it was last acknowledged; `None`: never.
    pub acked: Option<Timestamp>,
}

impl Subscription {
    /// Encodes the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (stage, step) = self.cursor.number();
        proto::Subscription {
            filter: Some(encode_filter(&self.filter)),
            include_sightings: self.sightings,
            include_notices: self.notices,
            create_time: self.created.as_micros(),
            cursor: self.cursor.position.raw(),
            ack_time: self.acked.map_or(0, Timestamp::as_micros),
            stage: u32::from(stage),
            stage_after: step.after.raw(),
            stage_class: step.class.0,
        }
        .encode_to_vec()
    }

    /// Decodes the record.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Self, Error> {
        let damaged = || Error::corrupt("subscription", name);
        let stored = proto::Subscription::decode(bytes).map_err(|_| damaged())?;
        let time = |micros| (micros != 0).then(|| Timestamp::from_micros_clamped(micros));
        let step = Step { class: ClassNo(stored.stage_class), after: Position::from_raw(stored.stage_after) };
        let cursor = u8::try_from(stored.stage)
            .ok()
            .and_then(|stage| Reached::from_number(Position::from_raw(stored.cursor), stage, step));
        Ok(Self {
            filter: decode_filter(&stored.filter.unwrap_or_default()).ok_or_else(damaged)?,
            sightings: stored.include_sightings,
            notices: stored.include_notices,
            created: Timestamp::from_micros_clamped(stored.create_time),
            cursor: cursor.ok_or_else(damaged)?,
            acked: time(stored.ack_time),
        })
    }
}

fn encode_filter(filter: &IndicatorFilter) -> proto::Filter {
    proto::Filter {
        kinds: filter.kinds.iter().map(|kind| u32::from(kind.number())).collect(),
        owners: filter.owners.iter().map(ToString::to_string).collect(),
        labels: filter.labels.clone(),
        tlps: filter.tlps.iter().map(|tlp| u32::from(tlp.number())).collect(),
        roles: filter.roles.iter().map(|role| u32::from(role.number())).collect(),
        families: filter.families.clone(),
        campaigns: filter.campaigns.clone(),
        techniques: filter.techniques.clone(),
        own_assets: filter.own_assets,
    }
}

fn decode_filter(stored: &proto::Filter) -> Option<IndicatorFilter> {
    Some(IndicatorFilter {
        kinds: stored
            .kinds
            .iter()
            .map(|&kind| Kind::from_number(u8::try_from(kind).ok()?))
            .collect::<Option<_>>()?,
        owners: stored.owners.iter().map(|slug| OrgSlug::parse(slug).ok()).collect::<Option<_>>()?,
        labels: stored.labels.clone(),
        tlps: stored
            .tlps
            .iter()
            .map(|&tlp| u8::try_from(tlp).ok().map(Tlp::from_number_or_red))
            .collect::<Option<_>>()?,
        roles: stored
            .roles
            .iter()
            .map(|&role| Role::from_number(u8::try_from(role).ok()?))
            .collect::<Option<_>>()?,
        families: stored.families.clone(),
        campaigns: stored.campaigns.clone(),
        techniques: stored.techniques.clone(),
        own_assets: stored.own_assets,
        ..IndicatorFilter::default()
    })
}

/// Digest of what a subscription asks for, which its tokens are bound to.
#[must_use]
pub fn filter_digest(filter: &IndicatorFilter, sightings: bool, notices: bool) -> [u8; 32] {
    let mut encoded = encode_filter(filter).encode_to_vec();
    encoded.push(u8::from(sightings) | u8::from(notices) << 1);
    digest::sha256(&encoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reached::{Stage, Together};

    #[test]
    fn a_subscription_decodes_to_what_was_encoded() {
        let filter = IndicatorFilter {
            kinds: vec![Kind::Domain, Kind::Sha256],
            owners: vec![OrgSlug::parse("ca-hanoi").unwrap()],
            labels: vec!["phishing".into()],
            tlps: vec![Tlp::Green],
            roles: vec![Role::Victim, Role::Sink],
            families: vec!["Họ A".into()],
            campaigns: vec!["Hè 2026".into()],
            techniques: vec!["T1566".into()],
            own_assets: true,
            ..IndicatorFilter::default()
        };
        let at = Timestamp::from_micros_clamped(1_700_000_000_000_000);
        let step = Step { class: ClassNo(3), after: Position::from_raw(5) };
        let stages = [Stage::Log, Stage::State(step), Stage::Changed(Together::new(7).unwrap(), step)];
        for (stage, acked) in stages.into_iter().flat_map(|stage| [(stage, None), (stage, Some(at))]) {
            let cursor = Reached { position: Position::from_raw(9), stage };
            let record = Subscription {
                filter: filter.clone(),
                sightings: true,
                notices: acked.is_some(),
                created: at,
                cursor,
                acked,
            };
            assert_eq!(Subscription::decode("s", &record.encode()).unwrap(), record);
        }
        let asked = [(false, false), (true, false), (false, true), (true, true)];
        let digests: std::collections::BTreeSet<_> =
            asked.map(|(sightings, notices)| filter_digest(&filter, sightings, notices)).into();
        assert_eq!(digests.len(), 4, "each asks for something else");
    }
}
