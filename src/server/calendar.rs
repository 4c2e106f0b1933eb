//! Decides when the hub looks at its calendar.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::hub::Hub;

/// How often. Rights that begin or end with a day, and indicators past their
/// validity, are looked at this long after at the latest.
const TICK: Duration = Duration::from_secs(1);

/// Follows the calendar until `stopping`.
pub(super) async fn follow(hub: Arc<Hub>, stopping: CancellationToken) {
    while !stopping.is_cancelled() {
        match hub.turn_day().await {
            Ok(true) => tracing::info!(day = %hub.now().day(), "a day began on which rights begin or end"),
            Ok(false) => {}
            // A read-only store says so by itself.
            Err(error) => tracing::debug!(%error, "the day could not be turned"),
        }
        match hub.end_holds().await {
            Ok(0) => {}
            Ok(ended) => tracing::info!(ended, "holds of units that lead are over"),
            Err(error) => tracing::debug!(%error, "holds that are over could not be ended"),
        }
        if !expire(&hub).await {
            stopping.run_until_cancelled(tokio::time::sleep(TICK)).await;
        }
    }
}

/// Ends what is past its validity. Returns whether there is more to do.
async fn expire(hub: &Hub) -> bool {
    match hub.expire().await {
        Ok(expired) => {
            if expired.indicators > 0 {
                tracing::debug!(indicators = expired.indicators, "indicators expired");
            }
            expired.more
        }
        Err(error) => {
            tracing::debug!(%error, "indicators past their validity could not be expired");
            false
        }
    }
}
