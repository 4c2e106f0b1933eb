//! Decides which audit records go with a commit group: those of what it
//! changes, in the same write, and with them all that wait.

use crate::base::clock::Timestamp;
use crate::model::audit::Record;
use crate::store::{Batch, db};

use super::super::error::Error;
use super::super::proposal::{Answered, Change, Decision, Proposal};
use super::super::shared::Shared;
use super::journal::{Appender, Taken};
use super::trail::Trail;

/// The writer's part of the audit.
#[derive(Debug, Default)]
pub struct Laying {
    appender: Appender,
    own: Vec<Vec<u8>>,
    trails: Vec<Trail>,
}

impl Laying {
    /// Goes on with what is stored.
    #[must_use]
    pub fn new(appender: Appender) -> Self {
        Self { appender, ..Self::default() }
    }

    /// Notes what was decided of a request of the group. What was refused as a
    /// whole, or is to be judged again, has changed nothing: its call tells why,
    /// at its end.
    pub fn decided(&mut self, proposal: &Proposal, result: &Result<Answered, Error>, now: Timestamp) {
        let Ok(Answered::Decided(decisions)) = result else { return };
        let given = decisions.iter().filter(|decision| !matches!(decision, Decision::Refused(_))).count();
        let many = matches!(proposal.change, Change::Publish(_) | Change::Sight(_));
        if given == 0 && !many {
            return;
        }
        let Some(caller) = &proposal.caller else {
            self.own.extend(method(&proposal.change).map(|method| Record::note(method, now).encode()));
            return;
        };
        let trail = caller.trail();
        let Some(mut record) = trail.record(false, "OK") else { return };
        record.given = u32::try_from(given).unwrap_or(u32::MAX);
        record.asked = record.asked.max(u32::try_from(decisions.len()).unwrap_or(u32::MAX));
        record.refused = record.asked.saturating_sub(record.given);
        self.own.push(record.encode());
        self.trails.push(trail.clone());
    }

    /// Lays the group's records down, and those that wait.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn lay(&mut self, shared: &Shared, batch: &mut Batch<'_>) -> Result<Taken, db::Error> {
        let taken = shared.audit.journal.take();
        self.appender.append(batch, &self.own, &taken)?;
        self.own.clear();
        Ok(taken)
    }

    /// Tells that all of it is durable.
    pub fn committed(&mut self, shared: &Shared, taken: &Taken) {
        shared.audit.grew(self.appender.size());
        shared.audit.journal.committed(taken);
        self.trails.drain(..).for_each(|trail| trail.wrote());
    }
}

/// What the machine's operator or the hub itself changes, where it is said who
/// may do what.
const fn method(change: &Change) -> Option<&'static str> {
    match change {
        Change::Roster(_) | Change::Propose(_) | Change::Reject(_) => Some("MachineRoster"),
        Change::Certificate(_) => Some("MachineCertificate"),
        Change::Rotate(_) => Some("MachineRotation"),
        Change::Publish(_)
        | Change::Revoke(_)
        | Change::Sight(_)
        | Change::Notice(_)
        | Change::Expire(_)
        | Change::Leave(_)
        | Change::Assets(_)
        | Change::Retain(_) => None,
    }
}
