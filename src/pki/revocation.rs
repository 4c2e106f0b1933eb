//! Decides which revocation list counts for which authority: one current list
//! for every anchor, signed by it, and never an older one than before.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use rustls::pki_types::CertificateRevocationListDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::time::ASN1Time;

use super::identity::{CertificateId, IssuerDigest, serial_hex};
use crate::base::clock::Timestamp;

/// How far ahead of ours the clock of whoever signed may run.
pub const SKEW: Duration = Duration::from_secs(5 * 60);

/// Why a set of revocation lists is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Without lists nothing is ever revoked.
    #[error(
        "there is no revocation list; every authority needs one, even if empty (`luytre pki crl` signs it)"
    )]
    None,
    /// An authority without a list rejects all its own clients.
    #[error("authority {authority} has no revocation list; `luytre pki crl` signs one")]
    Missing {
        /// Name of the authority.
        authority: String,
    },
    /// Two lists of one authority.
    #[error("authority {authority} has two revocation lists; keep the one with the higher number")]
    Several {
        /// Name of the authority.
        authority: String,
    },
    /// A list of nobody we trust.
    #[error("a revocation list is of {issuer}, which is not among the trusted authorities")]
    Foreign {
        /// Name of its issuer.
        issuer: String,
    },
    /// The signature does not verify.
    #[error("the revocation list of {authority} is not signed by its key")]
    Signature {
        /// Name of the authority.
        authority: String,
    },
    /// Not a list, or with more behind it, or without number or next update.
    #[error("a revocation list is not well-formed (RFC 5280, section 5), with a number and a next update")]
    Malformed,
    /// Past its next update.
    #[error(
        "the revocation list of {authority} ran out at {next_update}; `luytre pki crl` signs a fresh one"
    )]
    Stale {
        /// Name of the authority.
        authority: String,
        /// When a newer list was due.
        next_update: Timestamp,
    },
    /// Signed in the future.
    #[error(
        "the revocation list of {authority} is from {this_update}, ahead of this machine's clock; check the time"
    )]
    Future {
        /// Name of the authority.
        authority: String,
        /// When it says it was signed.
        this_update: Timestamp,
    },
    /// Older than the list that is in force.
    #[error("the revocation list of {authority} is older than the one in force; nothing is un-revoked")]
    Rollback {
        /// Name of the authority.
        authority: String,
    },
}

/// One revocation list, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Whose list it is.
    pub issuer: IssuerDigest,
    /// Name of its issuer, for messages.
    pub authority: String,
    /// Its number, big-endian bytes without leading zeros.
    pub number: Vec<u8>,
    /// When it was signed.
    pub this_update: Timestamp,
    /// When a newer one is due.
    pub next_update: Timestamp,
    /// What it revokes: serial and when.
    pub revoked: BTreeMap<String, Timestamp>,
}

impl List {
    /// Reads one list without judging it.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn read(der: &[u8]) -> Result<Self, Error> {
        Self::from_parsed(&parse(der)?)
    }

    fn from_parsed(list: &CertificateRevocationList<'_>) -> Result<Self, Error> {
        let revoked = list
            .iter_revoked_certificates()
            .map(|entry| Some((serial_hex(entry.raw_serial())?, moment(entry.revocation_date)?)))
            .collect::<Option<_>>()
            .ok_or(Error::Malformed)?;
        Ok(Self {
            issuer: IssuerDigest::of(list.issuer().as_raw()),
            authority: list.issuer().to_string(),
            number: list.crl_number().ok_or(Error::Malformed)?.to_bytes_be(),
            this_update: moment(list.last_update()).ok_or(Error::Malformed)?,
            next_update: list.next_update().and_then(moment).ok_or(Error::Malformed)?,
            revoked,
        })
    }

    /// Its number, if that is below 2^64.
    #[must_use]
    pub fn number_u64(&self) -> Option<u64> {
        let mut number = [0; 8];
        let from = number.len().checked_sub(self.number.len())?;
        number.get_mut(from..)?.copy_from_slice(&self.number);
        Some(u64::from_be_bytes(number))
    }

    /// Whether this list has a lower number than `other`.
    #[must_use]
    pub fn is_older_than(&self, other: &Self) -> bool {
        (self.number.len(), &self.number) < (other.number.len(), &other.number)
    }
}

/// The revocation lists in force, one for each authority.
#[derive(Debug, Default)]
pub struct Revocations {
    lists: BTreeMap<IssuerDigest, List>,
    revoked: HashSet<CertificateId>,
}

impl Revocations {
    /// Checks `ders` against the anchors: exactly one current list for each,
    /// signed by it. A list that is among the `known` ones may have run out.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn build(
        anchors: &[X509Certificate<'_>],
        ders: &[CertificateRevocationListDer<'_>],
        now: Timestamp,
        known: Option<&Self>,
    ) -> Result<Self, Error> {
        if ders.is_empty() {
            return Err(Error::None);
        }
        let mut all = Self::default();
        for der in ders {
            let parsed = parse(der)?;
            let anchor = anchors
                .iter()
                .find(|anchor| anchor.subject().as_raw() == parsed.issuer().as_raw())
                .ok_or_else(|| Error::Foreign { issuer: parsed.issuer().to_string() })?;
            let list = check(&parsed, anchor, now, known)?;
            let issuer = list.issuer;
            all.revoked
                .extend(list.revoked.keys().map(|serial| CertificateId { issuer, serial: serial.clone() }));
            if all.lists.insert(issuer, list).is_some() {
                return Err(Error::Several { authority: anchor.subject().to_string() });
            }
        }
        for anchor in anchors {
            if !all.lists.contains_key(&IssuerDigest::of(anchor.subject().as_raw())) {
                return Err(Error::Missing { authority: anchor.subject().to_string() });
            }
        }
        Ok(all)
    }

    /// Whether `certificate` is revoked.
    #[must_use]
    pub fn contains(&self, certificate: &CertificateId) -> bool {
        self.revoked.contains(certificate)
    }

    /// How many certificates are revoked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.revoked.is_empty()
    }

    /// When the first of the lists runs out; handshakes fail from then on.
    #[must_use]
    pub fn next_update(&self) -> Option<Timestamp> {
        self.lists.values().map(|list| list.next_update).min()
    }

    /// The lists, one for each authority.
    pub fn lists(&self) -> impl Iterator<Item = &List> {
        self.lists.values()
    }

    /// Names of the authorities whose list `older` has not.
    #[must_use]
    pub fn renewed_since(&self, older: &Self) -> Vec<String> {
        let renewed = self.lists.iter().filter(|(issuer, list)| older.lists.get(issuer) != Some(list));
        renewed.map(|(_, list)| list.authority.clone()).collect()
    }

    /// How many certificates are revoked that `older` does not revoke.
    #[must_use]
    pub fn newly_revoked_since(&self, older: &Self) -> usize {
        self.revoked.difference(&older.revoked).count()
    }

    /// Refuses to follow `older` with a list that is older than its own.
    ///
    /// # Errors
    /// [`Error::Rollback`].
    pub fn check_follows(&self, older: &Self) -> Result<(), Error> {
        for (issuer, list) in &self.lists {
            if older.lists.get(issuer).is_some_and(|before| list.is_older_than(before)) {
                return Err(Error::Rollback { authority: list.authority.clone() });
            }
        }
        Ok(())
    }
}

fn parse(der: &[u8]) -> Result<CertificateRevocationList<'_>, Error> {
    match CertificateRevocationList::from_der(der) {
        Ok(([], list)) => Ok(list),
        Ok(_) | Err(_) => Err(Error::Malformed),
    }
}

fn check(
    parsed: &CertificateRevocationList<'_>,
    anchor: &X509Certificate<'_>,
    now: Timestamp,
    known: Option<&Revocations>,
) -> Result<List, Error> {
    let authority = || anchor.subject().to_string();
    parsed.verify_signature(anchor.public_key()).map_err(|_| Error::Signature { authority: authority() })?;
    let list = List::from_parsed(parsed)?;
    if list.this_update > now.saturating_add(SKEW) {
        return Err(Error::Future { authority: authority(), this_update: list.this_update });
    }
    let is_known = known.is_some_and(|known| known.lists.get(&list.issuer) == Some(&list));
    if list.next_update <= now && !is_known {
        return Err(Error::Stale { authority: authority(), next_update: list.next_update });
    }
    Ok(list)
}

fn moment(at: ASN1Time) -> Option<Timestamp> {
    Timestamp::from_offset(at.to_datetime())
}
