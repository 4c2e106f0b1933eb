//! Decides which records are kept no longer: those that ended by the base, for
//! longer than their rule says. For each span of a rule the log below is gone
//! through once, as time goes by, not again and again. Rules that are new wait
//! for as long as what is cut off does: whoever wrote them may take them back.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use prost::Message as _;

use crate::base::clock::Timestamp;
use crate::base::digest;
use crate::model::position::Position;
use crate::model::retention::Retention;
use crate::store::chunk::{ItemView, Op, Rest, View};
use crate::store::keys::Dimension;
use crate::store::proto::{self, entry_header::Change as Stored};
use crate::store::truncate::Base;
use crate::store::{Batch, Store, db};

use super::super::error::Error;
use super::super::shared::Shared;
use super::super::store_error;
use super::Candidate;

/// Bytes of the log that are gone through in one step.
const STEP_BYTES: usize = if cfg!(test) { 4 << 10 } else { 4 << 20 };
/// Records of one entry.
const MAX_DROPPED: usize = if cfg!(test) { 4 } else { 128 };
/// Items that are cut out in one batch.
const TOGETHER: usize = if cfg!(test) { 8 } else { 512 };

/// How far the log was gone through for each span, under one policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cursors {
    policy: [u8; 32],
    /// When it was first met; zero: by a release that did not wait.
    since: Timestamp,
    /// By seconds.
    reached: BTreeMap<u64, Position>,
}

impl Cursors {
    /// Under another policy it is found anew, and so where the clock was ahead
    /// as this one was met.
    fn load(store: &Store, policy: &Retention, now: Timestamp) -> Result<Self, db::Error> {
        let digest = digest::sha256(policy.to_string().as_bytes());
        let known = store.drop_cursors()?.and_then(|bytes| Self::decode(&bytes));
        if let Some(known) = known.filter(|known| known.policy == digest && known.since <= now) {
            return Ok(known);
        }
        tracing::info!(grace = ?policy.grace, "the rules of what is kept are new: nothing is dropped by them before grace is over");
        let new = Self { policy: digest, since: now, reached: BTreeMap::new() };
        let mut batch = Batch::new(store);
        batch.drop_cursors(&new.encode()).and_then(|()| store.commit(batch))?;
        Ok(new)
    }

    fn encode(&self) -> Vec<u8> {
        let pairs = self.reached.iter().flat_map(|(span, at)| [span.to_be_bytes(), at.raw().to_be_bytes()]);
        let since = self.since.as_micros().to_be_bytes();
        self.policy.into_iter().chain(since).chain(pairs.flatten()).collect()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (policy, rest) = bytes.split_first_chunk::<32>()?;
        let (mut numbers, _) = rest.as_chunks::<8>();
        let mut since = Timestamp::EPOCH;
        // An earlier release wrote pairs alone.
        if numbers.len() % 2 == 1
            && let Some((first, pairs)) = numbers.split_first()
        {
            (since, numbers) = (Timestamp::from_micros_clamped(u64::from_be_bytes(*first)), pairs);
        }
        let reached = numbers
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[span, at]| (u64::from_be_bytes(*span), Position::from_raw(u64::from_be_bytes(*at))));
        Some(Self { policy: *policy, since, reached: reached.collect() })
    }
}

/// What one step found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) candidates: Vec<Candidate>,
    cursors: Cursors,
}

impl Found {
    /// Notes how far the step got; to be done once the candidates are dropped.
    pub(super) fn note(&self, store: &Store) -> Result<(), db::Error> {
        let mut batch = Batch::new(store);
        batch.drop_cursors(&self.cursors.encode())?;
        store.write_behind(batch)
    }
}

/// Some records that are kept no longer at `now`; `None`: all was gone through,
/// or the policy is too new.
pub(super) fn find(store: &Store, policy: &Retention, now: Timestamp) -> Result<Option<Found>, db::Error> {
    if policy.rules.is_empty() {
        return Ok(None);
    }
    let mut cursors = Cursors::load(store, policy, now)?;
    let (base, begins) = (store.base()?, cursors.since.saturating_add(policy.grace));
    if store.truncated()?.upto < base.position || (cursors.since != Timestamp::EPOCH && now < begins) {
        return Ok(None);
    }
    for span in policy.spans() {
        let from = cursors.reached.get(&span.as_secs()).copied().unwrap_or_default();
        let (reached, candidates) = go_through(store, policy, &base, span, from)?;
        if reached > from {
            cursors.reached.insert(span.as_secs(), reached);
            return Ok(Some(Found { candidates, cursors }));
        }
    }
    Ok(None)
}

/// Goes through the log past `from`, as far as what ended there is past its
/// span; how far that is.
fn go_through(
    store: &Store,
    policy: &Retention,
    base: &Base,
    span: Duration,
    from: Position,
) -> Result<(Position, Vec<Candidate>), db::Error> {
    let (mut reached, mut candidates, mut read) = (from, Vec::new(), 0);
    let mut log = store.reader()?;
    log.seek_after(from);
    while read < STEP_BYTES && candidates.len() < MAX_DROPPED {
        let Some((first, bytes)) = log.peek()?.filter(|(first, _)| *first <= base.position) else { break };
        let view = View::parse(first, bytes).ok_or_else(|| db::Error::corrupt("chunk", first))?;
        let (mut found, mut early) = (Vec::new(), false);
        for item in view.items() {
            let item = item.ok_or_else(|| db::Error::corrupt("item", first))?;
            early |= recorded(&item).saturating_add(span) > base.planned;
            if is_over(policy, span, &item) {
                found.push(Candidate { handle: item.header.handle, newest: item.position });
            }
        }
        if early {
            break;
        }
        candidates.extend(standing(store, found)?);
        reached = view.last_position();
        read += bytes.len();
        log.advance();
    }
    Ok((reached, candidates))
}

const fn recorded(item: &ItemView<'_>) -> Timestamp {
    Timestamp::from_micros_clamped(item.header.version)
}

/// Whether a version ended its record for good, as far as it tells, and such
/// are kept for this span.
pub(super) fn is_over(policy: &Retention, span: Duration, item: &ItemView<'_>) -> bool {
    let header = &item.header;
    header.op.is_version() && policy.keep(header.kind, header.tlp, header.state) == Some(span)
}

/// Those that stand.
fn standing(store: &Store, found: Vec<Candidate>) -> Result<Vec<Candidate>, db::Error> {
    if found.is_empty() {
        return Ok(found);
    }
    let handles: Vec<_> = found.iter().map(|candidate| candidate.handle).collect();
    let latest = store.latest(&handles)?;
    let stands = |candidate: &Candidate, newest| newest == candidate.newest;
    let all = found.into_iter().zip(latest);
    let all =
        all.filter(|(found, latest)| stands(found, latest.map_or(found.handle, |latest| latest.newest)));
    Ok(all.map(|(found, _)| found).collect())
}

/// Cuts out what was told of the records of an entry that drops some; whether
/// there was one.
pub(super) fn told(shared: &Shared) -> Result<ControlFlow<()>, Error> {
    let store = &shared.store;
    let owed = store.owed_drops().map_err(store_error)?;
    let Some((first, rest)) = owed.split_first() else { return Ok(ControlFlow::Continue(())) };
    for handle in dropped_by(store, *first).map_err(store_error)? {
        if !cut_told(shared, handle).map_err(store_error)? {
            // It is begun anew: what is gone by then is passed over.
            return Ok(ControlFlow::Break(()));
        }
    }
    let mut batch = Batch::new(store);
    batch.owed_drops(rest).and_then(|()| store.write_behind(batch)).map_err(store_error)?;
    Ok(ControlFlow::Break(()))
}

/// The records that an entry drops.
fn dropped_by(store: &Store, entry: Position) -> Result<Vec<Position>, db::Error> {
    let damaged = || db::Error::corrupt("entry", entry);
    let chunk = store.chunk_at(entry)?.ok_or_else(damaged)?;
    let header = chunk.view().and_then(|view| view.entry_header).ok_or_else(damaged)?;
    match proto::EntryHeader::decode(header).map_err(|_| damaged())?.change {
        Some(Stored::RetentionDrop(drop)) => {
            Ok(drop.records.iter().map(|record| Position::from_raw(record.handle)).collect())
        }
        _ => Err(damaged()),
    }
}

/// Cuts out sightings and notices of a record, some at a time: of the log up to
/// where it is truncated, for what stands later is met as the base passes it.
/// Whether it got to the end before the hub goes down.
fn cut_told(shared: &Shared, handle: Position) -> Result<bool, db::Error> {
    let store = &shared.store;
    let upto = store.truncated()?.upto;
    let mut some = BTreeMap::new();
    // One walk for all of them: another would pass again what this one removed.
    let mut sightings = store.sightings(handle, Position::from_raw(u64::MAX))?;
    loop {
        if shared.draining.is_cancelled() {
            return Ok(false);
        }
        let mut keys = Vec::new();
        while keys.len() < TOGETHER
            && let Some(sighting) = sightings.peek()?
        {
            keys.push(sighting.key());
            let at = sighting.position;
            if at <= upto && tells_of(store, at, handle)? {
                some.insert(at, Rest::Nothing);
            }
            sightings.advance();
        }
        if keys.is_empty() {
            break;
        }
        cut(store, &mut some)?;
        // Once the log has them no more: what is cut off begins with those left.
        let mut batch = Batch::new(store);
        batch.no_sightings(&keys)?;
        store.write_behind(batch)?;
    }
    let mut blocks = store.postings_after(Dimension::Collision, handle.raw(), Position::ZERO)?;
    while let Some(block) = blocks.next_block()? {
        for posting in block {
            if posting.position <= upto && tells_of(store, posting.position, handle)? {
                some.insert(posting.position, Rest::Nothing);
            }
            if some.len() >= TOGETHER {
                cut(store, &mut some)?;
                if shared.draining.is_cancelled() {
                    return Ok(false);
                }
            }
        }
    }
    cut(store, &mut some)?;
    Ok(true)
}

/// Whether the item there, if there still is one, tells of the record.
fn tells_of(store: &Store, at: Position, handle: Position) -> Result<bool, db::Error> {
    let Some(chunk) = store.chunk_at(at)? else { return Ok(false) };
    let view = chunk.view().ok_or_else(|| db::Error::corrupt("chunk", at))?;
    let item = view.item(at);
    let told = |item: &ItemView<'_>| matches!(item.header.op, Op::Sight | Op::Notice);
    Ok(item.is_some_and(|item| told(&item) && item.header.previous == handle))
}

fn cut(store: &Store, some: &mut BTreeMap<Position, Rest>) -> Result<(), db::Error> {
    let cuts = store.cuts(some)?;
    if !cuts.is_empty() {
        let mut mark = store.truncated()?;
        cuts.note(&mut mark);
        store.truncate(&cuts, &mark)?;
    }
    some.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_release_noted_is_in_force_and_goes_on_where_it_was() {
        let reached: BTreeMap<_, _> = [(5, Position::from_raw(7)), (9, Position::from_raw(8))].into();
        for since in [Timestamp::EPOCH, Timestamp::from_micros_clamped(1_767_225_600_000_000)] {
            let cursors = Cursors { policy: [3; 32], since, reached: reached.clone() };
            assert_eq!(Cursors::decode(&cursors.encode()), Some(cursors));
        }
        let pairs = [5, 7, 9, 8].map(u64::to_be_bytes).concat();
        let known = Cursors::decode(&[vec![3; 32], pairs].concat()).unwrap();
        assert_eq!(known, Cursors { policy: [3; 32], since: Timestamp::EPOCH, reached });
    }
}
