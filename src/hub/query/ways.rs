//! Decides by which way the rows of a plan are come by, as cheaply as what is
//! stored allows: sorted, or along the order, be it the log, an index, or what
//! lists have in common. Whatever is done before the first row has an end, by
//! number and by time; past it a way is taken that can be cut anywhere.

use std::collections::BTreeSet;

use crate::base::clock;
use crate::model::audience::ClassNo;
use crate::model::indicator::Kind;
use crate::model::position::Position;
use crate::store::chunk::View;
use crate::store::keys::Dimension;
use crate::store::postings::Posting;
use crate::wire::facts;

use super::super::error::Error;
use super::super::fetch::damaged;
use super::super::indexer::behind;
use super::super::store_error;
use super::among::{Among, Records};
use super::beside::{self, of_range};
use super::check::Range;
use super::later::{self, Later};
use super::lists::{self, List};
use super::order::{self, Rank};
use super::plan::bounds;
use super::source::{Candidate, Log, Only, Source, Terms};
use super::stream::{Common, Pulled, STRIDE, Standing, Start, Union, Way};
use super::walk::Walk;

/// Most records that are read to be sorted.
pub(super) const MAX_SORTED: usize = 20_000;
/// Most of them that are read though they are met in the order asked for; the
/// tests meet both ways.
const FEW: usize = if cfg!(test) { 8 } else { 2_048 };
/// Most records of a span of births that are sorted at once, and items that are
/// passed over to find them. More are soon met along the log, which the tests
/// see too.
pub(super) const FEW_BORN: usize = if cfg!(test) { 8 } else { 1_024 };
const MAX_BORN: usize = 1 << 12;
/// Most postings that are looked at before the first row. Whatever has more is
/// soon met along the order.
pub(super) const MAX_LOOKED: usize = 1 << 16;
/// Postings that are gathered and sorted sooner than a term is opened to be
/// walked beside others.
const OPENED: usize = 200;
/// Records whose newest versions are asked for together.
const TOGETHER: usize = 256;

/// A version that stands, and the class of its record today.
#[derive(Clone, Copy)]
struct Stands {
    posting: Posting,
    class_now: Option<ClassNo>,
}

/// Records, each once, with the newest of their versions that are known.
pub(super) fn records(mut versions: Vec<Posting>) -> Vec<Posting> {
    versions.sort_unstable_by_key(|version| (version.handle, std::cmp::Reverse(version.position)));
    versions.dedup_by_key(|version| version.handle);
    versions
}

/// A record of which nothing but its birth is known.
pub(super) const fn born_at(handle: Position) -> Posting {
    Posting { position: handle, handle }
}

/// The records that were found, in order: sorted if they are few, else met
/// along the order, as is all there is where they were too many (`None`).
pub(super) fn of_records<'a>(
    walk: &mut Walk<'a>,
    found: Option<Vec<Posting>>,
    lists: &[List],
    past: Option<Rank>,
) -> Result<Source<'a>, Error> {
    if let Some(records) = found {
        // What goes by an index that is not there yet is sorted if at all.
        let along = walk.indexed || order::dimension(walk.order).is_none();
        if records.len() <= if along { FEW } else { MAX_SORTED }
            && let Some(sorted) = stand_sorted(walk, &records, past)?
        {
            return Ok(sorted);
        }
        let handles = records.iter().map(|record| record.handle).collect();
        walk.among = Some(Among::of(Records::Known(handles)));
    }
    in_order(walk, lists, past)
}

/// The records whose births were found, in order, see [`of_records`]. They may
/// be many.
pub(super) fn of_births<'a>(
    walk: &mut Walk<'a>,
    found: Option<Records>,
    past: Option<Rank>,
) -> Result<Source<'a>, Error> {
    match found {
        None => of_records(walk, None, &[], past),
        Some(Records::Known(handles)) if handles.len() <= MAX_SORTED => {
            let mut handles: Vec<_> = handles.into_iter().collect();
            handles.sort_unstable();
            of_records(walk, Some(handles.into_iter().map(born_at).collect()), &[], past)
        }
        Some(many) => {
            walk.among = Some(Among::of(many));
            in_order(walk, &[], past)
        }
    }
}

/// What stands of records, sorted, from past a rank; `None`: that takes too
/// long.
pub(super) fn stand_sorted<'a>(
    walk: &mut Walk<'a>,
    records: &[Posting],
    past: Option<Rank>,
) -> Result<Option<Source<'a>>, Error> {
    match stand(walk, records)? {
        Some(all) => sorted(walk, all, past),
        None => Ok(None),
    }
}

/// What the lists have in common, or all there is, in order.
pub(super) fn in_order<'a>(
    walk: &mut Walk<'a>,
    lists: &[List],
    past: Option<Rank>,
) -> Result<Source<'a>, Error> {
    if let Some(dimension) = order::dimension(walk.order) {
        if !walk.indexed {
            return Err(behind());
        }
        return by_index(walk, lists, dimension, past);
    }
    let by_version = walk.order.by_version();
    let gathers = (!by_version && !lists.is_empty()) || is_light(walk, lists)? || beside::helps(walk, lists)?;
    if gathers && let Some(postings) = gather(walk, lists, MAX_LOOKED)? {
        return Ok(gathered(walk, postings, past));
    }
    if by_version
        && lists.is_empty()
        && walk.among.is_none()
        && let Some(span) = births(walk)
    {
        let born = born(walk, (span.after, span.upto), MAX_BORN, |at| span.holds(at))?;
        if let Some(born) = born.filter(|born| born.len() <= FEW_BORN)
            && let born = born.into_iter().map(born_at).collect::<Vec<_>>()
            && let Some(sorted) = stand_sorted(walk, &born, past)?
        {
            return Ok(sorted);
        }
        walk.among = Some(Among::new(Vec::new(), span));
    }
    let start = start(walk, past);
    walk.later = Later::of(walk, lists);
    if by_version { along(walk, lists, start) } else { log(walk, start, true) }
}

/// Where the records were born that are asked for, if not anywhere: their newest
/// versions may stand anywhere behind it.
fn births(walk: &Walk<'_>) -> Option<Range> {
    let Range { after, upto } = walk.asked.births;
    let known = upto.min(walk.origin.at);
    (after != Position::ZERO || upto <= known).then_some(Range { after, upto: known })
}

/// The records that were born after a position and up to another; `None`: they
/// are many, or more than `most` items are to be passed over.
pub(super) fn born(
    walk: &Walk<'_>,
    (after, upto): (Position, Position),
    most: usize,
    holds: impl Fn(Position) -> bool,
) -> Result<Option<Vec<Position>>, Error> {
    let mut scan = walk.shared.store.scan(after).map_err(store_error)?;
    let (mut found, mut looked) = (Vec::new(), 0);
    while let Some((first, bytes)) = scan.peek().map_err(store_error)?
        && first <= upto
    {
        let view = View::parse(first, bytes).ok_or_else(|| damaged(first))?;
        looked += usize::from(view.count).max(1);
        if found.len() > MAX_SORTED || looked > most || is_late(walk, 0) {
            return Ok(None);
        }
        for item in view.items() {
            let item = item.ok_or_else(|| damaged(first))?;
            if item.header.op.is_birth() && item.position <= upto && holds(item.position) {
                found.push(item.position);
            }
        }
        scan.advance();
    }
    Ok(Some(found))
}

/// Whether the one list is that of a range of terms, and so short that it is
/// sorted sooner than its terms are walked beside each other.
fn is_light(walk: &Walk<'_>, lists: &[List]) -> Result<bool, Error> {
    let ([list], Some((dimension, range))) = (lists, of_range(lists)) else { return Ok(false) };
    let about = walk.shared.store.postings_about(dimension, range).map_err(store_error)?;
    let most = list.terms.as_ref().map_or(MAX_LOOKED, |terms| terms.len().saturating_mul(OPENED));
    Ok(about <= most.min(MAX_LOOKED) as u64 && !later::is_tested(range))
}

/// In the order of positions.
fn along<'a>(walk: &Walk<'a>, lists: &[List], start: Start) -> Result<Source<'a>, Error> {
    let union = match &walk.among {
        _ if lists.iter().any(|list| list.terms.is_none()) => None,
        _ if !lists.is_empty() => Some(common(walk, lists, start)?),
        Some(among) => Some(Common::new(vec![versions(walk, among, start)?], standing(walk))),
        None => None,
    };
    union.map_or_else(|| log(walk, start, false), |union| Ok(Source::Common(union)))
}

/// The versions of the records that alone may be asked for, and some others.
/// Postings are passed over at a tenth of what it costs to pass over headers.
fn versions<'a>(walk: &Walk<'a>, among: &Among, start: Start) -> Result<Union<'a>, Error> {
    let store = &walk.shared.store;
    if walk.indexed
        && let Some(terms) = among.born_terms(lists::MAX_TERMS)
    {
        return Union::open(store, Dimension::Born, &terms, start);
    }
    let kinds: Vec<_> = Kind::ALL.iter().map(|kind| u64::from(kind.number())).collect();
    Union::open(store, Dimension::Kind, &kinds, start)
}

/// Where a walk in the order of positions begins.
fn start(walk: &Walk<'_>, past: Option<Rank>) -> Start {
    let (after, upto) = bounds(walk);
    let past = past.map(|rank| rank.parts(walk.order).0);
    let (way, end) = (order::way(walk.order), upto.next());
    let past = match way {
        Way::Back => past.map_or(end, |past| past.min(end)),
        Way::On => past.map_or(after, |past| past.max(after)),
    };
    Start { way, past }
}

fn log<'a>(walk: &Walk<'a>, start: Start, births: bool) -> Result<Source<'a>, Error> {
    let (after, upto) = bounds(walk);
    let end = match start.way {
        Way::Back => after.next(),
        Way::On => upto,
    };
    Ok(Source::Log(Log::open(walk.shared, start, end, births)?))
}

/// What lists have in common, each of which has terms.
pub(super) fn common<'a>(walk: &Walk<'a>, lists: &[List], start: Start) -> Result<Common<'a>, Error> {
    let open = |list: &List| {
        let terms = list.terms.as_deref().unwrap_or_default();
        Union::open(&walk.shared.store, list.dimension, terms, start)
    };
    Ok(Common::new(lists.iter().map(open).collect::<Result<_, _>>()?, standing(walk)))
}

pub(super) const fn standing<'a>(walk: &Walk<'a>) -> Standing<'a> {
    Standing { replaced: &walk.shared.replaced, origin: walk.origin.at }
}

/// Whether the newest versions of some records are those that stand, and are met
/// in their order: none was changed since the walk began.
pub(super) fn may_stand(walk: &Walk<'_>, newest: &[Posting]) -> bool {
    walk.order.by_version() && newest.iter().all(|version| version.position <= walk.origin.at)
}

/// Sorts by versions or by births: a posting tells where its record was born.
pub(super) fn gathered<'a>(walk: &Walk<'a>, mut postings: Vec<Posting>, past: Option<Rank>) -> Source<'a> {
    if order::by_birth(walk.order) {
        // All versions of a record have one rank, and a page that ends at one
        // version of it leaves out the others. Of those that were gathered, none
        // of which is past the origin, only the newest may stand.
        postings.sort_unstable_by_key(|posting| std::cmp::Reverse((posting.handle, posting.position)));
        postings.dedup_by_key(|posting| posting.handle);
    }
    let rank = |posting: &Posting| Rank::of(walk.order, 0, posting.position, posting.handle);
    postings.retain(|posting| past.is_none_or(|past| rank(posting) > past));
    postings.sort_unstable_by_key(|posting| std::cmp::Reverse(rank(posting)));
    Source::Gathered(postings)
}

/// By an index in the order asked for; or sorted, where so few are asked for
/// that to read them all costs less than to look for them in the index.
fn by_index<'a>(
    walk: &mut Walk<'a>,
    lists: &[List],
    dimension: Dimension,
    past: Option<Rank>,
) -> Result<Source<'a>, Error> {
    let (after, upto) = bounds(walk);
    let mut only =
        Only { terms: lists::asked_of(&walk.asked.filter, dimension), after, before: upto.next(), at: None };
    if !lists.is_empty()
        && let Some(postings) = gather(walk, lists, MAX_LOOKED)?
    {
        if pays_to_sort(walk, postings.len())
            && let Some(mut all) = stand(walk, &records(postings.clone()))?
        {
            let found: BTreeSet<_> = postings.iter().map(|posting| posting.position).collect();
            all.retain(|stands| found.contains(&stands.posting.position));
            if let Some(sorted) = sorted(walk, all, past)? {
                return Ok(sorted);
            }
        }
        let mut at: Vec<_> = postings.into_iter().map(|posting| posting.position).collect();
        at.sort_unstable();
        only.at = Some(at);
    }
    let says = only.terms.is_some();
    // Who asks for what is said does not ask for what says nothing.
    let unsaid = if says {
        None
    } else {
        let past = past.filter(|rank| rank.is_unsaid()).map(|rank| rank.parts(walk.order).0);
        let past = past.map_or(only.before, |past| past.min(only.before));
        Some(along(walk, lists, Start { way: Way::Back, past })?)
    };
    let terms = Terms::open(walk.shared, (walk.order, dimension), past, only, unsaid)?;
    Ok(Source::Terms(Box::new(terms)))
}

/// Whether to read so many records costs less than to go along the index until
/// a page of them was met. To read one costs as much as to pass over some
/// hundred entries of the index, and a page is met after as many entries as a
/// page has rows, times all there is, by their number.
fn pays_to_sort(walk: &Walk<'_>, count: usize) -> bool {
    const PAGE: u64 = 100;
    const READ: u64 = 400;
    let total = lists::total(walk.shared, &walk.sight).unwrap_or(u64::MAX);
    let count = count as u64;
    let met = total.min(PAGE.saturating_mul(total) / count.max(1));
    count <= FEW as u64 && count.saturating_mul(READ) <= met
}

/// Whether too much time went by before the first row; asked now and then.
pub(super) fn is_late(walk: &Walk<'_>, step: usize) -> bool {
    step.is_multiple_of(TOGETHER) && walk.planned_by.is_some_and(|by| clock::monotonic() > by)
}

/// The versions of records that stand and may be seen; `None`: that takes too
/// long.
fn stand(walk: &mut Walk<'_>, records: &[Posting]) -> Result<Option<Vec<Stands>>, Error> {
    let mut all = Vec::with_capacity(records.len());
    for some in records.chunks(TOGETHER) {
        let standing = walk.origin.of(walk.shared, (some, true), walk.planned_by)?;
        if standing.len() < some.len() || is_late(walk, 0) {
            return Ok(None);
        }
        walk.sight.renew(walk.shared);
        for (&Posting { handle, .. }, standing) in some.iter().zip(standing) {
            let seen = standing.class_now.is_none_or(|class| walk.sight.sees_now(class));
            let stands =
                |position| Stands { posting: Posting { position, handle }, class_now: standing.class_now };
            all.extend(standing.at.filter(|_| seen).map(stands));
        }
    }
    Ok(Some(all))
}

/// What several lists have in common; `None`: that is too much to be gone
/// through.
fn gather(walk: &Walk<'_>, lists: &[List], most: usize) -> Result<Option<Vec<Posting>>, Error> {
    let upto = walk.asked.versions.upto.min(walk.origin.at);
    let after = walk.asked.versions.after.max(walk.asked.births.after);
    beside::gather(walk, lists, (after, upto), || match of_range(lists) {
        Some(range) => beside::whole(walk, range, (after, upto), MAX_LOOKED as u64),
        None => in_common(walk, lists, (after, upto), most),
    })
}

/// What several lists have in common, the newest first; `None`: that is too
/// much.
pub(super) fn in_common(
    walk: &Walk<'_>,
    lists: &[List],
    (after, upto): (Position, Position),
    most: usize,
) -> Result<Option<Vec<Posting>>, Error> {
    if let [one] = lists
        && one.expected.is_some_and(|expected| expected > most as u64)
    {
        return Ok(None);
    }
    let (mut all, mut looked) = (Vec::new(), 0);
    let mut common = common(walk, lists, Start { way: Way::Back, past: upto.next() })?;
    loop {
        match common.next()? {
            Pulled::End => return Ok(Some(all)),
            Pulled::Version(posting) if posting.position <= after => return Ok(Some(all)),
            Pulled::Version(posting) => all.push(posting),
            Pulled::Passed(_) => looked += STRIDE,
        }
        looked += 1;
        if looked > most || is_late(walk, looked) {
            return Ok(None);
        }
    }
}

/// Sorts versions into the order asked for, from past a rank; `None`: that
/// takes too long.
fn sorted<'a>(
    walk: &mut Walk<'a>,
    mut all: Vec<Stands>,
    past: Option<Rank>,
) -> Result<Option<Source<'a>>, Error> {
    // Where they stand together, so that a chunk is read once.
    all.sort_unstable_by_key(|found| found.posting);
    // A record that has several candidate versions stands once.
    all.dedup_by_key(|found| found.posting);
    let mut candidates = Vec::with_capacity(all.len());
    for (step, Stands { posting, class_now }) in all.into_iter().enumerate() {
        if is_late(walk, step) {
            return Ok(None);
        }
        let Some(term) = term_of(walk, posting.position)? else { continue };
        let rank = Rank::of(walk.order, term, posting.position, posting.handle);
        if past.is_none_or(|past| rank > past) {
            candidates.push(Candidate { rank, posting, chunk: None, class_now });
        }
    }
    candidates.sort_unstable_by_key(|candidate| candidate.rank);
    Ok(Some(Source::Sorted(candidates.into())))
}

/// The term under which a version stands in the order asked for; `None`: it
/// may not be seen.
fn term_of(walk: &mut Walk<'_>, at: Position) -> Result<Option<u64>, Error> {
    if order::dimension(walk.order).is_none() {
        return Ok(Some(0));
    }
    let Some(chunk) = walk.chunk_at(at)? else { return Ok(None) };
    let view = chunk.view().ok_or_else(|| damaged(at))?;
    let Some(item) = view.item(at) else {
        walk.shared.store.gone(at).map_err(store_error)?;
        return Ok(None);
    };
    if !walk.sight.sees(item.header.class) {
        return Ok(None);
    }
    let said = facts::numbers(item.body).ok_or_else(|| damaged(at))?;
    Ok(Some(order::term_of(walk.order, &said)))
}
