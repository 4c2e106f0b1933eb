//! What waits for the writer is bounded in bytes, and all of it is answered.

use std::sync::Arc;

use futures_util::poll;
use luytre::base::clock::{Clock, Timestamp};
use luytre::model::indicator::{Draft, normalise};
use luytre::model::marking::{Marking, Tlp};
use parking_lot::{Condvar, Mutex};
use uuid::Uuid;

use super::support::{Engine, START};
use crate::harness::patience::{eventually, patiently};

/// A clock that holds the writer's thread while it is shut.
#[derive(Debug, Default)]
struct Gate {
    shut: Mutex<(bool, bool)>,
    moved: Condvar,
}

impl Gate {
    fn set(&self, shut: bool) {
        self.shut.lock().0 = shut;
        self.moved.notify_all();
    }

    fn holds_the_writer(&self) -> bool {
        self.shut.lock().1
    }
}

impl Clock for Gate {
    fn now(&self) -> Timestamp {
        if std::thread::current().name() == Some("luytre-writer") {
            let mut shut = self.shut.lock();
            while shut.0 {
                shut.1 = true;
                self.moved.wait(&mut shut);
            }
        }
        Timestamp::from_micros_clamped(START)
    }
}

fn draft(number: usize) -> Draft {
    let observable = normalise::detect(&format!("n{number}.example")).unwrap().observable;
    Draft { description: "d".repeat(10_000), ..Draft::new(observable, Marking::open(Tlp::Green)) }
}

#[tokio::test]
async fn requests_beyond_the_room_wait_at_their_sender_and_none_is_left_unanswered() {
    const ROOM: usize = 64 << 10;
    let gate = Arc::new(Gate::default());
    let engine = Engine::with(|options| {
        options.clock = Arc::clone(&gate) as Arc<dyn Clock>;
        options.max_waiting_bytes = ROOM;
    });
    let caller = engine.caller(0);
    let publish = |numbers: std::ops::Range<usize>| {
        Box::pin(engine.hub.publish(&caller, Uuid::new_v4(), numbers.map(|n| Ok(draft(n))).collect()))
    };
    gate.set(true);
    let mut first = publish(0..1);
    assert!(poll!(&mut first).is_pending());
    eventually("the writer is held", async || gate.holds_the_writer().then_some(())).await;
    // One of them is larger than the whole room.
    let mut all: Vec<_> = (1..40).map(|n| publish(n * 10..n * 10 + if n == 20 { 10 } else { 1 })).collect();
    for request in &mut all {
        assert!(poll!(request).is_pending());
    }
    let statistics = engine.hub.statistics();
    assert!(statistics.waiting_bytes <= ROOM as u64, "{statistics:?}");
    assert!((1..=5).contains(&statistics.waiting_requests), "{statistics:?}");
    // Who goes away leaves his request with the writer, and it takes room.
    drop(all.remove(0));
    assert_eq!(engine.hub.statistics().waiting_bytes, statistics.waiting_bytes);
    gate.set(false);
    for request in std::iter::once(first).chain(all) {
        let answers = patiently("an answer", request).await.unwrap();
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    assert_eq!(engine.hub.statistics().items, 40 + 9);
    eventually("the room is free", async || (engine.hub.statistics().waiting_bytes == 0).then_some(())).await;
    engine.close().await;
}
