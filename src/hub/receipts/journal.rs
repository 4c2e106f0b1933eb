//! Decides when receipts are written: with the first commit group after a short
//! while, or alone soon after, and at once where somebody waits for it. Never a
//! write for an event.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, watch};

use crate::base::clock::{self, Timestamp};
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::model::receipt::{Told, Way};
use crate::store::receipts::Party;

use super::stream::Stream;

/// How long receipts wait at most.
pub const DELAY: Duration = Duration::from_millis(100);
/// How long they wait before they go with a commit group: a hub that commits
/// hundreds of groups a second writes no block with each.
const COMPANY: Duration = Duration::from_millis(50);
/// Entries that wait, about 24 bytes each, past which nothing more is handed
/// over until they are written.
const MAX_WAITING: usize = 2_000_000;

/// Receipts that wait for a commit.
#[derive(Debug)]
pub struct Receipts {
    pending: Mutex<Pending>,
    wake: Notify,
    written: watch::Sender<Written>,
    waiting: AtomicUsize,
    /// Receipts written since the start.
    pub receipts: AtomicU64,
    /// Bytes that they took.
    pub bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Pending {
    ready: Vec<Noted>,
    /// Streams whose acknowledgements wait, each for what is ready of it.
    acking: Vec<Arc<Stream>>,
    /// Streams that have gathered something.
    open: Vec<Arc<Stream>>,
    /// Since when the oldest of these waits.
    oldest: Option<Instant>,
    /// Whether somebody waits for all of it.
    urgent: bool,
    /// Number of the last take that was asked for.
    asked: u64,
    closed: bool,
}

/// How far receipts are durable.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    takes: u64,
    upto: u64,
    closed: bool,
}

/// A receipt that waits.
#[derive(Debug)]
pub struct Noted {
    /// Who received.
    pub party: Arc<Party>,
    /// In which way.
    pub way: Way,
    /// When.
    pub time: Timestamp,
    /// Number of the audit's record among those noted in this run of the hub.
    pub audit: Option<u64>,
    /// What.
    pub told: Told,
    /// Up to where was acknowledged, for [`Way::Acknowledged`].
    pub acked: Option<Position>,
}

/// Receipts taken out for a commit.
#[derive(Debug, Default)]
pub struct Taken {
    /// In order, as far as they are of one party.
    pub receipts: Vec<Noted>,
    /// Number of the last take that this one answers.
    upto: u64,
    weight: usize,
}

impl Taken {
    fn of(receipts: Vec<Noted>, upto: u64) -> Self {
        let weight = receipts.iter().map(|noted| noted.told.weight() + usize::from(noted.acked.is_some()));
        Self { weight: weight.sum(), receipts, upto }
    }
}

impl Default for Receipts {
    fn default() -> Self {
        Self {
            pending: Mutex::default(),
            wake: Notify::new(),
            written: watch::Sender::default(),
            waiting: AtomicUsize::new(0),
            receipts: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }
}

impl Receipts {
    /// A stream hands this over.
    pub fn deliver(&self, stream: &Arc<Stream>, way: Way, told: Told, now: Timestamp) {
        if told.is_empty() || self.is_closed() {
            return;
        }
        if stream.add(way, told, now, &self.waiting) {
            self.note(|pending| pending.open.push(Arc::clone(stream)));
        }
    }

    /// A stream's client acknowledges, up to a position if there is one to tell.
    /// What it was delivered before is on record no later than that. However
    /// often it does, one acknowledgement waits.
    pub fn acknowledge(&self, stream: &Arc<Stream>, position: Option<Position>, now: Timestamp) {
        self.note(|pending| {
            // What no position says acknowledges nothing that came after one.
            if position.is_some() || !stream.is_acking() {
                stream.take(false, &mut pending.ready);
            }
            if position.is_some_and(|position| stream.acknowledge(position, now)) {
                self.waiting.fetch_add(1, Ordering::Relaxed);
                pending.acking.push(Arc::clone(stream));
            }
        });
    }

    /// An answer holds this.
    pub fn answer(&self, noted: Noted) {
        self.note(|pending| {
            self.waiting.fetch_add(noted.told.weight(), Ordering::Relaxed);
            pending.ready.push(noted);
        });
    }

    /// Whether nothing is taken any more.
    fn is_closed(&self) -> bool {
        self.written.borrow().closed
    }

    fn note(&self, note: impl FnOnce(&mut Pending)) {
        let mut pending = self.pending.lock();
        if pending.closed {
            return;
        }
        note(&mut pending);
        let first = pending.oldest.is_none();
        pending.oldest.get_or_insert_with(clock::monotonic);
        drop(pending);
        if first {
            self.wake.notify_one();
        }
    }

    /// Resolves when what waits is to be written without company.
    pub async fn due(&self) {
        loop {
            let (urgent, oldest) = {
                let pending = self.pending.lock();
                (pending.urgent, pending.oldest)
            };
            match oldest {
                _ if urgent => return,
                None => self.wake.notified().await,
                Some(oldest) => tokio::select! {
                    () = tokio::time::sleep_until((oldest + DELAY).into()) => return,
                    () = self.wake.notified() => {}
                },
            }
        }
    }

    /// Takes what goes with a commit: all of it once it has waited a while. With
    /// cursors that were `acked` goes what is ready, and what other streams of
    /// the same subscriptions gathered, for nobody is told that he has
    /// acknowledged what he never got. What a stream is delivered after its
    /// acknowledgement stands behind it.
    #[must_use]
    pub fn take(&self, acked: bool) -> Taken {
        let mut pending = self.pending.lock();
        let ripe = pending.oldest.is_some_and(|oldest| oldest.elapsed() >= COMPANY);
        if !(ripe || pending.urgent || acked) {
            return Taken::default();
        }
        let mut receipts = std::mem::take(&mut pending.ready);
        let acking = std::mem::take(&mut pending.acking);
        receipts.extend(acking.iter().filter_map(|stream| stream.take_ack()));
        if ripe || pending.urgent {
            for stream in pending.open.drain(..) {
                stream.take(true, &mut receipts);
            }
            (pending.oldest, pending.urgent) = (None, false);
            return Taken::of(receipts, pending.asked);
        }
        let named: FxHashMap<_, _> = acking.iter().map(|stream| (name_of(stream), stream)).collect();
        pending.open.retain(|stream| {
            let others = named.get(&name_of(stream)).is_some_and(|acking| !Arc::ptr_eq(acking, stream));
            if others {
                stream.take(true, &mut receipts);
            }
            !others
        });
        if pending.open.is_empty() {
            pending.oldest = None;
        }
        Taken::of(receipts, 0)
    }

    /// Tells that what was taken is durable.
    pub fn committed(&self, taken: &Taken, (receipts, bytes): (u64, u64)) {
        let less = |waiting: usize| Some(waiting.saturating_sub(taken.weight));
        // It never refuses. A journal that was closed meanwhile counts nothing.
        let _ = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.receipts.fetch_add(receipts, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let moved = taken.weight > 0 || taken.upto > self.written.borrow().upto;
        if moved {
            self.written.send_modify(|written| {
                written.takes += 1;
                written.upto = written.upto.max(taken.upto);
            });
        }
    }

    /// Everything that waits is written as soon as can be.
    pub fn hurry(&self) -> u64 {
        let mut pending = self.pending.lock();
        pending.urgent = !pending.closed;
        pending.asked += 1;
        let number = pending.asked;
        drop(pending);
        self.wake.notify_one();
        number
    }

    /// Resolves once all that was noted is durable, or will not be.
    pub async fn flush(&self) {
        let number = self.hurry();
        let mut written = self.written.subscribe();
        // The sender is as old as whoever waits.
        let _ = written.wait_for(|written| written.upto >= number || written.closed).await;
    }

    /// Resolves once there is room for more to wait.
    pub async fn room(&self) {
        let full = || self.waiting.load(Ordering::Relaxed) >= MAX_WAITING;
        if full() {
            let mut written = self.written.subscribe();
            let _ = written.wait_for(|written| written.closed || !full()).await;
        }
    }

    /// Whether nothing waits to be durable.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.lock().oldest.is_none()
    }

    /// Nothing is written any more, and nothing that waits will be.
    pub fn close(&self) {
        let mut pending = self.pending.lock();
        *pending = Pending { closed: true, ..Pending::default() };
        drop(pending);
        self.waiting.store(0, Ordering::Relaxed);
        self.written.send_modify(|written| written.closed = true);
    }
}

/// Whose stream it is, and of which name.
fn name_of(stream: &Stream) -> (&SpiffeId, &str) {
    let Party { principal, subscription, .. } = &**stream.party();
    (principal, subscription)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn stream() -> Arc<Stream> {
        Stream::new(Party {
            principal: SpiffeId::parse("spiffe://t.example/org/a/system/feed").unwrap(),
            serial: "0a".to_owned(),
            streams: true,
            subscription: "fw".to_owned(),
            audit: None,
        })
    }

    fn born(first: u64) -> Told {
        let mut told = Told::default();
        told.born(Position::from_raw(first), 1);
        told
    }

    #[tokio::test]
    async fn what_somebody_waits_for_is_due_at_once_and_he_hears_once_it_is_durable() {
        let receipts = Receipts::default();
        assert!(receipts.due().now_or_never().is_none(), "nothing waits");
        receipts.deliver(&stream(), Way::Delivered, born(5), Timestamp::EPOCH);
        let mut flushed = std::pin::pin!(receipts.flush());
        assert!(flushed.as_mut().now_or_never().is_none());
        assert!(receipts.due().now_or_never().is_some());
        let taken = receipts.take(false);
        assert_eq!(taken.receipts.len(), 1);
        assert!(flushed.as_mut().now_or_never().is_none(), "taken is not written");
        receipts.committed(&taken, (1, 9));
        assert!(flushed.now_or_never().is_some());
        assert!(receipts.is_empty());
    }

    #[test]
    fn what_was_delivered_stands_before_what_acknowledges_it() {
        let (receipts, stream) = (Receipts::default(), stream());
        receipts.deliver(&stream, Way::Recalled, born(2), Timestamp::EPOCH);
        receipts.deliver(&stream, Way::Delivered, born(5), Timestamp::EPOCH);
        receipts.acknowledge(&stream, Some(Position::from_raw(5)), Timestamp::EPOCH);
        receipts.deliver(&stream, Way::Delivered, born(9), Timestamp::EPOCH);
        let ways = |taken: Taken| taken.receipts.iter().map(|noted| noted.way).collect::<Vec<_>>();
        let acked = [Way::Recalled, Way::Delivered, Way::Acknowledged];
        assert_eq!(ways(receipts.take(true)), acked, "with the cursor, and not what came after");
        receipts.hurry();
        assert_eq!(ways(receipts.take(false)), [Way::Delivered]);
        (0..9).for_each(|n| receipts.acknowledge(&stream, Some(Position::from_raw(n)), Timestamp::EPOCH));
        let taken = receipts.take(true);
        assert_eq!(taken.receipts.len(), 1, "however often, it acknowledges once: {taken:?}");
        receipts.acknowledge(&stream, Some(Position::from_raw(8)), Timestamp::EPOCH);
        assert!(receipts.take(true).receipts.is_empty(), "what is acknowledged already is not again");
        receipts.deliver(&stream, Way::Delivered, born(11), Timestamp::EPOCH);
        receipts.hurry();
        assert_eq!(ways(receipts.take(false)), [Way::Delivered], "a stream that was taken is heard of again");
        receipts.close();
        receipts.deliver(&stream, Way::Delivered, born(12), Timestamp::EPOCH);
        assert!(receipts.is_empty(), "of a store that takes nothing nothing waits");
    }

    #[test]
    fn what_another_stream_of_a_subscription_gathered_is_no_later_than_its_acknowledgement() {
        let receipts = Receipts::default();
        let [displaced, newer] = [stream(), stream()];
        let other = Stream::new(Party { subscription: "siem".to_owned(), ..(**newer.party()).clone() });
        for stream in [&displaced, &newer, &other] {
            receipts.deliver(stream, Way::Delivered, born(5), Timestamp::EPOCH);
        }
        receipts.acknowledge(&newer, Some(Position::from_raw(5)), Timestamp::EPOCH);
        let taken = receipts.take(true);
        let of: Vec<_> = taken.receipts.iter().map(|noted| Arc::as_ptr(&noted.party)).collect();
        let [newer, displaced] = [newer, displaced].map(|stream| Arc::as_ptr(stream.party()));
        assert_eq!(of, [newer, newer, displaced], "and nothing of another subscription");
    }

    #[test]
    fn what_waits_is_counted_as_it_is_kept_and_no_more_once_it_is_written() {
        let (receipts, stream) = (Receipts::default(), stream());
        (0..1_000).for_each(|n| receipts.deliver(&stream, Way::Delivered, born(n), Timestamp::EPOCH));
        assert_eq!(receipts.waiting.load(Ordering::Relaxed), 1, "neighbours are one run");
        receipts.acknowledge(&stream, None, Timestamp::EPOCH);
        receipts.acknowledge(&stream, Some(Position::from_raw(7)), Timestamp::EPOCH);
        receipts.deliver(&stream, Way::Delivered, born(5_000), Timestamp::EPOCH);
        receipts.committed(&receipts.take(true), (2, 0));
        receipts.hurry();
        receipts.committed(&receipts.take(false), (1, 0));
        assert_eq!(receipts.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn past_so_many_nothing_is_handed_over_until_some_are_written() {
        let (receipts, stream) = (Receipts::default(), stream());
        let mut told = Told::default();
        (0..MAX_WAITING as u64).for_each(|n| told.born(Position::from_raw(2 * n), 1));
        receipts.deliver(&stream, Way::Delivered, told, Timestamp::EPOCH);
        let mut room = std::pin::pin!(receipts.room());
        assert!(room.as_mut().now_or_never().is_none());
        receipts.hurry();
        receipts.committed(&receipts.take(false), (1, 0));
        room.await;
    }
}
