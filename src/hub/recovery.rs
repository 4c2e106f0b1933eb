//! Decides what a hub learns from the signer's journal: what was signed that
//! its ledger does not know, for it was restored from a backup.

use std::sync::Arc;

use uuid::Uuid;

use crate::base::{digest, random};
use crate::model::certificate::{
    Certificate, CertificateChange, CertificateId, Hierarchy, IssuerDigest, Origin, Token, TokenState,
};
use crate::pki::identity;
use crate::pki::ledger::NUMBER_STEP;
use crate::pki::signing::{Record, Signed};
use crate::store::requests;

use super::admission::is_monitor;
use super::certificates::{Operator, who};
use super::engine::Hub;
use super::error::{Error, Reason};

/// What was learnt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Learnt {
    /// Certificates that the ledger did not know; an operator confirms them.
    pub certificates: usize,
    /// Revocations that it did not know.
    pub revocations: usize,
}

impl Hub {
    /// The last record of the signer's journal that the log knows of, and
    /// whether the log was restored from a backup since it was noted. Then
    /// the journal is read from its beginning: what it said when the backup was
    /// made may have been written to the log a moment later.
    #[must_use]
    pub fn journal_read(&self) -> (u64, bool) {
        let (number, at) = self.ledger().read;
        let restored = self.shared.fences.last().is_some_and(|fence| at.seq() <= *fence);
        (if restored { 0 } else { number }, restored)
    }

    /// Learns what the journal says that the ledger does not. Numbers of
    /// lists and revocations always; certificates only where the log was
    /// `restored`: else what the ledger lacks was never given to anybody.
    ///
    /// # Errors
    /// As every write.
    pub async fn learn(&self, records: &[Record], restored: bool) -> Result<Learnt, Error> {
        let mut learnt = Learnt::default();
        for record in records {
            match &record.signed {
                Signed::Leaf { certificate } if restored => {
                    learnt.certificates += usize::from(self.adopt(certificate, record).await?);
                }
                Signed::Leaf { .. } => {}
                Signed::List { authority, number, added } => {
                    self.skip(*authority, *number).await?;
                    for (serial, _) in added {
                        let id = CertificateId { issuer: *authority, serial: serial.clone() };
                        learnt.revocations += usize::from(self.revoke_again(id).await?);
                    }
                }
            }
        }
        Ok(learnt)
    }

    /// Notes up to which record the journal was read.
    ///
    /// # Errors
    /// As every write.
    pub async fn note_journal(&self, number: u64) -> Result<(), Error> {
        self.certify(Operator::Machine, None, random::bytes(), CertificateChange::Read(number))
            .await
            .map(drop)
    }

    /// After a restore, numbers of lists go on far above what the journal
    /// knows: lists may have been signed that it lost as well.
    ///
    /// # Errors
    /// As every write.
    pub async fn leap_numbers(&self) -> Result<(), Error> {
        let numbers: Vec<_> =
            self.ledger().numbers.iter().map(|(issuer, number)| (*issuer, *number)).collect();
        for (issuer, number) in numbers {
            self.skip(issuer, number.saturating_add(NUMBER_STEP)).await?;
        }
        Ok(())
    }

    /// The next number of an authority's revocation list; never the same twice.
    ///
    /// # Errors
    /// As every write.
    pub async fn draw_number(&self, issuer: IssuerDigest) -> Result<u64, Error> {
        self.certify(Operator::Machine, None, random::bytes(), CertificateChange::Draw(issuer)).await?;
        Ok(self.ledger().numbers.get(&issuer).copied().unwrap_or_default())
    }

    async fn skip(&self, issuer: IssuerDigest, number: u64) -> Result<(), Error> {
        if self.ledger().numbers.get(&issuer).is_some_and(|known| *known >= number) {
            return Ok(());
        }
        let change = CertificateChange::Skip { issuer, number };
        self.certify(Operator::Machine, None, random::bytes(), change).await.map(drop)
    }

    async fn revoke_again(&self, id: CertificateId) -> Result<bool, Error> {
        if self.ledger().revoked.contains_key(&id) {
            return Ok(false);
        }
        let reason = "found in the signer's journal after a restore".to_owned();
        let change = CertificateChange::Revoke { id, reason, descendants: false };
        match self.certify(Operator::Machine, None, random::bytes(), change).await {
            Ok(_) => Ok(true),
            // What the ledger does not know is not taken anyway.
            Err(error) if error.reason == Reason::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn adopt(&self, der: &[u8], record: &Record) -> Result<bool, Error> {
        // The hub's own certificates are in the journal, too.
        let Ok(known) = identity::read(der, self.trust_domain()) else { return Ok(false) };
        let id = known.certificate_id();
        let ledger = self.ledger();
        let ours =
            ledger.rotations.get(&Hierarchy::Client).is_some_and(|r| r.generation(&id.issuer).is_some());
        if !ours || ledger.certificates.contains_key(&id) || known.not_after < self.machine_now() {
            return Ok(false);
        }
        let parsed = identity::parse(der).map_err(Error::internal)?;
        let holder = known.spiffe_id;
        let certificate = Arc::new(Certificate {
            key: digest::sha256(parsed.public_key().raw),
            id,
            der: der.to_vec(),
            not_before: known.not_before,
            not_after: known.not_after,
            issued: record.time,
            origin: Origin::Recovered,
            first_used: None,
            superseded: None,
            doubtful: false,
            unconfirmed: !is_monitor(&holder),
            holder,
        });
        if certificate.unconfirmed {
            tracing::warn!(
                target: "luytre::audit",
                holder = %certificate.holder, serial = certificate.id.serial,
                "a certificate of the signer's journal is not taken until an operator confirms it: luytre certs confirm"
            );
        }
        let change = CertificateChange::Issue(certificate);
        self.certify(Operator::Machine, None, random::bytes(), change).await?;
        Ok(true)
    }

    /// The certificates that wait for an operator's word.
    #[must_use]
    pub fn unconfirmed(&self) -> Vec<CertificateId> {
        let (ledger, now) = (self.ledger(), self.machine_now());
        let waiting = ledger.certificates.values().filter(|c| ledger.waits(c, now));
        waiting.map(|c| c.id.clone()).collect()
    }

    /// Takes certificates that were found in the signer's journal; says how
    /// many. Two persons stand behind each that was signed, so that one is
    /// enough here.
    ///
    /// # Errors
    /// `NOT_FOUND` if none of them waits; as every write.
    pub async fn confirm_certificates(
        &self,
        by: Operator<'_>,
        request_id: Uuid,
        ids: Vec<CertificateId>,
    ) -> Result<usize, Error> {
        let (before, now) = (self.ledger(), self.machine_now());
        let waiting = ids.iter().filter_map(|id| before.certificates.get(id));
        let waiting = waiting.filter(|c| before.waits(c, now)).count();
        let content = requests::first_16(&digest::sha256(format!("confirm {ids:?}").as_bytes()));
        self.certify(by, Some(request_id), content, CertificateChange::Confirm(ids)).await?;
        tracing::warn!(target: "luytre::audit", certificates = waiting, by = who(by), "certificates confirmed");
        Ok(waiting)
    }

    /// Takes back every token that was not used, of a hub that was restored:
    /// it may have been, or have been taken back, after the backup.
    ///
    /// # Errors
    /// As every write.
    pub async fn cancel_unused_tokens(&self) -> Result<(), Error> {
        let ledger = self.ledger();
        let unused = |token: &&Arc<Token>| !matches!(token.state, TokenState::Used(_));
        for token in ledger.tokens.values().filter(unused) {
            let change = CertificateChange::Cancel(token.at);
            self.certify(Operator::Machine, None, random::bytes(), change).await?;
            tracing::warn!(
                target: "luytre::audit", holder = %token.holder,
                "enrolment token taken back after a restore; make a new one if it was not used"
            );
        }
        Ok(())
    }

    /// Enters a certificate of the hub's own into the ledger: with it the hub
    /// tries every configuration on itself.
    ///
    /// # Errors
    /// As every write.
    pub async fn enter_monitor(&self, der: &[u8], revoked: bool) -> Result<(), Error> {
        let known = identity::read(der, self.trust_domain()).map_err(Error::internal)?;
        let id = known.certificate_id();
        let record = Record {
            number: 0,
            time: self.machine_now(),
            signed: Signed::Leaf { certificate: der.to_vec().into() },
        };
        self.adopt(der, &record).await?;
        if revoked {
            let reason = "tries the revocation list of every configuration".to_owned();
            let change = CertificateChange::Revoke { id, reason, descendants: false };
            self.certify(Operator::Machine, None, random::bytes(), change).await?;
        }
        Ok(())
    }
}
