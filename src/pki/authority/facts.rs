//! Decides what has to be known before a rotation takes a step. Plain data: who
//! collects it decides nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::model::principal::SpiffeId;
use crate::pki::identity::IssuerDigest;

/// A certificate that is still taken: not revoked, and not past the grace after
/// the first use of its successor. Whether it has expired is asked here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveLeaf {
    /// The authority that signed it.
    pub issuer: IssuerDigest,
    /// Whose it is.
    pub holder: SpiffeId,
    /// The last second in which it holds.
    pub not_after: Timestamp,
    /// When it was last used; when it was issued, if never. Later than the
    /// truth errs on the safe side.
    pub last_seen: Timestamp,
}

/// Everything that the conditions of a rotation ask for. Sets may hold more
/// than the hierarchy in question: authorities are told apart by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The present moment.
    pub now: Timestamp,
    /// How long a leaf of this hierarchy may live.
    pub longest_leaf: Duration,
    /// How long the next authority is at least trusted before it signs.
    pub soak: Duration,
    /// Holders not seen for longer than this do not stand in the way of
    /// retiring an authority.
    pub seen_within: Duration,
    /// The systems that take part.
    pub systems: BTreeSet<SpiffeId>,
    /// Those that completed a handshake with a certificate of the next
    /// authority since it was prepared; server hierarchy.
    pub proved: BTreeSet<SpiffeId>,
    /// Certificates of holders that are still taken; client hierarchy.
    pub leaves: Vec<LiveLeaf>,
    /// Connections that are open: the authority under which (of the
    /// holder's certificate for the client hierarchy, of the hub's for the
    /// server hierarchy), and with whom.
    pub connections: BTreeSet<(IssuerDigest, SpiffeId)>,
    /// The authority of the certificate that the hub shows now.
    pub hub_leaf: Option<IssuerDigest>,
    /// The authorities of which a usable certificate for the hub is at hand.
    pub hub_leaves_at_hand: BTreeSet<IssuerDigest>,
    /// The authority of the asking operator's own certificate; none at the
    /// machine's own socket, where he needs no certificate.
    pub operator: Option<IssuerDigest>,
    /// Authorities whose revocation list is there, verified, and current.
    pub lists: BTreeSet<IssuerDigest>,
    /// Authorities whose key the signer holds, proved by a test signature.
    pub keys: BTreeSet<IssuerDigest>,
    /// Authorities of which a test certificate connected to this hub from end
    /// to end.
    pub tested: BTreeSet<IssuerDigest>,
    /// Names and keys of authorities outside of this hierarchy, by digest: of
    /// the other hierarchy, and of files.
    pub taken: Vec<(IssuerDigest, [u8; 32])>,
    /// Whether a backup holds the keys and the state that this step starts from.
    pub backed_up: bool,
}

impl Facts {
    /// The systems that have to prove what they trust, and have not.
    #[must_use]
    pub fn unproved(&self) -> BTreeSet<SpiffeId> {
        self.systems.iter().filter(|system| !self.proved.contains(*system)).cloned().collect()
    }

    /// Holders of unexpired certificates of `issuer`.
    #[must_use]
    pub fn holders(&self, issuer: &IssuerDigest) -> BTreeSet<SpiffeId> {
        self.unexpired(issuer).map(|leaf| leaf.holder.clone()).collect()
    }

    /// Those of them who were seen lately.
    #[must_use]
    pub fn holders_seen(&self, issuer: &IssuerDigest) -> BTreeSet<SpiffeId> {
        let seen = |leaf: &&LiveLeaf| self.now.since(leaf.last_seen) <= self.seen_within;
        self.unexpired(issuer).filter(seen).map(|leaf| leaf.holder.clone()).collect()
    }

    /// Who has a connection open under `issuer`.
    #[must_use]
    pub fn connected(&self, issuer: &IssuerDigest) -> BTreeSet<SpiffeId> {
        let of = self.connections.iter().filter(|(under, _)| under == issuer);
        of.map(|(_, holder)| holder.clone()).collect()
    }

    fn unexpired<'a>(&'a self, issuer: &'a IssuerDigest) -> impl Iterator<Item = &'a LiveLeaf> {
        // The second that a certificate names is the last in which it holds.
        self.leaves.iter().filter(move |leaf| {
            leaf.issuer == *issuer && self.now.as_seconds() <= leaf.not_after.as_seconds()
        })
    }
}
