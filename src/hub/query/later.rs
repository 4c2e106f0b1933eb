//! Decides when a walk that reads much and meets little goes over to what a
//! range of terms holds, gathered whole: how dense in the order that lies which
//! is asked for nobody knows before, and to gather a wide range costs as much as
//! to read some thousands of versions.

use std::ops::RangeInclusive;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::super::error::Error;
use super::super::store_error;
use super::beside::{self, range_of};
use super::lists::List;
use super::order::{self, Rank};
use super::plan::bounds;
use super::source::Source;
use super::stream::Way;
use super::walk::Walk;
use super::ways;

/// Times that candidates are taken before the range is gathered; of fewer in
/// the tests.
const PULLS: usize = if cfg!(test) { 2 } else { 8 };
/// Most postings that are gathered, of lists or of a range.
const MAX_GATHERED: u64 = 1 << 19;
/// Walks that gather so much at once, of all that are under way: each takes some
/// tens of megabytes for it.
pub const AT_ONCE: usize = 4;
/// Versions that are read without going through the range for them.
const FEW: usize = if cfg!(test) { 4 } else { 1_024 };

/// What is gathered later, if it comes to that.
#[derive(Debug)]
pub(super) struct Later {
    /// The lists that are walked until then; perhaps the range alone.
    lists: Vec<List>,
    pulls: usize,
}

impl Later {
    /// For a walk along lists, one of which is a range, or beside one.
    pub(super) fn of(walk: &Walk<'_>, lists: &[List]) -> Option<Self> {
        let alone = matches!(lists, [one] if range_of(one).is_some());
        let range = alone || (walk.beside.is_some() && !lists.is_empty());
        (range && walk.order.by_version() && walk.among.is_none())
            .then(|| Self { lists: lists.to_vec(), pulls: 0 })
    }
}

/// Whether a range is one of those that tests take for a heavy one: their
/// stores have no tables to weigh.
pub(super) const fn is_tested(range: &RangeInclusive<u64>) -> bool {
    cfg!(test) && *range.start() % 8 == 6
}

/// What to go on with past a rank, once it is time to gather; `None`: the walk
/// goes on, for it is not, or that is too much.
pub(super) fn gathered<'a>(walk: &mut Walk<'a>, past: Option<Rank>) -> Result<Option<Source<'a>>, Error> {
    let Some(later) = &mut walk.later else { return Ok(None) };
    later.pulls += 1;
    if later.pulls != PULLS {
        return Ok(None);
    }
    let Some(Later { lists, .. }) = walk.later.take() else { return Ok(None) };
    // Where others gather, the walk goes on: it takes longer, and no room.
    let Ok(place) = Arc::clone(&walk.shared.gathering).try_acquire_owned() else { return Ok(None) };
    let (mut after, mut upto) = bounds(walk);
    if let Some((at, _)) = past.map(|past| past.parts(walk.order)) {
        match order::way(walk.order) {
            Way::Back => upto = upto.min(at),
            Way::On => after = after.max(at),
        }
    }
    let alone = matches!(lists.as_slice(), [one] if range_of(one).is_some());
    let range = if alone { lists.first() } else { walk.beside.as_ref() };
    let Some((dimension, terms)) = range.and_then(range_of) else { return Ok(None) };
    let about = walk.shared.store.postings_about(dimension, terms).map_err(store_error)?;
    if about > MAX_GATHERED {
        return Ok(None);
    }
    let found = if alone {
        beside::whole(walk, (dimension, terms), (after, upto), MAX_GATHERED)?
    } else {
        let most = usize::try_from(MAX_GATHERED).unwrap_or(usize::MAX);
        let Some(mut all) = ways::in_common(walk, &lists, (after, upto), most)? else { return Ok(None) };
        if all.len() > FEW {
            let wanted: FxHashSet<_> = all.iter().map(|posting| posting.position).collect();
            let held = beside::held(walk, (dimension, terms), upto, &wanted)?;
            let Some(held) = held else { return Ok(None) };
            all.retain(|posting| held.contains(&posting.position));
        }
        Some(all)
    };
    Ok(found.map(|postings| {
        walk.place = Some(place);
        ways::gathered(walk, postings, past)
    }))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::{Place, Row, Walk};
    use crate::base::clock::Timestamp;
    use crate::hub::caller::Caller;
    use crate::hub::shared::Shared;
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

    /// The values that answer, page by page.
    fn walked(shared: &Shared, caller: &Caller, question: &Question) -> Vec<String> {
        let (mut found, mut past) = (Vec::new(), None);
        loop {
            let place = Place { origin: shared.tail.committed(), past };
            let mut walk = Walk::new(shared, caller, question, Purpose::Search, place, None).unwrap();
            let page: Vec<_> = std::iter::from_fn(|| walk.next_row().unwrap()).take(7).collect();
            let value = |row: &Row| facts::values(&row.body).unwrap().value.to_string();
            found.extend(page.iter().map(value));
            match page.last() {
                Some(last) => past = Some(walk.behind(last)),
                None => return found,
            }
        }
    }

    #[tokio::test]
    async fn a_range_that_is_gathered_late_gives_what_a_walk_would_in_pages_and_either_way() {
        let (_dir, hub, caller) = testing::hub(&["a"]);
        // Some are of the range, few in a row, and most of another time.
        let seen = |number: u64| if number % 40 < 9 { number * 7 % 2_000 } else { 5_000 + number };
        let carries = |number: u64| number.is_multiple_of(3);
        let draft = |number: u64| Draft {
            last_seen: Some(days(seen(number))),
            labels: if carries(number) { vec!["c2".to_owned()] } else { vec![] },
            ..Draft::new(
                normalise::detect(&format!("n{number}.example")).unwrap().observable,
                Marking::open(Tlp::Green),
            )
        };
        for some in (0..400).collect::<Vec<_>>().chunks(50) {
            let drafts = some.iter().map(|number| Ok(draft(*number))).collect();
            let done = hub.publish(&caller, Uuid::new_v4(), drafts).await.unwrap();
            assert!(done.iter().all(Result::is_ok));
        }
        hub.shared.index.reached(hub.shared.tail.committed()).await;
        for first in 0..8 {
            for labels in [vec![], vec!["c2".to_owned()]] {
                for order in [Order::ModifiedNewest, Order::ModifiedOldest] {
                    let last_seen = Span { from: Some(days(first)), to: Some(days(2_000)) };
                    let filter =
                        IndicatorFilter { last_seen, labels: labels.clone(), ..IndicatorFilter::default() };
                    let question = Question { order, ..Question::new(filter) };
                    let found = walked(&hub.shared, &caller, &question);
                    let gathering = hub.shared.gathering.acquire_many(4).await.unwrap();
                    assert_eq!(walked(&hub.shared, &caller, &question), found, "no place is left");
                    drop(gathering);
                    let asked = |number: &u64| {
                        (first..2_000).contains(&seen(*number)) && (labels.is_empty() || carries(*number))
                    };
                    let mut expected: Vec<_> =
                        (0..400).filter(asked).map(|number| format!("n{number}.example")).collect();
                    if order == Order::ModifiedNewest {
                        expected.reverse();
                    }
                    assert_eq!(found, expected, "{first} {labels:?} {order:?}");
                }
            }
        }
        hub.close().await;
    }
}
