//! Decides how a key, its chain and the hub's authorities lie on disk, so that
//! a kill at any moment leaves files that are whole, and a pair that fits as
//! soon as they are opened again.
//!
//! A new key lies beside the one in use (`.me.key.next`) before the hub is
//! asked, so that a lost answer is asked for again with the same key. The new
//! chain (`.me.pem.next`) is written beside it; from then on both are renamed
//! to their places, the key first. A process that is killed between the two
//! leaves a pair that does not fit: programs that run go on with the old one,
//! and whoever opens the files next through here finishes the work.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::{files, tasks};
use crate::pki::issue::Key;
use crate::pki::{pem, tls};

use super::error::Error;
use super::identity::wrong;
use super::issued::{Issued, no_key};

/// Mode of files with a key, and of new files beside them.
const MODE: u32 = 0o600;

/// The files of an identity, kept by one process at a time.
#[derive(Debug)]
pub struct Keep {
    chain: PathBuf,
    key: PathBuf,
    authorities: Option<PathBuf>,
    /// Held as long as this is.
    _lock: Arc<File>,
}

impl Keep {
    /// Opens the files of an identity, which need not exist yet, and finishes
    /// what a kill has left half done.
    ///
    /// # Errors
    /// If another process keeps them, or they cannot be read or written.
    pub fn open(chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, Error> {
        let (chain, key) = (target(chain.into())?, target(key.into())?);
        let path = beside(&chain, "lock")?;
        let lock = files::lock(&path)
            .map_err(|error| wrong(&path, format!("cannot be made: {error}")))?
            .ok_or_else(|| Error::Busy { path: chain.clone() })?;
        let keep = Self { chain, key, authorities: None, _lock: Arc::new(lock) };
        keep.finish()?;
        Ok(keep)
    }

    /// Also keeps the hub's authorities, in this file.
    #[must_use]
    pub fn with_authorities(self, authorities: impl Into<PathBuf>) -> Self {
        Self { authorities: Some(authorities.into()), ..self }
    }

    /// The file of the chain.
    #[must_use]
    pub fn chain(&self) -> &Path {
        &self.chain
    }

    /// The key that the next certificate is asked for with: made once, and the
    /// same until a certificate for it is stored.
    ///
    /// # Errors
    /// If it can be neither read nor written.
    pub fn pending_key(&self) -> Result<Key, Error> {
        let path = beside(&self.key, "next")?;
        if exists(&path)? {
            // Written as a whole or not at all; one that cannot be read is of
            // no use to anyone.
            if let Some(key) = read_key(&path)? {
                return Ok(key);
            }
        }
        let key = Key::for_leaf().map_err(no_key)?;
        files::write_atomic(&path, key.to_pem().as_bytes(), MODE)
            .map_err(|error| unwritten(&path, &error))?;
        Ok(key)
    }

    /// Forgets the key of [`Self::pending_key`], which the hub does not take.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn discard_pending_key(&self) -> Result<(), Error> {
        remove(&beside(&self.key, "next")?)
    }

    /// Puts a certificate and its key, which is that of [`Self::pending_key`],
    /// in the place of the old ones, and the authorities before them.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn store(&self, issued: &Issued) -> Result<(), Error> {
        self.store_authorities(&issued.authorities_pem())?;
        let next = beside(&self.key, "next")?;
        files::write_atomic(&next, issued.key_pem().as_bytes(), MODE)
            .map_err(|error| unwritten(&next, &error))?;
        let next = beside(&self.chain, "next")?;
        files::write_atomic(&next, issued.chain_pem().as_bytes(), MODE)
            .map_err(|error| unwritten(&next, &error))?;
        self.finish()
    }

    /// Whether `pem` holds other authorities than the file.
    ///
    /// # Errors
    /// If the place of the file cannot be read.
    pub fn would_change_authorities(&self, pem: &str) -> Result<bool, Error> {
        let Some(path) = &self.authorities else { return Ok(false) };
        let path = target(path.clone())?;
        Ok(!std::fs::read(&path).is_ok_and(|old| same(&old, pem.as_bytes())))
    }

    /// Replaces the hub's authorities by those in `pem`, unless they are the
    /// same.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn store_authorities(&self, pem: &str) -> Result<(), Error> {
        let Some(path) = self.authorities.clone().filter(|_| !pem.is_empty()) else { return Ok(()) };
        if !self.would_change_authorities(pem)? {
            return Ok(());
        }
        let path = target(path)?;
        let next = beside(&path, "next")?;
        files::write_atomic(&next, pem.as_bytes(), 0o644)
            .and_then(|()| files::put_in_place(&next, &path))
            .map_err(|error| unwritten(&path, &error))
    }

    /// Puts a new pair in its place as soon as it is whole.
    fn finish(&self) -> Result<(), Error> {
        let (key, chain) = (beside(&self.key, "next")?, beside(&self.chain, "next")?);
        if !exists(&chain)? {
            return Ok(());
        }
        if exists(&key)? {
            if !fit(&chain, &key)? {
                // Of an older attempt.
                return remove(&chain);
            }
            files::put_in_place(&key, &self.key).map_err(|error| unwritten(&self.key, &error))?;
        } else if !fit(&chain, &self.key)? {
            return remove(&chain);
        }
        files::put_in_place(&chain, &self.chain).map_err(|error| unwritten(&self.chain, &error))
    }
}

/// Runs work on files where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tasks::spawn_blocking(work)
        .await
        .unwrap_or(Err(Error::Misuse("the runtime ended while files were written")))
}

/// The file that a link means: it is replaced, and the link stays.
fn target(path: PathBuf) -> Result<PathBuf, Error> {
    match path.canonicalize() {
        Ok(target) => Ok(target),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path),
        Err(error) => Err(wrong(&path, format!("cannot be read: {error}"))),
    }
}

/// A hidden file in the same directory.
fn beside(path: &Path, ending: &str) -> Result<PathBuf, Error> {
    let name = path.file_name().ok_or_else(|| wrong(path, "names no file"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".");
    hidden.push(ending);
    Ok(path.with_file_name(hidden))
}

fn exists(path: &Path) -> Result<bool, Error> {
    path.try_exists().map_err(|error| wrong(path, format!("cannot be read: {error}")))
}

/// Whether a chain and a key belong together.
fn fit(chain: &Path, key: &Path) -> Result<bool, Error> {
    if !exists(key)? {
        return Ok(false);
    }
    let chain_pem = super::identity::read_pem(chain)?;
    let Some(key) = read_key(key)? else { return Ok(false) };
    let Ok(certificates) = pem::certificates(&chain_pem) else { return Ok(false) };
    Ok(tls::client_key(certificates, &key.to_der()).is_ok())
}

fn read_key(path: &Path) -> Result<Option<Key>, Error> {
    let text = zeroize::Zeroizing::new(super::identity::read_pem(path)?);
    Ok(pem::private_key(&text).ok().and_then(|der| Key::from_der(&der).ok()))
}

/// Whether two PEM texts hold the same certificates.
fn same(one: &[u8], other: &[u8]) -> bool {
    match (pem::certificates(one), pem::certificates(other)) {
        (Ok(mut one), Ok(mut other)) => {
            one.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
            other.sort_by(|a, b| a.as_ref().cmp(b.as_ref()));
            one == other
        }
        _ => false,
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritten(path, &error)),
        _ => Ok(()),
    }
}

fn unwritten(path: &Path, error: &io::Error) -> Error {
    wrong(path, format!("cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::identity::Identity;
    use super::*;
    use crate::wire::proto::v1;

    const HOLDER: &str = "spiffe://hub.example/org/soc/system/feed";

    fn open(dir: &Path) -> Keep {
        Keep::open(dir.join("me.pem"), dir.join("me.key")).unwrap().with_authorities(dir.join("ca.pem"))
    }

    fn issued(key: Key) -> Issued {
        let signing = rcgen::KeyPair::from_pem(&key.to_pem()).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.subject_alt_names = vec![rcgen::SanType::URI(HOLDER.try_into().unwrap())];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let der: bytes::Bytes = params.self_signed(&signing).unwrap().der().to_vec().into();
        let answer = v1::IssuedCertificate {
            chain: vec![der.clone()],
            trust_bundle: vec![der],
            spiffe_id: HOLDER.to_owned(),
            ..v1::IssuedCertificate::default()
        };
        Issued::check(key, answer, None).unwrap()
    }

    fn pair(dir: &Path) -> Result<Identity, Error> {
        Identity::from_files(dir.join("me.pem"), dir.join("me.key"))
    }

    /// Files as they lie when a process is killed after some steps of a store.
    fn killed(dir: &Path, steps: usize) {
        let keep = open(dir);
        keep.store(&issued(keep.pending_key().unwrap())).unwrap();
        let new = issued(keep.pending_key().unwrap());
        if steps > 0 {
            fs::write(dir.join(".me.pem.next"), new.chain_pem()).unwrap();
        }
        if steps > 1 {
            fs::rename(dir.join(".me.key.next"), dir.join("me.key")).unwrap();
        }
        if steps > 2 {
            fs::rename(dir.join(".me.pem.next"), dir.join("me.pem")).unwrap();
        }
    }

    #[test]
    fn a_kill_at_any_step_leaves_a_pair_that_fits_once_the_files_are_opened_again() {
        for steps in 0..=3 {
            let dir = tempfile::tempdir().unwrap();
            killed(dir.path(), steps);
            let key = fs::read(dir.path().join(".me.key.next")).ok();
            let keep = open(dir.path());
            pair(dir.path()).unwrap();
            assert!(!dir.path().join(".me.pem.next").exists());
            // Without an answer the same key asks again.
            if steps == 0 {
                assert_eq!(keep.pending_key().unwrap().to_pem().as_bytes(), key.unwrap());
            }
        }
    }

    #[test]
    fn a_chain_that_is_of_no_key_here_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        killed(dir.path(), 0);
        let old = fs::read(dir.path().join("me.pem")).unwrap();
        let other = issued(Key::for_leaf().unwrap());
        fs::write(dir.path().join(".me.pem.next"), other.chain_pem()).unwrap();
        open(dir.path());
        assert_eq!(fs::read(dir.path().join("me.pem")).unwrap(), old);
        pair(dir.path()).unwrap();
    }

    #[test]
    fn a_key_is_its_owners_alone_and_a_file_that_is_there_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        let keep = open(dir.path());
        keep.store(&issued(keep.pending_key().unwrap())).unwrap();
        assert_eq!((mode("me.key"), mode("me.pem"), mode("ca.pem")), (0o600, 0o600, 0o644));
        fs::set_permissions(dir.path().join("me.pem"), fs::Permissions::from_mode(0o640)).unwrap();
        keep.store(&issued(keep.pending_key().unwrap())).unwrap();
        assert_eq!((mode("me.key"), mode("me.pem")), (0o600, 0o640));
    }

    #[test]
    fn one_process_at_a_time_keeps_the_files() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path());
        let error = Keep::open(dir.path().join("me.pem"), dir.path().join("me.key")).unwrap_err();
        assert!(error.to_string().contains("another process"), "{error}");
        drop(first);
        open(dir.path());
    }
}
