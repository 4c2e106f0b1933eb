//! Decides which certificate the hub shows: its own, or under one name that
//! of the next generation, by which a client proves that it trusts it already.

use std::fmt;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Error;
use crate::base::secret::Secret;
use crate::model::principal::SpiffeId;
use crate::pki::identity::{self, IssuerDigest};

/// A second server certificate, shown to whoever asks for exactly this name.
#[derive(Debug)]
pub struct Canary {
    /// The name; its certificate is for it.
    pub name: DnsName<'static>,
    /// The certificate, then the authorities between it and the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: Secret<PrivateKeyDer<'static>>,
}

impl Canary {
    /// Who signed the certificate, if it is for the name.
    pub(super) fn check(&self) -> Result<IssuerDigest, Error> {
        let wrong = |problem: String| Error::Canary { problem };
        let leaf = self.chain.first().ok_or_else(|| wrong("there is no certificate".to_owned()))?;
        let name = ServerName::DnsName(self.name.clone());
        ParsedCertificate::try_from(leaf)
            .and_then(|parsed| verify_server_name(&parsed, &name))
            .map_err(|error| wrong(error.to_string()))?;
        let parsed = identity::parse(leaf).map_err(|error| wrong(error.to_string()))?;
        Ok(IssuerDigest::of(parsed.issuer().as_raw()))
    }
}

/// Who is told what the canary proves.
pub trait Witness: fmt::Debug + Send + Sync {
    /// A client in the name of `holder` has shaken hands under the canary's
    /// certificate, and therefore trusts what `authority` signs. Called on a
    /// thread that serves: it returns at once.
    fn proved(&self, holder: &SpiffeId, authority: IssuerDigest);
}

/// The certificates of one snapshot.
#[derive(Debug)]
pub(super) struct Wardrobe {
    pub(super) own: Arc<CertifiedKey>,
    pub(super) canary: Option<(DnsName<'static>, Arc<CertifiedKey>)>,
}

impl ResolvesServerCert for Wardrobe {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = match (&self.canary, hello.server_name()) {
            (Some((name, canary)), Some(asked)) if is_named(name, asked) => canary,
            // Whoever asks for another name finds out by himself.
            _ => &self.own,
        };
        Some(Arc::clone(shown))
    }
}

/// Names of hosts are the same in upper and lower case.
pub(super) fn is_named(name: &DnsName<'_>, asked: &str) -> bool {
    name.as_ref().eq_ignore_ascii_case(asked)
}
