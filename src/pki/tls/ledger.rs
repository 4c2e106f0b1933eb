//! Decides what the ledger of issued certificates may say of one, and what
//! that means for its holder.

use std::fmt;

use super::snapshot::Standing;
use crate::base::clock::Timestamp;
use crate::pki::identity::CertificateId;

/// What the ledger says of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerVerdict {
    /// It was issued and is good.
    Taken,
    /// The ledger is not kept for its authority: chain and revocation list
    /// alone count.
    NotEmbedded,
    /// The ledger is kept for its authority and does not know it: whoever
    /// signed it has the authority's key and is not this hub.
    Unknown,
    /// It was found in the signer's journal after a restore, and waits for an
    /// operator's word.
    Unconfirmed,
    /// It was revoked.
    Revoked,
    /// Its holder uses a newer one, and the time of this one is over.
    Superseded,
    /// Its holder's organisation takes no part now.
    Inactive,
}

impl LedgerVerdict {
    /// What it means for the holder.
    #[must_use]
    pub(super) const fn standing(self) -> Standing {
        match self {
            Self::Taken | Self::NotEmbedded => Standing::Good,
            Self::Unknown | Self::Unconfirmed => Standing::NotIssued,
            Self::Revoked => Standing::Revoked,
            Self::Superseded => Standing::Superseded,
            Self::Inactive => Standing::Inactive,
        }
    }
}

/// The certificates that this hub has issued: an allow-list beside the
/// revocation lists, so that a leaf under a stolen authority's key is worth
/// nothing although it chains.
pub trait Ledger: fmt::Debug + Send + Sync {
    /// What is known of a certificate whose fingerprint, SHA-256 over its DER,
    /// is this. Asked at every handshake and, under the lock of the
    /// connections, at every sweep: it answers at once and from memory.
    fn judge(&self, id: &CertificateId, fingerprint: &[u8; 32], now: Timestamp) -> LedgerVerdict;
}
