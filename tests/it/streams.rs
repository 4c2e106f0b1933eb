//! What the streams promise: answers in the order of requests, errors after
//! the answers before them, and a subscriber's first word.

use luytre::model::principal::Role;
use luytre::wire::proto::v1::subscribe_request::Message;
use luytre::wire::proto::v1::subscribe_response::Message as Answer;
use luytre::wire::proto::v1::{self, publish_result::Outcome};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::authz_matrix::call;
use crate::harness::{Peer, TestHub, batch, draft};

async fn start() -> (TestHub, Peer) {
    let hub = TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher, Role::Subscriber, Role::Analyst])
        .start()
        .await;
    let peer = hub.peer("a", "system/feed");
    (hub, peer)
}

/// The field and reason of a refusal.
fn refused(status: &Status) -> (String, String) {
    let details = status.get_error_details();
    let field = details.bad_request().and_then(|b| b.field_violations.first()).map(|v| v.field.clone());
    (field.unwrap_or_default(), details.error_info().map(|info| info.reason.clone()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_their_order() {
    let (_hub, peer) = start().await;
    let sizes: Vec<usize> = (0..100).map(|i| 1 + (i * 37) % 50).collect();
    let requests: Vec<_> = sizes
        .iter()
        .enumerate()
        .map(|(i, &size)| {
            batch(Uuid::new_v4(), (0..size).map(|j| draft(&format!("h{j}.b{i}.example"))).collect())
        })
        .collect();
    let mut answers =
        peer.exchange().publish_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();
    for size in sizes {
        let answer = answers.message().await.unwrap().expect("an answer for every request");
        assert_eq!(answer.results.len(), size);
    }
    assert!(answers.message().await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_item_stays_in_its_answer_and_a_refused_request_ends_the_stream() {
    let (_hub, peer) = start().await;
    let unmarked = v1::IndicatorDraft { marking: None, ..draft("b.example") };
    let refused_item = batch(Uuid::new_v4(), vec![draft("a.example"), unmarked]);
    let refused_request = v1::PublishIndicatorsRequest {
        request_id: "1".to_owned(),
        indicators: vec![draft("c.example")],
        ..Default::default()
    };
    let requests = [refused_item, refused_request, batch(Uuid::new_v4(), vec![draft("d.example")])];
    let mut answers =
        peer.exchange().publish_stream(tokio_stream::iter(requests)).await.unwrap().into_inner();

    let results = answers.message().await.unwrap().unwrap().results;
    assert!(matches!(results[0].outcome, Some(Outcome::Published(_))), "{results:?}");
    let Some(Outcome::Rejected(rejected)) = &results[1].outcome else { panic!("{results:?}") };
    assert_eq!(rejected.code, Code::InvalidArgument as i32);
    let status = answers.message().await.unwrap_err();
    assert_eq!(refused(&status), ("request_id".to_owned(), "FIELD_INVALID".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lookup_answers_each_value_in_its_place() {
    let (_hub, peer) = start().await;
    peer.exchange().publish_indicators(batch(Uuid::new_v4(), vec![draft("known.example")])).await.unwrap();
    let value = |text: &str| v1::Observable { value: Some(v1::observable::Value::Text(text.to_owned())) };
    let asked = v1::LookupObservablesRequest {
        observables: vec![value("unknown.example"), value("not a value"), value("KNOWN[.]example")],
        ..Default::default()
    };
    let mut answers =
        peer.exchange().lookup_observables(tokio_stream::iter([asked])).await.unwrap().into_inner();
    let results = answers.message().await.unwrap().unwrap().results;
    assert!(results[0].matches.is_empty() && results[0].rejected.is_none(), "{results:?}");
    assert!(results[1].matches.is_empty() && results[1].rejected.is_some(), "{results:?}");
    assert_eq!(results[2].matches.len(), 1, "{results:?}");
    assert_eq!(results[2].matches[0].owner, "organisations/a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_looked_up_by_each_of_its_hashes_and_found_once() {
    let (_hub, peer) = start().await;
    let file = |n: usize| v1::FileHashes {
        md5: format!("{n:032x}"),
        sha1: format!("{n:040x}"),
        sha256: format!("{n:064x}"),
        sha512: format!("{n:0128x}"),
    };
    let observable = |file| v1::Observable { value: Some(v1::observable::Value::File(file)) };
    let known = v1::IndicatorDraft { observable: Some(observable(file(7))), ..draft("a.example") };
    peer.exchange().publish_indicators(batch(Uuid::new_v4(), vec![known])).await.unwrap();

    let md5_only = v1::FileHashes { md5: file(7).md5, ..Default::default() };
    let mut observables: Vec<_> = (0..900).map(|n| observable(file(n))).collect();
    observables.push(observable(md5_only));
    let asked = v1::LookupObservablesRequest { observables, ..Default::default() };
    let mut answers =
        peer.exchange().lookup_observables(tokio_stream::iter([asked])).await.unwrap().into_inner();
    let results = answers.message().await.unwrap().unwrap().results;
    let found: Vec<_> = results
        .iter()
        .enumerate()
        .filter(|(_, r)| !r.matches.is_empty())
        .map(|(i, r)| (i, r.matches.len()))
        .collect();
    assert_eq!((results.len(), found), (901, vec![(7, 1), (900, 1)]));
}

fn say(message: Message) -> v1::SubscribeRequest {
    v1::SubscribeRequest { message: Some(message) }
}

fn open() -> v1::Open {
    v1::Open {
        start: Some(v1::open::Start::Position(v1::StartPosition::Earliest.into())),
        ..Default::default()
    }
}

/// The end of a stream on which `words` were said.
async fn end_of(peer: &Peer, words: Vec<v1::SubscribeRequest>) -> Status {
    let mut events = match peer.subscriptions().subscribe(tokio_stream::iter(words)).await {
        Ok(events) => events.into_inner(),
        Err(status) => return status,
    };
    loop {
        match events.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a refusal"),
            Err(status) => return status,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_opens_first_and_once() {
    let (_hub, peer) = start().await;
    let credit = |events| say(Message::Credit(v1::Credit { events }));
    for (words, field) in [
        (vec![credit(1)], "message"),
        (vec![v1::SubscribeRequest { message: None }], "message"),
        (vec![], "message"),
        (vec![say(Message::Open(v1::Open::default()))], "open.start"),
        (vec![say(Message::Open(open())), say(Message::Open(open()))], "open"),
        (vec![say(Message::Open(open())), credit(0)], "credit.events"),
        (vec![say(Message::Open(open())), credit(-1)], "credit.events"),
        (vec![say(Message::Open(open())), v1::SubscribeRequest { message: None }], "message"),
    ] {
        let status = end_of(&peer, words).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        assert_eq!(refused(&status), (field.to_owned(), "FIELD_INVALID".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_answer_repeats_the_filter_in_force() {
    let (_hub, peer) = start().await;
    let filter = v1::IndicatorFilter { labels: vec!["b".into(), "a".into()], ..Default::default() };
    let words = tokio_stream::iter([say(Message::Open(v1::Open { filter: Some(filter), ..open() }))]);
    let first =
        peer.subscriptions().subscribe(words).await.unwrap().into_inner().message().await.unwrap().unwrap();
    let Some(Answer::Opened(opened)) = first.message else { panic!("{first:?}") };
    assert_eq!(opened.filter.unwrap().labels, ["a", "b"]);
    assert!(!opened.resume_token.is_empty() && opened.heartbeat_seconds > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_beyond_the_limit_is_refused_before_it_is_decoded() {
    let (_hub, peer) = start().await;
    let channel = peer.channel();
    for (method, limit) in [
        ("/luytre.v1.ExchangeService/PublishIndicators", 5 << 20),
        ("/luytre.v1.ExchangeService/PublishStream", 5 << 20),
        ("/luytre.v1.SubscriptionService/Subscribe", 64 << 10),
    ] {
        // Bytes that decode to nothing: what is read is found malformed.
        for (size, reason) in [(limit, "FIELD_INVALID"), (limit + 1, "REQUEST_TOO_LARGE")] {
            let status = call(&channel, method, vec![0xff; size]).await.unwrap_err();
            assert_eq!(
                (status.code(), refused(&status).1.as_str()),
                (Code::InvalidArgument, reason),
                "{method} {size}"
            );
        }
    }
}
