//! Decides which keys a signer holds: every pair of certificate and encrypted
//! key in the directories `client` and `server`, checked before it signs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;
use zeroize::Zeroizing;

use crate::base::secret::Secret;
use crate::pki::encrypted;
use crate::pki::identity::{self, IssuerDigest};
use crate::pki::issue::{self, Authority, Hierarchy};
use crate::pki::pem;
use crate::pki::signing::{Held, ListOrder};

/// Longest file read, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Most authorities held.
const MAX_AUTHORITIES: usize = 64;

/// Why a key is not held.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What it answered.
        source: io::Error,
    },
    /// Others can read the key, or change what lies beside it.
    #[error("{} is open to others; run: chmod {mode} {}", path.display(), path.display())]
    Exposed {
        /// The file or directory.
        path: PathBuf,
        /// The mode it should have.
        mode: &'static str,
    },
    /// Another user can change it.
    #[error("{} belongs to another user (uid {owner}); run: chown {own} {}", path.display(), path.display())]
    Owner {
        /// The file or directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who this process is.
        own: u32,
    },
    /// The key is in the clear.
    #[error(
        "{} is not encrypted; run: luytre pki encrypt {} (it asks for the passphrase of the signer's keys)",
        path.display(),
        path.display()
    )]
    Plain {
        /// The key's file.
        path: PathBuf,
    },
    /// The key cannot be read.
    #[error("{}: {source}", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// Why.
        source: encrypted::Error,
    },
    /// The certificate cannot be read.
    #[error("{}: {source}", path.display())]
    Certificate {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// The two are no authority that may sign here.
    #[error("{}: {source}", path.display())]
    Authority {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        source: issue::Error,
    },
    /// A root, or an authority over authorities.
    #[error(
        "{} is not the certificate of an issuing authority (path length 0); keep roots offline, and put what luytre pki issuing makes here",
        path.display()
    )]
    NotIssuing {
        /// The certificate's file.
        path: PathBuf,
    },
    /// What the key signs does not verify.
    #[error("{}: the key does not sign what its certificate verifies; restore it from a copy", path.display())]
    SelfTest {
        /// The certificate's file.
        path: PathBuf,
    },
    /// Two files of one name.
    #[error("{} has the name of an authority that is held already; every generation needs a name of its own", path.display())]
    Twice {
        /// The certificate's file.
        path: PathBuf,
    },
    /// There is none at all.
    #[error(
        "{} holds no authority; put NAME.pem and NAME.key into its directories client and server (luytre pki export-signer does)",
        path.display()
    )]
    Empty {
        /// The directory of keys.
        path: PathBuf,
    },
    /// More than any hub has.
    #[error("{} holds more than {MAX_AUTHORITIES} authorities; move those that are retired away", path.display())]
    TooMany {
        /// The directory of keys.
        path: PathBuf,
    },
}

/// The keys that a signer holds.
#[derive(Debug)]
pub(super) struct Keyring {
    directory: PathBuf,
    /// Kept for the authorities that are put there later.
    passphrase: Secret<Vec<u8>>,
    held: BTreeMap<IssuerDigest, Key>,
}

/// One authority, and where it was read from.
#[derive(Debug)]
pub(super) struct Key {
    path: PathBuf,
    pub(super) hierarchy: Hierarchy,
    pub(super) authority: Authority,
}

impl Keyring {
    /// Reads every key below `directory`.
    ///
    /// # Errors
    /// The first that is not sound, or that there is none.
    pub(super) fn open(directory: &Path, passphrase: Secret<Vec<u8>>) -> Result<Self, Error> {
        let mut keyring = Self { directory: directory.to_owned(), passphrase, held: BTreeMap::new() };
        keyring.follow(Err)?;
        if keyring.held.is_empty() {
            return Err(Error::Empty { path: directory.to_owned() });
        }
        Ok(keyring)
    }

    /// Takes in what was put into the directory since, and lets go of what was
    /// taken away. What is not sound is logged and left out.
    pub(super) fn refresh(&mut self) {
        let outcome = self.follow(|error| {
            tracing::error!(%error, "an authority in the directory of keys is not taken");
            Ok(())
        });
        if let Err(error) = outcome {
            tracing::error!(%error, "the directory of keys cannot be read; what was read before stays");
        }
    }

    fn follow(&mut self, unsound: impl Fn(Error) -> Result<(), Error>) -> Result<(), Error> {
        let mut found = Vec::new();
        for hierarchy in [Hierarchy::Client, Hierarchy::Server] {
            let below = self.directory.join(hierarchy.name());
            found.extend(certificates_in(&below)?.into_iter().map(|path| (hierarchy, path)));
        }
        if found.len() > MAX_AUTHORITIES {
            return Err(Error::TooMany { path: self.directory.clone() });
        }
        self.held.retain(|_, key| {
            let stays = found.iter().any(|(_, path)| *path == key.path);
            if !stays {
                tracing::warn!(path = %key.path.display(), "an authority was taken away; it signs no more");
            }
            stays
        });
        for (hierarchy, path) in found {
            if self.held.values().any(|key| key.path == path) {
                continue;
            }
            match load(&path, &self.passphrase) {
                Ok(authority) if self.held.contains_key(&authority.name()) => {
                    unsound(Error::Twice { path })?;
                }
                Ok(authority) => {
                    tracing::info!(path = %path.display(), not_after = %authority.not_after(), "authority loaded");
                    self.held.insert(authority.name(), Key { path, hierarchy, authority });
                }
                Err(error) => unsound(error)?,
            }
        }
        Ok(())
    }

    /// The authority of this name.
    pub(super) fn find(&self, name: IssuerDigest) -> Option<&Key> {
        self.held.get(&name)
    }

    /// Every authority.
    pub(super) fn held(&self) -> Vec<Held> {
        let held =
            |key: &Key| Held { hierarchy: key.hierarchy, certificate: key.authority.certificate().clone() };
        self.held.values().map(held).collect()
    }

    /// Whether a public key is an authority's own.
    pub(super) fn is_own(&self, public_key: &[u8]) -> bool {
        self.held.values().any(|key| key.authority.key().public_key() == public_key)
    }
}

/// The certificates in a directory, sorted; none where there is none.
fn certificates_in(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::File { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    // Whoever may write here could put another authority in.
    check_owner(directory, &fs::metadata(directory).map_err(failed)?, 0o022, "go-w")?;
    let mut found = Vec::new();
    for entry in entries.take(4 * MAX_AUTHORITIES) {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|ending| ending == "pem") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn check_owner(path: &Path, metadata: &fs::Metadata, closed: u32, mode: &'static str) -> Result<(), Error> {
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own && metadata.uid() != 0 {
        return Err(Error::Owner { path: path.to_owned(), owner: metadata.uid(), own });
    }
    if metadata.permissions().mode() & closed != 0 {
        return Err(Error::Exposed { path: path.to_owned(), mode });
    }
    Ok(())
}

fn load(path: &Path, passphrase: &Secret<Vec<u8>>) -> Result<Authority, Error> {
    let failed = |source| Error::Authority { path: path.to_owned(), source };
    let (_, text) = read(path)?;
    let mut certificates =
        pem::certificates(&text).map_err(|source| Error::Certificate { path: path.to_owned(), source })?;
    let (Some(certificate), true) = (certificates.pop(), certificates.is_empty()) else {
        let source = pem::Error::Several { what: "certificate", count: certificates.len() + 1 };
        return Err(Error::Certificate { path: path.to_owned(), source });
    };
    let parsed = identity::parse(&certificate).map_err(|error| failed(error.into()))?;
    let below = parsed.basic_constraints().ok().flatten().and_then(|found| found.value.path_len_constraint);
    if below != Some(0) {
        return Err(Error::NotIssuing { path: path.to_owned() });
    }

    let key_path = path.with_extension("key");
    let (metadata, text) = read(&key_path)?;
    check_owner(&key_path, &metadata, 0o077, "600")?;
    if !encrypted::is_encrypted(&text) {
        return Err(Error::Plain { path: key_path });
    }
    let key = encrypted::read(&text, passphrase).map_err(|source| Error::Key { path: key_path, source })?;
    let authority = Authority::load(certificate, key).map_err(failed)?;
    if signs_what_verifies(&authority) {
        Ok(authority)
    } else {
        Err(Error::SelfTest { path: path.to_owned() })
    }
}

/// Signs a list of number 0, which no hub takes, and verifies it.
fn signs_what_verifies(authority: &Authority) -> bool {
    let order = ListOrder {
        authority: authority.name(),
        number: 0,
        this_update: authority.not_before(),
        next_update: authority.not_after(),
        revoked: Vec::new(),
    };
    let Ok(list) = authority.sign_list(&order) else { return false };
    let (Ok(certificate), Ok((_, list))) =
        (identity::parse(authority.certificate()), CertificateRevocationList::from_der(&list))
    else {
        return false;
    };
    list.verify_signature(certificate.public_key()).is_ok()
}

/// A file's content, and what it was when it was opened.
fn read(path: &Path) -> Result<(fs::Metadata, Zeroizing<Vec<u8>>), Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mut content = Zeroizing::new(Vec::new());
    file.take(MAX_FILE_BYTES).read_to_end(&mut content).map_err(failed)?;
    Ok((metadata, content))
}
