//! Decides how work is started: every task has a name and a place to be
//! awaited.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

/// Starts `work` on the current runtime under a span named `name`.
pub fn spawn<F>(name: &'static str, work: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    tokio::spawn(work.instrument(tracing::debug_span!("task", name)))
}

/// Starts `work` on `runtime` from a thread that is none of its own.
pub fn spawn_on<F>(runtime: &Handle, name: &'static str, work: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    runtime.spawn(work.instrument(tracing::debug_span!("task", name)))
}

/// Runs blocking `work` on the runtime's pool for blocking calls.
pub fn spawn_blocking<F, T>(work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    tokio::task::spawn_blocking(work)
}
