//! Decides what gRPC health says: serving while writes are taken and the hub
//! is not about to go; looks how much room the disk has on its way.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::tasks;
use crate::hub::Hub;
use crate::rpc::Face;

/// How often the latch and the disk are looked at.
const TICK: Duration = Duration::from_secs(1);

/// Whether to say that the hub serves.
const fn serves(takes_writes: bool, stopping: bool) -> bool {
    takes_writes && !stopping
}

/// Keeps health true until `stopping`, and says NOT_SERVING then.
pub(super) async fn follow(hub: Arc<Hub>, face: Face, stopping: CancellationToken) {
    let mut said = None;
    loop {
        let measured = Arc::clone(&hub);
        // A disk that does not answer must not keep the hub from going down.
        stopping.run_until_cancelled(tasks::spawn_blocking(move || measured.measure_space())).await;
        let now = serves(hub.takes_writes(), stopping.is_cancelled());
        if said != Some(now) {
            face.set_serving(now).await;
            said = Some(now);
            if let Some(reason) = hub.latched() {
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
        assert!(serves(true, false));
        assert!(!serves(false, false));
        assert!(!serves(false, true));
        assert!(!serves(true, true));
    }
}
