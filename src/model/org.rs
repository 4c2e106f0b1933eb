//! Decides what an organisation is: a permanent slug, dated names, a lifecycle.

use std::fmt;
use std::sync::Arc;

use time::Date;

use super::Invalid;

/// Longest slug, in bytes.
pub const MAX_SLUG_BYTES: usize = 32;

/// Permanent key of an organisation: `^[a-z][a-z0-9]*(-[a-z0-9]+)*$`, at most
/// 32 bytes, never used again for another body.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrgSlug(Arc<str>);

impl OrgSlug {
    /// Reads a slug.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let starts = text.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
        let holds = text.split('-').all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        });
        if starts && holds && text.len() <= MAX_SLUG_BYTES {
            Ok(Self(text.into()))
        } else {
            Err(Invalid::new(
                "",
                format!(
                    "a slug starts with a-z, holds a-z, 0-9 and single hyphens, at most {MAX_SLUG_BYTES} bytes"
                ),
            ))
        }
    }

    /// The slug as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrgSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for OrgSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Number under which the hub stores an organisation; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrgNo(pub u32);

/// An organisation as the roster holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organisation {
    /// Permanent key.
    pub slug: OrgSlug,
    /// Names by span of time, oldest first; at least one.
    pub names: Vec<DatedName>,
    /// Kind in kebab-case, such as `lead-department`.
    pub kind: String,
    /// Superior body.
    pub parent: Option<OrgSlug>,
    /// First day; `None`: no known bound.
    pub valid_from: Option<Date>,
    /// First day on which it no longer exists; `None`: none known.
    pub valid_to: Option<Date>,
    /// Whether an operator has suspended it.
    pub suspended: bool,
    /// The bodies it came from.
    pub predecessors: Vec<OrgSlug>,
    /// The bodies that followed it.
    pub successors: Vec<OrgSlug>,
}

/// The names of an organisation over a span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatedName {
    /// Name in Vietnamese.
    pub vi: String,
    /// Name in English; may be empty.
    pub en: String,
    /// Short name; may be empty.
    pub short: String,
    /// First day; `None`: no known bound.
    pub from: Option<Date>,
    /// First day on which it no longer holds.
    pub to: Option<Date>,
}

/// Where an organisation stands on a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Takes part.
    Active,
    /// May not take part for now.
    Suspended,
    /// No longer exists.
    Ended,
    /// Does not exist yet.
    Planned,
}

impl Organisation {
    /// Where it stands on `date`.
    #[must_use]
    pub fn standing(&self, date: Date) -> Standing {
        if self.valid_to.is_some_and(|to| date >= to) {
            Standing::Ended
        } else if self.valid_from.is_some_and(|from| date < from) {
            Standing::Planned
        } else if self.suspended {
            Standing::Suspended
        } else {
            Standing::Active
        }
    }

    /// Its names on `date`: the span that holds it, else the last one.
    #[must_use]
    pub fn name_on(&self, date: Date) -> Option<&DatedName> {
        self.names
            .iter()
            .find(|n| n.from.is_none_or(|from| from <= date) && n.to.is_none_or(|to| date < to))
            .or_else(|| self.names.last())
    }
}
