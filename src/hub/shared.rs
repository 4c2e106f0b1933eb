//! Decides what the engine's parts share: the store, keys, the directory of
//! the moment, the end of the log, the latch, and the counters.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::base::clock::Clock;
use crate::base::digest::Keyed;
use crate::base::tasks;
use crate::model::audience::ClassNo;
use crate::model::certificate::{CertificateId, IssuerDigest};
use crate::model::org::OrgNo;
use crate::model::position::{Position, Seq};
use crate::model::principal::{Roles, SpiffeId};
use crate::pki::ledger::Ledger;
use crate::policy::guard::lists::Guard;
use crate::store::Store;
use crate::wire::seal::Sealer;
use crate::wire::token::Tokens;

use super::aggregate::Kept;
use super::assets::Register;
use super::attempts::Attempts;
use super::audit::Audit;
use super::budget::Budgets;
use super::cursors::Cursors;
use super::directory::Directory;
use super::error::{Error, Reason};
use super::expire::Expiries;
use super::indexer::Indexed;
use super::membership::Membership;
use super::merger::Backlog;
use super::query::Questions;
use super::receipts::Receipts;
use super::replaced::Replaced;
use super::retention::{History, Turn};
use super::revoking::Switchboard;
use super::rosters::Rosters;
use super::rotation::InForce;
use super::sighted::Sighted;
use super::space::Space;
use super::tail::Tail;
use super::totals::Totals;

/// What the engine's parts share.
#[derive(Debug)]
pub struct Shared {
    /// The store.
    pub store: Store,
    /// Seals handles and events.
    pub sealer: Sealer,
    /// Seals tokens.
    pub tokens: Tokens,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// The clock that certificates are held against: the machine's.
    pub machine: Arc<dyn Clock>,
    /// Certificates now.
    pub ledger: ArcSwap<Ledger>,
    /// Moves whenever the ledger does.
    pub ledger_changes: tokio::sync::watch::Sender<u64>,
    /// Certificates of the ledger that were used and are not noted as such.
    pub first_uses: FirstUses,
    /// How often the certificates of each holder were renewed of late.
    pub signings: Signings,
    /// Wrong enrolment tokens of late.
    pub attempts: Attempts,
    /// The authorities that the hub trusts at present.
    pub anchors: ArcSwap<Vec<IssuerDigest>>,
    /// What is in force of the hub's own authorities.
    pub in_force: ArcSwap<InForce>,
    /// Moves whenever that does.
    pub in_force_changes: tokio::sync::watch::Sender<u64>,
    /// Whoever holds the connections.
    pub switchboard: OnceLock<Arc<dyn Switchboard>>,
    /// Who is who now.
    pub directory: ArcSwap<Directory>,
    /// Who was who, generation by generation.
    pub rosters: Rosters,
    /// What organisations call their own.
    pub assets: Register,
    /// The end of the log.
    pub tail: Tail,
    /// Named subscriptions that wait for a commit.
    pub cursors: Cursors,
    /// Which classes the records of each value have.
    pub membership: Membership,
    /// How far the log is indexed.
    pub index: Indexed,
    /// Which versions stand, as far as that is known without a read.
    pub replaced: Replaced,
    /// Sightings of records that were asked about of late.
    pub sighted: Sighted,
    /// Sums of counters, for those who ask again.
    pub sums: Kept,
    /// Counters by which questions are planned, and kinds counted: what is
    /// nothing by them is answered with nothing.
    pub totals: Totals,
    /// Terms whose postings may have become many small blocks.
    pub backlog: Backlog,
    /// The lists that values are held against now.
    pub guard: ArcSwap<Guard>,
    /// Whether the disk has room.
    pub space: Space,
    /// Whether the store may be written.
    pub latch: Latch,
    /// Records whose audience class changed since birth, and their class now:
    /// replay of what stood before must not show it to whom it is now hidden.
    pub reclassed: RwLock<Reclassed>,
    /// From where on the log is kept whole.
    pub history: History,
    /// Who keeps less of the past.
    pub retaining: Turn,
    /// Which indicators end next.
    pub expiries: Expiries,
    /// Where each former history epoch ended.
    pub fences: Vec<Seq>,
    /// Who called what.
    pub audit: Audit,
    /// Who was given what, as far as it waits.
    pub receipts: Receipts,
    /// Cancelled when the hub goes down in good order.
    pub draining: CancellationToken,
    /// What is counted.
    pub counters: Counters,
    /// Digests what is refused as a state secret, of which nothing else is
    /// kept.
    pub suspected: Keyed,
    /// Trust domain of every identity here.
    pub trust_domain: String,
    /// Places for blocking reads: past them a read waits its turn, so that no
    /// caller takes every thread.
    pub reads: Arc<Semaphore>,
    /// Places for walks that gather much before they go on.
    pub gathering: Arc<Semaphore>,
    /// What everyone has used of late.
    pub budgets: Arc<Budgets>,
    /// Who asks about history at present.
    pub questions: Questions,
}

impl Shared {
    /// Number and roles of today of whoever has this identity.
    ///
    /// # Errors
    /// `PRINCIPAL_UNKNOWN`, `ORGANISATION_INACTIVE`.
    pub fn admit(&self, identity: &SpiffeId) -> Result<(OrgNo, Roles), Error> {
        let directory = self.directory.load();
        let known = directory.number(identity.org()).filter(|_| identity.trust_domain() == self.trust_domain);
        let Some(org) = known else {
            return Err(Error::new(
                Reason::PrincipalUnknown,
                "the organisation in your certificate does not take part in this hub; ask its operator",
            ));
        };
        let today = self.clock.now().day();
        if !directory.roster().is_active(identity.org(), today) {
            return Err(Error::new(
                Reason::OrganisationInactive,
                "your organisation does not take part at present; ask the hub's operator",
            ));
        }
        Ok((org, directory.roster().roles(identity, today)))
    }
}

impl Shared {
    /// Nothing is written any more of what goes beside the log.
    pub fn shut(&self) {
        self.audit.journal.close();
        self.receipts.close();
    }

    /// Goes over to the directory of today; whether it is another. To be done
    /// after a record's class was read: an older directory may not know it,
    /// and takes a class that it does not know for one that nobody sees.
    pub fn renew(&self, directory: &mut Arc<Directory>) -> bool {
        let today = self.directory.load();
        let other = !Arc::ptr_eq(&today, directory);
        if other {
            *directory = Arc::clone(&today);
        }
        other
    }

    /// Runs blocking `work` on the pool for it, when its turn comes. The place
    /// is the work's own: a caller that goes away does not give it to the
    /// next while the work still runs.
    ///
    /// # Errors
    /// What the work answers.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let place = Arc::clone(&self.reads).acquire_owned().await.map_err(Error::internal)?;
        let shared = Arc::clone(self);
        let read = tasks::spawn_blocking(move || {
            let _place = place;
            work(&shared)
        });
        read.await.map_err(Error::internal)?
    }
}

/// When a holder's certificates were renewed of late. One at a time waits for
/// the signer.
pub type Signed = Arc<tokio::sync::Mutex<VecDeque<Instant>>>;

/// How often the certificates of each holder were renewed of late: what is
/// signed for nothing is not in the ledger, and counts all the same.
#[derive(Debug, Default)]
pub struct Signings(Mutex<BTreeMap<SpiffeId, Signed>>);

impl Signings {
    /// Those for `holder`.
    pub fn of(&self, holder: &SpiffeId) -> Signed {
        Arc::clone(self.0.lock().entry(holder.clone()).or_default())
    }
}

/// Certificates whose first use is to be noted, and who waits for some.
#[derive(Debug, Default)]
pub struct FirstUses {
    waiting: Mutex<BTreeSet<CertificateId>>,
    news: tokio::sync::Notify,
}

impl FirstUses {
    /// Notes one; the ledger knows it, which bounds how many there can be.
    pub fn note(&self, id: CertificateId) {
        if self.waiting.lock().insert(id) {
            self.news.notify_one();
        }
    }

    /// Waits for some, and takes them.
    pub async fn take(&self) -> BTreeSet<CertificateId> {
        loop {
            let taken = std::mem::take(&mut *self.waiting.lock());
            if !taken.is_empty() {
                return taken;
            }
            self.news.notified().await;
        }
    }
}

/// Records by handle, and their class now.
pub type Reclassed = BTreeMap<Position, ClassNo>;

/// Most blocking reads at once.
pub const MAX_READS: usize = 128;

/// What the engine counts, since its start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Commit groups.
    pub commits: AtomicU64,
    /// Microseconds spent in commits.
    pub commit_micros: AtomicU64,
    /// Items written.
    pub items: AtomicU64,
    /// Events delivered to subscribers.
    pub delivered: AtomicU64,
    /// Subscribers now open.
    pub subscribers: AtomicU64,
    /// Times that a subscriber fell off the ring and read the log.
    pub catch_ups: AtomicU64,
    /// Blocks of postings that a larger one has replaced.
    pub merged_blocks: AtomicU64,
    /// Items that were refused because they look like state secrets.
    pub state_secrets: AtomicU64,
    /// What lists made of items, by [`crate::model::warninglist::Outcome`].
    pub guarded: [AtomicU64; 3],
}

/// Read-only for good after the first failure, with its reason.
#[derive(Default)]
pub struct Latch(Mutex<Option<String>>);

impl Latch {
    /// Latches with a reason; the first one stays.
    pub fn set(&self, reason: &impl fmt::Display) {
        let mut latched = self.0.lock();
        if latched.is_none() {
            tracing::error!(%reason, "the store failed; the hub is read-only until it is started again");
            *latched = Some(reason.to_string());
        }
    }

    /// Why the store is read-only; `None`: it is not.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.0.lock().clone()
    }
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Latch({:?})", self.reason())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;
    use crate::base::clock::SystemClock;
    use crate::hub::{Hub, Options};
    use crate::model::roster::Roster;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_read_waits_for_a_place_and_keeps_it_though_its_caller_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        Hub::init(&data_dir, Roster::default(), "test.example", &SystemClock).unwrap();
        let hub = Hub::open(Options { data_dir, ..Options::default() }).unwrap();
        let (shared, most) = (Arc::clone(&hub.shared), u32::try_from(MAX_READS).unwrap());

        let (release, released) = mpsc::channel::<()>();
        let (begun, begins) = oneshot::channel();
        {
            let work = move |_: &Arc<Shared>| {
                begun.send(()).unwrap();
                let _ = released.recv();
                Ok(())
            };
            tokio::select! {
                _ = shared.read(work) => panic!("the work is not over"),
                begins = begins => begins.unwrap(),
            }
        }
        assert_eq!(shared.reads.available_permits(), MAX_READS - 1, "its caller has gone, the work has not");
        release.send(()).unwrap();

        let all = shared.reads.acquire_many(most).await.unwrap();
        let mut read = std::pin::pin!(shared.read(|_| Ok(7)));
        assert!(read.as_mut().now_or_never().is_none(), "every place is taken");
        drop(all);
        assert_eq!(read.await.unwrap(), 7);
        hub.close().await;
    }
}
