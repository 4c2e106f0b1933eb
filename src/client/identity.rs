//! Decides which certificate this client shows: the newest good one of its
//! files, read again before every new connection.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::base::digest;
use crate::base::secret::Secret;
use crate::pki::tls;

use super::error::Error;

/// Largest PEM file that is read.
pub(super) const MAX_PEM_BYTES: u64 = 1024 * 1024;
/// Most certificates in a chain.
const MAX_CHAIN: usize = 8;

/// A certificate chain and its key in PEM files. Replace the files (write
/// beside, then rename) and the next connection shows the new certificate: no
/// restart, and no channel is rebuilt.
///
/// ```no_run
/// # fn main() -> Result<(), luytre::client::Error> {
/// use luytre::client::Identity;
///
/// let identity = Identity::from_files("firewall-01.pem", "firewall-01.key")?;
/// // After a renewal. Also happens by itself before each new connection.
/// identity.reload()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Identity(Arc<Files>);

struct Files {
    chain: PathBuf,
    key: PathBuf,
    current: ArcSwap<CertifiedKey>,
    /// Digest of what `current` was made from.
    seen: Mutex<[u8; 32]>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("chain", &self.0.chain).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads a chain (own certificate first) and its private key.
    ///
    /// # Errors
    /// A file that cannot be read, holds no PEM of its kind, or a key that is
    /// not the certificate's.
    pub fn from_files(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, Error> {
        let (chain, key) = (chain.into(), key.into());
        let (certified, seen) = read(&chain, &key)?;
        Ok(Self(Arc::new(Files { chain, key, current: ArcSwap::new(certified), seen: Mutex::new(seen) })))
    }

    /// Reads the files again; says whether they changed. On failure the old
    /// certificate stays in use.
    ///
    /// # Errors
    /// As [`Self::from_files`].
    pub fn reload(&self) -> Result<bool, Error> {
        let (certified, seen) = read(&self.0.chain, &self.0.key)?;
        let mut last = self.0.seen.lock();
        let changed = *last != seen;
        if changed {
            self.0.current.store(certified);
            *last = seen;
        }
        Ok(changed)
    }

    /// The resolver that hands rustls the current certificate.
    pub(super) fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(Resolver(Arc::clone(&self.0)))
    }
}

struct Resolver(Arc<Files>);

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl ResolvesClientCert for Resolver {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // The hints are not heeded: we have one certificate, and a hub that
        // does not take it should say so rather than see none.
        Some(self.0.current.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn read(chain: &Path, key: &Path) -> Result<(Arc<CertifiedKey>, [u8; 32]), Error> {
    let chain_pem = read_pem(chain)?;
    let key_pem = Zeroizing::new(read_pem(key)?);
    let certificates = certificates(chain, &chain_pem)?;
    if certificates.len() > MAX_CHAIN {
        return Err(wrong(chain, format!("holds more than {MAX_CHAIN} certificates; give the chain only")));
    }
    let private = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| {
        wrong(
            key,
            "holds no unencrypted private key in PEM (PKCS#8); give the key that belongs to the certificate",
        )
    })?;
    let certified = tls::client_key(certificates, &Secret::new(private)).map_err(|error| match error {
        tls::Error::KeyMismatch => wrong(
            key,
            format!(
                "is not the key of the certificate in {}; give the two that were issued together",
                chain.display()
            ),
        ),
        tls::Error::Tls(rustls::Error::InvalidCertificate(_)) => {
            wrong(chain, "begins with something that is not an X.509 certificate")
        }
        _ => wrong(key, "holds a kind of key that TLS 1.3 does not use; issue an ECDSA P-256 or Ed25519 key"),
    })?;
    let mut seen = digest::Sha256::default();
    seen.update(&digest::sha256(&chain_pem));
    seen.update(&digest::sha256(&key_pem));
    Ok((certified, seen.finish()))
}

/// The certificates of a PEM file; at least one.
pub(super) fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(path, format!("is not readable as PEM: {error}")))?;
    if found.is_empty() {
        return Err(wrong(path, "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(found)
}

/// The content of a PEM file of bounded size.
pub(super) fn read_pem(path: &Path) -> Result<Vec<u8>, Error> {
    let size = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?.len();
    if size > MAX_PEM_BYTES {
        return Err(wrong(
            path,
            format!("is larger than {MAX_PEM_BYTES} bytes; this is not a PEM file of certificates"),
        ));
    }
    std::fs::read(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    wrong(path, format!("cannot be read: {error}"))
}

pub(super) fn wrong(path: &Path, problem: impl Into<String>) -> Error {
    Error::File { path: path.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn mint(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let issued = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let (chain, key) = (dir.join("chain.pem"), dir.join("key.pem"));
        fs::write(&chain, issued.cert.pem()).unwrap();
        fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
        (chain, key)
    }

    fn shown(identity: &Identity) -> CertificateDer<'static> {
        identity.resolver().resolve(&[], &[]).unwrap().cert[0].clone()
    }

    #[test]
    fn replaced_files_are_shown_after_a_reload_by_the_resolver_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let (chain, key) = mint(dir.path(), "old");
        let identity = Identity::from_files(&chain, &key).unwrap();
        let before = shown(&identity);
        assert!(!identity.reload().unwrap());

        mint(dir.path(), "new");
        assert!(identity.reload().unwrap());
        assert_ne!(shown(&identity), before);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_and_the_old_pair_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (chain, key) = mint(dir.path(), "old");
        let identity = Identity::from_files(&chain, &key).unwrap();
        let before = shown(&identity);

        let other = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap();
        fs::write(&key, other.signing_key.serialize_pem()).unwrap();

        let error = identity.reload().unwrap_err().to_string();
        assert!(error.contains("is not the key of the certificate"), "{error}");
        assert_eq!(shown(&identity), before);
    }

    #[test]
    fn nothing_of_the_key_is_printed() {
        let dir = tempfile::tempdir().unwrap();
        let (chain, key) = mint(dir.path(), "own");
        let identity = Identity::from_files(&chain, &key).unwrap();
        assert!(!format!("{identity:?}").contains("key"), "{identity:?}");
    }
}
