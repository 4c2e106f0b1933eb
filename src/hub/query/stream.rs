//! Decides how postings are walked: of one term, of any of several, of what
//! several have in common, towards older or towards newer versions.

use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use crate::model::position::Position;
use crate::store::Store;
use crate::store::keys::Dimension;
use crate::store::posting_blocks::PostingBlocks;
use crate::store::postings::Posting;

use super::super::error::Error;
use super::super::replaced::{Known, Replaced};
use super::super::store_error;

/// Steps of an intersection after which it tells how far it has got; the tests
/// are told so more often.
pub(super) const STRIDE: usize = if cfg!(test) { 4 } else { 1_024 };

/// Which way a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From the newest version back.
    Back,
    /// From the oldest version on.
    On,
}

impl Way {
    /// A number that is larger for what comes earlier on the way.
    const fn early(self, position: Position) -> u64 {
        match self {
            Self::Back => position.raw(),
            Self::On => !position.raw(),
        }
    }

    /// Where a walk begins that is to meet `next` first.
    fn before(self, next: Position) -> Position {
        match self {
            Self::Back => next.next(),
            Self::On => Position::from_raw(next.raw().saturating_sub(1)),
        }
    }

    const fn position(self, early: u64) -> Position {
        match self {
            Self::Back => Position::from_raw(early),
            Self::On => Position::from_raw(!early),
        }
    }
}

/// Where a walk begins: past this position on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) way: Way,
    /// Back: what lies before it. On: what lies after it.
    pub(super) past: Position,
}

/// What a stream is at: how early that comes on the way, of which record it is,
/// and which stream.
type Head = (u64, u64, usize);

/// The postings of one term.
struct Stream<'a> {
    blocks: PostingBlocks<'a>,
    way: Way,
    /// What is left of the block at hand; the next one stands last.
    block: Vec<Posting>,
}

impl<'a> Stream<'a> {
    fn open(store: &'a Store, dimension: Dimension, term: u64, start: Start) -> Result<Self, Error> {
        let blocks = match start.way {
            Way::Back => store.postings_back(dimension, term, start.past),
            Way::On => store.postings_after(dimension, term, start.past),
        };
        Ok(Self { blocks: blocks.map_err(store_error)?, way: start.way, block: Vec::new() })
    }

    fn peek(&mut self) -> Result<Option<Posting>, Error> {
        while self.block.is_empty() {
            let Some(mut block) = self.blocks.next_block().map_err(store_error)? else { return Ok(None) };
            if self.way == Way::On {
                block.reverse();
            }
            self.block = block;
        }
        Ok(self.block.last().copied())
    }

    /// What it is at, as the stream of this number.
    fn head(&mut self, index: usize) -> Result<Option<Head>, Error> {
        let way = self.way;
        Ok(self.peek()?.map(|posting| (way.early(posting.position), posting.handle.raw(), index)))
    }

    /// Passes over what comes before `to` on the way.
    fn seek(&mut self, to: Position) {
        let (way, early) = (self.way, self.way.early(to));
        // The last one of the block stands first.
        if self.block.first().is_some_and(|last| way.early(last.position) <= early) {
            let left = self.block.partition_point(|posting| way.early(posting.position) <= early);
            self.block.truncate(left);
        } else {
            self.block.clear();
            self.blocks.seek(to);
        }
    }
}

/// The postings of any of several terms of a dimension, each version once.
pub(super) struct Union<'a> {
    streams: Vec<Stream<'a>>,
    /// What each stream is at, the earliest on the way first.
    heads: BinaryHeap<Head>,
    way: Way,
}

impl<'a> Union<'a> {
    pub(super) fn open(
        store: &'a Store,
        dimension: Dimension,
        terms: &[u64],
        start: Start,
    ) -> Result<Self, Error> {
        let open = |&term| Stream::open(store, dimension, term, start);
        let streams = terms.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let mut union = Self { heads: BinaryHeap::with_capacity(streams.len()), streams, way: start.way };
        for (index, stream) in union.streams.iter_mut().enumerate() {
            union.heads.extend(stream.head(index)?);
        }
        Ok(union)
    }

    fn peek(&self) -> Option<Posting> {
        let &(early, handle, _) = self.heads.peek()?;
        Some(Posting { position: self.way.position(early), handle: Position::from_raw(handle) })
    }

    /// The next version, whichever terms it has.
    pub(super) fn next(&mut self) -> Result<Option<Posting>, Error> {
        let Some(next) = self.peek() else { return Ok(None) };
        let early = self.way.early(next.position);
        let step = |stream: &mut Stream<'_>| {
            stream.block.pop();
        };
        self.advance(|head| head == early, step)?;
        Ok(Some(next))
    }

    /// Passes over what comes before `to` on the way.
    fn seek(&mut self, to: Position) -> Result<(), Error> {
        let early = self.way.early(to);
        self.advance(|head| head > early, |stream| stream.seek(to))
    }

    /// Moves the earliest stream on as long as it `is` one of those.
    fn advance(&mut self, is: impl Fn(u64) -> bool, step: impl Fn(&mut Stream<'_>)) -> Result<(), Error> {
        while let Some(mut head) = self.heads.peek_mut().filter(|head| is(head.0)) {
            let Some(stream) = self.streams.get_mut(head.2) else { break };
            step(stream);
            // Put in the place of the former one: it mostly is among the next.
            match stream.head(head.2)? {
                Some(next) => *head = next,
                None => drop(PeekMut::pop(head)),
            }
        }
        Ok(())
    }
}

/// What several unions have in common.
pub(super) struct Common<'a> {
    unions: Vec<Union<'a>>,
    standing: Standing<'a>,
}

/// Tells what was replaced by an origin, as far as that is known without a read.
#[derive(Clone, Copy)]
pub(super) struct Standing<'a> {
    pub(super) replaced: &'a Replaced,
    pub(super) origin: Position,
}

impl Standing<'_> {
    /// Whether a version may stand at the origin.
    pub(super) fn may(self, at: Position) -> bool {
        self.replaced.look().at(at, self.origin) != Known::Replaced
    }

    /// Leaves those of a block that lie past a position and may stand.
    pub(super) fn retain(self, block: &mut Vec<Posting>, after: Position) {
        let look = self.replaced.look();
        let may = |at: Position| look.at(at, self.origin) != Known::Replaced;
        block.retain(|posting| posting.position > after && may(posting.position));
    }
}

/// One step of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pulled {
    /// The next version.
    Version(Posting),
    /// None as far as here; a walk goes on past it.
    Passed(Position),
    /// No more.
    End,
}

impl<'a> Common<'a> {
    pub(super) const fn new(unions: Vec<Union<'a>>, standing: Standing<'a>) -> Self {
        Self { unions, standing }
    }

    /// Passes over a version; what the first union has behind it.
    fn pass(&mut self, version: Posting) -> Result<Option<Posting>, Error> {
        let Some(first) = self.unions.first_mut() else { return Ok(None) };
        first.seek(version.position)?;
        if first.peek().is_some_and(|found| found.position == version.position) {
            first.next()?;
        }
        Ok(first.peek())
    }

    /// Whether all of them have the version at a position, which lies past all
    /// that were asked for before.
    pub(super) fn holds(&mut self, at: Position) -> Result<bool, Error> {
        for union in &mut self.unions {
            union.seek(at)?;
            if union.peek().is_none_or(|found| found.position != at) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The next version that is in all of them and may stand: whoever is behind
    /// leaps to where the others are, but not for what was replaced.
    pub(super) fn next(&mut self) -> Result<Pulled, Error> {
        let Some(mut wanted) = self.unions.first().and_then(Union::peek) else { return Ok(Pulled::End) };
        for _ in 0..STRIDE {
            if !self.standing.may(wanted.position) {
                let Some(next) = self.pass(wanted)? else { return Ok(Pulled::End) };
                wanted = next;
                continue;
            }
            let mut agreed = true;
            for union in &mut self.unions {
                union.seek(wanted.position)?;
                let Some(found) = union.peek() else { return Ok(Pulled::End) };
                if found.position != wanted.position {
                    (wanted, agreed) = (found, false);
                }
            }
            if agreed {
                for union in &mut self.unions {
                    union.next()?;
                }
                return Ok(Pulled::Version(wanted));
            }
        }
        // Whether that one is in all of them is not known yet.
        let way = self.unions.first().map_or(Way::Back, |union| union.way);
        Ok(Pulled::Passed(way.before(wanted.position)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::store::postings::Postings;
    use crate::store::{Batch, Tuning};

    /// Positions of each of four terms, and after which of them a block ends.
    fn lists() -> impl Strategy<Value = Vec<Vec<(u8, bool)>>> {
        prop::collection::vec(prop::collection::vec((0_u8..60, any::<bool>()), 0..40), 4)
    }

    fn fill(store: &Store, lists: &[Vec<(u8, bool)>]) -> Vec<BTreeSet<u64>> {
        let (mut batch, mut sets) = (Batch::new(store), Vec::new());
        for (term, list) in (0..).zip(lists) {
            let set: BTreeSet<u64> = list.iter().map(|(at, _)| u64::from(*at) + 1).collect();
            let ends: BTreeSet<u64> =
                list.iter().filter(|(_, ends)| *ends).map(|(at, _)| u64::from(*at) + 1).collect();
            let mut postings = Postings::default();
            for &at in &set {
                let position = Position::from_raw(at);
                postings.add(Dimension::Label, term, Posting { position, handle: position });
                if ends.contains(&at) {
                    batch.postings(&std::mem::take(&mut postings)).unwrap();
                }
            }
            batch.postings(&postings).unwrap();
            sets.push(set);
        }
        store.commit(batch).unwrap();
        sets
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_unions_have_in_common_is_what_sets_have(lists in lists(), on: bool, past in 0_u64..62, one: bool) {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::create(&dir.path().join("store"), &Tuning::default()).unwrap();
            let sets = fill(&store, &lists);
            let (way, past) = (if on { Way::On } else { Way::Back }, Position::from_raw(past));
            let start = Start { way, past };
            let open = |terms: &[u64]| Union::open(&store, Dimension::Label, terms, start).unwrap();
            let right = if one { vec![2] } else { vec![2, 3] };
            let (replaced, origin) = (Replaced::default(), Position::from_raw(u64::MAX));
            let standing = Standing { replaced: &replaced, origin };
            let mut common = Common::new(vec![open(&[0, 1]), open(&right)], standing);
            // Another walk goes on wherever the first one says how far it is.
            let again = |past| {
                let open = |terms: &[u64]| Union::open(&store, Dimension::Label, terms, Start { way, past }).unwrap();
                Common::new(vec![open(&[0, 1]), open(&right)], standing)
            };
            let left: BTreeSet<u64> = sets[0].union(&sets[1]).copied().collect();
            let both = left.iter().filter(|at| right.iter().any(|&term| sets[usize::try_from(term).unwrap()].contains(at)));
            let mut expected: Vec<u64> =
                both.copied().filter(|&at| if on { at > past.raw() } else { at < past.raw() }).collect();
            if !on {
                expected.reverse();
            }
            let mut seen = Vec::new();
            loop {
                match common.next().unwrap() {
                    Pulled::Version(posting) => seen.push(posting.position.raw()),
                    Pulled::Passed(past) => common = again(past),
                    Pulled::End => break,
                }
            }
            prop_assert_eq!(seen, expected);
        }
    }
}
