//! Small blocks of postings become large ones, and nobody who asks can tell.

use std::ops::Range;
use std::path::Path;

use luytre::hub::verify;
use luytre::model::indicator::{Draft, normalise};
use luytre::model::marking::{Marking, Tlp};
use luytre::model::position::Position;
use luytre::model::query::IndicatorFilter;
use luytre::store::keys::{self, Dimension};
use luytre::store::merge::{FAN_IN, MAX_RUN};
use luytre::store::postings::Postings;
use luytre::store::{Batch, Store, Tuning};
use luytre::wire::event;
use luytre::wire::proto::v1;
use prost::Message as _;
use uuid::Uuid;

use super::support::Engine;
use crate::harness::patience::eventually;

const LABEL: &str = "c2";
/// Owner, kind, class and label have a block of each publication.
const TERMS: u64 = 4;

async fn publish(engine: &Engine, numbers: Range<usize>) {
    let draft = |number: usize| {
        let observable = normalise::detect(&format!("n{number}.example")).unwrap().observable;
        Draft { labels: vec![LABEL.to_owned()], ..Draft::new(observable, Marking::open(Tlp::Green)) }
    };
    let items = numbers.map(|number| Ok(draft(number))).collect();
    let results = engine.hub.publish(&engine.caller(0), Uuid::new_v4(), items).await.unwrap();
    assert!(results.iter().all(Result::is_ok));
}

fn filter() -> IndicatorFilter {
    IndicatorFilter { labels: vec![LABEL.to_owned()], ..IndicatorFilter::default() }
}

/// One page: what it names, and the token for the next.
async fn page(engine: &Engine, size: usize, token: &str) -> (Vec<String>, String) {
    let page = engine.hub.list(&engine.caller(1), filter(), size, token).await.unwrap();
    let names = page.indicators.into_iter().map(|bytes| {
        let indicator = v1::Indicator::decode(bytes).unwrap();
        event::observables(&indicator).unwrap().0.to_string()
    });
    (names.collect(), page.next_page_token)
}

/// What a list gives after so many publications, newest first.
fn expected(published: usize) -> Vec<String> {
    (0..published).rev().map(|number| format!("n{number}.example")).collect()
}

/// Numbers of postings in the blocks that a list through the label reads.
fn blocks(path: &Path) -> Vec<usize> {
    let store = Store::open(path, &Tuning::default()).unwrap();
    let end = Position::from_raw(u64::MAX);
    let mut back = store.postings_back(Dimension::Label, keys::label_term(LABEL), end).unwrap();
    std::iter::from_fn(|| back.next_block().unwrap().map(|block| block.len())).collect()
}

/// Cuts all blocks of the label into blocks of one posting.
fn split(path: &Path) {
    let store = Store::open(path, &Tuning::default()).unwrap();
    let (term, end) = (keys::label_term(LABEL), Position::from_raw(u64::MAX));
    let mut back = store.postings_back(Dimension::Label, term, end).unwrap();
    let mut batch = Batch::new(&store);
    for posting in std::iter::from_fn(|| back.next_block().unwrap()).flatten() {
        let mut postings = Postings::default();
        postings.add(Dimension::Label, term, posting);
        batch.postings(&postings).unwrap();
    }
    drop(back);
    store.commit(batch).unwrap();
}

async fn merged(engine: &Engine, blocks: u64) {
    eventually("the blocks are merged", async || {
        let now = engine.hub.statistics();
        (now.merged_blocks >= blocks && now.merges_waiting == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_walk_gives_the_same_before_during_and_after_merges_and_reads_fewer_blocks() {
    const FIRST: usize = 100;
    const ALL: usize = 2 * MAX_RUN + 5;
    let engine = Engine::new();
    for number in 0..FIRST {
        publish(&engine, number..number + 1).await;
    }
    // One walk goes on while others publish, and blocks are merged under it.
    let (mut seen, mut token) = page(&engine, 3, "").await;
    for number in FIRST..ALL {
        publish(&engine, number..number + 1).await;
        if !token.is_empty() {
            let (names, next) = page(&engine, 3, &token).await;
            seen.extend(names);
            token = next;
        }
    }
    assert_eq!((seen, token.as_str()), (expected(FIRST), ""));
    assert_eq!(page(&engine, 1_000, "").await.0, expected(ALL));
    // All terms are looked at once before any is a second time.
    merged(&engine, TERMS * MAX_RUN as u64).await;
    assert_eq!(page(&engine, 1_000, "").await.0, expected(ALL));
    let path = engine.path().to_owned();
    let _dir = engine.close().await;
    let blocks = blocks(&path);
    assert_eq!(blocks.iter().sum::<usize>(), ALL);
    assert!(blocks.len() <= ALL - MAX_RUN + 1, "{blocks:?}");
    let report = verify(&path, |_| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.differences);
}

#[tokio::test]
async fn what_an_earlier_run_left_in_small_blocks_is_merged_after_a_start() {
    const ALL: usize = 3 * FAN_IN;
    let mut engine = Engine::new();
    // In one commit: of no other term are there blocks to merge.
    publish(&engine, 0..ALL).await;
    engine = engine
        .reopen(|options| {
            split(&options.data_dir);
            assert_eq!(blocks(&options.data_dir), [1; ALL]);
        })
        .await;
    merged(&engine, ALL as u64).await;
    assert_eq!(page(&engine, 1_000, "").await.0, expected(ALL));
    let path = engine.path().to_owned();
    let _dir = engine.close().await;
    assert_eq!(blocks(&path), [ALL]);
    assert!(verify(&path, |_| ()).unwrap().is_clean());
}
