//! What a wide look-up promises over the wire and at the prompt: a value is
//! found under what contains it, each match says how, and who does not ask for
//! that is answered as ever. `engine/wider.rs` proves what is found.

use luytre::model::principal::Role;
use luytre::wire::observable::flat;
use luytre::wire::proto::v1::{self, LookupRelation as How, LookupScope};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::harness::{Peer, TestHub, batch, draft, luytre, luytre_fed, text_value};

const KNOWN: [&str; 7] = [
    "198.51.100.0/24",
    "198.51.96.0/20",
    "198.51.100.7:8443",
    "example.com.vn",
    "com.vn",
    "2001:db8::/32",
    "http://mail.example.com.vn/login",
];

async fn start() -> (TestHub, Peer) {
    let hub = TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher, Role::Subscriber, Role::Analyst])
        .start()
        .await;
    let peer = hub.peer("a", "system/feed");
    let drafts = KNOWN.iter().map(|text| draft(text)).collect();
    peer.exchange().publish_indicators(batch(Uuid::new_v4(), drafts)).await.unwrap();
    (hub, peer)
}

fn asked(scope: LookupScope, values: &[&str]) -> v1::LookupObservablesRequest {
    let observables = values.iter().map(|value| text_value(value)).collect();
    v1::LookupObservablesRequest { observables, scope: scope.into() }
}

fn matches(result: &v1::LookupResult) -> Vec<(How, String)> {
    assert!(!result.truncated);
    result.matches.iter().map(|found| (found.relation(), flat(found.matched.clone()).1)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_one_stream_are_each_answered_in_the_scope_that_they_ask_for() {
    let (_hub, peer) = start().await;
    let values =
        ["http://mail.example.com.vn/login", "not a value", "198.51.100.7", "https://198.51.100.7:8443/x"];
    let scopes = [LookupScope::Unspecified, LookupScope::Wide, LookupScope::Exact];
    let requests = tokio_stream::iter(scopes.map(|scope| asked(scope, &values)));
    let mut answers = peer.exchange().lookup_observables(requests).await.unwrap().into_inner();
    for scope in scopes {
        let results = answers.message().await.unwrap().unwrap().results;
        let [mail, refused, address, server] = &results[..] else { panic!("{results:?}") };
        assert!(refused.rejected.is_some());
        if scope != LookupScope::Wide {
            assert_eq!(matches(mail), [(How::Exact, String::new())]);
            assert!(address.matches.is_empty() && server.matches.is_empty());
            continue;
        }
        let parent = (How::HostParentDomain, "example.com.vn".to_owned());
        assert_eq!(matches(mail), [(How::Exact, String::new()), parent], "and not the public suffix");
        let networks = ["198.51.100.0/24", "198.51.96.0/20"];
        assert_eq!(matches(address), networks.map(|net| (How::ContainingNetwork, net.to_owned())));
        let endpoint = (How::Endpoint, "198.51.100.7:8443".to_owned());
        let held = networks.map(|net| (How::HostNetwork, net.to_owned()));
        assert_eq!(matches(server), [&[endpoint][..], &held].concat());
    }
    assert!(answers.message().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_of_a_later_release_is_refused_and_not_read_as_a_narrower_one() {
    let (_hub, peer) = start().await;
    let request = v1::LookupObservablesRequest { scope: 3, ..asked(LookupScope::Wide, &["com.vn"]) };
    let mut answers =
        peer.exchange().lookup_observables(tokio_stream::iter([request])).await.unwrap().into_inner();
    let status = answers.message().await.unwrap_err();
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "FIELD_INVALID");
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "scope");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_prompt_finds_what_contains_a_value_unless_it_is_told_not_to() {
    let (hub, _) = start().await;
    let found = luytre(&hub, "a", "system/feed", &["lookup", "hxxp://www.example[.]com.vn/"]).await.json();
    let [one] = found[0]["matches"].as_array().unwrap().as_slice() else { panic!("{found:?}") };
    assert_eq!((&one["how"], &one["matched"]), (&"host-parent-domain".into(), &"example.com.vn".into()));
    assert_eq!((&one["owner"], &one["state"]), (&"a".into(), &"active".into()));
    let exact =
        luytre(&hub, "a", "system/feed", &["lookup", "--exact", "hxxp://www.example[.]com.vn/"]).await.json();
    assert_eq!(exact[0]["known"], false);
    let log = "198.51.100.7\n192.0.2.1\n2001:db8::7\nwww.com.vn\n";
    let plain = luytre_fed(&hub, "a", "system/feed", &["lookup", "-", "--format", "plain"], log.into()).await;
    assert_eq!(plain.0.well(), "198.51.100.7\n2001:db8::7\n");
}
