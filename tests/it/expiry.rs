//! What ends by itself, over the network: a subscriber hears of it without
//! anybody doing anything, and every question tells of it.

use luytre::base::clock::{Clock as _, SystemClock};
use luytre::model::principal::Role;
use luytre::wire::proto::v1::subscribe_request::Message;
use luytre::wire::proto::v1::subscribe_response::Message as Answer;
use luytre::wire::proto::v1::{self, EventKind, IndicatorState, publish_result::Outcome};
use tonic::Streaming;
use uuid::Uuid;

use crate::harness::patience::patiently;
use crate::harness::{Peer, TestHub, batch, draft, text_value};

async fn next_batch(frames: &mut Streaming<v1::SubscribeResponse>) -> v1::EventBatch {
    loop {
        let frame = frames.message().await.unwrap().expect("the stream lasts");
        if let Some(Answer::Batch(batch)) = frame.message {
            return batch;
        }
    }
}

/// Publishes an indicator that ends `seconds` from now; its name, and whether
/// it holds as yet.
async fn publish(peer: &Peer, value: &str, seconds: u64) -> (String, bool) {
    let until = SystemClock.now().as_seconds() + seconds;
    let valid_until =
        Some(prost_types::Timestamp { seconds: i64::try_from(until).unwrap(), nanos: 500_000_000 });
    let draft = v1::IndicatorDraft { valid_until, ..draft(value) };
    let answer = peer.exchange().publish_indicators(batch(Uuid::new_v4(), vec![draft])).await.unwrap();
    let Some(Outcome::Published(published)) = answer.into_inner().results.remove(0).outcome else {
        panic!("published")
    };
    let asked = v1::LookupObservablesRequest { observables: vec![text_value(value)], ..Default::default() };
    let mut answers =
        peer.exchange().lookup_observables(tokio_stream::iter([asked])).await.unwrap().into_inner();
    let found = answers.message().await.unwrap().unwrap().results.remove(0).matches.remove(0);
    (published.name, found.state() == IndicatorState::Active)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_indicator_past_its_validity_expires_by_itself_for_every_subscriber() {
    let mut hub = TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher, Role::Subscriber, Role::Analyst])
        .principal("b", "system/fw", &[Role::Subscriber, Role::Analyst])
        .start()
        .await;
    let (producer, reader) = (hub.peer("a", "system/feed"), hub.peer("b", "system/fw"));
    let open = v1::Open {
        start: Some(v1::open::Start::Position(v1::StartPosition::Earliest.into())),
        initial_credit: 100,
        ..Default::default()
    };
    let (say, said) = tokio::sync::mpsc::channel(1);
    say.send(v1::SubscribeRequest { message: Some(Message::Open(open)) }).await.unwrap();
    let said = tokio_stream::wrappers::ReceiverStream::new(said);
    let mut frames = reader.subscriptions().subscribe(said).await.unwrap().into_inner();

    // On a machine so slow that it ends before it is asked for, try for longer.
    let mut name = String::new();
    for (value, seconds) in [("a.example", 1), ("b.example", 10), ("c.example", 60)] {
        let (published, holds) = publish(&producer, value, seconds).await;
        name = published;
        if holds {
            break;
        }
    }
    let mut told = Vec::new();
    while told.last() != Some(&(EventKind::Expired, name.clone(), IndicatorState::Expired)) {
        let batch = patiently("an event", next_batch(&mut frames)).await;
        let kinds = if batch.kinds.is_empty() { vec![1; batch.events.len()] } else { batch.kinds };
        for (event, kind) in batch.events.into_iter().zip(kinds) {
            let Some(v1::event::Subject::Indicator(indicator)) = event.subject else { panic!("{event:?}") };
            told.push((EventKind::try_from(kind).unwrap(), indicator.name.clone(), indicator.state()));
        }
    }
    told.retain(|(_, told, _)| *told == name);
    assert_eq!(told[0], (EventKind::New, name.clone(), IndicatorState::Active));
    assert_eq!(told.len(), 2, "{told:?}");

    let got = reader
        .exchange()
        .get_indicator(v1::GetIndicatorRequest { name: name.clone(), as_of: None })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(got.indicator.unwrap().state(), IndicatorState::Expired);
    let filter = v1::IndicatorFilter { states: vec![IndicatorState::Expired.into()], ..Default::default() };
    let asked = v1::ListIndicatorsRequest { filter: Some(filter), ..Default::default() };
    let page = reader.exchange().list_indicators(asked).await.unwrap().into_inner();
    assert!(page.indicators.iter().any(|indicator| indicator.name == name));
    drop((say, frames));
    assert!(hub.terminate().await.success());
    hub.verify();
}
