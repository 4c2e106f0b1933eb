//! Decides how this client speaks TLS: 1.3 only, hybrid post-quantum key
//! exchange first, HTTP/2 or nothing, no resumption, and no plaintext.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore, version};

use crate::base::digest;

use super::error::Error;
use super::identity::{Identity, certificates, read_pem, wrong};

/// The one application protocol.
pub(super) const ALPN_H2: &[u8] = b"h2";

/// The authorities that the hub's certificate must come from, and our own
/// identity, as a TLS configuration that follows its files.
#[derive(Debug)]
pub(super) struct Tls {
    authorities: PathBuf,
    identity: Identity,
    current: ArcSwap<Current>,
}

#[derive(Debug)]
struct Current {
    seen: [u8; 32],
    config: Arc<ClientConfig>,
}

impl Tls {
    pub(super) fn open(authorities: PathBuf, identity: Identity) -> Result<Self, Error> {
        let current =
            build(&authorities, &identity, None)?.ok_or(Error::Misuse("a first configuration is built"))?;
        Ok(Self { authorities, identity, current: ArcSwap::from_pointee(current) })
    }

    /// The configuration for the next connection: files that changed are read
    /// again; what cannot be used is logged, and the old one goes on.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        match self.identity.reload() {
            Ok(true) => tracing::info!("the client certificate was renewed"),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the renewed certificate cannot be used; the old one stays"),
        }
        let seen = self.current.load().seen;
        match build(&self.authorities, &self.identity, Some(seen)) {
            Ok(Some(newer)) => {
                tracing::info!("the hub's authorities changed");
                self.current.store(Arc::new(newer));
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the new authorities cannot be used; the old ones stay"),
        }
        Arc::clone(&self.current.load().config)
    }
}

/// Builds a configuration unless the authorities are those of `seen`.
fn build(authorities: &Path, identity: &Identity, seen: Option<[u8; 32]>) -> Result<Option<Current>, Error> {
    let pem = read_pem(authorities)?;
    let digest = digest::sha256(&pem);
    if seen == Some(digest) {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authorities, &pem)? {
        roots.add(certificate).map_err(|error| {
            wrong(authorities, format!("holds a certificate that cannot be an authority: {error}"))
        })?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|error| Error::Settings(format!("TLS 1.3 cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_client_cert_resolver(identity.resolver());
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    // A resumed session would outlive the certificate it was opened with.
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(Some(Current { seen: digest, config: Arc::new(config) }))
}
