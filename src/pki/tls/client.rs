//! Decides how a client proves itself to the hub, and how its certificate is
//! exchanged without a restart.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};

use super::{ALPN, Error, certified, provider};
use crate::base::secret::Secret;
use crate::pki::pem;

/// A client's certificate and key, exchangeable while connections are open:
/// every new handshake uses the newest.
pub struct ClientIdentity {
    current: ArcSwap<CertifiedKey>,
}

impl ClientIdentity {
    /// From a certificate chain and the key that belongs to it.
    ///
    /// # Errors
    /// If they do not belong together.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: &Secret<PrivateKeyDer<'static>>,
    ) -> Result<Arc<Self>, Error> {
        let certified = certified(chain, key, provider()?.as_ref())?;
        Ok(Arc::new(Self { current: ArcSwap::new(certified) }))
    }

    /// From the PEM texts of chain and key.
    ///
    /// # Errors
    /// If a text is damaged or the two do not belong together.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Arc<Self>, Error> {
        Self::new(pem::certificates(chain)?, &pem::private_key(key)?)
    }

    /// Shows another certificate from the next handshake on.
    ///
    /// # Errors
    /// If the two do not belong together; the certificate in use then stays.
    pub fn rotate(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: &Secret<PrivateKeyDer<'static>>,
    ) -> Result<(), Error> {
        self.current.store(certified(chain, key, provider()?.as_ref())?);
        Ok(())
    }

    /// The certificate shown at the next handshake.
    #[must_use]
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        self.current.load().cert.first().cloned()
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity")
    }
}

impl ResolvesClientCert for ClientIdentity {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A client's side of the handshake: trusts the hub's authorities in `roots`
/// and shows whatever `identity` holds at the time.
///
/// # Errors
/// If a root is not usable.
pub fn client_config(
    roots: Vec<CertificateDer<'static>>,
    identity: Arc<ClientIdentity>,
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
    Ok(Arc::new(config))
}
