//! Decides what goes out of the state, not of the log: to whom asks for it
//! what stands, and to whom a change of the roster concerns what he sees from
//! there on, or no longer; and what a change of his own assets does. It is read from the postings of the audience
//! classes, so that it costs what it brings, not members times indicators.

use std::sync::Arc;

use crate::model::asset::Matcher;
use crate::model::audience::ClassNo;
use crate::model::event::EventKind;
use crate::model::indicator::State;
use crate::model::position::Position;
use crate::model::reached::{Step, Together};
use crate::store::changed::Changed;
use crate::store::chunk::View;
use crate::store::keys::Dimension;
use crate::store::log::Scan;
use crate::store::postings::Posting;
use crate::store::record::Latest;
use crate::wire::frame::Batch;
use crate::wire::{disclosure, event};

use super::directory::Directory;
use super::error::Error;
use super::fetch::damaged;
use super::recall::Skip;
use super::select::{Selection, is_own};
use super::shared::Shared;
use super::store_error;

/// A batch is sent once its bodies reach this many bytes.
const BATCH_BYTES: usize = 256 << 10;
/// Postings looked at before the pump listens again.
const SCAN_POSTINGS: usize = 20_000;
/// Changed records whose newest versions are asked for at once.
const TOGETHER: usize = 64;

/// A walk over the audience classes of one viewer, as of one position.
///
/// What he sees is decided under the roster of that position, so that a walk
/// that is cut goes on with the same classes whatever changed meanwhile; and
/// what he may not see today is left out. Whatever came after the position,
/// changes of the roster among it, follows from the log.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    /// Versions that stood here go out.
    at: Position,
    /// Classes by number, and what goes out of them.
    classes: Arc<[(ClassNo, Sight)]>,
    /// What was the viewer's own just before, and is here, if he asks for that
    /// alone.
    own: Owned,
    /// How far he has got.
    pub(super) step: Step,
}

/// What the viewer sees of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// He sees it: part of the state that he asked for.
    Held,
    /// He sees it from here on.
    Gained,
    /// He sees it no longer.
    Lost,
    /// He saw it and sees it, and something of it is his own from here on, or no
    /// longer.
    Kept,
}

/// What is the viewer's own before a position, and at it.
#[derive(Debug, Clone, Default)]
struct Owned {
    before: Option<Arc<Matcher>>,
    after: Option<Arc<Matcher>>,
}

impl Owned {
    fn is_same(&self) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => Arc::ptr_eq(before, after) || before == after,
            (before, after) => before.is_none() == after.is_none(),
        }
    }
}

/// What one step of a walk brought.
pub(super) struct Walked {
    pub(super) batch: Batch,
    pub(super) step: Step,
    /// Whether the walk is over.
    pub(super) over: bool,
}

impl Walk {
    /// What stands at `at` for the viewer of `selection`, from `step` on.
    pub(super) async fn state(
        shared: &Arc<Shared>,
        selection: &Arc<Selection>,
        at: Position,
        step: Step,
    ) -> Result<Self, Error> {
        let selection = Arc::clone(selection);
        let made = move |shared: &Arc<Shared>| {
            let now = shared.directory.load_full();
            let held = shared.rosters.at(at, &now);
            let classes = of_each(&held, |class| selection.sees(&held, class).then_some(Sight::Held));
            let own = Owned { before: None, after: selection.own_at(shared, at, &now)? };
            Ok(Self { at, classes: Arc::from(classes), own, step })
        };
        shared.read(made).await
    }

    /// What a change of the roster, or so many together of what is the viewer's
    /// own, of which the last is at `at`, changes for the viewer of `selection`,
    /// from `step` on; `None`: nothing.
    pub(super) async fn begin(
        shared: &Arc<Shared>,
        selection: &Arc<Selection>,
        at: Position,
        (together, step): (Together, Step),
    ) -> Result<Option<Self>, Error> {
        let selection = Arc::clone(selection);
        let made = move |shared: &Arc<Shared>| {
            let now = shared.directory.load_full();
            let just = selection.before_changes(shared, at, together, &now)?;
            let (before, after) = (shared.rosters.at(just, &now), shared.rosters.at(at, &now));
            let own = Owned {
                before: selection.own_at(shared, just, &now)?,
                after: selection.own_at(shared, at, &now)?,
            };
            let kept = (!own.is_same()).then_some(Sight::Kept);
            let classes = of_each(&after, |class| {
                match (selection.sees(&before, class), selection.sees(&after, class)) {
                    (false, true) => Some(Sight::Gained),
                    (true, false) => Some(Sight::Lost),
                    (true, true) => kept,
                    (false, false) => None,
                }
            });
            let walk = Self { at, classes: Arc::from(classes), own, step };
            Ok((!walk.classes.is_empty()).then_some(walk))
        };
        shared.read(made).await
    }

    /// Goes on, up to `credit` events.
    pub(super) async fn next(
        &self,
        shared: &Arc<Shared>,
        selection: &Arc<Selection>,
        skip: &Arc<Skip>,
        credit: u64,
    ) -> Result<Walked, Error> {
        let (walk, selection, skip) = (self.clone(), Arc::clone(selection), Arc::clone(skip));
        let stride = move |shared: &Arc<Shared>| {
            let stride = Stride {
                now: shared.directory.load_full(),
                shared,
                selection: &selection,
                skip: &skip,
                at: walk.at,
                own: walk.own,
                changed: shared.store.changed().map_err(store_error)?,
                log: shared.store.reader().map_err(store_error)?,
                batch: Batch::new(),
                step: walk.step,
                looked: 0,
                credit: usize::try_from(credit).unwrap_or(usize::MAX),
            };
            stride.walk(&walk.classes)
        };
        let walked = shared.read(stride).await?;
        // What was cut out meanwhile was missing.
        shared.history.follows(self.at)?;
        Ok(walked)
    }
}

/// What is to be said of each class of a directory, by number.
fn of_each(directory: &Directory, sight: impl Fn(ClassNo) -> Option<Sight>) -> Vec<(ClassNo, Sight)> {
    let classes = u32::try_from(directory.class_count()).unwrap_or(u32::MAX);
    (1..=classes).map(ClassNo).filter_map(|class| Some((class, sight(class)?))).collect()
}

/// One step of a walk.
struct Stride<'a> {
    shared: &'a Shared,
    selection: &'a Selection,
    skip: &'a Skip,
    now: Arc<Directory>,
    at: Position,
    own: Owned,
    changed: Changed<'a>,
    log: Scan<'a>,
    batch: Batch,
    step: Step,
    looked: usize,
    credit: usize,
}

impl Stride<'_> {
    fn walk(mut self, classes: &[(ClassNo, Sight)]) -> Result<Walked, Error> {
        let first = classes.partition_point(|(class, _)| *class < self.step.class);
        for &(class, sight) in classes.get(first..).unwrap_or_default() {
            if class != self.step.class {
                self.step = Step { class, after: Position::ZERO };
            }
            if !self.class(class, sight)? {
                return Ok(Walked { batch: self.batch, step: self.step, over: false });
            }
        }
        Ok(Walked { batch: self.batch, step: self.step, over: true })
    }

    /// Walks one class; whether to its end.
    fn class(&mut self, class: ClassNo, sight: Sight) -> Result<bool, Error> {
        let store = &self.shared.store;
        let mut blocks = store
            .postings_after(Dimension::Class, u64::from(class.0), self.step.after)
            .map_err(store_error)?;
        while let Some(block) = blocks.next_block().map_err(store_error)? {
            let within = block.partition_point(|posting| posting.position <= self.at);
            let mut left = block.get(..within).unwrap_or_default();
            while !left.is_empty() {
                if self.is_full() {
                    return Ok(false);
                }
                let taken = match self.whole(class, sight, left)? {
                    0 => self.some(sight, left)?,
                    taken => taken,
                };
                left = left.get(taken..).unwrap_or_default();
            }
            if within < block.len() {
                break;
            }
        }
        Ok(true)
    }

    fn is_full(&self) -> bool {
        self.batch.count() >= self.credit
            || self.batch.bodies_len() >= BATCH_BYTES
            || self.looked >= SCAN_POSTINGS
    }

    /// Takes a whole chunk as one slice, if it is of this class alone, goes
    /// out as it is, and nothing in it ever changed. How many postings that
    /// were; 0: none.
    fn whole(&mut self, class: ClassNo, sight: Sight, left: &[Posting]) -> Result<usize, Error> {
        let Some(begin) = left.first().filter(|posting| posting.position == posting.handle) else {
            return Ok(0);
        };
        if matches!(sight, Sight::Lost | Sight::Kept)
            || !self.selection.wants_all()
            || !self.selection.sees(&self.now, class)
        {
            return Ok(0);
        }
        let Some((first, bytes)) = self.log.seek(begin.position).map_err(store_error)? else { return Ok(0) };
        let view = View::parse(first, bytes).ok_or_else(|| damaged(first))?;
        let (count, last) = (usize::from(view.count), view.last_position());
        let all = first == begin.position
            && view.all_new
            && view.class == Some(class)
            && left.get(count.saturating_sub(1)).is_some_and(|posting| posting.position == last)
            && count <= self.credit - self.batch.count();
        if !all {
            return Ok(0);
        }
        let changed = self.changed.first_from(first).map_err(store_error)?;
        if changed.is_some_and(|(handle, _)| handle <= last) {
            return Ok(0);
        }
        self.batch.push_new(count, view.bodies.to_vec().into());
        self.batch.told.born(first, count);
        if let Some(disclosure) = self.selection.source(&self.now, class, class).disclosure() {
            self.batch.disclose(count, &disclosure);
        }
        self.step.after = last;
        self.looked += count;
        Ok(count)
    }

    /// Takes the next birth, or the next later versions, one by one; how many.
    fn some(&mut self, sight: Sight, left: &[Posting]) -> Result<usize, Error> {
        let later = |posting: &&Posting| posting.position != posting.handle;
        let versions: Vec<_> = left.iter().take_while(later).take(TOGETHER).copied().collect();
        if let (true, Some(birth)) = (versions.is_empty(), left.first()) {
            let changed = self.changed.first_from(birth.handle).map_err(store_error)?;
            let latest = changed.filter(|(handle, _)| *handle == birth.handle).map(|(_, latest)| latest);
            self.one(sight, *birth, latest)?;
            return Ok(1);
        }
        let handles: Vec<_> = versions.iter().map(|posting| posting.handle).collect();
        let latest = self.shared.store.latest(&handles).map_err(store_error)?;
        let mut taken = 0;
        for (posting, latest) in versions.into_iter().zip(latest) {
            if self.is_full() {
                break;
            }
            self.one(sight, posting, latest)?;
            taken += 1;
        }
        Ok(taken)
    }

    fn one(&mut self, sight: Sight, posting: Posting, latest: Option<Latest>) -> Result<(), Error> {
        // The state leaves out what was taken back while it goes out.
        let ended = sight == Sight::Held && latest.is_some_and(|latest| latest.state != State::Active);
        if !ended && self.stood(latest.map_or(posting.handle, |latest| latest.newest))? == posting.position {
            self.take(sight, posting)?;
        }
        self.step.after = posting.position;
        self.looked += 1;
        Ok(())
    }

    /// Which version of a record stood, from the newest one backward.
    fn stood(&self, mut newest: Position) -> Result<Position, Error> {
        while newest > self.at {
            // Where it was cut out, the walk is too late, and ends so.
            let Some((header, _)) = super::fetch::kept(self.shared, newest)? else { break };
            newest = header.previous;
        }
        Ok(newest)
    }

    /// Adds what becomes of a version that stood.
    fn take(&mut self, sight: Sight, posting: Posting) -> Result<(), Error> {
        let Posting { position, handle } = posting;
        let chunk = self.log.seek(position).map_err(store_error)?;
        let view = chunk.map(|(first, bytes)| View::parse(first, bytes).ok_or_else(|| damaged(first)));
        let view = view.transpose()?;
        let item = view.and_then(|view| view.item(position));
        let Some(item) = item else { return self.shared.store.gone(position).map_err(store_error) };
        if item.header.state != State::Active || !self.selection.wants(&item) {
            return Ok(());
        }
        let had = matches!(sight, Sight::Lost | Sight::Kept) && is_own(self.own.before.as_deref(), item.body);
        let has = sight != Sight::Lost && is_own(self.own.after.as_deref(), item.body);
        if had == has {
            return Ok(());
        }
        if had {
            let stub = event::stub(&self.shared.sealer, position, handle);
            self.batch.push(EventKind::Withdrawn, stub.into());
            self.batch.told.withdrawn(handle, position, self.at);
            return Ok(());
        }
        let class = item.header.class;
        let reclassed = self.shared.reclassed.read();
        let class_now = reclassed.get(&handle).copied().unwrap_or(class);
        self.shared.renew(&mut self.now);
        if self.selection.sees(&self.now, class_now) && !self.skip.covers(handle, position) {
            let source = self.selection.source(&self.now, class, class_now);
            let body = item.body.to_vec().into();
            source.put(&mut self.batch, EventKind::New, body).ok_or_else(|| damaged(position))?;
            self.batch.told.event(handle, position, EventKind::New);
            if let Some(original) = self.selection.original(&self.now, &reclassed, &item.header) {
                let original = self.shared.sealer.id(original);
                self.batch.disclose(1, &disclosure::encode_original(original));
            }
        }
        Ok(())
    }
}
