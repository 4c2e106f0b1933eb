//! Decides on what terms the hub and its clients shake hands: TLS 1.3 alone,
//! certificates on both sides, no resumption, no early data, HTTP/2.

mod canary;
mod chains;
mod client;
mod closed;
mod greeting;
mod handshake;
mod ledger;
mod pinned;
mod rehearsal;
mod snapshot;
mod succession;
mod verifier;

use std::sync::Arc;

use rustls::NamedGroup;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

pub use canary::{Canary, Witness};
pub use client::{client_config, client_key};
pub use closed::closed;
pub use greeting::greeting;
pub use handshake::shake_hands;
pub use ledger::{Ledger, LedgerVerdict};
pub use pinned::{FirstTrust, first_contact_config};
pub use rehearsal::{Monitor, Trial, rehearse};
pub use snapshot::{Material, Part, Snapshot, Standing, problems_of};
pub use succession::{Change, Watched};
pub use verifier::Refusal;

use super::{identity, issue, pem, revocation};
use crate::base::clock::{Clock, Timestamp};

/// The one protocol that is spoken over TLS here.
pub const ALPN: &[u8] = b"h2";

/// Why a TLS configuration is refused; the one in force stays.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A PEM file is damaged or holds something else.
    #[error(transparent)]
    Pem(#[from] pem::Error),
    /// No authority is trusted.
    #[error("no authority is trusted; name at least one")]
    NoAnchor,
    /// A trusted certificate is not usable as an authority.
    #[error("trusted authority: {0}")]
    Anchor(issue::Error),
    /// Two authorities share a name, which breaks the revocation of one.
    #[error("two trusted authorities share the name {name}; every generation needs its own")]
    AnchorTwice {
        /// The name.
        name: String,
    },
    /// An authority is expired or not valid yet.
    #[error("trusted authority {name} is valid from {not_before} to {not_after}, and not now")]
    AnchorLifetime {
        /// Its name.
        name: String,
        /// Start of its validity.
        not_before: Timestamp,
        /// End of its validity.
        not_after: Timestamp,
    },
    /// The revocation lists do not match the authorities.
    #[error(transparent)]
    Revocation(#[from] revocation::Error),
    /// The hub's own certificate is not usable.
    #[error("server certificate: {problem}")]
    ServerCertificate {
        /// What is wrong with it.
        problem: String,
    },
    /// The certificate of the next generation is not usable.
    #[error("canary certificate: {problem}")]
    Canary {
        /// What is wrong with it.
        problem: String,
    },
    /// The hub's certificate is for fewer names than the one in force.
    #[error("the hub's new certificate lacks {names}, which the one in force has; issue one for all names")]
    NamesLost {
        /// Which.
        names: String,
    },
    /// The hub's certificate ends too soon to be meant.
    #[error("the hub's new certificate ends at {not_after}, within a day; force it if that is meant")]
    NearEnd {
        /// When.
        not_after: Timestamp,
    },
    /// The configuration takes or refuses the wrong clients.
    #[error("rehearsal of the handshake: {problem}")]
    Rehearsal {
        /// Whose verdict was wrong, and how.
        problem: String,
    },
    /// The hub's own certificate has ended, or is not valid yet.
    #[error("server certificate: it is valid from {not_before} to {not_after}, and not now")]
    ServerLifetime {
        /// Start of its validity.
        not_before: Timestamp,
        /// End of its validity.
        not_after: Timestamp,
    },
    /// Key and certificate do not belong together.
    #[error("the private key does not belong to the certificate; write both, then reload")]
    KeyMismatch,
    /// The post-quantum key exchange is not first.
    #[error("X25519MLKEM768 is not the preferred key exchange of this build")]
    KeyExchange,
    /// A configuration that is older than the one in force.
    #[error("epoch {epoch} does not follow epoch {current}")]
    Epoch {
        /// The candidate's epoch.
        epoch: u64,
        /// The epoch in force.
        current: u64,
    },
    /// The TLS library refused.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

impl Error {
    /// Whether nothing is wrong but the time: what has ended can be replaced
    /// while the hub runs.
    #[must_use]
    pub const fn is_of_time(&self) -> bool {
        matches!(
            self,
            Self::AnchorLifetime { .. }
                | Self::ServerLifetime { .. }
                | Self::Revocation(revocation::Error::Stale { .. })
        )
    }
}

impl From<identity::Error> for Error {
    fn from(error: identity::Error) -> Self {
        Self::Anchor(issue::Error::Authority(error))
    }
}

/// The one cryptography provider, aws-lc, with the hybrid post-quantum key
/// exchange first.
///
/// # Errors
/// [`Error::KeyExchange`] if a build without that preference got here.
fn provider() -> Result<Arc<CryptoProvider>, Error> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match provider.kx_groups.first().map(|group| group.name()) {
        Some(NamedGroup::X25519MLKEM768) => Ok(Arc::new(provider)),
        _ => Err(Error::KeyExchange),
    }
}

/// Lends our clock to the TLS library.
#[derive(Debug)]
struct ClockTime(Arc<dyn Clock>);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since_epoch = self.0.now().since(Timestamp::EPOCH);
        Some(UnixTime::since_unix_epoch(since_epoch))
    }
}

/// A certificate's key pair ready to sign, if key and chain belong together.
fn certified(
    chain: Vec<rustls::pki_types::CertificateDer<'static>>,
    key: &crate::base::secret::Secret<rustls::pki_types::PrivateKeyDer<'static>>,
    provider: &CryptoProvider,
) -> Result<Arc<rustls::sign::CertifiedKey>, Error> {
    // The library wipes the copy it is given once it has read it.
    match rustls::sign::CertifiedKey::from_der(chain, key.expose().clone_key(), provider) {
        Ok(certified) => Ok(Arc::new(certified)),
        Err(rustls::Error::InconsistentKeys(_)) => Err(Error::KeyMismatch),
        Err(other) => Err(other.into()),
    }
}
