//! Decides how the chunks of the log are come by that candidates lie in: the
//! newest are in memory, and of all others those are read together that are
//! asked for together.

use crate::model::position::Position;
use crate::store::chunk::Chunk;
use crate::store::log::Finder;

use super::super::error::Error;
use super::super::shared::Shared;
use super::super::store_error;

/// Fewest chunks that are read together, and most: each has some kilobytes, and
/// who asks for few rows is not to wait for many.
const FEWEST: usize = 4;
const MOST: usize = 32;

/// Chunks of the log, for one walk.
pub(super) struct Chunks<'a> {
    shared: &'a Shared,
    finder: Finder<'a>,
    /// The one that was asked for last.
    last: Option<Chunk>,
    /// What was asked for together last, and what was found of it, in order.
    asked: Vec<Position>,
    ahead: Vec<Chunk>,
    /// How many are asked for next; with one, each is asked for by itself.
    together: usize,
}

impl<'a> Chunks<'a> {
    pub(super) const fn of(shared: &'a Shared) -> Self {
        Self {
            shared,
            finder: shared.store.finder(),
            last: None,
            asked: Vec::new(),
            ahead: Vec::new(),
            together: FEWEST,
        }
    }

    /// The chunk that holds the version at a position; `None`: that was cut out.
    /// Where it is read, those are that hold some of the positions asked for
    /// next.
    pub(super) fn at(
        &mut self,
        at: Position,
        next: impl Iterator<Item = Position>,
    ) -> Result<Option<Chunk>, Error> {
        if let Some(last) = self.last.as_ref().filter(|last| last.holds(at)) {
            return Ok(Some(last.clone()));
        }
        let mut found = self.newest(at).or_else(|| self.ahead_at(at));
        if found.is_none() && self.together > 1 && self.asked.binary_search(&at).is_err() {
            self.read(at, next)?;
            found = self.ahead_at(at);
        }
        if found.is_none() {
            found = self.finder.find(at).map_err(store_error)?;
        }
        match &found {
            Some(_) => self.last.clone_from(&found),
            None => self.shared.store.gone(at).map_err(store_error)?,
        }
        Ok(found)
    }

    /// Reads those together that hold a position and some of the next, if there
    /// are several.
    fn read(&mut self, at: Position, next: impl Iterator<Item = Position>) -> Result<(), Error> {
        let oldest = self.shared.tail.floor().max(self.shared.history.base().position);
        let mut wanted = vec![at];
        wanted.extend(next.filter(|next| *next <= oldest).take(self.together - 1));
        if wanted.len() < 2 {
            return Ok(());
        }
        wanted.sort_unstable();
        self.ahead = self.shared.store.likely_chunks(&wanted).map_err(store_error)?;
        let found = wanted.iter().filter(|at| self.ahead_at(**at).is_some()).count();
        // Where chunks do not begin where most do, each is sought anyway.
        self.together = if 2 * found < wanted.len() { 1 } else { (2 * self.together).min(MOST) };
        self.asked = wanted;
        Ok(())
    }

    /// The newest of the log is in memory, and is whole past its base.
    fn newest(&self, at: Position) -> Option<Chunk> {
        (at > self.shared.history.base().position).then(|| self.shared.tail.chunk_at(at)).flatten()
    }

    fn ahead_at(&self, at: Position) -> Option<Chunk> {
        let place = self.ahead.partition_point(|chunk| chunk.first <= at);
        self.ahead.get(place.checked_sub(1)?).filter(|chunk| chunk.holds(at)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::{Place, Walk};
    use super::*;
    use crate::hub::engine::{Hub, Options};
    use crate::hub::testing;
    use crate::model::indicator::{Draft, normalise};
    use crate::model::marking::{Marking, Tlp};
    use crate::model::query::{IndicatorFilter, Question};
    use crate::policy::visibility::Purpose;
    use crate::store::chunk::Op;

    /// Versions in chunks that are full by number and others that are so by
    /// bytes; little of it in memory.
    async fn filled() -> (tempfile::TempDir, std::sync::Arc<Hub>, crate::hub::Caller, Vec<Position>) {
        let options = Options { ring_bytes: 12 << 10, ..Options::default() };
        let (dir, hub, caller) = testing::hub_with(&["a"], options);
        let draft = |number: usize, long: bool| Draft {
            description: "a word ".repeat(if long { 160 } else { 2 }),
            ..Draft::new(
                normalise::detect(&format!("n{number}.example")).unwrap().observable,
                Marking::open(Tlp::Green),
            )
        };
        for (batch, size) in [3, 40, 1, 17, 64, 5, 90, 2].into_iter().enumerate() {
            let drafts = (0..size).map(|number| Ok(draft(batch * 100 + number, batch % 3 == 1))).collect();
            let done = hub.publish(&caller, Uuid::new_v4(), drafts).await.unwrap();
            assert!(done.iter().all(Result::is_ok));
        }
        let (mut log, mut at) = (hub.shared.store.follow(Position::ZERO).unwrap(), Vec::new());
        while let Some(chunk) = log.next_chunk().unwrap() {
            let versions = chunk.view().unwrap().items_of(Op::is_version);
            at.extend(versions.map(|item| item.unwrap().position));
        }
        drop(log);
        assert_eq!(at.len(), 222);
        let newest = hub.shared.tail.floor();
        assert!(at.iter().any(|at| *at <= newest) && at.iter().any(|at| *at > newest));
        (dir, hub, caller, at)
    }

    #[tokio::test]
    async fn chunks_are_found_as_if_each_were_asked_for_by_itself() {
        let (_dir, hub, _, at) = filled().await;
        let store = &hub.shared.store;
        let back = at.iter().rev().copied().collect();
        // Far from each other, and some twice.
        let mixed = (0..at.len() * 2).map(|step| at[step * 37 % at.len()]).collect();
        let some = at.iter().copied().step_by(9).collect();
        for order in [at.clone(), back, mixed, some] {
            let mut chunks = Chunks::of(&hub.shared);
            for (step, wanted) in order.iter().enumerate() {
                let found = chunks.at(*wanted, order[step + 1..].iter().copied()).unwrap();
                assert_eq!(found, store.chunk_at(*wanted).unwrap(), "{step}");
            }
        }
        hub.close().await;
    }

    #[tokio::test]
    async fn a_walk_goes_on_in_the_store_where_memory_ends() {
        let (_dir, hub, caller, at) = filled().await;
        let place = Place { origin: hub.shared.tail.committed(), past: None };
        let all = Question::new(IndicatorFilter::default());
        let mut walk = Walk::new(&hub.shared, &caller, &all, Purpose::Search, place, None).unwrap();
        let rows: Vec<_> = std::iter::from_fn(|| walk.next_row().unwrap()).map(|row| row.position).collect();
        assert_eq!(rows, at.into_iter().rev().collect::<Vec<_>>());
        drop(walk);
        hub.close().await;
    }
}
