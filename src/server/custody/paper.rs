//! Decides when a revocation list is signed anew: whenever somebody was
//! revoked, and each day.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::pki_types::CertificateRevocationListDer;

use super::{Custodian, Error};
use crate::base::clock::Timestamp;
use crate::pki::authority::Generation;
use crate::pki::issue::BACKDATE;
use crate::pki::revocation::List;
use crate::pki::signing::ListOrder;
use crate::pki::{pem, schedule};

/// A list, and what it says.
pub(super) struct SignedList {
    pub(super) der: CertificateRevocationListDer<'static>,
    pub(super) number: u64,
    pub(super) this_update: Timestamp,
    pub(super) next_update: Timestamp,
    /// Serials that it revokes.
    pub(super) revoked: BTreeSet<String>,
}

impl SignedList {
    fn read(der: CertificateRevocationListDer<'static>) -> Option<Self> {
        let list = List::read(&der).ok()?;
        let number = list.number.iter().try_fold(0_u64, |all, byte| {
            all.checked_mul(256).and_then(|all| all.checked_add(u64::from(*byte)))
        })?;
        Some(Self {
            der,
            number,
            this_update: list.this_update,
            next_update: list.next_update,
            revoked: list.revoked.into_keys().collect(),
        })
    }
}

impl Custodian {
    /// Has the list of `generation` that says what the ledger does; whether
    /// there is a new one.
    pub(super) async fn keep_list(&self, generation: &Generation) -> Result<bool, Error> {
        let (ledger, now) = (self.hub.ledger(), self.hub.machine_now());
        if !generation.is_valid_at(now) {
            // It signs nothing any more, and nothing of it is taken.
            return Ok(false);
        }
        let revoked: Vec<(String, Timestamp)> = ledger
            .revoked
            .iter()
            .filter(|(id, _)| id.issuer == generation.issuer)
            // A clock that was ahead then must not keep the list from being signed.
            .map(|(id, revoked)| (id.serial.clone(), revoked.time.min(now)))
            .collect();
        let known = self.held.lock().lists.get(&generation.issuer).cloned();
        let path = self.config.directory.join(format!("{}.crl", generation.issuer.short()));
        let known = known.or_else(|| {
            let text = std::fs::read(&path).ok()?;
            SignedList::read(pem::revocation_lists(&text).ok()?.pop()?).map(Arc::new)
        });
        let says = |list: &SignedList| {
            list.revoked.len() == revoked.len()
                && revoked.iter().all(|(serial, _)| list.revoked.contains(serial))
        };
        let last = ledger.numbers.get(&generation.issuer).copied().unwrap_or_default();
        let good = known.filter(|list| {
            says(list) && list.number >= last && now < schedule::list_due(list.this_update, list.next_update)
        });
        if let Some(list) = good {
            return Ok(self.held.lock().lists.insert(generation.issuer, list).is_none());
        }
        // Drawn before it is signed: no number is ever used twice, whatever
        // becomes of this process meanwhile. One that the signer did not take
        // is tried again with the next list.
        let drawn = self.held.lock().drawn.get(&generation.issuer).copied().filter(|drawn| *drawn == last);
        let number = match drawn {
            Some(number) => number,
            None => self.hub.draw_number(generation.issuer).await?,
        };
        self.held.lock().drawn.insert(generation.issuer, number);
        let order = ListOrder {
            authority: generation.issuer,
            number,
            this_update: now.saturating_sub(BACKDATE),
            next_update: now.saturating_add(self.config.list_lifetime.0).min(generation.not_after),
            revoked,
        };
        let signer = Arc::clone(&self.issuance.signer);
        let der = self.ask(move || signer.sign_list(&order)).await?;
        // From here on it is used.
        self.held.lock().drawn.remove(&generation.issuer);
        let text = pem::encode(pem::Label::RevocationList, &der);
        let list = SignedList::read(der)
            .ok_or_else(|| Error::Authorities("the signer's revocation list cannot be read".to_owned()))?;
        tracing::info!(
            authority = generation.name,
            number,
            revoked = list.revoked.len(),
            "revocation list signed"
        );
        // In force whatever becomes of the file: nobody is taken without it.
        self.held.lock().lists.insert(generation.issuer, Arc::new(list));
        self.file([(path, text.into_bytes().into())]);
        Ok(true)
    }
}
