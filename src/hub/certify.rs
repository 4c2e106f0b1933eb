//! Decides what an entry about certificates does: deterministic, as all of
//! [`super::apply`].

use std::sync::Arc;

use crate::model::principal::Role;
use crate::pki::ledger::Asker;
use crate::store::certificate;
use crate::store::db;
use crate::store::proto::{self, certificate_change, entry_header::Change as Stored};

use super::apply::Entry;
use super::group::{Group, resolved};
use super::proposal::{Change, Decision, Refusal};

impl Group<'_> {
    /// Applies an entry about certificates; it is written unless refused.
    pub(super) fn certify(&mut self, entry: &Entry<'_>) -> Decision {
        let at = entry.seq.at(0);
        let asker = Asker { author: entry.author, at };
        let directory = Arc::clone(&self.directory);
        let operates = |id: &_| directory.roster().roles(id, directory.date()).contains(Role::Operator);
        // A copy only if the entry may change it: it is shared with readers.
        let mut ledger = Arc::clone(&self.ledger);
        let applied = match entry.change {
            Change::Certificate(asked) => Arc::make_mut(&mut ledger).apply(asked, asker, &operates),
            Change::Rotate(asked) => {
                Arc::make_mut(&mut ledger).rotate(asked.rotation.hierarchy, &asked.rotation)
            }
            _ => return Decision::Refused(Refusal::Absent),
        };
        match applied {
            Ok(()) => {
                self.ledger = ledger;
                resolved(at)
            }
            Err(refusal) => Decision::Refused(Refusal::Ledger(refusal)),
        }
    }
}

/// What an entry about certificates asked for; `None`: it is about another.
pub(super) fn stored(header: &proto::EntryHeader) -> Option<Result<Change, db::Error>> {
    let Some(Stored::Certificate(stored)) = header.change.as_ref() else { return None };
    Some(match &stored.change {
        Some(certificate_change::Change::Rotate(rotation)) => {
            certificate::decode_rotation(rotation).map(|rotation| {
                let time = crate::base::clock::Timestamp::from_micros_clamped(stored.time);
                Change::Rotate(Box::new(super::proposal::ProposedRotation {
                    time,
                    rotation: Arc::new(rotation),
                }))
            })
        }
        _ => certificate::decode_change(stored).map(|entry| Change::Certificate(Box::new(entry))),
    })
}
