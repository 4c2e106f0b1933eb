//! Decides in which words the writer answers for one item: what was written, or
//! why nothing was.

use crate::model::position::Position;
use crate::pki::ledger;
use crate::store::chunk::Op;

/// What became of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// A new version stands in the log.
    Written {
        /// The record.
        handle: Position,
        /// Where the version stands.
        position: Position,
        /// The version.
        version: u64,
        /// What it did.
        effect: Effect,
    },
    /// The same content stood already.
    Unchanged {
        /// The record.
        handle: Position,
        /// Where its newest version stands.
        position: Position,
        /// That version.
        version: u64,
    },
    /// Nothing was stored.
    Refused(Refusal),
}

/// What a written item did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// A new record.
    Created,
    /// A new version.
    Updated,
    /// A revoked record is active again.
    Reinstated,
    /// An active record is revoked.
    Revoked,
    /// A sighting is on record.
    Sighted,
    /// An active record is past its validity.
    Expired,
    /// An owner is told.
    Noticed,
    /// Another roster holds from there on.
    Resolved,
    /// Leave to republish was asked for, given or withdrawn.
    Leave,
    /// What is held of an indicator waits, or was answered.
    Held,
    /// An indicator is held for a day, or that has ended.
    Contained,
}

impl Effect {
    /// The effect that an item's header tells of.
    #[must_use]
    pub const fn from_op(op: Op) -> Self {
        match op {
            Op::Create | Op::Gone | Op::Born => Self::Created,
            Op::Update => Self::Updated,
            Op::Expire => Self::Expired,
            Op::Reinstate => Self::Reinstated,
            Op::Revoke => Self::Revoked,
            Op::Sight => Self::Sighted,
            Op::Notice => Self::Noticed,
            Op::Leave => Self::Leave,
            Op::Held => Self::Held,
            Op::Contain => Self::Contained,
        }
    }
}

/// Why an item was refused by what stands in the log or in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its producer revoked the value.
    Revoked,
    /// It would join two records.
    Conflict,
    /// There is no such record of this owner.
    Absent,
    /// Another version stands.
    Stale,
    /// Its owner has stored as much as it may.
    TooMuchStored,
    /// It would make one audience too many of its owner's.
    TooManyClasses,
    /// It would reach whom its indicator does not.
    TooWide,
    /// Who asks does not act for the organisation that is named, or there is
    /// no such organisation: the two are one.
    NotDelegated,
    /// Too many changes of the roster wait.
    TooManyPending,
    /// There is no such indicator to republish.
    NoOriginal,
    /// It is not another's indicator, or not of the same value.
    NotAnothers,
    /// The owner of what it republishes gave no leave that holds.
    NoLeave,
    /// It would reach further than that leave.
    WiderThanLeave,
    /// The indicator was revoked.
    Ended,
    /// The owner has ended, and nobody follows who could give leave.
    NobodyDecides,
    /// Too many requests for leave wait.
    TooManyAsked,
    /// Too much waits for a second person.
    TooManyHeld,
    /// It takes a second person.
    SecondPerson,
    /// Another organisation decides.
    NotDecider,
    /// His organisation does not lead.
    NotLead,
    /// It was held before, as it stands.
    HeldBefore,
    /// Too many are held.
    TooManyHolds,
    /// It is held until then, in minutes since the Unix epoch.
    Contained(u32),
    /// The list of assets would be too long.
    TooManyAssets,
    /// Nobody in the organisation may see the indicator.
    NotReached,
    /// The time is past already.
    Past,
    /// A list lets nobody publish the value.
    Guarded,
    /// The recipient at this place of the marking is not in the roster.
    UnknownRecipient(u32),
    /// The ledger of certificates refuses.
    Ledger(ledger::Refusal),
}
