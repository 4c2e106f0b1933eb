//! Decides which certificates are taken at the handshake beside what their
//! chain says: those of the ledger, of organisations that take part.

use std::sync::Arc;

use crate::base::clock::Timestamp;
use crate::model::certificate::{CertificateId, State};
use crate::model::org::HUBS_OWN;
use crate::model::principal::SpiffeId;
use crate::pki::tls::{Ledger, LedgerVerdict};

use super::engine::Hub;
use super::shared::Shared;

/// The identity under which the hub of `trust_domain` tries every configuration
/// on itself.
#[must_use]
pub fn monitor(trust_domain: &str) -> Option<SpiffeId> {
    SpiffeId::parse(&format!("spiffe://{trust_domain}/org/{HUBS_OWN}/system/monitor")).ok()
}

/// Whether an identity is the hub's own.
#[must_use]
pub fn is_monitor(holder: &SpiffeId) -> bool {
    holder.org().is_hubs_own()
}

/// The ledger as the handshake asks it.
#[derive(Debug)]
struct Admission(Arc<Shared>);

impl Hub {
    /// The ledger as the handshake asks it.
    #[must_use]
    pub fn admission(&self) -> Arc<dyn Ledger> {
        Arc::new(Admission(Arc::clone(&self.shared)))
    }
}

impl Ledger for Admission {
    fn judge(&self, id: &CertificateId, fingerprint: &[u8; 32], now: Timestamp) -> LedgerVerdict {
        let ledger = self.0.ledger.load();
        if ledger.revoked.contains_key(id) || ledger.is_retired(&id.issuer) {
            return LedgerVerdict::Revoked;
        }
        let Some(known) = ledger.certificates.get(id) else {
            return if ledger.is_embedded(&id.issuer) {
                LedgerVerdict::Unknown
            } else {
                LedgerVerdict::NotEmbedded
            };
        };
        if known.fingerprint() != *fingerprint {
            return LedgerVerdict::Unknown;
        }
        match known.state(now) {
            State::Superseded => return LedgerVerdict::Superseded,
            State::Unconfirmed => return LedgerVerdict::Unconfirmed,
            State::Active | State::Grace | State::Expired => {}
        }
        if is_monitor(&known.holder) {
            return LedgerVerdict::Taken;
        }
        let today = self.0.clock.now().day();
        let active = self.0.directory.load().roster().is_active(known.holder.org(), today);
        if active { LedgerVerdict::Taken } else { LedgerVerdict::Inactive }
    }
}
