//! Decides what a subscriber is sent next: from the ring while it keeps up,
//! from the log when it does not, so that a slow one costs a cursor, not
//! memory.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use crate::model::asset::Matcher;
use crate::model::audience::ClassNo;
use crate::model::event::EventKind;
use crate::model::indicator::State;
use crate::model::position::Position;
use crate::store::chunk::{ItemHeader, ItemView, Op, View};
use crate::wire::frame::Batch;
use crate::wire::{disclosure, event};

use super::error::{Error, Kind};
use super::recall::Skip;
use super::select::{Held, Selection, Whole};
use super::shared::{Reclassed, Shared};
use super::source::{Other, Source};
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
    /// Where a roster generation begins, or other assets are the viewer's own, if
    /// that is what follows.
    pub(super) generation: Option<Position>,
}

/// From where on is looked at the log.
#[derive(Debug, Clone)]
pub(super) struct Whence {
    pub(super) cursor: Position,
    /// Events looked for.
    pub(super) credit: u64,
    /// What is looked for beside what is the viewer's own there.
    pub(super) had: Option<Arc<Matcher>>,
}

/// Looks at what follows: in the ring, else in the log.
///
/// # Errors
/// `RESUME_TOKEN_EXPIRED` where some of it was cut out, also if the ring holds it
/// yet: what was dropped is known no longer to be hidden by now.
pub(super) async fn at(
    shared: &Arc<Shared>,
    selection: &Arc<Selection>,
    skip: &Arc<Skip>,
    whence: Whence,
) -> Result<Looked, Error> {
    let cursor = whence.cursor;
    let looked = look(shared, selection, skip, whence).await?;
    // To be asked after it was looked: what was cut out meanwhile was missing.
    shared.history.follows(cursor)?;
    Ok(looked)
}

async fn look(
    shared: &Arc<Shared>,
    selection: &Arc<Selection>,
    skip: &Arc<Skip>,
    whence: Whence,
) -> Result<Looked, Error> {
    match shared.tail.read(whence.cursor, BATCH_BYTES) {
        Read::Chunks(chunks) => {
            let mut look = Look::new(shared, selection, skip, whence)?;
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
            shared.read(move |shared| scan(shared, &selection, &skip, whence)).await
        }
    }
}

/// Reads the log until a batch is full.
fn scan(shared: &Arc<Shared>, selection: &Selection, skip: &Skip, whence: Whence) -> Result<Looked, Error> {
    // The end comes first: a directory that is taken after it knows every
    // audience class up to it, and none is taken for unknown and passed over.
    let end = shared.tail.committed();
    let mut scan = shared.store.scan(whence.cursor).map_err(store_error)?;
    let (mut look, mut read) = (Look::new(shared, selection, skip, whence)?, 0);
    while read < SCAN_BYTES {
        let Some((first, bytes)) = scan.peek().map_err(store_error)? else {
            return Ok(look.finish(true));
        };
        if first > end {
            // Written, but not yet known to be durable.
            return Ok(look.finish(true));
        }
        let view = View::parse(first, bytes).ok_or_else(|| super::fetch::damaged(first))?;
        let copy = |range: Range<usize>| Bytes::copy_from_slice(bytes.get(range).unwrap_or_default());
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
    /// Where the roster changes after the cursor, or what is asked for.
    ends: Option<Position>,
    generation: Option<Position>,
    batch: Batch,
    cursor: Position,
    credit: u64,
    /// What the class of the last newborn record was for the viewer.
    last: Option<(ClassNo, Birth)>,
    /// Whether an indicator that was sighted is the viewer's own, once it was
    /// read.
    sighted: FxHashMap<Position, bool>,
}

/// Gives shared bytes of a chunk.
type Slice<'a> = &'a dyn Fn(Range<usize>) -> Bytes;

/// What a newborn record of one class is for a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Birth {
    /// Nothing.
    Nothing,
    /// NEW, as it is stored.
    Plain,
    /// NEW, with something said of its source.
    Told,
}

/// Neighbouring items that go out NEW, as they are stored.
#[derive(Debug, Default)]
struct Run {
    bytes: Range<usize>,
    count: usize,
}

impl Run {
    fn extend(&mut self, body: Range<usize>) {
        let begin = if self.count == 0 { body.start } else { self.bytes.start };
        self.bytes = begin..body.end;
        self.count += 1;
    }

    fn flush(&mut self, batch: &mut Batch, slice: Slice<'_>) {
        if self.count > 0 {
            batch.push_new(self.count, slice(self.bytes.clone()));
            *self = Self::default();
        }
    }
}

impl<'a> Look<'a> {
    fn new(
        shared: &'a Shared,
        selection: &'a Selection,
        skip: &'a Skip,
        Whence { cursor, credit, had }: Whence,
    ) -> Result<Self, Error> {
        let now = shared.directory.load_full();
        let ends = selection.next_change(shared, cursor, &now)?;
        let rosters = Held { had, ..selection.held(shared, cursor, now)? };
        let (generation, batch, last, sighted) = (None, Batch::new(), None, FxHashMap::default());
        Ok(Self { shared, selection, skip, rosters, ends, generation, batch, cursor, credit, last, sighted })
    }

    /// Takes in a chunk; `slice` gives shared bytes of it. Returns whether
    /// the batch has room for more.
    fn take(&mut self, view: &View<'_>, slice: Slice<'_>) -> Result<bool, Error> {
        let last = view.last_position();
        if last <= self.cursor {
            return Ok(true);
        }
        if self.ends.is_some_and(|end| end <= view.first) {
            // Another roster holds from here on, or other assets: that is looked
            // at by itself, once what stands before it has gone out.
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
                self.batch.told.born(view.first, usize::from(view.count));
                let source = view.class.map(|class| self.selection.source(&self.rosters.now, class, class));
                if let Some(disclosure) = source.and_then(|source| source.disclosure()) {
                    self.batch.disclose(usize::from(view.count), &disclosure);
                }
                self.cursor = last;
            }
            Whole::All | Whole::Each => return self.each(view, slice, &reclassed, touched),
        }
        Ok(self.has_room())
    }

    fn has_room(&self) -> bool {
        self.batch.bodies_len() < BATCH_BYTES && (self.batch.count() as u64) < self.credit
    }

    /// Takes in a chunk item by item; neighbours that go out as they are stored
    /// go out as one slice. Returns whether the batch has room for more.
    fn each(
        &mut self,
        view: &View<'_>,
        slice: Slice<'_>,
        reclassed: &Reclassed,
        touched: bool,
    ) -> Result<bool, Error> {
        let mut run = Run::default();
        let mut complete = true;
        for item in view.items() {
            let item = item.ok_or_else(|| super::fetch::damaged(view.first))?;
            if item.position <= self.cursor {
                continue;
            }
            if (self.batch.count() + run.count) as u64 >= self.credit {
                complete = false;
                break;
            }
            let header = &item.header;
            let born_here = !touched && header.handle == item.position;
            let class_now = if born_here { None } else { reclassed.get(&header.handle).copied() };
            let class_now = class_now.unwrap_or(header.class);
            let from = view.bodies_at + item.offset;
            let body = from..from + item.body.len();
            let plain = header.original.is_none();
            let newborn = plain && header.op == Op::Create && header.state == State::Active;
            if self.skip.covers(header.handle, item.position) {
                // Said already, and more.
            } else if newborn && class_now == header.class && self.birth(class_now) != Birth::Told {
                if self.birth(class_now) == Birth::Plain
                    && self.selection.wants(&item)
                    && self.rosters.is_own(item.body)
                {
                    if run.bytes.end != body.start {
                        run.flush(&mut self.batch, slice);
                    }
                    run.extend(body);
                    self.batch.told.born(item.position, 1);
                }
            } else {
                run.flush(&mut self.batch, slice);
                self.one(&item, class_now, reclassed, || slice(body))?;
            }
            self.cursor = item.position;
        }
        run.flush(&mut self.batch, slice);
        Ok(complete && self.has_room())
    }

    /// What a record born in `class`, and in it still, is for the viewer.
    fn birth(&mut self, class: ClassNo) -> Birth {
        if let Some((known, birth)) = self.last
            && known == class
        {
            return birth;
        }
        let Held { then, now, .. } = &self.rosters;
        let seen =
            self.selection.sees(then, class) && (self.rosters.unchanged() || self.selection.sees(now, class));
        let birth = match self.selection.source(now, class, class) {
            _ if !seen => Birth::Nothing,
            Source::AsStored => Birth::Plain,
            Source::Told(_) | Source::Hidden => Birth::Told,
        };
        self.last = Some((class, birth));
        birth
    }

    /// Goes over to the directory of today, which knows the classes of all
    /// that was `reclassed` by now.
    fn renew(&mut self) -> Result<(), Error> {
        if self.shared.renew(&mut self.rosters.now) {
            self.rosters.then = self.shared.rosters.at(self.cursor, &self.rosters.now);
            self.ends = self.selection.next_change(self.shared, self.cursor, &self.rosters.now)?;
            self.last = None;
        }
        Ok(())
    }

    /// Whether an event is about what is asked for, where that is what is the
    /// viewer's own: of a sighting, whether its indicator is. What is told to the
    /// viewer of what he did himself is asked for whatever it is about.
    fn is_own(&mut self, header: &ItemHeader) -> Result<bool, Error> {
        if header.op != Op::Sight || self.rosters.own.is_none() {
            return Ok(true);
        }
        if let Some(known) = self.sighted.get(&header.previous) {
            return Ok(*known);
        }
        let verdict = match super::fetch::newest_of_any(self.shared, header.previous) {
            Ok((_, body)) => self.rosters.is_own(&body),
            Err(error) if error.kind() == Kind::Absent => false,
            Err(error) => return Err(error),
        };
        self.sighted.insert(header.previous, verdict);
        Ok(verdict)
    }

    /// Adds what one item is for the viewer, if anything.
    fn one(
        &mut self,
        item: &ItemView<'_>,
        class_now: ClassNo,
        reclassed: &Reclassed,
        body: impl FnOnce() -> Bytes,
    ) -> Result<(), Error> {
        let (header, position) = (&item.header, item.position);
        self.renew()?;
        // What is told of an indicator goes no further than it does today.
        if matches!(header.op, Op::Sight | Op::Leave | Op::Held | Op::Contain)
            && let Some(&class) = reclassed.get(&header.previous)
            && !self.selection.sees(&self.rosters.now, class)
        {
            return Ok(());
        }
        if matches!(header.op, Op::Sight | Op::Notice) && self.shared.was_dropped(header.previous)? {
            return Ok(());
        }
        let Some(kind) = self.selection.event(item, &self.rosters, class_now) else { return Ok(()) };
        if !self.is_own(header)? {
            return Ok(());
        }
        let record = if header.op.is_version() { header.handle } else { header.previous };
        self.batch.told.event(record, position, kind);
        if kind == EventKind::Withdrawn {
            let stub = event::stub(&self.shared.sealer, position, header.handle);
            self.batch.push(kind, stub.into());
            return Ok(());
        }
        let now = &self.rosters.now;
        // What it tells of was of the class that it remembers.
        let told_class = |record| reclassed.get(&record).copied().unwrap_or(header.previous_class);
        let put = match kind {
            EventKind::Collision => {
                let other = Position::from_raw(header.digest);
                let shown = if self.shared.was_dropped(other)? {
                    Other::Hidden
                } else {
                    self.selection.other(now, header, told_class(other))
                };
                let shown = shown.show_body(body());
                shown.map(|body| self.batch.push(kind, body))
            }
            EventKind::Sighted => {
                let source = self.selection.sighting_source(now, header, told_class(header.previous));
                source.put(&mut self.batch, kind, body())
            }
            _ => self.selection.source(now, header.class, class_now).put(&mut self.batch, kind, body()),
        };
        put.ok_or_else(|| super::fetch::damaged(position))?;
        if let Some(original) = self.selection.original(&self.rosters.now, reclassed, header) {
            let original = self.shared.sealer.id(original);
            self.batch.disclose(1, &disclosure::encode_original(original));
        }
        Ok(())
    }

    fn finish(self, caught_up: bool) -> Looked {
        Looked { batch: self.batch, cursor: self.cursor, caught_up, generation: self.generation }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::hub::select::{Terms, Wants};
    use crate::hub::testing;
    use crate::model::indicator::{Draft, Observable};
    use crate::model::marking::{Caveats, Marking, Recipients, Tlp};
    use crate::model::org::OrgSlug;
    use crate::model::query::IndicatorFilter;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_look_that_began_before_an_audience_was_made_knows_it() {
        let (_dir, hub, caller) = testing::hub(&["a", "b"]);
        let publish = async |organisations: &[&str]| {
            let organisations = organisations.iter().map(|slug| OrgSlug::parse(slug).unwrap()).collect();
            let recipients = Recipients { organisations, ..Recipients::default() };
            let marking = Marking { tlp: Tlp::Amber, recipients, caveats: Caveats::NONE };
            let draft = Draft::new(Observable::Ipv4([192, 0, 2, 1].into()), marking);
            hub.publish(&caller, Uuid::new_v4(), vec![Ok(draft)]).await.unwrap().remove(0).unwrap();
        };
        let shared = &hub.shared;
        let cursor = shared.tail.committed();
        publish(&[]).await;
        let Read::Chunks(chunks) = shared.tail.read(cursor, BATCH_BYTES) else { panic!("they are there") };
        let terms = Terms::resolve(&IndicatorFilter::default(), &shared.directory.load());
        let wants = Wants { sightings: false, notices: false };
        let selection = Selection::new(caller.org(), caller.identity().clone(), terms, wants);
        let skip = Skip::default();
        let mut look =
            Look::new(shared, &selection, &skip, Whence { cursor, credit: 10, had: None }).unwrap();
        publish(&["b"]).await;
        for chunk in &chunks {
            look.take(&chunk.view().unwrap(), &|range| chunk.bytes.slice(range)).unwrap();
        }
        assert_eq!(look.batch.count(), 1, "it was the caller's to see before, and is");
        hub.close().await;
    }
}
