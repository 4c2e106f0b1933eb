//! Decides which certificate a test's client shows: one that the test may
//! exchange while connections are open.

use std::sync::Arc;

use arc_swap::ArcSwap;
use luytre::base::secret::Secret;
use luytre::pki::tls::client_key;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// A certificate and its key; every new handshake shows the newest.
#[derive(Debug)]
pub(crate) struct Shown(ArcSwap<CertifiedKey>);

impl Shown {
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: &Secret<PrivateKeyDer<'static>>,
    ) -> Arc<Self> {
        Arc::new(Self(ArcSwap::new(client_key(chain, key).unwrap())))
    }

    /// Shows another certificate from the next handshake on.
    pub(crate) fn exchange(&self, chain: Vec<CertificateDer<'static>>, key: &Secret<PrivateKeyDer<'static>>) {
        self.0.store(client_key(chain, key).unwrap());
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
