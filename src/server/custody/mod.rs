//! Decides how the hub's own authorities stay in force: whatever the log says
//! of them is signed, tried, put in force and reported, again and again.

mod own;
mod paper;
mod shelf;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::pki_types::{DnsName, ServerName};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::Error;
use super::config::{Authorities, Config};
use super::enrolment::Shown;
use super::tls::{Candidate, Certificates, Files, Source};
use crate::base::tasks;
use crate::hub::{Hub, InForce, Issuance};
use crate::model::certificate::{CertificateId, Hierarchy, IssuerDigest};
use crate::pki::authority::{Generation, Rotation};
use crate::pki::ledger::Ledger;
use crate::pki::signing::Signed;
use crate::pki::tls::{Canary, Material, Monitor, Trial};
use own::Leaf;
use paper::SignedList;
use shelf::Pauses;

/// How long at most between two looks at everything.
const TICK: Duration = Duration::from_secs(30);
/// How soon a failure is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Keeps the hub's own authorities in force.
pub(super) struct Custodian {
    hub: Arc<Hub>,
    issuance: Issuance,
    config: Authorities,
    files: Option<Files>,
    held: Mutex<Held>,
}

/// What is at hand.
#[derive(Default)]
struct Held {
    /// The hub's certificates, by who signed them.
    own: BTreeMap<IssuerDigest, Arc<Leaf>>,
    /// The revocation lists.
    lists: BTreeMap<IssuerDigest, Arc<SignedList>>,
    /// A certificate that must be taken, and one that must not, of each
    /// authority that signs clients.
    monitors: BTreeMap<IssuerDigest, Arc<(Leaf, Leaf)>>,
    /// What was signed and is not in its file yet.
    unwritten: BTreeMap<PathBuf, Zeroizing<Vec<u8>>>,
    /// Numbers of lists that were drawn and are not signed yet.
    drawn: BTreeMap<IssuerDigest, u64>,
    /// The authorities whose key the signer holds.
    keys: BTreeSet<IssuerDigest>,
    /// Those of them that could be prepared to sign for clients.
    candidates: Vec<Generation>,
    /// Those of which a certificate was proved by a handshake.
    tested: BTreeSet<IssuerDigest>,
}

impl fmt::Debug for Custodian {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custodian").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Custodian {
    /// For `hub`, whose signer and roots are in `issuance`.
    #[must_use]
    pub(super) fn new(hub: Arc<Hub>, issuance: Issuance, authorities: Authorities, config: &Config) -> Self {
        let given = !config.grpc.client_ca.as_os_str().is_empty();
        let files = given.then(|| Files(config.grpc.clone()));
        Self { hub, issuance, config: authorities, files, held: Mutex::default() }
    }

    fn ledger(&self) -> Arc<Ledger> {
        self.hub.ledger()
    }

    /// Does all that is due; what fails does not keep the rest from being
    /// done. Returns whether what is to be in force changed, and the first
    /// failure.
    pub(super) async fn maintain(&self) -> (bool, Option<Error>) {
        let mut failure = self.look_at_signer().await.err();
        let mut changed = false;
        let mut note = |done: Result<bool, Error>| match done {
            Ok(one) => changed |= one,
            Err(error) => {
                failure.get_or_insert(error);
            }
        };
        let ledger = self.ledger();
        if let Some(rotation) = ledger.rotations.get(&Hierarchy::Server) {
            for generation in rotation.trusted() {
                note(self.keep_own(generation).await);
            }
        }
        if let Some(rotation) = ledger.rotations.get(&Hierarchy::Client) {
            for generation in rotation.trusted() {
                // The list last: it names what the monitors revoke.
                note(self.keep_monitors(generation).await);
                note(self.keep_list(generation).await);
            }
        }
        // One that has no list yet could not be trusted from one moment to the
        // next; nothing is shown of it before, so nothing in force changes.
        let candidates = self.held.lock().candidates.clone();
        for generation in &candidates {
            note(self.keep_list(generation).await.map(|_| false));
        }
        note(self.write_what_waits().map(|()| false));
        changed |= self.forget(&ledger);
        (changed, failure)
    }

    /// What is shown to whoever would enrol: the chain up to the root.
    ///
    /// # Errors
    /// There is no certificate yet.
    pub(super) fn greeting(&self) -> Result<Arc<rustls::ServerConfig>, Error> {
        let ledger = self.ledger();
        let issuer = Self::rotation(&ledger, Hierarchy::Server)?.shown().issuer;
        let own = self.held.lock().own.get(&issuer).cloned();
        let own = own.ok_or_else(|| Error::Authorities("the hub has no certificate yet".to_owned()))?;
        let mut chain = own.chain();
        chain.extend(self.issuance.roots.iter().cloned());
        Ok(crate::pki::tls::greeting(chain, &own.secret())?)
    }

    /// Learns which authorities the signer has, and what it signed that the
    /// ledger does not know.
    async fn look_at_signer(&self) -> Result<(), Error> {
        let signer = Arc::clone(&self.issuance.signer);
        let held = self.ask(move || signer.authorities()).await?;
        let generations: Vec<_> = held
            .into_iter()
            .filter_map(|held| Some((held.hierarchy, Generation::from_der(0, held.certificate).ok()?)))
            .collect();
        {
            let (ledger, now, mut at_hand) = (self.ledger(), self.hub.machine_now(), self.held.lock());
            at_hand.keys = generations.iter().map(|(_, generation)| generation.issuer).collect();
            at_hand.candidates = generations
                .iter()
                .filter(|(of, generation)| {
                    *of == Hierarchy::Client
                        && generation.is_valid_at(now)
                        && is_new(&ledger, &generation.issuer)
                })
                .map(|(_, generation)| generation.clone())
                .collect();
        }
        for hierarchy in Hierarchy::ALL {
            if self.ledger().rotations.contains_key(&hierarchy) {
                continue;
            }
            let mut first = generations.iter().filter(|(of, _)| *of == hierarchy).map(|(_, g)| g);
            match (first.next(), first.next()) {
                (Some(generation), None) => self.hub.begin_hierarchy(hierarchy, generation.clone()).await?,
                (None, _) => {
                    return Err(Error::Authorities(format!(
                        "the signer holds no authority of the {} hierarchy; put one into its directory (docs/certificates.md)",
                        hierarchy.as_str().to_lowercase()
                    )));
                }
                (Some(_), Some(_)) => {
                    return Err(Error::Authorities(format!(
                        "the signer holds several authorities of the {} hierarchy, and the hub has none yet; begin with one",
                        hierarchy.as_str().to_lowercase()
                    )));
                }
            }
        }
        self.read_journal().await
    }

    async fn read_journal(&self) -> Result<(), Error> {
        let (mut read, restored) = self.hub.journal_read();
        let before = read;
        loop {
            let (signer, after) = (Arc::clone(&self.issuance.signer), read);
            let records = self.ask(move || signer.journal(after)).await?;
            let Some(last) = records.last() else { break };
            let learnt = self.hub.learn(&records, restored).await?;
            // A number whose list was signed, though nobody heard of it, is used.
            for record in &records {
                if let Signed::List { authority, number, .. } = &record.signed {
                    self.held.lock().drawn.retain(|of, drawn| of != authority || *drawn > *number);
                }
            }
            if learnt.certificates + learnt.revocations > 0 {
                tracing::warn!(
                    certificates = learnt.certificates,
                    revocations = learnt.revocations,
                    "the signer's journal knew what this restored hub did not"
                );
            }
            read = last.number;
        }
        if restored {
            self.hub.cancel_unused_tokens().await?;
            self.hub.leap_numbers().await?;
        }
        if restored || read > before {
            self.hub.note_journal(read).await?;
        }
        Ok(())
    }

    /// Drops what belongs to authorities that are trusted no more.
    fn forget(&self, ledger: &Ledger) -> bool {
        let trusted: BTreeSet<_> =
            ledger.rotations.values().flat_map(|rotation| rotation.trusted()).map(|g| g.issuer).collect();
        let mut held = self.held.lock();
        let candidates: BTreeSet<_> = held.candidates.iter().map(|generation| generation.issuer).collect();
        let before = held.own.len() + held.lists.len();
        held.own.retain(|issuer, _| trusted.contains(issuer));
        held.lists.retain(|issuer, _| trusted.contains(issuer) || candidates.contains(issuer));
        held.monitors.retain(|issuer, _| trusted.contains(issuer));
        held.tested.retain(|issuer| trusted.contains(issuer));
        before != held.own.len() + held.lists.len()
    }

    /// Asks the signer, off the threads that serve.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce() -> Result<T, crate::pki::signing::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let answer = tasks::spawn_blocking(question).await.map_err(std::io::Error::other)?;
        answer.map_err(|error| Error::Authorities(error.to_string()))
    }

    /// Tries the authorities that are not in use yet on what is in force.
    fn test(&self, certificates: &Certificates) {
        let (snapshot, now) = (certificates.current(), self.hub.machine_now());
        if snapshot.is_closed() || snapshot.server_not_after() < now {
            // Nobody is served by what has ended: nothing can be tried on it,
            // and nobody can be harmed by what takes its place.
            let mut held = self.held.lock();
            let own = held.own.iter().filter(|(_, leaf)| now <= leaf.not_after);
            let monitors = held.monitors.iter().filter(|(_, pair)| now <= pair.0.not_after);
            let sound: Vec<_> = own.map(|(issuer, _)| *issuer).chain(monitors.map(|(i, _)| *i)).collect();
            held.tested.extend(sound);
            return;
        }
        let monitors: Vec<_> = {
            let held = self.held.lock();
            held.monitors.iter().map(|(issuer, pair)| (*issuer, Arc::clone(pair))).collect()
        };
        for (issuer, pair) in monitors {
            if let Err(error) = own::shake(&snapshot, &self.issuance.roots, &pair.0, self.shown_name()) {
                tracing::warn!(authority = %issuer.short(), %error, "an authority's certificate does not connect");
            } else {
                self.held.lock().tested.insert(issuer);
            }
        }
        let next = self.ledger().rotations.get(&Hierarchy::Server).and_then(|r| r.canary().map(|g| g.issuer));
        let good = self.held.lock().monitors.values().find(|pair| now <= pair.0.not_after).map(Arc::clone);
        if let (Some(issuer), Some(pair), Ok(name)) =
            (next, good, DnsName::try_from(self.config.canary.clone()))
        {
            match own::shake(&snapshot, &self.issuance.roots, &pair.0, Some(ServerName::DnsName(name))) {
                Ok(()) => {
                    self.held.lock().tested.insert(issuer);
                }
                Err(error) => {
                    tracing::warn!(authority = %issuer.short(), %error, "the next authority does not prove itself");
                }
            }
        }
    }

    /// The first name under which the hub is known.
    fn shown_name(&self) -> Option<ServerName<'static>> {
        let dns = self.config.dns.first().and_then(|name| ServerName::try_from(name.clone()).ok());
        dns.or_else(|| self.config.ip.first().map(|ip| ServerName::IpAddress((*ip).into())))
    }

    /// Tells the hub what is in force.
    pub(super) fn report(&self, certificates: &Certificates) {
        let ledger = self.ledger();
        let held = self.held.lock();
        let shown = ledger.rotations.get(&Hierarchy::Server).map(|rotation| rotation.shown().issuer);
        self.hub.note_in_force(InForce {
            hub_leaf: shown,
            hub_leaves: held.own.keys().copied().collect(),
            lists: held
                .lists
                .iter()
                .map(|(issuer, list)| (*issuer, (list.number, list.next_update, list.der.clone())))
                .collect(),
            keys: held.keys.clone(),
            tested: held.tested.clone(),
            canary: certificates.current().canary_authority(),
            listed: held
                .lists
                .iter()
                .flat_map(|(issuer, list)| {
                    list.revoked
                        .iter()
                        .map(|serial| CertificateId { issuer: *issuer, serial: serial.clone() })
                })
                .collect(),
            files: self.files.as_ref().map(Files::authorities).unwrap_or_default(),
        });
        drop(held);
        self.hub.note_anchors(certificates.current().issuers().collect());
    }

    /// Keeps the authorities in force until `stopping`.
    pub(super) async fn follow(
        self: Arc<Self>,
        certificates: Arc<Certificates>,
        shown: Shown,
        stopping: CancellationToken,
    ) {
        let mut changes = self.hub.ledger_changes();
        // What `gather` gives depends on the ledger, too.
        let mut seen = None;
        let mut pauses = Pauses::default();
        while !stopping.is_cancelled() {
            changes.mark_unchanged();
            let round = self.round(&certificates, &mut seen).await;
            // What is wrong elsewhere keeps nobody from enrolling.
            match self.greeting() {
                Ok(greeting) => shown.store(Some(greeting)),
                Err(error) => tracing::error!(%error, "nobody can enrol"),
            }
            let failed = match round {
                Ok(()) => {
                    pauses = Pauses::default();
                    None
                }
                Err(error) => {
                    let pause = pauses.after(&error);
                    tracing::error!(%error, ?pause, "the hub's authorities are not all in force; trying again");
                    Some(pause)
                }
            };
            let wait = async {
                if failed.is_some() {
                    // What failed may itself have changed the ledger.
                    tokio::time::sleep(RETRY).await;
                }
                tokio::select! {
                    _ = changes.changed() => {}
                    () = tokio::time::sleep(failed.map_or(TICK, |pause| pause.saturating_sub(RETRY))) => {}
                }
            };
            stopping.run_until_cancelled(wait).await;
        }
    }

    async fn round(&self, certificates: &Certificates, seen: &mut Option<[u64; 2]>) -> Result<(), Error> {
        let (changed, failure) = self.maintain().await;
        let versions = self.versions();
        let mut failure = failure;
        if changed || *seen != Some(versions) {
            // Until it is in force, it is tried again.
            *seen = match certificates.reload(false).await {
                Ok(_) => Some(versions),
                Err(refused) => {
                    failure.get_or_insert(Error::Authorities(refused.to_string()));
                    None
                }
            };
        }
        // Certificates that were superseded, and organisations that ended.
        certificates.sweep();
        // What is not in force must not keep a rotation from mending it.
        self.test(certificates);
        self.report(certificates);
        self.hub.settle_rotations().await?;
        failure.map_or(Ok(()), Err)
    }

    fn versions(&self) -> [u64; 2] {
        let ledger = self.ledger();
        Hierarchy::ALL.map(|hierarchy| ledger.rotations.get(&hierarchy).map_or(0, |r| r.version))
    }

    /// The rotation of a hierarchy, which [`Self::look_at_signer`] has begun.
    fn rotation(ledger: &Ledger, hierarchy: Hierarchy) -> Result<&Rotation, Error> {
        let missing = || Error::Authorities("the hub has no authorities yet; see the log".to_owned());
        ledger.rotations.get(&hierarchy).map(Arc::as_ref).ok_or_else(missing)
    }
}

/// Whether an authority could be the next one: neither trusted nor retired.
/// Without a first one, none is next.
fn is_new(ledger: &Ledger, issuer: &IssuerDigest) -> bool {
    ledger.rotations.get(&Hierarchy::Client).is_some_and(|rotation| {
        rotation.generation(issuer).is_none() && rotation.retired.iter().all(|(retired, _)| retired != issuer)
    })
}

impl Source for Custodian {
    fn gather(&self) -> Result<Candidate, Error> {
        let ledger = self.ledger();
        let (server, client) =
            (Self::rotation(&ledger, Hierarchy::Server)?, Self::rotation(&ledger, Hierarchy::Client)?);
        let held = self.held.lock();
        let lacking =
            |what: &str| Error::Authorities(format!("{what} is not signed yet; is the signer there?"));
        let own = held.own.get(&server.shown().issuer).ok_or_else(|| lacking("the hub's certificate"))?;
        let mut material = Material {
            anchors: Vec::new(),
            revocation_lists: Vec::new(),
            chain: own.chain(),
            key: own.secret(),
            canary: None,
        };
        if let Some(files) = &self.files {
            files.add_clients(&mut material)?;
        }
        let now = self.hub.machine_now();
        // One that has ended takes nobody, and must not keep the rest out.
        for generation in client.trusted().filter(|generation| generation.is_valid_at(now)) {
            let list = held.lists.get(&generation.issuer).ok_or_else(|| lacking("a revocation list"))?;
            material.anchors.push(generation.certificate.clone());
            material.revocation_lists.push(list.der.clone());
        }
        if let Some(next) = server.canary() {
            let leaf =
                held.own.get(&next.issuer).ok_or_else(|| lacking("the certificate of the next authority"))?;
            let name = DnsName::try_from(self.config.canary.clone())
                .map_err(|_| Error::Authorities("authorities.canary is no DNS name".to_owned()))?;
            material.canary = Some(Canary { name, chain: leaf.chain(), key: leaf.secret() });
        }
        // Nor do the two clients who try it, once they have ended with it.
        let monitors = held.monitors.get(&client.signing().issuer).filter(|pair| now <= pair.0.not_after);
        let trial = monitors.map(|pair| Trial {
            good: Monitor { chain: pair.0.chain(), key: pair.0.secret() },
            revoked: Monitor { chain: pair.1.chain(), key: pair.1.secret() },
        });
        Ok(Candidate { material, trial })
    }
}
