//! Decides where candidates come from, in the order asked for: the log, what
//! postings have in common, an index in order of its terms, or a list that was
//! sorted before.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::model::audience::ClassNo;
use crate::model::position::Position;
use crate::model::query::Order;
use crate::store::chunk::{Chunk, ItemView, Op};
use crate::store::keys::Dimension;
use crate::store::log::Scan;
use crate::store::posting_blocks::PostingBlocks;
use crate::store::postings::Posting;
use crate::store::term_range::{self, TermBlocks};

use super::super::error::Error;
use super::super::fetch::damaged;
use super::super::shared::Shared;
use super::super::store_error;
use super::order::{self, Rank};
use super::stream::{Common, Pulled, Start, Way};

/// A version, or a record, that may be one that was asked for.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) rank: Rank,
    pub(super) posting: Posting,
    /// The chunk that holds it, where that is at hand.
    pub(super) chunk: Option<Chunk>,
    /// Class of its record today, once it is known to stand; `None`: that of
    /// the version.
    pub(super) class_now: Option<ClassNo>,
}

/// Postings that are passed over before it is told how far.
const STRIDE: usize = if cfg!(test) { 8 } else { 16_384 };

/// What a pull brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    /// More may follow past this rank.
    Past(Rank),
    /// Nothing follows.
    End,
}

/// Tells what is not asked for before it is looked at.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'w> {
    /// By its handle.
    pub(super) record: &'w dyn Fn(Position) -> bool,
    /// By a version, where that is at hand.
    pub(super) version: &'w dyn Fn(&ItemView<'_>) -> bool,
}

/// Where candidates come from.
pub(super) enum Source<'a> {
    /// Versions or births as the log holds them.
    Log(Log<'a>),
    /// Versions that are in several lists of postings.
    Common(Common<'a>),
    /// Versions in the order of the terms of a dimension.
    Terms(Box<Terms<'a>>),
    /// Versions that are in several lists, in the order of versions, or in that
    /// of the births of their records and then one of each: the first one stands
    /// last.
    Gathered(Vec<Posting>),
    /// Standing versions, sorted.
    Sorted(VecDeque<Candidate>),
}

impl Source<'_> {
    /// Whether candidates are versions that may have been followed by others.
    /// Those of a list stand; of births only the record is told.
    pub(super) const fn settled(&self) -> bool {
        matches!(self, Self::Sorted(_))
    }

    /// Whether candidates tell of records alone, whichever version stands.
    pub(super) const fn of_records(&self) -> bool {
        matches!(self, Self::Log(Log { births: true, .. }))
    }

    /// Adds about `count` candidates to `out`, of those that are `wanted` as
    /// far as that can be told.
    pub(super) fn pull(
        &mut self,
        order: Order,
        count: usize,
        wanted: Wanted<'_>,
        out: &mut Vec<Candidate>,
    ) -> Result<More, Error> {
        match self {
            Self::Log(log) => log.pull(order, count, wanted, out),
            Self::Terms(terms) => terms.pull(order, count, wanted, out),
            Self::Common(common) => from_common(common, order, count, wanted, out),
            Self::Gathered(postings) => {
                let left = postings.len().saturating_sub(count);
                out.extend(postings.drain(left..).rev().map(|posting| candidate(order, 0, posting)));
                Ok(if postings.is_empty() { More::End } else { past(out) })
            }
            Self::Sorted(all) => {
                let taken = count.min(all.len());
                out.extend(all.drain(..taken));
                Ok(if all.is_empty() { More::End } else { past(out) })
            }
        }
    }
}

const fn candidate(order: Order, term: u64, posting: Posting) -> Candidate {
    let rank = Rank::of(order, term, posting.position, posting.handle);
    Candidate { rank, posting, chunk: None, class_now: None }
}

/// In an order that goes by positions, or for those that do not say what it
/// goes by.
fn from_common(
    common: &mut Common<'_>,
    order: Order,
    count: usize,
    wanted: Wanted<'_>,
    out: &mut Vec<Candidate>,
) -> Result<More, Error> {
    let mut passed = 0;
    while out.len() < count {
        match common.next()? {
            Pulled::Version(posting) => {
                let candidate = candidate(order, order::unsaid(order), posting);
                let rank = candidate.rank;
                if (wanted.record)(posting.handle) {
                    out.push(candidate);
                } else {
                    passed += 1;
                }
                if passed == STRIDE {
                    return Ok(More::Past(rank));
                }
            }
            Pulled::Passed(at) => return Ok(More::Past(Rank::of(order, order::unsaid(order), at, at))),
            Pulled::End => return Ok(More::End),
        }
    }
    Ok(past(out))
}

/// Past the last of them; of none, nothing follows.
fn past(out: &[Candidate]) -> More {
    out.last().map_or(More::End, |last| More::Past(last.rank))
}

/// Chunks of the log on a way.
enum LogChunks<'a> {
    /// Back from this position, as long as they are in memory.
    InMemory(&'a Shared, Position),
    /// All others.
    Stored(Scan<'a>),
}

impl LogChunks<'_> {
    fn next(&mut self) -> Result<Option<Chunk>, Error> {
        let scan = match self {
            Self::Stored(scan) => scan,
            Self::InMemory(shared, at) => {
                let newest = shared.tail.chunk_upto(*at);
                // What is not whole past the base of the log may have been cut.
                if let Some(chunk) = newest.filter(|chunk| chunk.first > shared.history.base().position) {
                    *at = Position::from_raw(chunk.first.raw().saturating_sub(1));
                    return Ok(Some(chunk));
                }
                let mut scan = shared.store.scan_back(*at).map_err(store_error)?;
                let next = scan.next_chunk().map_err(store_error)?;
                *self = Self::Stored(scan);
                return Ok(next);
            }
        };
        scan.next_chunk().map_err(store_error)
    }
}

/// The log, chunk by chunk.
pub(super) struct Log<'a> {
    chunks: LogChunks<'a>,
    start: Start,
    /// Beyond this, nothing is asked for.
    end: Position,
    /// Births alone.
    births: bool,
}

impl<'a> Log<'a> {
    /// From `start` to `end`, which is part of it.
    pub(super) fn open(shared: &'a Shared, start: Start, end: Position, births: bool) -> Result<Self, Error> {
        let chunks = match start.way {
            Way::Back => LogChunks::InMemory(shared, Position::from_raw(start.past.raw().saturating_sub(1))),
            Way::On => LogChunks::Stored(shared.store.scan(start.past).map_err(store_error)?),
        };
        Ok(Self { chunks, start, end, births })
    }

    fn within(&self, at: Position) -> bool {
        match self.start.way {
            Way::Back => at < self.start.past && at >= self.end,
            Way::On => at > self.start.past && at <= self.end,
        }
    }

    fn pull(
        &mut self,
        order: Order,
        count: usize,
        wanted: Wanted<'_>,
        out: &mut Vec<Candidate>,
    ) -> Result<More, Error> {
        let mut last = None;
        // Chunks without a candidate are passed over, but not too many at once.
        for _ in 0..count.max(1) {
            let Some(chunk) = self.chunks.next()? else { return Ok(More::End) };
            let view = chunk.view().ok_or_else(|| damaged(chunk.first))?;
            let (first, from) = (chunk.first, out.len());
            if (self.start.way == Way::On && first > self.end)
                || (self.start.way == Way::Back && view.last_position() < self.end)
            {
                return Ok(More::End);
            }
            let may_be = if self.births { Op::is_birth } else { Op::is_version };
            for item in view.items_of(may_be) {
                let item = item.ok_or_else(|| damaged(first))?;
                // What stands of a record tells nothing of how it was born.
                let may_be = self.births || (wanted.version)(&item);
                if !may_be || !self.within(item.position) {
                    continue;
                }
                let posting = Posting { position: item.position, handle: item.header.handle };
                out.push(Candidate {
                    chunk: Some(chunk.clone()),
                    ..candidate(order, order::unsaid(order), posting)
                });
            }
            let edge = match self.start.way {
                Way::Back => {
                    out.get_mut(from..).unwrap_or_default().reverse();
                    first
                }
                Way::On => view.last_position(),
            };
            last = Some(Rank::of(order, order::unsaid(order), edge, edge));
            if out.len() >= count {
                break;
            }
        }
        Ok(last.map_or(More::End, More::Past))
    }
}

/// Which postings of an index are walked.
#[derive(Debug)]
pub(super) struct Only {
    /// Of these terms.
    pub(super) terms: Option<RangeInclusive<u64>>,
    /// Of versions after this position.
    pub(super) after: Position,
    /// Of versions below this one.
    pub(super) before: Position,
    /// Of versions that stand at one of these, which are sorted; `None`: of all.
    pub(super) at: Option<Vec<Position>>,
}

impl Only {
    fn holds(&self, position: Position) -> bool {
        position > self.after && self.at.as_ref().is_none_or(|at| at.binary_search(&position).is_ok())
    }
}

/// An index in the order of its terms, of each term the newest versions first;
/// then what says nothing, which it does not hold.
pub(super) struct Terms<'a> {
    only: Only,
    /// What is left of the term at which the walk begins.
    first: Option<(u64, PostingBlocks<'a>)>,
    blocks: Option<TermBlocks<'a>>,
    block: Vec<Candidate>,
    /// The newest first.
    unsaid: Option<Box<Source<'a>>>,
}

impl<'a> Terms<'a> {
    /// In a dimension, from past `after` in an order; what comes of `unsaid`
    /// last is to be asked whether it says nothing.
    pub(super) fn open(
        shared: &'a Shared,
        (order, dimension): (Order, Dimension),
        after: Option<Rank>,
        only: Only,
        unsaid: Option<Source<'a>>,
    ) -> Result<Self, Error> {
        let first = match after.filter(|rank| !rank.is_unsaid()) {
            None => None,
            Some(rank) => {
                let (at, bucket) = rank.parts(order);
                let (term, at) = (order::term(order, bucket), at.min(only.before));
                Some((term, shared.store.postings_back(dimension, term, at).map_err(store_error)?))
            }
        };
        let way = if order::falls(order) { term_range::Way::Down } else { term_range::Way::Up };
        let blocks = match order::terms_past(order, after.map(Rank::bucket)) {
            None => None,
            Some(terms) => {
                let (least, most) = only.terms.clone().unwrap_or(0..=u64::MAX).into_inner();
                let terms = least.max(*terms.start())..=most.min(*terms.end());
                Some(shared.store.postings_in(dimension, terms, way, only.before).map_err(store_error)?)
            }
        };
        Ok(Self { only, first, blocks, block: Vec::new(), unsaid: unsaid.map(Box::new) })
    }

    fn next_block(&mut self) -> Result<Option<(u64, Vec<Posting>)>, Error> {
        if let Some((term, blocks)) = &mut self.first {
            if let Some(block) = blocks.next_block().map_err(store_error)? {
                return Ok(Some((*term, block)));
            }
            self.first = None;
        }
        if let Some(blocks) = &mut self.blocks {
            if let Some(found) = blocks.next_block().map_err(store_error)? {
                return Ok(Some(found));
            }
            self.blocks = None;
        }
        Ok(None)
    }

    fn pull(
        &mut self,
        order: Order,
        count: usize,
        wanted: Wanted<'_>,
        out: &mut Vec<Candidate>,
    ) -> Result<More, Error> {
        let mut passed = 0;
        while out.len() < count {
            if let Some(candidate) = self.block.pop() {
                out.push(candidate);
                continue;
            }
            if passed > STRIDE && !out.is_empty() {
                break;
            }
            let Some((term, block)) = self.next_block()? else {
                return match &mut self.unsaid {
                    // What is said comes first, whatever was pulled of it.
                    Some(_) if !out.is_empty() => Ok(past(out)),
                    Some(unsaid) => unsaid.pull(order, count, wanted, out),
                    None => Ok(More::End),
                };
            };
            passed += block.len();
            let oldest = block.first().copied();
            // The newest stands last, and is taken first.
            let held = block.into_iter().filter(|posting| self.only.holds(posting.position));
            self.block = held.map(|posting| candidate(order, term, posting)).collect();
            if let Some(oldest) = oldest.filter(|_| self.block.is_empty() && passed > STRIDE) {
                return Ok(More::Past(Rank::of(order, term, oldest.position, oldest.handle)));
            }
        }
        Ok(past(out))
    }
}
