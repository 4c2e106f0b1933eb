//! Decides what a subscriber is sent and when: from the ring while it keeps
//! up, from the log when it does not, never more than its credit, and a slow
//! one costs a cursor, not memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::base::{clock, tasks};
use crate::model::event::EventKind;
use crate::model::invalid;
use crate::model::position::Position;
use crate::policy::access::{self, Method};
use crate::store::chunk::View;
use crate::store::subscription::Subscription;
use crate::wire::event;
use crate::wire::frame::{Batch, Frame};
use crate::wire::token::{Place, Use};

use super::caller::Caller;
use super::error::{Error, Reason};
use super::select::{Selection, Whole};
use super::shared::Shared;
use super::store_error;
use super::subscribe::LiveStreams;
use super::tail::Read;

/// A batch is sent once its bodies reach this many bytes.
const BATCH_BYTES: usize = 256 << 10;
/// Bytes of the log looked at before the pump listens again.
const SCAN_BYTES: usize = 4 << 20;
/// How long a draining hub waits for a subscriber to take its final token.
const LAST_WORD: Duration = Duration::from_secs(5);
/// How long a look at the caller's standing holds.
const ADMISSION: Duration = Duration::from_secs(1);
/// Most credit that adds up.
const MAX_CREDIT: u64 = 1_000_000_000;

/// What a subscriber says after Open.
#[derive(Debug, Clone)]
pub enum Command {
    /// It can take this many more events.
    Credit(u64),
    /// Everything up to this token is its to keep.
    Ack(Bytes),
}

/// A stream of a named subscription.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) record: Option<Subscription>,
    pub(super) displaced: CancellationToken,
    pub(super) live: LiveStreams,
}

/// Streams one subscription.
#[derive(Debug)]
pub struct Pump {
    shared: Arc<Shared>,
    caller: Caller,
    selection: Arc<Selection>,
    digest: [u8; 32],
    named: Option<Named>,
    cursor: Position,
    credit: u64,
    heartbeat: Duration,
    /// Number of the noted cursor change that waits to be durable, and token.
    acking: Option<(u64, Bytes)>,
    /// When the caller's standing was last looked at.
    admitted: Instant,
}

/// Why a pump ends without an error for its subscriber.
struct Gone;

/// What one look at the log brought.
struct Looked {
    batch: Batch,
    cursor: Position,
    caught_up: bool,
}

impl Pump {
    #[expect(clippy::too_many_arguments, reason = "made in one place, from what was decided there")]
    pub(super) fn new(
        shared: Arc<Shared>,
        caller: Caller,
        selection: Selection,
        digest: [u8; 32],
        named: Option<Named>,
        start: Position,
        credit: u64,
        heartbeat: Duration,
    ) -> Self {
        shared.counters.subscribers.fetch_add(1, Ordering::Relaxed);
        let (selection, cursor, credit) = (Arc::new(selection), start, credit.min(MAX_CREDIT));
        Self {
            shared,
            caller,
            selection,
            digest,
            named,
            cursor,
            credit,
            heartbeat,
            acking: None,
            admitted: clock::monotonic(),
        }
    }

    fn purpose(&self) -> Use<'_> {
        let subscription = self.named.as_ref().map(|named| named.name.as_str()).unwrap_or_default();
        Use::Resume { subscription, filter: &self.digest }
    }

    /// The token that resumes where the pump stands.
    ///
    /// # Errors
    /// If the AEAD refuses, which its inputs give no reason for.
    pub fn token(&self) -> Result<Bytes, Error> {
        let place = Place { position: self.cursor, origin: Position::ZERO };
        let org = self.caller.identity().org();
        let token = self.shared.tokens.seal(org, self.purpose(), place).map_err(Error::internal)?;
        Ok(token.into())
    }

    /// Streams until the client goes, the hub drains, a newer stream of the
    /// same name displaces this one, or an error.
    pub async fn run(
        mut self,
        mut commands: mpsc::Receiver<Result<Command, Error>>,
        out: mpsc::Sender<Result<Frame, Error>>,
    ) {
        let result = self.stream(&mut commands, &out).await;
        if let Err(error) = result {
            // A client that is gone does not hear why.
            let _ = out.send(Err(error)).await;
        }
    }

    async fn stream(
        &mut self,
        commands: &mut mpsc::Receiver<Result<Command, Error>>,
        out: &mpsc::Sender<Result<Frame, Error>>,
    ) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let mut committed = shared.tail.watch();
        let mut written = shared.cursors.watch();
        let displaced = self.named.as_ref().map(|named| named.displaced.clone()).unwrap_or_default();
        let mut heartbeat = ticker(self.heartbeat);
        let mut open = true;
        loop {
            if shared.draining.is_cancelled() {
                // A busy subscriber gets its final token too, once it has
                // taken what is on the way; one that reads nothing does not
                // hold up the end.
                let last = out.send(Ok(Frame::Draining(self.token()?)));
                let _ = tokio::time::timeout(LAST_WORD, last).await;
                return Ok(());
            }
            self.check(&displaced)?;
            let mut caught_up = true;
            if self.credit > 0 {
                committed.mark_unchanged();
                let looked = self.look().await?;
                self.cursor = looked.cursor;
                caught_up = looked.caught_up;
                if looked.batch.count() > 0 {
                    heartbeat.reset();
                    if self.send_batch(out, &displaced, looked.batch).await?.is_err() {
                        return Ok(());
                    }
                }
                while let Ok(command) = commands.try_recv() {
                    self.obey(command?)?;
                }
            } else if !open {
                return Ok(());
            }
            if !caught_up && self.credit > 0 {
                if out.is_closed() {
                    return Ok(());
                }
                // A long look at what the filter passes over is progress too.
                if heartbeat.tick().now_or_never().is_some() {
                    let frame = Frame::Heartbeat(self.token()?);
                    if self.send(out, &displaced, frame).await?.is_err() {
                        return Ok(());
                    }
                }
                tokio::task::yield_now().await;
                continue;
            }
            let waiting = self.credit > 0;
            let acking = self.acking.as_ref().map(|(number, _)| *number);
            tokio::select! {
                () = shared.draining.cancelled() => {}
                () = displaced.cancelled() => {}
                () = out.closed() => return Ok(()),
                command = commands.recv(), if open => match command {
                    Some(command) => self.obey(command?)?,
                    None => open = false,
                },
                changed = committed.changed(), if waiting => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                durable = reached(&mut written, acking), if acking.is_some() => {
                    durable?;
                    let Some((_, token)) = self.acking.take() else { continue };
                    if self.send(out, &displaced, Frame::Acked(token)).await?.is_err() {
                        return Ok(());
                    }
                }
                _ = heartbeat.tick() => {
                    let frame = Frame::Heartbeat(self.token()?);
                    if self.send(out, &displaced, frame).await?.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn check(&mut self, displaced: &CancellationToken) -> Result<(), Error> {
        if self.caller.is_severed() {
            return Err(Error::new(Reason::CertificateRevoked, "your certificate is no longer accepted"));
        }
        if displaced.is_cancelled() {
            return Err(displaced_error());
        }
        if self.admitted.elapsed() > ADMISSION {
            // Roles and organisations have dates, and may end under a stream.
            let (_, roles) = self.shared.admit(self.caller.identity())?;
            if !access::allowed(Method::Subscribe, roles) {
                return Err(Error::new(
                    Reason::RoleInsufficient,
                    "your role no longer allows subscribing; ask the hub's operator",
                ));
            }
            self.admitted = clock::monotonic();
        }
        Ok(())
    }

    async fn send_batch(
        &mut self,
        out: &mpsc::Sender<Result<Frame, Error>>,
        displaced: &CancellationToken,
        mut batch: Batch,
    ) -> Result<Result<(), Gone>, Error> {
        let count = batch.count() as u64;
        batch.set_token(self.token()?);
        self.credit = self.credit.saturating_sub(count);
        let sent = self.send(out, displaced, Frame::Batch(batch)).await?;
        if sent.is_ok() {
            self.shared.counters.delivered.fetch_add(count, Ordering::Relaxed);
        }
        Ok(sent)
    }

    /// Sends a frame, waiting as long as the client takes, unless the stream
    /// is displaced meanwhile.
    async fn send(
        &self,
        out: &mpsc::Sender<Result<Frame, Error>>,
        displaced: &CancellationToken,
        frame: Frame,
    ) -> Result<Result<(), Gone>, Error> {
        tokio::select! {
            biased;
            sent = out.send(Ok(frame)) => Ok(sent.map_err(|_| Gone)),
            () = displaced.cancelled() => Err(displaced_error()),
        }
    }

    fn obey(&mut self, command: Command) -> Result<(), Error> {
        match command {
            Command::Credit(events) => {
                self.credit = self.credit.saturating_add(events).min(MAX_CREDIT);
                Ok(())
            }
            Command::Ack(token) => self.ack(token),
        }
    }

    fn ack(&mut self, token: Bytes) -> Result<(), Error> {
        let org = self.caller.identity().org();
        let invalid = || {
            Error::new(
                Reason::ResumeTokenInvalid,
                "acknowledge with a resume_token that was received on this stream",
            )
        };
        let place = self.shared.tokens.open(org, self.purpose(), &token).map_err(|_| invalid())?;
        if place.position > self.cursor {
            return Err(invalid());
        }
        let now = self.shared.clock.now();
        let Some(named) = &mut self.named else {
            return Err(Error::new(
                Reason::Input(invalid::Reason::FieldInvalid),
                "only a named subscription keeps acknowledgements; open it with a name, or keep the token yourself",
            ));
        };
        if let Some(record) = &mut named.record {
            record.cursor = record.cursor.max(place.position);
            record.acked = Some(now);
            let note = || self.shared.cursors.note(self.caller.org(), &named.name, Some(record.encode()));
            let number = named.live.unless_displaced(&named.displaced, note).ok_or_else(displaced_error)?;
            self.acking = Some((number, token));
        }
        Ok(())
    }

    /// Looks at what follows the cursor: in the ring, else in the log.
    async fn look(&self) -> Result<Looked, Error> {
        match self.shared.tail.read(self.cursor, BATCH_BYTES) {
            Read::Chunks(chunks) => {
                let mut look = Look::new(&self.shared, &self.selection, self.cursor, self.credit);
                for chunk in &chunks {
                    let view = chunk.view().ok_or_else(|| super::fetch::damaged(chunk.first))?;
                    if !look.take(&view, &|range| chunk.bytes.slice(range))? {
                        return Ok(look.finish(false));
                    }
                }
                Ok(look.finish(chunks.is_empty()))
            }
            Read::Behind => {
                self.shared.counters.catch_ups.fetch_add(1, Ordering::Relaxed);
                let (shared, selection) = (Arc::clone(&self.shared), Arc::clone(&self.selection));
                let (cursor, credit) = (self.cursor, self.credit);
                let _place = self.shared.reads.acquire().await.map_err(Error::internal)?;
                tasks::spawn_blocking(move || scan(&shared, &selection, cursor, credit))
                    .await
                    .map_err(Error::internal)?
            }
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.shared.counters.subscribers.fetch_sub(1, Ordering::Relaxed);
        if let Some(named) = &self.named {
            named.live.leave(self.caller.org(), &named.name, &named.displaced);
        }
    }
}

/// Resolves once the cursor change of this number is durable.
async fn reached(written: &mut watch::Receiver<u64>, number: Option<u64>) -> Result<(), Error> {
    let reached = written.wait_for(|written| number.is_some_and(|number| *written >= number)).await;
    reached.map(|_| ()).map_err(Error::internal)
}

fn displaced_error() -> Error {
    Error::new(
        Reason::SubscriptionDisplaced,
        "a newer stream of this subscription took over, or it was deleted; use one stream per name",
    )
}

fn ticker(period: Duration) -> Interval {
    let mut ticker = tokio::time::interval(period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker.reset();
    ticker
}

/// Reads the log after `cursor` until a batch is full.
fn scan(shared: &Arc<Shared>, selection: &Selection, cursor: Position, credit: u64) -> Result<Looked, Error> {
    // The end comes first: a directory that is taken after it knows every
    // audience class up to it, and none is taken for unknown and passed over.
    let end = shared.tail.committed();
    let mut look = Look::new(shared, selection, cursor, credit);
    let mut scan = shared.store.scan(cursor).map_err(store_error)?;
    let mut read = 0;
    while read < SCAN_BYTES {
        let Some((first, bytes)) = scan.peek().map_err(store_error)? else {
            return Ok(look.finish(true));
        };
        if first > end {
            // Written, but not yet known to be durable.
            return Ok(look.finish(true));
        }
        let view = View::parse(first, bytes).ok_or_else(|| super::fetch::damaged(first))?;
        let copy =
            |range: std::ops::Range<usize>| Bytes::copy_from_slice(bytes.get(range).unwrap_or_default());
        if !look.take(&view, &copy)? {
            break;
        }
        read += bytes.len();
        scan.advance();
    }
    Ok(look.finish(false))
}

/// A look at consecutive chunks, filling one batch.
struct Look<'a> {
    shared: &'a Shared,
    selection: &'a Selection,
    directory: Arc<super::directory::Directory>,
    batch: Batch,
    cursor: Position,
    credit: u64,
}

impl<'a> Look<'a> {
    fn new(shared: &'a Shared, selection: &'a Selection, cursor: Position, credit: u64) -> Self {
        let directory = shared.directory.load_full();
        Self { shared, selection, directory, batch: Batch::new(), cursor, credit }
    }

    /// Takes in a chunk; `slice` gives shared bytes of it. Returns whether
    /// the batch has room for more.
    fn take(
        &mut self,
        view: &View<'_>,
        slice: &dyn Fn(std::ops::Range<usize>) -> Bytes,
    ) -> Result<bool, Error> {
        let last = view.last_position();
        if last <= self.cursor {
            return Ok(true);
        }
        let reclassed = self.shared.reclassed.read();
        let touched = reclassed.range(view.first..=last).next().is_some();
        let count = u64::from(view.count);
        let left = self.credit - self.batch.count() as u64;
        match self.selection.whole(view, &self.directory, touched) {
            Whole::Nothing => self.cursor = last,
            Whole::All if view.first > self.cursor && count <= left => {
                let end = view.bodies_at + view.bodies.len();
                self.batch.push_new(usize::from(view.count), slice(view.bodies_at..end));
                self.cursor = last;
            }
            Whole::All | Whole::Each => {
                for item in view.items() {
                    let item = item.ok_or_else(|| super::fetch::damaged(view.first))?;
                    if item.position <= self.cursor {
                        continue;
                    }
                    let class_now = reclassed.get(&item.header.handle).copied().unwrap_or(item.header.class);
                    if let Some(kind) = self.selection.event(&item, &self.directory, class_now) {
                        if self.batch.count() as u64 == self.credit {
                            return Ok(false);
                        }
                        let from = view.bodies_at + item.offset;
                        let body = if kind == EventKind::Withdrawn {
                            event::stub(&self.shared.sealer, item.position, item.header.handle).into()
                        } else {
                            slice(from..from + item.body.len())
                        };
                        self.batch.push(kind, body);
                    }
                    self.cursor = item.position;
                }
            }
        }
        Ok(self.batch.bodies_len() < BATCH_BYTES && (self.batch.count() as u64) < self.credit)
    }

    fn finish(self, caught_up: bool) -> Looked {
        Looked { batch: self.batch, cursor: self.cursor, caught_up }
    }
}
