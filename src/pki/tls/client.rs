//! Decides on what terms a client shakes hands with the hub; which certificate
//! it shows is its own affair.

use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};

use super::{ALPN, Error, certified, provider};
use crate::base::secret::Secret;

/// A client's certificate chain and key, ready to be shown.
///
/// # Errors
/// [`Error::KeyMismatch`] if the two do not belong together; [`Error::Tls`] if
/// the key is of a kind that TLS 1.3 does not use.
pub fn client_key(
    chain: Vec<CertificateDer<'static>>,
    key: &Secret<PrivateKeyDer<'static>>,
) -> Result<Arc<CertifiedKey>, Error> {
    certified(chain, key, provider()?.as_ref())
}

/// A client's side of the handshake: trusts the hub's authorities in `roots`
/// and shows whatever `identity` holds at the time.
///
/// # Errors
/// [`Error::Tls`] if a root is not usable, [`Error::NoAnchor`] if there is none.
pub fn client_config(
    roots: Vec<CertificateDer<'static>>,
    identity: Arc<dyn ResolvesClientCert>,
) -> Result<Arc<ClientConfig>, Error> {
    if roots.is_empty() {
        return Err(Error::NoAnchor);
    }
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root)?;
    }
    let mut config = ClientConfig::builder_with_provider(provider()?)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(store)
        .with_client_cert_resolver(identity);
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would go on showing the certificate of the first.
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(Arc::new(config))
}
