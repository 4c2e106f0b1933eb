//! Promises of the hub's own authorities: systems enrol with a token, renew
//! over their certificate, and are out the moment that one is revoked.

use luytre::model::principal::Role;
use luytre::pki::key::Key;
use luytre::wire::proto::v1;
use tonic::Code;
use uuid::Uuid;

use crate::harness::issuing::{Issuing, request};
use crate::harness::{Peer, TestHub, eventually};

fn id() -> String {
    Uuid::new_v4().to_string()
}

async fn started() -> Issuing {
    TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher, Role::Subscriber])
        .principal("b", "system/feed", &[Role::Publisher, Role::Subscriber])
        .start_issuing()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_enrols_with_a_token_and_is_served() {
    let hub = started().await;
    let feed = hub.enrolled("a", "system/feed").await;
    let peer: Peer = hub.peer_with("a", "system/feed", &feed);
    let answer = peer.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap().into_inner();
    assert_eq!(answer.spiffe_id, "spiffe://test.luytre.example/org/a/system/feed");
    assert_eq!(answer.key_exchange, "X25519MLKEM768");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_used_once_and_the_same_key_gets_the_same_answer() {
    let hub = started().await;
    let token = hub.token("a", "system/feed").await;
    let (key, other) = (Key::for_leaf().unwrap(), Key::for_leaf().unwrap());
    let first = hub.enrol(&token, request(&key)).await.unwrap();
    let again = hub.enrol(&token, request(&key)).await.unwrap();
    assert_eq!(first.chain, again.chain);
    let refused = hub.enrol(&token, request(&other)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_is_out_when_the_command_answers() {
    let hub = started().await;
    let feed = hub.enrolled("a", "system/feed").await;
    let peer = hub.peer_with("a", "system/feed", &feed);
    let mut me = peer.directory();
    let serial = me.who_am_i(v1::WhoAmIRequest {}).await.unwrap().into_inner().certificate_serial;
    let mut machine = hub.machine();
    let listed =
        machine.list_certificates(v1::ListCertificatesRequest::default()).await.unwrap().into_inner();
    let mine = listed.certificates.iter().find(|c| c.serial == serial).unwrap();
    assert_eq!(mine.connection_count, 1, "{mine:?}");
    let asked = v1::RevokeCertificateRequest {
        request_id: id(),
        name: mine.name.clone(),
        reason: "stolen".to_owned(),
        ..Default::default()
    };
    let done = machine.revoke_certificate(asked).await.unwrap().into_inner();
    assert_eq!(done.severed_count, 1, "{done:?}");
    assert!(me.who_am_i(v1::WhoAmIRequest {}).await.is_err());
    eventually("the list names it", async || hub.listed().await.contains(&serial).then_some(())).await;
}
