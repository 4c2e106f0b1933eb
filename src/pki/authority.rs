//! Decides how an authority gives way to the next one: the phases of a
//! rotation, what may be done in each, and what stands in the way.
//!
//! | phase | signs | trusted | the hub shows | left by |
//! |---|---|---|---|---|
//! | stable | Gn | Gn | Gn | prepare |
//! | prepared | Gn | both | Gn | activate; server: by itself |
//! | distributed (server) | Gn | both | Gn | activate |
//! | active | Gn+1 | both | Gn | taint; server: switch |
//! | switched (server) | Gn+1 | both | Gn+1 | taint |
//! | draining | Gn+1 | both | Gn+1 | retire |
//! | rollback | Gn | both | Gn | by itself, to stable |
//!
//! The client hierarchy skips the phases that concern the hub's own
//! certificate. Every phase between stable and rollback can be rolled back.
//! Nothing here reads a clock or asks anybody: [`Facts`] holds all that is
//! known, [`judge`] answers a person's step, and [`settle`] takes the two
//! steps that nobody has to ask for. A condition that fails leaves the rotation
//! where it is, for a person to look at.

mod blocker;
mod facts;
mod generation;
mod judge;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

pub use blocker::Blocker;
pub use facts::{Facts, LiveLeaf};
pub use generation::{Error, Generation, MAX_NAME_CHARS};
pub use judge::{judge, settle};

use super::identity::IssuerDigest;
use super::issue::Hierarchy;
use super::schedule;
use crate::base::clock::Timestamp;
use crate::model::principal::SpiffeId;

/// Most generations that one hierarchy ever has: their names and keys are kept
/// for good.
pub const MAX_GENERATIONS: usize = 1_000;

/// How far a rotation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// One generation, in use.
    Stable,
    /// The next one is trusted and signs nothing.
    Prepared,
    /// Every system has proved that it trusts the next one; server hierarchy
    /// only.
    Distributed,
    /// The next one signs.
    Active,
    /// The hub shows a certificate of the next one; server hierarchy only.
    Switched,
    /// Holders of certificates of the old one are asked to renew now.
    Draining,
    /// The old one signs again; the next one is on its way out.
    Rollback,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 7] = [
        Self::Stable,
        Self::Prepared,
        Self::Distributed,
        Self::Active,
        Self::Switched,
        Self::Draining,
        Self::Rollback,
    ];

    /// Its number in the contract and in the log; never changes.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Stable => 1,
            Self::Prepared => 2,
            Self::Distributed => 3,
            Self::Active => 4,
            Self::Switched => 5,
            Self::Draining => 6,
            Self::Rollback => 7,
        }
    }

    /// The phase with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.code() == code)
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Prepared => "prepared",
            Self::Distributed => "distributed",
            Self::Active => "active",
            Self::Switched => "switched",
            Self::Draining => "draining",
            Self::Rollback => "rollback",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Begins to trust this authority. Its number is given here, whatever it
    /// says.
    Prepare(Box<Generation>),
    /// Lets the next authority sign; it is named, so that nobody activates what
    /// he did not look at.
    Activate(IssuerDigest),
    /// Lets the hub show its certificate of the next authority.
    Switch {
        /// Exactly those who would be cut off, or nobody.
        accept_cutting_off: BTreeSet<SpiffeId>,
    },
    /// Asks holders of certificates of the old authority to renew.
    Taint,
    /// Ends the trust in the old authority.
    Retire {
        /// Exactly those who would be cut off, or nobody.
        accept_cutting_off: BTreeSet<SpiffeId>,
    },
    /// Goes back to the old authority.
    Rollback,
}

impl Step {
    /// Its name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Prepare(_) => "prepare",
            Self::Activate(_) => "activate",
            Self::Switch { .. } => "switch",
            Self::Taint => "taint",
            Self::Retire { .. } => "retire",
            Self::Rollback => "rollback",
        }
    }
}

/// What the age of an authority asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Prepare the next authority.
    Prepare,
    /// Activate the one that is prepared.
    Activate,
}

impl Due {
    /// Its name, that of the step.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Activate => "activate",
        }
    }
}

/// Where one hierarchy stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// Which.
    pub hierarchy: Hierarchy,
    /// How far it has come.
    pub phase: Phase,
    /// The generation in use before the rotation.
    pub current: Generation,
    /// The one that takes its place; none while stable, and only then.
    pub next: Option<Generation>,
    /// Since when this phase holds.
    pub since: Timestamp,
    /// One higher after every step: a step is taken from the version that its
    /// asker saw, or not at all.
    pub version: u64,
    /// Name and key of every generation that is trusted no more, by digest;
    /// neither is ever used again.
    pub retired: Vec<(IssuerDigest, [u8; 32])>,
}

/// What a step would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Where the hierarchy stands after it; none if anything blocks.
    pub next: Option<Rotation>,
    /// What stands in the way.
    pub blockers: Vec<Blocker>,
    /// All who would be cut off by [`Step::Switch`] or [`Step::Retire`], with
    /// the holders who were not seen for so long that they do not block; and
    /// all for whom [`Step::Activate`] waits, whom a later switch would cut off.
    pub cut_off: BTreeSet<SpiffeId>,
}

impl Rotation {
    /// The beginning of a hierarchy: its first generation, in use.
    #[must_use]
    pub fn begin(hierarchy: Hierarchy, first: Generation, now: Timestamp) -> Self {
        Self {
            hierarchy,
            phase: Phase::Stable,
            current: Generation { number: 1, ..first },
            next: None,
            since: now,
            version: 1,
            retired: Vec::new(),
        }
    }

    /// The generation that signs.
    #[must_use]
    pub fn signing(&self) -> &Generation {
        match self.phase {
            Phase::Active | Phase::Switched | Phase::Draining => self.next.as_ref().unwrap_or(&self.current),
            Phase::Stable | Phase::Prepared | Phase::Distributed | Phase::Rollback => &self.current,
        }
    }

    /// The generation of the certificate that the hub shows; server hierarchy.
    #[must_use]
    pub fn shown(&self) -> &Generation {
        match self.phase {
            Phase::Switched | Phase::Draining => self.next.as_ref().unwrap_or(&self.current),
            _ => &self.current,
        }
    }

    /// The generation of the certificate that the hub shows under the canary
    /// name, on which systems prove what they trust; server hierarchy.
    #[must_use]
    pub fn canary(&self) -> Option<&Generation> {
        match (self.hierarchy, self.phase) {
            (Hierarchy::Server, Phase::Prepared | Phase::Distributed | Phase::Active) => self.next.as_ref(),
            _ => None,
        }
    }

    /// The generations that are trusted, the older one first.
    pub fn trusted(&self) -> impl Iterator<Item = &Generation> {
        std::iter::once(&self.current).chain(&self.next)
    }

    /// The trusted generation that signs under this name.
    #[must_use]
    pub fn generation(&self, issuer: &IssuerDigest) -> Option<&Generation> {
        self.trusted().find(|generation| generation.issuer == *issuer)
    }

    /// Whether holders of certificates of `issuer` are asked to renew now,
    /// whatever their age.
    #[must_use]
    pub fn renews_now(&self, issuer: &IssuerDigest) -> bool {
        match self.phase {
            Phase::Draining => self.current.issuer == *issuer,
            Phase::Rollback => self.next.as_ref().is_some_and(|next| next.issuer == *issuer),
            _ => false,
        }
    }

    /// What the age of the generation in use asks for.
    #[must_use]
    pub fn due(&self, now: Timestamp) -> Option<Due> {
        let (from, to) = (self.current.not_before, self.current.not_after);
        match self.phase {
            Phase::Stable if schedule::prepare_due(from, to, now) => Some(Due::Prepare),
            Phase::Prepared | Phase::Distributed if schedule::activate_due(from, to, now) => {
                Some(Due::Activate)
            }
            _ => None,
        }
    }
}
