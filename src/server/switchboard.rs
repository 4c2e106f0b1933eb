//! Decides how the hub ends and counts the connections that the listener
//! holds.

use std::sync::Arc;

use super::connections::{Connections, InUse, Whose};
use super::sever::Cause;
use crate::base::tasks;
use crate::hub::{Hub, Peers, Switchboard};
use crate::model::certificate::{CertificateId, IssuerDigest};
use crate::model::principal::SpiffeId;
use crate::pki::tls::Witness;

/// The connections of a listener, for the hub.
#[derive(Debug)]
pub(super) struct Board(pub(super) Arc<Connections>);

fn whose(peers: &Peers) -> Whose<'_> {
    match peers {
        Peers::Certificate(id) => Whose::Certificate(id),
        Peers::Identity(id) => Whose::Holder(id),
        Peers::Organisation(slug) => Whose::Organisation(slug),
    }
}

impl Switchboard for Board {
    fn revoke(&self, peers: &Peers) -> usize {
        self.0.sever(whose(peers), Cause::Revoked)
    }

    fn sever(&self, peers: &Peers) -> usize {
        self.0.sever(whose(peers), Cause::Severed)
    }

    fn count(&self, peers: &Peers) -> usize {
        self.0.count(whose(peers))
    }

    fn in_use(&self) -> Vec<(CertificateId, SpiffeId, usize)> {
        let all = self.0.in_use().into_iter();
        all.map(|InUse { certificate, holder, connections }| (certificate, holder, connections)).collect()
    }
}

/// Writes down what handshakes under the canary prove.
#[derive(Debug)]
pub(super) struct Proofs(pub(super) Arc<Hub>);

impl Witness for Proofs {
    fn proved(&self, holder: &SpiffeId, authority: IssuerDigest) {
        let (hub, holder) = (Arc::clone(&self.0), holder.clone());
        tasks::spawn("proof of trust", async move {
            if let Err(error) = hub.prove(holder, authority).await {
                tracing::warn!(%error, "a proof of trust could not be written down");
            }
        });
    }
}
