//! Decides when the lists that values are held against are loaded: at the
//! start, and whenever the hub is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::base::tasks;
use crate::hub::{Hub, lists};
use crate::model::warninglist::Settings;

/// Loads the lists of one hub.
#[derive(Debug)]
pub struct Guards {
    hub: Arc<Hub>,
    settings: Settings,
    failed: AtomicU64,
}

impl Guards {
    /// Those of this hub.
    #[must_use]
    pub const fn new(hub: Arc<Hub>, settings: Settings) -> Self {
        Self { hub, settings, failed: AtomicU64::new(0) }
    }

    /// How many times the lists could not be loaded anew.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Loads the lists anew; where one is unsound all stay as they were.
    pub async fn reload(&self) {
        let settings = self.settings.clone();
        let loaded = tasks::spawn_blocking(move || lists::load(&settings)).await;
        match loaded.map_err(|error| error.to_string()).and_then(|loaded| loaded.map_err(|e| e.to_string())) {
            Ok(guard) if guard.generation() == self.hub.guard().generation() => {
                tracing::debug!("the lists are those that were loaded already");
            }
            Ok(guard) => {
                let generation = format!("{:016x}", guard.generation());
                tracing::info!(lists = guard.lists().len(), generation, "lists loaded");
                self.hub.guard_with(guard);
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "lists not loaded; those that were loaded stay in force");
            }
        }
    }

    /// Loads them whenever `asked` moves, until `stopping`.
    pub(super) async fn follow(
        self: Arc<Self>,
        mut asked: watch::Receiver<u64>,
        stopping: CancellationToken,
    ) {
        while let Some(Ok(())) = stopping.run_until_cancelled(asked.changed()).await {
            self.reload().await;
        }
    }
}
