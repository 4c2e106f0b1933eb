//! Decides who is asking: a verified identity with its roles of today.

use tokio_util::sync::CancellationToken;

use crate::base::clock::Timestamp;
use crate::model::certificate::CertificateId;
use crate::model::org::OrgNo;
use crate::model::principal::{Roles, SpiffeId};

use super::audit::Trail;

/// Whoever asks the hub for something. Made by [`super::Hub::authenticate`]
/// from a verified certificate, and from nothing else.
#[derive(Debug, Clone)]
pub struct Caller {
    pub(super) identity: SpiffeId,
    pub(super) org: OrgNo,
    pub(super) roles: Roles,
    pub(super) certificate: CertificateId,
    pub(super) severed: CancellationToken,
    pub(super) trail: Trail,
}

/// What the listener proved about the other end of a connection.
#[derive(Debug, Clone)]
pub struct PeerCertificate {
    /// The one SPIFFE identity in the certificate.
    pub identity: SpiffeId,
    /// The certificate, by issuer and serial.
    pub certificate: CertificateId,
    /// SHA-256 over it in DER.
    pub fingerprint: [u8; 32],
    /// Start of its validity.
    pub not_before: Timestamp,
    /// When the certificate expires.
    pub not_after: Timestamp,
    /// The key exchange of the connection, such as `X25519MLKEM768`.
    pub key_exchange: &'static str,
    /// Cancelled when the certificate is revoked or expires.
    pub severed: CancellationToken,
}

impl Caller {
    /// The same caller in a call of which an audit record is kept.
    #[must_use]
    pub fn with_trail(self, trail: Trail) -> Self {
        Self { trail, ..self }
    }

    /// What is noted of the call.
    #[must_use]
    pub const fn trail(&self) -> &Trail {
        &self.trail
    }

    /// The certificate that says so.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateId {
        &self.certificate
    }

    /// The caller's identity.
    #[must_use]
    pub const fn identity(&self) -> &SpiffeId {
        &self.identity
    }

    /// Number of the caller's organisation.
    #[must_use]
    pub const fn org(&self) -> OrgNo {
        self.org
    }

    /// The caller's roles today.
    #[must_use]
    pub const fn roles(&self) -> Roles {
        self.roles
    }

    /// Whether the caller's certificate was revoked or expired since.
    #[must_use]
    pub fn is_severed(&self) -> bool {
        self.severed.is_cancelled()
    }

    /// Resolves once the caller's certificate is revoked or expires.
    pub async fn severed(&self) {
        self.severed.cancelled().await;
    }
}
