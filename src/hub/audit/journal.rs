//! Decides when audit records become durable: each waits for a commit group,
//! with which it is laid down in one write. What somebody waits for is written
//! at once, with all that came while the last write was under way.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, RwLock, watch};

use crate::base::clock::Timestamp;
use crate::base::digest::Keyed;
use crate::base::random;
use crate::base::secret::Secret;
use crate::model::audit::note::{SEED_BYTES, Signer};
use crate::model::audit::tree::{Grown, Hashes as _};
use crate::model::audit::{Checkpoint, Hash, Record, Tree, checkpoint, record};
use crate::store::audit::pack;
use crate::store::{Batch, Store, db};

/// How long a record that nobody waits for waits for company.
const DELAY: Duration = Duration::from_millis(100);
/// So many records are written without waiting for more.
const FULL: usize = 4_096;
/// While so many wait no answer leaves before its record is durable, whatever
/// it holds: a disk that stalls must not fill the memory.
const CROWDED: usize = 16 * FULL;
/// Of so many commits it is known which record got which number.
const REMEMBERED: usize = 256;

/// A record that waits, with its leaf.
type Waiting = (Vec<u8>, Hash);

/// Records that wait for a commit.
#[derive(Debug)]
pub struct Journal {
    pending: Mutex<Pending>,
    wake: Notify,
    urgent: Notify,
    written: watch::Sender<Written>,
}

#[derive(Debug, Default)]
struct Pending {
    records: Vec<Waiting>,
    /// Number of the last record noted.
    noted: u64,
    /// Whether nothing is taken any more.
    closed: bool,
}

/// Records that were laid down together.
#[derive(Debug, Clone, Copy)]
struct Laid {
    /// The last of them, among those noted.
    upto: u64,
    count: u64,
    /// The first of them, in the audit.
    first: u64,
}

/// How far the records are durable.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    upto: u64,
    closed: bool,
}

/// Records taken out for a commit.
#[derive(Debug, Default)]
pub struct Taken {
    records: Vec<Waiting>,
    noted: u64,
}

/// What was noted will not become durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost;

impl Default for Journal {
    fn default() -> Self {
        Self {
            pending: Mutex::default(),
            wake: Notify::new(),
            urgent: Notify::new(),
            written: watch::Sender::default(),
        }
    }
}

impl Journal {
    /// Notes a record, and returns its number for [`Self::durable`].
    pub fn note(&self, record: &Record) -> u64 {
        let encoded = record.encode();
        let leaf = Record::leaf(&encoded);
        let mut pending = self.pending.lock();
        pending.noted += 1;
        let (number, full) = (pending.noted, pending.records.len() >= FULL);
        if !pending.closed {
            pending.records.push((encoded, leaf));
        }
        drop(pending);
        if full {
            self.urgent.notify_one()
        } else {
            self.wake.notify_one()
        }
        number
    }

    /// Resolves once the record of this number is durable.
    ///
    /// # Errors
    /// [`Lost`]: it will not be.
    pub async fn durable(&self, number: u64) -> Result<(), Lost> {
        self.urgent.notify_one();
        let mut written = self.written.subscribe();
        let reached = written.wait_for(|written| written.upto >= number || written.closed).await;
        reached.ok().filter(|written| written.upto >= number).map(|_| ()).ok_or(Lost)
    }

    /// Resolves once all that was noted is durable, or will not be.
    pub async fn flush(&self) {
        let noted = self.pending.lock().noted;
        // What is lost is told to whoever waits for it.
        let _ = self.durable(noted).await;
    }

    /// Whether more wait than are to.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.pending.lock().records.len() >= CROWDED
    }

    /// Resolves when what waits is waited for, or is much.
    pub async fn urgent(&self) {
        self.urgent.notified().await;
    }

    /// Resolves when what waits is to be written.
    pub async fn due(&self) {
        tokio::select! {
            biased;
            () = self.urgent() => {}
            () = async { self.wake.notified().await; tokio::time::sleep(DELAY).await } => {}
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.lock().records.is_empty()
    }

    /// Takes what waits, for a commit.
    #[must_use]
    pub fn take(&self) -> Taken {
        let mut pending = self.pending.lock();
        Taken { records: std::mem::take(&mut pending.records), noted: pending.noted }
    }

    /// Tells that what was taken is durable.
    pub fn committed(&self, taken: &Taken) {
        self.written.send_if_modified(|written| {
            let moved = taken.noted > written.upto;
            written.upto = written.upto.max(taken.noted);
            moved
        });
    }

    /// Nothing is written any more, and nothing that waits will be.
    pub fn close(&self) {
        let mut pending = self.pending.lock();
        pending.closed = true;
        pending.records.clear();
        drop(pending);
        self.written.send_modify(|written| written.closed = true);
    }
}

/// The audit: what waits, how much there is, and who signs it.
pub struct Audit {
    /// Records that wait.
    pub journal: Journal,
    /// Number of records that are durable.
    size: AtomicU64,
    signer: Signer,
    /// Digests what is asked about.
    keyed: Keyed,
    /// Least time between two checkpoints for members.
    pub every: Duration,
    /// Held by whoever reads the log as a whole; who cuts it waits for none.
    pub(super) whole: Arc<RwLock<()>>,
    /// What was laid down of late, newest first.
    laid: Mutex<VecDeque<Laid>>,
    /// The newest checkpoint, and when it was made.
    pub(super) newest: Mutex<Option<(Instant, Checkpoint, String)>>,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Audit({:?}, {} records)", self.signer, self.size())
    }
}

impl Audit {
    /// The audit in the store, and what goes on with it; makes its key where
    /// there is none, and notes where a history epoch has begun since.
    pub fn open(
        store: &Store,
        trust_domain: &str,
        (epoch, now): (u16, Timestamp),
        every: Duration,
    ) -> Result<(Self, Appender), db::Error> {
        let size = store.audit_size()?;
        let tree = Tree::resume(size, |level, index, width| store.tile(level, index, width))?;
        let mut appender = Appender { tree };
        let (known, noted) = (store.audit_key()?, store.audit_epoch()?);
        let seed = Secret::new(known.clone().unwrap_or_else(|| random::bytes::<SEED_BYTES>().to_vec()));
        let mut batch = Batch::new(store);
        if known.is_none() {
            batch.audit_key(seed.expose())?;
        }
        if noted != Some(epoch) {
            batch.audit_epoch(epoch)?;
            if noted.is_some() {
                let about = format!("history epoch {epoch} began, from a backup");
                let note = Record { asked: epoch.into(), about, ..Record::note(record::RESTORED, now) };
                appender.append(&mut batch, &[note.encode()], &Taken::default())?;
            }
        }
        if !batch.is_empty() {
            store.commit(batch)?;
        }
        let origin = checkpoint::origin(trust_domain, epoch);
        let signer = Signer::new(&origin, &seed).ok_or_else(|| db::Error::corrupt("key", "audit"))?;
        let keyed = Keyed::new(seed.expose(), "luytre: values that were looked up");
        let size = AtomicU64::new(appender.size());
        let (journal, newest, whole, laid) = Default::default();
        Ok((Self { journal, size, signer, keyed, every, whole, laid, newest }, appender))
    }

    /// Number of records that are durable.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// So many records, up to the one noted under `upto`, are laid down from
    /// number `first` on.
    pub fn laid(&self, taken: &Taken, first: u64) {
        let count = taken.records.len() as u64;
        if count > 0 {
            let mut laid = self.laid.lock();
            laid.truncate(REMEMBERED - 1);
            laid.push_front(Laid { upto: taken.noted, count, first });
        }
    }

    /// Number in the audit of the record that was noted under `number`, if it
    /// was laid down of late.
    #[must_use]
    pub fn index_of(&self, number: u64) -> Option<u64> {
        let laid = self.laid.lock();
        let holds = |laid: &&Laid| number <= laid.upto && laid.upto - number < laid.count;
        laid.iter().find(holds).map(|laid| laid.first + laid.count - 1 - (laid.upto - number))
    }

    /// Who signs.
    #[must_use]
    pub const fn signer(&self) -> &Signer {
        &self.signer
    }

    /// What digests values that are asked about.
    #[must_use]
    pub const fn keyed(&self) -> &Keyed {
        &self.keyed
    }

    /// So many records are durable now.
    pub fn grew(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }
}

/// What the writer goes on with.
#[derive(Debug, Default)]
pub struct Appender {
    tree: Tree,
}

impl Appender {
    /// Number of records.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Lays down records of a commit group, encoded, and those that waited.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn append(&mut self, batch: &mut Batch<'_>, own: &[Vec<u8>], taken: &Taken) -> Result<(), db::Error> {
        if own.is_empty() && taken.records.is_empty() {
            return Ok(());
        }
        let first = self.tree.size();
        let mut grown: Vec<Grown> = Vec::new();
        let leaves =
            own.iter().map(|record| Record::leaf(record)).chain(taken.records.iter().map(|(_, leaf)| *leaf));
        for leaf in leaves {
            self.tree.push(leaf, &mut grown);
        }
        let records = own.iter().chain(taken.records.iter().map(|(record, _)| record));
        batch.audit(first, &pack(records.map(Vec::as_slice)), &grown)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::hub::testing;

    #[tokio::test]
    async fn what_is_waited_for_is_urgent_and_answered_once_it_is_durable() {
        let journal = Journal::default();
        let number = journal.note(&Record::note("x", Timestamp::EPOCH));
        let mut durable = std::pin::pin!(journal.durable(number));
        assert!(durable.as_mut().now_or_never().is_none());
        assert!(journal.due().now_or_never().is_some(), "somebody waits");
        let taken = journal.take();
        let later = journal.note(&Record::note("x", Timestamp::EPOCH));
        journal.committed(&taken);
        assert_eq!(durable.await, Ok(()));
        assert!(journal.durable(later).now_or_never().is_none());
        journal.close();
        assert_eq!(journal.durable(later).await, Err(Lost));
        assert!(journal.is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_record_is_found_in_the_audit_under_the_number_that_is_told_of_it() {
        let (_dir, hub, _) = testing::hub(&["a"]);
        let audit = &hub.shared.audit;
        let mut noted = Vec::new();
        for n in 0..200 {
            let record = Record { about: format!("the {n}th"), ..Record::note("x", Timestamp::EPOCH) };
            noted.push((audit.journal.note(&record), record));
            if n % 7 == 0 {
                audit.journal.flush().await;
            }
        }
        assert_eq!(audit.index_of(noted[199].0), None, "it is not laid down yet");
        audit.journal.flush().await;
        for (number, record) in noted {
            let index = audit.index_of(number).unwrap();
            let mut found = None;
            let each = |_, encoded: &[u8]| {
                found = Record::decode(encoded);
                true
            };
            hub.shared.store.audit_records(index, index + 1, each).unwrap();
            assert_eq!(found, Some(record));
        }
        assert_eq!(audit.index_of(0), None, "no record has this number");
        hub.close().await;
    }
}
