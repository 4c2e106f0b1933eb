//! Decides what a producer may say about an observable, and within what bounds.

use uuid::Uuid;

use crate::base::clock::Timestamp;
use crate::model::Invalid;
use crate::model::marking::Marking;
use crate::model::numbered::numbered;

use super::Observable;

/// Most labels on one indicator.
pub const MAX_LABELS: usize = 64;
/// Longest label, in bytes.
pub const MAX_LABEL_BYTES: usize = 64;
/// Longest description, in bytes.
pub const MAX_DESCRIPTION_BYTES: usize = 16 * 1024;
/// Longest name of a family or a campaign, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Longest text of an observable that is no rule, in bytes.
pub const MAX_VALUE_BYTES: usize = 8 * 1024;
/// Longest rule, in bytes.
pub const MAX_RULE_BYTES: usize = 64 * 1024;

numbered! {
    /// What to do on meeting the observable. Numbers are stored and sent.
    pub enum RecommendedAction {
        /// Watch and report.
        Monitor = 1 is "monitor",
        /// Block.
        Block = 2 is "block",
        /// Search past records for it.
        Hunt = 3 is "hunt",
        /// Isolate the machine that shows it.
        Isolate = 4 is "isolate",
    }
}

numbered! {
    /// What an observable is in an attack. Numbers are stored and sent.
    pub enum Role {
        /// It belongs to those who were attacked.
        Victim = 1 is "victim",
        /// It serves the attacker.
        Infrastructure = 2 is "infrastructure",
        /// It is what the attacker uses.
        Tool = 3 is "tool",
        /// It was the attacker's and is held by defenders now.
        Sink = 4 is "sink",
    }
}

impl Role {
    /// Checks that what is recommended does not strike those who were attacked.
    ///
    /// # Errors
    /// A victim is to be blocked or isolated.
    pub fn check(role: Option<Self>, action: Option<RecommendedAction>) -> Result<(), Invalid> {
        match (role, action) {
            (Some(Self::Victim), Some(RecommendedAction::Block | RecommendedAction::Isolate)) => {
                Err(Invalid::new(
                    "recommended_action",
                    "a victim is warned and helped, never blocked or isolated: recommend monitor or hunt, or nothing, or give \
                 the role that the observable has",
                ))
            }
            _ => Ok(()),
        }
    }
}

/// An assertion that a producer asks to publish: read, canonical, in bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What it is about. For a file with several hashes the strongest of them.
    pub observable: Observable,
    /// The other hashes of the same file, by kind; empty for all else.
    pub aliases: Vec<Observable>,
    /// The text supplied, where it differs from the canonical form.
    pub raw: Option<String>,
    /// How far it may travel.
    pub marking: Marking,
    /// Labels, sorted, without repeats.
    pub labels: Vec<String>,
    /// Confidence, 0 to 100.
    pub confidence: Option<u8>,
    /// What a reader should know; may be empty.
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
    /// The family of malware; may be empty.
    pub family: String,
    /// The campaign; may be empty.
    pub campaign: String,
    /// Techniques of ATT&CK, sorted, without repeats.
    pub techniques: Vec<String>,
    /// Public id of another's indicator of which it is a republication.
    pub republication_of: Option<Uuid>,
    /// Why a revoked indicator is to be brought back.
    pub reinstate: Option<String>,
}

impl Draft {
    /// A draft that says nothing beyond its observable and marking.
    #[must_use]
    pub const fn new(observable: Observable, marking: Marking) -> Self {
        Self {
            observable,
            aliases: Vec::new(),
            raw: None,
            marking,
            labels: Vec::new(),
            confidence: None,
            description: String::new(),
            valid_from: None,
            valid_until: None,
            first_seen: None,
            last_seen: None,
            action: None,
            role: None,
            family: String::new(),
            campaign: String::new(),
            techniques: Vec::new(),
            republication_of: None,
            reinstate: None,
        }
    }
}

/// Checks one label: 1 to 64 bytes, lower-case kebab-case of Unicode letters
/// and digits, with `:`, `.`, `_`, `/`, `=` and `"` as in machine tags.
///
/// # Errors
/// What is wrong with it.
pub fn check_label(label: &str) -> Result<(), Invalid> {
    if label.is_empty() || label.len() > MAX_LABEL_BYTES {
        return Err(Invalid::new("", format!("a label has 1 to {MAX_LABEL_BYTES} bytes")));
    }
    let fits = |c: char| {
        (c.is_alphanumeric() && !c.is_uppercase()) || matches!(c, '-' | ':' | '.' | '_' | '/' | '=' | '"')
    };
    if label.chars().all(fits) {
        Ok(())
    } else {
        Err(Invalid::new("", "a label holds lower-case letters, digits and -:._/=\" only"))
    }
}
