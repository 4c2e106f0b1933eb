//! Under load: while the past is cut off, others publish, subscribe and ask,
//! and neither miss anything that is kept; and the disk has its room back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use luytre::hub::{Open, Start, forecast, verify};
use luytre::model::indicator::{Draft, normalise};
use luytre::model::marking::{Marking, Tlp};
use luytre::model::query::IndicatorFilter;
use luytre::wire::proto::v1;
use prost::Message as _;
use uuid::Uuid;

use super::super::support::{Engine, identity};
use super::{DAY, engine, policy, settle, verified};
use luytre::base::clock::Clock as _;

const VALUES: u32 = 300;

/// Long, and not to be compressed.
fn noise(seed: u32, note: u32) -> String {
    let digest = |part: u32| luytre::base::digest::sha256(&[seed, note, part].map(u32::to_be_bytes).concat());
    (0..40).map(|part| luytre::base::digest::hex(&digest(part))).collect()
}

fn draft(value: u32, note: u32) -> Draft {
    let observable = normalise::detect(&format!("v{value}.example")).unwrap().observable;
    Draft { description: noise(value, note), ..Draft::new(observable, Marking::open(Tlp::Green)) }
}

async fn publish(engine: &Engine, values: std::ops::Range<u32>, note: u32) {
    let drafts = values.map(|value| Ok(draft(value, note))).collect();
    let done = engine.hub.publish(&engine.caller(0), Uuid::new_v4(), drafts).await.unwrap();
    assert!(done.iter().all(Result::is_ok));
}

/// What stands, by value: the description.
async fn standing(engine: &Engine, viewer: usize) -> BTreeMap<String, String> {
    let (caller, mut all, mut token) = (engine.caller(viewer), BTreeMap::new(), String::new());
    loop {
        let page = engine.hub.list(&caller, IndicatorFilter::default(), 100, &token).await.unwrap();
        for found in page.indicators {
            let found = v1::Indicator::decode(found).unwrap();
            assert!(all.insert(found.name, found.description).is_none());
        }
        token = page.next_page_token;
        if token.is_empty() {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_past_is_cut_off_nothing_is_missed_and_the_disk_has_its_room_back() {
    let engine = engine(vec![]);
    for note in 0..6 {
        for from in (0..VALUES).step_by(100) {
            publish(&engine, from..from + 100, note).await;
        }
    }
    let engine = engine.reopen(|_| ()).await;
    engine.hub.backup(&engine.dir.path().join("flushed")).unwrap();
    let before = engine.hub.statistics().table_bytes;
    let told = forecast(
        &engine.dir.path().join("flushed"),
        &policy(vec![]),
        luytre::base::clock::Timestamp::from_micros_clamped(engine.clock.now().as_micros() + 20 * DAY),
    )
    .unwrap();
    assert_eq!((told.versions, told.records), (u64::from(VALUES) * 5, 0));
    engine.clock.advance(20 * DAY);
    settle(&engine).await;
    engine.clock.advance(3 * DAY);

    let open = Open { start: Some(Start::Latest), credit: 100_000, ..Open::default() };
    let mut stream = engine.stream_of(&engine.caller_named(identity(1)), open).await.unwrap();
    let (over, mut asked, mut published) = (Arc::new(AtomicBool::new(false)), 0, 0);
    let cutting = async {
        settle(&engine).await;
        over.store(true, Ordering::SeqCst);
    };
    let writing = async {
        while !over.load(Ordering::SeqCst) || published < 20 {
            publish(&engine, VALUES + published..VALUES + published + 1, 0).await;
            published += 1;
        }
    };
    let asking = async {
        while !over.load(Ordering::SeqCst) || asked < 5 {
            let found = standing(&engine, 1).await;
            assert!(found.len() >= VALUES as usize, "{}", found.len());
            asked += 1;
        }
    };
    tokio::join!(cutting, writing, asking);
    let heard = stream.take_until(100, |event| {
        event.indicator.as_ref().is_some_and(|found| found.description == noise(VALUES + published - 1, 0))
    });
    let heard = heard.await;
    assert_eq!(heard.len(), published as usize, "all that was published, once");
    stream.leave().await;

    let found = standing(&engine, 1).await;
    let mut descriptions: Vec<_> = found.into_values().collect();
    let mut expected: Vec<_> = (0..VALUES).map(|value| noise(value, 5)).collect();
    expected.extend((0..published).map(|value| noise(VALUES + value, 0)));
    descriptions.sort();
    expected.sort();
    assert!(descriptions == expected, "what stands is what was published last");
    settle(&engine).await;
    verified(&engine);
    let statistics = engine.hub.statistics();
    assert_eq!(statistics.truncation_behind, 0);
    assert!(statistics.truncated_bytes > u64::from(VALUES) * 5 * 2_000);
    let engine = engine.reopen(|_| ()).await;
    let after = engine.hub.statistics().table_bytes;
    assert!(after < before * 2 / 3, "{after} of {before}");
    let dir = engine.close().await;
    assert!(verify(&dir.path().join("hub"), |_| ()).unwrap().is_clean());
}

#[tokio::test]
async fn a_backup_that_is_made_meanwhile_is_one() {
    let engine = engine(vec![]);
    for note in 0..3 {
        publish(&engine, 0..100, note).await;
    }
    engine.clock.advance(20 * DAY);
    settle(&engine).await;
    engine.clock.advance(3 * DAY);
    let mut step = 0;
    while engine.hub.retain().await.unwrap() {
        step += 1;
        let (copy, to) =
            (engine.dir.path().join(format!("copy{step}")), engine.dir.path().join(format!("hub{step}")));
        engine.hub.backup(&copy).unwrap();
        luytre::hub::restore(&copy, &to, engine.clock.as_ref()).unwrap();
        let options = luytre::hub::Options { data_dir: to.clone(), ..engine.options.clone() };
        let restored = luytre::hub::Hub::open(options).unwrap();
        let found = restored.list(&engine.caller(1), IndicatorFilter::default(), 1_000, "").await.unwrap();
        assert_eq!(found.indicators.len(), 100, "step {step}");
        while restored.retain().await.unwrap() {}
        restored.close().await;
        drop(restored);
        let report = verify(&to, |_| ()).unwrap();
        assert!(report.is_clean(), "step {step}: {:?}", report.differences);
    }
    assert!(step > 2, "{step}");
}
