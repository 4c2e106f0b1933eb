//! Decides when a subscriber is sent something: never more than its credit,
//! nothing after its standing ended, and its last token when the hub drains.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::base::clock;
use crate::model::invalid;
use crate::model::position::Position;
use crate::model::reached::{Reached, Stage, Step};
use crate::policy::access::{self, Method};
use crate::store::subscription::{Subscription, SubscriptionKey};
use crate::wire::frame::{Batch, Frame};
use crate::wire::token::{Place, Use};

use super::audit::delivered::Delivered;
use super::caller::Caller;
use super::changing::Changing;
use super::error::{Error, Reason};
use super::look::{self, Whence};
use super::recall::{Recalls, Skip};
use super::select::Selection;
use super::shared::Shared;
use super::subscribe::{LiveStreams, displaced_by_newer};
use super::walk::Walk;

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
    pub(super) key: SubscriptionKey,
    pub(super) record: Option<Subscription>,
    pub(super) displaced: CancellationToken,
    pub(super) live: LiveStreams,
}

/// Where a stream starts.
#[derive(Debug)]
pub(super) struct Begin {
    pub(super) reached: Reached,
    /// For one that goes on after an absence: where the log ends by now.
    pub(super) absent_until: Option<Position>,
}

/// A bracket around the current state.
#[derive(Debug, Clone, Copy)]
enum Due {
    Begin,
    End,
}

/// Streams one subscription.
#[derive(Debug)]
pub struct Pump {
    shared: Arc<Shared>,
    caller: Caller,
    selection: Arc<Selection>,
    digest: [u8; 32],
    named: Option<Named>,
    reached: Reached,
    /// What goes out before any event, until it has.
    recalls: Option<Recalls>,
    /// What the replay leaves out, as it was recalled.
    skip: Arc<Skip>,
    /// The current state or what a change brings, while it goes out.
    walk: Option<Walk>,
    /// The change that was come to, while it is looked for more of them.
    changing: Option<Changing>,
    /// What goes out next whether there is credit or not.
    due: Option<Due>,
    credit: u64,
    heartbeat: Duration,
    /// Number of the noted cursor change that waits to be durable, and token.
    acking: Option<(u64, Bytes)>,
    /// When the caller's standing was last looked at.
    admitted: Instant,
    /// What went out and is not on record yet.
    delivered: Delivered,
    /// Size of the audit's checkpoint that was sent last.
    checkpoint: u64,
}

impl Pump {
    #[expect(clippy::too_many_arguments, reason = "made in one place, from what was decided there")]
    pub(super) fn new(
        shared: Arc<Shared>,
        caller: Caller,
        selection: Selection,
        digest: [u8; 32],
        named: Option<Named>,
        begin: Begin,
        credit: u64,
        heartbeat: Duration,
    ) -> Self {
        shared.counters.subscribers.fetch_add(1, Ordering::Relaxed);
        let (selection, credit) = (Arc::new(selection), credit.min(MAX_CREDIT));
        let delivered = Delivered::new(&caller, named.as_ref().map_or("", |named| &named.key.name));
        let Begin { reached, absent_until } = begin;
        let away = absent_until.filter(|end| *end > reached.position);
        Self {
            shared,
            caller,
            selection,
            digest,
            named,
            reached,
            recalls: away.map(|end| Recalls::new(reached.position, end)),
            skip: Arc::default(),
            walk: None,
            changing: None,
            due: (reached.stage == Stage::State(Step::default())).then_some(Due::Begin),
            credit,
            heartbeat,
            acking: None,
            admitted: clock::monotonic(),
            delivered,
            checkpoint: 0,
        }
    }

    fn purpose(&self) -> Use<'_> {
        let subscription = self.named.as_ref().map(|named| named.key.name.as_str()).unwrap_or_default();
        Use::Resume { subscription, filter: &self.digest }
    }

    /// The token that resumes where the pump stands.
    ///
    /// # Errors
    /// If the AEAD refuses, which its inputs give no reason for.
    pub fn token(&self) -> Result<Bytes, Error> {
        let to = self.caller.identity();
        let token =
            self.shared.tokens.seal(to, self.purpose(), self.reached.into()).map_err(Error::internal)?;
        Ok(token.into())
    }

    /// The frames of the stream, which ends when the client has said its last,
    /// its credit is used and its acknowledgements are durable, the hub drains,
    /// a newer stream of the same name displaces this one, or with an error.
    /// It does nothing unless polled: what a client that does not read costs
    /// is the frame it does not take.
    pub fn frames(
        self,
        commands: impl Stream<Item = Result<Command, Error>> + Send + Unpin,
    ) -> impl Stream<Item = Result<Frame, Error>> + Send {
        let running = Running {
            committed: self.shared.tail.watch(),
            written: self.shared.cursors.watch(),
            displaced: self.named.as_ref().map(|named| named.displaced.clone()).unwrap_or_default(),
            heartbeat: ticker(self.heartbeat),
            commands: Some(commands),
            told_caught_up: false,
            audit: false,
            pump: self,
        };
        stream::unfold(Some(Box::new(running)), async |running| {
            let mut running = running?;
            match running.next().await {
                Ok(Some(frame @ Frame::Draining(_))) => Some((Ok(frame), None)),
                Ok(Some(frame)) => Some((Ok(frame), Some(running))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    fn check(&mut self, displaced: &CancellationToken) -> Result<(), Error> {
        if self.caller.is_severed() {
            return Err(Error::new(Reason::CertificateRevoked, "your certificate is no longer accepted"));
        }
        if displaced.is_cancelled() {
            return Err(displaced_by_newer());
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

    /// Recalls that go out, and whether more may follow.
    async fn recall(&mut self) -> Result<(Batch, bool), Error> {
        let Some(recalls) = self.recalls.take() else { return Ok((Batch::new(), false)) };
        let (recalls, mut batch, over) = recalls.next(&self.shared, &self.selection).await?;
        self.delivered.recalled(&self.shared, &mut batch);
        if over {
            self.skip = Arc::new(recalls.into_skip());
        } else {
            self.recalls = Some(recalls);
        }
        Ok((batch, !over))
    }

    /// The bracket around the current state that is due.
    fn bracket(&mut self) -> Result<Option<Frame>, Error> {
        match self.due.take() {
            None => Ok(None),
            Some(Due::Begin) => Ok(Some(Frame::StateBegin(self.token()?))),
            Some(Due::End) => {
                self.reached.stage = Stage::Log;
                Ok(Some(Frame::StateEnd(self.token()?)))
            }
        }
    }

    /// Takes up a walk that the stream starts in, or resumed in.
    async fn take_up(&mut self) -> Result<(), Error> {
        let (shared, selection, position) = (&self.shared, &self.selection, self.reached.position);
        match self.reached.stage {
            Stage::Log => {}
            Stage::State(step) => self.walk = Some(Walk::state(shared, selection, position, step).await?),
            Stage::Changed(together, step) => {
                self.walk = Walk::begin(shared, selection, position, (together, step)).await?;
                if self.walk.is_none() {
                    self.reached.stage = Stage::Log;
                }
            }
        }
        Ok(())
    }

    /// What follows, and whether that is all for now.
    async fn look(&mut self) -> Result<(Batch, bool), Error> {
        if let Some(met) = self.selection.meet(&self.shared.directory.load()) {
            self.selection = Arc::new(met);
        }
        if let Some(changes) = &mut self.changing {
            if changes.goes_on(&self.shared, &self.selection, &self.skip).await? {
                return Ok((Batch::new(), false));
            }
            self.reached = changes.reached();
            self.changing = None;
        }
        if self.walk.is_none() {
            self.take_up().await?;
        }
        let Self { shared, selection, skip, reached, walk, changing, due, credit, .. } = self;
        if let Some(walking) = walk {
            let walked = walking.next(shared, selection, skip, *credit).await?;
            walking.step = walked.step;
            reached.stage = match reached.stage {
                Stage::Changed(together, _) if !walked.over => Stage::Changed(together, walked.step),
                Stage::State(_) => Stage::State(walked.step),
                _ => Stage::Log,
            };
            if walked.over {
                *walk = None;
                *due = matches!(reached.stage, Stage::State(_)).then_some(Due::End);
            }
            return Ok((walked.batch, false));
        }
        if skip.is_over(reached.position) {
            *skip = Arc::default();
        }
        let whence = Whence { cursor: reached.position, credit: *credit, had: None };
        let looked = look::at(shared, selection, skip, whence).await?;
        *reached = Reached::log(looked.cursor);
        *changing = looked.generation.map(|at| Changing::new(shared, selection, at)).transpose()?;
        Ok((looked.batch, looked.caught_up))
    }

    fn batch(&mut self, mut batch: Batch) -> Result<Frame, Error> {
        let count = batch.count() as u64;
        batch.set_token(self.token()?);
        self.credit = self.credit.saturating_sub(count);
        self.shared.counters.delivered.fetch_add(count, Ordering::Relaxed);
        self.delivered.add(&self.shared, &mut batch);
        Ok(Frame::Batch(batch))
    }

    /// What the hub signs of its audit, where that is news to the subscriber.
    async fn news_of_audit(&mut self) -> Result<Option<Frame>, Error> {
        self.delivered.flush(&self.shared);
        let (checkpoint, note) = self.shared.read(|shared| shared.checkpoint(shared.audit.every)).await?;
        let news = std::mem::replace(&mut self.checkpoint, checkpoint.size) < checkpoint.size;
        Ok(news.then(|| Frame::checkpoint(note)))
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
        let invalid = || {
            Error::new(
                Reason::ResumeTokenInvalid,
                "acknowledge with a resume_token that was received on this stream",
            )
        };
        let place =
            self.shared.tokens.open(self.caller.identity(), self.purpose(), &token).and_then(Place::reached);
        // A token of another stream may be further on. What it is answered must
        // not tell whether anything, hidden perhaps, lies between: it counts
        // as far as this stream has got.
        let acked = place.map_err(|_| invalid())?.min(self.reached);
        let now = self.shared.clock.now();
        let Some(named) = &mut self.named else {
            return Err(Error::new(
                Reason::Input(invalid::Reason::FieldInvalid),
                "only a named subscription keeps acknowledgements; open it with a name, or keep the token yourself",
            ));
        };
        if let Some(record) = &mut named.record {
            record.cursor = record.cursor.max(acked);
            record.acked = Some(now);
            let note = || {
                self.delivered.acknowledged(&self.shared, acked);
                self.shared.cursors.note(&named.key, Some(record.encode()))
            };
            let number =
                named.live.unless_displaced(&named.displaced, note).ok_or_else(displaced_by_newer)?;
            self.acking = Some((number, token));
        }
        Ok(())
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.delivered.flush(&self.shared);
        self.shared.counters.subscribers.fetch_sub(1, Ordering::Relaxed);
        if let Some(named) = &self.named {
            named.live.leave(&named.key, &named.displaced);
        }
    }
}

/// A pump at work.
struct Running<C> {
    pump: Pump,
    /// What the client says; none once it has said its last.
    commands: Option<C>,
    committed: watch::Receiver<Position>,
    written: watch::Receiver<u64>,
    displaced: CancellationToken,
    heartbeat: Interval,
    /// Whether the client knows that it once had all there was.
    told_caught_up: bool,
    /// Whether the audit is to be looked at.
    audit: bool,
}

impl<C: Stream<Item = Result<Command, Error>> + Unpin> Running<C> {
    /// The next frame; none where the stream ends in peace.
    async fn next(&mut self) -> Result<Option<Frame>, Error> {
        let shared = Arc::clone(&self.pump.shared);
        loop {
            if shared.draining.is_cancelled() {
                return Ok(Some(Frame::Draining(self.pump.token()?)));
            }
            self.pump.check(&self.displaced)?;
            while let Some(said) = said(&mut self.commands).now_or_never() {
                self.hear(said)?;
            }
            if std::mem::take(&mut self.audit)
                && let Some(frame) = self.pump.news_of_audit().await?
            {
                return Ok(Some(frame));
            }
            if self.pump.recalls.is_some() {
                let (batch, more) = self.pump.recall().await?;
                if batch.count() > 0 {
                    self.heartbeat.reset();
                    return Ok(Some(Frame::Recalls(batch)));
                }
                if more && let Some(frame) = self.alive().await? {
                    return Ok(Some(frame));
                }
                continue;
            }
            if let Some(frame) = self.pump.bracket()? {
                self.heartbeat.reset();
                return Ok(Some(frame));
            }
            if self.pump.credit > 0 {
                shared.receipts.room().await;
                self.committed.mark_unchanged();
                let (batch, caught_up) = self.pump.look().await?;
                if batch.count() > 0 {
                    self.heartbeat.reset();
                    return self.pump.batch(batch).map(Some);
                }
                if !caught_up {
                    // A long look at what the filter passes over is progress too.
                    if let Some(frame) = self.alive().await? {
                        return Ok(Some(frame));
                    }
                    continue;
                }
                if !std::mem::replace(&mut self.told_caught_up, true) {
                    self.heartbeat.reset();
                    return Ok(Some(Frame::Heartbeat(self.pump.token()?, true)));
                }
            } else if self.commands.is_none() && self.pump.acking.is_none() {
                return Ok(None);
            }
            if let Some(frame) = self.wait(&shared).await? {
                return Ok(Some(frame));
            }
        }
    }

    /// A heartbeat if one is due; else makes way for others.
    async fn alive(&mut self) -> Result<Option<Frame>, Error> {
        if self.heartbeat.tick().now_or_never().is_some() {
            return Ok(Some(Frame::Heartbeat(self.pump.token()?, false)));
        }
        tokio::task::yield_now().await;
        Ok(None)
    }

    /// Waits until there may be something to send.
    async fn wait(&mut self, shared: &Shared) -> Result<Option<Frame>, Error> {
        let Self { pump, commands, committed, written, displaced, heartbeat, audit, .. } = self;
        let waiting = pump.credit > 0;
        let acking = pump.acking.as_ref().map(|(number, _)| *number);
        let due = pump.delivered.due();
        tokio::select! {
            () = shared.draining.cancelled() => {}
            () = displaced.cancelled() => {}
            said = said(commands) => self.hear(said)?,
            changed = committed.changed(), if waiting => changed.map_err(Error::internal)?,
            durable = reached(written, acking), if acking.is_some() => {
                durable?;
                return Ok(pump.acking.take().map(|(_, token)| Frame::Acked(token)));
            }
            () = sleep_until(due.unwrap_or_else(clock::monotonic).into()), if due.is_some() => pump.delivered.flush(shared),
            // With credit, the last look has found nothing.
            _ = heartbeat.tick() => {
                *audit = true;
                return Ok(Some(Frame::Heartbeat(pump.token()?, waiting)));
            }
        }
        Ok(None)
    }

    fn hear(&mut self, said: Option<Result<Command, Error>>) -> Result<(), Error> {
        match said {
            Some(command) => self.pump.obey(command?),
            None => {
                self.commands = None;
                Ok(())
            }
        }
    }
}

/// What the client says next; waits for ever where it has said its last.
async fn said<C: Stream + Unpin>(commands: &mut Option<C>) -> Option<C::Item> {
    match commands {
        Some(commands) => commands.next().await,
        None => std::future::pending().await,
    }
}

/// Resolves once the cursor change of this number is durable.
async fn reached(written: &mut watch::Receiver<u64>, number: Option<u64>) -> Result<(), Error> {
    let reached = written.wait_for(|written| number.is_some_and(|number| *written >= number)).await;
    reached.map(|_| ()).map_err(Error::internal)
}

fn ticker(period: Duration) -> Interval {
    let mut ticker = tokio::time::interval(period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker.reset();
    ticker
}
