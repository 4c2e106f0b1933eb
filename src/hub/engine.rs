//! Decides how the engine is opened, asked who is who, and closed.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::base::clock::{Clock, SystemClock, Timestamp};
use crate::base::steady::{self, Stopwatch};
use crate::base::volume::{SystemVolume, Volume};
use crate::model::position::{Position, Seq};
use crate::model::retention::Retention;
use crate::model::roster::Roster;
use crate::policy::guard::lists::Guard;
use crate::policy::limits::Quotas;
use crate::store::keys::Family;
use crate::store::{Store, Tuning, checkpoint, db, requests};
use crate::wire::facts;
use crate::wire::seal::Sealer;
use crate::wire::token::Tokens;

use super::assets::Register;
use super::attempts::Attempts;
use super::audit::laying::Laying;
use super::audit::{Audit, Keep, Trail};
use super::budget::Budgets;
use super::caller::{Caller, PeerCertificate};
use super::certificates::Issuance;
use super::cursors::Cursors;
use super::directory::Directory;
use super::error::{Error, Reason};
use super::expire::Expiries;
use super::indexer::{self, Indexed};
use super::lanes::{Entrance, Lanes};
use super::membership;
use super::merger::Backlog;
use super::owed::Owed;
use super::query::Questions;
use super::receipts::book::Book;
use super::receipts::{self, Receipts};
use super::replaced::Replaced;
use super::retention::{History, Turn};
use super::rosters::Rosters;
use super::shared::{Counters, FirstUses, Latch, MAX_READS, Reclassed, Shared, Signings};
use super::space::Space;
use super::subscribe::LiveStreams;
use super::tail::Tail;
use super::usage::entries;
use super::work::Start;
use super::writer::Writer;
use super::{genesis, secrecy, store_error};

/// How the engine is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The hub's directory.
    pub data_dir: PathBuf,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// The clock that certificates are held against.
    pub machine: Arc<dyn Clock>,
    /// What certificates are issued with; none: the hub issues none.
    pub issuance: Option<Issuance>,
    /// Block cache of the store, in bytes.
    pub block_cache_bytes: usize,
    /// Memory of the ring of recent chunks, in bytes.
    pub ring_bytes: usize,
    /// Time between heartbeats on a quiet subscription.
    pub heartbeat: Duration,
    /// Most named subscriptions of one organisation.
    pub max_subscriptions_per_org: usize,
    /// About how many bytes may wait for the writer, half of them of one
    /// organisation; more wait at their sender.
    pub max_waiting_bytes: usize,
    /// How long after a publication what the hub owes by itself, such as
    /// notices of collisions, is written.
    pub debt_delay: Duration,
    /// How the room on the store's disk is measured.
    pub volume: Arc<dyn Volume>,
    /// With less room than this, in bytes, nothing new is taken.
    pub free_space_floor: u64,
    /// What is kept of the past; none: all of it.
    pub retention: Option<Arc<Retention>>,
    /// Least time between two checkpoints of the audit for members.
    pub checkpoint_every: Duration,
    /// For how long audit records are kept.
    pub audit_keep: Keep,
    /// For how long receipts are kept.
    pub receipts_keep: Duration,
    /// The lists that values are held against.
    pub guard: Arc<Guard>,
    /// How much everyone may ask for.
    pub quotas: Arc<Quotas>,
    /// What that is measured by.
    pub stopwatch: Arc<dyn Stopwatch>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            clock: SystemClock::shared(),
            machine: SystemClock::shared(),
            issuance: None,
            block_cache_bytes: 256 << 20,
            ring_bytes: 64 << 20,
            heartbeat: Duration::from_secs(10),
            max_subscriptions_per_org: 256,
            max_waiting_bytes: 64 << 20,
            debt_delay: Duration::from_millis(100),
            volume: SystemVolume::shared(),
            free_space_floor: 1 << 30,
            retention: None,
            checkpoint_every: Duration::from_secs(60),
            audit_keep: Keep::default(),
            receipts_keep: receipts::KEEP,
            guard: Arc::default(),
            quotas: Arc::default(),
            stopwatch: steady::stopwatch(),
        }
    }
}

/// The engine.
#[derive(Debug)]
pub struct Hub {
    pub(super) shared: Arc<Shared>,
    pub(super) lanes: Entrance,
    pub(super) options: Options,
    pub(super) live: LiveStreams,
}

/// What the engine can tell of itself, since its start unless said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Statistics {
    /// Commit groups.
    pub commits: u64,
    /// Microseconds spent in commits.
    pub commit_micros: u64,
    /// Items written.
    pub items: u64,
    /// Events delivered.
    pub delivered: u64,
    /// Subscribers open now.
    pub subscribers: u64,
    /// Times that a subscriber fell off the ring.
    pub catch_ups: u64,
    /// Entries of the log that are not indexed yet.
    pub index_behind: u64,
    /// Terms whose blocks of postings wait to be merged.
    pub merges_waiting: u64,
    /// Blocks of postings that a larger one has replaced.
    pub merged_blocks: u64,
    /// Bytes in the ring now.
    pub ring_bytes: u64,
    /// Requests that wait for the writer now.
    pub waiting_requests: u64,
    /// About how many bytes these weigh, and what is being written.
    pub waiting_bytes: u64,
    /// Audience classes known.
    pub audience_classes: u64,
    /// Values known, as the engine estimates.
    pub values_estimate: u64,
    /// Memory that says who may see which value, in bytes.
    pub membership_bytes: u64,
    /// Whether it knows of all of them.
    pub membership_complete: bool,
    /// Memory that says which versions stand, in bytes.
    pub standing_bytes: u64,
    /// Whether it knows of all that is committed.
    pub standing_complete: bool,
    /// Bytes of table files.
    pub table_bytes: u64,
    /// From when on history is kept, Unix time in seconds; 0: from the
    /// beginning.
    pub history_begins: u64,
    /// Entries below the base from which is still to be cut out.
    pub truncation_behind: u64,
    /// Bytes that were cut out of the log.
    pub truncated_bytes: u64,
    /// Records that were dropped.
    pub dropped_records: u64,
    /// Receipts written.
    pub receipts: u64,
    /// Bytes that these took.
    pub receipt_bytes: u64,
    /// Since when they are on record, Unix time in seconds.
    pub receipts_begin: u64,
    /// Whether the store is latched read-only.
    pub read_only: bool,
    /// Whether nothing is taken for lack of room on the disk.
    pub space_low: bool,
    /// Bytes free on the store's disk; `None`: not measured yet.
    pub space_free: Option<u64>,
}

impl Hub {
    /// Begins a log in a new or empty directory.
    ///
    /// # Errors
    /// If the directory is not empty, the roster does not fit the trust
    /// domain, or the store fails.
    pub fn init(data_dir: &Path, roster: Roster, trust_domain: &str, clock: &dyn Clock) -> Result<(), Error> {
        genesis::init(data_dir, roster, trust_domain, clock)
    }

    /// Opens the engine and locks its directory. Blocking: reads what is
    /// needed to go on, then starts the writer on a thread of its own.
    ///
    /// # Errors
    /// If the directory holds no hub or a backup, is in use, or is damaged.
    pub fn open(options: Options) -> Result<Arc<Self>, db::Error> {
        checkpoint::refuse_marked(&options.data_dir)?;
        let tuning = Tuning { block_cache_bytes: options.block_cache_bytes, ..Tuning::default() };
        let mut store = Store::open(&options.data_dir, &tuning)?;
        store.upgrade(facts::outcome)?;
        indexer::count_kinds(&store)?;
        store.begin_usage()?;
        let failed =
            |error: Error| db::Error::Corrupt { what: "beginning of the log", at: error.to_string() };
        let genesis = genesis::read(&store).map_err(failed)?;
        let sealer =
            Sealer::new(genesis.seal_key.expose()).ok_or_else(|| db::Error::corrupt("key", "seal"))?;
        let keys = genesis.token_keys.iter().map(|(id, key)| (*id, key.expose().as_slice()));
        let tokens = Tokens::new(keys).ok_or_else(|| db::Error::corrupt("key", "token"))?;
        let last = store.last_position()?.ok_or_else(|| db::Error::corrupt("log", "end"))?;
        let last_version = last_version(&store, last)?;
        let (requests, reclassed) = read_together(&store)?;
        let fence = store.expiry_fence()?;
        let (began, stored) = (genesis::began(genesis.time), store.directory()?);
        let book = Book::open(&store, last, options.clock.now())?;
        let (membership, unread) = membership::begin(&store)?;
        let began_now = (last.seq().epoch(), options.clock.now());
        let (audit, appender) =
            Audit::open(&store, &genesis.trust_domain, began_now, options.checkpoint_every)?;
        let shared = Arc::new(Shared {
            membership,
            rosters: Rosters::load(&store, began, genesis.roster, &stored.generations)?,
            directory: ArcSwap::from_pointee(Directory::from_stored(stored, began)),
            assets: Register::load(&store)?,
            tail: Tail::new(last, options.ring_bytes),
            reclassed: parking_lot::RwLock::new(reclassed),
            expiries: Expiries::new(fence),
            history: History::load(&store)?,
            retaining: Turn::default(),
            fences: genesis::fences(&store).map_err(failed)?,
            sealer,
            tokens,
            clock: Arc::clone(&options.clock),
            machine: Arc::clone(&options.machine),
            ledger: ArcSwap::from_pointee(store.ledger()?),
            ledger_changes: tokio::sync::watch::Sender::new(0),
            first_uses: FirstUses::default(),
            signings: Signings::default(),
            attempts: Attempts::default(),
            anchors: ArcSwap::default(),
            in_force: ArcSwap::default(),
            in_force_changes: tokio::sync::watch::Sender::new(0),
            switchboard: OnceLock::new(),
            cursors: Cursors::default(),
            index: Indexed::of(&store)?,
            replaced: Replaced::default(),
            sighted: super::sighted::Sighted::default(),
            sums: super::aggregate::Kept::default(),
            totals: super::totals::Totals::of(&store)?,
            backlog: Backlog::default(),
            guard: ArcSwap::new(Arc::clone(&options.guard)),
            space: Space::new(Arc::clone(&options.volume), options.free_space_floor),
            latch: Latch::default(),
            audit,
            receipts: Receipts::default(),
            draining: CancellationToken::new(),
            counters: Counters::default(),
            suspected: secrecy::keyed(genesis.seal_key.expose()),
            trust_domain: genesis.trust_domain.clone(),
            reads: Arc::new(tokio::sync::Semaphore::new(MAX_READS)),
            gathering: Arc::new(tokio::sync::Semaphore::new(super::query::GATHERING)),
            budgets: Budgets::new(Quotas::clone(&options.quotas), Arc::clone(&options.stopwatch)),
            questions: Questions::default(),
            store,
        });
        let owed = Owed::load(&shared.store, &shared.directory.load(), options.debt_delay)?;
        let lanes = Arc::new(Lanes::new(options.max_waiting_bytes));
        let start = Start {
            next: last.seq().next(),
            last_version,
            fence,
            owed,
            unread,
            laying: Laying::new(appender),
            book,
        };
        let writer = Writer::new(Arc::clone(&shared), Arc::clone(&lanes), requests, start);
        start_writer(writer)?;
        Ok(Arc::new(Self { shared, lanes: Entrance(lanes), options, live: LiveStreams::default() }))
    }

    /// Trust domain of every identity here.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.shared.trust_domain
    }

    /// The hub's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Who the holder of a verified certificate is, with his roles of today.
    ///
    /// # Errors
    /// `PRINCIPAL_UNKNOWN`, `ORGANISATION_INACTIVE`, `CERTIFICATE_REVOKED`.
    pub fn authenticate(&self, peer: &PeerCertificate) -> Result<Caller, Error> {
        if peer.severed.is_cancelled() {
            return Err(Error::new(Reason::CertificateRevoked, "your certificate is no longer accepted"));
        }
        if let Some(refused) = self.shared.refuses(&peer.certificate) {
            return Err(refused);
        }
        let (org, roles) = self.shared.admit(&peer.identity)?;
        self.shared.note_use(&peer.certificate);
        let (identity, severed) = (peer.identity.clone(), peer.severed.clone());
        let (certificate, trail) = (peer.certificate.clone(), Trail::default());
        Ok(Caller { identity, org, roles, certificate, severed, trail })
    }

    /// Commits a probe record, to prove that the disk still takes writes and
    /// has room for more.
    ///
    /// # Errors
    /// `STORE_READ_ONLY`, `DRAINING`.
    pub async fn probe(&self) -> Result<(), Error> {
        self.shared.space.check()?;
        let (reply, answer) = oneshot::channel();
        if !self.lanes.0.probe(reply) {
            return Err(self.unanswered().await);
        }
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(self.unanswered().await),
        }
    }

    /// Why the store is read-only; `None`: it is not.
    #[must_use]
    pub fn latched(&self) -> Option<String> {
        self.shared.latch.reason()
    }

    /// Whether requests that write are taken.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        self.shared.latch.reason().is_none() && !self.shared.space.is_low()
    }

    /// Begins to go down in good order: subscribers get a last token, new
    /// requests are refused, what waits is still answered.
    pub fn begin_drain(&self) {
        self.shared.draining.cancel();
    }

    /// Writes what waits and stops the writer.
    pub async fn close(&self) {
        self.begin_drain();
        let (done, stopped) = oneshot::channel();
        if self.lanes.0.stop(Some(done)) {
            // The writer is gone either way.
            let _ = stopped.await;
        }
        self.lanes.0.gone().await;
    }

    /// What the engine can tell of itself.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let shared = &self.shared;
        let counted = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let tables: u64 = Family::ALL
            .into_iter()
            .filter_map(|family| shared.store.property(family, "rocksdb.total-sst-files-size"))
            .sum();
        let base = shared.history.base();
        // A record of its own, which nothing of the store is read for but itself.
        let truncated = shared.store.truncated().unwrap_or_default();
        Statistics {
            commits: counted(&shared.counters.commits),
            commit_micros: counted(&shared.counters.commit_micros),
            items: counted(&shared.counters.items),
            delivered: counted(&shared.counters.delivered),
            subscribers: counted(&shared.counters.subscribers),
            catch_ups: counted(&shared.counters.catch_ups),
            index_behind: entries(shared.index.upto(), shared.tail.committed()),
            merges_waiting: shared.backlog.waiting() as u64,
            merged_blocks: counted(&shared.counters.merged_blocks),
            ring_bytes: shared.tail.bytes() as u64,
            waiting_requests: self.lanes.0.waiting() as u64,
            waiting_bytes: self.lanes.0.taken() as u64,
            audience_classes: shared.directory.load().class_count() as u64,
            values_estimate: shared.store.values_about(),
            membership_bytes: shared.membership.bytes() as u64,
            membership_complete: shared.membership.is_complete(),
            standing_bytes: shared.replaced.bytes() as u64,
            standing_complete: shared.replaced.is_complete(),
            table_bytes: tables,
            history_begins: base.horizon.as_seconds(),
            truncation_behind: entries(truncated.upto, base.position),
            truncated_bytes: truncated.freed,
            dropped_records: truncated.dropped,
            receipts: counted(&shared.receipts.receipts),
            receipt_bytes: counted(&shared.receipts.bytes),
            receipts_begin: shared.store.receipts_begin().unwrap_or_default().time.as_seconds(),
            read_only: shared.latch.reason().is_some(),
            space_low: shared.space.is_low(),
            space_free: shared.space.free(),
        }
    }

    /// What was asked of the store since the start.
    #[must_use]
    pub fn store_calls(&self) -> crate::store::Calls {
        self.shared.store.calls()
    }

    /// Runs blocking `work` over the shared state on the pool for it.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.shared.read(|shared| work(shared)).await
    }
}

/// The hub takes and gives no more.
pub(super) fn draining() -> Error {
    Error {
        retry_after: Some(Duration::from_secs(1)),
        ..Error::new(Reason::Draining, "the hub is going down; try again on it or its successor in a moment")
    }
}

/// The answered requests, and the records whose class changed: both are read
/// whole, each by itself, and nobody is served before they are.
fn read_together(store: &Store) -> Result<(requests::Index, Reclassed), db::Error> {
    std::thread::scope(|scope| {
        let requests = scope.spawn(|| requests::Index::load(store));
        let reclassed = store.reclassed()?;
        let requests =
            requests.join().map_err(|_| db::Error::corrupt("requests", "the thread that reads them"))?;
        Ok((requests?, reclassed))
    })
}

fn start_writer(writer: Writer) -> Result<(), db::Error> {
    let failed = |source| db::Error::File { path: PathBuf::from("writer thread"), source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
    std::thread::Builder::new()
        .name("luytre-writer".to_owned())
        .spawn(move || runtime.block_on(writer.run()))
        .map_err(failed)?;
    Ok(())
}

/// Version of the last item: what the next one must be past.
pub(super) fn last_version(store: &Store, last: Position) -> Result<u64, db::Error> {
    let damaged = || db::Error::corrupt("chunk", last);
    let chunk = store.chunk_at(last)?.ok_or_else(damaged)?;
    let view = chunk.view().ok_or_else(damaged)?;
    let last = view.items().last().flatten().map(|item| item.header.version);
    Ok(last.unwrap_or(view.first_version))
}

/// The last entry number of the log.
pub(super) fn last_seq(store: &Store) -> Result<Seq, Error> {
    let last = store.last_position().map_err(store_error)?;
    last.map(Position::seq).ok_or_else(|| store_error(db::Error::corrupt("log", "end")))
}
