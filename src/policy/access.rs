//! Decides which roles may call which method: a method that is not in this
//! table cannot be called at all.

use crate::model::principal::{Role, Roles};

/// Every method that the hub serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// Publishes a batch.
    PublishIndicators,
    /// Publishes batches without pause.
    PublishStream,
    /// Takes an indicator back.
    RevokeIndicator,
    /// Records sightings.
    ReportSightings,
    /// Reads one indicator.
    GetIndicator,
    /// Reads pages of indicators.
    ListIndicators,
    /// Looks values up in bulk.
    LookupObservables,
    /// Receives events.
    Subscribe,
    /// Reads one subscription.
    GetSubscription,
    /// Reads the caller's subscriptions.
    ListSubscriptions,
    /// Deletes a subscription.
    DeleteSubscription,
    /// Reads one organisation.
    GetOrganisation,
    /// Reads all organisations.
    ListOrganisations,
    /// Reads what the hub makes of a certificate.
    WhoAmI,
    /// Reads the whole roster.
    GetRoster,
    /// Compares a roster with what stands.
    DiffRoster,
    /// Changes who takes part.
    ApplyRoster,
    /// Reads the changes that wait for a second person.
    ListPendingChanges,
    /// Agrees to one.
    ApproveChange,
    /// Drops one.
    RejectChange,
    /// Asks for health once.
    HealthCheck,
    /// Asks for health as it changes.
    HealthWatch,
    /// Reads the public contract.
    Reflection,
    /// Reads the public contract in reflection's first form.
    ReflectionAlpha,
    /// Tells an owner why another sees its indicator.
    ExplainAccess,
    /// Asks an owner for leave to republish.
    RequestRepublication,
    /// Gives such leave.
    GrantRepublication,
    /// Refuses it, takes it back or gives it up.
    WithdrawRepublication,
    /// Reads what was asked and given.
    ListRepublications,
    /// Reads what lists of the hub hold back.
    ListHeldPublications,
    /// Lets it out, as the second person.
    ApprovePublication,
    /// Refuses it.
    RejectPublication,
    /// Holds an indicator for a day, as who leads.
    HoldIndicator,
    /// Ends that.
    ReleaseIndicator,
    /// Trades a certificate for a new one.
    RenewCertificate,
    /// Reads what the hub is known by.
    GetTrustBundle,
    /// Reads the revocation lists.
    GetRevocationList,
    /// Makes a token for a new system.
    IssueEnrollmentToken,
    /// Reads the tokens.
    ListEnrollmentTokens,
    /// Agrees to one.
    ApproveEnrollmentToken,
    /// Takes one back.
    CancelEnrollmentToken,
    /// Reads pages of certificates.
    ListCertificates,
    /// Reads one certificate.
    GetCertificate,
    /// Revokes one.
    RevokeCertificate,
    /// Takes those that wait for an operator's word.
    ConfirmCertificates,
    /// Ends connections.
    SeverConnections,
    /// Reads where the authorities stand.
    ListAuthorities,
    /// Takes a rotation one step on.
    RotateAuthority,
    /// Writes indicators as a file.
    ExportIndicators,
    /// Reads pages of an indicator's versions.
    ListIndicatorVersions,
    /// Reads what is known of a value.
    GetObservable,
    /// Counts indicators.
    AggregateIndicators,
    /// Reads pages of the audit.
    ListAuditRecords,
    /// Reads what the hub signs of its audit.
    GetCheckpoint,
    /// Reads the proof that the audit only grew.
    GetConsistencyProof,
    /// Reads the proof that a record is in the audit.
    GetInclusionProof,
    /// Writes the audit as files.
    ExportAuditLog,
    /// Reads who received an indicator.
    ListRecipients,
    /// Reads what the caller's organisation calls its own.
    GetAssets,
    /// Changes it.
    ChangeAssets,
}

/// What a method asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// A certificate that the hub accepts, roles or none.
    AnyCertificate,
    /// One role, whichever.
    AnyRole,
    /// One of these roles.
    OneOf(Roles),
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 60] = [
        Self::PublishIndicators,
        Self::PublishStream,
        Self::RevokeIndicator,
        Self::ReportSightings,
        Self::GetIndicator,
        Self::ListIndicators,
        Self::LookupObservables,
        Self::Subscribe,
        Self::GetSubscription,
        Self::ListSubscriptions,
        Self::DeleteSubscription,
        Self::GetOrganisation,
        Self::ListOrganisations,
        Self::WhoAmI,
        Self::GetRoster,
        Self::DiffRoster,
        Self::ApplyRoster,
        Self::ListPendingChanges,
        Self::ApproveChange,
        Self::RejectChange,
        Self::HealthCheck,
        Self::HealthWatch,
        Self::Reflection,
        Self::ReflectionAlpha,
        Self::ExplainAccess,
        Self::RequestRepublication,
        Self::GrantRepublication,
        Self::WithdrawRepublication,
        Self::ListRepublications,
        Self::ListHeldPublications,
        Self::ApprovePublication,
        Self::RejectPublication,
        Self::HoldIndicator,
        Self::ReleaseIndicator,
        Self::RenewCertificate,
        Self::GetTrustBundle,
        Self::GetRevocationList,
        Self::IssueEnrollmentToken,
        Self::ListEnrollmentTokens,
        Self::ApproveEnrollmentToken,
        Self::CancelEnrollmentToken,
        Self::ListCertificates,
        Self::GetCertificate,
        Self::RevokeCertificate,
        Self::ConfirmCertificates,
        Self::SeverConnections,
        Self::ListAuthorities,
        Self::RotateAuthority,
        Self::ExportIndicators,
        Self::ListIndicatorVersions,
        Self::GetObservable,
        Self::AggregateIndicators,
        Self::ListAuditRecords,
        Self::GetCheckpoint,
        Self::GetConsistencyProof,
        Self::GetInclusionProof,
        Self::ExportAuditLog,
        Self::ListRecipients,
        Self::GetAssets,
        Self::ChangeAssets,
    ];

    /// The path under which gRPC calls the method.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::PublishIndicators => "/luytre.v1.ExchangeService/PublishIndicators",
            Self::PublishStream => "/luytre.v1.ExchangeService/PublishStream",
            Self::RevokeIndicator => "/luytre.v1.ExchangeService/RevokeIndicator",
            Self::ReportSightings => "/luytre.v1.ExchangeService/ReportSightings",
            Self::GetIndicator => "/luytre.v1.ExchangeService/GetIndicator",
            Self::ListIndicators => "/luytre.v1.ExchangeService/ListIndicators",
            Self::LookupObservables => "/luytre.v1.ExchangeService/LookupObservables",
            Self::Subscribe => "/luytre.v1.SubscriptionService/Subscribe",
            Self::GetSubscription => "/luytre.v1.SubscriptionService/GetSubscription",
            Self::ListSubscriptions => "/luytre.v1.SubscriptionService/ListSubscriptions",
            Self::DeleteSubscription => "/luytre.v1.SubscriptionService/DeleteSubscription",
            Self::GetOrganisation => "/luytre.v1.DirectoryService/GetOrganisation",
            Self::ListOrganisations => "/luytre.v1.DirectoryService/ListOrganisations",
            Self::WhoAmI => "/luytre.v1.DirectoryService/WhoAmI",
            Self::GetRoster => "/luytre.v1.RosterService/GetRoster",
            Self::DiffRoster => "/luytre.v1.RosterService/DiffRoster",
            Self::ApplyRoster => "/luytre.v1.RosterService/ApplyRoster",
            Self::ListPendingChanges => "/luytre.v1.RosterService/ListPendingChanges",
            Self::ApproveChange => "/luytre.v1.RosterService/ApproveChange",
            Self::RejectChange => "/luytre.v1.RosterService/RejectChange",
            Self::RequestRepublication => "/luytre.v1.RepublicationService/RequestRepublication",
            Self::GrantRepublication => "/luytre.v1.RepublicationService/GrantRepublication",
            Self::WithdrawRepublication => "/luytre.v1.RepublicationService/WithdrawRepublication",
            Self::ListRepublications => "/luytre.v1.RepublicationService/ListRepublications",
            Self::ListHeldPublications => "/luytre.v1.HeldService/ListHeldPublications",
            Self::ApprovePublication => "/luytre.v1.HeldService/ApprovePublication",
            Self::RejectPublication => "/luytre.v1.HeldService/RejectPublication",
            Self::HoldIndicator => "/luytre.v1.HeldService/HoldIndicator",
            Self::ReleaseIndicator => "/luytre.v1.HeldService/ReleaseIndicator",
            Self::RenewCertificate => "/luytre.v1.CertificateService/RenewCertificate",
            Self::GetTrustBundle => "/luytre.v1.CertificateService/GetTrustBundle",
            Self::GetRevocationList => "/luytre.v1.CertificateService/GetRevocationList",
            Self::IssueEnrollmentToken => "/luytre.v1.CertificateService/IssueEnrollmentToken",
            Self::ListEnrollmentTokens => "/luytre.v1.CertificateService/ListEnrollmentTokens",
            Self::ApproveEnrollmentToken => "/luytre.v1.CertificateService/ApproveEnrollmentToken",
            Self::CancelEnrollmentToken => "/luytre.v1.CertificateService/CancelEnrollmentToken",
            Self::ListCertificates => "/luytre.v1.CertificateService/ListCertificates",
            Self::GetCertificate => "/luytre.v1.CertificateService/GetCertificate",
            Self::RevokeCertificate => "/luytre.v1.CertificateService/RevokeCertificate",
            Self::ConfirmCertificates => "/luytre.v1.CertificateService/ConfirmCertificates",
            Self::SeverConnections => "/luytre.v1.CertificateService/SeverConnections",
            Self::ListAuthorities => "/luytre.v1.CertificateService/ListAuthorities",
            Self::RotateAuthority => "/luytre.v1.CertificateService/RotateAuthority",
            Self::ExportIndicators => "/luytre.v1.HistoryService/ExportIndicators",
            Self::ListIndicatorVersions => "/luytre.v1.HistoryService/ListIndicatorVersions",
            Self::GetObservable => "/luytre.v1.HistoryService/GetObservable",
            Self::AggregateIndicators => "/luytre.v1.HistoryService/AggregateIndicators",
            Self::ListAuditRecords => "/luytre.v1.AuditService/ListAuditRecords",
            Self::GetCheckpoint => "/luytre.v1.AuditService/GetCheckpoint",
            Self::GetConsistencyProof => "/luytre.v1.AuditService/GetConsistencyProof",
            Self::GetInclusionProof => "/luytre.v1.AuditService/GetInclusionProof",
            Self::ExportAuditLog => "/luytre.v1.AuditService/ExportAuditLog",
            Self::ListRecipients => "/luytre.v1.ReceiptService/ListRecipients",
            Self::GetAssets => "/luytre.v1.AssetService/GetAssets",
            Self::ChangeAssets => "/luytre.v1.AssetService/ChangeAssets",
            Self::HealthCheck => "/grpc.health.v1.Health/Check",
            Self::HealthWatch => "/grpc.health.v1.Health/Watch",
            Self::Reflection => "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            Self::ExplainAccess => "/luytre.v1.ExchangeService/ExplainAccess",
            Self::ReflectionAlpha => "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        }
    }

    /// The method of this path.
    #[must_use]
    pub fn from_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.path() == path)
    }

    /// The method's name, for logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.path().rsplit('/').next().unwrap_or_default()
    }

    /// Whether one request makes one response, so that a deadline bounds it.
    #[must_use]
    pub const fn is_unary(self) -> bool {
        match self {
            Self::PublishIndicators
            | Self::RevokeIndicator
            | Self::ReportSightings
            | Self::GetIndicator
            | Self::ListIndicators
            | Self::GetSubscription
            | Self::ListSubscriptions
            | Self::DeleteSubscription
            | Self::GetOrganisation
            | Self::ListOrganisations
            | Self::WhoAmI
            | Self::ExplainAccess
            | Self::GetRoster
            | Self::DiffRoster
            | Self::ApplyRoster
            | Self::ListPendingChanges
            | Self::ApproveChange
            | Self::RejectChange
            | Self::RequestRepublication
            | Self::GrantRepublication
            | Self::WithdrawRepublication
            | Self::ListRepublications
            | Self::ListHeldPublications
            | Self::ApprovePublication
            | Self::RejectPublication
            | Self::HoldIndicator
            | Self::ReleaseIndicator
            | Self::RenewCertificate
            | Self::GetTrustBundle
            | Self::GetRevocationList
            | Self::IssueEnrollmentToken
            | Self::ListEnrollmentTokens
            | Self::ApproveEnrollmentToken
            | Self::CancelEnrollmentToken
            | Self::ListCertificates
            | Self::GetCertificate
            | Self::RevokeCertificate
            | Self::ConfirmCertificates
            | Self::SeverConnections
            | Self::ListAuthorities
            | Self::RotateAuthority
            | Self::ListIndicatorVersions
            | Self::GetObservable
            | Self::AggregateIndicators
            | Self::ListAuditRecords
            | Self::GetCheckpoint
            | Self::GetConsistencyProof
            | Self::GetInclusionProof
            | Self::ListRecipients
            | Self::GetAssets
            | Self::ChangeAssets
            | Self::HealthCheck => true,
            Self::PublishStream
            | Self::LookupObservables
            | Self::ExportIndicators
            | Self::ExportAuditLog
            | Self::Subscribe
            | Self::HealthWatch
            | Self::Reflection
            | Self::ReflectionAlpha => false,
        }
    }

    /// What the method asks of its caller. The operator runs the hub and the
    /// auditor reads its audit: neither reads content.
    #[must_use]
    pub const fn requirement(self) -> Requirement {
        const PUBLISHER: Roles = Roles::NONE.with(Role::Publisher);
        const SUBSCRIBER: Roles = Roles::NONE.with(Role::Subscriber);
        const ANALYST: Roles = Roles::NONE.with(Role::Analyst);
        const OPERATOR: Roles = Roles::NONE.with(Role::Operator);
        const AUDITOR: Roles = Roles::NONE.with(Role::Auditor);
        match self {
            Self::PublishIndicators
            | Self::PublishStream
            | Self::RevokeIndicator
            | Self::ReportSightings
            | Self::RequestRepublication
            | Self::GrantRepublication
            | Self::WithdrawRepublication
            | Self::ApprovePublication
            | Self::RejectPublication
            | Self::ChangeAssets => Requirement::OneOf(PUBLISHER),
            Self::GetIndicator | Self::LookupObservables => {
                Requirement::OneOf(ANALYST.with(Role::Subscriber))
            }
            Self::ListIndicators
            | Self::ExportIndicators
            | Self::ListIndicatorVersions
            | Self::GetObservable
            | Self::AggregateIndicators => Requirement::OneOf(ANALYST),
            Self::ExplainAccess | Self::ListRepublications | Self::ListHeldPublications => {
                Requirement::OneOf(ANALYST.with(Role::Publisher))
            }
            Self::Subscribe | Self::GetSubscription | Self::ListSubscriptions | Self::DeleteSubscription => {
                Requirement::OneOf(SUBSCRIBER)
            }
            Self::HoldIndicator | Self::ReleaseIndicator => {
                Requirement::OneOf(Roles::NONE.with(Role::Coordinator))
            }
            Self::GetAssets => Requirement::OneOf(ANALYST.with(Role::Publisher).with(Role::Subscriber)),
            Self::ListAuditRecords | Self::ExportAuditLog => Requirement::OneOf(AUDITOR),
            // Of which indicators is the hub's to say; an auditor sees no content.
            Self::ListRecipients => Requirement::OneOf(ANALYST.with(Role::Publisher).with(Role::Auditor)),
            Self::GetOrganisation | Self::ListOrganisations => Requirement::AnyRole,
            Self::GetRoster
            | Self::DiffRoster
            | Self::ListPendingChanges
            | Self::ListEnrollmentTokens
            | Self::ListCertificates
            | Self::GetCertificate
            | Self::ListAuthorities => Requirement::OneOf(OPERATOR.with(Role::Coordinator)),
            Self::ApplyRoster
            | Self::ApproveChange
            | Self::RejectChange
            | Self::IssueEnrollmentToken
            | Self::ApproveEnrollmentToken
            | Self::CancelEnrollmentToken
            | Self::RevokeCertificate
            | Self::ConfirmCertificates
            | Self::SeverConnections
            | Self::RotateAuthority => Requirement::OneOf(OPERATOR),
            Self::WhoAmI
            | Self::RenewCertificate
            | Self::GetTrustBundle
            | Self::GetRevocationList
            | Self::GetCheckpoint
            | Self::GetConsistencyProof
            | Self::GetInclusionProof
            | Self::HealthCheck
            | Self::HealthWatch
            | Self::Reflection
            | Self::ReflectionAlpha => Requirement::AnyCertificate,
        }
    }
}

/// Whether a caller with `roles` may call `method`.
#[must_use]
pub fn allowed(method: Method, roles: Roles) -> bool {
    match method.requirement() {
        Requirement::AnyCertificate => true,
        Requirement::AnyRole => roles != Roles::NONE,
        Requirement::OneOf(any) => roles.intersects(any),
    }
}

#[cfg(test)]
mod tests;
