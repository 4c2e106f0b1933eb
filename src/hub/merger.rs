//! Decides when small blocks of postings are merged: once a term has written
//! enough of them, and all that an earlier run left behind, one step at a
//! time beside the writer, which commits each with whatever else waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::base::tasks;
use crate::model::position::Position;
use crate::store::keys::Dimension;
use crate::store::merge::{FAN_IN, MAX_RUN, Merge};
use crate::store::{Store, db};

use super::shared::Shared;

/// Most terms whose new blocks are counted. Past that those are forgotten that
/// have one; where that leaves too many, all are, and a sweep finds what the
/// counts would have told.
const MAX_TERMS: usize = 1 << 16;
/// Once so many were forgotten, a sweep looks after them: most words and hosts
/// come once, but not all.
const MAX_FORGOTTEN: usize = 16 * MAX_TERMS;
/// Between two steps of a sweep, which nobody waits for.
const SWEEP_PAUSE: Duration = Duration::from_millis(20);
/// Until a merge is tried again that there was no room for.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

type Term = (Dimension, u64);

/// Terms that have new blocks.
#[derive(Debug, Default)]
pub struct Backlog {
    counts: Mutex<Counts>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    /// Blocks since the term was last looked at, and looks since the last
    /// deep one.
    fresh: FxHashMap<Term, (usize, usize)>,
    /// Terms to look at, and whether deep.
    ripe: VecDeque<(Term, bool)>,
    /// Terms forgotten since the last sweep was due.
    forgotten: usize,
    /// Whether terms went uncounted.
    lost: bool,
    /// Whether a term is being looked at.
    busy: bool,
}

impl Backlog {
    /// Notes that each of these terms has one more block.
    pub fn note(&self, terms: impl Iterator<Item = Term>) {
        let mut counts = self.counts.lock();
        let before = (counts.ripe.len(), counts.lost);
        for term in terms {
            let (fresh, looks) = counts.fresh.entry(term).or_default();
            *fresh += 1;
            if *fresh >= MAX_RUN {
                (*fresh, *looks) = (0, *looks + 1);
                let deep = *looks >= FAN_IN;
                if deep {
                    counts.fresh.remove(&term);
                }
                counts.ripe.push_back((term, deep));
            }
        }
        let mut lost = counts.ripe.len() > MAX_TERMS;
        if counts.fresh.len() > MAX_TERMS {
            let all = counts.fresh.len();
            counts.fresh.retain(|_, (fresh, looks)| *fresh > 1 || *looks > 0);
            counts.forgotten += all - counts.fresh.len();
            lost |= counts.fresh.len() > MAX_TERMS / 2 || counts.forgotten > MAX_FORGOTTEN;
        }
        if lost {
            *counts = Counts { lost: true, busy: counts.busy, ..Counts::default() };
        }
        let woken = before != (counts.ripe.len(), counts.lost);
        drop(counts);
        if woken {
            self.wake.notify_one();
        }
    }

    /// Terms that wait to be looked at, and the one that is.
    pub fn waiting(&self) -> usize {
        let counts = self.counts.lock();
        counts.ripe.len() + usize::from(counts.busy)
    }

    /// The next term to look at; whoever asks is done with the one before.
    fn next(&self) -> Option<(Term, bool)> {
        let mut counts = self.counts.lock();
        let next = counts.ripe.pop_front();
        counts.busy = next.is_some();
        next
    }

    /// Whether terms went uncounted since this was last asked.
    fn has_lost(&self) -> bool {
        std::mem::take(&mut self.counts.lock().lost)
    }
}

/// A merge that waits for the writer.
#[derive(Debug)]
pub struct Offer {
    /// What to write.
    pub merge: Merge,
    /// Told once it is durable; dropped if the writer will not.
    pub done: oneshot::Sender<()>,
}

/// Where to look for what can be merged.
#[derive(Debug, Clone)]
enum Look {
    Newest(Term, bool),
    Sweep(Vec<u8>),
}

/// Finds what can be merged.
#[derive(Debug)]
pub struct Merger {
    shared: Arc<Shared>,
    offers: mpsc::Sender<Offer>,
    stop: CancellationToken,
    /// Key at which the sweep goes on; `None`: all has been seen.
    sweep: Option<Vec<u8>>,
}

impl Merger {
    /// A merger that offers to the writer behind `offers` until `stop`.
    #[must_use]
    pub const fn new(shared: Arc<Shared>, offers: mpsc::Sender<Offer>, stop: CancellationToken) -> Self {
        // What an earlier run left behind is found once.
        Self { shared, offers, stop, sweep: Some(Vec::new()) }
    }

    /// Works until the hub goes down, or until the store is read-only or damaged.
    pub async fn run(mut self) {
        while !self.stop.is_cancelled() {
            let Some(look) = self.next().await else { return };
            if let Err(error) = self.work_off(look).await {
                // Reading tells of it where it matters; small blocks harm
                // nobody.
                tracing::error!(%error, "postings are merged no more until the hub is started again");
                return;
            }
        }
    }

    /// Where to look next, once there is anything to do; `None`: stop.
    async fn next(&mut self) -> Option<Look> {
        loop {
            if let Some((term, deep)) = self.shared.backlog.next() {
                return Some(Look::Newest(term, deep));
            }
            // A sweep under way is ended first, or would never be.
            if self.sweep.is_none() && self.shared.backlog.has_lost() {
                self.sweep = Some(Vec::new());
            }
            if let Some(key) = self.sweep.take() {
                self.pause(SWEEP_PAUSE).await?;
                return Some(Look::Sweep(key));
            }
            self.stop.run_until_cancelled(self.shared.backlog.wake.notified()).await?;
        }
    }

    async fn pause(&self, time: Duration) -> Option<()> {
        self.stop.run_until_cancelled(tokio::time::sleep(time)).await
    }

    /// Merges what one look finds, look after look.
    async fn work_off(&mut self, look: Look) -> Result<(), db::Error> {
        loop {
            let shared = Arc::clone(&self.shared);
            let asked = look.clone();
            // Awaited to its end even at a stop: it holds the store open.
            let found = tasks::spawn_blocking(move || asked.find(&shared.store, shared.index.upto())).await;
            let Ok(found) = found else { return Ok(()) };
            let (merge, next) = found?;
            self.sweep = next.or_else(|| self.sweep.take());
            let Some(merge) = merge else { return Ok(()) };
            if !self.offer(merge).await {
                if self.shared.latch.reason().is_some() || self.pause(REFUSED_PAUSE).await.is_none() {
                    self.stop.cancel();
                    return Ok(());
                }
            } else if matches!(look, Look::Sweep(_)) {
                return Ok(());
            }
        }
    }

    /// Has the writer commit `merge`, if there is room; whether it did.
    async fn offer(&self, merge: Merge) -> bool {
        if self.shared.space.is_low() {
            return false;
        }
        let (done, committed) = oneshot::channel();
        let offered = async {
            self.offers.send(Offer { merge, done }).await.ok()?;
            committed.await.ok()
        };
        self.stop.run_until_cancelled(offered).await.flatten().is_some()
    }
}

impl Look {
    /// What to merge, and where a sweep goes on.
    fn find(&self, store: &Store, indexed: Position) -> Result<(Option<Merge>, Option<Vec<u8>>), db::Error> {
        match self {
            Self::Newest((dimension, term), deep) => {
                Ok((store.merge_newest(*dimension, *term, indexed, *deep)?, None))
            }
            Self::Sweep(from) => store.sweep(from, indexed).map(|swept| (swept.merge, swept.next)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn term(number: u64) -> Term {
        (Dimension::Label, number)
    }

    #[test]
    fn a_term_is_looked_at_once_it_has_enough_new_blocks() {
        let backlog = Backlog::default();
        for look in 1..=FAN_IN {
            for _ in 1..MAX_RUN {
                backlog.note([term(1), term(2)].into_iter());
                assert_eq!(backlog.next(), None);
            }
            backlog.note([term(2)].into_iter());
            assert_eq!((backlog.next(), backlog.next()), (Some((term(2), look == FAN_IN)), None));
            backlog.counts.lock().fresh.remove(&term(1));
        }
        assert!(!backlog.has_lost());
    }

    #[test]
    fn too_many_terms_are_left_to_a_sweep() {
        let backlog = Backlog::default();
        let all = MAX_TERMS as u64;
        backlog.note((0..all).chain(0..=all).map(term));
        assert!(backlog.counts.lock().fresh.is_empty());
        assert_eq!((backlog.has_lost(), backlog.has_lost()), (true, false));
    }

    #[test]
    fn terms_that_come_once_put_off_no_other_and_are_swept_in_the_end() {
        let backlog = Backlog::default();
        let (mut number, mut looked_at) = (10, 0_u64);
        while !backlog.has_lost() {
            backlog.note((number..number + 1_000).map(term).chain([term(1)]));
            number += 1_000;
            if let Some((found, _)) = backlog.next() {
                assert_eq!(found, term(1));
                looked_at += 1;
            }
        }
        assert!(number > MAX_FORGOTTEN as u64);
        assert!(looked_at >= number / 1_000 / MAX_RUN as u64 - 1, "{looked_at}");
    }
}
