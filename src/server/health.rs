//! Decides what gRPC health says: serving while writes are taken and the hub
//! is not about to go.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::hub::Hub;
use crate::rpc::Face;

/// How often the latch is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Whether to say that the hub serves.
const fn serves(latched: bool, stopping: bool) -> bool {
    !latched && !stopping
}

/// Keeps health true until `stopping`, and says NOT_SERVING then.
pub(super) async fn follow(hub: Arc<Hub>, face: Face, stopping: CancellationToken) {
    let mut said = None;
    loop {
        let latched = hub.latched();
        let now = serves(latched.is_some(), stopping.is_cancelled());
        if said != Some(now) {
            face.set_serving(now).await;
            said = Some(now);
            if let Some(reason) = latched {
                tracing::error!(reason, "the store is read-only; find the cause, then restart the hub");
            }
        }
        if stopping.is_cancelled() {
            return;
        }
        stopping.run_until_cancelled(tokio::time::sleep(TICK)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_green_only_while_writes_are_taken() {
        assert!(serves(false, false));
        assert!(!serves(true, false));
        assert!(!serves(false, true));
        assert!(!serves(true, true));
    }
}
