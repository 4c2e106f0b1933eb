//! Decides what a request asks of the writer: everything that needs a clock,
//! randomness or much work is decided before, and carried here.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::base::clock::Timestamp;
use crate::model::amendment::RosterChange;
use crate::model::asset::AssetChange;
use crate::model::audience::{ClassDefinition, ClassNo};
use crate::model::certificate::CertificateEntry;
use crate::model::indicator::RecommendedAction;
use crate::model::indicator::lifecycle::Revocation;
use crate::model::marking::Marking;
use crate::model::org::{OrgNo, OrgSlug};
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::model::republication::Terms;
use crate::model::warninglist::ListName;
use crate::pki::authority::Rotation;
use crate::store::postings::Posting;
use crate::store::proto;
use crate::store::requests::RequestKey;

use super::caller::Caller;
use super::error::Error;
use super::judged::{Judged, Wanted};
use super::retention::Retain;

pub use super::decision::{Decision, Effect, Refusal};

/// A request on its way to the writer.
#[derive(Debug)]
pub struct Proposal {
    /// Who asks; `None`: the hub itself.
    pub caller: Option<Caller>,
    /// What names the request, for who asks once more; `None`: nobody does.
    pub request: Option<RequestKey>,
    /// Digest of all that it says.
    pub content: [u8; 16],
    /// Salt of the item digests.
    pub salt: [u8; 16],
    /// What it asks.
    pub change: Change,
    /// Where the answer goes, once it is durable.
    pub reply: oneshot::Sender<Result<Answered, Error>>,
}

/// What the writer answers to a request.
#[derive(Debug)]
pub enum Answered {
    /// One decision per item.
    Decided(Vec<Decision>),
    /// The same as the first time, and what lists made of the items then.
    Repeated(Vec<Decision>, Option<proto::GuardVerdicts>),
}

/// Indicators to publish. What the state of the hub refuses keeps its place, so
/// that a repeated request gets its first answer whatever has changed since.
#[derive(Debug, Clone, Default)]
pub struct ProposedPublication {
    /// In the order in which they were sent.
    pub items: Vec<Result<ProposedIndicator, Refusal>>,
    /// What lists made of them.
    pub judged: Judged,
}

impl Proposal {
    /// Who publishes, if it is to publish.
    pub(super) fn publisher(&self) -> Option<SpiffeId> {
        let publishes = matches!(self.change, Change::Publish(_));
        Some(self.caller.as_ref().filter(|_| publishes)?.identity().clone())
    }
}

/// What a request asks for.
#[derive(Debug, Clone)]
pub enum Change {
    /// To publish indicators.
    Publish(ProposedPublication),
    /// To take one back.
    Revoke(ProposedRevocation),
    /// To record sightings, which keep their places likewise.
    Sight(Vec<Result<ProposedSighting, Refusal>>),
    /// To tell owners that others published what they hold; the hub's own.
    Notice(Vec<Collision>),
    /// To change who takes part, as of a day.
    Roster(Box<RosterChange>),
    /// To end what is past its validity. None: a mere note of how far that
    /// has got.
    Expire(Vec<Due>),
    /// To let such a change wait for a second person.
    Propose(Box<RosterChange>),
    /// To drop a change that waits.
    Reject(RejectedChange),
    /// To ask for leave to republish, to give or to withdraw it.
    Leave(Box<ProposedLeave>),
    /// To let what lists hold back wait for a second person.
    Wait(ProposedWait),
    /// To answer that, as the second person.
    Answer(Box<ProposedAnswer>),
    /// To hold an indicator for a day, or to end that.
    Contain(Box<ProposedHold>),
    /// To change what an organisation calls its own.
    Assets(Box<ProposedAssets>),
    /// To change something among certificates.
    Certificate(Box<CertificateEntry>),
    /// To take the rotation of an authority one step on.
    Rotate(Box<ProposedRotation>),
    /// To keep less of the past; the hub's own.
    Retain(Box<Retain>),
}

/// A version that ends by itself, and when; in order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// Its `valid_until`.
    pub until: Timestamp,
    /// The version, and its record.
    pub version: Posting,
}

/// A rotation of an authority, as it will stand.
#[derive(Debug, Clone)]
pub struct ProposedRotation {
    /// When, by the clock that certificates are held against.
    pub time: Timestamp,
    /// Where it stands then.
    pub rotation: Arc<Rotation>,
}

/// A change of the roster to drop.
#[derive(Debug, Clone)]
pub struct RejectedChange {
    /// Position of its proposal.
    pub proposal: Position,
    /// Why; may be empty.
    pub reason: String,
}

impl Change {
    /// About how many bytes the change adds to a commit group.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::Publish(ProposedPublication { items, .. }) => {
                items.iter().flatten().map(|i| i.fields.len() + 256).sum::<usize>() + 256
            }
            Self::Revoke(_) => 1_024,
            // Markings with all the readers that they may name.
            Self::Leave(_) => 64 << 10,
            // A notice with the value.
            Self::Wait(ProposedWait { asks, .. }) => asks.len() * 1_024 + 256,
            Self::Answer(_) | Self::Contain(_) => 64 << 10,
            Self::Assets(asked) => asked.weight(),
            Self::Retain(step) => step.weight(),
            Self::Expire(due) => due.len() * 1_024 + 256,
            Self::Notice(collisions) => collisions.len() * 512 + 256,
            // It is a group of its own in all but name: rights move with it.
            Self::Roster(_) | Self::Propose(_) | Self::Reject(_) | Self::Certificate(_) | Self::Rotate(_) => {
                64 << 10
            }
            Self::Sight(items) => items.iter().flatten().map(|i| i.fields.len() + 256).sum::<usize>() + 256,
        }
    }
}

/// An indicator to publish: canonical, encoded but for what order decides.
#[derive(Debug, Clone)]
pub struct ProposedIndicator {
    /// Key of the value in the store.
    pub value_key: Vec<u8>,
    /// Keys of the file's other hashes.
    pub alias_keys: Vec<Vec<u8>>,
    /// Number of the observable's kind.
    pub kind: u8,
    /// Owner.
    pub owner: OrgNo,
    /// Who publishes on the owner's behalf, if it is not the owner.
    pub provider: Option<OrgNo>,
    /// Owner and marking.
    pub class: ClassDefinition,
    /// Number of that class, if it was interned already: it never changes.
    pub class_known: Option<ClassNo>,
    /// Label terms.
    pub terms: Vec<u64>,
    /// The publisher's fields, encoded.
    pub fields: Vec<u8>,
    /// Digest of the publisher's fields.
    pub digest: u64,
    /// The same with the entry's salt.
    pub salted: [u8; 16],
    /// When it ceases to hold.
    pub valid_until: Option<Timestamp>,
    /// Handle of the indicator of which it says to be a republication.
    pub original: Option<Position>,
    /// What was sent, where what that recommends is held.
    pub wanted: Option<Wanted>,
    /// Why a revoked record is to be brought back.
    pub reinstate: Option<String>,
}

/// What is to be changed of an organisation's own assets.
#[derive(Debug, Clone)]
pub struct ProposedAssets {
    /// Whose.
    pub organisation: OrgNo,
    /// What.
    pub change: AssetChange,
    /// The list that must stand.
    pub expected: Option<String>,
    /// Whether the organisation has stored as much as it may.
    pub is_too_much: bool,
}

impl ProposedAssets {
    fn weight(&self) -> usize {
        let AssetChange { add, remove } = &self.change;
        // Each may be a name of 253 bytes, in the entry and in what stood before;
        // and the list is written anew whole.
        (add.len() + remove.len()) * 512 + (1 << 20)
    }
}

/// What is said of leave to republish.
#[derive(Debug, Clone)]
pub struct ProposedLeave {
    /// Handle of the indicator.
    pub indicator: Position,
    /// Who would publish.
    pub organisation: OrgNo,
    /// Its slug.
    pub slug: OrgSlug,
    /// Who says so: that organisation, or the indicator's owner.
    pub by: OrgNo,
    /// What.
    pub act: LeaveAct,
}

/// What can be said of leave to republish.
#[derive(Debug, Clone)]
pub enum LeaveAct {
    /// It is asked for.
    Ask {
        /// How far.
        wish: Marking,
        /// What for.
        reason: String,
    },
    /// It is given.
    Grant {
        /// How far, how long.
        terms: Terms,
        /// What else is said.
        note: String,
    },
    /// It is refused, taken back or given up.
    Withdraw {
        /// What else is said.
        note: String,
    },
}

/// What lists hold back of indicators that were just published.
#[derive(Debug, Clone)]
pub struct ProposedWait {
    /// Who published: the owner, or one that acts for it.
    pub by: OrgNo,
    /// Of each indicator.
    pub asks: Vec<HeldAsk>,
}

/// What lists hold back of an indicator.
#[derive(Debug, Clone)]
pub struct HeldAsk {
    /// Handle of the indicator.
    pub indicator: Position,
    /// Digest of what went out.
    pub published: u64,
    /// Digest of what was sent.
    pub wanted: u64,
    /// What that recommends.
    pub action: RecommendedAction,
    /// The lists.
    pub lists: Vec<ListName>,
}

/// The answer to what is held of an indicator.
#[derive(Debug, Clone)]
pub struct ProposedAnswer {
    /// Handle of the indicator.
    pub indicator: Position,
    /// The version that must stand.
    pub expected: u64,
    /// Whether it goes out.
    pub approved: bool,
    /// Whether lists let nobody publish the value by now.
    pub refused: bool,
    /// Why.
    pub note: String,
}

/// What is said of holding an indicator.
#[derive(Debug, Clone)]
pub struct ProposedHold {
    /// Handle of the indicator.
    pub indicator: Position,
    /// What.
    pub act: HoldAct,
}

/// What can be said of holding an indicator.
#[derive(Debug, Clone)]
pub enum HoldAct {
    /// It is held.
    Hold {
        /// Why.
        reason: String,
    },
    /// It is released.
    Release {
        /// Why.
        note: String,
    },
    /// Its time is over; the hub's own.
    End,
}

/// An indicator to take back.
#[derive(Debug, Clone)]
pub struct ProposedRevocation {
    /// Which record.
    pub handle: Position,
    /// Its owner.
    pub owner: OrgNo,
    /// Who asks on the owner's behalf, if it is not the owner.
    pub provider: Option<OrgNo>,
    /// Why.
    pub revocation: Revocation,
    /// The version that must stand.
    pub expected: Option<u64>,
}

/// A sighting to record.
#[derive(Debug, Clone)]
pub struct ProposedSighting {
    /// Handle of the indicator.
    pub indicator: Position,
    /// Who reports.
    pub reporter: OrgNo,
    /// Reporter, and the indicator's owner as audience.
    pub class: ClassDefinition,
    /// The reporter's fields, encoded.
    pub fields: Vec<u8>,
    /// Digest of the fields.
    pub digest: u64,
    /// The same with the entry's salt.
    pub salted: [u8; 16],
    /// Whether its header says what it says, so that nobody has to decode it;
    /// those of a log of before do not.
    pub told: bool,
}

/// Another's record of a value that an owner holds in a record which is hidden
/// from the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Collision {
    /// Handle of the owner's record.
    pub record: Position,
    /// Handle of the other's.
    pub other: Position,
}
