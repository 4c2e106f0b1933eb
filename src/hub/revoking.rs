//! Decides how a certificate is revoked, and how connections are ended: the
//! log first, so that nothing is done that leaves no trace.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use uuid::Uuid;

use crate::base::digest;
use crate::model::certificate::{CertificateChange, CertificateId, Peers};
use crate::model::principal::SpiffeId;
use crate::pki::ledger::Ledger;
use crate::store::requests;

use super::certificates::{CertificateView, Operator, check_note, who};
use super::engine::Hub;
use super::error::Error;

/// How long a revocation waits for the list that names it.
const LIST_PATIENCE: Duration = Duration::from_millis(300);

/// Whoever holds the connections.
pub trait Switchboard: fmt::Debug + Send + Sync {
    /// Ends connections for good, because their certificate was revoked;
    /// returns how many. When it returns, nothing more is read from them.
    fn revoke(&self, peers: &Peers) -> usize;

    /// Ends connections whose clients may come back; returns how many.
    fn sever(&self, peers: &Peers) -> usize;

    /// How many there are.
    fn count(&self, peers: &Peers) -> usize;

    /// Under which certificates, whose, and how many.
    fn in_use(&self) -> Vec<(CertificateId, SpiffeId, usize)>;
}

/// What became of a revocation.
#[derive(Debug)]
pub struct Revocation {
    /// What was revoked; `None`: not of the ledger.
    pub certificate: Option<CertificateView>,
    /// What it was renewed to, directly or not, and is still taken: whoever
    /// stole it may have renewed it.
    pub descendants: Vec<CertificateView>,
    /// Certificates that were revoked, what nobody had used yet included.
    pub revoked: usize,
    /// Connections that were ended.
    pub severed: usize,
    /// Whether the list that names it is signed already.
    pub list_signed: bool,
}

impl Hub {
    /// Revokes a certificate for good, and what it was renewed to: that which
    /// nobody used yet, or all `descendants`. Ends their connections. When it
    /// returns, nothing of them is accepted any more, and nothing more is sent
    /// to them.
    ///
    /// # Errors
    /// `FIELD_INVALID`; as every write.
    pub async fn revoke_certificate(
        &self,
        by: Operator<'_>,
        request_id: Uuid,
        id: CertificateId,
        reason: String,
        descendants: bool,
    ) -> Result<Revocation, Error> {
        check_note("reason", &reason, true)?;
        self.guard_text(who(by), "revoke certificate", "reason", &reason)?;
        let content = [b"revoke ", id.issuer.as_bytes().as_slice(), id.serial.as_bytes(), reason.as_bytes()];
        let mut content = content.concat();
        if descendants {
            content.extend(b" and descendants");
        }
        let content = requests::first_16(&digest::sha256(&content));
        let change = CertificateChange::Revoke { id: id.clone(), reason, descendants };
        let board = self.shared.switchboard.get();
        let before = self.ledger();
        // Whoever keeps the certificates in force may be the faster to end them.
        let open: BTreeMap<_, _> = line(&before, &id)
            .map(|one| {
                let peers = Peers::Certificate(one.clone());
                (one, board.map_or(0, |board| board.count(&peers)))
            })
            .collect();
        let done = self.certify(by, Some(request_id), content, change).await;
        let (ledger, now) = (self.ledger(), self.machine_now());
        let living: Vec<_> = ledger
            .descendants(&id)
            .iter()
            .filter_map(|one| ledger.certificates.get(one))
            .filter(|one| ledger.is_live(one, now))
            .map(|one| self.view(&ledger, one))
            .collect();
        match done {
            Ok(_) => {}
            // It is what was asked for.
            Err(_) if ledger.revoked.contains_key(&id) && (living.is_empty() || !descendants) => {}
            Err(error) => return Err(error),
        }
        let (mut severed, mut revoked) = (0_usize, 0_usize);
        for one in line(&ledger, &id).filter(|one| ledger.revoked.contains_key(one)) {
            revoked += usize::from(!before.revoked.contains_key(&one));
            let peers = Peers::Certificate(one.clone());
            let ended = board.map_or(0, |board| board.revoke(&peers));
            severed += ended.max(open.get(&one).copied().unwrap_or_default());
        }
        let certificate = self.certificate(&id);
        let holder = certificate.as_ref().map(|view| view.certificate.holder.to_string());
        tracing::warn!(
            target: "luytre::audit",
            issuer = %id.issuer.short(), serial = id.serial, holder, severed, revoked,
            living = living.len(), by = who(by),
            "certificate revoked"
        );
        let list_signed = self.wait_for_list(&id).await;
        Ok(Revocation { certificate, descendants: living, revoked, severed, list_signed })
    }

    /// Waits a moment for the list that names a revoked certificate; it is
    /// refused without it.
    async fn wait_for_list(&self, id: &CertificateId) -> bool {
        let mut lists = self.shared.in_force_changes.subscribe();
        let named = || self.shared.in_force.load().listed.contains(id);
        let waited =
            tokio::time::timeout(LIST_PATIENCE, async { while !named() && lists.changed().await.is_ok() {} });
        let _ = waited.await;
        named()
    }

    /// Ends connections, and revokes nothing; says how many. A request that
    /// was carried out before ends nothing more.
    ///
    /// # Errors
    /// `FIELD_INVALID`; as every write: then no connection was ended.
    pub async fn sever_connections(
        &self,
        by: Operator<'_>,
        request_id: Option<Uuid>,
        peers: Peers,
        reason: String,
    ) -> Result<usize, Error> {
        check_note("reason", &reason, false)?;
        self.guard_text(who(by), "sever connections", "reason", &reason)?;
        let content = format!("sever {peers:?} {reason}");
        let content = requests::first_16(&digest::sha256(content.as_bytes()));
        let last = self.ledger().severances.last_key_value().map(|(at, _)| *at);
        let change = CertificateChange::Sever { peers: peers.clone(), reason: reason.clone() };
        let at = self.certify(by, request_id, content, change).await?;
        if last.is_some_and(|last| at <= last) {
            return Ok(0);
        }
        let severed = self.shared.switchboard.get().map_or(0, |board| board.sever(&peers));
        tracing::warn!(target: "luytre::audit", %peers, severed, by = who(by), reason, "connections ended");
        Ok(severed)
    }
}

/// A certificate and all that it was renewed to.
fn line(ledger: &Ledger, id: &CertificateId) -> impl Iterator<Item = CertificateId> {
    std::iter::once(id.clone()).chain(ledger.descendants(id))
}
