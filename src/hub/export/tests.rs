//! An export waits its turn, and for the index once, if at all.

use futures_util::FutureExt as _;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use crate::hub::testing;
use crate::model::indicator::{Draft, Kind as ObservableKind, normalise};
use crate::model::marking::Marking;

use super::*;

/// A position that nothing reaches.
const NEVER: Position = Position::from_raw(u64::MAX);

fn export(hub: &Hub, caller: &Caller, filter: IndicatorFilter) -> Export {
    let wanted =
        Wanted { filter, format: Format::Csv, if_none_match: None, position_token: String::new(), offset: 0 };
    hub.export(caller, wanted).unwrap()
}

fn domains() -> IndicatorFilter {
    IndicatorFilter { kinds: vec![ObservableKind::Domain], ..IndicatorFilter::default() }
}

/// Every place for reads that is free.
fn reads(shared: &Shared) -> OwnedSemaphorePermit {
    let free = u32::try_from(shared.reads.available_permits()).unwrap();
    Arc::clone(&shared.reads).try_acquire_many_owned(free).unwrap()
}

/// Whether an export that goes on waits for a place among the reads. They are
/// given in turn: one that is given back goes to whoever waits for it.
fn waits_to_read(export: &mut Export) -> bool {
    let shared = Arc::clone(&export.shared);
    let mut held = reads(&shared);
    let next = export.next();
    let mut next = std::pin::pin!(next);
    assert!(next.as_mut().now_or_never().is_none());
    drop(held.split(1).unwrap());
    shared.reads.available_permits() == 0
}

#[tokio::test]
async fn an_export_waits_for_the_index_only_if_it_is_asked() {
    let (_dir, hub, caller) = testing::hub(&["a"]);
    for (filter, asks) in [(IndicatorFilter::default(), false), (domains(), true)] {
        let mut export = export(&hub, &caller, filter);
        export.plan.origin = NEVER;
        assert_eq!(waits_to_read(&mut export), !asks);
    }
    hub.close().await;
}

#[tokio::test]
async fn an_export_waits_for_the_index_at_its_start_alone() {
    let (_dir, hub, caller) = testing::hub(&["a"]);
    let value = normalise::detect("evil.example").unwrap().observable;
    let drafts = vec![Ok(Draft::new(value, Marking::open(Tlp::Green)))];
    hub.publish(&caller, Uuid::new_v4(), drafts).await.unwrap().remove(0).unwrap();
    let mut export = export(&hub, &caller, domains());
    let opening = export.next().await.unwrap();
    assert!(matches!(opening, Some(Exported::Opening(_))), "{opening:?}");
    export.plan.origin = NEVER;
    assert!(waits_to_read(&mut export));
    hub.close().await;
}

#[tokio::test]
async fn an_export_waits_for_a_place_of_its_organisation() {
    let (_dir, hub, caller) = testing::hub(&["a", "b"]);
    let other = testing::caller(&hub, "spiffe://test.example/org/b/system/feed");
    hub.shared.index.reached(hub.shared.tail.committed()).await;
    let held = testing::occupy(&hub.shared, &caller);
    let mut waiting = export(&hub, &caller, IndicatorFilter::default());
    assert!(!waits_to_read(&mut waiting), "the organisation has no place left");
    let of_another = export(&hub, &other, IndicatorFilter::default()).next().await.unwrap();
    assert!(matches!(of_another, Some(Exported::Opening(_))), "{of_another:?}");
    // Whoever went away while it waited has lost nothing.
    let mut next = Box::pin(waiting.next());
    assert!(next.as_mut().now_or_never().is_none());
    drop(held);
    let opening = next.await.unwrap();
    assert!(matches!(opening, Some(Exported::Opening(_))), "{opening:?}");
    hub.close().await;
}

#[tokio::test]
async fn an_export_that_waits_for_its_place_ends_when_the_hub_goes_down() {
    let (_dir, hub, caller) = testing::hub(&["a"]);
    let held = testing::occupy(&hub.shared, &caller);
    let mut waiting = export(&hub, &caller, IndicatorFilter::default());
    let mut next = Box::pin(waiting.next());
    assert!(next.as_mut().now_or_never().is_none());
    hub.shared.draining.cancel();
    assert_eq!(next.await.unwrap_err().reason, Reason::Draining);
    drop(held);
    hub.close().await;
}
