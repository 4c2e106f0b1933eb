//! A dossier is asked for among the other questions of its organisation.

use crate::hub::error::Kind;
use crate::hub::testing;
use crate::model::indicator::normalise;

#[tokio::test]
async fn one_organisation_asks_for_no_more_dossiers_at_once_than_it_has_places() {
    let (_dir, hub, caller) = testing::hub(&["a", "b"]);
    let other = testing::caller(&hub, "spiffe://test.example/org/b/system/feed");
    let value = normalise::detect("evil.example").unwrap().observable;
    let held = testing::occupy(&hub.shared, &caller);
    let refused = hub.dossier(&caller, value.clone(), Vec::new()).await.unwrap_err();
    assert!(refused.kind() == Kind::Limited && refused.retry_after.is_some(), "{refused:?}");
    hub.dossier(&other, value, Vec::new()).await.unwrap();
    drop(held);
    hub.close().await;
}
