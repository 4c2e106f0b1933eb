//! Decides when an answer of the hub is a certificate that can be used: it fits
//! the key, and it names who asked.

use std::fmt;
use std::sync::Arc;

use prost::bytes::Bytes;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::base::clock::Timestamp;
use crate::model::principal::SpiffeId;
use crate::pki::issue::{self, Key};
use crate::pki::pem::{self, Label};
use crate::pki::{identity, tls};
use crate::wire::proto::v1;

use super::error::Error;
use super::identity::Identity;

/// A certificate that the hub has just issued, with the key that was made for
/// it here.
pub struct Issued {
    key: Key,
    answer: v1::IssuedCertificate,
    certified: Arc<CertifiedKey>,
    holder: identity::Identity,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("spiffe_id", &self.answer.spiffe_id)
            .field("serial", &self.answer.serial)
            .finish_non_exhaustive()
    }
}

impl Issued {
    /// Checks what the hub answered to a request with `key`.
    pub(super) fn check(
        key: Key,
        answer: v1::IssuedCertificate,
        expected: Option<&SpiffeId>,
    ) -> Result<Self, Error> {
        let wrong = |problem: &str| Error::Protocol(format!("the certificate that it issued {problem}"));
        let chain: Vec<_> = certificates(&answer.chain);
        let leaf = chain.first().ok_or_else(|| wrong("is missing"))?;
        let holder =
            identity::read_of_any_domain(leaf).map_err(|error| wrong(&format!("is none: {error}")))?;
        if expected.is_some_and(|expected| *expected != holder.spiffe_id) {
            return Err(wrong("names another identity than ours"));
        }
        if holder.spiffe_id.as_str() != answer.spiffe_id {
            return Err(wrong("names another identity than its answer"));
        }
        let certified = tls::client_key(chain, &key.to_der()).map_err(|error| match error {
            tls::Error::KeyMismatch => wrong("is for another key than ours"),
            other => wrong(&format!("cannot be used: {other}")),
        })?;
        for der in &answer.trust_bundle {
            identity::parse(der).map_err(|_| wrong("comes with an authority that is not X.509"))?;
        }
        Ok(Self { key, answer, certified, holder })
    }

    /// What the hub says of it: identity, end, when to renew it.
    #[must_use]
    pub const fn details(&self) -> &v1::IssuedCertificate {
        &self.answer
    }

    /// When it ends.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.holder.not_after
    }

    /// The chain in PEM, the own certificate first.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        pem_of(&self.answer.chain)
    }

    /// The private key in PEM (PKCS #8), for the file that keeps it.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        self.key.to_pem()
    }

    /// The authorities by which the hub proves itself, in PEM; empty if the hub
    /// named none.
    #[must_use]
    pub fn authorities_pem(&self) -> String {
        pem_of(&self.answer.trust_bundle)
    }

    /// An identity in memory, which shows this certificate.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::in_memory(self.certified())
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

/// Certificates in PEM, one after the other.
pub(super) fn pem_of(certificates: &[Bytes]) -> String {
    certificates.iter().map(|der| pem::encode(Label::Certificate, der)).collect()
}

fn certificates(ders: &[Bytes]) -> Vec<CertificateDer<'static>> {
    ders.iter().map(|der| CertificateDer::from(der.to_vec())).collect()
}

/// Whose certificate this is.
pub(super) fn holder_of(leaf: &CertificateDer<'_>) -> Result<SpiffeId, Error> {
    identity::read_of_any_domain(leaf)
        .map(|holder| holder.spiffe_id)
        .map_err(|error| Error::Settings(format!("this certificate cannot be renewed by the hub: {error}")))
}

/// The library gave no key, or did not sign with it.
pub(super) fn no_key(error: issue::Error) -> Error {
    Error::Settings(format!("no key can be made on this machine: {error}"))
}
