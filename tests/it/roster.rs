//! What an operator does to the roster with the real commands, and what it
//! does to those who are connected.

use std::fs;
use std::path::{Path, PathBuf};

use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use serde_json::{Value, json};
use tokio_stream::StreamExt as _;
use tonic_types::StatusExt as _;

use crate::harness::patience::patiently;
use crate::harness::{Ended, TestHub, luytre};

/// A hub with two operators and two organisations.
async fn hub() -> TestHub {
    TestHub::builder()
        .principal("hub", "user/lan", &[Role::Operator])
        .principal("hub", "user/minh", &[Role::Operator, Role::Coordinator])
        .principal("a", "system/feed", &[Role::Publisher, Role::Subscriber])
        .principal("b", "system/siem", &[Role::Subscriber])
        .start()
        .await
}

async fn lan(hub: &TestHub, words: &[&str]) -> Ended {
    luytre(hub, "hub", "user/lan", words).await
}

/// The exported roster, changed and written to a file.
async fn edited(hub: &TestHub, name: &str, edit: impl FnOnce(&mut Value)) -> PathBuf {
    let mut document = serde_json::from_str(&lan(hub, &["roster", "export"]).await.well()).unwrap();
    edit(&mut document);
    let path = hub.dir().join(name);
    fs::write(&path, document.to_string()).unwrap();
    path
}

fn record<'a>(document: &'a mut Value, list: &str, key: &str, value: &str) -> &'a mut Value {
    document[list].as_array_mut().unwrap().iter_mut().find(|record| record[key] == value).unwrap()
}

/// The hub's date.
fn today() -> String {
    use luytre::base::clock::{Clock as _, SystemClock};
    SystemClock.now().day().to_string()
}

fn end(document: &mut Value, slug: &str, on: &str) {
    let org = record(document, "organisations", "slug", slug);
    org["valid_to"] = on.into();
    org["lifecycle"] = json!([{ "what": "ended", "on": on, "legal_basis": "QĐ 7" }]);
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roster_is_exported_changed_compared_and_applied_and_history_keeps_its_names() {
    let hub = hub().await;
    let day = today();
    let file = edited(&hub, "roster.json", |document| {
        let org = record(document, "organisations", "slug", "b");
        org["names"][0]["to"] = day.as_str().into();
        org["names"].as_array_mut().unwrap().push(json!({ "vi": "Sở mới", "from": day }));
        org["lifecycle"] = json!([{ "what": "renamed", "on": day, "legal_basis": "QĐ 5" }]);
    })
    .await;
    let stale = edited(&hub, "stale.json", |document| end(document, "a", &day)).await;
    let expected = format!(
        "organisation b (Sở mới): renamed on {day} (QĐ 5)\norganisation b (Sở mới): named b (b) until {day}\n\
         organisation b (Sở mới): named Sở mới from {day}\n"
    );
    assert_eq!(lan(&hub, &["roster", "diff", path(&file)]).await.well(), expected);
    assert_eq!(lan(&hub, &["roster", "apply", path(&file), "--dry-run"]).await.well(), expected);
    assert_eq!(lan(&hub, &["roster", "apply", path(&file)]).await.well(), expected);

    let late = lan(&hub, &["roster", "apply", path(&stale)]).await;
    assert_eq!((late.code, late.stdout.as_str()), (75, ""));
    assert!(
        late.stderr.contains("ETAG_MISMATCH") && late.stderr.contains("luytre roster export"),
        "{late:?}"
    );

    let told = luytre(&hub, "a", "system/feed", &["organisations", "--format", "jsonl"]).await.json();
    let b = told.iter().find(|org| org["organisation"] == "b").unwrap();
    assert_eq!(b["display_name"], "Sở mới");
    let names = json!([{ "display_name": "b", "to": day }, { "display_name": "Sở mới", "from": day }]);
    assert_eq!(b["names"], names);
    let coordinator = luytre(&hub, "hub", "user/minh", &["roster", "export"]).await.well();
    assert!(coordinator.contains("Sở mới"));
    assert_eq!(luytre(&hub, "a", "system/feed", &["roster", "export"]).await.code, 77);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_file_is_told_by_its_place_there() {
    let hub = hub().await;
    let file = edited(&hub, "roster.json", |document| {
        end(document, "b", "2020-01-01");
        document["principals"].as_array_mut().unwrap().clear();
    })
    .await;
    let refused = lan(&hub, &["roster", "apply", path(&file)]).await;
    assert_eq!(refused.code, 64, "{refused:?}");
    for told in ["document.organisations[1].valid_to: ", "document.principals: nobody would run the hub"] {
        assert!(refused.stderr.contains(told), "{told}: {refused:?}");
    }
    let missing = lan(&hub, &["roster", "diff", "/nonexistent/roster.json"]).await;
    assert_eq!(missing.code, 66, "{missing:?}");
    fs::write(&file, "{\"organisations\": []}").unwrap();
    let unnamed = lan(&hub, &["roster", "diff", path(&file)]).await;
    assert!(unnamed.code == 64 && unnamed.stderr.contains("etag"), "{unnamed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_is_made_by_two_operators_or_by_one_and_the_machine() {
    let mut hub = hub().await;
    let grant = async |hub: &TestHub, name: &str| {
        let id = hub.spiffe("b", name);
        let file = edited(hub, "grant.json", |document| {
            let new = json!({ "id": id, "roles": ["coordinator"] });
            document["principals"].as_array_mut().unwrap().push(new);
        })
        .await;
        let proposed = lan(hub, &["roster", "apply", path(&file)]).await;
        assert_eq!(proposed.code, 0, "{proposed:?}");
        assert!(proposed.stderr.contains(&format!("needs a second operator: {id} gains")), "{proposed:?}");
        proposed.stderr.split_whitespace().next_back().unwrap().to_owned()
    };
    let export = async |hub: &TestHub, name: &str| luytre(hub, "b", name, &["roster", "export"]).await.code;

    let id = grant(&hub, "user/hoa").await;
    assert_eq!(export(&hub, "user/hoa").await, 77, "not yet");
    hub.restart().await;
    let alone = lan(&hub, &["roster", "approve", &id]).await;
    assert!(alone.code == 77 && alone.stderr.contains("SECOND_PERSON_REQUIRED"), "{alone:?}");
    assert!(lan(&hub, &["roster", "pending"]).await.well().starts_with(&id));
    let strange = luytre(&hub, "hub", "user/minh", &["roster", "approve", "zz"]).await;
    assert!(strange.code == 66 && strange.stderr.contains("begins with zz"), "{strange:?}");
    luytre(&hub, "hub", "user/minh", &["roster", "approve", &id[..7]]).await.well();
    assert_eq!(export(&hub, "user/hoa").await, 0);
    assert_eq!(lan(&hub, &["roster", "pending"]).await.well(), "");

    let id = grant(&hub, "user/tam").await;
    lan(&hub, &["roster", "reject", &id, "--reason", "not now"]).await.well();
    assert_eq!(luytre(&hub, "hub", "user/minh", &["roster", "approve", &id]).await.code, 66);
    let id = grant(&hub, "user/tam").await;
    let listed = hub.operate(&["roster", "pending"]);
    let told = lan(&hub, &["roster", "pending"]).await.well();
    assert!(told.starts_with(&id) && told.contains("needs a second operator: "), "{told}");
    assert_eq!(String::from_utf8_lossy(&listed.stdout), told, "the machine is told the same");
    let approved = hub.operate(&["roster", "approve", &id[..7]]);
    assert!(approved.status.success(), "{approved:?}");
    assert!(String::from_utf8_lossy(&approved.stderr).contains("approved: "), "{approved:?}");
    assert_eq!(export(&hub, "user/tam").await, 0);
    hub.terminate().await;
    hub.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organisation_that_ends_today_is_refused_at_once_and_its_streams_end_with_the_reason() {
    let hub = hub().await;
    let open = v1::Open { start: Some(v1::open::Start::Position(1)), ..Default::default() };
    let open = v1::SubscribeRequest { message: Some(v1::subscribe_request::Message::Open(open)) };
    let asked = tokio_stream::once(open).chain(tokio_stream::pending());
    let peer = hub.peer("b", "system/siem");
    let mut stream = peer.subscriptions().subscribe(asked).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some(), "it is open");
    let file = edited(&hub, "roster.json", |document| end(document, "b", &today())).await;
    lan(&hub, &["roster", "apply", path(&file)]).await.well();
    let refused = luytre(&hub, "b", "system/siem", &["whoami"]).await;
    assert!(refused.code == 77 && refused.stderr.contains("ORGANISATION_INACTIVE"), "{refused:?}");
    let ended = patiently("the stream ends", async {
        loop {
            if let Err(status) = stream.message().await {
                return status;
            }
        }
    })
    .await;
    assert_eq!(ended.get_details_error_info().unwrap().reason, "ORGANISATION_INACTIVE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_common_changes_are_made_at_the_prompt() {
    let hub = hub().await;
    let day = today();
    let effect = ["--on", &day, "--basis", "QĐ 9"];
    let roster = async |words: &[&str]| {
        let words = [&["roster"], words, &effect].concat();
        lan(&hub, &words).await
    };
    let b = json!({ "what": "absorbed", "on": day, "legal_basis": "QĐ 9" });
    roster(&["suspend", "a"]).await.well();
    let refused = luytre(&hub, "a", "system/feed", &["whoami"]).await;
    assert!(refused.stderr.contains("ORGANISATION_INACTIVE"), "{refused:?}");
    roster(&["resume", "a"]).await.well();
    luytre(&hub, "a", "system/feed", &["whoami"]).await.well();
    roster(&["rename", "a", "--vi", "Sở mới"]).await.well();
    assert!(roster(&["end", "b", "--into", "a", "--dry-run"]).await.well().contains("b (b): absorbed on"));
    let me = luytre(&hub, "b", "system/siem", &["whoami"]).await.well();
    assert!(me.contains("key exchange: X25519MLKEM768"), "{me}");
    let me = luytre(&hub, "b", "system/siem", &["whoami", "--format", "jsonl"]).await.json();
    assert_eq!(me[0]["key_exchange"], "X25519MLKEM768");
    roster(&["end", "b", "--into", "a"]).await.well();
    assert_eq!(luytre(&hub, "b", "system/siem", &["whoami"]).await.code, 77);
    assert_eq!(roster(&["end", "nobody"]).await.code, 66);
    let mut told = serde_json::from_str(&lan(&hub, &["roster", "export"]).await.well()).unwrap();
    assert_eq!(record(&mut told, "organisations", "slug", "b")["lifecycle"], json!([b]));
    assert_eq!(record(&mut told, "organisations", "slug", "a")["predecessors"], json!(["b"]));

    let later = ["--on", "2099-01-01", "--basis", "QĐ 9", "--dry-run"];
    let to_come = lan(&hub, &[&["roster", "rename", "a", "--vi", "Sở sau"], &later[..]].concat()).await;
    assert!(to_come.stderr.contains("it will hold from 2099-01-01 on"), "{to_come:?}");
    assert!(!to_come.stdout.contains("no longer named"), "{to_come:?}");
    for told in ["(Sở mới): will be renamed from 2099-01-01 on", "will be named Sở sau from 2099-01-01"]
    {
        assert!(to_come.stdout.contains(told), "{told}: {to_come:?}");
    }

    let id = hub.spiffe("a", "user/an");
    let roles = async |words: &[&str]| lan(&hub, &[&["roster", words[0], &id], &words[1..]].concat()).await;
    let given = roles(&["grant", "--role", "analyst"]).await;
    assert!(given.stderr.contains("with it, ") && given.stderr.contains(" has: analyst"), "{given:?}");
    assert_eq!(given.well(), format!("principal {id}: new, analyst\n"));
    let more = roles(&["grant", "--role", "publisher,subscriber"]).await.well();
    assert_eq!(more, format!("principal {id}: publisher, subscriber, analyst, before: analyst\n"));
    assert_eq!(roles(&["grant"]).await.code, 64, "no roles are no grant");
    roles(&["withdraw", "--role", "publisher"]).await.well();
    assert_eq!(roles(&["withdraw", "--all"]).await.well(), format!("principal {id}: no role any more\n"));
}
