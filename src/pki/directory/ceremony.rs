//! Decides how authorities are made: both hierarchies at once in the beginning,
//! the next generation under its offline root later, and what of them goes to
//! the signer.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::{
    CLIENT_CA, CLIENT_CRL, Directory, Error, LEDGER, LEDGER_HEAD, PRIVATE, PRIVATE_MODE, PUBLIC_MODE,
    SERVER_CA, TRUST_DOMAIN, at, in_pem, read, write_new,
};
use crate::base::clock::Timestamp;
use crate::base::files;
use crate::base::secret::Secret;
use crate::model::principal::check_trust_domain;
use crate::pki::encrypted;
use crate::pki::issue::{self, Authority, Hierarchy, Key, lifetime};
use crate::pki::pem::{self, Label};

/// Most generations of one hierarchy in a directory.
const MAX_GENERATIONS: u32 = 99;

/// An authority as it lies in the signer's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Its certificate; its key lies beside it, ending in `.key`.
    pub certificate: PathBuf,
    /// Whether it was there already.
    pub was_there: bool,
}

impl Directory {
    /// Makes both hierarchies in an empty or missing directory, and signs an
    /// empty revocation list at once. Keys are left in the clear.
    ///
    /// # Errors
    /// If anything is there already, or cannot be written.
    pub fn init(
        path: &Path,
        trust_domain: &str,
        now: Timestamp,
        list_lifetime: Duration,
    ) -> Result<Self, Error> {
        Self::init_under(path, trust_domain, now, list_lifetime, None)
    }

    /// The same, with the authorities' keys encrypted under `passphrase` if
    /// there is one.
    ///
    /// # Errors
    /// If anything is there already, cannot be written, or the passphrase is
    /// too short.
    pub fn init_under(
        path: &Path,
        trust_domain: &str,
        now: Timestamp,
        list_lifetime: Duration,
        passphrase: Option<Secret<Vec<u8>>>,
    ) -> Result<Self, Error> {
        check_trust_domain(trust_domain).map_err(Error::TrustDomain)?;
        let made = |hierarchy| {
            let root = Authority::root(hierarchy, trust_domain, now, lifetime::ROOT)?;
            let issuing = root.issuing(hierarchy, trust_domain, 1, now, lifetime::ISSUING)?;
            Ok::<_, issue::Error>((root, issuing))
        };
        let (server_root, server) = made(Hierarchy::Server)?;
        let (client_root, client) = made(Hierarchy::Client)?;
        let list = client.sign_revocation_list(None, None, now, list_lifetime)?;

        let directory = Self { path: path.to_owned(), trust_domain: trust_domain.to_owned(), passphrase };
        files::create_private_dir(path).map_err(at(path))?;
        if fs::read_dir(path).map_err(at(path))?.next().is_some() {
            return Err(Error::Exists { path: path.to_owned() });
        }
        let written = [
            ("server-root", &server_root),
            ("server-issuing", &server),
            ("client-root", &client_root),
            ("client-issuing", &client),
        ]
        .map(|(name, authority)| (name, authority, directory.key_text(name, authority.key())));
        let private = path.join(PRIVATE);
        files::create_private_dir(&private).map_err(at(&private))?;
        for (name, authority, key) in written {
            directory.write_authority(name, authority, &key?)?;
        }
        let public =
            |name: &str, content: String| write_new(&path.join(name), content.as_bytes(), PUBLIC_MODE);
        public(SERVER_CA, pem::encode(Label::Certificate, server_root.certificate()))?;
        public(CLIENT_CA, pem::encode(Label::Certificate, client.certificate()))?;
        public(CLIENT_CRL, pem::encode(Label::RevocationList, &list))?;
        public(LEDGER, LEDGER_HEAD.to_owned())?;
        public(TRUST_DOMAIN, format!("{trust_domain}\n"))?;
        Ok(directory)
    }

    /// Makes the next generation of a hierarchy's issuing authority under its
    /// root, whose key must be here. Says where its certificate lies; its key
    /// lies beside it. What the directory issues from day to day goes on under
    /// the first generation: a later one is for the signer.
    ///
    /// # Errors
    /// If the root's key is not here or locked, or nothing could be written.
    pub fn next_issuing(&self, hierarchy: Hierarchy, now: Timestamp) -> Result<PathBuf, Error> {
        let _only = self.lock()?;
        let below = hierarchy.name();
        let root = self.authority(&format!("{below}-root"))?;
        let generation = self.generations(hierarchy)?.len().try_into().unwrap_or(MAX_GENERATIONS) + 1;
        let authority = root.issuing(hierarchy, &self.trust_domain, generation, now, lifetime::ISSUING)?;
        let name = format!("{below}-issuing-g{generation}");
        let key = self.key_text(&name, authority.key())?;
        self.write_authority(&name, &authority, &key)
    }

    /// Copies every issuing authority, its key encrypted, to where a signer
    /// reads them: `client/` and `server/` below `to`. What is there stays.
    ///
    /// # Errors
    /// If a key is not encrypted, or nothing could be written.
    pub fn export_for_signer(&self, to: &Path) -> Result<Vec<Exported>, Error> {
        let _only = self.lock()?;
        let mut pairs = Vec::new();
        for hierarchy in [Hierarchy::Client, Hierarchy::Server] {
            for (index, path) in self.generations(hierarchy)?.into_iter().enumerate() {
                let key_path = path.with_extension("key");
                let key = Zeroizing::new(read(&key_path)?);
                if !encrypted::is_encrypted(&key) {
                    return Err(Error::Plain { path: key_path });
                }
                let target = to.join(hierarchy.name()).join(format!("g{}.pem", index + 1));
                pairs.push((target, read(&path)?, key));
            }
        }
        let mut exported = Vec::new();
        for (certificate, content, key) in pairs {
            if let Some(directory) = certificate.parent() {
                files::create_private_dir(directory).map_err(at(directory))?;
            }
            let was_there = fs::read(&certificate).is_ok_and(|there| there == content);
            if !was_there {
                // The key first: a signer that looks meanwhile sees no
                // certificate without its key.
                write_new(&certificate.with_extension("key"), &key, PRIVATE_MODE)?;
                write_new(&certificate, &content, PUBLIC_MODE)?;
            }
            exported.push(Exported { certificate, was_there });
        }
        Ok(exported)
    }

    /// The certificates of a hierarchy's issuing authorities, first to last.
    fn generations(&self, hierarchy: Hierarchy) -> Result<Vec<PathBuf>, Error> {
        let private = self.path.join(PRIVATE);
        let mut found = Vec::new();
        for generation in 1..=MAX_GENERATIONS {
            let below = hierarchy.name();
            let name = match generation {
                1 => format!("{below}-issuing.pem"),
                _ => format!("{below}-issuing-g{generation}.pem"),
            };
            let path = private.join(name);
            if !path.try_exists().map_err(at(&path))? {
                break;
            }
            found.push(path);
        }
        Ok(found)
    }

    fn key_text(&self, name: &str, key: &Key) -> Result<Zeroizing<String>, Error> {
        let Some(passphrase) = &self.passphrase else { return Ok(key.to_pem()) };
        let path = self.path.join(PRIVATE).join(format!("{name}.key"));
        encrypted::write(key, passphrase).map_err(|source| Error::Passphrase { path, source })
    }

    fn write_authority(&self, name: &str, authority: &Authority, key: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(PRIVATE).join(format!("{name}.pem"));
        write_new(&path.with_extension("key"), key.as_bytes(), PRIVATE_MODE)?;
        let certificate = pem::encode(Label::Certificate, authority.certificate());
        write_new(&path, certificate.as_bytes(), PUBLIC_MODE)?;
        Ok(path)
    }
}

/// Encrypts a key that lies in the clear, in its place.
///
/// # Errors
/// If it is encrypted already or is no key, or cannot be written; it then lies
/// there as before.
pub fn encrypt_key(path: &Path, passphrase: &Secret<Vec<u8>>) -> Result<(), Error> {
    let text = Zeroizing::new(read(path)?);
    if encrypted::is_encrypted(&text) {
        return Err(Error::Encrypted { path: path.to_owned() });
    }
    let key = Key::from_der(&pem::private_key(&text).map_err(|source| in_pem(path, source))?)?;
    let text = encrypted::write(&key, passphrase)
        .map_err(|source| Error::Passphrase { path: path.to_owned(), source })?;
    files::write_atomic(path, text.as_bytes(), PRIVATE_MODE).map_err(at(path))
}
