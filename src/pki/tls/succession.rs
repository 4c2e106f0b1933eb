//! Decides whether a snapshot may take the place of another, and what it
//! changes.

use std::collections::BTreeSet;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::{Error, Snapshot};
use crate::base::clock::Timestamp;
use crate::pki::identity;
use crate::pki::issue::DAY;

/// A certificate of the hub or of an authority, as it is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its subject.
    pub name: String,
    /// SHA-256 over it in DER.
    pub fingerprint: [u8; 32],
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
}

/// What a snapshot changes of the one before it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Whether the hub shows another certificate.
    pub server: bool,
    /// Authorities that are trusted now.
    pub anchors_added: Vec<String>,
    /// Authorities that are trusted no more.
    pub anchors_removed: Vec<String>,
    /// Authorities whose revocation list is another one.
    pub lists_renewed: Vec<String>,
    /// Certificates that are revoked now.
    pub newly_revoked: usize,
}

impl Snapshot {
    /// Refuses to follow `current`: the epoch must rise, no revocation list may
    /// be older, and the hub's certificate may lose no name.
    ///
    /// # Errors
    /// [`Error::Epoch`], [`Error::Revocation`], [`Error::NamesLost`].
    pub fn check_follows(&self, current: &Self) -> Result<(), Error> {
        if self.epoch <= current.epoch {
            return Err(Error::Epoch { epoch: self.epoch, current: current.epoch });
        }
        if current.is_closed() {
            return Ok(());
        }
        self.revocations.check_follows(&current.revocations)?;
        let lost: Vec<&str> =
            current.server_names.difference(&self.server_names).map(String::as_str).collect();
        if lost.is_empty() { Ok(()) } else { Err(Error::NamesLost { names: lost.join(", ") }) }
    }

    /// Refuses another certificate than `current` shows if it ends within a
    /// day: whoever puts it in force has most likely taken an old file. The
    /// same certificate may run out, for what else is new has to come in.
    ///
    /// # Errors
    /// [`Error::NearEnd`].
    pub fn check_lasts(&self, current: &Self, now: Timestamp) -> Result<(), Error> {
        let Watched { fingerprint, not_after, .. } = &self.own;
        if *fingerprint != current.own.fingerprint && *not_after < now.saturating_add(DAY) {
            return Err(Error::NearEnd { not_after: *not_after });
        }
        Ok(())
    }

    /// What this snapshot changes of `older`.
    #[must_use]
    pub fn change_of(&self, older: &Self) -> Change {
        let missing = |of: &Self, from: &Self| {
            let known = |issuer| from.anchors.contains_key(issuer);
            of.anchors
                .iter()
                .filter(|(issuer, _)| !known(*issuer))
                .map(|(_, anchor)| anchor.name.clone())
                .collect()
        };
        Change {
            server: self.own.fingerprint != older.own.fingerprint,
            anchors_added: missing(self, older),
            anchors_removed: missing(older, self),
            lists_renewed: self.revocations.renewed_since(&older.revocations),
            newly_revoked: self.revocations.newly_revoked_since(&older.revocations),
        }
    }
}

impl Watched {
    /// Reads what is watched of a certificate that `parsed` is.
    pub(super) fn of(
        der: &[u8],
        parsed: &X509Certificate<'_>,
        (not_before, not_after): (Timestamp, Timestamp),
    ) -> Self {
        let name = parsed.subject().to_string();
        Self { name, fingerprint: crate::base::digest::sha256(der), not_before, not_after }
    }
}

/// The names that a certificate is for, each with its kind.
pub(super) fn names_of(certificate: &X509Certificate<'_>) -> Result<BTreeSet<String>, identity::Error> {
    let names = certificate.subject_alternative_name().map_err(|_| identity::Error::Malformed)?;
    let names = names.into_iter().flat_map(|names| &names.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(format!("DNS {}", name.to_ascii_lowercase())),
            GeneralName::IPAddress(bytes) => Some(format!("IP {}", address(bytes))),
            GeneralName::URI(uri) => Some(format!("URI {uri}")),
            _ => None,
        })
        .collect())
}

fn address(bytes: &[u8]) -> String {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        std::net::Ipv4Addr::from(v4).to_string()
    } else if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
        std::net::Ipv6Addr::from(v6).to_string()
    } else {
        crate::base::digest::hex(bytes)
    }
}
