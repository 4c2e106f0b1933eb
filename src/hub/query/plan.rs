//! Decides from which index a question is answered: from the values that it
//! names, from what postings have in common, from an index in the order asked
//! for, or from the log; and tells it.
//!
//! What is told is the plan as it is made of the question and of the counters of
//! what the caller may see. What is hidden may lie in the way of it: then
//! another way is taken to the same rows in the same order, and not a word is
//! said of it.

use std::collections::VecDeque;

use super::super::error::Error;
use super::among::MAX_KNOWN;
use super::check::Conditions;
use super::held;
use super::lists::{self, List};
use super::order::{self, Rank};
use super::sighted_by;
use super::source::Source;
use super::stream::Way;
use super::value;
use super::walk::Walk;
use super::ways;
use crate::model::indicator::State;
use crate::model::position::Position;

/// Most lists of postings of which the common part is taken.
const MAX_LISTS: usize = 4;
/// Most terms of all of them: each is sought by itself, and kept open.
const MAX_OPENED: usize = lists::MAX_TERMS;
/// Most terms of a list that is gone through beside another.
const MAX_LEAPT: usize = 16;
/// A list with more than one in so many of all records tells little.
const FULL: u64 = 3;
/// A list so many times as long as another is not gone through beside it.
const FAR: u64 = 512;

/// From when on a row counts as found: what found it may be a version or a
/// sighting that the caller may not see, and is not to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Found {
    /// Once its header matches.
    #[default]
    Headed,
    /// Once what it says matches.
    Said,
    /// Once it was sighted so.
    Sighted,
}

/// Rows that were found, step by step; of what the caller may see alone.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) header: u64,
    pub(super) body: u64,
    pub(super) sighted: u64,
    pub(super) rows: u64,
}

/// How an answer is found.
#[derive(Debug, Clone, Default)]
pub(super) struct Plan {
    steps: Vec<String>,
    expected: Option<u64>,
    pub(super) found: Found,
}

/// One step of a plan, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it does.
    pub text: String,
    /// Records that it was expected to find, where the hub keeps count.
    pub expected: Option<u64>,
    /// Records that it found.
    pub rows: u64,
}

impl Plan {
    fn of(step: impl Into<String>, found: Found) -> Self {
        Self { steps: vec![step.into()], expected: None, found }
    }

    fn sorted(mut self, walk: &Walk<'_>) -> Self {
        self.steps.push(format!("sort them by {}", walk.order.as_str()));
        self
    }

    /// What is told of it.
    pub(super) fn told(&self, asked: &Conditions, except: bool, tally: Tally) -> Vec<Step> {
        let step = |text: &str, rows| Step { text: text.to_owned(), expected: None, rows };
        let mut told: Vec<_> = self.steps.iter().map(|text| step(text, tally.header)).collect();
        if let Some(first) = told.first_mut() {
            first.expected = self.expected;
        }
        if asked.ask_body() {
            told.push(step("read what each says", tally.body));
        }
        if asked.sightings.is_some() {
            told.push(step("look at the sightings of each", tally.sighted));
        }
        if except {
            told.push(step("leave out what was excepted", tally.rows));
        }
        told
    }
}

/// Where versions, or births, lie that may be asked for: after one position,
/// up to another.
pub(super) fn bounds(walk: &Walk<'_>) -> (Position, Position) {
    let Conditions { versions, births, .. } = &walk.asked;
    let upto = versions.upto.min(walk.origin.at);
    if order::by_birth(walk.order) {
        (births.after, upto.min(births.upto))
    } else {
        (versions.after.max(births.after), upto)
    }
}

/// The last rank that may be asked for, where the order tells one.
pub(super) fn last(walk: &Walk<'_>) -> Option<Rank> {
    let (after, upto) = bounds(walk);
    if order::dimension(walk.order).is_some() {
        return None;
    }
    let end = match order::way(walk.order) {
        Way::Back => after.next(),
        Way::On => upto,
    };
    Some(Rank::of(walk.order, 0, end, end))
}

/// Chooses where candidates come from.
pub(super) fn choose<'a>(walk: &mut Walk<'a>, past: Option<Rank>) -> Result<(Source<'a>, Plan), Error> {
    let lists = lists::of(walk.shared, &walk.asked, &walk.sight)?;
    let nothing = is_nothing(walk, &lists);
    let (lists, plan) = chosen(walk, lists);
    let (lists, beside) = lists;
    walk.beside = beside;
    let (lead, plan) = lead(walk, plan);
    if nothing {
        return Ok((Source::Sorted(VecDeque::new()), plan));
    }
    let source = match lead {
        Lead::Values => {
            let bounds = value::Bounds {
                indexed: walk.indexed,
                origin: walk.origin.at,
                most: MAX_KNOWN,
                until: walk.planned_by,
            };
            match value::find(walk.shared, &mut walk.sight, &walk.asked.filter, bounds)? {
                Some((records, true)) if ways::may_stand(walk, &records) => {
                    ways::gathered(walk, records, past)
                }
                found => ways::of_records(walk, found.map(|(records, _)| records), &lists, past)?,
            }
        }
        Lead::Sightings => {
            let found = if walk.indexed { sighted_by::records(walk)? } else { None };
            ways::of_births(walk, found, past)?
        }
        Lead::Order if lists.is_empty() => held::held(walk, past)?,
        Lead::Order => ways::in_order(walk, &lists, past)?,
    };
    Ok((source, plan))
}

/// What leads to the records asked for.
enum Lead {
    Values,
    Sightings,
    /// The order, along lists or along all there is.
    Order,
}

fn lead(walk: &Walk<'_>, plan: Option<Plan>) -> (Lead, Plan) {
    if value::can(&walk.asked.filter) {
        let text = "find the records of the values asked for, by their keys";
        return (Lead::Values, Plan::of(text, Found::Said).sorted(walk));
    }
    if let Some(plan) = plan {
        return (Lead::Order, plan);
    }
    if walk.asked.sightings.is_some() {
        let text = "find the records that were sighted so, by the postings of sightings";
        return (Lead::Sightings, Plan::of(text, Found::Sighted).sorted(walk));
    }
    let text = match order::dimension(walk.order) {
        Some(_) => format!("walk the index of {} in its order", walk.order.as_str()),
        None if walk.order.by_version() => "walk the log".to_owned(),
        None => "walk the log by first versions".to_owned(),
    };
    (Lead::Order, Plan::of(text, Found::Headed))
}

/// Whether the counters say that of some list the caller may see nothing. Then
/// its postings are not looked at: all that they name is hidden, and how long
/// that takes, or that it takes more than a page, would tell how much it is.
///
/// Counters say so only of what they count. That is what is active, and neither
/// what was revoked nor what expired; what they have come to, and nothing behind
/// that; and what stands now, of what may be seen today, and not what stood at a
/// moment that was asked about or when an earlier page was shown. For a walk that
/// begins now, what stands now may be what came an instant after it began. What
/// is counted of a class that the roster at hand does not know would seem hidden:
/// then they say nothing.
fn is_nothing(walk: &Walk<'_>, lists: &[List]) -> bool {
    lists.iter().any(|list| list.expected == Some(0))
        && walk.asked.filter.states == [State::Active]
        && walk.indexed
        && walk.sight.is_of_today(walk.shared)
}

/// The lists that are walked, and one of the ranges that are not.
type Chosen = (Vec<List>, Option<List>);

/// The lists of postings whose common part is taken, and the plan to do so,
/// with how many records are expected in it, if that is known. One that holds
/// most of all there is tells little, and is left to the headers.
fn chosen(walk: &Walk<'_>, mut lists: Vec<List>) -> (Chosen, Option<Plan>) {
    // An index that is walked in its order is walked where it is asked for.
    lists.retain(|list| order::dimension(walk.order) != Some(lists::ordered(list.dimension)));
    if lists.is_empty() {
        return ((lists, None), None);
    }
    let total = lists::total(walk.shared, &walk.sight);
    let least = lists.iter().filter_map(|list| list.expected).min();
    lists.retain(|list| match list.expected {
        None => true,
        // Far more than the least of them: each is passed over by its header.
        Some(expected) => {
            total.is_none_or(|total| expected <= total / FULL)
                && least.is_none_or(|least| expected <= least.saturating_mul(FAR).max(FAR))
        }
    });
    // To leap in a list of many terms is to leap in each of them.
    let narrow = |list: &List| list.few(MAX_LEAPT).is_some();
    if lists.iter().any(|list| list.range.is_none() && narrow(list)) {
        lists.retain(|list| list.range.is_some() || narrow(list));
    }
    lists.sort_by_key(|list| list.expected.unwrap_or(u64::MAX));
    lists.truncate(MAX_LISTS);
    // How many terms of a range are stored is not to be told by what is named.
    leave_widest(&mut lists, |list| list.range.is_none());
    let plan = plan(walk, &lists, least);
    // What of it is walked may depend on what is stored.
    lists.retain(|list| walk.indexed || !list.dimension.is_behind());
    let mut ranges: Vec<_> = lists.iter().filter(|list| list.range.is_some()).cloned().collect();
    if lists.iter().any(|list| list.terms.is_some()) {
        lists.retain(|list| list.terms.is_some());
    }
    // A range is walked by itself.
    lists.truncate(if lists.iter().any(|list| list.terms.is_none()) { 1 } else { MAX_LISTS });
    if lists.iter().any(narrow) {
        lists.retain(narrow);
    }
    leave_widest(&mut lists, |list| list.range.is_some());
    let is = |list: &List, range: &List| (list.dimension, &list.range) == (range.dimension, &range.range);
    ranges.retain(|range| !lists.iter().any(|list| is(list, range)));
    ((lists, ranges.pop()), plan)
}

/// Leaves out the widest of `those` lists, one by one, until there are no more
/// than [`MAX_OPENED`] terms in those that are left and in whatever is no range,
/// or there is one list alone.
/// What was left out is looked for in each record.
fn leave_widest(lists: &mut Vec<List>, those: impl Fn(&List) -> bool) {
    let width = |list: &List| list.terms.as_ref().map_or(0, Vec::len);
    loop {
        let known = lists.iter().filter(|list| list.range.is_none() || those(list));
        if lists.len() == 1 || known.map(width).sum::<usize>() <= MAX_OPENED {
            return;
        }
        let wide = lists.iter().enumerate().filter(|(_, list)| those(list));
        let Some((widest, _)) = wide.max_by_key(|(_, list)| width(list)) else { return };
        lists.remove(widest);
    }
}

fn plan(walk: &Walk<'_>, lists: &[List], expected: Option<u64>) -> Option<Plan> {
    let names: Vec<_> = lists.iter().map(|list| list.name).collect();
    let text = match names.as_slice() {
        [] => return None,
        [one] => format!("walk the postings of {one}"),
        all => format!("take what the postings of these have in common: {}", all.join(", ")),
    };
    // What is found by a word or a host, and the like, is to say so itself.
    let found = if walk.asked.ask_body() { Found::Said } else { Found::Headed };
    let plan = Plan { expected, ..Plan::of(text, found) };
    Some(if walk.order.by_version() { plan } else { plan.sorted(walk) })
}
