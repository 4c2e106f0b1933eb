//! Decides in which lists of postings everything lies that a question asks
//! for, and how much of it the caller may see, as far as the hub keeps count:
//! what it does not count is not guessed from what is stored, for that is
//! hidden from some. Whether a list is named does not depend on what is stored
//! either; whether it is walked may.

use std::ops::RangeInclusive;
use std::sync::{Arc, Once};

use crate::base::clock::Timestamp;
use crate::model::audience::ClassNo;
use crate::model::indicator::{Kind, State};
use crate::model::org::OrgNo;
use crate::model::position::Position;
use crate::model::query::{IndicatorFilter, Span, ValueMatch};
use crate::model::search::{self, Wanted};
use crate::store::counters::sum_of;
use crate::store::keys::{self, Dimension};

use super::super::error::Error;
use super::super::facets;
use super::super::shared::Shared;
use super::super::store_error;
use super::check::Conditions;
use super::sight::Sight;

/// Most terms of one list: more are not worth their number.
pub(super) const MAX_TERMS: usize = 256;
/// Most terms of a range that are walked one beside the other: those of a week,
/// which has two for each hour, and of its edges.
pub(super) const MAX_NEIGHBOURS: usize = 340;
/// Most days of a span that are walked so: of more, the newest versions are soon
/// met along the log.
const MAX_DAYS: usize = 128;
/// Days of a span, from which on it is looked up by days. Those at its ends are
/// looked up whole.
const MIN_DAYS: u64 = 3;
/// Most words of a search whose lists are taken.
const MAX_WORDS: usize = 3;
/// Most pairs of neighbouring words of a search whose lists are taken.
const MAX_PAIRS: usize = 3;
/// Letters that a word begins with at least, for its list to be taken.
const MIN_OPEN: usize = 2;

const _: () = assert!(search::MAX_KNOWN == facets::MAX_WORDS);

/// A list of postings in which all that is asked for lies.
#[derive(Debug, Clone)]
pub(super) struct List {
    pub(super) name: &'static str,
    pub(super) dimension: Dimension,
    /// `None`: it has too many to be walked one beside the other.
    pub(super) terms: Option<Vec<u64>>,
    /// The range of which its terms are those that are stored, if it is one.
    pub(super) range: Option<RangeInclusive<u64>>,
    /// How many records that hold are in it, of what the caller may see, and
    /// whose owner he is told where the list is by owners; `None`: nobody
    /// knows.
    pub(super) expected: Option<u64>,
}

impl List {
    /// The terms, if they are no more than `most`.
    pub(super) fn few(&self, most: usize) -> Option<&[u64]> {
        self.terms.as_deref().filter(|terms| terms.len() <= most)
    }
}

/// The lists that a question allows, those that tell the most first.
pub(super) fn of(shared: &Shared, asked: &Conditions, sight: &Sight<'_>) -> Result<Vec<List>, Error> {
    let mut lists = Lists { shared, sight, found: Vec::new() };
    let numbers = |orgs: &[OrgNo]| orgs.iter().map(|org| u64::from(org.0)).collect::<Vec<_>>();
    let filter = &asked.filter;
    for (name, terms) in asked.terms.labelled() {
        lists.add(name, Dimension::Label, terms.to_vec());
    }
    if let Some(search) = &filter.text {
        for (left, right) in search.pairs().take(MAX_PAIRS) {
            let term = keys::pair_term(&left.folded, &right.folded);
            lists.add("neighbouring words", Dimension::Pair, vec![term]);
        }
        lists.words(search.words())?;
    }
    if let Some(terms) = hosts(filter) {
        lists.add("host", Dimension::Host, terms);
    }
    // Whoever is revoked stands revoked; what is expired may be so from birth.
    if filter.states == [State::Revoked] {
        lists.add("state", Dimension::Terminal, vec![u64::from(State::Revoked.number())]);
    }
    if !filter.actions.is_empty() {
        let terms = filter.actions.iter().map(|action| u64::from(action.number())).collect();
        lists.add("recommended action", Dimension::Action, terms);
    }
    if let Some((low, high)) = filter.confidence {
        lists.add("confidence", Dimension::Confidence, (u64::from(low)..=u64::from(high)).collect());
    }
    for dimension in [Dimension::FirstSeen, Dimension::LastSeen] {
        if let Some(terms) = asked_of(filter, dimension) {
            let name = if dimension == Dimension::FirstSeen { "first seen" } else { "last seen" };
            let all_posted = shared.index.otherwise.dayless == Position::ZERO;
            match days_of(filter, dimension).filter(|_| all_posted) {
                Some((days, terms)) => lists.between(name, days, terms, MAX_DAYS)?,
                None => lists.between(name, dimension, terms, MAX_NEIGHBOURS)?,
            }
        }
    }
    if let Some(orgs) = asked.terms.owners() {
        lists.add("owner", Dimension::Owner, numbers(orgs));
    }
    if let Some(orgs) = asked.org_kinds.as_deref() {
        lists.add("kind of organisation", Dimension::Owner, numbers(orgs));
    }
    if let Some(kinds) = asked.terms.kinds() {
        lists.add("kind", Dimension::Kind, kinds.into_iter().map(u64::from).collect());
    }
    if !filter.tlps.is_empty() {
        let of_label = |class: &ClassNo| filter.tlps.contains(&sight.now.tlp(*class));
        let terms = classes(sight).filter(of_label).map(|class| u64::from(class.0)).collect();
        lists.add("TLP label", Dimension::Class, terms);
    }
    Ok(lists.found)
}

/// How many records that hold the caller may see; `None`: nobody knows.
pub(super) fn total(shared: &Shared, sight: &Sight<'_>) -> Option<u64> {
    count(shared, sight, Dimension::Class, &[0], |_| true)
}

/// The terms of an ordered dimension that a filter asks for; `None`: it does
/// not ask.
pub(super) fn asked_of(filter: &IndicatorFilter, dimension: Dimension) -> Option<RangeInclusive<u64>> {
    let seen = |span: Span| {
        let first = span.from.map_or(1, |from| keys::seen_term(Some(from)));
        // The hour on which it begins may be one that begins before it.
        let first = if first.is_multiple_of(2) { first } else { first.saturating_sub(1).max(1) };
        let last = span.to.map_or(u64::MAX, |to| keys::seen_term(Some(to)) | 1);
        (!span.is_open()).then_some(first..=last)
    };
    match dimension {
        Dimension::Confidence => filter.confidence.map(|(low, high)| u64::from(low)..=u64::from(high)),
        Dimension::FirstSeen => seen(filter.first_seen),
        Dimension::LastSeen => seen(filter.last_seen),
        _ => None,
    }
}

/// The days on which a filter asks that something was seen, by the dimension that
/// is ordered, if they are many.
fn days_of(filter: &IndicatorFilter, dimension: Dimension) -> Option<(Dimension, RangeInclusive<u64>)> {
    const DAY: u64 = 86_400_000_000;
    let (days, span) = match dimension {
        Dimension::FirstSeen => (Dimension::FirstSeenDay, filter.first_seen),
        Dimension::LastSeen => (Dimension::LastSeenDay, filter.last_seen),
        _ => return None,
    };
    let micros = |at: Timestamp| at.as_micros();
    let (from, to) = (span.from.map_or(0, micros), span.to.map_or(u64::MAX, micros));
    let first = span.from.map_or(0, keys::day_term);
    // A span ends before its last moment.
    let last =
        |to: Timestamp| keys::day_term(Timestamp::from_micros_clamped(to.as_micros().saturating_sub(1)));
    let last = span.to.map_or(u64::MAX, last);
    (to.saturating_sub(from) >= MIN_DAYS * DAY).then_some((days, first..=last))
}

/// The dimension by which an order goes, where a list tells the same as it does.
pub(super) const fn ordered(dimension: Dimension) -> Dimension {
    match dimension {
        Dimension::FirstSeenDay => Dimension::FirstSeen,
        Dimension::LastSeenDay => Dimension::LastSeen,
        other => other,
    }
}

/// The classes of which the caller may see versions. Of a past moment these are
/// those that he might see then: records of them may have been marked anew, and
/// what he sees of a record today is held against that.
fn classes<'s>(sight: &'s Sight<'_>) -> impl Iterator<Item = ClassNo> + 's {
    let all = 1..=u32::try_from(sight.now.class_count()).unwrap_or(u32::MAX);
    all.map(ClassNo).filter(|class| sight.sees(*class))
}

/// The sum of counters of what the caller may see. A counter that cannot be
/// read costs an estimate, and no answer.
fn count(
    shared: &Shared,
    sight: &Sight<'_>,
    dimension: Dimension,
    terms: &[u64],
    classes: impl Fn(ClassNo) -> bool,
) -> Option<u64> {
    static TOLD: Once = Once::new();
    let seen = |class| sight.sees_now(class) && classes(class);
    let summed = |counter: &Arc<[u8]>| {
        sum_of(counter, seen).ok_or_else(|| crate::store::Error::corrupt("counter", dimension))
    };
    let counters = shared.totals.read(&shared.store, dimension, terms);
    match counters.and_then(|counters| counters.iter().map(summed).sum()) {
        Ok(sum) => Some(sum),
        Err(error) => {
            TOLD.call_once(|| {
                tracing::warn!(%error, "questions are planned without counters that cannot be read; run `luytre verify`");
            });
            None
        }
    }
}

/// The terms of the hosts of values, if each of them has one.
pub(super) fn hosts(filter: &IndicatorFilter) -> Option<Vec<u64>> {
    let of_urls = filter.kinds == [Kind::Url];
    let host = |value: &ValueMatch| match value {
        ValueMatch::DomainSuffix(domain) => Some(keys::host_term(domain)),
        ValueMatch::Prefix(prefix) if of_urls => whole_host(prefix).map(keys::host_term),
        _ => None,
    };
    if filter.values.is_empty() { None } else { filter.values.iter().map(host).collect() }
}

/// The host name in the beginning of a URL, if that goes on behind it.
fn whole_host(prefix: &str) -> Option<&str> {
    let (_, rest) = prefix.split_once("://")?;
    let (authority, _) = rest.split_once(['/', '?', '#'])?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    let is_name = !host.starts_with('[') && host.parse::<std::net::IpAddr>().is_err();
    (is_name && !host.is_empty()).then_some(host)
}

struct Lists<'a> {
    shared: &'a Shared,
    sight: &'a Sight<'a>,
    found: Vec<List>,
}

impl Lists<'_> {
    fn add(&mut self, name: &'static str, dimension: Dimension, mut terms: Vec<u64>) {
        terms.sort_unstable();
        terms.dedup();
        if terms.len() > MAX_TERMS {
            return;
        }
        let (shared, sight) = (self.shared, self.sight);
        let expected = match dimension {
            _ if terms.is_empty() => Some(0),
            Dimension::Label | Dimension::Kind => count(shared, sight, dimension, &terms, |_| true),
            Dimension::Owner => {
                let owned = self.owned(&terms);
                let is_owned = |class: ClassNo| owned.binary_search(&class).is_ok();
                count(shared, sight, Dimension::Class, &[0], is_owned)
            }
            Dimension::Class => {
                let of = |class: ClassNo| terms.binary_search(&u64::from(class.0)).is_ok();
                count(shared, sight, Dimension::Class, &[0], of)
            }
            _ => None,
        };
        self.found.push(List { name, dimension, terms: Some(terms), range: None, expected });
    }

    /// The classes of some owners, in order, of those of whose owner the caller
    /// is told.
    fn owned(&self, owners: &[u64]) -> Vec<ClassNo> {
        let now = &self.sight.now;
        let owner = |owner: &u64| now.slug(OrgNo(u32::try_from(*owner).ok()?));
        let of = owners.iter().filter_map(owner).flat_map(|owner| now.classes_of(owner)).copied();
        let mut owned: Vec<_> = of.filter(|class| self.sight.told_now(*class)).collect();
        owned.sort_unstable();
        owned
    }

    /// The lists of the longest words: those are rare.
    fn words<'w>(&mut self, words: impl Iterator<Item = &'w Wanted>) -> Result<(), Error> {
        let mut words: Vec<_> = words.filter(|word| !word.open || word.folded.len() >= MIN_OPEN).collect();
        words.sort_unstable_by_key(|word| std::cmp::Reverse(word.folded.len()));
        for word in words.into_iter().take(MAX_WORDS) {
            if word.open {
                self.between("words", Dimension::Text, keys::text_terms(&word.folded), MAX_NEIGHBOURS)?;
            } else {
                self.add("words", Dimension::Text, vec![keys::text_term(&word.folded)]);
            }
        }
        Ok(())
    }

    /// The list of the terms of a range that have postings, if they are no more
    /// than `most`.
    fn between(
        &mut self,
        name: &'static str,
        dimension: Dimension,
        range: RangeInclusive<u64>,
        most: usize,
    ) -> Result<(), Error> {
        // Most hours and days have some.
        let wide = dimension != Dimension::Text && range.end() - range.start() >= 4 * most as u64;
        let terms = match wide {
            true => None,
            false => self.shared.store.terms_in(dimension, &range, most).map_err(store_error)?,
        };
        self.found.push(List { name, dimension, terms, range: Some(range), expected: None });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::hub::{Hub, Options, testing, verify};
    use crate::model::indicator::{Draft, normalise};
    use crate::model::marking::{Marking, Tlp};
    use crate::model::query::Question;
    use crate::store::index::tests::index_otherwise;
    use crate::store::{Store, Tuning};

    #[test]
    fn the_host_of_a_url_is_known_once_its_beginning_goes_on_behind_it() {
        for (prefix, host) in [
            ("http://a.example/", Some("a.example")),
            ("http://u.v:w@a.example:8080/x", Some("a.example")),
            ("http://a.example", None),
            ("http://a.example:80", None),
            ("http://198.51.100.7/", None),
            ("http://[2001:db8::7]/", None),
            ("a.example/", None),
        ] {
            assert_eq!(whole_host(prefix), host, "{prefix}");
        }
    }

    #[tokio::test]
    async fn what_a_release_before_indexed_by_hours_alone_is_found_in_spans_of_days() {
        let day = |day: u64| Timestamp::from_micros_clamped((16_000 + day) * 86_400_000_000);
        let (dir, mut hub, _) = testing::hub(&["a"]);
        let path = dir.path().join("data");
        for (step, upto) in [Some(Position::from_raw(u64::MAX)), None].into_iter().enumerate() {
            hub.close().await;
            testing::wait_until_gone(hub).await;
            index_otherwise(&Store::open(&path, &Tuning::default()).unwrap(), upto);
            assert!(verify(&path, |_| ()).unwrap().is_clean(), "step {step}");
            hub = Hub::open(Options { data_dir: path.clone(), ..Options::default() }).unwrap();
            let caller = testing::caller(&hub, "spiffe://test.example/org/a/system/feed");
            let draft = |number: u64| Draft {
                first_seen: Some(day(number)),
                ..Draft::new(
                    normalise::detect(&format!("n{number}.step{step}.example")).unwrap().observable,
                    Marking::open(Tlp::Green),
                )
            };
            let done = hub.publish(&caller, Uuid::new_v4(), (0..40).map(|n| Ok(draft(n))).collect()).await;
            assert!(done.unwrap().iter().all(Result::is_ok));
            hub.shared.index.reached(hub.shared.tail.committed()).await;
            for (from, to) in [(0, 10), (3, 40), (0, 300), (39, 42), (12, 14)] {
                let first_seen = Span { from: Some(day(from)), to: Some(day(to)) };
                let filter = IndicatorFilter { first_seen, ..IndicatorFilter::default() };
                let page = hub.list(&caller, Question::new(filter), 100, "").await.unwrap();
                let expected = (to.min(40) - from) * (step as u64 + 1);
                assert_eq!(page.indicators.len() as u64, expected, "step {step}: {from} to {to}");
            }
        }
        hub.close().await;
        testing::wait_until_gone(hub).await;
        assert!(verify(&path, |_| ()).unwrap().is_clean());
    }
}
