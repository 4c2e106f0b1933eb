//! Decides how authorities and certificates lie on disk: what is public in the
//! directory itself, what signs in `private/`, and nothing ever overwritten.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::encrypted;
use super::issue::{self, Authority, Issued, Key, Leaf};
use super::pem::{self, Label};
use super::revocation::{self, List};
use crate::base::clock::Timestamp;
use crate::base::files;
use crate::base::secret::Secret;
use crate::model::principal::check_trust_domain;

mod ceremony;
mod error;

pub use ceremony::{Exported, encrypt_key};
pub use error::Error;

/// The roots of the server hierarchy: what agencies must trust.
pub const SERVER_CA: &str = "server-ca.pem";
/// The issuing authorities of the client hierarchy: what the hub trusts.
pub const CLIENT_CA: &str = "client-ca.pem";
/// Their revocation lists.
pub const CLIENT_CRL: &str = "client-crl.pem";
/// What was issued: serial, expiry, to whom.
pub const LEDGER: &str = "issued.tsv";
const TRUST_DOMAIN: &str = "trust-domain";
const PRIVATE: &str = "private";

const LEDGER_HEAD: &str = "# serial\tnot after\tissued to\n";
const PUBLIC_MODE: u32 = 0o644;
const PRIVATE_MODE: u32 = 0o600;

/// A certificate just written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where the certificate is, with the authorities that a peer needs.
    pub certificate: PathBuf,
    /// Where its key is.
    pub key: PathBuf,
    /// Serial number in hexadecimal.
    pub serial: String,
    /// When it expires.
    pub not_after: Timestamp,
}

/// A directory of authorities and what they issued.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    trust_domain: String,
    /// What the authorities' keys are encrypted with, if they are.
    passphrase: Option<Secret<Vec<u8>>>,
}

impl Directory {
    /// Opens a directory that [`Directory::init`] made.
    ///
    /// # Errors
    /// If it is none.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let recorded = path.join(TRUST_DOMAIN);
        match fs::read_to_string(&recorded) {
            Ok(text) => {
                let trust_domain = text.trim().to_owned();
                check_trust_domain(&trust_domain).map_err(Error::TrustDomain)?;
                Ok(Self { path: path.to_owned(), trust_domain, passphrase: None })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::NotInitialised { path: path.to_owned() })
            }
            Err(source) => Err(Error::File { path: recorded, source }),
        }
    }

    /// The same, with the passphrase of the authorities' keys.
    #[must_use]
    pub fn unlocked(mut self, passphrase: Option<Secret<Vec<u8>>>) -> Self {
        self.passphrase = passphrase;
        self
    }

    /// The trust domain that these authorities serve.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Issues `leaf` and writes `<name>.pem` and `<name>.key`. What was issued
    /// is recorded before either file exists.
    ///
    /// # Errors
    /// If a file of that name exists, the identity is foreign, or nothing could
    /// be signed or written.
    pub fn issue(
        &self,
        leaf: &Leaf,
        name: &str,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Written, Error> {
        let _only = self.lock()?;
        let (certificate, key) = self.leaf_paths(name)?;
        let (authority, holder) = match leaf {
            Leaf::Server { dns, ip } => {
                let names = dns.iter().cloned().chain(ip.iter().map(ToString::to_string));
                (self.authority("server-issuing")?, names.collect::<Vec<_>>().join(","))
            }
            Leaf::Client(id) if id.trust_domain() != self.trust_domain => {
                return Err(Error::ForeignIdentity { expected: self.trust_domain.clone() });
            }
            Leaf::Client(id) => (self.authority("client-issuing")?, id.to_string()),
        };
        let issued = authority.issue(leaf, now, lifetime)?;
        self.record(&issued, &holder)?;
        write_new(&key, issued.key.to_pem().as_bytes(), PRIVATE_MODE)?;
        let mut chain = pem::encode(Label::Certificate, &issued.certificate);
        if matches!(leaf, Leaf::Server { .. }) {
            // Clients trust the root, so the hub shows what lies between. The
            // hub trusts the issuing authority itself: a client shows its leaf.
            chain.push_str(&pem::encode(Label::Certificate, authority.certificate()));
        }
        write_new(&certificate, chain.as_bytes(), PUBLIC_MODE)?;
        Ok(Written { certificate, key, serial: issued.serial, not_after: issued.not_after })
    }

    /// Signs the revocation list afresh, and revokes the client certificate
    /// with `serial` if one is given. Returns when the next list is due.
    ///
    /// # Errors
    /// If the serial was never issued here, or nothing could be signed or
    /// written; the list in force then stays.
    pub fn sign_revocation_list(
        &self,
        serial: Option<&str>,
        now: Timestamp,
        list_lifetime: Duration,
    ) -> Result<List, Error> {
        let _only = self.lock()?;
        let serial = serial.map(|text| self.issued_serial(text)).transpose()?;
        let path = self.path.join(CLIENT_CRL);
        let previous = self.current_list(&path)?;
        let authority = self.authority("client-issuing")?;
        let list = authority.sign_revocation_list(Some(&previous), serial.as_deref(), now, list_lifetime)?;
        files::write_atomic(&path, pem::encode(Label::RevocationList, &list).as_bytes(), PUBLIC_MODE)
            .map_err(at(&path))?;
        Ok(List::read(&list)?)
    }

    fn current_list(&self, path: &Path) -> Result<List, Error> {
        let mut lists = pem::revocation_lists(&read(path)?).map_err(|source| in_pem(path, source))?;
        match (lists.pop(), lists.is_empty()) {
            (Some(list), true) => Ok(List::read(&list)?),
            _ => Err(Error::Revocation(revocation::Error::Several { authority: path.display().to_string() })),
        }
    }

    fn issued_serial(&self, text: &str) -> Result<Vec<u8>, Error> {
        let raw = issue::serial_from_hex(text).ok_or(Error::Serial)?;
        let serial = super::identity::serial_hex(&raw).ok_or(Error::Serial)?;
        let path = self.path.join(LEDGER);
        let ledger = fs::read_to_string(&path).map_err(at(&path))?;
        let known = ledger.lines().any(|line| line.split('\t').next() == Some(serial.as_str()));
        if known { Ok(raw) } else { Err(Error::NotIssued { serial }) }
    }

    fn record(&self, issued: &Issued, holder: &str) -> Result<(), Error> {
        let path = self.path.join(LEDGER);
        let mut ledger = fs::read_to_string(&path).map_err(at(&path))?;
        ledger.push_str(&format!("{}\t{}\t{holder}\n", issued.serial, issued.not_after));
        files::write_atomic(&path, ledger.as_bytes(), PUBLIC_MODE).map_err(at(&path))
    }

    fn authority(&self, name: &str) -> Result<Authority, Error> {
        let path = self.path.join(PRIVATE).join(format!("{name}.pem"));
        let mut certificates = pem::certificates(&read(&path)?).map_err(|source| in_pem(&path, source))?;
        let path = path.with_extension("key");
        if files::is_open_to_others(&path).map_err(at(&path))? {
            return Err(Error::Exposed { path });
        }
        let key = self.read_key(&path)?;
        let certificate = certificates.pop().ok_or(issue::Error::NotAuthority)?;
        Ok(Authority::load(certificate, key)?)
    }

    fn read_key(&self, path: &Path) -> Result<Key, Error> {
        let text = Zeroizing::new(read(path)?);
        if !encrypted::is_encrypted(&text) {
            return Ok(Key::from_der(&pem::private_key(&text).map_err(|source| in_pem(path, source))?)?);
        }
        let passphrase = self.passphrase.as_ref().ok_or_else(|| Error::Locked { path: path.to_owned() })?;
        encrypted::read(&text, passphrase)
            .map_err(|source| Error::Passphrase { path: path.to_owned(), source })
    }

    fn leaf_paths(&self, name: &str) -> Result<(PathBuf, PathBuf), Error> {
        let holds = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'));
        let starts = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let own = [SERVER_CA, CLIENT_CA, CLIENT_CRL].contains(&format!("{name}.pem").as_str());
        if !holds || !starts || own || name.len() > 128 {
            return Err(Error::Name);
        }
        let paths = (self.path.join(format!("{name}.pem")), self.path.join(format!("{name}.key")));
        for path in [&paths.0, &paths.1] {
            if path.try_exists().map_err(at(path))? {
                return Err(Error::Exists { path: path.clone() });
            }
        }
        Ok(paths)
    }

    /// Keeps a second command from signing at the same time.
    fn lock(&self) -> Result<File, Error> {
        let directory = File::open(&self.path).map_err(at(&self.path))?;
        directory.lock().map_err(at(&self.path))?;
        Ok(directory)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(at(path))
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
    files::write_new(path, content, mode).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => Error::File { path: path.to_owned(), source },
    })
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    move |source| Error::File { path: path.to_owned(), source }
}

fn in_pem(path: &Path, source: pem::Error) -> Error {
    Error::Pem { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::{Clock as _, SystemClock};
    use crate::model::principal::SpiffeId;
    use crate::pki::issue::DAY;
    use std::os::unix::fs::PermissionsExt as _;

    fn made() -> (tempfile::TempDir, Directory) {
        let dir = tempfile::tempdir().unwrap();
        let made = Directory::init(&dir.path().join("ca"), "hub.example", SystemClock.now(), DAY).unwrap();
        (dir, made)
    }

    fn client() -> Leaf {
        Leaf::Client(SpiffeId::parse("spiffe://hub.example/org/soc/system/feed").unwrap())
    }

    #[test]
    fn a_second_init_changes_nothing() {
        let (_dir, made) = made();
        let before = fs::read(made.path.join(CLIENT_CA)).unwrap();
        let again = Directory::init(&made.path, "hub.example", SystemClock.now(), DAY);
        assert!(matches!(again, Err(Error::Exists { .. })));
        assert_eq!(fs::read(made.path.join(CLIENT_CA)).unwrap(), before);
    }

    #[test]
    fn keys_are_for_their_owner_alone() {
        let (_dir, made) = made();
        let written = made.issue(&client(), "feed", SystemClock.now(), DAY).unwrap();
        let mut paths = vec![written.key];
        for name in ["server-root", "server-issuing", "client-root", "client-issuing"] {
            paths.push(made.path.join(PRIVATE).join(format!("{name}.key")));
        }
        for path in paths {
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600,
                "{}",
                path.display()
            );
        }
        assert_eq!(fs::metadata(made.path.join(PRIVATE)).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_key_that_others_can_read_signs_nothing() {
        let (_dir, made) = made();
        let key = made.path.join(PRIVATE).join("client-issuing.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(made.issue(&client(), "feed", SystemClock.now(), DAY), Err(Error::Exposed { .. })));
    }

    #[test]
    fn a_certificate_is_never_overwritten() {
        let (_dir, made) = made();
        made.issue(&client(), "feed", SystemClock.now(), DAY).unwrap();
        assert!(matches!(made.issue(&client(), "feed", SystemClock.now(), DAY), Err(Error::Exists { .. })));
    }

    #[test]
    fn a_name_cannot_leave_the_directory() {
        let (_dir, made) = made();
        for name in ["../feed", "", ".feed", "a/b", "client-ca", "client-crl", "Feed"] {
            assert!(
                matches!(made.issue(&client(), name, SystemClock.now(), DAY), Err(Error::Name)),
                "{name}"
            );
        }
    }

    #[test]
    fn an_identity_of_another_trust_domain_is_not_issued() {
        let (_dir, made) = made();
        let foreign = Leaf::Client(SpiffeId::parse("spiffe://other.example/org/soc/system/feed").unwrap());
        assert!(matches!(
            made.issue(&foreign, "feed", SystemClock.now(), DAY),
            Err(Error::ForeignIdentity { .. })
        ));
    }

    #[test]
    fn revocations_add_up_and_numbers_rise() {
        let (_dir, made) = made();
        let now = SystemClock.now();
        let first = made.issue(&client(), "feed", now, DAY).unwrap();
        let second = made.issue(&client(), "feed-2", now, DAY).unwrap();
        let one = made.sign_revocation_list(Some(&first.serial), now, DAY).unwrap();
        let two = made.sign_revocation_list(Some(&second.serial), now, DAY).unwrap();
        let fresh = made.sign_revocation_list(None, now, DAY).unwrap();
        assert!(one.is_older_than(&two) && two.is_older_than(&fresh));
        assert_eq!(fresh.revoked.len(), 2);
        assert!(fresh.revoked.contains_key(&first.serial) && fresh.revoked.contains_key(&second.serial));
    }

    #[test]
    fn a_serial_that_was_never_issued_is_not_revoked() {
        let (_dir, made) = made();
        let refused = made.sign_revocation_list(Some("0badc0de"), SystemClock.now(), DAY);
        assert!(matches!(refused, Err(Error::NotIssued { .. })));
    }
}
