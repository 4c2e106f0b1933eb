//! What is published is found by what it says as soon as it is published,
//! though it is indexed behind the log, and however that was cut off.

use luytre::hub::verify;
use luytre::model::indicator::{Draft, normalise};
use luytre::model::marking::{Marking, Tlp};
use luytre::model::query::IndicatorFilter;
use luytre::model::search::Search;
use luytre::store::db;
use luytre::store::{Batch, Store, Tuning};
use uuid::Uuid;

use super::support::Engine;

fn draft(number: usize) -> Draft {
    Draft {
        description: format!("chiến dịch số {number}"),
        ..Draft::new(
            normalise::detect(&format!("n{number}.example")).unwrap().observable,
            Marking::open(Tlp::Green),
        )
    }
}

async fn publish(engine: &Engine, number: usize) {
    let done = engine.hub.publish(&engine.caller(0), Uuid::new_v4(), vec![Ok(draft(number))]).await.unwrap();
    done.into_iter().next().unwrap().unwrap();
}

async fn found(engine: &Engine) -> usize {
    let text = Some(Search::parse("chien dich").unwrap());
    let filter = IndicatorFilter { text, ..IndicatorFilter::default() };
    engine.hub.list(&engine.caller(1), filter, 1_000, "").await.unwrap().indicators.len()
}

#[tokio::test]
async fn whoever_published_finds_it_at_once() {
    let engine = Engine::new();
    for number in 1..=50 {
        publish(&engine, number).await;
        assert_eq!(found(&engine).await, number);
    }
}

#[tokio::test]
async fn a_store_of_the_format_before_is_indexed_from_where_it_ends() {
    let mut engine = Engine::new();
    publish(&engine, 1).await;
    engine = engine
        .reopen(|options| {
            let store = Store::open(&options.data_dir, &Tuning::default()).unwrap();
            let mut batch = Batch::new(&store);
            batch.meta(db::FORMAT, &2_u32.to_be_bytes()).unwrap();
            store.commit(batch).unwrap();
        })
        .await;
    publish(&engine, 2).await;
    assert_eq!(found(&engine).await, 2);
    let path = engine.path().to_owned();
    let _dir = engine.close().await;
    let format = Store::open(&path, &Tuning::default()).unwrap().meta(db::FORMAT).unwrap().unwrap();
    assert_eq!(format, db::FORMAT_VERSION.to_be_bytes());
    assert!(verify(&path, |_| ()).unwrap().is_clean());
}
