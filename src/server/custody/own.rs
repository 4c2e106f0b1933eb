//! Decides which certificates the hub has for itself: one to show of each
//! generation, and a pair to try every configuration on itself.

use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::shelf::Content;
use super::{Custodian, Error};
use crate::base::clock::Timestamp;
use crate::base::secret::Secret;
use crate::hub::monitor;
use crate::pki::authority::Generation;
use crate::pki::issue::{self, BACKDATE};
use crate::pki::key::Key;
use crate::pki::signing::{Holder, LeafOrder};
use crate::pki::tls::{self, Snapshot};
use crate::pki::{identity, pem, schedule};
use std::sync::Arc;

/// How long the hub's certificates for itself hold.
const MONITOR_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// A certificate of the hub's own with its key.
pub(super) struct Leaf {
    chain: Vec<CertificateDer<'static>>,
    key: Key,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

impl Leaf {
    fn read(chain: Vec<CertificateDer<'static>>, key: Key) -> Result<Self, Error> {
        let first = chain.first().ok_or_else(|| Error::Authorities("a certificate is missing".to_owned()))?;
        let parsed = identity::parse(first).map_err(|error| Error::Authorities(error.to_string()))?;
        if parsed.public_key().raw != key.public_key() {
            return Err(Error::Authorities("a key does not belong to its certificate".to_owned()));
        }
        let (not_before, not_after) =
            issue::validity_of(&parsed).map_err(|error| Error::Authorities(error.to_string()))?;
        Ok(Self { chain, key, not_before, not_after })
    }

    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    pub(super) fn secret(&self) -> Secret<PrivateKeyDer<'static>> {
        self.key.to_der()
    }

    /// Whether it has not ended.
    fn holds(&self, now: Timestamp) -> bool {
        now < self.not_after
    }

    /// Whether it is time for the next one of `generation`, at most of this
    /// life. What would end no later, because the authority ends, is none.
    fn is_due(&self, now: Timestamp, generation: &Generation, lifetime: Duration) -> bool {
        let next = schedule::leaf_end(now, lifetime, generation.not_after);
        let is_last = now <= self.not_after && next.is_none_or(|end| end <= self.not_after);
        now >= schedule::renew_at(self.not_before, self.not_after, 0) && !is_last
    }
}

impl Custodian {
    /// Has a certificate of `generation` to show; whether there is a new one.
    pub(super) async fn keep_own(&self, generation: &Generation) -> Result<bool, Error> {
        let now = self.hub.machine_now();
        let known = self.held.lock().own.get(&generation.issuer).cloned();
        let known = match known {
            Some(known) => Some(known),
            None => self.load(&format!("{}-hub", generation.issuer.short())).map(Arc::new),
        };
        let lifetime = self.config.server_lifetime.0;
        let good = |known: &&Arc<Leaf>| !known.is_due(now, generation, lifetime) && self.names_fit(known);
        if let Some(known) = known.as_ref().filter(good) {
            return Ok(self.held.lock().own.insert(generation.issuer, Arc::clone(known)).is_none());
        }
        if let Err(error) = self.probe() {
            // What is at hand holds on; only where nothing is, it is signed
            // for, and kept in memory.
            let known = known.filter(|known| known.holds(now) && self.names_fit(known));
            if let Some(known) = known {
                self.held.lock().own.insert(generation.issuer, known);
                return Err(error);
            }
        }
        let mut dns = self.config.dns.clone();
        dns.push(self.config.canary.clone());
        let holder = Holder::Server { dns, ip: self.config.ip.clone() };
        let mut leaf = self.order(generation, holder, lifetime).await?;
        // Agencies trust the root, so the hub shows what lies between.
        leaf.chain.push(generation.certificate.clone());
        let contents = self.files_of(&format!("{}-hub", generation.issuer.short()), &leaf);
        tracing::info!(authority = generation.name, not_after = %leaf.not_after, "the hub has a new certificate");
        self.held.lock().own.insert(generation.issuer, Arc::new(leaf));
        self.file(contents);
        Ok(true)
    }

    /// Has two clients of `generation` to try configurations on.
    pub(super) async fn keep_monitors(&self, generation: &Generation) -> Result<bool, Error> {
        let now = self.hub.machine_now();
        let known = self.held.lock().monitors.get(&generation.issuer).cloned();
        let lifetime = MONITOR_LIFETIME.min(self.config.client_lifetime.0);
        if known.as_ref().is_some_and(|pair| !pair.0.is_due(now, generation, lifetime)) {
            return Ok(false);
        }
        let stem = generation.issuer.short();
        let stored = self.load(&format!("{stem}-taken")).zip(self.load(&format!("{stem}-revoked")));
        let ledger = self.hub.ledger();
        let stands = |leaf: &Leaf, revoked: bool| {
            let id = leaf.chain.first().and_then(|der| identity::read(der, self.hub.trust_domain()).ok());
            id.is_some_and(|known| {
                let id = known.certificate_id();
                ledger.certificates.contains_key(&id) && ledger.revoked.contains_key(&id) == revoked
            })
        };
        let stored = stored.filter(|(taken, revoked)| {
            !taken.is_due(now, generation, lifetime) && stands(taken, false) && stands(revoked, true)
        });
        let (pair, contents) = match stored {
            Some(pair) => (pair, None),
            None => {
                if known.is_some_and(|pair| pair.0.holds(now)) {
                    self.probe()?;
                }
                let holder = monitor(self.hub.trust_domain())
                    .ok_or_else(|| Error::Authorities("the trust domain makes no identity".to_owned()))?;
                let taken = self.order(generation, Holder::Client(holder.clone()), lifetime).await?;
                let revoked = self.order(generation, Holder::Client(holder), lifetime).await?;
                for (leaf, is_revoked) in [(&taken, false), (&revoked, true)] {
                    if let Some(der) = leaf.chain.first() {
                        self.hub.enter_monitor(der, is_revoked).await?;
                    }
                }
                let contents = [("taken", &taken), ("revoked", &revoked)]
                    .map(|(which, leaf)| self.files_of(&format!("{stem}-{which}"), leaf));
                ((taken, revoked), Some(contents))
            }
        };
        self.held.lock().monitors.insert(generation.issuer, Arc::new(pair));
        self.file(contents.into_iter().flatten().flatten());
        Ok(true)
    }

    async fn order(
        &self,
        generation: &Generation,
        holder: Holder,
        lifetime: Duration,
    ) -> Result<Leaf, Error> {
        let now = self.hub.machine_now();
        let key = Key::for_leaf().map_err(|error| Error::Authorities(error.to_string()))?;
        let not_after = schedule::leaf_end(now, lifetime, generation.not_after).ok_or_else(|| {
            Error::Authorities(format!("{} has run out of life; rotate it (luytre ca)", generation.name))
        })?;
        let order = LeafOrder {
            authority: generation.issuer,
            public_key: key.public_key(),
            serial: issue::random_serial().to_vec(),
            holder,
            not_before: now.saturating_sub(BACKDATE),
            not_after,
        };
        let signer = Arc::clone(&self.issuance.signer);
        let der = self.ask(move || signer.sign_leaf(&order)).await?;
        Leaf::read(vec![der], key)
    }

    /// Whether a certificate that was kept is for all the names of today.
    fn names_fit(&self, leaf: &Leaf) -> bool {
        let Some(first) = leaf.chain.first() else { return false };
        let names = self.config.dns.iter().chain([&self.config.canary]);
        let names = names.filter_map(|name| ServerName::try_from(name.clone()).ok());
        let all = names.chain(self.config.ip.iter().map(|ip| ServerName::IpAddress((*ip).into())));
        rustls::server::ParsedCertificate::try_from(first).is_ok_and(|parsed| {
            all.into_iter().all(|name| rustls::client::verify_server_name(&parsed, &name).is_ok())
        })
    }

    fn path(&self, stem: &str, extension: &str) -> PathBuf {
        self.config.directory.join(format!("{stem}.{extension}"))
    }

    /// What was kept under this name; nothing where it is damaged, for it can
    /// be had again.
    fn load(&self, stem: &str) -> Option<Leaf> {
        let chain = std::fs::read(self.path(stem, "pem")).ok()?;
        let key = zeroize::Zeroizing::new(std::fs::read(self.path(stem, "key")).ok()?);
        let key = Key::from_der(&pem::private_key(&key).ok()?).ok()?;
        Leaf::read(pem::certificates(&chain).ok()?, key).ok()
    }

    /// The files of a certificate and its key.
    fn files_of(&self, stem: &str, leaf: &Leaf) -> [Content; 2] {
        let chain: String = leaf.chain.iter().map(|der| pem::encode(pem::Label::Certificate, der)).collect();
        let key = leaf.key.to_pem().as_bytes().to_vec();
        [(self.path(stem, "key"), key.into()), (self.path(stem, "pem"), chain.into_bytes().into())]
    }
}

/// Shakes hands with `snapshot` in memory, as a client that holds `leaf` and
/// trusts `roots`.
pub(super) fn shake(
    snapshot: &Snapshot,
    roots: &[CertificateDer<'static>],
    leaf: &Leaf,
    name: Option<ServerName<'static>>,
) -> Result<(), tls::Error> {
    let name = name.ok_or(tls::Error::NoAnchor)?;
    let shown = tls::client_key(leaf.chain(), &leaf.secret())?;
    let config = tls::client_config(roots.to_vec(), Arc::new(rustls::sign::SingleCertAndKey::from(shown)))?;
    tls::shake_hands(snapshot, config, name)
}
