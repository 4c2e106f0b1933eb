//! Decides what a change of the roster, its proposal or its rejection does:
//! deterministic, as all of [`super::apply`].

use crate::model::amendment::{MAX_PENDING, PendingChange, RosterChange};
use crate::model::position::Position;
use crate::store::proto::{self, entry_header::Change as Stored};
use crate::store::roster::roster_digest;
use crate::store::{db, roster_change};

use super::apply::Entry;
use super::group::{Group, resolved};
use super::proposal::{Change, Decision, Refusal, RejectedChange};

impl Group<'_> {
    /// Applies an entry about the roster; it is written unless refused.
    pub(super) fn amend(&mut self, entry: &Entry<'_>) -> Decision {
        let at = entry.seq.at(0);
        let refusal = match entry.change {
            Change::Roster(change) | Change::Propose(change) => self.outdated(change, entry),
            Change::Reject(RejectedChange { proposal, .. }) => self.absent(*proposal, entry),
            _ => return Decision::Refused(Refusal::Absent),
        };
        if let Some(refusal) = refusal {
            return Decision::Refused(refusal);
        }
        match entry.change {
            Change::Roster(change) => {
                change.proposal.iter().for_each(|proposal| self.settle(*proposal));
                self.change_roster(change, at)
            }
            Change::Propose(change) => {
                let waiting = self.directory.pending().values();
                if waiting.filter(|pending| pending.stands(entry.time)).count() >= MAX_PENDING {
                    return Decision::Refused(Refusal::TooManyPending);
                }
                let change = RosterChange::clone(change);
                self.wait(at, PendingChange { change, author: entry.author.to_owned(), time: entry.time })
            }
            Change::Reject(RejectedChange { proposal, .. }) => {
                self.settle(*proposal);
                resolved(at)
            }
            _ => Decision::Refused(Refusal::Absent),
        }
    }

    /// Why a change is not of the roster that stands, or of a proposal that
    /// does not wait.
    fn outdated(&self, change: &RosterChange, entry: &Entry<'_>) -> Option<Refusal> {
        if let Some(refusal) = change.proposal.and_then(|proposal| self.absent(proposal, entry)) {
            return Some(refusal);
        }
        let stands = |base| base == roster_digest(self.directory.roster());
        change.base.is_some_and(|base| !stands(base)).then_some(Refusal::Stale)
    }

    fn absent(&self, proposal: Position, entry: &Entry<'_>) -> Option<Refusal> {
        let pending = self.directory.pending().get(&proposal);
        pending.is_none_or(|pending| !pending.stands(entry.time)).then_some(Refusal::Absent)
    }
}

/// What an entry about the roster asked for; `None`: it is about another.
pub(super) fn stored(header: &proto::EntryHeader) -> Option<Result<Change, db::Error>> {
    let decode = |change| roster_change::decode_change(change).map(Box::new);
    Some(match header.change.as_ref()? {
        Stored::Roster(change) => decode(change).map(Change::Roster),
        Stored::RosterProposal(change) => decode(change).map(Change::Propose),
        Stored::RosterRejection(rejected) => Ok(Change::Reject(RejectedChange {
            proposal: Position::from_raw(rejected.proposal),
            reason: rejected.reason.clone(),
        })),
        _ => return None,
    })
}
