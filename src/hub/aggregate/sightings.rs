//! Decides which sightings are counted by what they say: those that the caller
//! may see, of indicators that he may see and that match, newest first.

use rustc_hash::FxHashMap;

use crate::base::clock::{self, Timestamp};
use crate::model::aggregate::Spans;
use crate::model::audience::ClassNo;
use crate::model::position::Position;
use crate::model::query::Question;
use crate::model::sighting::Outcome;
use crate::policy::visibility::Purpose;
use crate::store::keys::Dimension;
use crate::store::posting_blocks::PostingBlocks;
use crate::store::postings::Posting;

use super::super::error::Error;
use super::super::fetch::{self, damaged};
use super::super::query::{Place, Walk};
use super::super::shared::Shared;
use super::super::store_error;
use super::Asked;
use super::tally::Tally;

/// Indicators of which it is remembered whether they match.
const MAX_KNOWN: usize = 100_000;

/// Postings of one term, newest first.
struct Back<'a> {
    blocks: PostingBlocks<'a>,
    /// The newest last.
    ready: Vec<Posting>,
}

impl<'a> Back<'a> {
    fn open(
        shared: &'a Shared,
        dimension: Dimension,
        outcome: Outcome,
        end: Position,
    ) -> Result<Self, Error> {
        let blocks = shared.store.postings_back(dimension, u64::from(outcome.number()), end);
        Ok(Self { blocks: blocks.map_err(store_error)?, ready: Vec::new() })
    }

    /// The next one, which stays.
    fn peek(&mut self) -> Result<Option<Posting>, Error> {
        while self.ready.is_empty() {
            match self.blocks.next_block().map_err(store_error)? {
                Some(block) => self.ready = block,
                None => return Ok(None),
            }
        }
        Ok(self.ready.last().copied())
    }

    fn take(&mut self) -> Result<Option<Posting>, Error> {
        self.peek()?;
        Ok(self.ready.pop())
    }
}

/// Sightings of one outcome, newest first: of which indicators they are, and
/// beside it of which classes.
struct Said<'a> {
    outcome: Outcome,
    indicators: Back<'a>,
    classes: Back<'a>,
}

/// A sighting: where it stands, of which indicator, of which class, and what it
/// says.
#[derive(Debug, Clone, Copy)]
struct One {
    position: Position,
    indicator: Position,
    class: ClassNo,
    outcome: Outcome,
}

impl Said<'_> {
    /// Takes the next one.
    fn take(&mut self) -> Result<Option<One>, Error> {
        let Some(Posting { position, handle }) = self.indicators.take()? else { return Ok(None) };
        let class = self.classes.take()?.filter(|class| class.position == position);
        let class = class.and_then(Posting::number).ok_or_else(|| damaged(position))?;
        Ok(Some(One { position, indicator: handle, class: ClassNo(class), outcome: self.outcome }))
    }
}

/// The span in which sightings lie that come newest first: it is looked for
/// once, and holds for all down to where it begins.
struct SpanOf<'a> {
    shared: &'a Shared,
    spans: Spans,
    /// The span at hand, and the position after which it begins.
    at: Option<(i64, Position)>,
}

impl SpanOf<'_> {
    /// The number of the span; none if the sighting was cut out meanwhile.
    fn number(&mut self, position: Position) -> Result<Option<i64>, Error> {
        if let Some((number, after)) = self.at
            && position > after
        {
            return Ok(Some(number));
        }
        let Some((header, _)) = fetch::kept(self.shared, position)? else { return Ok(None) };
        let calendar = self.spans.calendar;
        let number = calendar.number(Timestamp::from_micros_clamped(header.version));
        let begins = calendar.start(number).as_micros();
        let after = self.shared.store.position_before_time(begins).map_err(store_error)?;
        self.at = Some((number, after));
        Ok(Some(number))
    }
}

/// Goes through the sightings.
pub(super) fn count(asked: &Asked<'_>) -> Result<Tally, Error> {
    let (shared, mut tally) = (asked.shared, Tally::new());
    let before = |at: Timestamp| shared.store.position_before_time(at.as_micros()).map_err(store_error);
    let (after, end) = match asked.spans {
        Some(spans) => (before(spans.start())?, before(spans.end())?.min(asked.origin).next()),
        None => (Position::ZERO, asked.origin.next()),
    };
    let place = Place { origin: asked.origin, past: None };
    let question = Question::new(asked.counting.filter.clone());
    let until = clock::monotonic().checked_add(asked.bounds.time);
    let mut walk = Walk::new(shared, asked.caller, &question, Purpose::Aggregate, place, None)?;
    let mut all = Vec::new();
    for &outcome in Outcome::ALL {
        let indicators = Back::open(shared, Dimension::Outcome, outcome, end)?;
        let classes = Back::open(shared, Dimension::OutcomeClass, outcome, end)?;
        all.push(Said { outcome, indicators, classes });
    }
    let mut span_of = asked.spans.map(|spans| SpanOf { shared, spans, at: None });
    let (mut matching, mut counted) = (FxHashMap::default(), 0);
    while let Some(one) = newest(&mut all)?.filter(|one| one.position > after) {
        if until.is_some_and(|until| clock::monotonic() > until) {
            tally.exact = false;
            break;
        }
        let known = matching.get(&one.indicator).copied();
        let matches = match known {
            Some(matches) => matches,
            None => walk.takes(one.indicator)?,
        };
        if known.is_none() {
            if matching.len() == MAX_KNOWN {
                matching.clear();
            }
            matching.insert(one.indicator, matches);
        }
        // Its class may be newer than what the walk knows.
        walk.renew();
        if !matches || !walk.sees(one.class) {
            continue;
        }
        if counted == asked.bounds.rows {
            tally.exact = false;
            break;
        }
        let span = match &mut span_of {
            Some(span_of) => Some(span_of.number(one.position)?),
            None => None,
        };
        // What was cut out meanwhile is counted no more.
        if span == Some(None) {
            continue;
        }
        counted += 1;
        let span = span.flatten();
        tally.add(span, 1);
        tally.add_to(Some(one.outcome.as_str().to_owned()), span, 1);
    }
    Ok(tally)
}

/// Takes the newest of all.
fn newest(all: &mut [Said<'_>]) -> Result<Option<One>, Error> {
    let mut best: Option<(Position, usize)> = None;
    for (at, said) in all.iter_mut().enumerate() {
        if let Some(next) = said.indicators.peek()?
            && best.is_none_or(|(position, _)| next.position > position)
        {
            best = Some((next.position, at));
        }
    }
    best.and_then(|(_, at)| all.get_mut(at)).map_or(Ok(None), Said::take)
}
