//! Decides nothing: counts what is asked of the store, so that two requests
//! can be shown to ask the same of it whatever is hidden from the caller.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of an open store.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) small: AtomicU64,
    pub(super) values: AtomicU64,
    pub(super) latest: AtomicU64,
    pub(super) chunks: AtomicU64,
    pub(super) postings: AtomicU64,
    pub(super) sightings: AtomicU64,
    pub(super) walks: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) written: AtomicU64,
}

/// What was asked of the store since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calls {
    /// Small records read by their key.
    pub small: u64,
    /// Values whose assertions were read.
    pub values: u64,
    /// Records whose newest version was asked for.
    pub latest: u64,
    /// Chunks and runs of the log that were looked for.
    pub chunks: u64,
    /// Terms whose postings were looked for.
    pub postings: u64,
    /// Indicators whose sightings were looked for.
    pub sightings: u64,
    /// Walks over records by a prefix of their keys.
    pub walks: u64,
    /// Batches committed.
    pub commits: u64,
    /// Records written by these.
    pub written: u64,
}

/// Counts `by` more.
pub(super) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

impl Counters {
    /// What was counted.
    pub(super) fn read(&self) -> Calls {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Calls {
            small: read(&self.small),
            values: read(&self.values),
            latest: read(&self.latest),
            chunks: read(&self.chunks),
            postings: read(&self.postings),
            sightings: read(&self.sightings),
            walks: read(&self.walks),
            commits: read(&self.commits),
            written: read(&self.written),
        }
    }
}

impl Calls {
    /// What was asked since `earlier`.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            small: self.small - earlier.small,
            values: self.values - earlier.values,
            latest: self.latest - earlier.latest,
            chunks: self.chunks - earlier.chunks,
            postings: self.postings - earlier.postings,
            sightings: self.sightings - earlier.sightings,
            walks: self.walks - earlier.walks,
            commits: self.commits - earlier.commits,
            written: self.written - earlier.written,
        }
    }
}
