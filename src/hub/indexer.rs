//! Decides when what is in the log can be found by what it says: a task
//! follows the log and indexes some thousands of items at a time, so that
//! publishing pays neither for each word nor waits for it. Whoever asks by
//! such an index waits until it has reached where he stands.

use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashSet;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::base::{clock, tasks};
use crate::model::position::Position;
use crate::store::counters::Counts;
use crate::store::index::{Changes, Index, Otherwise};
use crate::store::{Store, db};

use super::error::{Error, Reason};
use super::facets::{self, Before};
use super::shared::Shared;

/// Items that are indexed at a time, unless they say so much that they fill a
/// step before; and those of the chunk that they end in. Much smaller steps cost
/// publishing a fifth, for each writes a block for every term that it meets; much
/// larger ones have what publishers commit wait behind all that they count.
const STEP: usize = 2_048;
/// How long what was committed waits for company, unless it is asked for.
const COMPANY: Duration = Duration::from_millis(100);
/// How long is waited for the index at most.
const PATIENCE: Duration = Duration::from_secs(5);
/// Steps that are still made when the hub goes down; the rest is made up for
/// when it comes back.
const LAST_STEPS: usize = 16;
/// Counts by kinds that are written at a time, where all are made anew.
const KINDS: usize = 8_192;
/// Between two lines that tell how far counting by kinds is.
const TOLD: Duration = Duration::from_secs(5);
/// Terms whose names are known to be stored: past that they are written anew.
const MAX_NAMED: usize = 1 << 16;

/// How far the log is indexed.
#[derive(Debug)]
pub struct Indexed {
    mark: watch::Sender<Mark>,
    wanted: Notify,
    /// What was indexed otherwise before.
    pub(super) otherwise: Otherwise,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    upto: Position,
    /// Nobody moves it any more.
    stuck: bool,
}

impl Indexed {
    /// As far as a store says.
    ///
    /// # Errors
    /// Whatever the store answers.
    pub fn of(store: &Store) -> Result<Self, db::Error> {
        let mark = watch::Sender::new(Mark { upto: store.indexed()?, stuck: false });
        Ok(Self { mark, wanted: Notify::new(), otherwise: store.indexed_otherwise()? })
    }

    /// Up to where it is now.
    #[must_use]
    pub fn upto(&self) -> Position {
        self.mark.borrow().upto
    }

    /// Waits until everything up to a position is indexed, or until that takes
    /// too long: then it is found in the log, or not at all.
    pub async fn reached(&self, upto: Position) {
        let mut mark = self.mark.subscribe();
        if mark.borrow().upto >= upto {
            return;
        }
        self.wanted.notify_one();
        let there = mark.wait_for(|mark| mark.upto >= upto || mark.stuck);
        // Whoever waited looks how far it is.
        let _ = tokio::time::timeout(PATIENCE, there).await;
    }
}

/// What is asked for cannot be answered without the index.
pub(super) fn behind() -> Error {
    Error {
        retry_after: Some(PATIENCE),
        ..Error::new(
            Reason::IndexBehind,
            "the hub is still indexing what was published before; ask again in a moment, or in the order of publication",
        )
    }
}

/// Follows the log.
#[derive(Debug)]
pub struct Indexer {
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl Indexer {
    /// One that works until `stop`.
    #[must_use]
    pub const fn new(shared: Arc<Shared>, stop: CancellationToken) -> Self {
        Self { shared, stop }
    }

    /// Works until the hub goes down, or until the store is damaged.
    pub async fn run(self) {
        if let Err(error) = self.follow().await {
            tracing::error!(%error, "nothing is indexed any more until the hub is started again");
            self.shared.index.mark.send_modify(|mark| mark.stuck = true);
        }
    }

    async fn follow(&self) -> Result<(), db::Error> {
        let mut committed = self.shared.tail.watch();
        let before = Before { otherwise: self.shared.index.otherwise, ..Before::default() };
        let mut steps = Steps::from(self.shared.index.upto(), before);
        while !self.stop.is_cancelled() {
            let news = committed.wait_for(|end| *end > steps.from);
            if !matches!(self.stop.run_until_cancelled(news).await, Some(Ok(_))) {
                break;
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.shared.index.wanted.notified() => {}
                () = tokio::time::sleep(COMPANY) => {}
            }
            // A step that was full has more behind it.
            while !self.stop.is_cancelled() {
                let (after, full) = self.step(steps).await?;
                steps = after;
                if !full {
                    break;
                }
            }
        }
        for _ in 0..LAST_STEPS {
            let (after, full) = self.step(steps).await?;
            steps = after;
            if !full {
                break;
            }
        }
        Ok(())
    }

    /// Makes a step; whether it was a full one.
    async fn step(&self, mut steps: Steps) -> Result<(Steps, bool), db::Error> {
        let shared = Arc::clone(&self.shared);
        // Awaited to its end even at a stop: it holds the store open.
        let made = tasks::spawn_blocking(move || {
            let (from, end) = (steps.from, shared.tail.committed());
            let made = steps.make(&shared.store, end)?;
            if steps.from != from {
                shared.sums.note(from, steps.from, &made.index.counts);
                shared.totals.note(from, steps.from, &made.changes);
            }
            let full = made.full;
            shared.backlog.note(made.index.postings.terms());
            shared.index.mark.send_if_modified(|mark| {
                let moved = mark.upto != steps.from;
                mark.upto = steps.from;
                moved
            });
            Ok((steps, full))
        });
        made.await.map_err(|error| db::Error::Corrupt { what: "indexing", at: error.to_string() })?
    }
}

/// Where indexing stands.
#[derive(Debug)]
struct Steps {
    from: Position,
    before: Before,
    /// Terms whose names are stored.
    named: FxHashSet<u64>,
}

/// What a step added.
struct Made {
    index: Index,
    changes: Changes,
    items: usize,
    /// Whether it ended before the log did.
    full: bool,
}

impl Steps {
    fn from(from: Position, before: Before) -> Self {
        Self { from, before, named: FxHashSet::default() }
    }

    /// Indexes some items, and none past `end`.
    fn make(&mut self, store: &Store, end: Position) -> Result<Made, db::Error> {
        let index = Index { otherwise: self.before.otherwise, ..Index::default() };
        let mut made = Made { index, changes: Changes::new(), items: 0, full: false };
        let mut log = store.follow(self.from)?;
        let mut upto = self.from;
        while !made.full
            && let Some((first, bytes)) = log.peek()?
            && first <= end
        {
            let view = crate::store::chunk::View::parse(first, bytes)
                .ok_or_else(|| db::Error::corrupt("chunk", first))?;
            for item in view.items() {
                let item = item.ok_or_else(|| db::Error::corrupt("item", first))?;
                if item.position <= self.from {
                    continue;
                }
                facets::index(store, &item, self.before, &mut made.index)?
                    .ok_or_else(|| db::Error::corrupt("item", item.position))?;
                made.index.sizes.add(&item);
                made.items += 1;
            }
            upto = upto.max(view.last_position());
            made.full = made.items >= STEP || made.index.is_full();
            log.advance();
        }
        drop(log);
        if upto == self.from {
            return Ok(made);
        }
        made.index.names.retain(|term, _| !self.named.contains(term));
        made.index.postings.sort();
        made.changes = store.add_index(&made.index, upto)?;
        if self.named.len() > MAX_NAMED {
            self.named.clear();
        }
        self.named.extend(made.index.names.keys());
        self.from = upto;
        Ok(made)
    }
}

/// Indexes a store up to a position: what a hub would, for comparing with it.
///
/// # Errors
/// Whatever the store answers.
pub(super) fn index_upto(store: &Store, end: Position, before: Before) -> Result<(), db::Error> {
    let mut steps = Steps::from(store.indexed()?, before);
    while steps.make(store, end)?.full {}
    Ok(())
}

/// Counts by kinds what a release before indexed without: once, before a hub
/// works on the store, from the beginning of the log. If it is cut off, it is
/// done again.
///
/// # Errors
/// Whatever the store answers.
pub(super) fn count_kinds(store: &Store) -> Result<(), db::Error> {
    if store.kinds_are_counted()? {
        return Ok(());
    }
    tracing::info!("what carries a label is counted by kinds, which the release before did not");
    store.drop_kinds()?;
    let (end, base) = (store.indexed()?, store.base()?.position);
    let mut log = store.follow(Position::ZERO)?;
    let (mut counts, mut items, mut told) = (Counts::default(), 0_u64, clock::monotonic());
    while let Some((first, bytes)) = log.peek()?
        && first <= end
    {
        let view = crate::store::chunk::View::parse(first, bytes)
            .ok_or_else(|| db::Error::corrupt("chunk", first))?;
        for item in view.items() {
            let item = item.ok_or_else(|| db::Error::corrupt("item", first))?;
            facets::count_kinds(store, &item, base, &mut counts)?
                .ok_or_else(|| db::Error::corrupt("item", item.position))?;
            items += 1;
        }
        if counts.kinds() >= KINDS {
            store.add_kinds(&std::mem::take(&mut counts), false)?;
        }
        if told.elapsed() >= TOLD {
            told = clock::monotonic();
            tracing::info!(items, "counted by kinds");
        }
        log.advance();
    }
    store.add_kinds(&counts, true)?;
    tracing::info!(items, "all is counted by kinds");
    Ok(())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::hub::testing;
    use crate::model::indicator::{Draft, normalise};
    use crate::model::marking::{Marking, Tlp};
    use crate::store::chunk::MAX_CHUNK_ITEMS;

    #[tokio::test]
    async fn items_that_say_much_end_a_step_before_it_is_large() {
        let (_dir, hub, caller) = testing::hub(&["a"]);
        let value = |number| normalise::detect(&format!("n{number}.example")).unwrap().observable;
        let said = |number: usize| Draft {
            description: (0..500).map(|word| format!("w{number}x{word} ")).collect(),
            labels: (0..60).map(|label| format!("l{number}-{label}")).collect(),
            ..Draft::new(value(number), Marking::open(Tlp::Green))
        };
        for part in 0..8 {
            let drafts = (part * 50..(part + 1) * 50).map(|number| Ok(said(number))).collect();
            let done = hub.publish(&caller, Uuid::new_v4(), drafts).await.unwrap();
            assert!(done.iter().all(Result::is_ok));
        }
        let store = &hub.shared.store;
        let end = hub.shared.tail.committed();
        let mut steps = Steps::from(Position::ZERO, Before::default());
        let mut sizes = Vec::new();
        loop {
            let made = steps.make(store, end).unwrap();
            sizes.push((made.index.postings.len(), made.index.counts.len()));
            if !made.full {
                break;
            }
        }
        assert_eq!(steps.from, end);
        // One chunk past the bound at most.
        let (postings, counts) = (MAX_CHUNK_ITEMS * 600, MAX_CHUNK_ITEMS * 70 * 4);
        assert!(
            sizes.iter().all(|size| size.0 < (1 << 17) + postings && size.1 < (5 << 12) + counts),
            "{sizes:?}"
        );
        assert!(sizes.len() > 2, "{sizes:?}");
    }
}
