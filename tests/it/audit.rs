//! What the audit promises: every call has its record, what few may see leaves
//! after it, nobody reads more of it than he may, and a log that was tampered
//! with is found out, by us and by an implementation of others' own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use luytre::client::{Client, Connection, Endpoint, Identity, Start, Subscribe, Witnessed};
use luytre::model::audit::Checkpoint;
use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use tokio_stream::StreamExt as _;
use uuid::Uuid;

use crate::harness::patience::patiently;
use crate::harness::{Ended, TestHub, amber, batch, draft, luytre, text_value};

/// A hub with a member, his auditor, and an auditor of whoever runs the hub.
async fn start() -> TestHub {
    TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher, Role::Subscriber, Role::Analyst])
        .principal("a", "user/auditor", &[Role::Auditor])
        .principal("b", "system/siem", &[Role::Subscriber])
        .principal("hub", "user/auditor", &[Role::Auditor])
        .start()
        .await
}

async fn publish(hub: &TestHub, values: &[&str]) {
    let drafts = values.iter().map(|value| draft(value)).collect();
    let feed = hub.peer("a", "system/feed");
    feed.exchange().publish_indicators(batch(Uuid::new_v4(), drafts)).await.unwrap();
}

/// What an auditor of whoever runs the hub types.
async fn audit(hub: &TestHub, words: &[&str]) -> Ended {
    luytre(hub, "hub", "user/auditor", &[&["audit"], words].concat()).await
}

/// The records that an auditor sees, newest first.
async fn records(hub: &TestHub, of: &str, words: &[&str]) -> Vec<serde_json::Value> {
    let all = [&["audit", "list", "--format", "jsonl", "--limit", "10000"], words].concat();
    luytre(hub, of, "user/auditor", &all).await.json()
}

/// An export, the hub's key and the checkpoint that came with it, as files.
async fn export(hub: &TestHub, name: &str) -> (PathBuf, PathBuf, PathBuf) {
    let (to, key) = (hub.dir().join(name), hub.dir().join("audit.key"));
    audit(hub, &["export", "--to", to.to_str().unwrap()]).await.well();
    fs::write(&key, audit(hub, &["checkpoint", "--show-key"]).await.well()).unwrap();
    let note = to.join("checkpoint");
    (to, key, note)
}

/// Verifies it with `luytre`, which needs no hub for that.
fn verify(directory: &Path, key: &Path, against: &[&Path]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_luytre"));
    command.args(["audit", "verify"]).arg(directory).arg("--audit-key").arg(key);
    for note in against {
        command.arg("--against").arg(note);
    }
    let output = command.env_remove("LC_ALL").env("LANG", "C").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// Verifies it with the script; `None`: there is no Python here.
fn verify_elsewhere(directory: &Path, key: &Path, against: &[&Path]) -> Option<(bool, String)> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/audit/verify.py");
    let key = fs::read_to_string(key).unwrap();
    let output =
        Command::new("python3").arg(script).arg(directory).arg(key.trim()).args(against).output().ok()?;
    Some((
        output.status.success(),
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    ))
}

fn is<'a>(record: &'a serde_json::Value, method: &str) -> Option<&'a serde_json::Value> {
    (record["method"] == method).then_some(record)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_has_a_record_of_who_asked_for_what_and_how_it_ended() {
    let hub = start().await;
    publish(&hub, &["one.example", "two.example", "not a value"]).await;
    let feed = hub.peer("a", "system/feed");
    let filter = v1::IndicatorFilter { labels: vec!["c2".into()], ..Default::default() };
    let list = v1::ListIndicatorsRequest { filter: Some(filter), page_size: 10, ..Default::default() };
    feed.exchange().list_indicators(list).await.unwrap();
    let values = v1::LookupObservablesRequest {
        observables: ["one.example", "never.example"].map(text_value).into(),
        ..Default::default()
    };
    let mut found =
        feed.exchange().lookup_observables(tokio_stream::once(values)).await.unwrap().into_inner();
    found.message().await.unwrap();
    assert!(found.message().await.unwrap().is_none());
    let name = format!("indicators/{}", Uuid::new_v4());
    let get = v1::GetIndicatorRequest { name: name.clone(), ..Default::default() };
    feed.exchange().get_indicator(get).await.unwrap_err();
    let siem = hub.peer("b", "system/siem");
    siem.exchange().publish_indicators(batch(Uuid::new_v4(), vec![draft("x.example")])).await.unwrap_err();

    let all = records(&hub, "hub", &[]).await;
    let told = |method: &str| all.iter().rev().filter_map(|record| is(record, method)).collect::<Vec<_>>();
    let [published, refused] = told("PublishIndicators")[..] else { panic!("{all:#?}") };
    assert_eq!(published["principal"], hub.spiffe("a", "system/feed"));
    assert_eq!(
        (&published["asked"], &published["given"], &published["refused"], &published["outcome"]),
        (&3.into(), &2.into(), &1.into(), &"OK".into())
    );
    assert_eq!(
        (&refused["principal"], &refused["outcome"]),
        (&hub.spiffe("b", "system/siem").into(), &"ROLE_INSUFFICIENT".into())
    );
    assert_eq!(told("ListIndicators")[0]["about"], r#"labels=["c2"]"#);
    let looked: Vec<_> = told("LookupObservables");
    let phases: Vec<_> = looked.iter().map(|record| record["phase"].as_str().unwrap()).collect();
    assert_eq!(phases, ["opened", "portion", "ended"]);
    assert_eq!((&looked[1]["asked"], &looked[1]["given"]), (&2.into(), &1.into()));
    assert_eq!(looked[1]["digest"].as_str().unwrap().len(), 64);
    assert!(looked.iter().all(|record| record["call"] == looked[0]["call"]));
    let got = told("GetIndicator")[0];
    assert_eq!((&got["about"], &got["outcome"]), (&name.into(), &"NOT_FOUND".into()));
    // Nothing of what indicators say, nor of what was looked up, is in any.
    let text = serde_json::to_string(&all).unwrap();
    assert!(!text.contains("one.example") && !text.contains("never.example"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auditor_reads_the_calls_of_his_own_organisation_and_one_of_the_hubs_reads_all() {
    let hub = start().await;
    publish(&hub, &["one.example"]).await;
    hub.peer("b", "system/siem").directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    let org = |record: &serde_json::Value| {
        let principal = record["principal"].as_str().unwrap_or_default().to_owned();
        principal.split('/').nth(4).unwrap_or_default().to_owned()
    };
    records(&hub, "hub", &[]).await;
    let own = records(&hub, "a", &[]).await;
    assert!(!own.is_empty() && own.iter().all(|record| org(record) == "a"), "{own:#?}");
    let all = records(&hub, "hub", &[]).await;
    assert!(["a", "b", "hub"].iter().all(|wanted| all.iter().any(|record| org(record) == *wanted)));
    assert!(records(&hub, "a", &["--organisation", "b"]).await.is_empty());
    assert_eq!(records(&hub, "hub", &["--organisation", "b"]).await.len(), 1);
    let to = hub.dir().join("theirs");
    let refused = luytre(&hub, "a", "user/auditor", &["audit", "export", "--to", to.to_str().unwrap()]).await;
    assert_eq!(refused.code, 77, "{refused:?}");
    let feed = luytre(&hub, "a", "system/feed", &["audit", "list"]).await;
    assert_eq!(feed.code, 77, "{feed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exported_audit_verifies_here_and_elsewhere_and_a_tampered_one_does_not() {
    let hub = start().await;
    for _ in 0..300 {
        hub.peer("b", "system/siem").directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    }
    publish(&hub, &["one.example"]).await;
    let (log, key, note) = export(&hub, "log").await;
    let kept = hub.dir().join("kept.txt");
    fs::copy(&note, &kept).unwrap();
    publish(&hub, &["two.example"]).await;
    let (later, ..) = export(&hub, "later").await;
    for (directory, against) in [(&log, &[][..]), (&later, &[kept.as_path()])] {
        let (code, said) = verify(directory, &key, against);
        assert!(code == 0 && said.contains("sound"), "{code} {said}");
        if let Some((well, said)) = verify_elsewhere(directory, &key, against) {
            assert!(well && said.starts_with("ok "), "{said}");
        }
    }
    // The earlier log is one that was cut short.
    let newer = later.join("checkpoint");
    let found = |directory: &Path, against: &[&Path], told: &str| {
        let (code, said) = verify(directory, &key, against);
        assert!(code == 65 && said.contains(told), "{code} {said}");
        if let Some((well, said)) = verify_elsewhere(directory, &key, against) {
            assert!(!well, "{said}");
        }
    };
    found(&log, &[&newer], "truncated");
    let bundle = later.join("tile/entries/000");
    let whole = fs::read(&bundle).unwrap();
    let mut changed = whole.clone();
    let place = changed.windows(6).position(|window| window == b"WhoAmI").unwrap();
    changed[place] = b'w';
    fs::write(&bundle, &changed).unwrap();
    found(&later, &[], "was changed");
    // The first two records change places.
    let length = |at: usize| usize::from(u16::from_be_bytes([whole[at], whole[at + 1]])) + 2;
    let (first, second) = (length(0), length(length(0)));
    let swapped = [&whole[first..first + second], &whole[..first], &whole[first + second..]].concat();
    fs::write(&bundle, swapped).unwrap();
    found(&later, &[], "reordered");
    fs::write(&bundle, &whole[first..]).unwrap();
    found(&later, &[], "removed");
    fs::remove_file(&bundle).unwrap();
    found(&later, &[], "missing");
    fs::write(&bundle, &whole).unwrap();
    assert_eq!(verify(&later, &key, &[&kept]).0, 0);
    // At the prompt the hub proves that it goes on from what was kept.
    let words = ["checkpoint", "--against", kept.to_str().unwrap(), "--audit-key", key.to_str().unwrap()];
    let proven = audit(&hub, &words).await;
    assert!(proven.stderr.contains("proven"), "{proven:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_on_record_though_the_hub_is_killed() {
    let mut hub = start().await;
    let feed = hub.peer("a", "system/feed");
    for number in 0..5 {
        let drafts = vec![amber(draft(&format!("n{number}.example")), &["b"])];
        feed.exchange().publish_indicators(batch(Uuid::new_v4(), drafts)).await.unwrap();
    }
    let list = v1::ListIndicatorsRequest { page_size: 100, ..Default::default() };
    assert_eq!(feed.exchange().list_indicators(list).await.unwrap().into_inner().indicators.len(), 5);
    hub.kill9();
    hub.serve().await;
    let all = records(&hub, "hub", &[]).await;
    assert_eq!(all.iter().filter_map(|record| is(record, "PublishIndicators")).count(), 5);
    let listed: Vec<_> = all.iter().filter_map(|record| is(record, "ListIndicators")).collect();
    assert_eq!((listed.len(), &listed[0]["tlp"], &listed[0]["given"]), (1, &"TLP:AMBER".into(), &5.into()));
    let (log, key, _) = export(&hub, "log").await;
    assert_eq!(verify(&log, &key, &[]).0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_hub_signs_under_another_name_and_what_was_lost_is_told() {
    let mut hub = start().await;
    publish(&hub, &["one.example"]).await;
    let backup = hub.backup("backup");
    publish(&hub, &["two.example"]).await;
    let (_, key, note) = export(&hub, "before").await;
    let kept = hub.dir().join("kept.txt");
    fs::copy(&note, &kept).unwrap();
    let old_key = fs::read_to_string(&key).unwrap();
    hub.terminate().await;
    hub.restore(&backup);
    hub.serve().await;
    let (log, key, _) = export(&hub, "after").await;
    let new_key = fs::read_to_string(&key).unwrap();
    assert_ne!(old_key.split('+').next(), new_key.split('+').next(), "another name");
    assert_eq!(old_key.rsplit('+').next(), new_key.rsplit('+').next(), "the same key");
    let (code, said) = verify(&log, &key, &[&kept]);
    assert!(code == 0 && said.contains("restored from a backup"), "{code} {said}");
    assert_eq!(records(&hub, "hub", &["--method", "Restored"]).await.len(), 1);
}

/// A client of the library.
fn client(hub: &TestHub) -> Client {
    let credentials = hub.credentials("b", "system/siem");
    let identity = Identity::from_files(&credentials.certificate, &credentials.key).unwrap();
    let endpoint = Endpoint::new(&hub.grpc().to_string(), hub.server_ca()).unwrap();
    Connection::open(&endpoint, identity).unwrap().client()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_is_sent_checkpoints_and_ends_where_the_hub_shows_another_history() {
    let hub = TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher])
        .principal("b", "system/siem", &[Role::Subscriber])
        .config("[limits]\nheartbeat = \"1s\"\n[audit]\ncheckpoint_every = \"1s\"")
        .start()
        .await;
    publish(&hub, &["one.example"]).await;
    let reader = client(&hub);
    let first = reader.checkpoint().await.unwrap();
    let mut raw = hub.peer("b", "system/siem").subscriptions();
    let start = Some(v1::open::Start::Position(v1::StartPosition::Earliest.into()));
    let open = v1::Open { start, initial_credit: 10, ..Default::default() };
    let open = v1::SubscribeRequest { message: Some(v1::subscribe_request::Message::Open(open)) };
    let said = tokio_stream::once(open).chain(tokio_stream::pending());
    let mut frames = raw.subscribe(said).await.unwrap().into_inner();
    let sent = loop {
        let frame = patiently("a checkpoint", frames.message()).await.unwrap().unwrap();
        if let Some(v1::subscribe_response::Message::Checkpoint(sent)) = frame.message {
            break sent.checkpoint;
        }
    };
    let sent = Checkpoint::open(&sent, &first.key).unwrap();
    assert!(sent.size > 0 && sent.origin == first.checkpoint.origin);

    // The library holds each against the last: here one that was never shown.
    let forged = Checkpoint { size: 1, root: [9; 32], ..first.checkpoint.clone() };
    let honest = client(&hub);
    honest.expect_audit(first.clone());
    honest.checkpoint().await.unwrap();
    let deceived = client(&hub);
    deceived.expect_audit(Witnessed { checkpoint: forged, ..first });
    let refused = deceived.checkpoint().await.unwrap_err();
    assert!(matches!(refused, luytre::client::Error::History(_)), "{refused}");
    let mut subscription = deceived.subscribe(Subscribe::from(Start::Latest));
    let ended = loop {
        if let Err(ended) = patiently("the fork is found", subscription.next()).await {
            break ended;
        }
    };
    assert!(matches!(ended, luytre::client::Error::History(_)), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_an_auditor_reads_is_proven_to_be_in_the_signed_log() {
    let hub = start().await;
    publish(&hub, &["one.example"]).await;
    let [record, ..] = &records(&hub, "a", &["--method", "PublishIndicators"]).await[..] else { panic!() };
    let encoded = record["encoded"].as_str().unwrap();
    let encoded: Vec<_> = (0..encoded.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&encoded[at..at + 2], 16).unwrap())
        .collect();
    let reader = client(&hub);
    let seen = reader.checkpoint().await.unwrap();
    let index = record["index"].as_u64().unwrap();
    reader.prove_record(index, &encoded, &seen).await.unwrap();
    let mut other = encoded;
    other[20] ^= 1;
    let refused = reader.prove_record(index, &other, &seen).await.unwrap_err();
    assert!(matches!(refused, luytre::client::Error::History(_)), "{refused}");
}
