//! Decides what a certificate is to the hub: how it is named, whose it is, and
//! where it stands; and what a one-time token is that a system enrols with.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::digest;
use crate::model::org::OrgSlug;
use crate::model::position::Position;
use crate::model::principal::SpiffeId;

/// How long an old certificate is still taken once its successor was used.
pub const GRACE: Duration = Duration::from_secs(60 * 60);
/// How long the same key gets the same certificate once more, for an answer
/// that was lost.
pub const REPEAT: Duration = Duration::from_secs(10 * 60);
/// Most tokens at once that wait or can be used.
pub const MAX_TOKENS: usize = 1_000;
/// Longest reason or note, in bytes.
pub const MAX_NOTE_BYTES: usize = 1_024;

/// The two hierarchies, kept apart so that either can be rotated alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hierarchy {
    /// What agencies must trust: signs the hub's certificate.
    Server,
    /// What only the hub trusts: signs the agencies' certificates.
    Client,
}

impl Hierarchy {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Server, Self::Client];

    /// Its name in paths and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }

    /// The name in authorities' names and in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "Server",
            Self::Client => "Client",
        }
    }
}

/// SHA-256 over the issuer's distinguished name in DER. Every generation of an
/// authority has a name of its own, so this names the generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuerDigest(pub(crate) [u8; 32]);

impl IssuerDigest {
    /// The digest of a distinguished name in DER.
    #[must_use]
    pub fn of(name_der: &[u8]) -> Self {
        Self(digest::sha256(name_der))
    }

    /// From its bytes, as they were stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 16 hexadecimal digits: how people and resource names call it.
    #[must_use]
    pub fn short(&self) -> String {
        digest::hex(self.0.first_chunk::<8>().map_or(&[], |first| first.as_slice()))
    }
}

impl fmt::Display for IssuerDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&digest::hex(&self.0))
    }
}

/// A certificate, named as revocation lists name it: by issuer and serial, for
/// a serial alone names a different certificate under every issuer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateId {
    /// Who signed it.
    pub issuer: IssuerDigest,
    /// Serial number in lower-case hexadecimal without leading zero bytes.
    pub serial: String,
}

/// That a certificate was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// When.
    pub time: Timestamp,
    /// Why.
    pub reason: String,
    /// SPIFFE identity of who did; empty: the machine's operator.
    pub by: String,
}

/// Which connections are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peers {
    /// Those under this certificate.
    Certificate(CertificateId),
    /// Those of this system or person.
    Identity(SpiffeId),
    /// Those of this organisation.
    Organisation(OrgSlug),
}

impl Peers {
    /// Whether connections under a certificate are among them.
    #[must_use]
    pub fn include(&self, certificate: &Certificate) -> bool {
        match self {
            Self::Certificate(id) => *id == certificate.id,
            Self::Identity(holder) => *holder == certificate.holder,
            Self::Organisation(slug) => slug == certificate.holder.org(),
        }
    }
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(id) => write!(f, "certificate {} of {}", id.serial, id.issuer.short()),
            Self::Identity(holder) => holder.fmt(f),
            Self::Organisation(slug) => write!(f, "organisation {slug}"),
        }
    }
}

/// That connections were ended, whose clients may come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Severance {
    /// Which.
    pub peers: Peers,
    /// When.
    pub time: Timestamp,
    /// Why; may be empty.
    pub reason: String,
    /// SPIFFE identity of who did; empty: the machine's operator.
    pub by: String,
}

/// How a certificate came to be issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// For the one-time token with this digest.
    Token([u8; 32]),
    /// In exchange for this one.
    Renewal(CertificateId),
    /// Found in the signer's journal by a hub that was restored.
    Recovered,
}

/// A certificate that the hub's own authorities issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its name.
    pub id: CertificateId,
    /// Whole, X.509 in DER.
    pub der: Vec<u8>,
    /// Whose it is.
    pub holder: SpiffeId,
    /// SHA-256 of the holder's SubjectPublicKeyInfo.
    pub key: [u8; 32],
    /// Start of its validity.
    pub not_before: Timestamp,
    /// The last second in which it holds.
    pub not_after: Timestamp,
    /// When it was issued.
    pub issued: Timestamp,
    /// How.
    pub origin: Origin,
    /// When it was first used.
    pub first_used: Option<Timestamp>,
    /// From when on it is no longer taken, for its successor is in use.
    pub superseded: Option<Timestamp>,
    /// Whether the hub did not believe the machine's clock when it was issued,
    /// so that its span may be wrong.
    pub doubtful: bool,
    /// Whether it waits for an operator's word: nobody but the signer's journal
    /// knew of it when the hub was restored.
    pub unconfirmed: bool,
}

/// Where a certificate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is taken.
    Active,
    /// It is not taken until an operator says that it is to be.
    Unconfirmed,
    /// Its successor is in use; it is taken until its grace ends.
    Grace,
    /// Its grace has ended.
    Superseded,
    /// It ended.
    Expired,
}

impl Certificate {
    /// SHA-256 of the certificate in DER.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        digest::sha256(&self.der)
    }

    /// Where it stands, revocation aside.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> State {
        // The second that a certificate names is the last in which it holds.
        if now.as_seconds() > self.not_after.as_seconds() {
            return State::Expired;
        }
        match self.superseded {
            _ if self.unconfirmed => State::Unconfirmed,
            None => State::Active,
            Some(end) if now < end => State::Grace,
            Some(_) => State::Superseded,
        }
    }
}

/// A one-time token, of which the hub keeps the digest alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// SHA-256 of the token.
    pub digest: [u8; 32],
    /// Position of the entry that made it.
    pub at: Position,
    /// Whose certificate it is good for.
    pub holder: SpiffeId,
    /// SPIFFE identity of who made it; empty: the machine's operator.
    pub author: String,
    /// When.
    pub made: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
    /// What it is for.
    pub note: String,
    /// Where it stands.
    pub state: TokenState,
}

/// Where a token stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenState {
    /// It waits for a second person.
    Pending,
    /// It can be used.
    Ready,
    /// It was used for this certificate.
    Used(CertificateId),
}

/// What changes among certificates; each is an entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateChange {
    /// A token is made.
    Make {
        /// SHA-256 of the token.
        digest: [u8; 32],
        /// Whose certificate it is good for.
        holder: SpiffeId,
        /// When it ends.
        expires: Timestamp,
        /// What it is for.
        note: String,
    },
    /// A token may be used.
    Approve(Position),
    /// A token is taken back.
    Cancel(Position),
    /// A certificate enters the ledger; its token, if it came by one, is
    /// used up by the same entry.
    Issue(Arc<Certificate>),
    /// A certificate is revoked.
    Revoke {
        /// Which.
        id: CertificateId,
        /// Why.
        reason: String,
        /// Whether all that it was renewed to goes with it, used or not.
        descendants: bool,
    },
    /// Certificates that were found in the signer's journal are taken.
    Confirm(Vec<CertificateId>),
    /// Connections are ended, and nothing is revoked.
    Sever {
        /// Which.
        peers: Peers,
        /// Why; may be empty.
        reason: String,
    },
    /// A certificate is used for the first time.
    Use(CertificateId),
    /// The next number of an authority's revocation list is drawn.
    Draw(IssuerDigest),
    /// A system proved that it trusts an authority of the server hierarchy.
    Prove {
        /// Who.
        holder: SpiffeId,
        /// Which authority.
        issuer: IssuerDigest,
    },
    /// The signer's journal was read up to this record.
    Read(u64),
    /// A backup is whole that was begun at this moment.
    BackUp(Timestamp),
    /// A number of an authority's revocation list was found used.
    Skip {
        /// Whose list.
        issuer: IssuerDigest,
        /// The number.
        number: u64,
    },
}

/// A change among certificates and when it was asked for, by the clock that
/// certificates are held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateEntry {
    /// When.
    pub time: Timestamp,
    /// What.
    pub change: CertificateChange,
}
