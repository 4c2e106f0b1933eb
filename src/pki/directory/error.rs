//! Decides what is said when a directory of authorities is not read or written.

use std::io;
use std::path::PathBuf;

use crate::model::Invalid;
use crate::pki::{encrypted, issue, pem, revocation};

/// Why nothing was read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What it answered.
        source: io::Error,
    },
    /// Something is there already.
    #[error("{} exists already and is not overwritten; choose another name or move it away", path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// There are no authorities here.
    #[error("{} holds no authorities; `luytre pki init` makes them", path.display())]
    NotInitialised {
        /// Where they were sought.
        path: PathBuf,
    },
    /// Others could read a key.
    #[error("{} can be read by others; run: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The key's file.
        path: PathBuf,
    },
    /// A file name that is not one.
    #[error(
        "a name holds a-z, 0-9, hyphens, underscores and dots, starts with a letter or digit, and is not one of the directory's own"
    )]
    Name,
    /// The trust domain is not one.
    #[error("trust domain: {0}")]
    TrustDomain(Invalid),
    /// The identity is of another trust domain.
    #[error("the identity is not of trust domain {expected}, which these authorities serve")]
    ForeignIdentity {
        /// The directory's trust domain.
        expected: String,
    },
    /// A serial number that these authorities never gave.
    #[error("serial {serial} is not in the list of what was issued; check it with `luytre pki show`")]
    NotIssued {
        /// The serial number.
        serial: String,
    },
    /// The serial number is no serial number.
    #[error("a serial number is at most 20 bytes in hexadecimal, as `luytre pki show` prints it")]
    Serial,
    /// A PEM file is damaged.
    #[error("{}: {source}", path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// Nothing was signed.
    #[error(transparent)]
    Issue(#[from] issue::Error),
    /// The revocation list cannot be read.
    #[error(transparent)]
    Revocation(#[from] revocation::Error),
    /// The key needs a passphrase.
    #[error("{} is encrypted; add --ask-passphrase, --passphrase-fd N or --passphrase-file FILE", path.display())]
    Locked {
        /// The key's file.
        path: PathBuf,
    },
    /// The key is in the clear where it may not be.
    #[error("{} is not encrypted, and a signer takes no such key; run: luytre pki encrypt {}", path.display(), path.display())]
    Plain {
        /// The key's file.
        path: PathBuf,
    },
    /// The key is encrypted already.
    #[error("{} is encrypted already", path.display())]
    Encrypted {
        /// The key's file.
        path: PathBuf,
    },
    /// The key cannot be read or written under its passphrase.
    #[error("{}: {source}", path.display())]
    Passphrase {
        /// The key's file.
        path: PathBuf,
        /// Why.
        source: encrypted::Error,
    },
}
