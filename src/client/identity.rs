//! Decides which certificate this client shows: the newest good one of its
//! files, or the one that was issued to it last.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::base::digest;
use crate::base::secret::Secret;
use crate::pki::issue::Key;
use crate::pki::tls;

use super::calls::Client;
use super::error::Error;
use super::issued::{Issued, holder_of, no_key};
use super::keep::{Keep, blocking};

/// Largest PEM file that is read.
pub(super) const MAX_PEM_BYTES: u64 = 1024 * 1024;
/// Most certificates in a chain.
const MAX_CHAIN: usize = 8;

/// A certificate chain and its key, in PEM files or in memory, replaced while
/// in use: no restart, and nothing that uses it is built anew.
///
/// Files are read again before each new connection, and every half minute.
/// Replace them (write beside, then rename): new calls and open streams of
/// every [`Connection`](super::Connection) move over to the new certificate
/// before the old one ends. Or have it renewed by [`Self::renew_over`].
///
/// ```no_run
/// # async fn example() -> Result<(), luytre::client::Error> {
/// use luytre::client::{Connection, Endpoint, Identity};
///
/// let identity = Identity::from_files("firewall-01.pem", "firewall-01.key")?;
/// let endpoint = Endpoint::new("hub.example:7443", "hub-ca.pem")?;
/// let hub = Connection::open(&endpoint, identity.clone())?.client();
/// // At two thirds of its life:
/// let renewed = identity.renew_over(&hub).await?;
/// println!("until {:?}", renewed.details().expire_time);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Identity(Arc<Held>);

struct Held {
    files: Option<Files>,
    current: ArcSwap<CertifiedKey>,
    /// Digest of the files that `current` was made from.
    seen: Mutex<[u8; 32]>,
    /// How often `current` was replaced.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Clone)]
struct Files {
    chain: PathBuf,
    key: PathBuf,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chain = self.0.files.as_ref().map(|files| &files.chain);
        f.debug_struct("Identity").field("chain", &chain).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads a chain (own certificate first) and its private key.
    ///
    /// # Errors
    /// A file that cannot be read, holds no PEM of its kind, or a key that is
    /// not the certificate's.
    pub fn from_files(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, Error> {
        let files = Files { chain: chain.into(), key: key.into() };
        let (certified, seen) = read(&files.chain, &files.key)?;
        Ok(Self::of(Some(files), certified, seen))
    }

    /// One that stands in no file.
    pub(super) fn in_memory(certified: Arc<CertifiedKey>) -> Self {
        Self::of(None, certified, [0; 32])
    }

    fn of(files: Option<Files>, certified: Arc<CertifiedKey>, seen: [u8; 32]) -> Self {
        Self(Arc::new(Held {
            files,
            current: ArcSwap::new(certified),
            seen: Mutex::new(seen),
            changes: watch::Sender::new(0),
        }))
    }

    /// Reads the files again, if it has any; says whether they changed. On
    /// failure the old certificate stays in use.
    ///
    /// # Errors
    /// As [`Self::from_files`].
    pub fn reload(&self) -> Result<bool, Error> {
        let Some(files) = &self.0.files else { return Ok(false) };
        let (certified, seen) = read(&files.chain, &files.key)?;
        let mut last = self.0.seen.lock();
        let changed = *last != seen;
        if changed {
            *last = seen;
            self.show(certified);
        }
        Ok(changed)
    }

    /// Has the hub renew the certificate over `client`, whose connection shows
    /// the present one, with a new key: verifies the answer, writes it to the
    /// files, if there are any, and shows it from then on. Ask for it from two
    /// thirds of the certificate's life, and add a little of your own, so that
    /// not all come at once.
    ///
    /// A call that ended without an answer is made again with the same key,
    /// for which the hub gives the same certificate.
    ///
    /// # Errors
    /// Files that cannot be written or that another process keeps; the hub's
    /// refusal; an answer that does not fit. The old certificate stays in use.
    pub async fn renew_over(&self, client: &Client) -> Result<Issued, Error> {
        let shown = self.0.current.load_full();
        let leaf = shown.cert.first().ok_or(Error::Misuse("an identity has a certificate"))?;
        let identity = holder_of(leaf)?;
        let Some(files) = self.0.files.clone() else {
            let issued = client.renew(Key::for_leaf().map_err(no_key)?, &identity).await?;
            self.show(issued.certified());
            return Ok(issued);
        };
        let keep = blocking(move || Keep::open(files.chain, files.key)).await?;
        let (keep, key) = blocking(move || keep.pending_key().map(|key| (keep, key))).await?;
        let issued = client.renew(key, &identity).await?;
        let renewed = self.clone();
        blocking(move || {
            keep.store(&issued)?;
            renewed.reload()?;
            Ok(issued)
        })
        .await
    }

    fn show(&self, certified: Arc<CertifiedKey>) {
        self.0.current.store(certified);
        self.0.changes.send_modify(|changes| *changes += 1);
    }

    /// Tells of every replacement.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// The resolver that hands rustls the current certificate.
    pub(super) fn resolver(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(Resolver(Arc::clone(&self.0)))
    }
}

struct Resolver(Arc<Held>);

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
