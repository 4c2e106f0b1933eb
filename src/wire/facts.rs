//! Decides what of a stored version is read to hold it against a question.

use prost::Message as _;

use crate::base::clock::Timestamp;
use crate::model::indicator::{Observable, RecommendedAction};
use crate::model::sighting::Outcome;

use super::event;
use super::proto::v1;

/// What a version says, beside its header.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Its value.
    pub value: Observable,
    /// Other hashes of the same file.
    pub aliases: Vec<Observable>,
    /// Confidence.
    pub confidence: Option<u8>,
    /// What its producer recommends.
    pub action: Option<RecommendedAction>,
    /// From when on it holds.
    pub valid_from: Option<Timestamp>,
    /// Until when it holds.
    pub valid_until: Option<Timestamp>,
    /// When it was first seen.
    pub first_seen: Option<Timestamp>,
    /// When it was last seen.
    pub last_seen: Option<Timestamp>,
    /// When the first version was published.
    pub created: Timestamp,
    /// Description.
    pub description: String,
    /// Labels.
    pub labels: Vec<String>,
    /// Family of malware.
    pub family: String,
    /// Campaign.
    pub campaign: String,
    /// Techniques of ATT&CK.
    pub techniques: Vec<String>,
}

impl Facts {
    /// The value and its aliases.
    pub fn values(&self) -> impl Iterator<Item = &Observable> {
        std::iter::once(&self.value).chain(&self.aliases)
    }

    /// What is searched for words, in the order in which they are counted.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let labels = self.labels.iter().map(String::as_str);
        labels.chain([self.family.as_str(), &self.campaign, &self.description])
    }
}

/// Reads the version in a body; `None` if it is damaged.
#[must_use]
pub fn read(body: &[u8]) -> Option<Facts> {
    let indicator = event::decode_indicator(body)?;
    let (value, aliases) = event::observables(&indicator)?;
    let at = |pb: &Option<prost_types::Timestamp>| pb.as_ref().and_then(event::timestamp);
    Some(Facts {
        value,
        aliases,
        confidence: indicator.confidence.and_then(|confidence| u8::try_from(confidence).ok()),
        action: u8::try_from(indicator.recommended_action).ok().and_then(RecommendedAction::from_number),
        valid_from: at(&indicator.valid_from),
        valid_until: at(&indicator.valid_until),
        first_seen: at(&indicator.first_seen),
        last_seen: at(&indicator.last_seen),
        created: at(&indicator.create_time)?,
        description: indicator.description,
        labels: indicator.labels,
        family: indicator.family,
        campaign: indicator.campaign,
        techniques: indicator.attack_techniques,
    })
}

/// What the sighting in a body says; `None` if it is damaged.
#[must_use]
pub fn outcome(body: &[u8]) -> Option<Outcome> {
    let sighting = v1::Sighting::decode(event::subject(body)?).ok()?;
    Outcome::from_number(u8::try_from(sighting.outcome).ok()?)
}
