//! Decides how a range of terms is gone through whole: by itself, or beside
//! lists that are walked, of whose versions it tells which are worth reading.

use std::ops::RangeInclusive;

use rustc_hash::FxHashSet;

use crate::model::position::Position;
use crate::store::keys::Dimension;
use crate::store::postings::Posting;

use super::super::error::Error;
use super::super::store_error;
use super::later;
use super::lists::List;
use super::stream::{Start, Way};
use super::walk::Walk;
use super::ways::{MAX_LOOKED, common, is_late, standing};

/// Nanoseconds that it takes about, if little of it is in memory: to read a
/// version, to come to a block of postings, and to unpack one of them.
const READ: u64 = 15_000;
const BLOCK: u64 = 1_000;
const POSTING: u64 = 10;
/// Blocks of a term that are not merged yet, about.
const BLOCKS: u64 = 20;
/// Most nanoseconds for a range before anything was read: see also
/// [`super::later`].
const MAX_BESIDE: u64 = 5_000_000;

/// How two ways to the same versions are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    /// The range is gathered, and each looked for in the lists.
    RangeFirst,
    /// The lists are gathered, and the range gone through for them.
    ListsFirst,
}

/// The one list, if it is that of a range of terms.
pub(super) fn of_range(lists: &[List]) -> Option<(Dimension, &RangeInclusive<u64>)> {
    match lists {
        [one] => range_of(one),
        _ => None,
    }
}

/// The range of terms of a list, if it is one.
pub(super) fn range_of(list: &List) -> Option<(Dimension, &RangeInclusive<u64>)> {
    list.range.as_ref().map(|range| (list.dimension, range))
}

/// How what the lists have in common with the range beside them is gathered
/// before any of it is read, and what it takes to go through what comes second, if
/// that is a range; `None`: more than it saves.
fn join(walk: &Walk<'_>, lists: &[List]) -> Result<Option<(Join, u64)>, Error> {
    let Some((dimension, range)) = walk.beside.as_ref().and_then(range_of) else { return Ok(None) };
    let store = &walk.shared.store;
    let beside = store.postings_about(dimension, range).map_err(store_error)?;
    let mut least = u64::MAX;
    for list in lists {
        let known = match (&list.range, list.terms.as_deref()) {
            (Some(range), None) => Some(range.clone()),
            (_, Some([term])) => Some(*term..=*term),
            _ => None,
        };
        let about = match (list.expected, known) {
            (Some(expected), _) => expected,
            (None, Some(terms)) => store.postings_about(list.dimension, &terms).map_err(store_error)?,
            (None, None) => u64::MAX,
        };
        least = least.min(about);
    }
    // Tests, whose stores have no tables to weigh, see all ways.
    if later::is_tested(range) {
        return Ok(None);
    }
    if cfg!(test) && range.start().is_multiple_of(2) {
        return Ok(Some((Join::ListsFirst, 0)));
    }
    let cost = weight(beside, range);
    let light = MAX_LOOKED as u64;
    Ok(if beside <= least.min(light) {
        Some((Join::RangeFirst, of_range(lists).map_or(0, |(_, other)| weight(least, other))))
    } else if least <= light / 2 && cost <= least.saturating_mul(READ).min(MAX_BESIDE) {
        Some((Join::ListsFirst, cost))
    } else {
        None
    })
}

/// Whether it pays to gather what the lists have in common with the range beside
/// them.
pub(super) fn helps(walk: &Walk<'_>, lists: &[List]) -> Result<bool, Error> {
    join(walk, lists).map(|join| join.is_some())
}

/// The versions up to `upto` and after `after` that lie in the lists and in the
/// range beside them; `None`: there is none, or it is not gone through.
pub(super) fn gather(
    walk: &Walk<'_>,
    lists: &[List],
    (after, upto): (Position, Position),
    gathered: impl FnOnce() -> Result<Option<Vec<Posting>>, Error>,
) -> Result<Option<Vec<Posting>>, Error> {
    let Some(range) = walk.beside.as_ref().and_then(range_of) else { return gathered() };
    match join(walk, lists)? {
        Some((Join::RangeFirst, cost)) => {
            let Some(all) = whole(walk, range, (after, upto), MAX_LOOKED as u64)? else {
                return gathered();
            };
            match of_range(lists) {
                Some(other) => through(walk, other, upto, all, cost).map(Some),
                None => looked_for(walk, lists, upto, all),
            }
        }
        Some((Join::ListsFirst, cost)) => {
            let Some(all) = gathered()? else { return Ok(None) };
            through(walk, range, upto, all, cost).map(Some)
        }
        None => gathered(),
    }
}

/// Those of some versions that the lists hold, each of which has terms; `None`:
/// that takes too long.
fn looked_for(
    walk: &Walk<'_>,
    lists: &[List],
    upto: Position,
    mut all: Vec<Posting>,
) -> Result<Option<Vec<Posting>>, Error> {
    let mut common = common(walk, lists, Start { way: Way::Back, past: upto.next() })?;
    let mut kept = Vec::new();
    while let Some(posting) = all.pop() {
        if is_late(walk, all.len()) {
            return Ok(None);
        }
        if common.holds(posting.position)? {
            kept.push(posting);
        }
    }
    Ok(Some(kept))
}

/// Those of some versions that a range holds; all of them, where to go through it
/// costs more than to read them, of which there may be fewer than were expected.
fn through(
    walk: &Walk<'_>,
    range: (Dimension, &RangeInclusive<u64>),
    upto: Position,
    mut all: Vec<Posting>,
    cost: u64,
) -> Result<Vec<Posting>, Error> {
    if cost > READ.saturating_mul(all.len() as u64) {
        return Ok(all);
    }
    let wanted: FxHashSet<_> = all.iter().map(|posting| posting.position).collect();
    if let Some(held) = held(walk, range, upto, &wanted)? {
        all.retain(|posting| held.contains(&posting.position));
    }
    Ok(all)
}

/// Nanoseconds to go through a range of terms that holds about so many postings.
fn weight(about: u64, range: &RangeInclusive<u64>) -> u64 {
    let terms = range.end().saturating_sub(*range.start()).saturating_add(1);
    let blocks = about.min(terms.saturating_mul(BLOCKS));
    blocks.saturating_mul(BLOCK).saturating_add(about.saturating_mul(POSTING))
}

/// Which of some versions up to `upto`, which may stand, a range holds; `None`:
/// that takes too long.
pub(super) fn held(
    walk: &Walk<'_>,
    range: (Dimension, &RangeInclusive<u64>),
    upto: Position,
    wanted: &FxHashSet<Position>,
) -> Result<Option<FxHashSet<Position>>, Error> {
    let mut held = FxHashSet::default();
    let done = each_block(walk, range, upto, u64::MAX, |block| {
        held.extend(block.iter().map(|posting| posting.position).filter(|at| wanted.contains(at)));
    })?;
    Ok(done.then_some(held))
}

/// All versions of a range after one position and up to another that may stand,
/// in their order; `None`: there are more than `most`.
pub(super) fn whole(
    walk: &Walk<'_>,
    range: (Dimension, &RangeInclusive<u64>),
    (after, upto): (Position, Position),
    most: u64,
) -> Result<Option<Vec<Posting>>, Error> {
    let mut all = Vec::new();
    let done = each_block(walk, range, upto, most, |block| {
        standing(walk).retain(block, after);
        all.append(block);
    })?;
    // A version may have several of the terms.
    all.sort_unstable();
    all.dedup();
    Ok(done.then_some(all))
}

/// Hands on each block of a range; whether that was all of it, and no more than
/// `most` postings.
fn each_block(
    walk: &Walk<'_>,
    (dimension, range): (Dimension, &RangeInclusive<u64>),
    upto: Position,
    most: u64,
    mut take: impl FnMut(&mut Vec<Posting>),
) -> Result<bool, Error> {
    let store = &walk.shared.store;
    let mut blocks = store.all_postings_in(dimension, range.clone(), upto.next()).map_err(store_error)?;
    let mut looked = 0;
    while let Some(mut block) = blocks.next_block().map_err(store_error)? {
        looked += block.len() as u64;
        take(&mut block);
        if looked > most || is_late(walk, 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::{Place, Walk};
    use crate::base::clock::Timestamp;
    use crate::hub::testing;
    use crate::model::indicator::{Draft, normalise};
    use crate::model::marking::{Marking, Tlp};
    use crate::model::query::{IndicatorFilter, Order, Question, Span};
    use crate::policy::visibility::Purpose;
    use crate::wire::facts;

    const DAY: u64 = 86_400_000_000;

    fn days(number: u64) -> Timestamp {
        Timestamp::from_micros_clamped((16_000 + number) * DAY)
    }

    #[tokio::test]
    async fn of_two_ranges_neither_of_which_is_walked_what_lies_in_both_is_found() {
        let (_dir, hub, caller) = testing::hub(&["a"]);
        let draft = |number: u64| Draft {
            first_seen: Some(days(number)),
            last_seen: Some(days(100 + number % 10)),
            ..Draft::new(
                normalise::detect(&format!("n{number}.example")).unwrap().observable,
                Marking::open(Tlp::Green),
            )
        };
        let drafts = (0..40).map(|number| Ok(draft(number))).collect();
        let done = hub.publish(&caller, Uuid::new_v4(), drafts).await.unwrap();
        assert!(done.iter().all(Result::is_ok));
        hub.shared.index.reached(hub.shared.tail.committed()).await;
        // From an odd day on, the range beside is the first to be gathered.
        let until = |number| Span { from: Timestamp::from_micros(DAY), to: Some(days(number)) };
        let between = |first| Span { from: Some(days(first)), to: Some(days(105)) };
        for last_seen in [until(105), between(0), between(1), between(2), between(3)] {
            for order in Order::ALL.iter().copied() {
                let filter =
                    IndicatorFilter { first_seen: until(20), last_seen, ..IndicatorFilter::default() };
                let question = Question { order, ..Question::new(filter) };
                let place = Place { origin: hub.shared.tail.committed(), past: None };
                let mut walk =
                    Walk::new(&hub.shared, &caller, &question, Purpose::Search, place, None).unwrap();
                let rows = std::iter::from_fn(|| walk.next_row().unwrap());
                let mut found: Vec<_> =
                    rows.map(|row| facts::values(&row.body).unwrap().value.to_string()).collect();
                found.sort_unstable();
                let mut expected: Vec<_> = (0..20)
                    .filter(|number| number % 10 < 5)
                    .map(|number| format!("n{number}.example"))
                    .collect();
                expected.sort_unstable();
                assert_eq!(found, expected, "{last_seen:?} {order:?}");
            }
        }
        hub.close().await;
    }
}
