//! Decides what works beside the writer, and when that ends: whoever merges
//! postings, follows the log to index it, and reads the rest of what was known.
//! All of them hold the store, so the writer outlives them.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::base::tasks;

use super::indexer::Indexer;
use super::membership;
use super::merger::{Merger, Offer};
use super::replaced;
use super::shared::Shared;
use super::tail;

/// The tasks beside the writer.
#[derive(Debug)]
pub(super) struct Beside {
    /// What ends as soon as the hub goes down.
    early: CancellationToken,
    /// What ends with the writer: until then there may be questions that wait
    /// for it.
    late: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Beside {
    /// Starts them on the runtime at hand. Merges go to `offers`; `unread` is
    /// the first value that is not known in memory yet.
    pub(super) fn start(shared: &Arc<Shared>, offers: mpsc::Sender<Offer>, unread: Option<Vec<u8>>) -> Self {
        let (early, late) = (shared.draining.child_token(), CancellationToken::new());
        let merger = Merger::new(Arc::clone(shared), offers, early.clone());
        let indexer = Indexer::new(Arc::clone(shared), late.clone());
        let mut all =
            vec![tasks::spawn("postings merger", merger.run()), tasks::spawn("indexer", indexer.run())];
        all.push(replaced::go_on(shared, early.clone()));
        all.push(tail::go_on(shared, early.clone()));
        all.extend(unread.map(|from| membership::go_on(shared, from, early.clone())));
        Self { early, late, tasks: all }
    }

    /// Ends them, and waits for it.
    pub(super) async fn end(self) {
        self.early.cancel();
        self.late.cancel();
        for task in self.tasks {
            // One that died holds the store no longer either.
            let _ = task.await;
        }
    }
}
