//! The current state as a scan, and recalls first: a client that does what the
//! contract asks holds exactly what stands for it, however often it is cut,
//! and brings nothing back that was taken back.

use std::collections::BTreeSet;

use luytre::hub::{Command, Open, Start};
use luytre::model::indicator::State;
use luytre::model::roster::{Patch, Relation, RelationKind};
use luytre::wire::proto::v1::subscribe_response::Message;
use uuid::Uuid;

use super::model::{self, Model};
use super::support::{Engine, Stream, block_on, events, slug};

const NEW: i32 = 1;

/// Makes one organisation the client of another.
async fn relate(hub: &Engine, client: usize, provider: usize) {
    let relation = Relation {
        kind: RelationKind::ClientOf,
        subject: slug(client),
        object: slug(provider),
        from: None,
        to: None,
        legal_basis: "contract".into(),
    };
    let patch = Patch { relations: Some(vec![relation]), ..Patch::default() };
    hub.hub.change_roster(&hub.caller(0), Uuid::new_v4(), patch).await.unwrap();
}

fn item(value: u8, note: u8) -> model::Item {
    model::Item { value, marking: 1, labels: 0, note, reinstate: false }
}

async fn publish(engine: &Engine, model: &mut Model, items: Vec<model::Item>) {
    model.apply(engine, &model::Op::Publish { org: 0, items }).await;
}

async fn next(stream: &mut Stream) -> Message {
    stream.next().await.expect("the stream lasts").expect("no error")
}

#[test]
fn brackets_need_no_credit_and_the_state_no_more_than_it_is_given() {
    block_on(async {
        let engine = Engine::with(|options| options.heartbeat = std::time::Duration::from_secs(60));
        let mut model = Model::default();
        publish(&engine, &mut model, vec![item(0, 0), item(1, 0), item(2, 0)]).await;
        let open = Open { start: Some(Start::CurrentState), credit: 0, ..Open::default() };
        let mut stream = engine.stream(1, open).await.unwrap();
        assert!(matches!(next(&mut stream).await, Message::StateBegin(_)));
        for credit in [1, 2] {
            stream.grant(credit).await;
            let Message::Batch(batch) = next(&mut stream).await else { panic!("events") };
            assert_eq!((batch.events.len() as u64, batch.kinds), (credit, vec![]));
        }
        assert!(matches!(next(&mut stream).await, Message::StateEnd(_)));
        stream.leave().await;
        engine.close().await;
    });
}

#[test]
fn what_ends_or_comes_while_the_state_goes_out_is_no_part_of_it() {
    block_on(async {
        let engine = Engine::new();
        let mut model = Model::default();
        publish(&engine, &mut model, (0..4).map(|value| item(value, 0)).collect()).await;
        let open = Open { start: Some(Start::CurrentState), credit: 1, ..Open::default() };
        let mut stream = engine.stream(1, open).await.unwrap();
        let mut told = Vec::new();
        while told.is_empty() {
            if let Message::Batch(batch) = next(&mut stream).await {
                told.extend(events(batch));
            }
        }
        model.apply(&engine, &model::Op::Revoke { org: 0, pick: 1 }).await;
        let tightened = model::Item { marking: 4, ..item(3, 0) };
        publish(&engine, &mut model, vec![item(2, 1), tightened, item(4, 0)]).await;
        stream.grant(100).await;
        loop {
            match next(&mut stream).await {
                Message::Batch(batch) => told.extend(events(batch)),
                Message::StateEnd(_) => break,
                _ => {}
            }
        }
        let versions: Vec<_> = told.iter().map(|event| event.indicator.as_ref().unwrap().version).collect();
        assert_eq!(versions, [0, 2].map(|event| model.events[event].version), "as of the beginning");
        let tail = stream.drain(100).await.into_iter().flat_map(|batch| batch.events);
        assert_eq!(tail.map(|event| event.kind).collect::<Vec<_>>(), [4, 2, 3, 1]);
        stream.leave().await;
        engine.close().await;
    });
}

#[test]
fn what_was_taken_back_is_not_brought_up_by_a_right_that_was_gained_before() {
    block_on(async {
        let engine = Engine::new();
        let mut model = Model::default();
        let amber = |value| model::Item { marking: 2, ..item(value, 0) };
        publish(&engine, &mut model, vec![amber(0), amber(1), item(2, 0)]).await;
        let open = |start| Open { start: Some(start), credit: 1_000, ..Open::default() };
        let mut stream = engine.stream(2, open(Start::Earliest)).await.unwrap();
        assert_eq!(stream.drain(10).await.len(), 1, "the one for all");
        let token = stream.token.clone();
        stream.leave().await;
        relate(&engine, 2, 1).await;
        model.apply(&engine, &model::Op::Revoke { org: 0, pick: 0 }).await;
        let mut stream = engine.stream(2, open(Start::Token(token))).await.unwrap();
        let told = stream.drain(10).await.into_iter().flat_map(|batch| batch.events);
        let name = |record: usize| format!("indicators/{}", model.records[record].id.hyphenated());
        let told: Vec<_> = told.map(|event| (event.kind, event.indicator.unwrap().name)).collect();
        assert_eq!(told, [(NEW, name(1)), (4, name(0))]);
        assert_eq!(stream.recalls.len(), 1);
        stream.leave().await;
        engine.close().await;
    });
}

#[test]
fn what_was_published_together_goes_out_less_what_changed_since() {
    block_on(async {
        let engine = Engine::new();
        let mut model = Model::default();
        for values in [0..2, 2..4] {
            publish(&engine, &mut model, values.map(|value| item(value, 0)).collect()).await;
        }
        for (changes, expected) in [(0, 4), (1, 3), (2, 3)] {
            match changes {
                1 => model.apply(&engine, &model::Op::Revoke { org: 0, pick: 1 }).await,
                2 => publish(&engine, &mut model, vec![item(3, 1)]).await,
                _ => {}
            }
            let open = Open { start: Some(Start::CurrentState), credit: 100, ..Open::default() };
            let mut stream = engine.stream(1, open).await.unwrap();
            let mut told = Vec::new();
            loop {
                match next(&mut stream).await {
                    Message::Batch(batch) => told.extend(events(batch)),
                    Message::StateEnd(_) => break,
                    _ => {}
                }
            }
            let told = told.into_iter().map(|event| event.indicator.unwrap());
            let told: Vec<_> = told.map(|indicator| (indicator.name, indicator.version)).collect();
            assert_eq!(told.len(), expected, "{told:?}");
            let told: BTreeSet<_> = told.into_iter().collect();
            let standing = (0..4).filter(|record| model.now(*record).state == State::Active);
            let named = |record: usize| {
                let name = format!("indicators/{}", model.records[record].id.hyphenated());
                (name, model.now(record).version)
            };
            assert_eq!(told, standing.map(named).collect());
            stream.leave().await;
        }
        engine.close().await;
    });
}

#[test]
fn a_named_scan_goes_on_from_its_cursor_after_a_restart_though_the_cursor_was_further() {
    block_on(async {
        let mut engine = Engine::new();
        let mut model = Model::default();
        publish(&engine, &mut model, (0..6).map(|value| item(value.min(3), 0)).collect()).await;
        let named = |start| Open { subscription: Some("soc".into()), start, credit: 1, ..Open::default() };
        // The cursor stands at the end of the log, where the scan begins.
        let mut stream = engine.stream(1, named(Some(Start::Latest))).await.unwrap();
        stream.commands.send(Ok(Command::Ack(stream.token.clone()))).await.unwrap();
        while stream.acked == 0 {
            next(&mut stream).await;
        }
        stream.leave().await;
        let mut told = BTreeSet::new();
        let (mut begun, mut ended) = (0, 0);
        for round in 0..4 {
            let start = (round == 0).then_some(Start::CurrentState);
            let mut stream = engine.stream(1, named(start)).await.unwrap();
            loop {
                match next(&mut stream).await {
                    Message::StateBegin(_) => begun += 1,
                    Message::StateEnd(_) => ended += 1,
                    Message::Batch(batch) => {
                        for event in events(batch) {
                            assert!(told.insert(event.indicator.unwrap().name), "round {round}: twice");
                        }
                        break;
                    }
                    _ => {}
                }
                if ended > 0 {
                    break;
                }
            }
            stream.commands.send(Ok(Command::Ack(stream.token.clone()))).await.unwrap();
            let before = stream.acked;
            while stream.acked == before {
                next(&mut stream).await;
            }
            stream.leave().await;
            engine = engine.reopen(|_| ()).await;
        }
        assert_eq!((told.len(), begun), (model.records.len(), 1));
        let mut stream = engine.stream(1, named(None)).await.unwrap();
        while ended == 0 {
            ended += usize::from(matches!(next(&mut stream).await, Message::StateEnd(_)));
        }
        stream.leave().await;
        engine.close().await;
    });
}

#[test]
fn what_was_taken_back_is_recalled_first_and_not_brought_up_by_the_replay() {
    block_on(async {
        let engine = Engine::new();
        let mut model = Model::default();
        publish(&engine, &mut model, vec![item(0, 0), item(1, 0), item(2, 0)]).await;
        let open = |start| Open { start: Some(start), credit: 1_000, ..Open::default() };
        let mut stream = engine.stream(1, open(Start::Earliest)).await.unwrap();
        stream.drain(10).await;
        let token = stream.token.clone();
        stream.leave().await;
        publish(&engine, &mut model, vec![item(0, 1), item(1, 1), item(2, 1), item(3, 0)]).await;
        for record in [0, 1, 3] {
            model.apply(&engine, &model::Op::Revoke { org: 0, pick: record }).await;
        }
        let back = model::Item { reinstate: true, ..item(1, 0) };
        publish(&engine, &mut model, vec![back]).await;

        let mut stream = engine.stream(1, open(Start::Token(token.clone()))).await.unwrap();
        let Message::Recalls(first) = next(&mut stream).await else { panic!("recalls come first") };
        assert_eq!((first.events.len(), first.kinds), (1, vec![4]), "one ended, one was brought back");
        let replay: Vec<_> = stream.drain(1_000).await.into_iter().flat_map(|batch| batch.events).collect();
        let name = |record: usize| format!("indicators/{}", model.records[record].id.hyphenated());
        let told: Vec<_> =
            replay.iter().map(|e| (e.kind, e.indicator.as_ref().unwrap().name.clone())).collect();
        let expected = [(2, 1), (2, 2), (1, 3), (4, 0), (4, 1), (4, 3), (1, 1)];
        let expected = expected.map(|(kind, record)| (kind, name(record)));
        assert_eq!(told, expected);
        let revoked = replay.iter().find(|event| event.kind == 4).unwrap();
        let recall = stream.recalls[0].clone();
        assert_eq!(recall.event_id, revoked.event_id, "a recall tells which event follows");
        let bare = luytre::wire::proto::v1::Indicator { name: name(0), ..Default::default() };
        assert_eq!(recall.indicator, Some(bare), "a recall carries the name only");
        stream.leave().await;
        // Who may not see it is told of nothing, and who starts afresh neither.
        for (org, start) in [(1, Start::Earliest), (1, Start::CurrentState)] {
            let mut stream = engine.stream(org, open(start)).await.unwrap();
            while !matches!(next(&mut stream).await, Message::Heartbeat(_)) {}
            assert_eq!(stream.recalls, []);
            stream.leave().await;
        }
        engine.close().await;
    });
}
