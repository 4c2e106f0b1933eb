//! What a backup holds, and what a hub brought back from one never repeats.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use luytre::hub::error::Reason;
use luytre::hub::{self, Hub, Open, Start, verify};
use uuid::Uuid;

use super::model::{self, Item, Model, Op};
use super::support::{Engine, Event, START};

fn publish(org: usize, note: u8) -> Op {
    let items = (0..3).map(|value| Item { value, marking: 1, labels: 1, note, reinstate: false }).collect();
    Op::Publish { org, items }
}

fn everything() -> Open {
    Open { start: Some(Start::Earliest), ..Open::default() }
}

async fn read(engine: &Engine, start: Start) -> (Vec<Event>, bytes::Bytes) {
    let mut stream = engine.stream(1, Open { start: Some(start), ..everything() }).await.unwrap();
    let events = stream.drain(100).await.into_iter().flat_map(|batch| batch.events).collect();
    let token = stream.token.clone();
    stream.leave().await;
    (events, token)
}

fn names(events: &[Event]) -> HashSet<bytes::Bytes> {
    events.iter().map(|event| event.event_id.clone()).collect()
}

#[tokio::test]
async fn a_restored_hub_goes_on_from_before_the_backup_and_refuses_tokens_from_after() {
    let engine = Engine::new();
    let mut model = Model::default();
    model.apply(&engine, &publish(0, 0)).await;
    model.apply(&engine, &publish(2, 0)).await;
    let (_, before) = read(&engine, Start::Earliest).await;
    model.apply(&engine, &publish(0, 1)).await;
    let (kept, at_backup) = read(&engine, Start::Earliest).await;
    let (backup, restored) = (engine.dir.path().join("backup"), engine.dir.path().join("restored"));
    let report = engine.hub.backup(&backup).unwrap();
    let snapshot = model.clone();
    model.apply(&engine, &publish(3, 0)).await;
    let (all, after) = read(&engine, Start::Earliest).await;
    let clock = Arc::clone(&engine.clock);
    // The machine that it is restored on has a clock that is behind.
    clock.set(START - 3_600_000_000);
    let made = hub::restore(&backup, &restored, clock.as_ref()).unwrap();
    assert!(made.epoch > report.epoch);
    let engine = engine.reopen(|options| options.data_dir = restored.clone()).await;
    let mut model = snapshot;
    let expired =
        engine.stream(1, Open { start: Some(Start::Token(after)), ..everything() }).await.err().unwrap();
    assert_eq!(expired.reason, Reason::ResumeTokenExpired);
    assert_eq!(read(&engine, Start::Token(before.clone())).await.0, kept[6..]);
    assert!(read(&engine, Start::Token(at_backup.clone())).await.0.is_empty());
    // Versions rise past the backup's (the model minds that); once the clock
    // is right again, past those that were lost, too.
    model.apply(&engine, &publish(0, 0)).await;
    clock.set(START + 1_000_000);
    model.apply(&engine, &publish(3, 0)).await;
    let (again, _) = read(&engine, Start::Earliest).await;
    let (new, _) = read(&engine, Start::Token(at_backup)).await;
    assert_eq!(new, again[kept.len()..]);
    assert_eq!(again[..kept.len()], kept);
    assert!(names(&new).is_disjoint(&names(&all)), "no event's name is used twice");
    let ids = |events: &[Event]| -> HashSet<_> {
        events.iter().filter(|e| e.kind == 1).map(|e| e.indicator.as_ref().unwrap().name.clone()).collect()
    };
    assert!(ids(&new).is_disjoint(&ids(&all)), "nor an indicator's");
    let lost = all[kept.len()..].iter().map(|e| e.indicator.as_ref().unwrap().version).max().unwrap();
    assert!(new[3..].iter().all(|e| e.indicator.as_ref().unwrap().version > lost));
    let _dir = engine.close().await;
    let report = verify(&restored, |_| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.differences);
}

#[tokio::test]
async fn a_backup_made_while_all_publish_is_whole_and_holds_what_was_acknowledged() {
    let engine = Engine::new();
    let mut model = Model::default();
    model.apply(&engine, &publish(0, 0)).await;
    let to = engine.dir.path().join("backup");
    let publishing = join_all((0..200_u8).map(|n| {
        let caller = engine.caller(usize::from(n % 4));
        let item = Item { value: n % 11, marking: n % 5, labels: n % 8, note: n / 100, reinstate: false };
        let drafts = vec![Ok(model::draft(&item))];
        let hub: &Hub = &engine.hub;
        async move { hub.publish(&caller, Uuid::new_v4(), drafts).await.unwrap() }
    }));
    let copying = {
        let (hub, to) = (Arc::clone(&engine.hub), to.clone());
        tokio::task::spawn_blocking(move || hub.backup(&to).unwrap())
    };
    let (_, copied) = tokio::join!(publishing, copying);
    assert!(copied.unwrap().last_entry >= 2);
    let report = verify(&to, |_| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.differences);
    assert!(report.items >= 3);
    engine.close().await;
}
