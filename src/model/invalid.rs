//! Decides how a refused input is described: the field's path, and what is
//! wrong with it in words that its sender may read.

use std::fmt;

/// One thing wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Path of the field as the public contract spells it, such as
    /// `indicators[3].observable.domain`; empty for the whole.
    pub field: String,
    /// Stable cause for machines, `UPPER_SNAKE`.
    pub reason: Reason,
    /// What is wrong and what would be right, without repeating the value.
    pub problem: String,
}

/// The stable causes of a refused input; part of the public contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The field's content is not acceptable.
    FieldInvalid,
    /// A marking is missing.
    MarkingRequired,
    /// The marking is valid TLP but this hub does not take it yet.
    MarkingUnsupported,
    /// An organisation that the roster does not know.
    OrganisationUnknown,
    /// A group that the roster does not know.
    GroupUnknown,
    /// A person whom the roster does not know.
    PersonUnknown,
    /// A request holds records with a masked source beside open ones.
    SourcesMixed,
    /// A text carries a marking of state secrecy.
    StateSecretSuspected,
}

impl Reason {
    /// The cause as it stands on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FieldInvalid => "FIELD_INVALID",
            Self::MarkingRequired => "MARKING_REQUIRED",
            Self::MarkingUnsupported => "MARKING_UNSUPPORTED",
            Self::OrganisationUnknown => "ORGANISATION_UNKNOWN",
            Self::GroupUnknown => "GROUP_UNKNOWN",
            Self::PersonUnknown => "PERSON_UNKNOWN",
            Self::SourcesMixed => "SOURCES_MIXED",
            Self::StateSecretSuspected => "STATE_SECRET_SUSPECTED",
        }
    }
}

impl Invalid {
    /// A `FIELD_INVALID` at `field`.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), reason: Reason::FieldInvalid, problem: problem.into() }
    }

    /// The same with another cause.
    #[must_use]
    pub fn because(mut self, reason: Reason) -> Self {
        self.reason = reason;
        self
    }

    /// The same one level further out: `parent.field`, or `parent[i]` joined
    /// without a dot before a bracket.
    #[must_use]
    pub fn under(mut self, parent: impl fmt::Display) -> Self {
        self.field = match self.field.as_str() {
            "" => parent.to_string(),
            inner if inner.starts_with('[') => format!("{parent}{inner}"),
            inner => format!("{parent}.{inner}"),
        };
        self
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.field, self.problem)
        }
    }
}

impl std::error::Error for Invalid {}
