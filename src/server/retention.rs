//! Decides when the hub keeps less of the past.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::hub::Hub;
use crate::hub::error::Kind;

/// How often is looked whether there is anything to do.
const TICK: Duration = Duration::from_secs(60);
/// Between two steps, so that they take little of what others need.
const PAUSE: Duration = Duration::from_millis(10);

/// Keeps what the policy says until `stopping`.
pub(super) async fn follow(hub: Arc<Hub>, stopping: CancellationToken) {
    while !stopping.is_cancelled() {
        let more = match hub.retain().await {
            Ok(more) => more,
            // A read-only store says so by itself, and a hub that stops as well.
            Err(error) if matches!(error.kind(), Kind::ReadOnly | Kind::Draining) => false,
            Err(error) => {
                tracing::warn!(%error, "the past could not be looked after; it is tried again");
                false
            }
        };
        let pause = if more { PAUSE } else { TICK };
        stopping.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}
