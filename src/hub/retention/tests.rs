//! Steps are small whatever is to be done, and what they leave is what their
//! digest says.

use std::ops::ControlFlow;

use uuid::Uuid;

use super::drops;
use super::sweep;
use super::{Candidate, Retain};
use crate::base::digest::Multiset;
use crate::hub::{Caller, Hub, testing};
use crate::model::indicator::lifecycle::{Revocation, RevocationReason};
use crate::model::indicator::{Draft, normalise};
use crate::model::marking::{Marking, Tlp};
use crate::model::position::Position;
use crate::model::sighting::{Outcome, SightingDraft};
use crate::store::chunk::Op;
use crate::store::truncate::{Base, Truncated};
use crate::store::{Batch, Store, keys};

async fn publish(hub: &Hub, caller: &Caller, count: usize, note: &str) -> Vec<Uuid> {
    let value = |number| normalise::detect(&format!("v{number}.example")).unwrap().observable;
    let draft = |number| Draft {
        description: note.repeat(20),
        ..Draft::new(value(number), Marking::open(Tlp::Green))
    };
    let drafts = (0..count).map(|number| Ok(draft(number))).collect();
    let done = hub.publish(caller, Uuid::new_v4(), drafts).await.unwrap();
    done.into_iter().map(|done| done.unwrap().id).collect()
}

/// How many items are left, by what they did.
fn left(store: &Store, op: Op) -> usize {
    let mut scan = store.scan(Position::ZERO).unwrap();
    let mut count = 0;
    while let Some(chunk) = scan.next_chunk().unwrap() {
        count += chunk.view().unwrap().items().flatten().filter(|item| item.header.op == op).count();
    }
    count
}

fn digest_of(store: &Store, upto: Position) -> Multiset {
    let (mut scan, mut digest) = (store.scan(Position::ZERO).unwrap(), Multiset::default());
    while let Some(chunk) = scan.next_chunk().unwrap().filter(|chunk| chunk.first <= upto) {
        digest.add(&keys::log(chunk.first), &chunk.bytes);
    }
    digest
}

/// Notes that the log is kept whole from its end on.
fn base_here(hub: &Hub) -> Position {
    let position = hub.shared.tail.committed();
    let store = &hub.shared.store;
    let mut batch = Batch::new(store);
    batch.base(&Base { position, ..Base::default() }).unwrap();
    store.commit(batch).unwrap();
    position
}

fn sweep_to(store: &Store, base: Position) -> Vec<Truncated> {
    let (mut mark, mut steps) = (store.truncated().unwrap(), Vec::new());
    while mark.upto < base {
        let next = sweep::step(store, mark, base).unwrap();
        assert!(next.upto > mark.upto, "what was read once is not read again");
        assert_eq!(next, store.truncated().unwrap(), "each step is noted");
        assert_eq!(next.digest, digest_of(store, next.upto));
        mark = next;
        steps.push(next);
    }
    steps
}

#[tokio::test]
async fn an_entry_larger_than_a_step_is_cut_over_several() {
    let (_dir, hub, caller) = testing::hub(&["a"]);
    for note in ["first ", "second ", "third "] {
        publish(&hub, &caller, 200, note).await;
    }
    let store = &hub.shared.store;
    let base = base_here(&hub);
    let steps = sweep_to(store, base);
    assert!(steps.len() > 20, "{}", steps.len());
    assert_eq!((left(store, Op::Create), left(store, Op::Born)), (0, 200));
    assert_eq!(left(store, Op::Update), 200, "the last version of each");
    assert!(steps.iter().any(|step| step.upto.seq() == base.seq() && step.upto < base));
    hub.close().await;
}

#[tokio::test]
async fn what_was_told_of_a_dropped_record_goes_however_much_that_is() {
    let (_dir, hub, caller) = testing::hub(&["a"]);
    let ids = publish(&hub, &caller, 2, "said ").await;
    let sighting = |indicator| SightingDraft {
        indicator,
        outcome: Outcome::SeenBlocked,
        count: 1,
        first_seen: None,
        last_seen: None,
        note: String::new(),
        marking: None,
    };
    for _ in 0..3 {
        let many = ids.iter().flat_map(|id| (0..20).map(|_| Ok(sighting(*id)))).collect();
        assert!(hub.report_sightings(&caller, Uuid::new_v4(), many).await.unwrap().iter().all(Result::is_ok));
    }
    let revocation = Revocation { reason: RevocationReason::Withdrawn, note: String::new() };
    hub.revoke(&caller, Uuid::new_v4(), ids[0], revocation, None).await.unwrap();
    let shared = &hub.shared;
    let base = base_here(&hub);
    sweep_to(&shared.store, base);
    let handle = shared.sealer.handle(ids[0]).unwrap();
    let newest = shared.store.latest(&[handle]).unwrap()[0].unwrap().newest;
    // One that stands and one whose version is another one stay.
    let stays = shared.sealer.handle(ids[1]).unwrap();
    let asked = [(stays, stays), (handle, newest)];
    let asked = asked.map(|(handle, newest)| Candidate { handle, newest });
    hub.say_retained(Retain::Ask(asked.to_vec())).await.unwrap();
    assert!(shared.store.is_dropped(handle).unwrap() && !shared.store.is_dropped(stays).unwrap());
    assert_eq!(shared.store.owed_drops().unwrap().len(), 1);
    assert_eq!(left(&shared.store, Op::Sight), 120);
    assert_eq!(drops::told(shared).unwrap(), ControlFlow::Break(()));
    assert_eq!(left(&shared.store, Op::Sight), 60);
    assert_eq!(drops::told(shared).unwrap(), ControlFlow::Continue(()), "nothing is owed any more");
    let mark = shared.store.truncated().unwrap();
    assert_eq!((mark.dropped, mark.digest), (1, digest_of(&shared.store, mark.upto)));
    hub.close().await;
}

#[tokio::test]
async fn what_is_being_cut_out_stops_with_the_hub_and_is_owed_still() {
    let (_dir, hub, caller) = testing::hub(&["a"]);
    let ids = publish(&hub, &caller, 1, "said ").await;
    let revocation = Revocation { reason: RevocationReason::Withdrawn, note: String::new() };
    hub.revoke(&caller, Uuid::new_v4(), ids[0], revocation, None).await.unwrap();
    let base = base_here(&hub);
    sweep_to(&hub.shared.store, base);
    let handle = hub.shared.sealer.handle(ids[0]).unwrap();
    let newest = hub.shared.store.latest(&[handle]).unwrap()[0].unwrap().newest;
    hub.say_retained(Retain::Ask(vec![Candidate { handle, newest }])).await.unwrap();
    hub.begin_drain();
    assert_eq!(drops::told(&hub.shared).unwrap(), ControlFlow::Break(()));
    assert_eq!(hub.shared.store.owed_drops().unwrap().len(), 1);
    hub.close().await;
}

#[tokio::test]
async fn compacting_goes_file_by_file_and_comes_to_an_end() {
    let (_dir, hub, caller) = testing::hub(&["a"]);
    let store = &hub.shared.store;
    for note in ["first ", "second ", "third "] {
        publish(&hub, &caller, 50, note).await;
        store.flush().unwrap();
    }
    let base = base_here(&hub);
    sweep_to(store, base);
    let mut steps = 0;
    while sweep::compact(&hub.shared).unwrap().is_break() {
        steps += 1;
        assert!(steps < 20, "each step goes on where the one before ended");
    }
    assert!(steps > 0);
    assert_eq!(store.compacted().unwrap().0, store.truncated().unwrap().freed);
    hub.close().await;
}
