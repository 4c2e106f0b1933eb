//! Decides how events are received: in order, with back-pressure, and after
//! any break from exactly where the caller stands.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::base::clock::Timestamp;
use crate::wire::proto::v1;
use v1::subscribe_request::Message as Say;
use v1::subscribe_response::Message as Heard;

use super::backoff::{Backoff, Tries};
use super::calls::Client;
use super::delivery::{Delivery, SubscriptionEvents};
use super::error::{Error, cause};
use super::ledger::{Confirmed, Ledger};
use super::line::Place;
use super::pipeline::CUTS;
use super::received;

/// Credit and acknowledgements on their way to the hub; what does not fit is
/// merged with what follows.
const OUTBOX: usize = 16;
/// Heartbeats that may be missed before the stream counts as broken.
const MISSED: u32 = 3;
/// Assumed span between heartbeats until the hub has named its own.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// Longest wait for the hub to store the last acknowledgement.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where a subscription starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// After this token.
    Token(Bytes),
    /// At the oldest event that is kept.
    Earliest,
    /// At what comes from now on.
    Latest,
    /// With what stands now, then what comes: [`Delivery::StateBegin`], what
    /// stands, [`Delivery::StateEnd`].
    CurrentState,
    /// At the first event recorded at or after this moment.
    Time(Timestamp),
    /// Where the named subscription stands.
    Cursor,
}

/// What is subscribed to, and how.
#[derive(Debug, Clone)]
pub struct Subscribe {
    /// Full name of a named subscription, whose cursor the hub keeps and
    /// [`Subscription::confirm`] moves.
    pub name: Option<String>,
    /// Which indicators are wanted.
    pub filter: v1::IndicatorFilter,
    /// Where to start.
    pub start: Start,
    /// Also deliver sightings.
    pub include_sightings: bool,
    /// Also deliver notices of collisions.
    pub include_notices: bool,
    /// Most events on their way or unconfirmed: the bound of memory.
    pub window: u32,
    /// Ask for this many events and no more.
    pub limit: Option<u64>,
    /// Patience with a hub that is away.
    pub backoff: Backoff,
}

impl Subscribe {
    /// Everything, from `start`.
    #[must_use]
    pub fn from(start: Start) -> Self {
        Self {
            name: None,
            filter: v1::IndicatorFilter::default(),
            start,
            include_sightings: false,
            include_notices: false,
            window: 4_096,
            limit: None,
            backoff: Backoff::FOREVER,
        }
    }
}

struct Live {
    outbox: mpsc::Sender<v1::SubscribeRequest>,
    heard: Streaming<v1::SubscribeResponse>,
    patience: Duration,
    /// Whether the caller knows that all there was has come.
    caught_up: bool,
    /// The connection that carries it.
    place: Place,
}

/// A source of events that outlives connections, hubs and certificates.
///
/// Store the events **and** the token of a delivery, then [`confirm`] it. A
/// program that dies between the two receives the delivery again when it
/// starts from its stored token: at least once, never less. Within one run
/// nothing comes twice, whatever happens to the connection.
///
/// ```no_run
/// # async fn example(client: luytre::client::Client) -> Result<(), luytre::client::Error> {
/// use luytre::client::{Start, Subscribe};
///
/// let mut subscription = client.subscribe(Subscribe::from(Start::Earliest));
/// while let Some(delivery) = subscription.next().await? {
///     for received in delivery.events() {
///         println!("{:?}", received.kind);
///     }
///     if let Some(token) = delivery.token() {
///         // Here: store the token with what the events changed.
///         subscription.confirm(token).await?;
///     }
/// }
/// subscription.close().await
/// # }
/// ```
///
/// [`confirm`]: Self::confirm
pub struct Subscription {
    client: Client,
    options: Subscribe,
    ledger: Ledger,
    tries: Tries,
    live: Option<Live>,
    /// Said as soon as there is room: the newest acknowledgement.
    ack: Option<Bytes>,
    /// Said as soon as there is room: the sum of further credit.
    credit: u64,
    /// Acknowledgement that the hub has not yet called durable.
    unstored: Option<Bytes>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("name", &self.options.name).finish_non_exhaustive()
    }
}

impl Client {
    /// A source of events. The stream is opened by [`Subscription::next`].
    #[must_use]
    pub fn subscribe(&self, options: Subscribe) -> Subscription {
        let resume = match &options.start {
            Start::Token(token) => Some(token.clone()),
            _ => None,
        };
        Subscription {
            client: self.clone(),
            ledger: Ledger::new(options.window, options.limit, resume),
            tries: Tries::new(options.backoff, CUTS),
            options,
            live: None,
            ack: None,
            credit: 0,
            unstored: None,
        }
    }
}

impl Subscription {
    /// Waits for the next delivery; `None` once the limit of
    /// [`Subscribe::limit`] is reached. Reconnects as often as needed. Nothing
    /// is lost if the future is dropped.
    ///
    /// # Errors
    /// `RESUME_TOKEN_EXPIRED`: start again from an end of the log.
    /// `RESUME_TOKEN_INVALID`: the token is of another organisation,
    /// subscription or filter. `SUBSCRIPTION_DISPLACED`: another process uses
    /// the same name. Else see [`Error`].
    pub async fn next(&mut self) -> Result<Option<Delivery>, Error> {
        loop {
            if self.ledger.is_spent() {
                return Ok(None);
            }
            self.ledger.may_hand()?;
            let status = match self.hear().await {
                Ok(v1::SubscribeResponse { message: Some(Heard::Checkpoint(audit)) }) => {
                    self.tries.progress();
                    self.witness(&audit.checkpoint).await?;
                    continue;
                }
                Ok(heard) => match self.take(heard)? {
                    Some(delivery) => return Ok(Some(delivery)),
                    None => continue,
                },
                Err(status) => status,
            };
            self.live = None;
            let delay = self.tries.after(&status, self.client.connection().hub())?;
            tracing::warn!(
                hub = self.client.connection().hub(),
                cause = cause(&status),
                "the subscription broke; opening it again"
            );
            tokio::time::sleep(delay).await;
        }
    }

    /// Says that a delivery and all before it are stored: frees room for more
    /// events, and moves the cursor of a named subscription.
    ///
    /// # Errors
    /// The token was not handed out, or was confirmed before.
    pub async fn confirm(&mut self, token: &Bytes) -> Result<(), Error> {
        let confirmed = self.ledger.confirm(token)?;
        if self.options.name.is_some() {
            self.unstored = Some(token.clone());
            if confirmed == Confirmed::Acknowledge {
                self.ack = Some(token.clone());
            }
        }
        self.credit += self.ledger.replenish();
        if let Some(live) = &self.live {
            say(live, &mut self.ack, &mut self.credit);
        }
        // Lets the connection send before the caller blocks on its own work.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Ends the stream, and for a named subscription waits until the last
    /// confirmation is durable. A stream that gave all it was asked for ends in
    /// good order, any other as one whose reader went away: what is still on
    /// its way is not read.
    ///
    /// # Errors
    /// The hub did not say so; the next stream repeats what was not stored.
    pub async fn close(mut self) -> Result<(), Error> {
        let Some(mut live) = self.live.take() else { return Ok(()) };
        if self.options.name.is_none() || self.unstored.is_none() {
            if self.ledger.is_spent() {
                drop(live.outbox);
                // Only the manners of the end hang on this.
                let end = async { while let Ok(Some(_)) = live.heard.message().await {} };
                let _ = tokio::time::timeout(FAREWELL, end).await;
            }
            return Ok(());
        }
        let hub = self.client.connection().hub().to_owned();
        if let Some(ack) = self.ack.take() {
            let sent = tokio::time::timeout(
                FAREWELL,
                live.outbox.send(request(Say::Ack(v1::Ack { resume_token: ack }))),
            );
            if !matches!(sent.await, Ok(Ok(()))) {
                return Err(Error::Timeout { hub, after: FAREWELL, last: None });
            }
        }
        drop(live.outbox);
        let stored = async {
            while let Some(response) =
                live.heard.message().await.map_err(|status| Error::from_status(&status, &hub))?
            {
                if matches!(&response.message, Some(Heard::Acked(acked)) if Some(&acked.resume_token) == self.unstored.as_ref())
                {
                    return Ok(());
                }
            }
            // The hub flushes acknowledgements before it ends a stream.
            Ok(())
        };
        tokio::time::timeout(FAREWELL, stored)
            .await
            .unwrap_or_else(|_| Err(Error::Timeout { hub: hub.clone(), after: FAREWELL, last: None }))
    }

    /// Holds what the hub signs of its audit against what was seen before. That
    /// it cannot be proven now, for the hub does not answer, is no fork.
    async fn witness(&self, note: &str) -> Result<(), Error> {
        match self.client.witness(note, None).await {
            Err(forked @ Error::History(_)) => Err(forked),
            Err(error) => {
                tracing::warn!(%error, "a checkpoint of the hub's audit could not be verified now");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    /// The next message of the hub, on a stream that is opened if there is
    /// none, or none over the connection of the renewed certificate.
    async fn hear(&mut self) -> Result<v1::SubscribeResponse, Status> {
        loop {
            if self.live.as_ref().is_none_or(|live| live.place.is_left()) {
                self.live = None;
                self.live = Some(self.open().await?);
            }
            let Some(live) = &mut self.live else { return Err(Status::unavailable("no stream")) };
            say(live, &mut self.ack, &mut self.credit);
            let (mut place, patience) = (live.place.clone(), live.patience);
            let heard = tokio::select! {
                biased;
                () = place.left() => continue,
                heard = tokio::time::timeout(patience, listen(live, &mut self.ack, &mut self.credit)) => heard,
            };
            return heard
                .unwrap_or_else(|_| Err(Status::unavailable("the hub has fallen silent")))?
                .ok_or_else(|| Status::unavailable("the hub ended the stream"));
        }
    }

    async fn open(&mut self) -> Result<Live, Status> {
        self.ack = None;
        self.credit = 0;
        let start = match self.ledger.resume() {
            Some(token) => Some(v1::open::Start::ResumeToken(token.clone())),
            None => first_start(&self.options.start),
        };
        let open = v1::Open {
            subscription: self.options.name.clone().unwrap_or_default(),
            filter: Some(self.options.filter.clone()),
            initial_credit: self.ledger.open(),
            include_sightings: self.options.include_sightings,
            include_notices: self.options.include_notices,
            start,
        };
        let (outbox, queued) = mpsc::channel(OUTBOX);
        // An empty channel has room.
        let _ = outbox.try_send(request(Say::Open(open)));
        let place = self.client.connection().place();
        let mut service = self.client.subscriptions();
        let opened = service.subscribe(ReceiverStream::new(queued));
        let heard = tokio::time::timeout(HEARTBEAT, opened)
            .await
            .unwrap_or_else(|_| Err(Status::unavailable("the hub did not open the stream")))?
            .into_inner();
        Ok(Live { outbox, heard, patience: HEARTBEAT * MISSED, caught_up: false, place })
    }

    /// What a message means; `None`: nothing for the caller.
    fn take(&mut self, response: v1::SubscribeResponse) -> Result<Option<Delivery>, Error> {
        let Some(message) = response.message else {
            // Of a later release; the contract lets the set of messages grow.
            return Ok(None);
        };
        if !matches!(message, Heard::Opened(_) | Heard::Draining(_)) {
            // A hub that opens a stream and cuts it at once makes no progress.
            self.tries.progress();
        }
        let mut caught_up = false;
        let (events, token) = match message {
            Heard::Opened(opened) => {
                if let Some(live) = &mut self.live {
                    let seconds = u64::from(opened.heartbeat_seconds.clamp(1, 3_600));
                    live.patience = Duration::from_secs(seconds) * MISSED;
                }
                if self.unstored.is_some() && self.ledger.is_confirmed() {
                    // The old stream broke before it stored the last one.
                    self.ack = Some(opened.resume_token.clone());
                    self.unstored = Some(opened.resume_token.clone());
                }
                (Vec::new(), opened.resume_token)
            }
            Heard::Batch(v1::EventBatch { mut events, kinds, resume_token, disclosures }) => {
                received::merge(&mut events, disclosures)?;
                (received::pair(events, kinds)?, resume_token)
            }
            Heard::StateBegin(v1::StateBegin { resume_token: token }) => {
                self.ledger.mark(&token)?;
                return Ok(Some(Delivery::StateBegin { token }));
            }
            Heard::StateEnd(v1::StateEnd { resume_token: token }) => {
                self.ledger.mark(&token)?;
                return Ok(Some(Delivery::StateEnd { token }));
            }
            Heard::Recalls(v1::RecallBatch { events, kinds }) => {
                return Ok(Some(Delivery::Recalls(received::pair(events, kinds)?)));
            }
            Heard::Heartbeat(heartbeat) => {
                caught_up = heartbeat.caught_up;
                (Vec::new(), heartbeat.resume_token)
            }
            Heard::Draining(draining) => {
                self.live = None;
                (Vec::new(), draining.resume_token)
            }
            Heard::Acked(acked) => {
                if self.unstored.as_ref() == Some(&acked.resume_token) {
                    self.unstored = None;
                }
                return Ok(None);
            }
            // Held against what was seen before, where it was heard.
            Heard::Checkpoint(_) => return Ok(None),
        };
        let mut news = self.ledger.hand(events.len(), &token)?;
        if let Some(live) = self.live.as_mut().filter(|live| caught_up && !live.caught_up) {
            live.caught_up = true;
            if !news {
                self.ledger.mark(&token)?;
                news = true;
            }
        }
        Ok(news.then_some(Delivery::Events(SubscriptionEvents { events, token, caught_up })))
    }
}

/// The next message; what found no room in the outbox is said as soon as there
/// is some.
async fn listen(
    live: &mut Live,
    ack: &mut Option<Bytes>,
    credit: &mut u64,
) -> Result<Option<v1::SubscribeResponse>, Status> {
    while ack.is_some() || *credit > 0 {
        tokio::select! {
            biased;
            message = live.heard.message() => return message,
            room = live.outbox.reserve() => match room {
                Ok(room) => {
                    drop(room);
                    say(live, ack, credit);
                }
                // The hub takes no more; its last words say why.
                Err(_) => break,
            },
        }
    }
    live.heard.message().await
}

/// Says what is pending, as far as there is room.
fn say(live: &Live, ack: &mut Option<Bytes>, credit: &mut u64) {
    if let Some(token) = ack.take()
        && live.outbox.try_send(request(Say::Ack(v1::Ack { resume_token: token.clone() }))).is_err()
    {
        *ack = Some(token);
    }
    if *credit > 0 {
        let events = i64::try_from((*credit).min(1_000_000_000)).unwrap_or(1);
        if live.outbox.try_send(request(Say::Credit(v1::Credit { events }))).is_ok() {
            *credit = 0;
        }
    }
}

const fn request(message: Say) -> v1::SubscribeRequest {
    v1::SubscribeRequest { message: Some(message) }
}

/// The start as the caller said it, for the first stream.
fn first_start(start: &Start) -> Option<v1::open::Start> {
    let position = |position: v1::StartPosition| Some(v1::open::Start::Position(position.into()));
    match start {
        Start::Token(token) => Some(v1::open::Start::ResumeToken(token.clone())),
        Start::Earliest => position(v1::StartPosition::Earliest),
        Start::Latest => position(v1::StartPosition::Latest),
        Start::CurrentState => position(v1::StartPosition::CurrentState),
        Start::Time(at) => Some(v1::open::Start::Time(prost_types::Timestamp {
            seconds: i64::try_from(at.as_seconds()).unwrap_or(i64::MAX),
            nanos: i32::try_from(at.subsec_micros() * 1_000).unwrap_or(0),
        })),
        Start::Cursor => None,
    }
}
