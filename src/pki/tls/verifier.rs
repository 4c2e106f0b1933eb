//! Decides at the handshake whether a client certificate is taken: what the
//! library verifies, and on top of it who may hold it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme};

use crate::base::clock::Timestamp;
use crate::pki::identity::{self, IssuerDigest};

/// Why our own rules refuse a certificate that the library would take.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// It says nothing usable about who holds it.
    Identity(Arc<identity::Error>),
    /// It was not signed by an anchor itself.
    Issuer,
    /// The authority that signed it has expired.
    AuthorityExpired,
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
}

impl Verifier {
    fn judge(&self, leaf: &[u8], now: UnixTime) -> Result<(), Refusal> {
        let identity =
            identity::read(leaf, &self.trust_domain).map_err(|error| Refusal::Identity(Arc::new(error)))?;
        let authority = self.anchors.get(&identity.issuer).ok_or(Refusal::Issuer)?;
        if now.as_secs() > authority.as_seconds() { Err(Refusal::AuthorityExpired) } else { Ok(()) }
    }
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
        self.judge(end_entity, now)
            .map_err(|refusal| CertificateError::Other(OtherError(Arc::new(refusal))))?;
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
