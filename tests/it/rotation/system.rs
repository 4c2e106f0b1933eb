//! Decides how a simulated agency behaves: it publishes and hears without
//! pause, on one connection, and moves when its certificate is renewed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use luytre::pki::key::Key;
use luytre::wire::proto::v1;
use luytre::wire::proto::v1::certificate_service_client::CertificateServiceClient;
use luytre::wire::proto::v1::directory_service_client::DirectoryServiceClient;
use luytre::wire::proto::v1::exchange_service_client::ExchangeServiceClient;
use luytre::wire::proto::v1::subscription_service_client::SubscriptionServiceClient;
use parking_lot::Mutex;
use prost::bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use uuid::Uuid;
use v1::subscribe_request::Message as Say;
use v1::subscribe_response::Message as Heed;

use crate::harness::issuing::Issuing;
use crate::harness::rotating::renew;
use crate::harness::{Credentials, Peer, batch, draft, eventually, value_of};

/// What every system is called within its organisation.
pub(super) const NAME: &str = "system/feed";
/// Events that it is sent ahead.
const CREDIT: u32 = 1_000;
/// Between two things that it publishes.
const PACE: Duration = Duration::from_millis(400);

/// What it has done so far.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// Values that the hub said it stored.
    pub(super) published: Mutex<Vec<String>>,
    /// Values of its neighbour that it heard of.
    pub(super) heard: Mutex<Vec<String>>,
    /// What went wrong.
    pub(super) problems: Mutex<Vec<String>>,
}

/// An agency.
pub(super) struct System {
    pub(super) organisation: String,
    pub(super) books: Arc<Books>,
    pub(super) credentials: Credentials,
    peers: Vec<Peer>,
    channel: watch::Sender<Channel>,
    stop: CancellationToken,
    publishing: JoinHandle<()>,
    hearing: JoinHandle<()>,
}

impl System {
    /// Enrols, publishes, and hears of what `neighbour` publishes.
    pub(super) async fn start(hub: &Issuing, organisation: &str, neighbour: &str) -> Self {
        let credentials = hub.enrolled(organisation, NAME).await;
        let peer = hub.peer_with(organisation, NAME, &credentials);
        let (channel, books) = (watch::Sender::new(peer.channel()), Arc::<Books>::default());
        let stop = CancellationToken::new();
        let publishing =
            publish(organisation.to_owned(), channel.subscribe(), Arc::clone(&books), stop.clone());
        let hearing = hear(neighbour.to_owned(), channel.subscribe(), Arc::clone(&books));
        let (publishing, hearing) = (tokio::spawn(publishing), tokio::spawn(hearing));
        let organisation = organisation.to_owned();
        Self { organisation, books, credentials, peers: vec![peer], channel, stop, publishing, hearing }
    }

    /// The certificate in use.
    pub(super) fn peer(&self) -> &Peer {
        self.peers.last().unwrap()
    }

    /// The connection in use.
    pub(super) fn channel(&self) -> Channel {
        self.channel.borrow().clone()
    }

    /// Proves its trust if the hub asks for that; whether it did.
    pub(super) async fn prove(&self) -> bool {
        let asked = v1::GetTrustBundleRequest {};
        let answer = CertificateServiceClient::new(self.channel()).get_trust_bundle(asked).await.unwrap();
        let name = answer.into_inner().canary_name;
        if name.is_empty() {
            return false;
        }
        self.peer().greet(&name).await.unwrap();
        true
    }

    /// What the hub says of its certificate; the second way to say it is in
    /// the trailers.
    pub(super) async fn is_asked_to_renew(&self) -> bool {
        let mut me = DirectoryServiceClient::new(self.channel());
        let answer = me.who_am_i(v1::WhoAmIRequest {}).await.unwrap();
        let trailer = answer.metadata().get("luytre-renew-now").is_some_and(|value| value == "1");
        assert_eq!(answer.get_ref().renew_now, trailer, "{answer:?}");
        trailer
    }

    /// Renews its certificate over its connection, and moves to it.
    pub(super) async fn renew(&mut self, hub: &Issuing) -> v1::IssuedCertificate {
        let key = Key::for_leaf().unwrap();
        let issued = renew(self.channel(), &key).await.unwrap();
        let stem = format!("{}-{}", self.organisation, self.peers.len());
        let credentials = hub.keep(&stem, &issued, &key);
        let peer = hub.peer_with(&self.organisation, NAME, &credentials);
        let channel = peer.channel();
        DirectoryServiceClient::new(channel.clone()).who_am_i(v1::WhoAmIRequest {}).await.unwrap();
        self.peers.push(peer);
        self.channel.send_replace(channel);
        issued
    }

    /// Publishes no more; waits until everything published is answered.
    pub(super) async fn stop(&mut self) {
        self.stop.cancel();
        (&mut self.publishing).await.unwrap();
    }

    /// Goes away with its connection, as at a loss of power.
    pub(super) async fn vanish(mut self) -> (Peer, Arc<Books>) {
        self.stop().await;
        self.hearing.abort();
        let _ = (&mut self.hearing).await;
        (self.peers.pop().unwrap(), Arc::clone(&self.books))
    }

    /// Waits until it heard all that `neighbour` published, and looks whether
    /// that is all that happened.
    pub(super) async fn check(&self, neighbour: &Books) {
        let published = neighbour.published.lock().clone();
        let who = format!("{} hears of all", self.organisation);
        eventually(&who, async || {
            let heard = self.books.heard.lock().len();
            (heard >= published.len() || !self.books.problems.lock().is_empty()).then_some(())
        })
        .await;
        assert_eq!(*self.books.problems.lock(), Vec::<String>::new(), "{}", self.organisation);
        assert_eq!(*self.books.heard.lock(), published, "{}", self.organisation);
        assert!(!published.is_empty());
        for peer in &self.peers {
            assert_eq!(peer.connections(), 1, "{} was disconnected", self.organisation);
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.publishing.abort();
        self.hearing.abort();
    }
}

async fn publish(
    organisation: String,
    mut channel: watch::Receiver<Channel>,
    books: Arc<Books>,
    stop: CancellationToken,
) {
    for number in 0_u64.. {
        let mut client = ExchangeServiceClient::new(channel.borrow_and_update().clone());
        let value = format!("n{number}.{organisation}.example");
        match client.publish_indicators(batch(Uuid::new_v4(), vec![draft(&value)])).await {
            Ok(answer) => match answer.into_inner().results.pop().and_then(|result| result.outcome) {
                Some(v1::publish_result::Outcome::Published(_)) => books.published.lock().push(value),
                other => books.problems.lock().push(format!("{value}: {other:?}")),
            },
            Err(status) => return books.problems.lock().push(format!("{value}: {status:?}")),
        }
        drop(client);
        let pause = async {
            tokio::select! {
                () = tokio::time::sleep(PACE) => {}
                // What is held of the old connection keeps it open.
                _ = channel.changed() => {}
            }
        };
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

async fn hear(neighbour: String, mut channel: watch::Receiver<Channel>, books: Arc<Books>) {
    let (mut token, mut known) = (None, HashSet::new());
    loop {
        let start = match &token {
            Some(token) => v1::open::Start::ResumeToken(Bytes::clone(token)),
            None => v1::open::Start::Position(v1::StartPosition::Earliest.into()),
        };
        let open = v1::Open {
            start: Some(start),
            initial_credit: CREDIT,
            filter: Some(v1::IndicatorFilter {
                owners: vec![format!("organisations/{neighbour}")],
                ..Default::default()
            }),
            ..Default::default()
        };
        let (say, said) = mpsc::channel(64);
        say.try_send(v1::SubscribeRequest { message: Some(Say::Open(open)) }).unwrap();
        let mut client = SubscriptionServiceClient::new(channel.borrow_and_update().clone());
        let mut stream = match client.subscribe(ReceiverStream::new(said)).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return books.problems.lock().push(format!("subscribing: {status:?}")),
        };
        loop {
            let frame = tokio::select! {
                frame = stream.message() => frame,
                changed = channel.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
            };
            match frame {
                Ok(Some(v1::SubscribeResponse { message: Some(Heed::Batch(events)) })) => {
                    let count = events.events.len() as i64;
                    for event in events.events {
                        let Some(v1::event::Subject::Indicator(indicator)) = event.subject else { continue };
                        if !known.insert(event.event_id) {
                            books.problems.lock().push(format!("{} came twice", value_of(&indicator)));
                        }
                        books.heard.lock().push(value_of(&indicator));
                    }
                    token = Some(events.resume_token);
                    let more =
                        v1::SubscribeRequest { message: Some(Say::Credit(v1::Credit { events: count })) };
                    let _ = say.send(more).await;
                }
                Ok(Some(v1::SubscribeResponse { message: Some(Heed::Heartbeat(beat)) })) => {
                    token = Some(beat.resume_token);
                }
                Ok(Some(_)) => {}
                ended => return books.problems.lock().push(format!("the stream ended: {ended:?}")),
            }
        }
    }
}
