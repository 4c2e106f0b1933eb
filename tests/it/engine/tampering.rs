//! Verification sees what was changed behind the hub's back.

use std::path::Path;

use luytre::hub::verify;
use luytre::model::position::Position;
use luytre::store::chunk::Chunk;
use luytre::store::keys::{self, Dimension, Family, KeyKind};
use luytre::store::postings::{Posting, Postings};
use luytre::store::{Batch, Store, Tuning, record};

use super::model::{self, Item, Model, Op};
use super::support::Engine;

fn item(value: u8, note: u8) -> Item {
    Item { value, marking: 1, labels: 3, note, reinstate: false }
}

/// Whether verification tells of a difference, or of damage.
fn seen(path: &Path) -> bool {
    verify(path, |_| ()).map_or(true, |report| !report.is_clean())
}

fn write(path: &Path, fill: impl FnOnce(&Store, &mut Batch<'_>)) {
    let store = Store::open(path, &Tuning::default()).unwrap();
    let mut batch = Batch::new(&store);
    fill(&store, &mut batch);
    store.commit(batch).unwrap();
}

fn chunks(store: &Store) -> Vec<Chunk> {
    let mut scan = store.scan(Position::ZERO).unwrap();
    std::iter::from_fn(|| scan.next_chunk().unwrap()).collect()
}

#[tokio::test]
async fn verify_sees_a_changed_value_latest_record_posting_and_chunk() {
    let engine = Engine::new();
    let mut model = Model::default();
    model.apply(&engine, &Op::Publish { org: 0, items: (0..5).map(|v| item(v, 0)).collect() }).await;
    model.apply(&engine, &Op::Publish { org: 0, items: vec![item(0, 1)] }).await;
    model.apply(&engine, &Op::Revoke { org: 0, pick: 1 }).await;
    model.apply(&engine, &Op::Sight { org: 2, pick: 0 }).await;
    let path = engine.path().to_owned();
    let _dir = engine.close().await;
    let clean = verify(&path, |_| ()).unwrap();
    assert!(clean.is_clean(), "{:?}", clean.differences);

    let key = keys::value(&model::value(0).0);
    let mut kept = Vec::new();
    write(&path, |store, batch| {
        kept = store.assertions(&[&key]).unwrap().remove(0);
        let mut changed = kept.clone();
        changed[0].digest ^= 1;
        batch.assertions(&key, &changed).unwrap();
    });
    assert!(seen(&path), "a value");
    write(&path, |_, batch| batch.assertions(&key, &[]).unwrap());
    assert!(seen(&path), "a value that is gone");
    write(&path, |_, batch| batch.assertions(&key, &kept).unwrap());

    let mut kept = None;
    write(&path, |store, batch| {
        let mut records = store.records(Family::Latest, &[KeyKind::Latest.byte()]).unwrap();
        let (key, value) = records.next_record().unwrap().unwrap();
        let handle = Position::from_raw(keys::number_of(&key).unwrap());
        let latest = record::decode_latest(&value).unwrap();
        kept = Some((handle, latest));
        batch.latest(handle, &record::Latest { reclassed: !latest.reclassed, ..latest }).unwrap();
    });
    assert!(seen(&path), "a latest record");
    let (handle, latest) = kept.unwrap();
    write(&path, |_, batch| batch.latest(handle, &latest).unwrap());

    let mut all = Vec::new();
    write(&path, |store, _| all = chunks(store));
    // The first entry's keys and roster are nobody's consequence.
    for chunk in all.into_iter().skip(1) {
        for at in [20, chunk.bytes.len() / 2, chunk.bytes.len() - 1] {
            let mut bytes = chunk.bytes.to_vec();
            bytes[at] ^= 1;
            write(&path, |_, batch| batch.chunk(&Chunk { first: chunk.first, bytes: bytes.into() }).unwrap());
            let told = seen(&path);
            write(&path, |_, batch| batch.chunk(&chunk).unwrap());
            assert!(told, "byte {at} of the chunk at {:?}", chunk.first);
        }
    }
    let again = verify(&path, |_| ()).unwrap();
    assert!(again.is_clean(), "all that was changed is back: {:?}", again.differences);
    assert_eq!(again.digest, clean.digest);

    write(&path, |_, batch| {
        let mut postings = Postings::default();
        postings.add(Dimension::Label, keys::label_term("c2"), Posting { position: handle, handle });
        batch.postings(&postings).unwrap();
    });
    assert!(seen(&path), "a posting");
}
