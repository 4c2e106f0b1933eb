//! Decides what a change of the roster brings to one viewer, or takes from
//! him: the records of the audience classes that he sees from there on, or no
//! longer. It is read from the classes' postings, so that a change costs what
//! it changes, not members times indicators.

use std::sync::Arc;

use crate::base::tasks;
use crate::model::audience::ClassNo;
use crate::model::event::EventKind;
use crate::model::indicator::State;
use crate::model::position::Position;
use crate::model::reached::Step;
use crate::store::chunk::Chunk;
use crate::store::keys::Dimension;
use crate::store::postings::Posting;
use crate::wire::event;
use crate::wire::frame::Batch;

use super::directory::Directory;
use super::error::Error;
use super::fetch::damaged;
use super::select::Selection;
use super::shared::Shared;
use super::store_error;

/// A batch is sent once its bodies reach this many bytes.
const BATCH_BYTES: usize = 256 << 10;
/// Postings looked at before the pump listens again.
const SCAN_POSTINGS: usize = 20_000;

/// What a roster generation changes for one viewer.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    /// Where the generation begins.
    at: Position,
    /// Classes that he sees from there on, or no longer; by number.
    classes: Arc<[(ClassNo, Change)]>,
    /// How far he has got.
    pub(super) step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Gained,
    Lost,
}

/// What one step of a walk brought.
pub(super) struct Walked {
    pub(super) batch: Batch,
    pub(super) step: Step,
    /// Whether the walk is over.
    pub(super) over: bool,
}

impl Walk {
    /// What the generation that begins at `at` changes for the viewer of
    /// `selection`, from `step` on; `None`: nothing.
    pub(super) async fn begin(
        shared: &Arc<Shared>,
        selection: &Arc<Selection>,
        at: Position,
        step: Step,
    ) -> Result<Option<Self>, Error> {
        let (shared, selection) = (Arc::clone(shared), Arc::clone(selection));
        let classes = tasks::spawn_blocking(move || {
            let now = shared.directory.load_full();
            let before = shared.rosters.at(Position::from_raw(at.raw().saturating_sub(1)), &now);
            changes(&selection, &before, &shared.rosters.at(at, &now))
        });
        let classes: Arc<[_]> = classes.await.map_err(Error::internal)?.into();
        Ok((!classes.is_empty()).then_some(Self { at, classes, step }))
    }

    /// Goes on, up to `credit` events.
    pub(super) async fn next(
        &self,
        shared: &Arc<Shared>,
        selection: &Arc<Selection>,
        credit: u64,
    ) -> Result<Walked, Error> {
        let (walk, shared, selection) = (self.clone(), Arc::clone(shared), Arc::clone(selection));
        let places = Arc::clone(&shared);
        let _place = places.reads.acquire().await.map_err(Error::internal)?;
        tasks::spawn_blocking(move || {
            let stride = Stride {
                now: shared.directory.load_full(),
                shared: &shared,
                selection: &selection,
                at: walk.at,
                chunk: None,
            };
            stride.walk(&walk.classes, walk.step, credit)
        })
        .await
        .map_err(Error::internal)?
    }
}

/// The classes whose sight differs for the viewer, by number.
fn changes(selection: &Selection, before: &Directory, after: &Directory) -> Vec<(ClassNo, Change)> {
    let classes = u32::try_from(after.class_count()).unwrap_or(u32::MAX);
    (1..=classes)
        .map(ClassNo)
        .filter_map(|class| match (selection.sees(before, class), selection.sees(after, class)) {
            (false, true) => Some((class, Change::Gained)),
            (true, false) => Some((class, Change::Lost)),
            _ => None,
        })
        .collect()
}

/// One step of a walk.
struct Stride<'a> {
    shared: &'a Shared,
    selection: &'a Selection,
    now: Arc<Directory>,
    at: Position,
    /// The chunk that was last looked at: neighbours share it.
    chunk: Option<Chunk>,
}

impl Stride<'_> {
    fn walk(mut self, classes: &[(ClassNo, Change)], from: Step, credit: u64) -> Result<Walked, Error> {
        let (mut batch, mut step, mut looked) = (Batch::new(), from, 0);
        for &(class, change) in classes.iter().filter(|(class, _)| *class >= from.class) {
            if class != step.class {
                step = Step { class, after: Position::ZERO };
            }
            let mut blocks = self
                .shared
                .store
                .postings_after(Dimension::Class, u64::from(class.0), step.after)
                .map_err(store_error)?;
            while let Some(block) = blocks.next_block().map_err(store_error)? {
                let stood = self.stood(&block)?;
                for (posting, stood) in block.into_iter().zip(stood) {
                    if posting.position > self.at {
                        break;
                    }
                    let full = batch.count() as u64 >= credit || batch.bodies_len() >= BATCH_BYTES;
                    if full || looked >= SCAN_POSTINGS {
                        return Ok(Walked { batch, step, over: false });
                    }
                    if stood {
                        self.take(posting.position, change, &mut batch)?;
                    }
                    step.after = posting.position;
                    looked += 1;
                }
            }
        }
        Ok(Walked { batch, step, over: true })
    }

    /// Which of the versions stood when the generation began.
    fn stood(&self, block: &[Posting]) -> Result<Vec<bool>, Error> {
        let handles: Vec<_> = block.iter().map(|posting| posting.handle).collect();
        let latest = self.shared.store.latest(&handles).map_err(store_error)?;
        block
            .iter()
            .zip(latest)
            .map(|(posting, latest)| {
                let mut newest = latest.map_or(posting.handle, |latest| latest.newest);
                while newest > self.at {
                    let (header, _) =
                        super::fetch::item(self.shared, newest)?.ok_or_else(|| damaged(newest))?;
                    newest = header.previous;
                }
                Ok(newest == posting.position)
            })
            .collect()
    }

    /// Adds what becomes of the version at `at` for the viewer.
    fn take(&mut self, at: Position, change: Change, batch: &mut Batch) -> Result<(), Error> {
        let chunk = self.chunk_at(at)?;
        let view = chunk.view().ok_or_else(|| damaged(chunk.first))?;
        let item = view.items().flatten().find(|item| item.position == at).ok_or_else(|| damaged(at))?;
        if item.header.state != State::Active || !self.selection.wants(&item) {
            return Ok(());
        }
        match change {
            Change::Gained => {
                let class = item.header.class;
                let class_now =
                    self.shared.reclassed.read().get(&item.header.handle).copied().unwrap_or(class);
                if self.selection.sees(&self.now, class_now) {
                    let from = view.bodies_at + item.offset;
                    let body = chunk.bytes.slice(from..from + item.body.len());
                    let source = self.selection.source(&self.now, class, class_now);
                    source.put(batch, EventKind::New, body).ok_or_else(|| damaged(at))?;
                }
            }
            Change::Lost => {
                let stub = event::stub(&self.shared.sealer, at, item.header.handle);
                batch.push(EventKind::Withdrawn, stub.into());
            }
        }
        Ok(())
    }

    fn chunk_at(&mut self, at: Position) -> Result<Chunk, Error> {
        let holds =
            |chunk: &&Chunk| chunk.first <= at && chunk.view().is_some_and(|view| view.last_position() >= at);
        if let Some(chunk) = self.chunk.as_ref().filter(holds) {
            return Ok(chunk.clone());
        }
        let chunk = self.shared.store.chunk_at(at).map_err(store_error)?.ok_or_else(|| damaged(at))?;
        self.chunk = Some(chunk.clone());
        Ok(chunk)
    }
}
