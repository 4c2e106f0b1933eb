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
    /// Its value, and other hashes of the same file.
    pub values: Values,
    /// What it says in numbers.
    pub numbers: Numbers,
    /// What it says in words.
    pub texts: Texts,
    /// Techniques of ATT&CK.
    pub techniques: Vec<String>,
}

/// What a version is about.
#[derive(Debug, Clone)]
pub struct Values {
    /// Its value.
    pub value: Observable,
    /// Other hashes of the same file.
    pub aliases: Vec<Observable>,
}

/// What a version says in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers {
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
}

/// What a version says in words, which is one part of
/// `luytre.v1.Indicator`: all other fields are passed over.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Texts {
    /// Labels.
    #[prost(string, repeated, tag = "5")]
    pub labels: Vec<String>,
    /// Description.
    #[prost(string, tag = "7")]
    pub description: String,
    /// Family of malware.
    #[prost(string, tag = "14")]
    pub family: String,
    /// Campaign.
    #[prost(string, tag = "15")]
    pub campaign: String,
}

/// The fields of `luytre.v1.Indicator` that are numbers; all others are passed
/// over.
#[derive(Clone, PartialEq, prost::Message)]
struct Numbered {
    #[prost(uint32, optional, tag = "6")]
    confidence: Option<u32>,
    #[prost(message, optional, tag = "8")]
    valid_from: Option<prost_types::Timestamp>,
    #[prost(message, optional, tag = "9")]
    valid_until: Option<prost_types::Timestamp>,
    #[prost(message, optional, tag = "10")]
    first_seen: Option<prost_types::Timestamp>,
    #[prost(message, optional, tag = "11")]
    last_seen: Option<prost_types::Timestamp>,
    #[prost(int32, tag = "12")]
    recommended_action: i32,
    #[prost(message, optional, tag = "23")]
    create_time: Option<prost_types::Timestamp>,
}

/// The one field of `luytre.v1.Indicator` that says what it is about; all others
/// are passed over.
#[derive(Clone, PartialEq, prost::Message)]
struct Valued {
    #[prost(message, optional, tag = "2")]
    observable: Option<v1::Observable>,
}

/// The techniques of `luytre.v1.Indicator`; all other fields are passed over.
#[derive(Clone, PartialEq, prost::Message)]
struct Attack {
    #[prost(string, repeated, tag = "16")]
    techniques: Vec<String>,
}

impl Values {
    /// The value and its aliases.
    pub fn iter(&self) -> impl Iterator<Item = &Observable> {
        std::iter::once(&self.value).chain(&self.aliases)
    }
}

impl Texts {
    /// What is searched for words, in the order in which they are counted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let labels = self.labels.iter().map(String::as_str);
        labels.chain([self.family.as_str(), &self.campaign, &self.description])
    }
}

/// Reads the version in a body; `None` if it is damaged.
#[must_use]
pub fn read(body: &[u8]) -> Option<Facts> {
    let techniques = Attack::decode(event::subject(body)?).ok()?.techniques;
    Some(Facts { values: values(body)?, numbers: numbers(body)?, texts: texts(body)?, techniques })
}

/// What the version in a body is about; `None` if it is damaged.
#[must_use]
pub fn values(body: &[u8]) -> Option<Values> {
    let stored = Valued::decode(event::subject(body)?).ok()?.observable?;
    let (value, aliases) = event::stored_observables(stored)?;
    Some(Values { value, aliases })
}

/// What the version in a body says in numbers; `None` if it is damaged.
#[must_use]
pub fn numbers(body: &[u8]) -> Option<Numbers> {
    let said = Numbered::decode(event::subject(body)?).ok()?;
    let at = |pb: &Option<prost_types::Timestamp>| pb.as_ref().and_then(event::timestamp);
    Some(Numbers {
        confidence: said.confidence.and_then(|confidence| u8::try_from(confidence).ok()),
        action: u8::try_from(said.recommended_action).ok().and_then(RecommendedAction::from_number),
        valid_from: at(&said.valid_from),
        valid_until: at(&said.valid_until),
        first_seen: at(&said.first_seen),
        last_seen: at(&said.last_seen),
        created: at(&said.create_time)?,
    })
}

/// What the version in a body says in words; `None` if it is damaged.
#[must_use]
pub fn texts(body: &[u8]) -> Option<Texts> {
    Texts::decode(event::subject(body)?).ok()
}

/// What the sighting in a body says; `None` if it is damaged.
#[must_use]
pub fn outcome(body: &[u8]) -> Option<Outcome> {
    let sighting = v1::Sighting::decode(event::subject(body)?).ok()?;
    Outcome::from_number(u8::try_from(sighting.outcome).ok()?)
}
