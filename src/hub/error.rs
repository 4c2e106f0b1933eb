//! Decides what went wrong, in two messages: what the caller may read, and
//! what the log may hold.

use std::fmt;
use std::time::Duration;

use crate::model::{Invalid, invalid};

/// The classes of error; each maps to one gRPC code, HTTP status and exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The input is wrong; see the fields.
    Invalid,
    /// The caller is nobody the hub knows.
    Unauthenticated,
    /// The caller may not call this method.
    Denied,
    /// Missing, or hidden: the two are one.
    Absent,
    /// It is there already.
    Exists,
    /// The caller's version is out of date.
    Stale,
    /// Wrong state for this.
    State,
    /// Before the retained log, or of an epoch that ended.
    Expired,
    /// Too much.
    Limited,
    /// The store is latched read-only.
    ReadOnly,
    /// The hub is going down in good order.
    Draining,
    /// A newer stream or transaction took over.
    Displaced,
    /// Out of time.
    Timeout,
    /// Data is damaged.
    Corrupt,
    /// A fault of the hub.
    Internal,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Invalid,
        Self::Unauthenticated,
        Self::Denied,
        Self::Absent,
        Self::Exists,
        Self::Stale,
        Self::State,
        Self::Expired,
        Self::Limited,
        Self::ReadOnly,
        Self::Draining,
        Self::Displaced,
        Self::Timeout,
        Self::Corrupt,
        Self::Internal,
    ];
}

/// The stable cause that a client may act on; public contract, one paragraph
/// each in `docs/errors.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// What was sent is refused for what it says.
    Input(invalid::Reason),
    /// The certificate names nobody whom the roster knows.
    PrincipalUnknown,
    /// The organisation is suspended, ended or not yet begun.
    OrganisationInactive,
    /// The certificate was revoked.
    CertificateRevoked,
    /// The certificate expired while the connection was open.
    CertificateExpired,
    /// A newer certificate of the same holder is in use.
    CertificateSuperseded,
    /// The enrolment token is unknown, used, ended, or waits for approval.
    EnrolmentTokenInvalid,
    /// The certificate was renewed a moment ago, or is too young to be.
    RenewalTooEarly,
    /// The key was certified before.
    KeyReused,
    /// The certificate is not one that the hub's own authorities issued.
    CertificateForeign,
    /// Something stands in the way of a step of a rotation.
    RotationBlocked,
    /// Whoever signs certificates does not answer, or there is nobody.
    SignerUnavailable,
    /// No role of the caller may call this method.
    RoleInsufficient,
    /// The caller's organisation does not act for the one that it names.
    DelegationMissing,
    /// What one person asks for, a second one has to agree to.
    SecondPersonRequired,
    /// No such method.
    MethodUnknown,
    /// Missing or hidden.
    NotFound,
    /// The value was revoked by this producer.
    IndicatorRevoked,
    /// The item would join two records of one producer.
    IdentityConflict,
    /// No leave of the owner's holds to republish its indicator.
    RepublicationWithoutLeave,
    /// The republication would reach further than the owner's leave.
    RepublicationTooWide,
    /// A list of the hub lets nobody publish the value.
    GuardRefused,
    /// The unit that leads holds the indicator, or did before.
    IndicatorHeld,
    /// The version is not the one that stands.
    EtagMismatch,
    /// The request id was used with other content.
    DuplicateRequestId,
    /// The request is larger than the limit.
    RequestTooLarge,
    /// The token is not one of ours for this caller and use.
    ResumeTokenInvalid,
    /// The token is from an epoch that ended, ahead of the log, or older than
    /// what is kept of it.
    ResumeTokenExpired,
    /// What is asked about is older than what the hub keeps.
    HistoryTruncated,
    /// The page token is not one of ours for this caller and query.
    PageTokenInvalid,
    /// A newer stream of the same subscription took over.
    SubscriptionDisplaced,
    /// Too many requests, streams or items.
    RateLimited,
    /// The store is read-only after a failure.
    StoreReadOnly,
    /// What is asked for is not indexed yet.
    IndexBehind,
    /// The hub is going down.
    Draining,
    /// Out of time.
    DeadlineExceeded,
    /// Stored data is damaged.
    DataCorrupt,
    /// A fault of the hub.
    InternalError,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 45] = [
        Self::Input(invalid::Reason::FieldInvalid),
        Self::Input(invalid::Reason::MarkingRequired),
        Self::Input(invalid::Reason::MarkingUnsupported),
        Self::Input(invalid::Reason::OrganisationUnknown),
        Self::Input(invalid::Reason::GroupUnknown),
        Self::Input(invalid::Reason::PersonUnknown),
        Self::Input(invalid::Reason::SourcesMixed),
        Self::Input(invalid::Reason::StateSecretSuspected),
        Self::PrincipalUnknown,
        Self::OrganisationInactive,
        Self::CertificateRevoked,
        Self::CertificateExpired,
        Self::CertificateSuperseded,
        Self::EnrolmentTokenInvalid,
        Self::RenewalTooEarly,
        Self::KeyReused,
        Self::CertificateForeign,
        Self::RotationBlocked,
        Self::SignerUnavailable,
        Self::RoleInsufficient,
        Self::DelegationMissing,
        Self::SecondPersonRequired,
        Self::MethodUnknown,
        Self::NotFound,
        Self::IndicatorRevoked,
        Self::IdentityConflict,
        Self::RepublicationWithoutLeave,
        Self::RepublicationTooWide,
        Self::GuardRefused,
        Self::IndicatorHeld,
        Self::EtagMismatch,
        Self::DuplicateRequestId,
        Self::RequestTooLarge,
        Self::ResumeTokenInvalid,
        Self::ResumeTokenExpired,
        Self::HistoryTruncated,
        Self::PageTokenInvalid,
        Self::SubscriptionDisplaced,
        Self::RateLimited,
        Self::StoreReadOnly,
        Self::IndexBehind,
        Self::Draining,
        Self::DeadlineExceeded,
        Self::DataCorrupt,
        Self::InternalError,
    ];

    /// The reason as it stands on the wire, `UPPER_SNAKE`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input(reason) => reason.as_str(),
            Self::PrincipalUnknown => "PRINCIPAL_UNKNOWN",
            Self::OrganisationInactive => "ORGANISATION_INACTIVE",
            Self::CertificateRevoked => "CERTIFICATE_REVOKED",
            Self::CertificateExpired => "CERTIFICATE_EXPIRED",
            Self::CertificateSuperseded => "CERTIFICATE_SUPERSEDED",
            Self::EnrolmentTokenInvalid => "ENROLMENT_TOKEN_INVALID",
            Self::RenewalTooEarly => "RENEWAL_TOO_EARLY",
            Self::KeyReused => "KEY_REUSED",
            Self::CertificateForeign => "CERTIFICATE_FOREIGN",
            Self::RotationBlocked => "ROTATION_BLOCKED",
            Self::SignerUnavailable => "SIGNER_UNAVAILABLE",
            Self::RoleInsufficient => "ROLE_INSUFFICIENT",
            Self::DelegationMissing => "DELEGATION_MISSING",
            Self::SecondPersonRequired => "SECOND_PERSON_REQUIRED",
            Self::MethodUnknown => "METHOD_UNKNOWN",
            Self::NotFound => "NOT_FOUND",
            Self::IndicatorRevoked => "INDICATOR_REVOKED",
            Self::IdentityConflict => "IDENTITY_CONFLICT",
            Self::RepublicationWithoutLeave => "REPUBLICATION_WITHOUT_LEAVE",
            Self::RepublicationTooWide => "REPUBLICATION_TOO_WIDE",
            Self::GuardRefused => "GUARD_REFUSED",
            Self::IndicatorHeld => "INDICATOR_HELD",
            Self::EtagMismatch => "ETAG_MISMATCH",
            Self::DuplicateRequestId => "DUPLICATE_REQUEST_ID",
            Self::RequestTooLarge => "REQUEST_TOO_LARGE",
            Self::ResumeTokenInvalid => "RESUME_TOKEN_INVALID",
            Self::ResumeTokenExpired => "RESUME_TOKEN_EXPIRED",
            Self::HistoryTruncated => "HISTORY_TRUNCATED",
            Self::PageTokenInvalid => "PAGE_TOKEN_INVALID",
            Self::SubscriptionDisplaced => "SUBSCRIPTION_DISPLACED",
            Self::RateLimited => "RATE_LIMITED",
            Self::StoreReadOnly => "STORE_READ_ONLY",
            Self::IndexBehind => "INDEX_BEHIND",
            Self::Draining => "DRAINING",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::DataCorrupt => "DATA_CORRUPT",
            Self::InternalError => "INTERNAL_ERROR",
        }
    }

    /// The class of this reason.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Input(_)
            | Self::DuplicateRequestId
            | Self::RequestTooLarge
            | Self::ResumeTokenInvalid
            | Self::PageTokenInvalid => Kind::Invalid,
            Self::CertificateRevoked
            | Self::CertificateExpired
            | Self::CertificateSuperseded
            | Self::EnrolmentTokenInvalid => Kind::Unauthenticated,
            Self::PrincipalUnknown
            | Self::OrganisationInactive
            | Self::RoleInsufficient
            | Self::DelegationMissing
            | Self::SecondPersonRequired
            | Self::MethodUnknown => Kind::Denied,
            Self::NotFound => Kind::Absent,
            Self::IndicatorRevoked
            | Self::KeyReused
            | Self::CertificateForeign
            | Self::RotationBlocked
            | Self::IdentityConflict
            | Self::RepublicationWithoutLeave
            | Self::RepublicationTooWide
            | Self::GuardRefused
            | Self::IndicatorHeld => Kind::State,
            Self::EtagMismatch => Kind::Stale,
            Self::ResumeTokenExpired | Self::HistoryTruncated => Kind::Expired,
            Self::SubscriptionDisplaced => Kind::Displaced,
            Self::RateLimited | Self::RenewalTooEarly => Kind::Limited,
            Self::StoreReadOnly => Kind::ReadOnly,
            Self::Draining | Self::SignerUnavailable | Self::IndexBehind => Kind::Draining,
            Self::DeadlineExceeded => Kind::Timeout,
            Self::DataCorrupt => Kind::Corrupt,
            Self::InternalError => Kind::Internal,
        }
    }
}

impl From<invalid::Reason> for Reason {
    fn from(reason: invalid::Reason) -> Self {
        Self::Input(reason)
    }
}

/// An error of the engine.
#[derive(Debug)]
pub struct Error {
    /// The stable cause.
    pub reason: Reason,
    /// What the caller may read, with what to do.
    pub public: String,
    /// What is wrong with which field, for [`Kind::Invalid`].
    pub fields: Vec<Invalid>,
    /// After how long a retry makes sense.
    pub retry_after: Option<Duration>,
    /// Which limit was met, for [`Kind::Limited`], where it is one of the
    /// configuration.
    pub exceeded: Option<Exceeded>,
    /// What the log may hold beyond that.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A limit of the configuration that was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// Whose: a resource name or an identity.
    pub subject: String,
    /// Its key in the configuration.
    pub limit: &'static str,
    /// How much it allows.
    pub most: u64,
}

impl Error {
    /// An error with a text for the caller.
    pub fn new(reason: Reason, public: impl Into<String>) -> Self {
        Self {
            reason,
            public: public.into(),
            fields: Vec::new(),
            retry_after: None,
            exceeded: None,
            source: None,
        }
    }

    /// A fault of the hub: the caller reads a constant, the log the cause.
    pub fn internal(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::new(
                Reason::InternalError,
                "the hub failed on this request; quote the request id to its operator",
            )
        }
    }

    /// Missing or hidden: one text for both.
    #[must_use]
    pub fn absent() -> Self {
        Self::new(Reason::NotFound, "there is no such resource, or you may not see it")
    }

    /// The same with a cause for the log.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The class of this error.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.reason.kind()
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self { fields: vec![invalid.clone()], ..Self::new(invalid.reason.into(), invalid.to_string()) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.public)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
