//! Decides which records are found by their values alone: those of a value, of
//! the networks around an address, of what lies inside a network, of values
//! that begin in some way.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Instant;

use ipnet::IpNet;

use crate::base::clock;
use crate::model::indicator::wider::wider;
use crate::model::indicator::{Kind, Observable};
use crate::model::position::Position;
use crate::model::query::{IndicatorFilter, ValueMatch};
use crate::store::chunk::Op;
use crate::store::keys::{self, Dimension, Family};
use crate::store::postings::Posting;
use crate::store::record::{self, Assertion};

use super::super::error::Error;
use super::super::fetch::damaged;
use super::super::shared::Shared;
use super::super::store_error;
use super::lists;
use super::ranges::{Range, beginning, inside};
use super::sight::Sight;
use super::ways;

/// Values that are passed over for each record that may be found.
const PASSED: usize = 4;
/// Most values of one kind, too long for their keys, that are looked at for
/// those that begin in some way, where the index does not tell.
const UNORDERED: usize = 4_096;
/// Values, or blocks of postings, after which is looked what time it is.
const LOOKED_UP: usize = 256;
/// Most chunks of the log that are looked at for what is not indexed yet.
const READ: usize = 64;

/// How far one looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Whether what may be asked for is in the index.
    pub(super) indexed: bool,
    /// As of when records are asked for.
    pub(super) origin: Position,
    /// Most records.
    pub(super) most: usize,
    /// When to give up.
    pub(super) until: Option<Instant>,
}

/// Whether the records that match can be found by their values.
pub(super) fn can(filter: &IndicatorFilter) -> bool {
    let known = |value: &ValueMatch| match value {
        ValueMatch::Exact(_) | ValueMatch::Inside(_) | ValueMatch::Containing(_) | ValueMatch::Prefix(_) => {
            true
        }
        ValueMatch::DomainSuffix(_) => false,
    };
    !filter.values.is_empty() && filter.values.iter().all(known) && lists::hosts(filter).is_none()
}

/// The records that have such a value today and that the caller may see, each
/// once with the newest of its versions that is known, and those that had it, and
/// perhaps others; and whether of each the newest version is known that there is.
/// `None`: there are more than `most`.
pub(super) fn find(
    shared: &Shared,
    sight: &mut Sight<'_>,
    filter: &IndicatorFilter,
    bounds: Bounds,
) -> Result<Option<(Vec<Posting>, bool)>, Error> {
    let most = bounds.most;
    let mut found = Found { shared, sight, versions: Vec::new(), bounds, passed: 0 };
    let (mut keys, mut hashes) = (Vec::new(), false);
    let all_cut = shared.index.otherwise.all_cut != Position::ZERO;
    for value in &filter.values {
        let ranges = match value {
            ValueMatch::Exact(value) => {
                keys.push(keys::value(value));
                hashes |= value.kind().is_hash();
                continue;
            }
            ValueMatch::Containing(net) => {
                keys.extend(around(found.sight, *net));
                continue;
            }
            ValueMatch::Inside(net) => inside(*net),
            ValueMatch::Prefix(prefix) => beginning(prefix, &filter.kinds, all_cut),
            ValueMatch::DomainSuffix(_) => return Ok(None),
        };
        for range in ranges {
            hashes |= range.kind.is_hash();
            if !found.range(&range)? {
                return Ok(None);
            }
        }
    }
    for assertions in shared.store.assertions(&keys).map_err(store_error)? {
        found.add(&assertions);
    }
    // After what is now was read, so that nothing falls between the two.
    let of_today = found.versions.len();
    if hashes && !found.former(&filter.values)? {
        return Ok(None);
    }
    let are_newest = found.versions.len() == of_today;
    let found = ways::records(found.versions);
    Ok((found.len() <= most).then_some((found, are_newest)))
}

/// The keys of the networks around one: of the lengths that the caller may
/// know of.
fn around(sight: &Sight<'_>, net: IpNet) -> Vec<Vec<u8>> {
    let lengths = sight.now.prefix_lengths(sight.viewer, sight.purpose);
    let value = match (net.addr(), net.prefix_len() == net.max_prefix_len()) {
        (IpAddr::V4(ip), true) => Observable::Ipv4(ip),
        (IpAddr::V6(ip), true) => Observable::Ipv6(ip),
        _ => Observable::Cidr(net),
    };
    let mut keys: Vec<_> = wider(&value, lengths).into_iter().map(|(_, outer)| keys::value(&outer)).collect();
    keys.push(keys::value(&Observable::Cidr(net)));
    keys
}

/// Records that were found.
struct Found<'a, 's> {
    shared: &'a Shared,
    sight: &'a mut Sight<'s>,
    versions: Vec<Posting>,
    bounds: Bounds,
    passed: usize,
}

impl Found<'_, '_> {
    fn add(&mut self, assertions: &[Assertion]) {
        // A class may be newer than the directory that was at hand.
        self.sight.renew(self.shared);
        let kept = assertions.iter().filter(|assertion| !assertion.is_dropped());
        let seen = kept.filter(|assertion| self.sight.sees_now(assertion.class));
        let version = |seen: &Assertion| Posting { position: seen.newest, handle: seen.handle };
        self.versions.extend(seen.map(version));
    }

    /// Whether that is enough: one more was passed over.
    fn is_over(&mut self) -> bool {
        self.passed += 1;
        self.versions.len() > self.bounds.most
            || self.passed > self.bounds.most.saturating_mul(PASSED)
            || (self.passed.is_multiple_of(LOOKED_UP)
                && self.bounds.until.is_some_and(|until| clock::monotonic() > until))
    }

    /// Adds the records that had such a hash at the origin and have it no more.
    /// Whether they were not too many.
    fn former(&mut self, values: &[ValueMatch]) -> Result<bool, Error> {
        let origin = self.bounds.origin;
        let any = values.iter().any(|value| matches!(value, ValueMatch::Prefix(_)));
        // How they begin no term tells; but of what is asked for as it stands
        // little has changed since.
        if any && self.changed_since(origin)? {
            return Ok(true);
        }
        let (store, end) = (&self.shared.store, Position::from_raw(u64::MAX));
        let indexed = self.shared.index.upto();
        let exact = |value: &ValueMatch| match value {
            ValueMatch::Exact(value) if value.kind().is_hash() => {
                let term = keys::value_term(&keys::value(value));
                Some(term..=term)
            }
            _ => None,
        };
        // All of them are read, and once.
        let terms = if any { vec![0..=u64::MAX] } else { values.iter().filter_map(exact).collect() };
        for terms in terms {
            let mut blocks = store.all_postings_in(Dimension::Former, terms, end).map_err(store_error)?;
            while let Some(block) = blocks.next_block().map_err(store_error)? {
                // Each stands where a hash was given up.
                self.versions.extend(block.into_iter().filter(|version| version.position > origin));
                if self.is_over() {
                    return Ok(false);
                }
            }
        }
        self.changed_since(indexed)
    }

    /// Adds the files that have changed since; whether that is not too long ago
    /// to tell by the log.
    fn changed_since(&mut self, since: Position) -> Result<bool, Error> {
        let mut log = self.shared.store.scan(since).map_err(store_error)?;
        for _ in 0..READ {
            let Some(chunk) = log.next_chunk().map_err(store_error)? else { return Ok(true) };
            let view = chunk.view().ok_or_else(|| damaged(chunk.first))?;
            for item in view.items() {
                let item = item.ok_or_else(|| damaged(chunk.first))?;
                let hash = Kind::ALL.iter().any(|kind| kind.is_hash() && kind.number() == item.header.kind);
                if item.position > since
                    && hash
                    && item.header.op.is_version()
                    && item.header.op != Op::Create
                {
                    self.versions.push(Posting { position: item.position, handle: item.header.handle });
                }
            }
        }
        Ok(false)
    }

    /// Adds those of a range of keys; whether that was not too many.
    fn range(&mut self, range: &Range) -> Result<bool, Error> {
        match &range.digests {
            Some(terms) if self.bounds.indexed => self.beginning(terms.clone()),
            _ => self.ordered(range),
        }
    }

    /// Adds those that begin in some way.
    fn beginning(&mut self, terms: RangeInclusive<u64>) -> Result<bool, Error> {
        let (store, end) = (&self.shared.store, Position::from_raw(u64::MAX));
        let about = store.postings_about(Dimension::Beginning, &terms).map_err(store_error)?;
        if about > PASSED as u64 * self.bounds.most as u64 {
            return Ok(false);
        }
        let mut blocks = store.all_postings_in(Dimension::Beginning, terms, end).map_err(store_error)?;
        while let Some(block) = blocks.next_block().map_err(store_error)? {
            self.versions.extend(block);
            if self.is_over() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn ordered(&mut self, range: &Range) -> Result<bool, Error> {
        let (store, head) = (&self.shared.store, range.from.get(..3).unwrap_or_default());
        let about = store.records_about(Family::Values, &range.from, &range.to).map_err(store_error)?;
        if about > PASSED as u64 * self.bounds.most as u64 {
            return Ok(false);
        }
        let mut records = store.records_from(Family::Values, head, &range.from).map_err(store_error)?;
        let mut passed = 0;
        while let Some((key, value)) = records.peek().map_err(store_error)? {
            if key > range.to.as_slice() {
                break;
            }
            passed += 1;
            if self.is_over() || (range.digests.is_some() && passed > UNORDERED) {
                return Ok(false);
            }
            let assertions = record::decode_assertions(value)
                .ok_or_else(|| store_error(crate::store::Error::corrupt("assertions", key)))?;
            self.add(&assertions);
            records.advance();
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::hub::caller::Caller;
    use crate::hub::{Hub, Options, testing, verify};
    use crate::model::indicator::{Draft, normalise};
    use crate::model::marking::{Marking, Tlp};
    use crate::model::query::Question;
    use crate::policy::visibility::Purpose;
    use crate::store::index::tests::index_otherwise;
    use crate::store::{Store, Tuning};

    async fn publish(hub: &Hub, caller: &Caller, schemes: &[&str], host: &str) {
        let url = |scheme: &&str| {
            let url = format!("{scheme}://{host}/{}", "x".repeat(200));
            Ok(Draft::new(normalise::detect(&url).unwrap().observable, Marking::open(Tlp::Green)))
        };
        let done = hub.publish(caller, Uuid::new_v4(), schemes.iter().map(url).collect()).await.unwrap();
        assert!(done.iter().all(Result::is_ok), "{done:?}");
        hub.shared.index.reached(hub.shared.tail.committed()).await;
    }

    /// Records that are found by a beginning, where no more than `most` may be.
    fn found(hub: &Hub, caller: &Caller, beginning: &str, most: usize) -> Option<usize> {
        let values = vec![ValueMatch::Prefix(beginning.into())];
        let filter = IndicatorFilter { values, kinds: vec![Kind::Url], ..IndicatorFilter::default() };
        let mut sight = Sight::new(&hub.shared, caller, Purpose::Search, None);
        let bounds = Bounds { indexed: true, origin: hub.shared.tail.committed(), most, until: None };
        find(&hub.shared, &mut sight, &filter, bounds).unwrap().map(|(found, _)| found.len())
    }

    #[tokio::test]
    async fn web_addresses_stand_in_the_way_of_no_other_beginning() {
        let (_dir, hub, caller) = testing::hub(&["a"]);
        for host in 0..20 {
            publish(&hub, &caller, &["https", "http"], &format!("h{host}.example")).await;
        }
        publish(&hub, &caller, &["ftp", "hop"], "files.example").await;
        for (beginning, expected) in [
            // By either scheme.
            ("https://h1.", Some(2)),
            ("ht", None),
            ("https:/", None),
            ("ho", Some(1)),
            ("hop://files", Some(1)),
            ("f", Some(1)),
            ("hx", Some(0)),
        ] {
            assert_eq!(found(&hub, &caller, beginning, 4), expected, "{beginning}");
        }
        hub.close().await;
    }

    #[tokio::test]
    async fn long_urls_that_a_release_before_indexed_are_found_by_how_they_begin() {
        let (dir, hub, _) = testing::hub(&["a"]);
        let path = dir.path().join("data");
        let mut hub = hub;
        for (step, upto) in [Some(Position::from_raw(u64::MAX)), None].into_iter().enumerate() {
            hub.close().await;
            testing::wait_until_gone(hub).await;
            index_otherwise(&Store::open(&path, &Tuning::default()).unwrap(), upto);
            assert!(verify(&path, |_| ()).unwrap().is_clean(), "step {step}");
            hub = Hub::open(Options { data_dir: path.clone(), ..Options::default() }).unwrap();
            let caller = testing::caller(&hub, "spiffe://test.example/org/a/system/feed");
            publish(&hub, &caller, &["ftp", "hop", "https"], &format!("n{step}.example")).await;
        }
        let caller = testing::caller(&hub, "spiffe://test.example/org/a/system/feed");
        for beginning in ["ftp:", "f", "ho", "hop:", "hop://n", "https://n", "ht"] {
            let values = vec![ValueMatch::Prefix(beginning.into())];
            let question = Question::new(IndicatorFilter { values, ..IndicatorFilter::default() });
            let page = hub.list(&caller, question, 10, "").await.unwrap();
            assert_eq!(page.indicators.len(), 2, "{beginning}");
        }
        hub.close().await;
        testing::wait_until_gone(hub).await;
        assert!(verify(&path, |_| ()).unwrap().is_clean());
    }
}
