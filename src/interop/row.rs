//! Decides how an indicator reads as one flat object of JSON: what `publish`
//! reads, spelt the same, and what the hub adds of its own. It is the same in
//! every command and in every file.

use serde::Serialize;

use crate::base::clock::Timestamp;
use crate::model::indicator::shown::{Hashes, Revoked, Told};
use crate::model::indicator::{Kind, RecommendedAction, RevocationReason, Role, Shown, State};
use crate::model::marking::Tlp;

use super::jsonl;

/// An indicator as text.
#[derive(Default, Serialize)]
pub struct Row {
    /// Its resource name.
    pub name: String,
    /// What `publish` reads.
    #[serde(flatten)]
    pub said: jsonl::Record,
    /// Slug of its owner.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Slug of the organisation that published it on the owner's behalf.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub published_by: String,
    /// Resource name of the indicator of which it is a republication.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub republication_of: String,
    /// Where it stands.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub state: &'static str,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// When the first version was published, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_time: Option<String>,
    /// Why it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation: Option<Revocation>,
}

/// Why an indicator was revoked.
#[derive(Debug, Serialize)]
pub struct Revocation {
    /// The class of reason.
    pub reason: &'static str,
    /// Explanation.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// When, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

impl std::fmt::Debug for Row {
    /// The name only: values do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Row {
    /// An indicator as it is shown.
    #[must_use]
    pub fn of(shown: Shown) -> Self {
        let Hashes { md5, sha1, sha256, sha512 } = shown.others;
        let said = jsonl::Record {
            value: some(shown.value),
            kind: shown.kind.map(Kind::as_str).map(str::to_owned),
            md5: some(md5),
            sha1: some(sha1),
            sha256: some(sha256),
            sha512: some(sha512),
            raw: some(shown.raw),
            tlp: shown.tlp.map(Tlp::as_str).map(str::to_owned),
            to: shown.organisations,
            to_groups: shown.groups,
            to_persons: shown.principals,
            caveats: shown.caveats.names().map(str::to_owned).collect(),
            labels: shown.labels,
            confidence: shown.confidence,
            description: some(shown.description),
            valid_from: time(shown.valid_from),
            valid_until: time(shown.valid_until),
            first_seen: time(shown.first_seen),
            last_seen: time(shown.last_seen),
            action: shown.action.map(RecommendedAction::as_str).map(str::to_owned),
            role: shown.role.map(Role::as_str).map(str::to_owned),
            family: some(shown.family),
            campaign: some(shown.campaign),
            techniques: shown.techniques,
        };
        Self {
            name: shown.name,
            said,
            owner: shown.owner,
            published_by: shown.published_by,
            republication_of: shown.republication_of,
            state: shown.state.name(State::as_str),
            version: (shown.version > 0).then_some(shown.version),
            create_time: time(shown.create_time),
            revocation: shown.revoked.map(Revocation::of),
        }
    }
}

impl Revocation {
    fn of(revoked: Revoked) -> Self {
        let Revoked { reason, note, time: at } = revoked;
        let reason = match reason {
            Told::Unsaid | Told::Unknown => "unknown",
            Told::Known(reason) => RevocationReason::as_str(reason),
        };
        Self { reason, note, time: time(at) }
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn time(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}
