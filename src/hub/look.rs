//! Decides what a subscriber is sent next: from the ring while it keeps up,
//! from the log when it does not, so that a slow one costs a cursor, not
//! memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::model::event::EventKind;
use crate::model::position::Position;
use crate::store::chunk::{Op, View};
use crate::wire::event;
use crate::wire::frame::Batch;

use super::error::Error;
use super::recall::Skip;
use super::select::{Held, Selection, Whole};
use super::shared::Shared;
use super::store_error;
use super::tail::Read;

/// A batch is sent once its bodies reach this many bytes.
const BATCH_BYTES: usize = 256 << 10;
/// Bytes of the log looked at before the pump listens again.
const SCAN_BYTES: usize = 4 << 20;

/// What one look at the log brought.
pub(super) struct Looked {
    pub(super) batch: Batch,
    pub(super) cursor: Position,
    /// Whether nothing more follows for now.
    pub(super) caught_up: bool,
    /// Where a roster generation begins, if that is what follows.
    pub(super) generation: Option<Position>,
}

/// Looks at what follows `cursor`: in the ring, else in the log.
pub(super) async fn at(
    shared: &Arc<Shared>,
    selection: &Arc<Selection>,
    skip: &Arc<Skip>,
    cursor: Position,
    credit: u64,
) -> Result<Looked, Error> {
    match shared.tail.read(cursor, BATCH_BYTES) {
        Read::Chunks(chunks) => {
            let mut look = Look::new(shared, selection, skip, cursor, credit);
            for chunk in &chunks {
                let view = chunk.view().ok_or_else(|| super::fetch::damaged(chunk.first))?;
                if !look.take(&view, &|range| chunk.bytes.slice(range))? {
                    return Ok(look.finish(false));
                }
            }
            Ok(look.finish(chunks.is_empty()))
        }
        Read::Behind => {
            shared.counters.catch_ups.fetch_add(1, Ordering::Relaxed);
            let (selection, skip) = (Arc::clone(selection), Arc::clone(skip));
            shared.read(move |shared| scan(shared, &selection, &skip, cursor, credit)).await
        }
    }
}

/// Reads the log after `cursor` until a batch is full.
fn scan(
    shared: &Arc<Shared>,
    selection: &Selection,
    skip: &Skip,
    cursor: Position,
    credit: u64,
) -> Result<Looked, Error> {
    // The end comes first: a directory that is taken after it knows every
    // audience class up to it, and none is taken for unknown and passed over.
    let end = shared.tail.committed();
    let mut look = Look::new(shared, selection, skip, cursor, credit);
    let mut scan = shared.store.scan(cursor).map_err(store_error)?;
    let mut read = 0;
    while read < SCAN_BYTES {
        let Some((first, bytes)) = scan.peek().map_err(store_error)? else {
            return Ok(look.finish(true));
        };
        if first > end {
            // Written, but not yet known to be durable.
            return Ok(look.finish(true));
        }
        let view = View::parse(first, bytes).ok_or_else(|| super::fetch::damaged(first))?;
        let copy =
            |range: std::ops::Range<usize>| Bytes::copy_from_slice(bytes.get(range).unwrap_or_default());
        if !look.take(&view, &copy)? {
            break;
        }
        read += bytes.len();
        scan.advance();
    }
    Ok(look.finish(false))
}

/// A look at consecutive chunks, filling one batch.
struct Look<'a> {
    shared: &'a Shared,
    selection: &'a Selection,
    skip: &'a Skip,
    rosters: Held,
    /// Where the generation after that of the cursor begins.
    ends: Option<Position>,
    generation: Option<Position>,
    batch: Batch,
    cursor: Position,
    credit: u64,
}

impl<'a> Look<'a> {
    fn new(
        shared: &'a Shared,
        selection: &'a Selection,
        skip: &'a Skip,
        cursor: Position,
        credit: u64,
    ) -> Self {
        let now = shared.directory.load_full();
        let rosters = Held { then: shared.rosters.at(cursor, &now), now };
        let ends = shared.rosters.next(cursor);
        let batch = Batch::new();
        Self { shared, selection, skip, rosters, ends, generation: None, batch, cursor, credit }
    }

    /// Takes in a chunk; `slice` gives shared bytes of it. Returns whether
    /// the batch has room for more.
    fn take(
        &mut self,
        view: &View<'_>,
        slice: &dyn Fn(std::ops::Range<usize>) -> Bytes,
    ) -> Result<bool, Error> {
        let last = view.last_position();
        if last <= self.cursor {
            return Ok(true);
        }
        if self.ends.is_some_and(|end| end <= view.first) {
            // Another roster holds from here on: that is looked at by itself,
            // once what stands before it has gone out.
            self.generation = self.ends.filter(|_| self.batch.count() == 0);
            return Ok(false);
        }
        let reclassed = self.shared.reclassed.read();
        let touched = reclassed.range(view.first..=last).next().is_some();
        let count = u64::from(view.count);
        let left = self.credit - self.batch.count() as u64;
        // What goes out whole was born after whatever is skipped.
        match self.selection.whole(view, &self.rosters, touched) {
            Whole::Nothing => self.cursor = last,
            Whole::All if view.first > self.cursor && count <= left => {
                let end = view.bodies_at + view.bodies.len();
                self.batch.push_new(usize::from(view.count), slice(view.bodies_at..end));
                let source = view.class.map(|class| self.selection.source(&self.rosters.now, class, class));
                if let Some(disclosure) = source.and_then(|source| source.disclosure()) {
                    self.batch.disclose(usize::from(view.count), &disclosure);
                }
                self.cursor = last;
            }
            Whole::All | Whole::Each => {
                for item in view.items() {
                    let item = item.ok_or_else(|| super::fetch::damaged(view.first))?;
                    if item.position <= self.cursor {
                        continue;
                    }
                    if self.skip.covers(item.header.handle, item.position) {
                        self.cursor = item.position;
                        continue;
                    }
                    // What is told of an indicator goes no further than it does
                    // today.
                    if item.header.op == Op::Sight
                        && let Some(&class) = reclassed.get(&item.header.previous)
                        && !self.selection.sees(&self.rosters.now, class)
                    {
                        self.cursor = item.position;
                        continue;
                    }
                    let class_now = reclassed.get(&item.header.handle).copied().unwrap_or(item.header.class);
                    if let Some(kind) = self.selection.event(&item, &self.rosters, class_now) {
                        if self.batch.count() as u64 == self.credit {
                            return Ok(false);
                        }
                        let from = view.bodies_at + item.offset;
                        if kind == EventKind::Withdrawn {
                            let stub = event::stub(&self.shared.sealer, item.position, item.header.handle);
                            self.batch.push(kind, stub.into());
                        } else {
                            let body = slice(from..from + item.body.len());
                            let (now, header) = (&self.rosters.now, &item.header);
                            let class_of = |record: Position| {
                                reclassed.get(&record).copied().unwrap_or(header.previous_class)
                            };
                            let put = match kind {
                                EventKind::Collision => {
                                    let other = class_of(Position::from_raw(header.digest));
                                    let other = self.selection.other(now, header, other);
                                    other.show_body(body).map(|body| self.batch.push(kind, body))
                                }
                                EventKind::Sighted => {
                                    let indicator = class_of(header.previous);
                                    let source = self.selection.sighting_source(now, header, indicator);
                                    source.put(&mut self.batch, kind, body)
                                }
                                _ => {
                                    let source = self.selection.source(now, header.class, class_now);
                                    source.put(&mut self.batch, kind, body)
                                }
                            };
                            put.ok_or_else(|| super::fetch::damaged(item.position))?;
                        }
                    }
                    self.cursor = item.position;
                }
            }
        }
        Ok(self.batch.bodies_len() < BATCH_BYTES && (self.batch.count() as u64) < self.credit)
    }

    fn finish(self, caught_up: bool) -> Looked {
        Looked { batch: self.batch, cursor: self.cursor, caught_up, generation: self.generation }
    }
}
