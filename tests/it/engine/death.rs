//! A writer that dies is a store that takes no more, and everyone is told so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use luytre::base::clock::{Clock, Timestamp};
use luytre::hub::error::Reason;
use uuid::Uuid;

use super::model::{self, Item};
use super::support::{Engine, START};
use crate::harness::patience::patiently;

/// A clock that kills the writer's thread once it is armed.
#[derive(Debug, Default)]
struct Deadly(AtomicBool);

impl Clock for Deadly {
    fn now(&self) -> Timestamp {
        if std::thread::current().name() == Some("luytre-writer") {
            assert!(!self.0.load(Ordering::SeqCst), "the test kills the writer");
        }
        Timestamp::from_micros_clamped(START)
    }
}

#[tokio::test]
async fn a_writer_that_dies_latches_the_hub_read_only_and_one_that_is_told_to_stop_does_not() {
    let clock = Arc::new(Deadly::default());
    let engine = Engine::with(|options| options.clock = Arc::clone(&clock) as Arc<dyn Clock>);
    let publish = async |value| {
        let item = Item { value, marking: 1, labels: 1, note: 0, reinstate: false };
        let drafts = vec![Ok(model::draft(&item))];
        engine.hub.publish(&engine.caller(0), Uuid::new_v4(), drafts).await
    };
    publish(0).await.unwrap();
    assert_eq!(engine.hub.latched(), None);
    clock.0.store(true, Ordering::SeqCst);
    for value in 1..4 {
        let refused = patiently("an answer", publish(value)).await.unwrap_err();
        assert_eq!(refused.reason, Reason::StoreReadOnly);
    }
    let probed = patiently("the probe", engine.hub.probe()).await.unwrap_err();
    assert_eq!(probed.reason, Reason::StoreReadOnly);
    assert_eq!(engine.hub.latched().as_deref(), Some("the writer ended unexpectedly"));

    let engine = Engine::new();
    engine.hub.close().await;
    assert_eq!(engine.hub.latched(), None);
    let probed = patiently("the probe", engine.hub.probe()).await.unwrap_err();
    assert_eq!(probed.reason, Reason::Draining);
    engine.close().await;
}
