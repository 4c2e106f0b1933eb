//! Decides how it is counted by labels and the like: by sums that are kept in
//! memory and brought up to date, or else are added up from all counters.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::base::clock;
use crate::model::position::Position;
use crate::model::query::IndicatorFilter;
use crate::store::counters::Granularity;
use crate::store::keys::Dimension as Index;
use crate::store::sums::Still;
use crate::store::term_names::TermKind;

use super::super::error::Error;
use super::super::store_error;
use super::Asked;
use super::counters::{LOOK, seen};
use super::kept::{Key, Sums, Term, sees};
use super::tally::{MAX_CELLS, Slot, Tally};

/// Most terms that are counted apart.
pub(super) const MAX_TERMS: usize = 500_000;

/// Adds to a tally a row for each term of a sort, of what was born in these
/// buckets; of rows the first ones alone.
pub(super) fn count(
    asked: &Asked<'_>,
    kind: TermKind,
    granularity: Granularity,
    buckets: &RangeInclusive<u32>,
    tally: &mut Tally,
) -> Result<(), Error> {
    let key = key(asked, kind, granularity);
    let kept = &asked.shared.sums;
    let slot = kept.of(&key);
    let until = clock::monotonic().checked_add(asked.bounds.time);
    // Whoever asks the same at once waits no longer than his own time.
    let Some(mut slot) = slot.try_lock_for(asked.bounds.time) else {
        tally.exact = false;
        return Ok(());
    };
    let mut sums = slot.take();
    if let Some(known) = &mut sums
        && !renew(asked, &key, known, buckets)?
    {
        sums = None;
    }
    let sums = match sums {
        Some(sums) => sums,
        None => read(asked, &key, buckets, until, &mut tally.exact)?,
    };
    put(asked, &sums, buckets, tally);
    if tally.exact && kept.weigh(&key, &sums) {
        *slot = Some(sums);
    }
    Ok(())
}

fn key(asked: &Asked<'_>, kind: TermKind, granularity: Granularity) -> Key {
    let IndicatorFilter { owners, tlps, org_kinds, .. } = &asked.counting.filter;
    let (owners, tlps, org_kinds) = (owners.clone(), tlps.clone(), org_kinds.clone());
    let (org, identity) = (asked.caller.org(), asked.caller.identity().clone());
    Key { org, identity, kind, granularity, owners, tlps, org_kinds }
}

/// Brings sums up to date; whether that could be done.
fn renew(
    asked: &Asked<'_>,
    key: &Key,
    sums: &mut Sums,
    buckets: &RangeInclusive<u32>,
) -> Result<bool, Error> {
    if !sums.covers(buckets) {
        return Ok(false);
    }
    let Some(since) = asked.shared.sums.since(sums.upto) else { return Ok(false) };
    // After what was indexed, so that it knows every class of it.
    let directory = asked.shared.directory.load_full();
    if !Arc::ptr_eq(&directory, &sums.directory) {
        let seen = seen(asked, &directory);
        // Classes that came since were counted by nobody then.
        if !seen.starts_with(&sums.seen) {
            return Ok(false);
        }
        (sums.seen, sums.directory) = (seen, directory);
    }
    let names = asked.shared.sums.name(&asked.shared.store, since.terms(&sums.seen))?;
    Ok(since.add_to(sums, key, &names))
}

/// Adds up all counters in some buckets.
fn read(
    asked: &Asked<'_>,
    key: &Key,
    buckets: &RangeInclusive<u32>,
    until: Option<Instant>,
    exact: &mut bool,
) -> Result<Sums, Error> {
    let shared = asked.shared;
    let is_over = || until.is_some_and(|until| clock::monotonic() > until);
    let still = shared.store.still();
    // After what is read stands still, so that it knows every class of it.
    let directory = shared.directory.load_full();
    let seen = seen(asked, &directory);
    let (upto, found, whole) = gather(&still, key, buckets, &seen, is_over, &shared.sums.others(key.kind))?;
    drop(still);
    *exact &= whole;
    let names = shared.sums.name(&shared.store, found.keys().copied())?;
    let mut terms = FxHashMap::default();
    for (term, cells) in found {
        if let Some(Some((_, name))) =
            names.get(&term).filter(|name| name.as_ref().is_some_and(|(of, _)| *of == key.kind))
        {
            terms.insert(term, Term { name: Arc::clone(name), cells });
        }
    }
    Ok(Sums { buckets: buckets.clone(), seen, directory, upto, terms })
}

type Found = FxHashMap<u64, BTreeMap<u32, u64>>;

/// The sums of terms that may be of the sort, up to where they count, and
/// whether that is all.
fn gather(
    still: &Still<'_>,
    key: &Key,
    buckets: &RangeInclusive<u32>,
    seen: &[bool],
    is_over: impl Fn() -> bool,
    others: &FxHashMap<u64, ()>,
) -> Result<(Position, Found, bool), Error> {
    let upto = still.upto().map_err(store_error)?;
    let (mut found, mut cells, mut looked) = (Found::default(), 0, 0_u32);
    let see = |bucket, term, sum| {
        looked = looked.wrapping_add(1);
        if let Some(sum) = sum
            && sum > 0
        {
            found.entry(term).or_default().insert(bucket, sum);
            cells += 1;
        }
        let full = cells >= MAX_CELLS || found.len() >= MAX_TERMS;
        let over = looked.is_multiple_of(LOOK) && is_over();
        !(full || over)
    };
    let whole = still
        .sum_up(
            key.granularity,
            Index::Label,
            buckets,
            |term| !others.contains_key(&term),
            |class| sees(seen, class),
            see,
        )
        .map_err(store_error)?;
    Ok((upto, found, whole))
}

/// Puts the rows with most of them into a tally, and how many there are beside.
fn put(asked: &Asked<'_>, sums: &Sums, buckets: &RangeInclusive<u32>, tally: &mut Tally) {
    let mut rows: Vec<(Reverse<u64>, &Term)> = Vec::with_capacity(sums.terms.len());
    for term in sums.terms.values() {
        let count = term.cells.range(buckets.clone()).map(|(_, count)| count).sum();
        if count > 0 {
            rows.push((Reverse(count), term));
        }
    }
    let most = asked.counting.rows.min(rows.len());
    if most < rows.len() {
        rows.select_nth_unstable_by(most, |(a, of_a), (b, of_b)| (a, &of_a.name).cmp(&(b, &of_b.name)));
        tally.more_rows += (rows.len() - most) as u64;
        rows.truncate(most);
    }
    for (_, term) in rows {
        let mut slot = Slot::default();
        for (&bucket, &count) in term.cells.range(buckets.clone()) {
            slot.add(asked.spans.map(|_| i64::from(bucket)), count);
        }
        tally.put(term.name.to_string(), slot);
    }
}
