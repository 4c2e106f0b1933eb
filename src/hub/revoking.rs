//! Decides how a certificate is revoked, and how connections are ended: the
//! log first, so that nothing is done that leaves no trace.

use std::fmt;
use std::time::Duration;

use uuid::Uuid;

use crate::base::digest;
use crate::model::certificate::{CertificateChange, CertificateId, Peers};
use crate::model::principal::SpiffeId;
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
    /// Connections that were ended.
    pub severed: usize,
    /// Whether the list that names it is signed already.
    pub list_signed: bool,
}

impl Hub {
    /// Revokes a certificate for good and ends its connections. When it
    /// returns, nothing of that certificate is accepted any more, and nothing
    /// more is sent to it.
    ///
    /// # Errors
    /// `FIELD_INVALID`; as every write.
    pub async fn revoke_certificate(
        &self,
        by: Operator<'_>,
        request_id: Uuid,
        id: CertificateId,
        reason: String,
    ) -> Result<Revocation, Error> {
        check_note("reason", &reason, true)?;
        let content = [b"revoke ", id.issuer.as_bytes().as_slice(), id.serial.as_bytes(), reason.as_bytes()];
        let content = requests::first_16(&digest::sha256(&content.concat()));
        let change = CertificateChange::Revoke { id: id.clone(), reason };
        let peers = Peers::Certificate(id.clone());
        // Whoever keeps the certificates in force may be the faster to end them.
        let open = self.shared.switchboard.get().map_or(0, |board| board.count(&peers));
        match self.certify(by, Some(request_id), content, change).await {
            Ok(_) => {}
            // It is what was asked for.
            Err(_) if self.ledger().revoked.contains_key(&id) => {}
            Err(error) => return Err(error),
        }
        let severed = self.shared.switchboard.get().map_or(0, |board| board.revoke(&peers)).max(open);
        let certificate = self.certificate(&id);
        let holder = certificate.as_ref().map(|view| view.certificate.holder.to_string());
        tracing::warn!(
            target: "luytre::audit",
            issuer = %id.issuer.short(), serial = id.serial, holder, severed, by = who(by),
            "certificate revoked"
        );
        let list_signed = self.wait_for_list(&id).await;
        Ok(Revocation { certificate, severed, list_signed })
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
