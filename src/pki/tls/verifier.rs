//! Decides at the handshake whether a client certificate is taken: what the
//! library verifies, and on top of it who may hold it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme};

use super::ledger::{Ledger, LedgerVerdict};
use crate::base::clock::Timestamp;
use crate::model::principal::SpiffeId;
use crate::pki::identity::{self, Identity, IssuerDigest};

/// Why our own rules refuse a certificate that the library would take.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// It says nothing usable about who holds it.
    Identity(Arc<identity::Error>),
    /// It was not signed by an anchor itself.
    Issuer,
    /// The authority that signed it has expired.
    AuthorityExpired,
    /// The ledger is kept for its authority, and does not know it: another
    /// than this hub has the authority's key.
    NotIssued {
        /// Whom it names.
        holder: SpiffeId,
        /// Its serial number.
        serial: String,
    },
}

impl Refusal {
    /// The refusal inside a TLS error, if that is what it is.
    #[must_use]
    pub fn of(error: &rustls::Error) -> Option<&Self> {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
                inner.downcast_ref()
            }
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(error) => error.fmt(f),
            Self::Issuer => {
                f.write_str("the certificate is not signed by a trusted issuing authority itself")
            }
            Self::AuthorityExpired => f.write_str("the authority that signed the certificate has expired"),
            Self::NotIssued { holder, serial } => write!(
                f,
                "the ledger does not know certificate {serial} of {holder}, which a trusted authority signed: \
                 the authority's key may be stolen"
            ),
        }
    }
}

impl std::error::Error for Refusal {}

/// The library's verifier, then ours.
///
/// The library takes any leaf of a trusted authority: without an extended key
/// usage, with any name in it, and even from an anchor that has expired.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) inner: Arc<dyn ClientCertVerifier>,
    pub(super) trust_domain: String,
    pub(super) anchors: BTreeMap<IssuerDigest, Timestamp>,
    pub(super) ledger: Option<Arc<dyn Ledger>>,
}

impl Verifier {
    fn judge(&self, leaf: &[u8], now: UnixTime) -> Result<(), CertificateError> {
        let identity = identity::read(leaf, &self.trust_domain)
            .map_err(|error| ours(Refusal::Identity(Arc::new(error))))?;
        let authority = self.anchors.get(&identity.issuer).ok_or_else(|| ours(Refusal::Issuer))?;
        if now.as_secs() > authority.as_seconds() {
            return Err(ours(Refusal::AuthorityExpired));
        }
        let Some(ledger) = &self.ledger else { return Ok(()) };
        let now = Timestamp::from_micros_clamped(now.as_secs().saturating_mul(1_000_000));
        let verdict = ledger.judge(&identity.certificate_id(), &identity.fingerprint, now);
        let refused = match verdict {
            LedgerVerdict::Taken | LedgerVerdict::NotEmbedded => return Ok(()),
            LedgerVerdict::Unknown => ours(Refusal::NotIssued {
                holder: identity.spiffe_id.clone(),
                serial: identity.serial.clone(),
            }),
            // The alerts that RFC 8446, section 6.2, has for these.
            LedgerVerdict::Revoked | LedgerVerdict::Superseded => CertificateError::Revoked,
            LedgerVerdict::Inactive | LedgerVerdict::Unconfirmed => {
                CertificateError::ApplicationVerificationFailure
            }
        };
        let Identity { spiffe_id, serial, .. } = identity;
        tracing::info!(identity = %spiffe_id, serial, ?verdict, "the ledger refuses a certificate");
        Err(refused)
    }
}

/// A refusal that only our own rules know.
fn ours(refusal: Refusal) -> CertificateError {
    CertificateError::Other(OtherError(Arc::new(refusal)))
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        self.judge(end_entity, now)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
