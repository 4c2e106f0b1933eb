//! Decides what an organisation is: a permanent slug, dated names, a lifecycle.

use std::fmt;
use std::sync::Arc;

use time::Date;

use super::Invalid;
use super::asset::Asset;

/// Longest slug, in bytes.
pub const MAX_SLUG_BYTES: usize = 32;

/// The slug in the hub's own identity, under which it tries itself. It is
/// nobody's in a roster.
pub const HUBS_OWN: &str = "luytre-hub";

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

    /// Whether it is the one in the hub's own identity.
    #[must_use]
    pub fn is_hubs_own(&self) -> bool {
        &*self.0 == HUBS_OWN
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
    /// What became of it, oldest first, each with its legal basis.
    pub lifecycle: Vec<Step>,
    /// The bodies it came from.
    pub predecessors: Vec<OrgSlug>,
    /// The bodies that followed it.
    pub successors: Vec<OrgSlug>,
    /// Its names and networks that nobody blocks without a second person, in
    /// order; known to whoever reads the roster.
    pub protected: Vec<Asset>,
}

/// Most protected names and networks of one organisation.
pub const MAX_PROTECTED: usize = 1_024;

/// The name of a kind of organisation, of a duty and the like, in kebab-case,
/// however it is written: `lead_unit` is `lead-unit`.
///
/// # Errors
/// If it is not made of a-z, 0-9 and single hyphens, or too long.
pub fn kebab(text: &str) -> Result<String, Invalid> {
    let kebab = text.replace('_', "-");
    let holds = kebab.len() <= 64
        && kebab.starts_with(|c: char| c.is_ascii_lowercase())
        && kebab.split('-').all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        });
    if holds {
        Ok(kebab)
    } else {
        Err(Invalid::new("", "a term holds a-z, 0-9 and single hyphens, such as lead-unit, at most 64 bytes"))
    }
}

#[cfg(test)]
impl Organisation {
    /// One of which nothing is known but that it is there.
    pub(crate) fn plain(slug: OrgSlug) -> Self {
        let vi = "Sở Thông tin và Truyền thông".to_owned();
        let names = vec![DatedName { vi, en: String::new(), short: String::new(), from: None, to: None }];
        Self {
            slug,
            names,
            kind: "department".to_owned(),
            parent: None,
            valid_from: None,
            valid_to: None,
            lifecycle: Vec::new(),
            predecessors: Vec::new(),
            successors: Vec::new(),
            protected: Vec::new(),
        }
    }
}

/// What can become of an organisation. Numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Happening {
    /// It begins.
    Founded = 1,
    /// It has another name.
    Renamed = 2,
    /// It ends and goes into a new body, with others.
    Merged = 3,
    /// It ends and several bodies follow it.
    Split = 4,
    /// It ends and a body that stood already takes it in.
    Absorbed = 5,
    /// It ends and nobody follows.
    Ended = 6,
    /// It may not take part for now.
    Suspended = 7,
    /// It takes part again.
    Resumed = 8,
}

impl Happening {
    /// Everything that can happen.
    pub const ALL: [Self; 8] = [
        Self::Founded,
        Self::Renamed,
        Self::Merged,
        Self::Split,
        Self::Absorbed,
        Self::Ended,
        Self::Suspended,
        Self::Resumed,
    ];

    /// The number that is stored.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// What has this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|what| what.number() == number)
    }

    /// The word in roster files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Founded => "founded",
            Self::Renamed => "renamed",
            Self::Merged => "merged",
            Self::Split => "split",
            Self::Absorbed => "absorbed",
            Self::Ended => "ended",
            Self::Suspended => "suspended",
            Self::Resumed => "resumed",
        }
    }

    /// What has this word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|what| what.as_str() == name)
    }

    /// Whether the organisation is no more after it.
    #[must_use]
    pub const fn ends(self) -> bool {
        matches!(self, Self::Merged | Self::Split | Self::Absorbed | Self::Ended)
    }
}

/// One step in the life of an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What happened.
    pub what: Happening,
    /// First day on which it holds.
    pub on: Date,
    /// Where it is laid down.
    pub legal_basis: String,
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
        } else if self.is_suspended(date) {
            Standing::Suspended
        } else {
            Standing::Active
        }
    }

    /// Whether the last word on `date` is that it may not take part.
    fn is_suspended(&self, date: Date) -> bool {
        let words = self
            .lifecycle
            .iter()
            .filter(|step| step.on <= date && matches!(step.what, Happening::Suspended | Happening::Resumed));
        words.max_by_key(|step| step.on).is_some_and(|step| step.what == Happening::Suspended)
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
