//! The compromised agency: the attacker has the keys of all systems of one
//! organisation, with every role that it has.

use luytre::wire::proto::v1;
use tonic::Code;
use uuid::Uuid;

use super::{READER, SECRET, hide, publish, reason, serves};
use crate::harness::issuing::request;
use crate::harness::{TestHub, Witness, draft};

const FEED: &str = "system/feed";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_agencys_keys_open_nothing_that_was_not_shared_with_it() {
    let hub = TestHub::builder()
        .principal("a", FEED, &READER)
        .principal("b", FEED, &READER)
        .organisation("c")
        .start()
        .await;
    let name = hide(&hub).await;
    let thief = Witness::new(&hub.peer("b", FEED));
    let last = Witness::new(&hub.peer("a", FEED)).publish(draft("last.example")).await;
    let heard = thief.watch_all().await.up_to_indicator(&last).await;
    assert_eq!(heard.len(), 1);
    assert_eq!(thief.list().await.len(), 1);
    assert!(thief.lookup(SECRET).await.is_empty());
    // Guessing in the other direction: publishing the value itself.
    thief.publish(draft(SECRET)).await;
    assert_eq!(thief.lookup(SECRET).await.len(), 1, "his own alone");
    let sighting = v1::Sighting { indicator: name.clone(), outcome: 1, ..Default::default() };
    let sighted = thief.sight(sighting).await.unwrap_err();
    assert_eq!(sighted, (Code::NotFound, "NOT_FOUND".to_owned()));
    let explained =
        v1::ExplainAccessRequest { name, organisation: "organisations/me".to_owned(), ..Default::default() };
    let refused = thief.call::<v1::ExplainAccessResponse>("ExchangeService/ExplainAccess", &explained).await;
    assert_eq!(reason(&refused.unwrap_err()).1, "NOT_FOUND");
    assert!(!thief.was_told("hidden-words"));
}

#[tokio::test(flavor = "multi_thread")]
async fn stolen_keys_are_worth_nothing_from_the_moment_of_their_revocation() {
    let hub = TestHub::builder()
        .principal("a", FEED, &READER)
        .principal("b", FEED, &READER)
        .organisation("c")
        .start_issuing()
        .await;
    let stolen = hub.peer_with("b", FEED, &hub.enrolled("b", FEED).await);
    let thief = Witness::new(&stolen);
    let mut watcher = thief.watch_all().await;
    let certificate = hub.certificates_of("b", FEED).await.pop().unwrap();
    hub.revoke(&certificate.name).await;
    assert_eq!(watcher.end().await, (Code::Unauthenticated, "CERTIFICATE_REVOKED".to_owned()));
    // What is published now he does not hear, and he does not come back, not
    // even to renew.
    assert!(stolen.directory().who_am_i(v1::WhoAmIRequest {}).await.is_err());
    let key = luytre::pki::key::Key::for_leaf().unwrap();
    assert!(crate::harness::rotating::renew(stolen.channel(), &key).await.is_err());
    assert!(!thief.was_told(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_key_makes_no_certificate_for_another_name() {
    let hub = TestHub::builder()
        .principal("b", FEED, &READER)
        .principal("b", "system/siem", &READER)
        .start_issuing()
        .await;
    let stolen = hub.peer_with("b", FEED, &hub.enrolled("b", FEED).await);
    // Issuing tokens is the operator's.
    let asked = v1::IssueEnrollmentTokenRequest {
        request_id: Uuid::new_v4().to_string(),
        spiffe_id: hub.spiffe("b", "system/another"),
        ..Default::default()
    };
    let refused = stolen.certificates().issue_enrollment_token(asked).await.unwrap_err();
    assert_eq!(reason(&refused).1, "ROLE_INSUFFICIENT");
    // A token that was used is used up, and one that was guessed is none.
    let token = hub.token("b", "system/siem").await;
    let key = luytre::pki::key::Key::for_leaf().unwrap();
    hub.enrol(&token, request(&key)).await.unwrap();
    for worthless in [token.as_str(), "not-a-token", ""] {
        let own = luytre::pki::key::Key::for_leaf().unwrap();
        assert!(hub.enrol(worthless, request(&own)).await.is_err(), "{worthless}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_system_that_runs_wild_leaves_its_colleagues_and_all_others_their_share() {
    let limits = "[limits]\nitems_per_second = 20\nprincipal_percent = 50";
    let hub = TestHub::builder()
        .principal("a", FEED, &READER)
        .principal("b", FEED, &READER)
        .principal("b", "system/soc", &READER)
        .config(limits)
        .start()
        .await;
    let wild = hub.peer("b", FEED);
    publish(&wild, (0..100).map(|n| format!("w{n}.example"))).await.unwrap();
    let refused = publish(&wild, (0..100).map(|n| format!("x{n}.example"))).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::ResourceExhausted, "RATE_LIMITED".to_owned()));
    let colleague = hub.peer("b", "system/soc");
    publish(&colleague, (0..50).map(|n| format!("y{n}.example"))).await.unwrap();
    serves(&hub, "a").await;
}
