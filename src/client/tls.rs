//! Decides whom this client trusts to be the hub: the authorities of a file
//! that may be replaced while connections are open.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ClientConfig;

use crate::base::digest;
use crate::pki::tls;

use super::error::Error;
use super::identity::{Identity, certificates, read_pem, wrong};

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
    let roots = certificates(authorities, &pem)?;
    let config = tls::client_config(roots, identity.resolver()).map_err(|error| match error {
        tls::Error::Tls(error) => {
            wrong(authorities, format!("holds a certificate that cannot be an authority: {error}"))
        }
        other => Error::Settings(format!("TLS cannot be set up: {other}")),
    })?;
    Ok(Some(Current { seen: digest, config }))
}
