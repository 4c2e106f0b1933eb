//! A disk that is nearly full is not written to, and one that has room again
//! is.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use luytre::base::volume::Volume;
use luytre::hub::error::Reason;
use luytre::model::query::IndicatorFilter;
use uuid::Uuid;

use super::model::{self, Item};
use super::support::Engine;

const FLOOR: u64 = 1 << 20;

/// A disk with as much room as it is given.
#[derive(Debug)]
struct Disk(AtomicU64);

impl Volume for Disk {
    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn a_hub_with_too_little_room_only_reads_and_takes_all_again_once_there_is_room() {
    let disk = Arc::new(Disk(AtomicU64::new(FLOOR)));
    let engine = Engine::with(|options| {
        options.volume = Arc::clone(&disk) as Arc<dyn Volume>;
        options.free_space_floor = FLOOR;
    });
    let (caller, repeated) = (engine.caller(0), Uuid::new_v4());
    let publish = |request, value| {
        let item = Item { value, marking: 1, labels: 1, note: 0, reinstate: false };
        engine.hub.publish(&caller, request, vec![Ok(model::draft(&item))])
    };
    let set = |free| {
        disk.0.store(free, Ordering::SeqCst);
        engine.hub.measure_space();
    };
    set(FLOOR);
    publish(Uuid::new_v4(), 0).await.unwrap();
    for free in [FLOOR - 1, FLOOR, 0] {
        set(free);
        let refused = publish(repeated, 1).await.unwrap_err();
        assert_eq!(refused.reason, Reason::StoreReadOnly);
        assert!(refused.public.contains("disk is nearly full"), "{refused}");
        assert!(refused.retry_after.is_some_and(|after| after >= Duration::from_secs(10)));
        assert_eq!(engine.hub.probe().await.unwrap_err().reason, Reason::StoreReadOnly);
        assert!(!engine.hub.takes_writes() && engine.hub.statistics().space_low);
        assert_eq!(engine.hub.latched(), None, "it needs no restart");
        let page = engine.hub.list(&caller, IndicatorFilter::default(), 10, "").await.unwrap();
        assert_eq!(page.indicators.len(), 1, "reading goes on");
    }
    set(2 * FLOOR);
    assert!(engine.hub.takes_writes() && !engine.hub.statistics().space_low);
    publish(repeated, 1).await.unwrap().remove(0).unwrap();
    engine.hub.probe().await.unwrap();
    engine.close().await;
}
