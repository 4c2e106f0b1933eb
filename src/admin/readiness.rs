//! Decides how often readiness is really proved: one probe at a time, and its
//! verdict stands for a second, so that asking cannot wear the disk.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::base::{clock, tasks};
use crate::hub::error::Reason;

/// How long a verdict stands.
const STANDS_FOR: Duration = Duration::from_secs(1);

/// How long a probe may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ready, or the class of what is in the way.
type Verdict = Result<(), Reason>;

/// The last verdict, and when it was given.
#[derive(Clone, Debug)]
pub(super) struct Readiness {
    last: Arc<Mutex<Option<(Instant, Verdict)>>>,
    patience: Duration,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { last: Arc::default(), patience: PATIENCE }
    }
}

impl Readiness {
    /// The verdict of less than a second ago, else of `probe`.
    pub(super) async fn ask(&self, probe: impl Future<Output = Verdict> + Send + 'static) -> Verdict {
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if let Some((at, verdict)) = *last
            && clock::monotonic().duration_since(at) < STANDS_FOR
        {
            return verdict;
        }
        // A task of its own: whoever asks and hangs up does not undo the
        // verdict, and so cannot make the next one probe at once.
        let patience = self.patience;
        let proved = tasks::spawn("readiness probe", async move {
            let verdict = match tokio::time::timeout(patience, probe).await {
                Ok(verdict) => verdict,
                Err(_) => Err(Reason::DeadlineExceeded),
            };
            *last = Some((clock::monotonic(), verdict));
            verdict
        });
        proved.await.unwrap_or(Err(Reason::InternalError))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_cost_one_probe() {
        let readiness = Readiness::default();
        let probes = Arc::new(AtomicUsize::new(0));
        for _ in 0..50 {
            let probes = Arc::clone(&probes);
            let verdict = readiness.ask(async move {
                probes.fetch_add(1, Ordering::SeqCst);
                Err(Reason::StoreReadOnly)
            });
            assert_eq!(verdict.await, Err(Reason::StoreReadOnly));
        }
        assert_eq!(probes.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_probe_goes_on_when_its_asker_hangs_up() {
        let readiness = Readiness::default();
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        {
            let asked = readiness.ask(async move {
                wait.await.map_err(|_| Reason::InternalError)?;
                Err(Reason::StoreReadOnly)
            });
            tokio::pin!(asked);
            assert!(futures_util::poll!(asked.as_mut()).is_pending());
        }
        go.send(()).unwrap();
        assert_eq!(readiness.ask(async { Ok(()) }).await, Err(Reason::StoreReadOnly));
    }

    #[tokio::test]
    async fn a_probe_that_hangs_is_red() {
        let readiness = Readiness { patience: Duration::ZERO, ..Readiness::default() };
        let verdict = readiness.ask(std::future::pending()).await;
        assert_eq!(verdict, Err(Reason::DeadlineExceeded));
    }
}
