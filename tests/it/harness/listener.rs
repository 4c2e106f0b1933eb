//! Decides how a subscriber that is cut again and again keeps its books, and
//! notices every event that is lost, repeated without need or out of order.

use std::collections::HashMap;

use luytre::wire::proto::v1;
use prost::bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic_types::StatusExt as _;
use v1::subscribe_request::Message as Say;
use v1::subscribe_response::Message as Heed;

use super::{Peer, Seed, value_of};

/// An event as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) event_id: Bytes,
    pub(crate) value: String,
    pub(crate) name: String,
    pub(crate) owner: String,
    pub(crate) version: u64,
    pub(crate) kind: i32,
}

/// How a stream came to its end.
#[derive(Debug)]
pub(crate) enum End {
    /// What was waited for was heard.
    Done,
    /// The subscriber cut it.
    Cut,
    /// The hub said that it goes.
    Drained,
    /// It broke.
    Broken(Status),
}

/// A moment at which a subscriber stops reading and giving credit.
struct Stall {
    stalled: oneshot::Sender<()>,
    go_on: oneshot::Receiver<()>,
}

/// A subscriber that survives its own and the hub's crashes.
pub(crate) struct Listener {
    peer: Peer,
    /// What the reports call it.
    who: String,
    subscription: String,
    filter: Option<v1::IndicatorFilter>,
    /// The stored token and how much had been heard at it.
    token: Option<(Bytes, usize)>,
    /// How much the hub has said is acknowledged for good, and how much of it
    /// may be.
    acked: Option<usize>,
    ack_sent: usize,
    awaiting: Vec<(Bytes, usize)>,
    forgetful: bool,
    stall: Option<Stall>,
    known: HashMap<Bytes, usize>,
    /// Every event once, in the order of its first delivery.
    pub(crate) heard: Vec<Heard>,
    /// Events that came again.
    pub(crate) repeats: usize,
    /// What the hub did that it must not do.
    pub(crate) problems: Vec<String>,
}

impl Listener {
    /// Resumes by tokens of its own, from the earliest event on.
    pub(crate) fn new(peer: Peer, who: &str) -> Self {
        Self {
            peer,
            who: who.to_owned(),
            subscription: String::new(),
            filter: None,
            token: None,
            acked: None,
            ack_sent: 0,
            awaiting: Vec::new(),
            forgetful: true,
            stall: None,
            known: HashMap::new(),
            heard: Vec::new(),
            repeats: 0,
            problems: Vec::new(),
        }
    }

    /// Resumes by a cursor that the hub keeps.
    pub(crate) fn named(mut self, organisation: &str, name: &str) -> Self {
        self.subscription = format!("organisations/{organisation}/subscriptions/{name}");
        self
    }

    /// Hears of these only.
    pub(crate) fn filtered(mut self, filter: v1::IndicatorFilter) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Stores every token, as a client does that never crashes.
    pub(crate) fn keeping_every_token(mut self) -> Self {
        self.forgetful = false;
        self
    }

    /// Stops reading after its first events until the sender is used; the
    /// receiver tells when it has stopped.
    pub(crate) fn stalling(&mut self) -> (oneshot::Sender<()>, oneshot::Receiver<()>) {
        let ((stalled, told), (resume, go_on)) = (oneshot::channel(), oneshot::channel());
        self.stall = Some(Stall { stalled, go_on });
        (resume, told)
    }

    /// What the reports call it.
    pub(crate) fn who(&self) -> &str {
        &self.who
    }

    /// Listens, reconnecting and cutting itself at random, until `done`.
    pub(crate) async fn listen_until(
        mut self,
        mut seed: Seed,
        done: impl Fn(&[Heard]) -> bool + Send,
    ) -> Self {
        while self.problems.is_empty() {
            let cut = if seed.one_in(3) { u64::MAX } else { seed.between(1, 400) };
            match self.session(&mut seed, cut, &done).await {
                End::Done => break,
                End::Cut | End::Drained => {}
                End::Broken(status) => {
                    if let Some(reason) = reason(&status).filter(|reason| reason != "DRAINING") {
                        self.report(format!("refused with {reason}: {}", status.message()));
                    }
                    let pause = seed.millis(5, 40);
                    tokio::time::sleep(pause).await;
                }
            }
        }
        self
    }

    fn report(&mut self, problem: String) {
        self.problems.push(format!("{}: {problem}", self.who));
    }

    fn open(&self, credit: u32) -> v1::Open {
        use v1::open::Start;
        let start = if let Some((token, _)) = self.token.as_ref().filter(|_| self.subscription.is_empty()) {
            Some(Start::ResumeToken(token.clone()))
        } else if self.acked.is_none() {
            Some(Start::Position(v1::StartPosition::Earliest.into()))
        } else {
            None
        };
        v1::Open {
            subscription: self.subscription.clone(),
            filter: self.filter.clone(),
            start,
            initial_credit: credit,
            include_sightings: false,
            include_notices: false,
        }
    }

    /// One stream, until `done`, `cut` events, or its end. Stores only some of
    /// the tokens, as a client does that crashes before it has stored one.
    pub(crate) async fn session(
        &mut self,
        seed: &mut Seed,
        cut: u64,
        done: impl Fn(&[Heard]) -> bool,
    ) -> End {
        match self.stream(seed, cut, done).await {
            Ok(end) => end,
            Err(status) => End::Broken(status),
        }
    }

    async fn stream(
        &mut self,
        seed: &mut Seed,
        cut: u64,
        done: impl Fn(&[Heard]) -> bool,
    ) -> Result<End, Status> {
        let (say, receiver) = mpsc::channel(64);
        let tell = async |message| {
            say.send(v1::SubscribeRequest { message: Some(message) })
                .await
                .map_err(|_| Status::unavailable("the stream is gone"))
        };
        let mut credit = if self.stall.is_some() { 3 } else { seed.between(1, 200) as i64 };
        tell(Say::Open(self.open(credit as u32))).await?;
        let mut client = self.peer.subscriptions();
        let mut stream = client.subscribe(ReceiverStream::new(receiver)).await?.into_inner();
        self.awaiting.clear();
        // Where in `heard` the next event has its place; known for tokens,
        // found out by the first event for a cursor.
        let mut place = match (&self.token, self.subscription.is_empty(), self.acked) {
            (Some((_, at)), true, _) => Some(*at),
            (None, true, _) | (_, false, None) => Some(0),
            (_, false, Some(_)) => None,
        };
        let mut count = 0;
        while let Some(frame) = stream.message().await? {
            match frame.message {
                Some(Heed::Batch(batch)) => {
                    let events = batch.events.len() as i64;
                    credit -= events;
                    count += events as u64;
                    if credit < 0 {
                        self.report(format!("{} events more than there was credit for", -credit));
                    }
                    self.take(batch.events, &batch.kinds, &mut place);
                    let at = place.unwrap_or(self.heard.len());
                    if self.subscription.is_empty() {
                        if !self.forgetful || !seed.one_in(3) {
                            self.token = Some((batch.resume_token, at));
                        }
                    } else if seed.one_in(2) {
                        tell(Say::Ack(v1::Ack { resume_token: batch.resume_token.clone() })).await?;
                        self.ack_sent = self.ack_sent.max(at);
                        self.awaiting.push((batch.resume_token, at));
                    }
                    if let Some(stall) = self.stall.take_if(|_| credit == 0) {
                        let _ = stall.stalled.send(());
                        let _ = stall.go_on.await;
                    }
                    let more = if self.stall.is_some() { continue } else { seed.between(1, 300) as i64 };
                    credit += more;
                    tell(Say::Credit(v1::Credit { events: more })).await?;
                }
                Some(Heed::Acked(acked)) => {
                    match self.awaiting.iter().position(|(token, _)| *token == acked.resume_token) {
                        Some(index) => {
                            self.acked = Some(self.awaiting[index].1);
                            self.awaiting.drain(..=index);
                        }
                        None => self.report("acknowledged what nobody sent".to_owned()),
                    }
                }
                Some(Heed::Heartbeat(heartbeat)) => self.advance(heartbeat.resume_token, place),
                Some(Heed::Draining(draining)) => {
                    self.advance(draining.resume_token, place);
                    return Ok(End::Drained);
                }
                // What is recalled comes again, in its place.
                Some(Heed::Opened(_) | Heed::Recalls(_) | Heed::Checkpoint(_)) => {}
                other => self.report(format!("unexpected {other:?}")),
            }
            if done(&self.heard) || !self.problems.is_empty() {
                return Ok(End::Done);
            }
            if count >= cut {
                return Ok(End::Cut);
            }
        }
        Err(Status::unavailable("the stream ended without a word"))
    }

    /// Stores a token that came without events.
    fn advance(&mut self, token: Bytes, place: Option<usize>) {
        if let Some(at) = place.filter(|_| self.subscription.is_empty()) {
            self.token = Some((token, at));
        }
    }

    fn take(&mut self, events: Vec<v1::Event>, kinds: &[i32], place: &mut Option<usize>) {
        if !kinds.is_empty() && kinds.len() != events.len() {
            self.report(format!("{} kinds for {} events", kinds.len(), events.len()));
        }
        for (index, event) in events.into_iter().enumerate() {
            let kind = kinds.get(index).copied().unwrap_or(v1::EventKind::New as i32);
            let Some(v1::event::Subject::Indicator(indicator)) = event.subject else {
                self.report("an event that is no indicator".to_owned());
                return;
            };
            let heard = Heard {
                event_id: event.event_id,
                value: value_of(&indicator),
                name: indicator.name,
                owner: indicator.owner,
                version: indicator.version,
                kind,
            };
            let at = self.known.get(&heard.event_id).copied().unwrap_or(self.heard.len());
            self.check_place(at, *place, &heard);
            *place = Some(at + 1);
            if let Some(before) = self.heard.get(at) {
                self.repeats += 1;
                if *before != heard {
                    self.report(format!("event {at} came again as another: {before:?}, {heard:?}"));
                }
            } else {
                self.known.insert(heard.event_id.clone(), at);
                self.heard.push(heard);
            }
        }
    }

    fn check_place(&mut self, at: usize, place: Option<usize>, heard: &Heard) {
        let total = self.heard.len();
        match place {
            Some(place) if place != at => {
                self.report(format!(
                    "event {at} of {total} ({}) came in the place of event {place}",
                    heard.value
                ));
            }
            None if at < self.acked.unwrap_or(0) => {
                self.report(format!(
                    "event {at} came again after {:?} were acknowledged for good",
                    self.acked
                ));
            }
            None if at > self.ack_sent => {
                self.report(format!("went on at event {at} when only {} were acknowledged", self.ack_sent));
            }
            _ => {}
        }
    }
}

/// The stable cause that a status carries, if the hub itself sent it.
pub(crate) fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}
