//! The current state over the wire: a scan goes on where it was when the hub
//! is killed in the middle of it, and our own command tells it once.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use uuid::Uuid;
use v1::subscribe_request::Message as Say;
use v1::subscribe_response::Message as Heed;

use crate::harness::patience::patiently;
use crate::harness::{Peer, Publisher, Seed, TestHub, amber, draft, value_of};

const ITEMS: u64 = 300;

async fn hub() -> TestHub {
    TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher])
        .principal("b", "system/fw", &[Role::Subscriber])
        .organisation("c")
        .config("[limits]\nheartbeat = \"1s\"")
        .start()
        .await
}

fn value(number: u64) -> String {
    format!("i{number}.state.example")
}

/// Item `number`: every fifth for organisation `c` only.
fn item(_: usize, number: u64) -> (String, v1::IndicatorDraft) {
    let draft = draft(&value(number));
    (value(number), if number.is_multiple_of(5) { amber(draft, &["c"]) } else { draft })
}

fn visible(items: std::ops::Range<u64>) -> BTreeSet<String> {
    items.filter(|number| !number.is_multiple_of(5)).map(value).collect()
}

async fn revoke(peer: &Peer, name: &str) {
    let revocation =
        v1::Revocation { reason: v1::RevocationReason::FalsePositive.into(), ..Default::default() };
    let request = v1::RevokeIndicatorRequest {
        request_id: Uuid::new_v4().to_string(),
        name: name.to_owned(),
        revocation: Some(revocation),
        etag: String::new(),
        ..Default::default()
    };
    peer.exchange().revoke_indicator(request).await.unwrap();
}

/// A client that stores what it holds together with the token.
#[derive(Debug, Default)]
struct Client {
    name: String,
    token: Option<Bytes>,
    /// Name to value.
    fresh: BTreeMap<String, String>,
    complete: bool,
    begun: usize,
    repeats: usize,
    recalled: BTreeSet<String>,
}

impl Client {
    /// Listens until `events` came, all of the state did, or the hub breaks.
    async fn listen(&mut self, peer: &Peer, events: u32) -> Result<(), Status> {
        use v1::open::Start;
        let (say, receiver) = mpsc::channel(64);
        let tell = async |message| say.send(v1::SubscribeRequest { message: Some(message) }).await.unwrap();
        let start = match &self.token {
            None => Some(Start::Position(v1::StartPosition::CurrentState.into())),
            Some(_) if !self.name.is_empty() => None,
            Some(token) => Some(Start::ResumeToken(token.clone())),
        };
        let open =
            v1::Open { subscription: self.name.clone(), initial_credit: events, start, ..Default::default() };
        tell(Say::Open(open)).await;
        let mut stream = peer.subscriptions().subscribe(ReceiverStream::new(receiver)).await?.into_inner();
        let mut left = events as usize;
        while let Some(response) = stream.message().await? {
            match response.message.expect("a message") {
                Heed::StateBegin(begin) => {
                    self.begun += 1;
                    self.token = Some(begin.resume_token);
                }
                Heed::Batch(batch) => {
                    left -= batch.events.len();
                    self.token = Some(batch.resume_token.clone());
                    for event in batch.events {
                        let Some(v1::event::Subject::Indicator(indicator)) = event.subject else { panic!() };
                        let value = value_of(&indicator);
                        self.repeats += usize::from(self.fresh.insert(indicator.name, value).is_some());
                    }
                    if !self.name.is_empty() {
                        tell(Say::Ack(v1::Ack { resume_token: batch.resume_token })).await;
                    } else if left == 0 {
                        return Ok(());
                    }
                }
                Heed::StateEnd(_) => {
                    self.complete = true;
                    return Ok(());
                }
                Heed::Recalls(recalls) => {
                    for event in recalls.events {
                        let Some(v1::event::Subject::Indicator(indicator)) = event.subject else { panic!() };
                        self.fresh.remove(&indicator.name);
                        self.recalled.insert(indicator.name);
                    }
                }
                Heed::Acked(acked) if left == 0 && Some(&acked.resume_token) == self.token.as_ref() => {
                    return Ok(());
                }
                Heed::Heartbeat(_) | Heed::Acked(_) | Heed::Opened(_) | Heed::Checkpoint(_) => {}
                Heed::Draining(_) => panic!("nobody asked the hub to go"),
            }
        }
        Err(Status::unavailable("the stream ended without a word"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_goes_on_where_it_was_when_the_hub_is_killed_in_the_middle() {
    for name in ["", "organisations/b/subscriptions/siem"] {
        ordeal(name).await;
    }
}

/// Takes the state in parts, killing the hub after each.
async fn ordeal(name: &str) {
    let mut seed = Seed::of_this_run("state");
    let mut hub = hub().await;
    let mut feed = Publisher::new(hub.peer("a", "system/feed"), seed.fork(), 0, item);
    for _ in 0..6 {
        feed.publish(ITEMS / 6).await.unwrap();
    }
    let peer = hub.peer("b", "system/fw");
    let mut client = Client { name: name.to_owned(), ..Client::default() };
    let mut gone = BTreeSet::new();
    for round in 0..3 {
        let events = seed.between(20, 60) as u32;
        patiently("a part of the state", client.listen(&peer, events)).await.unwrap();
        assert!(!client.complete && client.begun == 1, "in the middle of the scan");
        hub.kill9();
        hub.serve().await;
        // What comes meanwhile is no part of the state; what goes, is recalled.
        feed.publish(10).await.unwrap();
        let name = client.fresh.keys().nth(round).unwrap().clone();
        revoke(&hub.peer("a", "system/feed"), &name).await;
        gone.insert(name);
    }
    patiently("the rest of the state", client.listen(&peer, 1_000)).await.unwrap();
    assert!(client.complete, "the state came to its end");
    assert_eq!((client.begun, client.repeats), (1, 0));
    assert_eq!(client.recalled, gone);
    let taken: BTreeSet<_> = client.fresh.values().cloned().collect();
    let all = visible(0..ITEMS);
    assert!(taken.is_subset(&all) && taken.len() == all.len() - 3, "{} of {}", taken.len(), all.len());
    hub.terminate().await;
    hub.verify();
}

/// Runs `luytre subscribe --from current-state` for so many events.
async fn subscribe(hub: &TestHub, words: &[&str], events: usize) -> Vec<serde_json::Value> {
    let credentials = hub.credentials("b", "system/fw");
    let mut command = Command::new(env!("CARGO_BIN_EXE_luytre"));
    command
        .args(["subscribe", "--from", "current-state", "--count", &events.to_string()])
        .args(words)
        .args(["--hub", &hub.grpc().to_string(), "--server-name", "localhost"])
        .arg("--ca")
        .arg(hub.server_ca())
        .arg("--cert")
        .arg(credentials.certificate)
        .arg("--key")
        .arg(credentials.key)
        .current_dir(hub.dir())
        .stdin(Stdio::null());
    let running = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = patiently("luytre subscribe", running).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_tells_the_state_once_and_first_what_was_taken_back() {
    for words in [["--state", "fw.state"], ["--name", "siem"]] {
        let mut seed = Seed::of_this_run("state by command");
        let mut hub = hub().await;
        let mut feed = Publisher::new(hub.peer("a", "system/feed"), seed.fork(), 0, item);
        feed.publish(ITEMS).await.unwrap();
        let first = subscribe(&hub, &words, 100).await;
        hub.kill9();
        hub.serve().await;
        let taken_back = first[1]["name"].as_str().unwrap().to_owned();
        revoke(&hub.peer("a", "system/feed"), &taken_back).await;
        feed.publish(10).await.unwrap();
        let second = subscribe(&hub, &words, 140 + 1 + 8).await;

        let said = |line: &serde_json::Value| line["event"].as_str().unwrap().to_owned();
        assert_eq!(said(&first[0]), "state-begin");
        assert!(first[1..].iter().all(|line| said(line) == "new"));
        let recall = &second[0];
        assert_eq!((said(recall), recall["recall"].as_bool()), ("revoked".into(), Some(true)));
        assert_eq!(recall["name"], taken_back.as_str());
        let mut expected = vec!["revoked"];
        expected.extend(["new"; 140]);
        expected.extend(["state-end", "revoked"]);
        expected.extend(["new"; 8]);
        assert_eq!(second.iter().map(said).collect::<Vec<_>>(), expected, "{words:?}");
        let new = first.iter().chain(&second).filter(|line| said(line) == "new");
        let values: Vec<_> = new.map(|line| line["value"].as_str().unwrap().to_owned()).collect();
        assert_eq!(values.iter().cloned().collect::<BTreeSet<_>>(), visible(0..ITEMS + 10));
        assert_eq!(values.len(), 248, "nothing comes twice");
    }
}
