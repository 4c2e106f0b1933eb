//! The table of methods and roles: complete, and closed where it says nothing.

use super::*;

#[test]
fn every_method_has_one_path_of_its_own() {
    for (i, method) in Method::ALL.into_iter().enumerate() {
        assert_eq!(Method::from_path(method.path()), Some(method));
        assert_eq!(method as usize, i, "ALL lists every method in order");
    }
    assert_eq!(Method::from_path("/luytre.v1.ExchangeService/Purge"), None);
    assert_eq!(Method::from_path(""), None);
}

#[test]
fn operator_and_auditor_reach_no_content() {
    let roles = Roles::NONE.with(Role::Operator).with(Role::Auditor);
    let open: Vec<_> = Method::ALL.into_iter().filter(|&m| allowed(m, roles)).map(Method::name).collect();
    assert_eq!(
        open,
        [
            "GetOrganisation",
            "ListOrganisations",
            "WhoAmI",
            "GetRoster",
            "DiffRoster",
            "ApplyRoster",
            "ListPendingChanges",
            "ApproveChange",
            "RejectChange",
            "Check",
            "Watch",
            "ServerReflectionInfo",
            "ServerReflectionInfo",
            "RenewCertificate",
            "GetTrustBundle",
            "GetRevocationList",
            "IssueEnrollmentToken",
            "ListEnrollmentTokens",
            "ApproveEnrollmentToken",
            "CancelEnrollmentToken",
            "ListCertificates",
            "GetCertificate",
            "RevokeCertificate",
            "ConfirmCertificates",
            "SeverConnections",
            "ListAuthorities",
            "RotateAuthority",
            "ListAuditRecords",
            "GetCheckpoint",
            "GetConsistencyProof",
            "GetInclusionProof",
            "ExportAuditLog",
            "ListRecipients",
        ]
    );
}

#[test]
fn without_a_role_only_who_am_i_the_own_certificate_health_and_the_contract_are_open() {
    let open: Vec<_> = Method::ALL.into_iter().filter(|&m| allowed(m, Roles::NONE)).collect();
    assert_eq!(
        open,
        [
            Method::WhoAmI,
            Method::HealthCheck,
            Method::HealthWatch,
            Method::Reflection,
            Method::ReflectionAlpha,
            Method::RenewCertificate,
            Method::GetTrustBundle,
            Method::GetRevocationList,
            Method::GetCheckpoint,
            Method::GetConsistencyProof,
            Method::GetInclusionProof
        ]
    );
}

#[test]
fn a_further_role_never_closes_a_method() {
    for method in Method::ALL {
        for bits in 0..64 {
            let roles = Roles::from_bits(bits);
            for role in Role::ALL {
                assert!(
                    !allowed(method, roles) || allowed(method, roles.with(role)),
                    "{method:?} {roles:?} {role:?}"
                );
            }
        }
    }
}
