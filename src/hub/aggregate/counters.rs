//! Decides what the hub's counters can tell: how many active records carry one
//! kind or one term, by the UTC day or month of their birth and by audience
//! class, which says owner and marking.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Instant;

use rustc_hash::FxHashMap;

use crate::base::clock::{self, Timestamp};
use crate::model::aggregate::{Counting, Dimension, Per, Spans};
use crate::model::audience::ClassNo;
use crate::model::indicator::{Kind, State};
use crate::model::query::{IndicatorFilter, Span};
use crate::policy::visibility::{Purpose, Viewer};
use crate::store::counters::{self, Count, Counters, Granularity};
use crate::store::keys::{self, Dimension as Index};

use super::super::directory::Directory;
use super::super::error::Error;
use super::super::store_error;
use super::kept::sees;
use super::tally::{Slot, Tally};
use super::terms::{self, MAX_TERMS};
use super::{Asked, term_kind};

const DAY: u64 = 86_400_000_000;
/// Counters between two looks at the time.
pub(super) const LOOK: u32 = 4_096;
/// Most counters that are looked for in memory.
const MAX_KEPT: usize = 1_024;
/// Which counters answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    index: Index,
    /// Empty: every term.
    terms: Vec<u64>,
    granularity: Granularity,
    buckets: RangeInclusive<u32>,
}

/// The counters that answer; `None`: none do.
pub(super) fn plan(counting: &Counting, spans: Option<Spans>) -> Option<Plan> {
    // A field that is added is one that counters do not tell.
    let IndicatorFilter {
        kinds,
        owners: _,
        labels,
        tlps: _,
        roles,
        families,
        campaigns,
        techniques,
        own_assets,
        states,
        added_from,
        added_to,
        values,
        org_kinds: _,
        confidence,
        actions,
        published,
        first_seen,
        last_seen,
        valid_at,
        sighted_by,
        sighted_since,
        outcomes,
        text,
        except,
    } = &counting.filter;
    let told = !own_assets
        && (states.is_empty() || states.as_slice() == [State::Active])
        && added_from.is_none()
        && added_to.is_none()
        && values.is_empty()
        && confidence.is_none()
        && actions.is_empty()
        && first_seen.is_open()
        && last_seen.is_open()
        && valid_at.is_none()
        && sighted_by.is_empty()
        && sighted_since.is_none()
        && outcomes.is_empty()
        && text.is_none()
        && except.is_none();
    let (granularity, buckets) = time(*published, spans).filter(|_| told)?;
    let kinds: Vec<_> = kinds.iter().map(|kind| u64::from(kind.number())).collect();
    // What a record can carry several of is counted once for each.
    let one = |terms: Vec<u64>| (terms.len() < 2).then_some(terms);
    let fields = [
        (None, kinds),
        (Some(Dimension::Label), one(labels.iter().map(|label| keys::label_term(label)).collect())?),
        (None, roles.iter().map(|role| keys::role_term(role.number())).collect()),
        (Some(Dimension::Family), families.iter().map(|family| keys::family_term(family)).collect()),
        (Some(Dimension::Campaign), campaigns.iter().map(|campaign| keys::campaign_term(campaign)).collect()),
        (
            Some(Dimension::Technique),
            one(techniques.iter().map(|name| keys::technique_term(name)).collect())?,
        ),
    ];
    let mut asked = fields.iter().enumerate().filter(|(_, (_, terms))| !terms.is_empty());
    let field = asked.next();
    if asked.next().is_some() {
        return None;
    }
    let terms = field.map(|(_, (_, terms))| terms.clone()).unwrap_or_default();
    let of_kinds = field.is_some_and(|(at, _)| at == 0);
    let index = match counting.by {
        None | Some(Dimension::Owner | Dimension::Tlp | Dimension::OrgKind) => match field {
            None => Index::Class,
            Some(_) if of_kinds => Index::Kind,
            Some(_) => Index::Label,
        },
        Some(Dimension::Kind) if field.is_none() || of_kinds => Index::Kind,
        Some(Dimension::Kind) => Index::LabelKind,
        // Of one family each: those asked for are the rows.
        Some(by @ (Dimension::Family | Dimension::Campaign))
            if field.is_none_or(|(_, (of, _))| *of == Some(by)) =>
        {
            Index::Label
        }
        Some(Dimension::Label | Dimension::Technique) if field.is_none() => Index::Label,
        _ => return None,
    };
    let (granularity, buckets) = match (index, granularity) {
        // Of days it is not known; all of time is all months.
        (Index::LabelKind, Granularity::Day) => return None,
        (Index::LabelKind, Granularity::All) => (Granularity::Month, 0..=u32::MAX),
        _ => (granularity, buckets),
    };
    Some(Plan { index, terms, granularity, buckets })
}

/// The buckets that hold just what was published in a span of whole days, in
/// Viet Nam.
fn time(published: Span, spans: Option<Spans>) -> Option<(Granularity, RangeInclusive<u32>)> {
    if let Some(Spans { calendar, first, last }) = spans {
        let granularity = match calendar.per {
            Per::Day => Granularity::Day,
            Per::Month => Granularity::Month,
        };
        let first = u32::try_from(first.max(0)).ok()?;
        let last = u32::try_from(last).ok()?;
        let counted = u64::try_from(i64::from(calendar.offset) * 60) == Ok(counters::OFFSET);
        return (counted && published.is_open()).then_some((granularity, first..=last));
    }
    if published.is_open() {
        return Some((Granularity::All, 0..=0));
    }
    let day = |at: Timestamp| {
        let local = at.as_micros().saturating_add(counters::OFFSET * 1_000_000);
        local.is_multiple_of(DAY).then(|| u32::try_from(local / DAY).ok()).flatten()
    };
    let first = published.from.map_or(Some(0), day)?;
    let last = published.to.map_or(Some(u32::MAX), |to| day(to)?.checked_sub(1))?;
    Some((Granularity::Day, first..=last))
}

/// Counts by what a plan says.
pub(super) fn count(asked: &Asked<'_>, plan: &Plan) -> Result<Tally, Error> {
    let Plan { index, terms, granularity, buckets } = plan;
    if matches!(index, Index::Class | Index::Kind)
        && matches!(asked.counting.by, None | Some(Dimension::Kind))
    {
        return count_together(asked, plan);
    }
    let open = |index, terms: &[u64]| {
        asked.shared.store.counts(*granularity, index, buckets.clone(), terms).map_err(store_error)
    };
    let by = asked.counting.by;
    if let Some(kind) = term_kind(by).filter(|_| terms.is_empty()) {
        let mut tally = Tally::new();
        terms::count(asked, kind, *granularity, buckets, &mut tally)?;
        // A record carries several terms, or none: the whole is counted apart.
        let whole = open(Index::Class, &[0])?;
        let directory = asked.shared.directory.load_full();
        let mut sums = Sums::new(asked, &directory);
        sums.each(whole, |_, of, span| {
            tally.add(span, of.count);
            true
        })?;
        tally.exact &= sums.exact;
        return Ok(tally);
    }
    let counters = open(*index, terms)?;
    // After what is read stands still, so that it knows every class of it.
    let directory = asked.shared.directory.load_full();
    let mut sums = Sums::new(asked, &directory);
    // Of one term each: those asked for are the rows.
    let mut by_term: BTreeMap<u64, Slot> = BTreeMap::new();
    let mut tally = Tally::new();
    sums.each(counters, |class, of, span| {
        tally.add(span, of.count);
        match by {
            None => {}
            Some(Dimension::Kind) => {
                let number = if *index == Index::LabelKind { of.kind.into() } else { of.term };
                tally.add_to(kind(number), span, of.count);
            }
            Some(Dimension::Owner | Dimension::Tlp | Dimension::OrgKind | Dimension::Outcome) => {
                tally.add_to(class.clone(), span, of.count);
            }
            Some(Dimension::Label | Dimension::Family | Dimension::Campaign | Dimension::Technique) => {
                let grown = by_term.entry(of.term).or_default().add(span, of.count);
                tally.grow(usize::from(grown));
            }
        }
        !tally.is_full() && by_term.len() < MAX_TERMS
    })?;
    let (terms, slots): (Vec<_>, Vec<_>) = by_term.into_iter().unzip();
    let names = asked.shared.store.term_names(&terms).map_err(store_error)?;
    for (name, slot) in names.into_iter().zip(slots) {
        if let Some(name) = name.filter(|name| Some(name.kind) == term_kind(by)) {
            tally.put(name.text, slot);
        }
    }
    tally.exact = sums.exact;
    Ok(tally)
}

/// Counts where no row goes by audience class: of each counter the sum is told.
/// Of kinds there are few: unless there are many days, those are in memory.
fn count_together(asked: &Asked<'_>, plan: &Plan) -> Result<Tally, Error> {
    let Plan { index, terms, granularity, buckets } = plan;
    let (first, last) = (*buckets.start(), *buckets.end());
    let of: BTreeSet<u64> = match index {
        Index::Kind if terms.is_empty() => Kind::ALL.iter().map(|kind| kind.number().into()).collect(),
        Index::Class => BTreeSet::from([0]),
        _ => terms.iter().copied().collect(),
    };
    if usize::try_from(last - first).is_ok_and(|more| of.len().saturating_mul(more + 1) <= MAX_KEPT) {
        let keys: Vec<_> =
            (first..=last).flat_map(|bucket| of.iter().map(move |term| (bucket, *term))).collect();
        return count_kept(asked, (*granularity, *index), &keys);
    }
    let until = clock::monotonic().checked_add(asked.bounds.time);
    let still = asked.shared.store.still();
    // After what is read stands still, so that it knows every class of it.
    let seen = seen(asked, &asked.shared.directory.load_full());
    let (mut tally, mut looked) = (Tally::new(), 0_u32);
    let see = |bucket: u32, term, sum: Option<u64>| {
        put(asked, &mut tally, (bucket, term), sum.unwrap_or_default());
        looked = looked.wrapping_add(1);
        let over = looked.is_multiple_of(LOOK) && until.is_some_and(|until| clock::monotonic() > until);
        !(tally.is_full() || over)
    };
    let wanted = |term| terms.is_empty() || terms.contains(&term);
    let whole = still
        .sum_up(*granularity, *index, buckets, wanted, |class| sees(&seen, class), see)
        .map_err(store_error)?;
    tally.exact = whole;
    Ok(tally)
}

/// The same of some buckets and terms by counters that are kept in memory.
fn count_kept(
    asked: &Asked<'_>,
    (granularity, index): (Granularity, Index),
    places: &[(u32, u64)],
) -> Result<Tally, Error> {
    let keys: Vec<_> =
        places.iter().map(|&(bucket, term)| counters::key(granularity, index, bucket, term)).collect();
    let counters = asked.shared.totals.all(&asked.shared.store, &keys).map_err(store_error)?;
    // After what was read, so that it knows every class of it.
    let seen = seen(asked, &asked.shared.directory.load_full());
    let mut tally = Tally::new();
    for (&place, counter) in places.iter().zip(&counters) {
        let sum = counters::sum_of(counter, |class| sees(&seen, class));
        let sum = sum.ok_or_else(|| store_error(crate::store::Error::corrupt("counter", place)))?;
        put(asked, &mut tally, place, sum);
    }
    Ok(tally)
}

/// Adds what a counter comes to.
fn put(asked: &Asked<'_>, tally: &mut Tally, (bucket, term): (u32, u64), sum: u64) {
    if sum > 0 {
        let span = asked.spans.map(|_| i64::from(bucket));
        tally.add(span, sum);
        if asked.counting.by == Some(Dimension::Kind) {
            tally.add_to(kind(term), span, sum);
        }
    }
}

/// Over which classes is counted, by number.
pub(super) fn seen(asked: &Asked<'_>, directory: &Directory) -> Vec<bool> {
    let classes = 0..=u32::try_from(directory.class_count()).unwrap_or(u32::MAX);
    classes.map(|class| row(asked, directory, ClassNo(class)).is_some()).collect()
}

fn kind(term: u64) -> Option<String> {
    let kind = u8::try_from(term).ok().and_then(Kind::from_number);
    kind.map(|kind| kind.as_str().to_owned())
}

/// Counters on the way to their sums.
struct Sums<'a> {
    asked: &'a Asked<'a>,
    directory: &'a Directory,
    /// The row of each class, where its records are counted.
    classes: FxHashMap<ClassNo, Option<Option<String>>>,
    until: Option<Instant>,
    exact: bool,
}

impl<'a> Sums<'a> {
    fn new(asked: &'a Asked<'a>, directory: &'a Directory) -> Self {
        let until = clock::monotonic().checked_add(asked.bounds.time);
        Self { asked, directory, classes: FxHashMap::default(), until, exact: true }
    }

    /// Shows each counter of what is counted, with the row of its class, as
    /// long as more are wanted and time is left.
    fn each(
        &mut self,
        mut counters: Counters<'_>,
        mut see: impl FnMut(&Option<String>, Count, Option<i64>) -> bool,
    ) -> Result<(), Error> {
        let mut looked = 0_u32;
        while let Some(of) = counters.next_count().map_err(store_error)? {
            looked = looked.wrapping_add(1);
            if looked.is_multiple_of(LOOK) && self.is_over() {
                break;
            }
            let (asked, directory) = (self.asked, self.directory);
            let class = self.classes.entry(of.class).or_insert_with(|| row(asked, directory, of.class));
            let Some(class) = class else { continue };
            if !see(class, of, asked.spans.map(|_| i64::from(of.bucket))) {
                self.exact = false;
                break;
            }
        }
        Ok(())
    }

    /// Whether the time is up. Then something is left out.
    fn is_over(&mut self) -> bool {
        let over = self.until.is_some_and(|until| clock::monotonic() > until);
        self.exact &= !over;
        over
    }
}

/// The row in which records of a class are counted, where it goes by class;
/// `None`: they are not counted. Who asks for owners is not given those whose
/// owner he is not told: a count would tell him.
fn row(asked: &Asked<'_>, directory: &Directory, class: ClassNo) -> Option<Option<String>> {
    let viewer = Viewer { org: asked.caller.org(), principal: asked.caller.identity() };
    let definition = &directory.class(class)?.definition;
    let IndicatorFilter { owners, tlps, org_kinds, .. } = &asked.counting.filter;
    let told = || directory.discloses(viewer, class, Purpose::Aggregate);
    let kind = || directory.roster().organisations.get(&definition.owner).map(|org| &org.kind);
    let counted = directory.visible(viewer, class, Purpose::Aggregate)
        && (tlps.is_empty() || tlps.contains(&definition.marking.tlp))
        && (owners.is_empty() || (told() && owners.contains(&definition.owner)))
        && (org_kinds.is_empty() || (told() && kind().is_some_and(|kind| org_kinds.contains(kind))));
    counted.then(|| match asked.counting.by {
        Some(Dimension::Owner) => told().then(|| definition.owner.as_str().to_owned()),
        Some(Dimension::OrgKind) => kind().filter(|_| told()).cloned(),
        Some(Dimension::Tlp) => Some(definition.marking.tlp.as_str().to_owned()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use crate::model::aggregate::{Calendar, Histogram};
    use crate::model::indicator::Role;
    use crate::model::marking::Tlp;

    use super::*;

    fn asked(by: Option<Dimension>, filter: IndicatorFilter) -> Option<Plan> {
        plan(&Counting { filter, by, histogram: None, rows: 10 }, None)
    }

    #[test]
    fn one_field_beside_those_of_the_class_is_what_counters_tell() {
        let none = IndicatorFilter::default;
        let labels = || IndicatorFilter { labels: vec!["c2".into()], ..none() };
        let kinds = || IndicatorFilter { kinds: vec![Kind::Url, Kind::Ipv4], ..none() };
        let families = || IndicatorFilter { families: vec!["a".into(), "b".into()], ..none() };
        let tlps = vec![Tlp::Green];
        for (by, filter, index) in [
            (None, none(), Some(Index::Class)),
            (Some(Dimension::Owner), IndicatorFilter { tlps: tlps.clone(), ..labels() }, Some(Index::Label)),
            (Some(Dimension::OrgKind), kinds(), Some(Index::Kind)),
            (Some(Dimension::Kind), IndicatorFilter { tlps, ..kinds() }, Some(Index::Kind)),
            (Some(Dimension::Kind), labels(), Some(Index::LabelKind)),
            (Some(Dimension::Kind), families(), Some(Index::LabelKind)),
            (Some(Dimension::Kind), IndicatorFilter { families: vec!["a".into()], ..labels() }, None),
            (Some(Dimension::Label), none(), Some(Index::Label)),
            (Some(Dimension::Label), labels(), None),
            (Some(Dimension::Label), kinds(), None),
            (Some(Dimension::Family), families(), Some(Index::Label)),
            (Some(Dimension::Campaign), families(), None),
            (None, IndicatorFilter { families: vec!["a".into()], ..labels() }, None),
            (None, IndicatorFilter { labels: vec!["a".into(), "b".into()], ..none() }, None),
            (None, IndicatorFilter { techniques: vec!["T1566".into(), "T1204".into()], ..none() }, None),
            (None, IndicatorFilter { roles: vec![Role::Tool, Role::Sink], ..none() }, Some(Index::Label)),
            (None, IndicatorFilter { states: vec![State::Active], ..none() }, Some(Index::Class)),
            (None, IndicatorFilter { states: vec![State::Revoked], ..none() }, None),
            (None, IndicatorFilter { confidence: Some((0, 100)), ..none() }, None),
            (None, IndicatorFilter { except: Some(Box::default()), ..none() }, None),
            (Some(Dimension::Outcome), none(), None),
        ] {
            let what = format!("{by:?} {filter:?}");
            assert_eq!(asked(by, filter).map(|plan| plan.index), index, "{what}");
        }
    }

    #[test]
    fn counters_tell_whole_days_and_months_in_viet_nam() {
        let at = |local| Some(Timestamp::from_micros_clamped(local - counters::OFFSET * 1_000_000));
        let published = |from, to| IndicatorFilter { published: Span { from, to }, ..Default::default() };
        let time = |filter| asked(None, filter).map(|plan| (plan.granularity, plan.buckets));
        assert_eq!(time(published(None, None)), Some((Granularity::All, 0..=0)));
        assert_eq!(time(published(at(2 * DAY), at(5 * DAY))), Some((Granularity::Day, 2..=4)));
        assert_eq!(time(published(at(2 * DAY), None)), Some((Granularity::Day, 2..=u32::MAX)));
        assert_eq!(time(published(at(2 * DAY + 1), None)), None);
        assert_eq!(time(published(None, at(DAY / 2))), None);
        let spans = |offset| Spans { calendar: Calendar { per: Per::Month, offset }, first: 3, last: 5 };
        let histogram = Some(Histogram { per: Per::Month, from: None, to: None, offset: 0 });
        let counting = Counting { filter: IndicatorFilter::default(), by: None, histogram, rows: 10 };
        let buckets =
            |counting: &Counting, offset| plan(counting, Some(spans(offset))).map(|plan| plan.buckets);
        assert_eq!((buckets(&counting, 420), buckets(&counting, 0)), (Some(3..=5), None));
        let counting = Counting { filter: published(at(DAY), None), ..counting };
        assert_eq!(buckets(&counting, 420), None);
        // Beside a label kinds are counted by months.
        let labels = || IndicatorFilter { labels: vec!["c2".into()], ..Default::default() };
        let by_kind = |filter, spans| {
            let counting = Counting { filter, by: Some(Dimension::Kind), histogram, rows: 10 };
            plan(&counting, spans).map(|plan| (plan.granularity, plan.buckets))
        };
        let days = Spans { calendar: Calendar { per: Per::Day, offset: 420 }, first: 3, last: 5 };
        assert_eq!(by_kind(labels(), Some(spans(420))), Some((Granularity::Month, 3..=5)));
        assert_eq!(by_kind(labels(), None), Some((Granularity::Month, 0..=u32::MAX)));
        assert_eq!(by_kind(labels(), Some(days)), None);
        assert_eq!(
            by_kind(IndicatorFilter { published: published(at(2 * DAY), None).published, ..labels() }, None),
            None
        );
    }
}
