//! Promises of a revocation: what was acknowledged before it stands, nothing
//! comes after it, and nobody else notices.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use luytre::model::principal::Role;
use luytre::pki::key::Key;
use luytre::wire::proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

use crate::harness::issuing::{Issuing, request};
use crate::harness::listener::reason;
use crate::harness::patience::patiently;
use crate::harness::rotating::{id, renew};
use crate::harness::witness::from_the_beginning;
use crate::harness::{Peer, TestHub, batch, draft, eventually, value_of};

const FEED: &str = "system/feed";

async fn started() -> Issuing {
    TestHub::builder()
        .principal("a", FEED, &[Role::Publisher, Role::Subscriber])
        .principal("b", FEED, &[Role::Publisher, Role::Subscriber])
        .principal("hub", "user/lan", &[Role::Operator])
        .start_issuing()
        .await
}

/// A system with a certificate of the hub's own authority.
async fn peer(hub: &Issuing, organisation: &str, name: &str) -> Peer {
    hub.peer_with(organisation, name, &hub.enrolled(organisation, name).await)
}

/// Hears of everything, from the beginning; the sender keeps it open.
async fn hear(peer: &Peer) -> (mpsc::Sender<v1::SubscribeRequest>, Streaming<v1::SubscribeResponse>) {
    let (say, said) = mpsc::channel(4);
    let open = v1::subscribe_request::Message::Open(from_the_beginning());
    say.send(v1::SubscribeRequest { message: Some(open) }).await.unwrap();
    let stream = peer.subscriptions().subscribe(ReceiverStream::new(said)).await.unwrap();
    (say, stream.into_inner())
}

/// Values up to `last`.
async fn values_up_to(stream: &mut Streaming<v1::SubscribeResponse>, last: &str) -> Vec<String> {
    let mut values: Vec<String> = Vec::new();
    while values.last().is_none_or(|value| value != last) {
        let frame = patiently("a frame", stream.message()).await.unwrap().unwrap();
        if let Some(v1::subscribe_response::Message::Batch(batch)) = frame.message {
            values.extend(batch.events.into_iter().filter_map(|event| match event.subject {
                Some(v1::event::Subject::Indicator(indicator)) => Some(value_of(&indicator)),
                _ => None,
            }));
        }
    }
    values
}

/// Publishes without pause until the hub ends it: what was acknowledged, and
/// how it ended.
async fn publish_on(peer: Peer, acknowledged: Arc<AtomicUsize>) -> (Vec<String>, Status) {
    let (say, said) = mpsc::channel(8);
    tokio::spawn(async move {
        for number in 0.. {
            let values = (0..5).map(|item| draft(&format!("n{number}-{item}.a.example"))).collect();
            if say.send(batch(Uuid::new_v4(), values)).await.is_err() {
                return;
            }
        }
    });
    let mut answers = peer.exchange().publish_stream(ReceiverStream::new(said)).await.unwrap().into_inner();
    let mut values = Vec::new();
    for number in 0.. {
        match patiently("an answer", answers.message()).await {
            Ok(answer) => {
                let results = answer.expect("the hub says why it ends a stream").results;
                assert_eq!(results.len(), 5);
                values.extend((0..5).map(|item| format!("n{number}-{item}.a.example")));
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            Err(status) => return (values, status),
        }
    }
    unreachable!("it ends when it is revoked")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_at_a_revocation_is_stored_before_it_or_not_at_all() {
    let hub = started().await;
    let (a, b) = (peer(&hub, "a", FEED).await, peer(&hub, "b", FEED).await);
    let (_a_says, mut a_hears) = hear(&a).await;
    let (_b_says, mut b_hears) = hear(&b).await;
    let acknowledged = Arc::<AtomicUsize>::default();
    let publishing = tokio::spawn(publish_on(a.clone(), Arc::clone(&acknowledged)));
    eventually("it publishes", async || (acknowledged.load(Ordering::SeqCst) > 20).then_some(())).await;
    let certificate = hub.certificates_of("a", FEED).await.pop().unwrap();
    assert_eq!(certificate.connection_count, 2, "{certificate:?}");

    let done = hub.revoke(&certificate.name).await;
    assert_eq!(done.severed_count, 2, "{done:?}");
    b.exchange().publish_indicators(batch(Uuid::new_v4(), vec![draft("marker.b.example")])).await.unwrap();

    let (values, ended) = publishing.await.unwrap();
    assert_eq!(
        (ended.code(), reason(&ended).as_deref()),
        (Code::Unauthenticated, Some("CERTIFICATE_REVOKED"))
    );
    let heard = values_up_to(&mut b_hears, "marker.b.example").await;
    let stored: BTreeSet<_> = heard.iter().cloned().collect();
    assert_eq!(stored.len(), heard.len(), "nothing twice");
    assert!(values.iter().all(|value| stored.contains(value)), "what was acknowledged stands");
    b.exchange().publish_indicators(batch(Uuid::new_v4(), vec![draft("last.b.example")])).await.unwrap();
    assert_eq!(values_up_to(&mut b_hears, "last.b.example").await, ["last.b.example"], "nothing after it");

    let ended = loop {
        if let Err(status) = patiently("the end of a stream", a_hears.message()).await {
            break status;
        }
    };
    assert_eq!(
        (ended.code(), reason(&ended).as_deref()),
        (Code::Unauthenticated, Some("CERTIFICATE_REVOKED"))
    );
    eventually("its connections are closed", async || {
        let now = hub.certificates_of("a", FEED).await.pop().unwrap();
        assert_eq!(now.state(), v1::CertificateState::Revoked);
        (now.connection_count == 0).then_some(())
    })
    .await;
    a.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap_err();
    renew(a.channel(), &Key::for_leaf().unwrap()).await.unwrap_err();
    b.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_more_is_sent_to_a_revoked_one_although_nobody_signs_a_list() {
    let mut hub = started().await;
    let (a, b) = (peer(&hub, "a", FEED).await, peer(&hub, "b", FEED).await);
    let (_a_says, mut a_hears) = hear(&a).await;
    b.exchange().publish_indicators(batch(Uuid::new_v4(), vec![draft("before.b.example")])).await.unwrap();
    values_up_to(&mut a_hears, "before.b.example").await;
    let certificate = hub.certificates_of("a", FEED).await.pop().unwrap();
    hub.kill_signer();
    // Whoever keeps the lists in force pauses now between his tries.
    let before = hub.log().len();
    hub.token("b", FEED).await;
    let noticed = async || hub.log()[before..].contains("trying again").then_some(());
    eventually("he has noticed", noticed).await;

    let done = hub.revoke(&certificate.name).await;
    assert_eq!((done.severed_count, done.list_signed), (1, false), "{done:?}");
    b.exchange().publish_indicators(batch(Uuid::new_v4(), vec![draft("after.b.example")])).await.unwrap();
    let ended = loop {
        match patiently("the end of a stream", a_hears.message()).await {
            Ok(frame) => assert!(!format!("{frame:?}").contains("after.b.example"), "{frame:?}"),
            Err(status) => break status,
        }
    };
    assert_eq!(
        (ended.code(), reason(&ended).as_deref()),
        (Code::Unauthenticated, Some("CERTIFICATE_REVOKED"))
    );
    a.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_used_by_a_hundred_at_once_gives_one_certificate() {
    let hub = started().await;
    let token = hub.token("a", FEED).await;
    let keys: Vec<_> = (0..100).map(|_| Key::for_leaf().unwrap()).collect();
    let answers = join_all(keys.iter().map(|key| hub.enrol(&token, request(key)))).await;
    let issued = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(issued, 1, "{:?}", answers.iter().filter_map(|a| a.as_ref().err()).next());
    assert_eq!(hub.certificates_of("a", FEED).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_takes_two_persons_as_soon_as_there_are_two() {
    let hub = started().await;
    let asked = || v1::IssueEnrollmentTokenRequest {
        request_id: id(),
        spiffe_id: hub.spiffe("a", FEED),
        note: "by phone".to_owned(),
        ..Default::default()
    };
    let approval = |token: &v1::IssueEnrollmentTokenResponse| v1::ApproveEnrollmentTokenRequest {
        request_id: id(),
        name: token.enrollment_token.as_ref().unwrap().name.clone(),
    };
    let mut machine = hub.machine();
    // Nobody else could be asked, so the first token takes nobody else.
    let first = machine.issue_enrollment_token(asked()).await.unwrap().into_inner();
    machine.approve_enrollment_token(approval(&first)).await.unwrap();
    let lan = peer(&hub, "hub", "user/lan").await;
    let alone = machine.issue_enrollment_token(asked()).await.unwrap().into_inner();
    let refused = machine.approve_enrollment_token(approval(&alone)).await.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("SECOND_PERSON_REQUIRED"), "{refused:?}");
    let waits = hub.enrol(&alone.token, request(&Key::for_leaf().unwrap())).await.unwrap_err();
    assert_eq!(reason(&waits).as_deref(), Some("ENROLMENT_TOKEN_INVALID"), "{waits:?}");
    lan.certificates().approve_enrollment_token(approval(&alone)).await.unwrap();

    let hers = lan.certificates().issue_enrollment_token(asked()).await.unwrap().into_inner();
    let refused = lan.certificates().approve_enrollment_token(approval(&hers)).await.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("SECOND_PERSON_REQUIRED"), "{refused:?}");
    machine.approve_enrollment_token(approval(&hers)).await.unwrap();
    hub.enrol(&hers.token, request(&Key::for_leaf().unwrap())).await.unwrap();

    // Who is no operator makes none.
    let feed = peer(&hub, "b", FEED).await;
    let refused = feed.certificates().issue_enrollment_token(asked()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    // Nor does a request that asks for more than a key change anything.
    let token = lan.certificates().issue_enrollment_token(asked()).await.unwrap().into_inner();
    machine.approve_enrollment_token(approval(&token)).await.unwrap();
    let pair = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.serialize_request(&pair).unwrap().der().to_vec();
    let refused = hub.enrol(&token.token, authority).await.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("FIELD_INVALID"), "{refused:?}");
    hub.enrol(&token.token, request(&Key::for_leaf().unwrap())).await.unwrap();
}
