//! Decides whom a system trusts that has no authorities yet: a chain that holds
//! the one root whose digest came with the token, and ends there.

use std::sync::Arc;

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier as _};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, RootCertStore, SignatureScheme};

use super::chains::{By, Rules};
use super::{ALPN, Error, client_config, provider};
use crate::base::digest;

/// How a hub is known on first contact.
#[derive(Debug, Clone)]
pub enum FirstTrust {
    /// By the SHA-256 of its root, which it sends along.
    Digest([u8; 32]),
    /// By authorities that are known already.
    Authorities(Vec<CertificateDer<'static>>),
}

/// A client's side of a handshake without a certificate of its own.
///
/// # Errors
/// As [`client_config`].
pub fn first_contact_config(trust: FirstTrust) -> Result<Arc<ClientConfig>, Error> {
    let digest = match trust {
        FirstTrust::Authorities(roots) => return client_config(roots, Arc::new(Nobody)),
        FirstTrust::Digest(digest) => digest,
    };
    let provider = provider()?;
    let verifier = Arc::new(By { rules: Pinned(digest), provider: Arc::clone(&provider) });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

/// Shows no certificate.
#[derive(Debug)]
struct Nobody;

impl ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Finds the root by its digest, and leaves the rest to the usual rules.
#[derive(Debug)]
struct Pinned([u8; 32]);

impl Rules for Pinned {
    fn judge(
        &self,
        provider: &Arc<CryptoProvider>,
        (end_entity, intermediates): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let root = intermediates.iter().find(|der| digest::sha256(der) == self.0);
        let root = root.ok_or(CertificateError::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(root.clone().into_owned())?;
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        usual.verify_server_cert(end_entity, intermediates, name, &[], now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock::{Clock as _, SystemClock};
    use crate::pki::issue::{Authority, DAY, Hierarchy, Leaf};

    /// A root, and the chain of a server under it.
    fn chain() -> (Vec<u8>, Vec<CertificateDer<'static>>) {
        let now = SystemClock.now();
        let root = Authority::root(Hierarchy::Server, "hub.example", now, DAY * 30).unwrap();
        let issuing = root.issuing(Hierarchy::Server, "hub.example", 1, now, DAY * 20).unwrap();
        let leaf = Leaf::Server { dns: vec!["hub.example".to_owned()], ip: Vec::new() };
        let leaf = issuing.issue(&leaf, now, DAY).unwrap().certificate;
        (root.certificate().to_vec(), vec![leaf, issuing.certificate().clone(), root.certificate().clone()])
    }

    fn verify(pinned: &[u8], chain: &[CertificateDer<'_>], later: Duration) -> Result<(), rustls::Error> {
        let rules = Pinned(digest::sha256(pinned));
        let name = ServerName::try_from("hub.example").unwrap();
        let since = SystemClock.now().since(crate::base::clock::Timestamp::EPOCH);
        let now = UnixTime::since_unix_epoch(since + later);
        let (leaf, rest) = chain.split_first().unwrap();
        rules.judge(&provider().unwrap(), (leaf, rest), &name, now).map(|_| ())
    }

    #[test]
    fn a_chain_that_ends_in_the_pinned_root_is_trusted_as_long_as_it_is_valid() {
        let (root, chain) = chain();
        verify(&root, &chain, Duration::ZERO).unwrap();
        verify(&root, &chain, DAY * 2).unwrap_err();
    }

    #[test]
    fn a_root_that_is_only_sent_along_makes_nobody_the_hub() {
        let ((root, genuine), (_, mut forged)) = (chain(), chain());
        forged.push(genuine[2].clone());
        verify(&root, &forged, Duration::ZERO).unwrap_err();
        // Nor does the server's own certificate, nor a chain without the root.
        verify(&genuine[0], &genuine, Duration::ZERO).unwrap_err();
        verify(&root, &genuine[..2], Duration::ZERO).unwrap_err();
    }
}
