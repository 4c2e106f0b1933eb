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

/// How often is looked at the age of audit records and of receipts.
const AUDIT_TICK: Duration = Duration::from_secs(24 * 3_600);

/// Keeps audit records and receipts as long as they are to be kept, until `stopping`.
pub(super) async fn follow_audit(hub: Arc<Hub>, stopping: CancellationToken) {
    while !stopping.is_cancelled() {
        match hub.cut_audit().await {
            Ok(0) => {}
            Ok(records) => tracing::info!(records, "audit records were cut by age; their hashes are kept"),
            Err(error) if matches!(error.kind(), Kind::ReadOnly | Kind::Draining) => {}
            Err(error) => tracing::warn!(%error, "old audit records could not be cut; it is tried again"),
        }
        match hub.cut_receipts().await {
            Ok(0) => {}
            Ok(blocks) => tracing::info!(blocks, "receipts were cut by age"),
            Err(error) if matches!(error.kind(), Kind::ReadOnly | Kind::Draining) => {}
            Err(error) => tracing::warn!(%error, "old receipts could not be cut; it is tried again"),
        }
        stopping.run_until_cancelled(tokio::time::sleep(AUDIT_TICK)).await;
    }
}

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
