//! Decides what the audit says of a change that nobody called for over the
//! network: the machine's operator made it, or the hub itself.

use crate::model::certificate::CertificateChange as Of;
use crate::model::roster::Patch;

use super::super::proposal::Change;

/// Under which method such a change is on record, and what it is about; `None`:
/// the log alone tells of it.
pub(super) fn told(change: &Change) -> Option<(&'static str, String)> {
    match change {
        Change::Roster(change) => Some(("MachineRoster", format!("applied: {}", roster(&change.patch)))),
        Change::Propose(change) => Some(("MachineRoster", format!("proposed: {}", roster(&change.patch)))),
        Change::Reject(rejected) => {
            Some(("MachineRoster", format!("rejected a change: {}", rejected.reason)))
        }
        Change::Certificate(entry) => Some(("MachineCertificate", certificate(&entry.change))),
        Change::Rotate(asked) => {
            let rotation = &asked.rotation;
            Some(("MachineRotation", format!("{}: {}", rotation.hierarchy.name(), rotation.phase)))
        }
        Change::Publish(_)
        | Change::Revoke(_)
        | Change::Sight(_)
        | Change::Notice(_)
        | Change::Expire(_)
        | Change::Leave(_)
        | Change::Wait(_)
        | Change::Answer(_)
        | Change::Contain(_)
        | Change::Assets(_)
        | Change::Retain(_) => None,
    }
}

/// What a change of the roster touches.
fn roster(patch: &Patch) -> String {
    let Patch { organisations, duties, principals, groups, relations } = patch;
    let organisations = organisations.iter().map(|organisation| organisation.slug.to_string());
    let principals = principals.iter().map(|(id, _)| id.to_string());
    let groups = groups.iter().map(|(slug, _)| format!("group {slug}"));
    let duties = duties.iter().map(|_| "duties".to_owned());
    let relations = relations.iter().map(|_| "relations".to_owned());
    let all: Vec<_> = organisations.chain(principals).chain(groups).chain(duties).chain(relations).collect();
    if all.is_empty() { "the turn of a day".to_owned() } else { all.join(", ") }
}

fn certificate(change: &Of) -> String {
    match change {
        Of::Make { holder, .. } => format!("an enrolment token for {holder}"),
        Of::Approve(_) => "an enrolment token approved".to_owned(),
        Of::Cancel(_) => "an enrolment token cancelled".to_owned(),
        Of::Issue(issued) => format!("certificate {} issued for {}", issued.id.serial, issued.holder),
        Of::Revoke { id, reason, .. } => format!("certificate {} revoked: {reason}", id.serial),
        Of::Confirm(ids) => {
            let serials: Vec<_> = ids.iter().map(|id| id.serial.as_str()).collect();
            format!("certificates confirmed: {}", serials.join(", "))
        }
        Of::Sever { peers, reason } => format!("connections of {peers} ended: {reason}"),
        Of::Use(id) => format!("certificate {} used for the first time", id.serial),
        Of::Draw(issuer) => format!("a revocation list of {} drawn", issuer.short()),
        Of::Prove { holder, issuer } => format!("{holder} trusts {}", issuer.short()),
        Of::Read(_) => "the signer's journal read".to_owned(),
        Of::BackUp(_) => "a backup is whole".to_owned(),
        Of::Skip { issuer, .. } => format!("a revocation list of {} passed over", issuer.short()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;
    use crate::model::certificate::{CertificateEntry, CertificateId, IssuerDigest, Peers};
    use crate::model::org::OrgSlug;
    use crate::model::principal::SpiffeId;

    fn of(change: Of) -> String {
        let entry = CertificateEntry { time: Timestamp::EPOCH, change };
        let (method, about) = told(&Change::Certificate(Box::new(entry))).unwrap();
        assert_eq!(method, "MachineCertificate");
        about
    }

    #[test]
    fn what_is_done_on_the_machine_is_on_record_with_whom_it_concerns_and_why() {
        let id = CertificateId { issuer: IssuerDigest([7; 32]), serial: "0a".to_owned() };
        let revoked = of(Of::Revoke { id, reason: "its key was copied".to_owned(), descendants: true });
        assert_eq!(revoked, "certificate 0a revoked: its key was copied");
        let unit = OrgSlug::parse("so-y-te").unwrap();
        let ended = of(Of::Sever { peers: Peers::Organisation(unit), reason: "a drill".to_owned() });
        assert_eq!(ended, "connections of organisation so-y-te ended: a drill");
        let person = SpiffeId::parse("spiffe://hub.example/org/so-y-te/user/an").unwrap();
        let patch = Patch { principals: vec![(person.clone(), None)], ..Patch::default() };
        assert_eq!(roster(&patch), person.to_string());
        assert_eq!(roster(&Patch::default()), "the turn of a day");
    }
}
