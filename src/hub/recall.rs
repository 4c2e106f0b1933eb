//! Decides what a subscriber that was away must stop using before it is told
//! anything else, and what the replay then leaves out, so that nothing which
//! was taken back is brought up again on the way.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::event::EventKind;
use crate::model::indicator::State;
use crate::model::position::Position;
use crate::store::chunk::View;
use crate::store::keys::Dimension;
use crate::store::log::Scan;
use crate::store::postings::Posting;
use crate::wire::event;
use crate::wire::frame::Batch;

use super::error::Error;
use super::fetch::damaged;
use super::select::{Held, Selection};
use super::shared::Shared;
use super::store_error;

/// How a record can end; each has its postings.
const ENDS: [State; 2] = [State::Revoked, State::Expired];
/// Recalls in one frame.
const BATCH_RECALLS: usize = 1_000;
/// Postings looked at before the pump listens again.
const SCAN_POSTINGS: usize = 20_000;
/// Records whose newest versions are asked for at once.
const TOGETHER: usize = 256;
/// Records that a replay leaves out at most. Past them it brings up what was
/// recalled, and takes it back in its place.
const MAX_SKIPPED: usize = 10_000;

/// What a replay leaves out: of each record everything before its end.
#[derive(Debug, Default)]
pub(super) struct Skip {
    ends: FxHashMap<Position, Position>,
    /// The last end.
    last: Position,
}

impl Skip {
    /// Whether the version at `at` is left out.
    pub(super) fn covers(&self, handle: Position, at: Position) -> bool {
        !self.ends.is_empty() && self.ends.get(&handle).is_some_and(|end| at < *end)
    }

    /// Whether nothing after `position` is left out.
    pub(super) fn is_over(&self, position: Position) -> bool {
        position >= self.last
    }

    fn note(&mut self, handle: Position, end: Position) {
        if self.ends.len() < MAX_SKIPPED {
            self.ends.insert(handle, end);
            self.last = self.last.max(end);
        }
    }
}

/// The recalls of one stream, as far as they have gone out.
#[derive(Debug, Default)]
pub(super) struct Recalls {
    /// Where the subscriber goes on: it may know what was born by then.
    from: Position,
    /// The end of the log when the stream was opened.
    to: Position,
    /// Which of [`ENDS`] is being read, and up to where.
    end: usize,
    read: Position,
    skip: Skip,
}

impl Recalls {
    /// What ended after `from`, up to `to`.
    pub(super) fn new(from: Position, to: Position) -> Self {
        Self { from, to, end: 0, read: from, skip: Skip::default() }
    }

    /// Goes on by one frame at most; also says whether that was all.
    pub(super) async fn next(
        mut self,
        shared: &Arc<Shared>,
        selection: &Arc<Selection>,
    ) -> Result<(Self, Batch, bool), Error> {
        let selection = Arc::clone(selection);
        let read = move |shared: &Arc<Shared>| {
            let mut reading = Reading::new(shared, &selection, self.from)?;
            let over = reading.read(&mut self)?;
            Ok((self, reading.batch, over))
        };
        shared.read(read).await
    }

    /// What the replay leaves out, once all was read.
    pub(super) fn into_skip(self) -> Skip {
        self.skip
    }
}

/// Reads recalls for one frame.
struct Reading<'a> {
    shared: &'a Shared,
    selection: &'a Selection,
    rosters: Held,
    /// From where on what `rosters` says holds, as far as is known, and where
    /// it ends.
    since: Position,
    ends: Option<Position>,
    log: Scan<'a>,
    batch: Batch,
    looked: usize,
}

impl<'a> Reading<'a> {
    fn new(shared: &'a Shared, selection: &'a Selection, from: Position) -> Result<Self, Error> {
        let now = shared.directory.load_full();
        Ok(Self {
            shared,
            selection,
            since: from,
            ends: selection.next_change(shared, from, &now)?,
            rosters: selection.held(shared, from, now)?,
            log: shared.store.reader().map_err(store_error)?,
            batch: Batch::new(),
            looked: 0,
        })
    }

    /// Whether all was read, not only as much as fits.
    fn read(&mut self, recalls: &mut Recalls) -> Result<bool, Error> {
        while let Some(state) = ENDS.get(recalls.end) {
            if !self.read_ends(*state, recalls)? {
                return Ok(false);
            }
            recalls.end += 1;
            recalls.read = recalls.from;
        }
        Ok(true)
    }

    fn read_ends(&mut self, state: State, recalls: &mut Recalls) -> Result<bool, Error> {
        let term = u64::from(state.number());
        let store = &self.shared.store;
        let mut blocks =
            store.postings_after(Dimension::Terminal, term, recalls.read).map_err(store_error)?;
        while let Some(block) = blocks.next_block().map_err(store_error)? {
            for some in block.chunks(TOGETHER) {
                if self.batch.count() >= BATCH_RECALLS || self.looked >= SCAN_POSTINGS {
                    return Ok(false);
                }
                if some.first().is_some_and(|posting| posting.position > recalls.to) {
                    return Ok(true);
                }
                self.take(some, recalls)?;
                self.looked += some.len();
                recalls.read = some.last().map_or(recalls.read, |posting| posting.position);
            }
        }
        Ok(true)
    }

    /// Recalls those of `ends` that the subscriber may know of, and that stand.
    fn take(&mut self, ends: &[Posting], recalls: &mut Recalls) -> Result<(), Error> {
        let known = |end: &&Posting| end.handle <= recalls.from && end.position <= recalls.to;
        let known: Vec<_> = ends.iter().filter(known).collect();
        let handles: Vec<_> = known.iter().map(|end| end.handle).collect();
        let latest = self.shared.store.latest(&handles).map_err(store_error)?;
        for (end, latest) in known.into_iter().zip(latest) {
            // What was brought back since is told of in its place.
            if latest.is_some_and(|latest| latest.newest == end.position)
                && let Some(kind) = self.kind(end.position)?
            {
                let stub = event::stub(&self.shared.sealer, end.position, end.handle);
                self.batch.push(kind, stub.into());
                self.batch.told.event(end.handle, end.position, kind);
                recalls.skip.note(end.handle, end.position);
            }
        }
        Ok(())
    }

    /// What the end at `at` is for the subscriber: just what the replay will
    /// tell of it, so that a recall reveals nothing else.
    fn kind(&mut self, at: Position) -> Result<Option<EventKind>, Error> {
        if self.ends.is_some_and(|end| end <= at) || at < self.since {
            let now = Arc::clone(&self.rosters.now);
            self.rosters = self.selection.held(self.shared, at, now)?;
            self.ends = self.selection.next_change(self.shared, at, &self.rosters.now)?;
            self.since = at;
        }
        let chunk = self.log.seek(at).map_err(store_error)?;
        let view = chunk.map(|(first, bytes)| View::parse(first, bytes).ok_or_else(|| damaged(first)));
        let view = view.transpose()?;
        let item = view.and_then(|view| view.item(at));
        let Some(item) = item else {
            self.shared.store.gone(at).map_err(store_error)?;
            return Ok(None);
        };
        let reclassed = self.shared.reclassed.read().get(&item.header.handle).copied();
        let class_now = reclassed.unwrap_or(item.header.class);
        if self.shared.renew(&mut self.rosters.now) {
            self.rosters = self.selection.held(self.shared, at, Arc::clone(&self.rosters.now))?;
        }
        Ok(self.selection.event(&item, &self.rosters, class_now))
    }
}
