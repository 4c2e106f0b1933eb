//! Decides whom the hub trusts and what it shows: one immutable whole for each
//! epoch, built afresh and swapped in one step, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, DnsName, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use x509_parser::certificate::X509Certificate;

use super::canary::{Canary, Wardrobe, is_named};
use super::ledger::Ledger;
use super::succession::{Watched, names_of};
use super::verifier::Verifier;
use super::{ALPN, ClockTime, Error, certified, provider};
use crate::base::clock::{Clock, Timestamp};
use crate::base::secret::Secret;
use crate::pki::identity::{self, Identity, IssuerDigest};
use crate::pki::revocation::{List, Revocations};
use crate::pki::{issue, pem};

/// What a snapshot is built from.
#[derive(Debug)]
pub struct Material {
    /// The issuing authorities whose clients are taken.
    pub anchors: Vec<CertificateDer<'static>>,
    /// A revocation list for each of them.
    pub revocation_lists: Vec<CertificateRevocationListDer<'static>>,
    /// The hub's own certificate, then the authorities between it and the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the hub's own certificate.
    pub key: Secret<PrivateKeyDer<'static>>,
    /// A certificate of the next generation, while one is being introduced.
    pub canary: Option<Canary>,
}

impl Material {
    /// From the PEM texts of `client-ca.pem`, `client-crl.pem`, the server's
    /// chain and its key.
    ///
    /// # Errors
    /// If any of them is damaged, empty, or holds another kind of thing.
    pub fn from_pem(
        anchors: &[u8],
        revocation_lists: &[u8],
        chain: &[u8],
        key: &[u8],
    ) -> Result<Self, Error> {
        Ok(Self {
            anchors: pem::certificates(anchors)?,
            revocation_lists: pem::revocation_lists(revocation_lists)?,
            chain: pem::certificates(chain)?,
            key: pem::private_key(key)?,
            canary: None,
        })
    }
}

/// The files that a snapshot is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The authorities of clients.
    Anchors,
    /// Their revocation lists.
    RevocationLists,
    /// The hub's certificate and its chain.
    Chain,
    /// The key of the hub's certificate.
    Key,
}

/// What is wrong with each part that could be read, for a report: where
/// [`Snapshot::build`] gives the first problem, this gives one for each part.
#[must_use]
pub fn problems_of(
    anchors: Option<&[u8]>,
    revocation_lists: Option<&[u8]>,
    chain: Option<&[u8]>,
    key: Option<&[u8]>,
    now: Timestamp,
) -> Vec<(Part, Error)> {
    let mut problems = Vec::new();
    let mut note = |part, error: Error| problems.push((part, error));
    let anchors =
        anchors.and_then(|text| pem::certificates(text).map_err(|e| note(Part::Anchors, e.into())).ok());
    let lists = revocation_lists
        .and_then(|text| pem::revocation_lists(text).map_err(|e| note(Part::RevocationLists, e.into())).ok());
    let chain = chain.and_then(|text| pem::certificates(text).map_err(|e| note(Part::Chain, e.into())).ok());
    let key = key.and_then(|text| pem::private_key(text).map_err(|e| note(Part::Key, e.into())).ok());

    if let Some(anchors) = &anchors {
        let parsed = anchors.iter().map(|der| identity::parse(der)).collect::<Result<Vec<_>, _>>();
        let checked = |parsed: Vec<_>| check_anchors(anchors, &parsed, now, None).map(|_| parsed);
        match parsed.map_err(Error::from).and_then(checked) {
            Err(error) => note(Part::Anchors, error),
            // Without sound authorities nobody can say whose lists are missing.
            Ok(parsed) => {
                if let Some(Err(error)) = lists.map(|lists| Revocations::build(&parsed, &lists, now, None)) {
                    note(Part::RevocationLists, error.into());
                }
            }
        }
    }
    if let Some(Err(error)) = chain.as_ref().map(|chain| check_server(chain, now, None)) {
        note(Part::Chain, error);
    }
    if let (Some(chain), Some(key)) = (chain, key) {
        match provider().and_then(|provider| certified(chain, &key, &provider)) {
            // Told with the chain.
            Ok(_) | Err(Error::Tls(rustls::Error::InvalidCertificate(_))) => {}
            Err(error) => note(Part::Key, error),
        }
    }
    problems
}

/// How a client certificate stands under a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is taken.
    Good,
    /// It is on a revocation list, or its authority is no longer trusted.
    Revoked,
    /// It, or the authority that signed it, has expired.
    Expired,
    /// The ledger has a newer one in its place.
    Superseded,
    /// The ledger is kept for its authority, and does not know it.
    NotIssued,
    /// The organisation of its holder takes no part now.
    Inactive,
}

/// Whom the hub trusts and what it shows, for one epoch.
#[derive(Debug)]
pub struct Snapshot {
    server: Arc<ServerConfig>,
    pub(super) epoch: u64,
    trust_domain: String,
    pub(super) anchors: BTreeMap<IssuerDigest, Watched>,
    pub(super) revocations: Revocations,
    pub(super) own: Watched,
    pub(super) server_names: BTreeSet<String>,
    canary: Option<(DnsName<'static>, IssuerDigest)>,
    ledger: Option<Arc<dyn Ledger>>,
}

impl Snapshot {
    /// Checks `material` and makes a configuration of it that shares nothing
    /// with any other. Certificates of the authorities that `ledger` is kept
    /// for must be in it.
    ///
    /// # Errors
    /// The first rule that the material breaks; whatever is in force stays.
    pub fn build(
        material: Material,
        trust_domain: &str,
        epoch: u64,
        clock: &Arc<dyn Clock>,
        ledger: Option<Arc<dyn Ledger>>,
    ) -> Result<Self, Error> {
        Self::assemble(material, (trust_domain, epoch), clock, ledger, None)
    }

    /// The snapshot after this one, of `material`. What is in force already may
    /// have run out since: one authority's stale list must not keep another's
    /// revocation from coming in. What is new must be good.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub fn successor(
        &self,
        material: Material,
        clock: &Arc<dyn Clock>,
        ledger: Option<Arc<dyn Ledger>>,
    ) -> Result<Self, Error> {
        Self::assemble(material, (&self.trust_domain, self.epoch + 1), clock, ledger, Some(self))
    }

    fn assemble(
        material: Material,
        (trust_domain, epoch): (&str, u64),
        clock: &Arc<dyn Clock>,
        ledger: Option<Arc<dyn Ledger>>,
        held: Option<&Self>,
    ) -> Result<Self, Error> {
        let now = clock.now();
        let provider = provider()?;
        let parsed =
            material.anchors.iter().map(|der| identity::parse(der)).collect::<Result<Vec<_>, _>>()?;
        let anchors = check_anchors(&material.anchors, &parsed, now, held)?;
        let known = held.map(|held| &held.revocations);
        let revocations = Revocations::build(&parsed, &material.revocation_lists, now, known)?;
        let (own, server_names) = check_server(&material.chain, now, held)?;

        let mut roots = RootCertStore::empty();
        for anchor in &material.anchors {
            roots.add(anchor.clone())?;
        }
        // A list past its next update is taken by default, hence `enforce`.
        let inner = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .with_crls(material.revocation_lists)
            .enforce_revocation_expiration()
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let verifier = Verifier {
            inner,
            trust_domain: trust_domain.to_owned(),
            anchors: anchors.iter().map(|(&issuer, anchor)| (issuer, anchor.not_after)).collect(),
            ledger: ledger.clone(),
        };
        let certificate = certified(material.chain, &material.key, &provider)?;
        let (canary, proof) = match material.canary {
            None => (None, None),
            Some(canary) => {
                check_server(&canary.chain, now, None)?;
                let proof = (canary.name.clone(), canary.check()?);
                (Some((canary.name, certified(canary.chain, &canary.key, &provider)?)), Some(proof))
            }
        };

        let time = Arc::new(ClockTime(Arc::clone(clock)));
        let mut server = ServerConfig::builder_with_details(provider, time)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(Wardrobe { own: certificate, canary }));
        server.alpn_protocols = vec![ALPN.to_vec()];
        // A resumed session would skip every check above, so there are none.
        server.send_tls13_tickets = 0;
        server.max_tls13_tickets = 0;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.max_early_data_size = 0;
        server.send_half_rtt_data = false;

        Ok(Self {
            server: Arc::new(server),
            epoch,
            trust_domain: trust_domain.to_owned(),
            anchors,
            revocations,
            own,
            server_names,
            canary: proof,
            ledger,
        })
    }

    /// The configuration for handshakes.
    #[must_use]
    pub const fn server(&self) -> &Arc<ServerConfig> {
        &self.server
    }

    /// Number of this snapshot, rising.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether it takes nobody: see [`super::closed`].
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.epoch == 0
    }

    /// The trust domain of every identity.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// When the hub's own certificate expires.
    #[must_use]
    pub const fn server_not_after(&self) -> Timestamp {
        self.own.not_after
    }

    /// The hub's own certificate.
    #[must_use]
    pub const fn own(&self) -> &Watched {
        &self.own
    }

    /// The authorities whose clients are taken.
    pub fn anchors(&self) -> impl Iterator<Item = &Watched> {
        self.anchors.values()
    }

    /// The revocation lists, one for each of them.
    pub fn revocation_lists(&self) -> impl Iterator<Item = &List> {
        self.revocations.lists()
    }

    /// Who signed the certificate that is shown under the canary's name.
    #[must_use]
    pub fn canary_authority(&self) -> Option<IssuerDigest> {
        self.canary.as_ref().map(|(_, authority)| *authority)
    }

    /// The name under which the canary is shown.
    pub(super) fn canary_name(&self) -> Option<&DnsName<'static>> {
        self.canary.as_ref().map(|(name, _)| name)
    }

    /// When the first revocation list runs out; handshakes fail from then on.
    #[must_use]
    pub fn revocation_next_update(&self) -> Option<Timestamp> {
        self.revocations.next_update()
    }

    /// How many certificates are revoked.
    #[must_use]
    pub fn revoked(&self) -> usize {
        self.revocations.len()
    }

    /// What a handshake under the name `asked` proves: that the client trusts
    /// what this authority signs. `None` where the hub's usual certificate was
    /// shown.
    #[must_use]
    pub fn proof(&self, asked: Option<&str>) -> Option<IssuerDigest> {
        let (name, authority) = self.canary.as_ref()?;
        asked.is_some_and(|asked| is_named(name, asked)).then_some(*authority)
    }

    /// The authorities whose clients are taken.
    pub fn issuers(&self) -> impl Iterator<Item = IssuerDigest> {
        self.anchors.keys().copied()
    }

    /// How a certificate that was taken before stands now.
    #[must_use]
    pub fn standing(&self, holder: &Identity, now: Timestamp) -> Standing {
        let certificate = holder.certificate_id();
        match self.anchors.get(&holder.issuer) {
            None => Standing::Revoked,
            Some(_) if self.revocations.contains(&certificate) => Standing::Revoked,
            // The second that a certificate names is the last in which it holds.
            Some(authority) if now.as_seconds() > authority.not_after.min(holder.not_after).as_seconds() => {
                Standing::Expired
            }
            Some(_) => self.ledger.as_ref().map_or(Standing::Good, |ledger| {
                ledger.judge(&certificate, &holder.fingerprint, now).standing()
            }),
        }
    }

    /// The last second of a connection under `identity`: that of its
    /// certificate, or of the authority behind it if that is sooner.
    #[must_use]
    pub fn ends(&self, identity: &Identity) -> Timestamp {
        self.anchors
            .get(&identity.issuer)
            .map_or(identity.not_after, |authority| authority.not_after.min(identity.not_after))
    }
}

fn check_anchors(
    ders: &[CertificateDer<'_>],
    anchors: &[X509Certificate<'_>],
    now: Timestamp,
    held: Option<&Snapshot>,
) -> Result<BTreeMap<IssuerDigest, Watched>, Error> {
    if anchors.is_empty() {
        return Err(Error::NoAnchor);
    }
    let mut checked = BTreeMap::new();
    for (der, anchor) in ders.iter().zip(anchors) {
        issue::check_authority(anchor).map_err(Error::Anchor)?;
        let name = || anchor.subject().to_string();
        let (not_before, not_after) = issue::validity_of(anchor).map_err(Error::Anchor)?;
        let watched = Watched::of(der, anchor, (not_before, not_after));
        let known = held.is_some_and(|held| held.anchors().any(|held| *held == watched));
        if !known && (now < not_before || now >= not_after) {
            return Err(Error::AnchorLifetime { name: name(), not_before, not_after });
        }
        if checked.insert(IssuerDigest::of(anchor.subject().as_raw()), watched).is_some() {
            return Err(Error::AnchorTwice { name: name() });
        }
    }
    Ok(checked)
}

fn check_server(
    chain: &[CertificateDer<'_>],
    now: Timestamp,
    held: Option<&Snapshot>,
) -> Result<(Watched, BTreeSet<String>), Error> {
    let wrong = |problem: &str| Error::ServerCertificate { problem: problem.to_owned() };
    let der = chain.first().ok_or_else(|| wrong("there is none"))?;
    let leaf = identity::parse(der).map_err(|error| wrong(&error.to_string()))?;
    if leaf.is_ca() {
        return Err(wrong("the first certificate of the chain is an authority's; the hub's own comes first"));
    }
    identity::check_key(leaf.public_key()).map_err(|error| wrong(&error.to_string()))?;
    let purpose = leaf.extended_key_usage().ok().flatten();
    if !purpose.is_some_and(|purpose| purpose.value.server_auth) {
        return Err(wrong("its extended key usage lacks serverAuth"));
    }
    let (not_before, not_after) = issue::validity_of(&leaf).map_err(|error| wrong(&error.to_string()))?;
    let names = names_of(&leaf).map_err(|error| wrong(&error.to_string()))?;
    let mut watched = Watched::of(der, &leaf, (not_before, not_after));
    if watched.name.is_empty() {
        watched.name = names.iter().cloned().collect::<Vec<_>>().join(", ");
    }
    let known = held.is_some_and(|held| held.own == watched);
    if !known && (now < not_before || now >= not_after) {
        return Err(Error::ServerLifetime { not_before, not_after });
    }
    Ok((watched, names))
}
