//! Decides what the hub may ask of whoever holds the authorities' keys: a
//! leaf, a revocation list, and what was signed so far. Nothing else, so that
//! a hardware module or a foreign authority can stand in its place.

use std::fmt;
use std::net::IpAddr;

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use super::identity::IssuerDigest;
use super::issue::Hierarchy;
use crate::base::clock::Timestamp;
use crate::model::principal::SpiffeId;

/// Whom a certificate is for; the purpose follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A system or person, by its one identity; signed by the client hierarchy.
    Client(SpiffeId),
    /// The hub, under these names; signed by the server hierarchy.
    Server {
        /// DNS names.
        dns: Vec<String>,
        /// IP addresses.
        ip: Vec<IpAddr>,
    },
}

/// A certificate to sign. Everything in it is the hub's own word: of a
/// request from outside only the public key is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafOrder {
    /// Which authority signs.
    pub authority: IssuerDigest,
    /// The holder's key, SubjectPublicKeyInfo in DER (RFC 5280, section 4.1.2.7).
    pub public_key: Vec<u8>,
    /// Serial number, 16 to 20 random bytes, big-endian, the first below 0x80
    /// and not zero.
    pub serial: Vec<u8>,
    /// Whom it is for.
    pub holder: Holder,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// The last second in which it holds.
    pub not_after: Timestamp,
}

/// A revocation list to sign, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListOrder {
    /// Which authority signs.
    pub authority: IssuerDigest,
    /// Its number (RFC 5280, section 5.2.3): above every one before.
    pub number: u64,
    /// When it is signed.
    pub this_update: Timestamp,
    /// When a newer one is due.
    pub next_update: Timestamp,
    /// What it revokes: serial as [`super::identity::serial_hex`] writes it,
    /// and when.
    pub revoked: Vec<(String, Timestamp)>,
}

/// An authority whose key the signer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What it signs.
    pub hierarchy: Hierarchy,
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
}

/// What was signed, as the signer wrote it down before it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signed {
    /// A leaf.
    Leaf {
        /// Whole.
        certificate: CertificateDer<'static>,
    },
    /// A revocation list.
    List {
        /// Whose.
        authority: IssuerDigest,
        /// Its number.
        number: u64,
        /// What it revoked that the list before did not.
        added: Vec<(String, Timestamp)>,
    },
}

/// One line of the signer's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Rising from 1 without gaps.
    pub number: u64,
    /// When it was signed, by the signer's clock.
    pub time: Timestamp,
    /// What.
    pub signed: Signed,
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The order breaks the signer's profile; asking again does not help.
    #[error("the signer refuses: {problem}")]
    Refused {
        /// Which rule, with what to do.
        problem: String,
    },
    /// It signed as much as it may within the hour.
    #[error("the signer signs nothing more for now: {problem}; try again later")]
    Limited {
        /// Which limit.
        problem: String,
    },
    /// The signer does not answer now.
    #[error("the signer does not answer: {problem}; start it (luytred signer), then try again")]
    Unavailable {
        /// What happened.
        problem: String,
    },
}

/// Who signs for the hub. Calls block; the hub makes them off its own threads.
pub trait Signer: fmt::Debug + Send + Sync {
    /// The authorities whose keys it holds.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn authorities(&self) -> Result<Vec<Held>, Error>;

    /// Signs a leaf, once it is written in the journal.
    ///
    /// # Errors
    /// [`Error::Refused`] if the order breaks the profile, [`Error::Limited`],
    /// [`Error::Unavailable`].
    fn sign_leaf(&self, order: &LeafOrder) -> Result<CertificateDer<'static>, Error>;

    /// Signs a revocation list, once it is written in the journal. A number
    /// that is not above the last, or a list without what a former one revoked,
    /// is refused.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Limited`], [`Error::Unavailable`].
    fn sign_list(&self, order: &ListOrder) -> Result<CertificateRevocationListDer<'static>, Error>;

    /// What was signed after record number `after`, at most 1,000 records and
    /// fewer if they are long, oldest first; none means that there are no more.
    /// What a restored hub has forgotten it learns from here.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn journal(&self, after: u64) -> Result<Vec<Record>, Error>;
}
