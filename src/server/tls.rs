//! Decides which TLS configuration is in force: what its source says if that
//! is sound and works, else what was in force before.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::Error;
use super::config::Grpc;
use super::connections::Connections;
use crate::base::clock::Clock;
use crate::base::digest;
use crate::base::files;
use crate::base::tasks;
use crate::pki::identity::{self, IssuerDigest};
use crate::pki::pem;
use crate::pki::tls::{self, Change, Ledger, Material, Snapshot, Trial, rehearse};

/// What might come into force.
#[derive(Debug)]
pub struct Candidate {
    /// What a snapshot is built from.
    pub material: Material,
    /// Two clients to try it on, where somebody can sign for them. Without
    /// them it is tried on a client that shows nothing and on a stranger,
    /// which says nothing about revocation.
    pub trial: Option<Trial>,
}

/// Where the parts of a configuration come from.
pub trait Source: fmt::Debug + Send + Sync {
    /// What should be in force now. Blocks.
    ///
    /// # Errors
    /// What is missing or unreadable, with the fix.
    fn gather(&self) -> Result<Candidate, Error>;
}

/// The four files of the configuration.
#[derive(Debug, Clone)]
pub struct Files(pub Grpc);

impl Files {
    /// Names and keys of the authorities of clients in these files, by digest.
    pub(super) fn authorities(&self) -> Vec<(IssuerDigest, [u8; 32])> {
        let Self(grpc) = self;
        let text = fs::read(&grpc.client_ca).unwrap_or_default();
        let all = pem::certificates(&text).unwrap_or_default();
        let parsed = all.iter().filter_map(|der| identity::parse(der).ok());
        parsed
            .map(|one| (IssuerDigest::of(one.subject().as_raw()), digest::sha256(one.public_key().raw)))
            .collect()
    }

    /// Adds the authorities of clients in these files, and their lists.
    ///
    /// # Errors
    /// What is missing or damaged, with the fix.
    pub(super) fn add_clients(&self, material: &mut Material) -> Result<(), Error> {
        let Self(grpc) = self;
        let (anchors, lists) = (read(&grpc.client_ca)?, read(&grpc.client_crl)?);
        material.anchors.extend(pem::certificates(&anchors).map_err(tls::Error::from)?);
        material.revocation_lists.extend(pem::revocation_lists(&lists).map_err(tls::Error::from)?);
        Ok(())
    }
}

impl Source for Files {
    fn gather(&self) -> Result<Candidate, Error> {
        let Self(grpc) = self;
        if files::is_open_to_others(&grpc.key).unwrap_or(false) {
            return Err(Error::KeyOpen { path: grpc.key.clone() });
        }
        let anchors = read(&grpc.client_ca)?;
        let revocation_lists = read(&grpc.client_crl)?;
        let chain = read(&grpc.cert)?;
        let key = Zeroizing::new(read(&grpc.key)?);
        let material = Material::from_pem(&anchors, &revocation_lists, &chain, &key)?;
        Ok(Candidate { material, trial: None })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// Reads the files of `grpc` and makes snapshot number `epoch` of them.
///
/// # Errors
/// What is wrong with the files, with the fix.
pub fn load(grpc: &Grpc, trust_domain: &str, epoch: u64, clock: &Arc<dyn Clock>) -> Result<Snapshot, Error> {
    make(&Files(grpc.clone()), trust_domain, epoch, clock, None)
}

/// Gathers, builds and rehearses snapshot number `epoch`, the first of a hub.
/// Blocks.
///
/// # Errors
/// Why it may not be put in force.
pub fn make(
    source: &dyn Source,
    trust_domain: &str,
    epoch: u64,
    clock: &Arc<dyn Clock>,
    ledger: Option<Arc<dyn Ledger>>,
) -> Result<Snapshot, Error> {
    let Candidate { material, trial } = source.gather()?;
    let snapshot = Snapshot::build(material, trust_domain, epoch, clock, ledger)?;
    rehearse(&snapshot, trial, clock)?;
    Ok(snapshot)
}

/// What a reload has done.
#[derive(Debug, Clone)]
pub struct Reloaded {
    /// The snapshot that is in force now.
    pub snapshot: Arc<Snapshot>,
    /// What it changes.
    pub change: Change,
    /// Connections that were ended, for it does not take them.
    pub severed: usize,
}

/// Why a reload has done nothing.
#[derive(Debug, thiserror::Error)]
#[error("{error}; epoch {epoch} stays in force")]
pub struct NotReloaded {
    /// What is wrong.
    #[source]
    pub error: Error,
    /// The epoch that stays in force.
    pub epoch: u64,
}

/// The kinds of failure that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// A file cannot be read, or others can read the key.
    File,
    /// A file is damaged, half written, or holds something else.
    Pem,
    /// An authority cannot be trusted.
    Anchor,
    /// The revocation lists are not one current list for each authority.
    RevocationList,
    /// The hub's certificate is not usable.
    ServerCertificate,
    /// Key and certificate do not belong together.
    KeyMismatch,
    /// The hub's certificate lacks a name of the one in force.
    NamesLost,
    /// The hub's new certificate ends within a day.
    NearEnd,
    /// The handshakes in memory went wrong.
    Rehearsal,
    /// Anything else.
    Other,
}

impl Failure {
    /// Every kind, in the order of the counters.
    pub const ALL: [Self; 10] = [
        Self::File,
        Self::Pem,
        Self::Anchor,
        Self::RevocationList,
        Self::ServerCertificate,
        Self::KeyMismatch,
        Self::NamesLost,
        Self::NearEnd,
        Self::Rehearsal,
        Self::Other,
    ];

    /// The kind in metrics and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Pem => "pem",
            Self::Anchor => "anchor",
            Self::RevocationList => "revocation_list",
            Self::ServerCertificate => "server_certificate",
            Self::KeyMismatch => "key_mismatch",
            Self::NamesLost => "names_lost",
            Self::NearEnd => "near_end",
            Self::Rehearsal => "rehearsal",
            Self::Other => "other",
        }
    }

    /// The kind of `error`.
    #[must_use]
    pub const fn of(error: &Error) -> Self {
        match error {
            Error::File { .. } | Error::KeyOpen { .. } => Self::File,
            Error::Tls(error) => match error {
                tls::Error::Pem(_) => Self::Pem,
                tls::Error::NoAnchor
                | tls::Error::Anchor(_)
                | tls::Error::AnchorTwice { .. }
                | tls::Error::AnchorLifetime { .. } => Self::Anchor,
                tls::Error::Revocation(_) => Self::RevocationList,
                tls::Error::ServerCertificate { .. }
                | tls::Error::ServerLifetime { .. }
                | tls::Error::Canary { .. } => Self::ServerCertificate,
                tls::Error::KeyMismatch => Self::KeyMismatch,
                tls::Error::NamesLost { .. } => Self::NamesLost,
                tls::Error::NearEnd { .. } => Self::NearEnd,
                tls::Error::Rehearsal { .. } => Self::Rehearsal,
                tls::Error::KeyExchange | tls::Error::Epoch { .. } | tls::Error::Tls(_) => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// The configuration in force, and the one way to exchange it.
#[derive(Debug)]
pub struct Certificates {
    source: Arc<dyn Source>,
    ledger: Option<Arc<dyn Ledger>>,
    current: Arc<ArcSwap<Snapshot>>,
    connections: Arc<Connections>,
    clock: Arc<dyn Clock>,
    /// One reload at a time.
    gate: Mutex<()>,
    failures: [AtomicU64; Failure::ALL.len()],
}

impl Certificates {
    /// Exchanges `current`, which `connections` are served by, for what
    /// `source` says whenever it is asked to.
    #[must_use]
    pub fn new(
        source: Arc<dyn Source>,
        ledger: Option<Arc<dyn Ledger>>,
        current: Arc<ArcSwap<Snapshot>>,
        connections: Arc<Connections>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            source,
            ledger,
            current,
            connections,
            clock,
            gate: Mutex::default(),
            failures: Default::default(),
        }
    }

    /// The snapshot in force.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// By which certificates are judged.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// How many reloads have failed so.
    #[must_use]
    pub fn failed(&self, kind: Failure) -> u64 {
        self.failures.get(kind as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Puts in force what the source says now, if it is sound, works, and may
    /// follow what is in force; ends the connections that it does not take,
    /// and no other. `forced` takes a certificate of the hub that ends soon.
    ///
    /// # Errors
    /// What is wrong. Nothing has changed then; it is logged and counted.
    pub async fn reload(&self, forced: bool) -> Result<Reloaded, NotReloaded> {
        let _one = self.gate.lock().await;
        let held = self.current.load_full();
        match self.prepare(Arc::clone(&held), forced).await {
            Ok(next) => Ok(self.swap(next, &held)),
            Err(error) => {
                let (epoch, kind) = (held.epoch(), Failure::of(&error));
                if let Some(count) = self.failures.get(kind as usize) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                tracing::error!(
                    %error,
                    reason = kind.as_str(),
                    epoch,
                    "certificates not reloaded; the old ones stay in force"
                );
                Err(NotReloaded { error, epoch })
            }
        }
    }

    /// Ends the connections that what is in force does not take any more.
    pub fn sweep(&self) -> usize {
        self.connections.sweep(&self.current.load(), self.clock.now())
    }

    async fn prepare(&self, held: Arc<Snapshot>, forced: bool) -> Result<Arc<Snapshot>, Error> {
        let (source, ledger, clock) =
            (Arc::clone(&self.source), self.ledger.clone(), Arc::clone(&self.clock));
        let made = tasks::spawn_blocking(move || {
            let Candidate { material, trial } = source.gather()?;
            let next = held.successor(material, &clock, ledger)?;
            next.check_follows(&held)?;
            if !forced {
                next.check_lasts(&held, clock.now())?;
            }
            rehearse(&next, trial, &clock)?;
            Ok(Arc::new(next))
        });
        made.await.unwrap_or_else(|error| Err(std::io::Error::other(error).into()))
    }

    fn swap(&self, next: Arc<Snapshot>, held: &Snapshot) -> Reloaded {
        self.current.store(Arc::clone(&next));
        // Swapped first, swept second: a connection that registers in between
        // checks itself against the new snapshot.
        let severed = self.connections.sweep(&next, self.clock.now());
        let change = next.change_of(held);
        tracing::info!(
            epoch = next.epoch(),
            server_not_after = %next.server_not_after(),
            revoked = next.revoked(),
            ?change,
            severed,
            "certificates reloaded"
        );
        Reloaded { snapshot: next, change, severed }
    }

    /// Reloads whenever `asked` moves, until `stopping`. However often it has
    /// moved meanwhile, that is one reload.
    pub(super) async fn follow(
        self: Arc<Self>,
        mut asked: watch::Receiver<u64>,
        stopping: CancellationToken,
    ) {
        while let Some(Ok(())) = stopping.run_until_cancelled(asked.changed()).await {
            // Told and counted where it happens.
            let _ = self.reload(false).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_failure_has_its_own_counter() {
        for (index, kind) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index, "{kind:?}");
        }
    }
}
