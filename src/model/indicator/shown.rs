//! Decides what of an indicator a reader is shown, by whatever release of the
//! hub: texts as they came, and what is not known said to be so.

use crate::base::clock::Timestamp;
use crate::model::marking::{Caveats, Tlp};

use super::{Kind, Observable, RecommendedAction, RevocationReason, Role, State};

/// A member of a set that may grow, as another release names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Told<T> {
    /// Nothing is said.
    #[default]
    Unsaid,
    /// This one.
    Known(T),
    /// One of a later release.
    Unknown,
}

impl<T> Told<T> {
    /// From a number on the wire.
    pub fn from_number(number: i32, of: impl FnOnce(u8) -> Option<T>) -> Self {
        match u8::try_from(number) {
            Ok(0) => Self::Unsaid,
            Ok(number) => of(number).map_or(Self::Unknown, Self::Known),
            Err(_) => Self::Unknown,
        }
    }

    /// The name for people: empty where nothing is said.
    pub fn name(self, name: impl FnOnce(T) -> &'static str) -> &'static str {
        match self {
            Self::Unsaid => "",
            Self::Known(member) => name(member),
            Self::Unknown => "unknown",
        }
    }
}

/// The hashes of a file; empty texts where there are none.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Hashes {
    /// Its MD5.
    pub md5: String,
    /// Its SHA-1.
    pub sha1: String,
    /// Its SHA-256.
    pub sha256: String,
    /// Its SHA-512.
    pub sha512: String,
}

impl std::fmt::Debug for Hashes {
    /// Values do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hashes")
    }
}

/// Why and when an indicator was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// The class of reason.
    pub reason: Told<RevocationReason>,
    /// Explanation; may be empty.
    pub note: String,
    /// When.
    pub time: Option<Timestamp>,
}

/// An indicator as its reader is shown it. Texts are empty where nothing is
/// said.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Shown {
    /// Its resource name.
    pub name: String,
    /// Kind of its value, unless that is of a later release.
    pub kind: Option<Kind>,
    /// The canonical value; of a file with several hashes the strongest.
    pub value: String,
    /// The other hashes of the same file.
    pub others: Hashes,
    /// The text first supplied, where it differs.
    pub raw: String,
    /// The TLP label; one that is not known, or missing beside a value, is RED.
    pub tlp: Option<Tlp>,
    /// Slugs of the organisations that the marking names.
    pub organisations: Vec<String>,
    /// Slugs of the groups that it names.
    pub groups: Vec<String>,
    /// SPIFFE identities of the persons whom it names.
    pub principals: Vec<String>,
    /// What the source adds to the marking.
    pub caveats: Caveats,
    /// Labels.
    pub labels: Vec<String>,
    /// Confidence, 0 to 100.
    pub confidence: Option<u8>,
    /// What a reader should know.
    pub description: String,
    /// When the assertion starts to hold.
    pub valid_from: Option<Timestamp>,
    /// When it ceases to hold.
    pub valid_until: Option<Timestamp>,
    /// When the observable was first seen.
    pub first_seen: Option<Timestamp>,
    /// When it was last seen.
    pub last_seen: Option<Timestamp>,
    /// What the producer recommends.
    pub action: Option<RecommendedAction>,
    /// What the observable is in the attack.
    pub role: Option<Role>,
    /// The family of malware.
    pub family: String,
    /// The campaign.
    pub campaign: String,
    /// Techniques of MITRE ATT&CK.
    pub techniques: Vec<String>,
    /// Slug of the owner; empty where the reader is not told it.
    pub owner: String,
    /// Slug of the organisation that published it on the owner's behalf.
    pub published_by: String,
    /// Resource name of the indicator of which it is a republication.
    pub republication_of: String,
    /// Where it stands.
    pub state: Told<State>,
    /// Its version.
    pub version: u64,
    /// When the first version was published.
    pub create_time: Option<Timestamp>,
    /// Why it was revoked, if it was.
    pub revoked: Option<Revoked>,
}

impl std::fmt::Debug for Shown {
    /// The name and marking only: values do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shown").field("name", &self.name).field("tlp", &self.tlp).finish_non_exhaustive()
    }
}

impl Shown {
    /// What it is about; `None` where this release cannot tell.
    #[must_use]
    pub fn observable(&self) -> Option<Observable> {
        Observable::from_canonical(self.kind?, &self.value)
    }

    /// Whether it asks that its value be blocked.
    #[must_use]
    pub fn blocks(&self) -> bool {
        self.action == Some(RecommendedAction::Block) && !self.objects()
    }

    /// Whether it asks that its value not be blocked, whoever recommends it:
    /// who blocks a victim does harm, and who blocks what is watched ends the
    /// watch.
    #[must_use]
    pub fn objects(&self) -> bool {
        self.role == Some(Role::Victim) || self.caveats.contains(Caveats::WATCH_DO_NOT_BLOCK)
    }
}
