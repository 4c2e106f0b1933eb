//! Subscribing to a hub that cuts, drains and refuses.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::base::tasks;
use crate::client::{Advice, Delivery, Error, Start, Subscribe, Subscription};
use crate::wire::proto::v1;
use v1::subscribe_request::Message as Said;
use v1::subscribe_response::Message as Say;
use v1::subscription_service_server::SubscriptionService;

use super::AT_ONCE;
use super::stub::{Hub, refuse};

/// Events in a batch of the stub.
const BATCH: u64 = 3;

/// How the stub ends a stream, after that many events of it.
#[derive(Clone)]
pub(crate) enum Cut {
    Status(u64, Status),
    Quiet(u64),
    Drain(u64),
    /// Sends a batch whose kinds do not match its events.
    Kinds(usize),
    /// Sends events that were not asked for.
    Uninvited,
}

#[derive(Default)]
pub(crate) struct State {
    cuts: Mutex<VecDeque<Cut>>,
    opens: Mutex<Vec<v1::Open>>,
    acks: Mutex<Vec<u64>>,
    /// Most credit that was outstanding at once.
    most_credit: Mutex<u64>,
    /// Events there are; afterwards only heartbeats.
    events: u64,
    /// Whether there is a named subscription; the answer to its deletion is lost.
    named: Mutex<bool>,
    /// Event of which streams that resume are told first.
    recalled: Option<u64>,
}

#[derive(Clone)]
pub(crate) struct Stub(Arc<State>);

fn token(position: u64) -> Bytes {
    Bytes::copy_from_slice(&position.to_be_bytes())
}

fn position(token: &[u8]) -> u64 {
    u64::from_be_bytes(token.try_into().unwrap())
}

fn event(position: u64) -> v1::Event {
    let indicator = v1::Indicator { version: position, ..v1::Indicator::default() };
    v1::Event { event_id: token(position), subject: Some(v1::event::Subject::Indicator(indicator)) }
}

type Out = mpsc::Sender<Result<v1::SubscribeResponse, Status>>;

async fn say(out: &Out, message: Say) -> bool {
    out.send(Ok(v1::SubscribeResponse { message: Some(message) })).await.is_ok()
}

impl Stub {
    pub(crate) fn with(events: u64, cuts: impl IntoIterator<Item = Cut>) -> Self {
        Self(Arc::new(State { cuts: Mutex::new(cuts.into_iter().collect()), events, ..State::default() }))
    }

    /// How streams were opened.
    pub(super) fn opens(&self) -> Vec<v1::Open> {
        self.0.opens.lock().clone()
    }

    pub(crate) async fn serve(&self) -> Hub {
        Hub::subscriptions(Arc::new(self.clone()), None).await
    }

    /// One stream: events after the start, as far as credit goes, to the cut.
    async fn pump(self, mut said: Streaming<v1::SubscribeRequest>, out: Out) {
        let Ok(Some(v1::SubscribeRequest { message: Some(Said::Open(open)) })) = said.message().await else {
            return;
        };
        let cut = self.0.cuts.lock().pop_front();
        self.0.opens.lock().push(open.clone());
        if let Some(Cut::Status(0, status)) = &cut {
            let _ = out.send(Err(status.clone())).await;
            return;
        }
        let mut at = match open.start {
            Some(v1::open::Start::ResumeToken(ref token)) => position(token),
            Some(v1::open::Start::Position(2)) => self.0.events,
            _ => 0,
        };
        let state = matches!(open.start, Some(v1::open::Start::Position(3)));
        let resumed = matches!(open.start, Some(v1::open::Start::ResumeToken(_)));
        let mut credit = u64::from(open.initial_credit);
        let opened = v1::Opened { filter: None, resume_token: token(at), heartbeat_seconds: 30 };
        if !say(&out, Say::Opened(opened)).await {
            return;
        }
        if let Some(recalled) = self.0.recalled.filter(|_| resumed) {
            let kinds = vec![v1::EventKind::Revoked.into()];
            let recalls = v1::RecallBatch { events: vec![event(recalled)], kinds };
            if !say(&out, Say::Recalls(recalls)).await {
                return;
            }
        }
        if state && !say(&out, Say::StateBegin(v1::StateBegin { resume_token: token(at) })).await {
            return;
        }
        let (mut sent, mut ended) = (0, false);
        loop {
            if self.0.recalled.is_some() && at == self.0.events && !ended {
                ended = true;
                if !say(&out, Say::StateEnd(v1::StateEnd { resume_token: token(at + 1) })).await {
                    return;
                }
            }
            {
                let mut most = self.0.most_credit.lock();
                *most = credit.max(*most);
            }
            match &cut {
                Some(Cut::Status(after, status)) if sent >= *after => {
                    let _ = out.send(Err(status.clone())).await;
                    return;
                }
                Some(Cut::Quiet(after)) if sent >= *after => return,
                Some(Cut::Drain(after)) if sent >= *after => {
                    say(&out, Say::Draining(v1::Draining { resume_token: token(at) })).await;
                    return;
                }
                Some(Cut::Uninvited) => credit = u64::MAX,
                _ => {}
            }
            let size = BATCH.min(credit).min(self.0.events - at);
            let size = if matches!(&cut, Some(Cut::Uninvited)) { self.0.events } else { size };
            if size > 0 {
                let kinds = match &cut {
                    Some(Cut::Kinds(n)) => vec![1; *n],
                    _ => Vec::new(),
                };
                let events = (at + 1..=at + size).map(event).collect();
                at += size;
                sent += size;
                credit -= size;
                let batch =
                    v1::EventBatch { events, kinds, resume_token: token(at), disclosures: Vec::new() };
                if !say(&out, Say::Batch(batch)).await {
                    return;
                }
                continue;
            }
            match said.message().await {
                Ok(Some(v1::SubscribeRequest { message: Some(Said::Credit(more)) })) => {
                    credit += u64::try_from(more.events).unwrap();
                }
                Ok(Some(v1::SubscribeRequest { message: Some(Said::Ack(ack)) })) => {
                    self.0.acks.lock().push(position(&ack.resume_token));
                    say(&out, Say::Acked(v1::Acked { resume_token: ack.resume_token })).await;
                }
                _ => return,
            }
        }
    }
}

#[tonic::async_trait]
impl SubscriptionService for Stub {
    type SubscribeStream = ReceiverStream<Result<v1::SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<v1::SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (out, said) = mpsc::channel(2);
        tasks::spawn("pump", self.clone().pump(request.into_inner(), out));
        Ok(Response::new(ReceiverStream::new(said)))
    }

    async fn get_subscription(
        &self,
        _: Request<v1::GetSubscriptionRequest>,
    ) -> Result<Response<v1::GetSubscriptionResponse>, Status> {
        Err(Status::unimplemented("not of this stub"))
    }

    async fn list_subscriptions(
        &self,
        _: Request<v1::ListSubscriptionsRequest>,
    ) -> Result<Response<v1::ListSubscriptionsResponse>, Status> {
        Err(Status::unimplemented("not of this stub"))
    }

    async fn delete_subscription(
        &self,
        _: Request<v1::DeleteSubscriptionRequest>,
    ) -> Result<Response<v1::DeleteSubscriptionResponse>, Status> {
        match std::mem::take(&mut *self.0.named.lock()) {
            true => Err(refuse(Code::Unavailable, "DRAINING")),
            false => Err(refuse(Code::NotFound, "NOT_FOUND")),
        }
    }
}

pub(super) fn options(start: Start) -> Subscribe {
    Subscribe { window: 8, backoff: AT_ONCE, ..Subscribe::from(start) }
}

/// Takes deliveries until `events` came, confirming each; returns positions
/// and the last token.
pub(super) async fn take(subscription: &mut Subscription, events: usize) -> Result<(Vec<u64>, Bytes), Error> {
    let (mut positions, mut last) = (Vec::new(), Bytes::new());
    while positions.len() < events {
        let Some(delivery) = subscription.next().await? else { break };
        positions.extend(delivery.events().iter().map(|received| position(&received.event.event_id)));
        last = delivery.token().unwrap().clone();
        subscription.confirm(&last).await?;
    }
    Ok((positions, last))
}

#[tokio::test]
async fn every_event_comes_once_and_in_order_over_cuts_and_drains() {
    let away = || Status::unavailable("restarting");
    let cuts = [
        Cut::Status(3, away()),
        Cut::Quiet(1),
        Cut::Status(0, away()),
        Cut::Drain(6),
        Cut::Drain(0),
        Cut::Quiet(12),
    ];
    let stub = Stub::with(100, cuts);
    let hub = stub.serve().await;
    let mut subscription = hub.client().subscribe(options(Start::Earliest));

    let (positions, last) = take(&mut subscription, 100).await.unwrap();

    assert_eq!(positions, (1..=100).collect::<Vec<_>>());
    assert_eq!(last, token(100));
    assert!(*stub.0.most_credit.lock() <= 8, "credit stays within the window");
    let opens = stub.0.opens.lock();
    assert_eq!(opens.len(), 7);
    assert!(
        opens[1..].iter().all(|open| matches!(open.start, Some(v1::open::Start::ResumeToken(_)))),
        "only the first stream starts where the caller said"
    );
}

#[tokio::test]
async fn a_subscription_outlives_the_hub_it_was_opened_on() {
    let stub = Stub::with(40, []);
    let hub = stub.serve().await;
    let address = hub.address();
    let mut subscription = hub.client().subscribe(Subscribe {
        backoff: crate::client::Backoff { tries: None, ..AT_ONCE },
        ..options(Start::Earliest)
    });
    let (mut positions, _) = take(&mut subscription, 10).await.unwrap();
    hub.end().await;
    let _successor = Hub::subscriptions(Arc::new(stub.clone()), Some(address)).await;
    positions.extend(take(&mut subscription, 40 - positions.len()).await.unwrap().0);
    assert_eq!(positions, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_next_run_goes_on_exactly_after_the_stored_token() {
    let stub = Stub::with(20, []);
    let hub = stub.serve().await;
    let (first, stored) = take(&mut hub.client().subscribe(options(Start::Earliest)), 9).await.unwrap();
    let left = 20 - first.len();
    let (second, _) = take(&mut hub.client().subscribe(options(Start::Token(stored))), left).await.unwrap();
    assert_eq!([first, second].concat(), (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_starts_with_what_comes_loses_nothing_when_cut_before_the_first_event() {
    let stub = Stub::with(5, [Cut::Quiet(0), Cut::Status(0, refuse(Code::Internal, "INTERNAL_ERROR"))]);
    let hub = stub.serve().await;
    let mut subscription = hub.client().subscribe(options(Start::Latest));
    let opened = subscription.next().await.unwrap().unwrap();
    assert!(opened.events().is_empty());
    assert_eq!(opened.token(), Some(&token(5)), "the place is known before the first event");
    subscription.confirm(&token(5)).await.unwrap();
    subscription.next().await.unwrap_err();
    let again = stub.0.opens.lock()[1].start.clone();
    assert_eq!(again, Some(v1::open::Start::ResumeToken(token(5))), "not at what comes from then on");
}

#[tokio::test]
async fn a_scan_of_the_state_that_breaks_goes_on_and_what_was_recalled_comes_first() {
    let state = State { events: 20, recalled: Some(4), ..State::default() };
    state.cuts.lock().push_back(Cut::Quiet(6));
    let stub = Stub(Arc::new(state));
    let hub = stub.serve().await;
    let mut subscription = hub.client().subscribe(options(Start::CurrentState));
    let mut told = Vec::new();
    while !told.contains(&"end".to_owned()) {
        let delivery = subscription.next().await.unwrap().unwrap();
        match &delivery {
            Delivery::StateBegin { .. } => told.push("begin".to_owned()),
            Delivery::StateEnd { .. } => told.push("end".to_owned()),
            Delivery::Recalls(recalls) => {
                assert_eq!(recalls[0].kind, v1::EventKind::Revoked);
                told.push(format!("recall {}", position(&recalls[0].event.event_id)));
            }
            Delivery::Events(events) => {
                told.extend(events.events.iter().map(|e| position(&e.event.event_id).to_string()));
            }
        }
        if let Some(token) = delivery.token() {
            subscription.confirm(token).await.unwrap();
        }
    }
    let text = |numbers: std::ops::RangeInclusive<u64>| numbers.map(|n| n.to_string());
    let expected: Vec<_> = std::iter::once("begin".to_owned())
        .chain(text(1..=6))
        .chain(["recall 4".to_owned()])
        .chain(text(7..=20))
        .chain(["end".to_owned()])
        .collect();
    assert_eq!(told, expected);
    let starts: Vec<_> = stub.0.opens.lock().iter().map(|open| open.start.clone()).collect();
    assert_eq!(starts, [Some(v1::open::Start::Position(3)), Some(v1::open::Start::ResumeToken(token(6)))]);
}

#[tokio::test]
async fn an_expired_token_is_told_and_not_tried_again() {
    let stub = Stub::with(5, [Cut::Status(0, refuse(Code::OutOfRange, "RESUME_TOKEN_EXPIRED"))]);
    let hub = stub.serve().await;
    let mut subscription = hub.client().subscribe(options(Start::Token(token(1))));
    let error = subscription.next().await.unwrap_err();
    assert_eq!((error.reason(), error.advice()), ("RESUME_TOKEN_EXPIRED", Advice::Restart));
    assert_eq!(stub.0.opens.lock().len(), 1);
}

#[tokio::test]
async fn a_displaced_stream_does_not_displace_its_successor_in_turn() {
    let stub = Stub::with(9, [Cut::Status(3, refuse(Code::Aborted, "SUBSCRIPTION_DISPLACED"))]);
    let hub = stub.serve().await;
    let mut subscription = hub.client().subscribe(options(Start::Earliest));
    let error = take(&mut subscription, 9).await.unwrap_err();
    assert_eq!(error.reason(), "SUBSCRIPTION_DISPLACED");
    assert_eq!(stub.0.opens.lock().len(), 1);
}

#[tokio::test]
async fn kinds_that_do_not_match_the_events_in_number_are_an_error() {
    for kinds in [1, 2, 4] {
        let hub = Stub::with(9, [Cut::Kinds(kinds)]).serve().await;
        let error = take(&mut hub.client().subscribe(options(Start::Earliest)), 9).await.unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    }
    let hub = Stub::with(3, [Cut::Kinds(3)]).serve().await;
    take(&mut hub.client().subscribe(options(Start::Earliest)), 3).await.unwrap();
}

#[tokio::test]
async fn events_that_were_not_asked_for_are_an_error() {
    let hub = Stub::with(9, [Cut::Uninvited]).serve().await;
    let error = take(&mut hub.client().subscribe(options(Start::Earliest)), 9).await.unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
}

#[tokio::test]
async fn a_limit_ends_the_subscription_after_exactly_that_many_events() {
    let stub = Stub::with(50, [Cut::Quiet(6)]);
    let hub = stub.serve().await;
    let mut subscription = hub.client().subscribe(Subscribe { limit: Some(20), ..options(Start::Earliest) });
    let (positions, last) = take(&mut subscription, usize::MAX).await.unwrap();
    assert_eq!(positions, (1..=20).collect::<Vec<_>>());
    assert_eq!(last, token(20));
}

#[tokio::test]
async fn a_named_subscription_is_acknowledged_up_to_the_last_confirmation_when_closed() {
    let stub = Stub::with(20, []);
    let hub = stub.serve().await;
    let name = Some("organisations/sa-ict/subscriptions/siem".to_owned());
    let mut subscription = hub.client().subscribe(Subscribe { name, ..options(Start::Earliest) });
    take(&mut subscription, 20).await.unwrap();
    subscription.close().await.unwrap();
    let acks = stub.0.acks.lock().clone();
    assert_eq!(acks.last(), Some(&20));
    assert!(acks.is_sorted(), "{acks:?}");
}

#[tokio::test]
async fn without_a_name_nothing_is_acknowledged() {
    let stub = Stub::with(20, []);
    let hub = stub.serve().await;
    let mut subscription = hub.client().subscribe(options(Start::Earliest));
    take(&mut subscription, 20).await.unwrap();
    subscription.close().await.unwrap();
    assert!(stub.0.acks.lock().is_empty());
}

#[tokio::test]
async fn a_deletion_whose_answer_was_lost_is_no_error_and_one_of_nothing_is() {
    let stub = Stub::with(0, []);
    *stub.0.named.lock() = true;
    let hub = stub.serve().await;
    let client = hub.client().with_backoff(AT_ONCE);
    client.delete_subscription("organisations/sa-ict/subscriptions/siem").await.unwrap();
    let error = client.delete_subscription("organisations/sa-ict/subscriptions/siem").await.unwrap_err();
    assert_eq!(error.reason(), "NOT_FOUND");
}
