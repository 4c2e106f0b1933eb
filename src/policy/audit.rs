//! Decides what a call is for, as the audit tells it, and what of the audit one
//! caller may read.

use time::Date;

use crate::model::audit::Purpose;
use crate::model::org::OrgSlug;
use crate::model::principal::{Role, SpiffeId};
use crate::model::roster::Roster;

use super::access::Method;

/// What calls of a method are for.
#[must_use]
pub const fn purpose(method: Method) -> Purpose {
    match method {
        Method::PublishIndicators
        | Method::PublishStream
        | Method::RevokeIndicator
        | Method::ReportSightings
        | Method::RequestRepublication
        | Method::GrantRepublication
        | Method::WithdrawRepublication
        | Method::ApprovePublication
        | Method::RejectPublication
        | Method::HoldIndicator
        | Method::ReleaseIndicator
        | Method::ChangeAssets => Purpose::Write,
        Method::Subscribe => Purpose::Deliver,
        Method::GetIndicator
        | Method::ListIndicatorVersions
        | Method::GetObservable
        | Method::ExplainAccess
        | Method::ListRepublications
        | Method::ListHeldPublications => Purpose::Get,
        Method::ListIndicators | Method::LookupObservables => Purpose::Search,
        Method::AggregateIndicators => Purpose::Aggregate,
        Method::ExportIndicators => Purpose::Export,
        Method::GetRoster
        | Method::DiffRoster
        | Method::ApplyRoster
        | Method::ListPendingChanges
        | Method::ApproveChange
        | Method::RejectChange
        | Method::RenewCertificate
        | Method::IssueEnrollmentToken
        | Method::ListEnrollmentTokens
        | Method::ApproveEnrollmentToken
        | Method::CancelEnrollmentToken
        | Method::ListCertificates
        | Method::GetCertificate
        | Method::RevokeCertificate
        | Method::ConfirmCertificates
        | Method::SeverConnections
        | Method::ListAuthorities
        | Method::RotateAuthority => Purpose::Administer,
        Method::ListAuditRecords | Method::ExportAuditLog | Method::ListRecipients => Purpose::Audit,
        Method::GetSubscription
        | Method::ListSubscriptions
        | Method::DeleteSubscription
        | Method::GetAssets
        | Method::GetOrganisation
        | Method::ListOrganisations
        | Method::WhoAmI
        | Method::GetTrustBundle
        | Method::GetRevocationList
        | Method::GetCheckpoint
        | Method::GetConsistencyProof
        | Method::GetInclusionProof
        | Method::HealthCheck
        | Method::HealthWatch
        | Method::Reflection
        | Method::ReflectionAlpha => Purpose::Platform,
    }
}

/// Whether answers of a method carry content of indicators, which must not leave
/// before it is on record who got it.
#[must_use]
pub const fn carries_content(method: Method) -> bool {
    matches!(
        purpose(method),
        Purpose::Deliver | Purpose::Get | Purpose::Search | Purpose::Aggregate | Purpose::Export
    )
}

/// Whether the auditors of an organisation read the calls of all: someone of it
/// is an operator of the hub on that day. Those of any other organisation read
/// the calls of their own.
#[must_use]
pub fn reads_all(roster: &Roster, organisation: &OrgSlug, date: Date) -> bool {
    let own = |identity: &&SpiffeId| identity.org() == organisation;
    roster.principals.keys().filter(own).any(|identity| roster.roles(identity, date).contains(Role::Operator))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::org::Organisation;
    use crate::model::principal::Roles;
    use crate::model::roster::Grant;

    #[test]
    fn auditors_of_whoever_runs_the_hub_read_all_and_others_their_own() {
        let day = time::macros::date!(2026 - 11 - 23);
        let grant = |role| Grant { roles: Roles::NONE.with(role), from: None, to: None };
        let identity = |org: &str| SpiffeId::parse(&format!("spiffe://t.example/org/{org}/user/x")).unwrap();
        let principals = [(identity("hub"), grant(Role::Operator)), (identity("unit"), grant(Role::Auditor))];
        let slugs = ["hub", "unit"].map(|slug| OrgSlug::parse(slug).unwrap());
        let organisations = slugs.map(|slug| (slug.clone(), Organisation::plain(slug))).into();
        let roster = Roster { organisations, principals: principals.into(), ..Roster::default() };
        assert!(reads_all(&roster, identity("hub").org(), day));
        assert!(!reads_all(&roster, identity("unit").org(), day));
    }

    #[test]
    fn what_carries_content_is_what_reads_indicators() {
        let all: Vec<_> = Method::ALL.into_iter().filter(|&m| carries_content(m)).map(Method::name).collect();
        assert_eq!(
            all,
            [
                "GetIndicator",
                "ListIndicators",
                "LookupObservables",
                "Subscribe",
                "ExplainAccess",
                "ListRepublications",
                "ListHeldPublications",
                "ExportIndicators",
                "ListIndicatorVersions",
                "GetObservable",
                "AggregateIndicators"
            ]
        );
    }
}
