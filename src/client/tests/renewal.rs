//! Promises of renewal and enrolment, against a hub that shakes hands.

use std::path::Path;
use std::sync::Arc;

use tonic::transport::Server;

use super::authority::{Authority, Fault, HOLDER, TlsHub};
use super::{AT_ONCE, exchange, subscription};
use crate::client::{Connection, Endpoint, Enrolment, Error, Identity, Keep, PublishOptions, Start};
use crate::pki::token::EnrolmentToken;
use crate::wire::proto::v1;
use v1::certificate_service_server::CertificateServiceServer;
use v1::enrollment_service_server::EnrollmentServiceServer;
use v1::exchange_service_server::ExchangeServiceServer;
use v1::subscription_service_server::SubscriptionServiceServer;

struct Scene {
    dir: tempfile::TempDir,
    authority: Arc<Authority>,
    events: subscription::Stub,
    exchange: exchange::Stub,
    hub: TlsHub,
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        authority.enrol(dir.path());
        let (events, exchange) = (subscription::Stub::with(30, []), exchange::Stub::with([]));
        let router = Server::builder()
            .add_service(CertificateServiceServer::from_arc(Arc::clone(&authority)))
            .add_service(EnrollmentServiceServer::from_arc(Arc::clone(&authority)))
            .add_service(SubscriptionServiceServer::new(events.clone()))
            .add_service(ExchangeServiceServer::new(exchange.clone()));
        let hub = TlsHub::serve(authority.config(true), router).await;
        Self { dir, authority, events, exchange, hub }
    }

    fn identity(&self) -> Identity {
        Identity::from_files(self.dir.path().join("me.pem"), self.dir.path().join("me.key")).unwrap()
    }

    fn connect(&self, identity: Identity) -> Connection {
        let endpoint = Endpoint::new(&self.hub.address.to_string(), self.dir.path().join("ca.pem"));
        Connection::open(&endpoint.unwrap().server_name("localhost"), identity).unwrap()
    }

    /// Waits until a connection has ended, and checks that it was the first.
    async fn first_ended(&mut self) {
        let ended = self.hub.ended.wait_for(|ended| !ended.is_empty()).await.unwrap().clone();
        assert_eq!(ended, self.hub.shown()[..1]);
    }
}

fn leaf(dir: &Path) -> Vec<u8> {
    let text = std::fs::read(dir.join("me.pem")).unwrap();
    crate::pki::pem::certificates(&text).unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_renewed_certificate_takes_over_a_live_stream_and_no_event_is_lost_or_repeated() {
    let mut scene = Scene::new().await;
    let identity = scene.identity();
    let connection = scene.connect(identity.clone());
    let client = connection.client().with_backoff(AT_ONCE);
    let mut stream = client.subscribe(subscription::options(Start::Earliest));
    let (before, _) = subscription::take(&mut stream, 10).await.unwrap();

    let mut place = connection.place();
    let issued = identity.renew_over(&client).await.unwrap();
    assert_eq!(issued.details().spiffe_id, HOLDER);
    place.left().await;
    let (after, _) = subscription::take(&mut stream, 30 - before.len()).await.unwrap();

    assert_eq!([before, after].concat(), (1..=30).collect::<Vec<_>>());
    // The old connection ends while the stream goes on over the new one.
    scene.first_ended().await;
    let shown = scene.hub.shown();
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[1].as_ref(), leaf(scene.dir.path()));
    assert_ne!(shown[0], shown[1]);
    let opens = scene.events.opens();
    assert!(matches!(opens[1].start, Some(v1::open::Start::ResumeToken(_))));
    assert_eq!(opens.len(), 2);
}

#[tokio::test]
async fn a_subscriber_that_waits_moves_over_too() {
    let mut scene = Scene::new().await;
    let identity = scene.identity();
    let connection = scene.connect(identity.clone());
    let client = connection.client().with_backoff(AT_ONCE);
    let mut stream = client.subscribe(subscription::options(Start::Latest));
    let waits = stream.next().await.unwrap();
    assert!(waits.unwrap().events().is_empty());
    let waiting = crate::base::tasks::spawn("waiting", async move { stream.next().await });
    identity.renew_over(&client).await.unwrap();
    scene.first_ended().await;
    assert!(!waiting.is_finished());
    waiting.abort();
}

#[tokio::test]
async fn a_publisher_that_is_idle_ends_its_old_stream_and_publishes_everything_once() {
    let scene = Scene::new().await;
    let identity = scene.identity();
    let connection = scene.connect(identity.clone());
    let client = connection.client().with_backoff(AT_ONCE);
    let mut stream = client.publish_stream(PublishOptions { batch: 2, ..PublishOptions::default() });
    let mut verdicts = Vec::new();
    for n in 0..6 {
        verdicts.extend(stream.push(exchange::draft(n)).await.unwrap());
    }
    verdicts.extend(stream.flush().await.unwrap());
    assert_eq!(verdicts.len(), 6);
    identity.renew_over(&client).await.unwrap();
    // Nobody asks the stream for anything meanwhile.
    while scene.exchange.ended() == 0 {
        tokio::task::yield_now().await;
    }
    for n in 6..11 {
        verdicts.extend(stream.push(exchange::draft(n)).await.unwrap());
    }
    verdicts.extend(stream.finish().await.unwrap());
    assert_eq!(verdicts.iter().map(|verdict| verdict.index).collect::<Vec<_>>(), (0..11).collect::<Vec<_>>());
    assert_eq!((scene.exchange.published(), scene.exchange.ended()), (11, 2));
    assert_eq!(scene.hub.shown().len(), 2);
}

#[tokio::test]
async fn files_that_another_program_replaced_move_connections_over() {
    let mut scene = Scene::new().await;
    let identity = scene.identity();
    let connection = scene.connect(identity.clone());
    connection.client().trust_bundle().await.unwrap();
    scene.authority.enrol(scene.dir.path());
    assert!(identity.reload().unwrap());
    scene.first_ended().await;
    connection.client().trust_bundle().await.unwrap();
    assert_eq!(scene.hub.shown().len(), 2);
}

#[tokio::test]
async fn a_renewed_certificate_that_the_hub_does_not_take_leaves_the_old_connection_in_use() {
    let mut scene = Scene::new().await;
    let identity = scene.identity();
    let connection = scene.connect(identity.clone());
    let client = connection.client().with_backoff(AT_ONCE);
    let mut stream = client.subscribe(subscription::options(Start::Earliest));
    subscription::take(&mut stream, 3).await.unwrap();
    // Of another authority.
    let other = Authority::new();
    other.enrol(scene.dir.path());
    std::fs::write(scene.dir.path().join("ca.pem"), scene.authority.pem()).unwrap();
    identity.reload().unwrap();
    // The second try tells that the first one is over.
    scene.hub.refused.wait_for(|refused| *refused > 1).await.unwrap();
    let rest = subscription::take(&mut stream, 27).await.unwrap().0;
    assert_eq!(rest.last(), Some(&30));
    assert_eq!(scene.events.opens().len(), 1);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_key() {
    let scene = Scene::new().await;
    let identity = scene.identity();
    let client = scene.connect(identity.clone()).client().with_backoff(AT_ONCE);
    *scene.authority.lost.lock() = 200;
    identity.renew_over(&client).await.unwrap_err();
    *scene.authority.lost.lock() = 3;
    // Another process, as after a kill.
    let identity = scene.identity();
    let before = leaf(scene.dir.path());
    identity.renew_over(&client).await.unwrap();
    assert_eq!(scene.authority.keys(), 1);
    assert_ne!(leaf(scene.dir.path()), before);
    scene.identity();
}

#[tokio::test]
async fn an_answer_for_another_key_or_identity_changes_nothing() {
    for fault in [Fault::Key, Fault::Holder] {
        let scene = Scene::new().await;
        let identity = scene.identity();
        let client = scene.connect(identity.clone()).client();
        let before = leaf(scene.dir.path());
        *scene.authority.fault.lock() = Some(fault);
        let error = identity.renew_over(&client).await.unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error}");
        assert_eq!(leaf(scene.dir.path()), before);
        assert!(!identity.reload().unwrap());
    }
}

#[tokio::test]
async fn a_new_system_knows_the_hub_by_its_token_and_starts_with_what_it_stored() {
    let scene = Scene::new().await;
    let router =
        Server::builder().add_service(EnrollmentServiceServer::from_arc(Arc::clone(&scene.authority)));
    let door = TlsHub::serve(scene.authority.config(false), router).await;
    let dir = tempfile::tempdir().unwrap();
    let keep = Keep::open(dir.path().join("me.pem"), dir.path().join("me.key")).unwrap();
    let keep = keep.with_authorities(dir.path().join("ca.pem"));
    let token = |root| EnrolmentToken::generate(root).reveal();
    let enrolment =
        |root| Enrolment::new(&door.address.to_string(), &token(root)).unwrap().server_name("localhost");

    let error = enrolment([1; 32]).enrol(keep.pending_key().unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::Untrusted { .. }), "{error}");
    assert!(error.to_string().contains("token"), "{error}");
    assert_eq!(scene.authority.keys(), 0);
    let error = enrolment(scene.authority.digest()).server_name("other.example");
    error.enrol(keep.pending_key().unwrap()).await.unwrap_err();

    let issued = enrolment(scene.authority.digest()).enrol(keep.pending_key().unwrap()).await.unwrap();
    keep.store(&issued).unwrap();
    let identity = Identity::from_files(dir.path().join("me.pem"), dir.path().join("me.key")).unwrap();
    let endpoint = Endpoint::new(&scene.hub.address.to_string(), dir.path().join("ca.pem")).unwrap();
    let hub = Connection::open(&endpoint.server_name("localhost"), identity).unwrap();
    hub.client().trust_bundle().await.unwrap();
}

#[tokio::test]
async fn an_enrolment_may_trust_authorities_that_are_known_already() {
    let scene = Scene::new().await;
    let router =
        Server::builder().add_service(EnrollmentServiceServer::from_arc(Arc::clone(&scene.authority)));
    let door = TlsHub::serve(scene.authority.config(false), router).await;
    let token = EnrolmentToken::generate([1; 32]).reveal();
    let enrolment = Enrolment::new(&door.address.to_string(), &token).unwrap().server_name("localhost");
    let enrolment = enrolment.authorities(scene.dir.path().join("ca.pem"));
    let issued = enrolment.enrol(crate::pki::issue::Key::for_leaf().unwrap()).await.unwrap();
    assert_eq!(issued.details().spiffe_id, HOLDER);
}
