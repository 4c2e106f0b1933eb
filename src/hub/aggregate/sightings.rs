//! Decides which sightings are counted by what they say: those that the caller
//! may see, of indicators that he may see and that match, newest first.

use rustc_hash::FxHashMap;

use crate::base::clock::{self, Timestamp};
use crate::model::position::Position;
use crate::model::query::Question;
use crate::model::sighting::Outcome;
use crate::policy::visibility::Purpose;
use crate::store::chunk::Op;
use crate::store::keys::Dimension;
use crate::store::posting_blocks::PostingBlocks;
use crate::store::postings::Posting;

use super::super::error::Error;
use super::super::fetch;
use super::super::query::{Place, Walk};
use super::super::store_error;
use super::Asked;
use super::tally::Tally;

/// Indicators of which it is remembered whether they match.
const MAX_KNOWN: usize = 100_000;

/// Sightings of one outcome, newest first.
struct Said<'a> {
    outcome: Outcome,
    blocks: PostingBlocks<'a>,
    /// The newest last.
    ready: Vec<Posting>,
}

impl Said<'_> {
    /// The next one, which stays.
    fn next(&mut self) -> Result<Option<Posting>, Error> {
        while self.ready.is_empty() {
            match self.blocks.next_block().map_err(store_error)? {
                Some(block) => self.ready = block,
                None => return Ok(None),
            }
        }
        Ok(self.ready.last().copied())
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
        let blocks = shared.store.postings_back(Dimension::Outcome, u64::from(outcome.number()), end);
        all.push(Said { outcome, blocks: blocks.map_err(store_error)?, ready: Vec::new() });
    }
    let (mut matching, mut counted) = (FxHashMap::default(), 0);
    while let Some((outcome, posting)) = newest(&mut all)?.filter(|(_, posting)| posting.position > after) {
        if until.is_some_and(|until| clock::monotonic() > until) {
            tally.exact = false;
            break;
        }
        let known = matching.get(&posting.handle).copied();
        let matches = match known {
            Some(matches) => matches,
            None => walk.takes(posting.handle)?,
        };
        if known.is_none() {
            if matching.len() == MAX_KNOWN {
                matching.clear();
            }
            matching.insert(posting.handle, matches);
        }
        let Some(recorded) = seen(asked, &mut walk, posting)?.filter(|_| matches) else { continue };
        if counted == asked.bounds.rows {
            tally.exact = false;
            break;
        }
        counted += 1;
        let span = asked.spans.map(|spans| spans.calendar.number(recorded));
        tally.add(span, 1);
        tally.add_to(Some(outcome.as_str().to_owned()), span, 1);
    }
    Ok(tally)
}

/// Takes the newest of all.
fn newest(all: &mut [Said<'_>]) -> Result<Option<(Outcome, Posting)>, Error> {
    let mut best: Option<(Position, usize)> = None;
    for (at, said) in all.iter_mut().enumerate() {
        if let Some(next) = said.next()?
            && best.is_none_or(|(position, _)| next.position > position)
        {
            best = Some((next.position, at));
        }
    }
    let said = best.and_then(|(_, at)| all.get_mut(at));
    Ok(said.and_then(|said| Some((said.outcome, said.ready.pop()?))))
}

/// When a sighting was recorded that the caller may see; `None`: he may not.
fn seen(asked: &Asked<'_>, walk: &mut Walk<'_>, posting: Posting) -> Result<Option<Timestamp>, Error> {
    let at = posting.position;
    let Some((header, _)) = fetch::kept(asked.shared, at)? else { return Ok(None) };
    // Its class may be newer than what the walk knows.
    walk.renew();
    let seen = header.op == Op::Sight && walk.sees(header.class);
    Ok(seen.then(|| Timestamp::from_micros_clamped(header.version)))
}
