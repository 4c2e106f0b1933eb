//! Decides which lines of the configuration a running hub takes up whenever it
//! is told to: how much everyone may ask for, and the lists that values are held
//! against, with what they do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::error::Error;
use crate::base::tasks;
use crate::hub::{Hub, lists};
use crate::policy::guard::lists::Guard;

/// What one hub reads anew.
#[derive(Debug)]
pub struct Settings {
    hub: Arc<Hub>,
    /// As it was when the hub started.
    started: Config,
    failed: AtomicU64,
    /// One reload at a time: what was read first is not to be taken up last.
    one: tokio::sync::Mutex<()>,
}

impl Settings {
    /// Those of this hub.
    #[must_use]
    pub fn new(hub: Arc<Hub>, started: Config) -> Self {
        Self { hub, started, failed: AtomicU64::new(0), one: tokio::sync::Mutex::default() }
    }

    /// How many times they could not be read anew.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Reads them anew, and says in words what has changed. Where anything is
    /// unsound all stay as they were.
    ///
    /// # Errors
    /// What is unsound.
    pub async fn reload(&self) -> Result<Vec<String>, Error> {
        let _one = self.one.lock().await;
        let file = self.started.file.clone();
        let read = tasks::spawn_blocking(move || {
            let config = Config::load(&file)?;
            let guard = lists::load(&config.guards)?;
            Ok::<_, Error>((config, guard))
        });
        let read = read.await.map_err(|error| Error::Start(std::io::Error::other(error)));
        match read.flatten() {
            Ok((config, guard)) => Ok(self.take_up(config, guard)),
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "limits and lists not read anew; those that were read stay in force");
                Err(error)
            }
        }
    }

    fn take_up(&self, config: Config, guard: Guard) -> Vec<String> {
        let mut changes = Vec::new();
        if guard.generation() != self.hub.guard().generation() {
            let (lists, generation) = (guard.lists().len(), format!("{:016x}", guard.generation()));
            tracing::info!(lists, generation, "lists loaded");
            changes.push(format!("values are held against {lists} lists, generation {generation}"));
            self.hub.guard_with(guard);
        }
        if self.hub.limit_with(config.limits.quotas()) {
            tracing::info!("limits of organisations changed");
            changes.push("the limits of organisations are others".to_owned());
        }
        if self.started.needs_restart_for(&config) {
            tracing::warn!("other lines of the configuration have changed; they are read at the next start");
            changes.push("other lines of the configuration, which are read at the next start".to_owned());
        }
        changes
    }

    /// Reads them whenever `asked` moves, until `stopping`.
    pub(super) async fn follow(
        self: Arc<Self>,
        mut asked: watch::Receiver<u64>,
        stopping: CancellationToken,
    ) {
        while let Some(Ok(())) = stopping.run_until_cancelled(asked.changed()).await {
            // It is in the log and in the metrics.
            let _ = self.reload().await;
        }
    }
}
