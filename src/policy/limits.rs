//! Decides how much one organisation, and one principal of it, may ask of the
//! hub: so many units a second with ten seconds' worth at once, by the generic
//! cell rate algorithm (ITU-T I.371), and so many streams. A request that is
//! larger than all that is kept passes alone and leaves a debt, so that nothing
//! becomes impossible.

#![deny(clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::org::OrgSlug;

/// What may be used at once after a pause, in time.
pub const BURST: Duration = Duration::from_secs(10);

/// What is limited by the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Rate {
    /// Indicators and sightings sent.
    Items,
    /// Bytes of messages sent.
    Bytes,
    /// Values looked up.
    Lookups,
    /// Microseconds of the hub's work on answers from history.
    Reading,
}

impl Rate {
    /// Every one, by its number.
    pub const ALL: [Self; 4] = [Self::Items, Self::Bytes, Self::Lookups, Self::Reading];

    /// Its key in the configuration, and its name to callers and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Items => "items_per_second",
            Self::Bytes => "bytes_per_second",
            Self::Lookups => "lookups_per_second",
            Self::Reading => "reading_per_second",
        }
    }

    const fn of(self, quota: &Quota) -> u64 {
        match self {
            Self::Items => quota.items,
            Self::Bytes => quota.bytes,
            Self::Lookups => quota.lookups,
            Self::Reading => quota.reading,
        }
    }
}

/// Name of the limit on what is stored.
pub const STORED: &str = "stored_bytes_per_organisation";

/// Name of the limit on open streams.
pub const STREAMS: &str = "streams_per_organisation";

/// How much one organisation may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Items a second.
    pub items: u64,
    /// Bytes a second.
    pub bytes: u64,
    /// Look-ups a second.
    pub lookups: u64,
    /// Microseconds of reading a second.
    pub reading: u64,
    /// Streams open at once.
    pub streams: usize,
    /// Bytes of what it published and reported that are in the log; `None`:
    /// as many as there is room for.
    pub stored: Option<u64>,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            items: 1_000_000,
            bytes: 1 << 30,
            lookups: 2_000_000,
            reading: 16_000_000,
            streams: 512,
            stored: None,
        }
    }
}

impl Quota {
    /// The most of a rate.
    #[must_use]
    pub const fn most(&self, rate: Rate) -> u64 {
        rate.of(self)
    }

    /// So many hundredths of it, and one of everything at least.
    fn share(&self, percent: u32) -> Self {
        let part =
            |whole: u64| whole.saturating_mul(u64::from(percent)).checked_div(100).map_or(1, |p| p.max(1));
        let streams = part(u64::try_from(self.streams).unwrap_or(u64::MAX));
        Self {
            items: part(self.items),
            bytes: part(self.bytes),
            lookups: part(self.lookups),
            reading: part(self.reading),
            streams: usize::try_from(streams).unwrap_or(usize::MAX),
            stored: self.stored,
        }
    }
}

/// How much everyone may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quotas {
    /// Each organisation.
    pub organisation: Quota,
    /// Hundredths of its organisation's that one principal may have.
    pub principal_percent: u32,
    /// Organisations that may ask for more or less.
    pub exceptions: BTreeMap<OrgSlug, Quota>,
}

impl Default for Quotas {
    fn default() -> Self {
        Self { organisation: Quota::default(), principal_percent: 100, exceptions: BTreeMap::new() }
    }
}

impl Quotas {
    /// What an organisation may ask for.
    #[must_use]
    pub fn of(&self, organisation: &OrgSlug) -> Quota {
        self.exceptions.get(organisation).copied().unwrap_or(self.organisation)
    }

    /// Whether there is anybody whose store is limited.
    #[must_use]
    pub fn limits_stored(&self) -> bool {
        self.organisation.stored.is_some() || self.exceptions.values().any(|quota| quota.stored.is_some())
    }

    /// What one principal of it may.
    #[must_use]
    pub fn of_principal(&self, organisation: &OrgSlug) -> Quota {
        self.of(organisation).share(self.principal_percent)
    }
}

/// How much of one rate was used of late: when all of it will be there again,
/// by a clock that never jumps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket(Duration);

impl Bucket {
    /// Nothing was used.
    pub const FULL: Self = Self(Duration::ZERO);

    /// How long to wait for `amount` at `rate` a second; none: it may be had
    /// now. What is larger than a burst waits until nothing is used.
    #[must_use]
    pub fn wait(self, rate: u64, amount: u64, now: Duration) -> Duration {
        let needed = time_of(amount, rate).min(BURST);
        self.0.max(now).saturating_add(needed).saturating_sub(now).saturating_sub(BURST)
    }

    /// Uses `amount`, whether it is there or not.
    pub fn take(&mut self, rate: u64, amount: u64, now: Duration) {
        self.0 = self.0.max(now).saturating_add(time_of(amount, rate));
    }

    /// As much used, at another rate.
    #[must_use]
    pub fn at_rate(self, before: u64, after: u64, now: Duration) -> Self {
        let used = self.0.saturating_sub(now).as_nanos().saturating_mul(u128::from(before));
        let debt = used.checked_div(u128::from(after.max(1))).unwrap_or_default();
        Self(now.saturating_add(Duration::from_nanos(u64::try_from(debt).unwrap_or(u64::MAX))))
    }

    /// How much may be had now.
    #[must_use]
    pub fn left(self, rate: u64, now: Duration) -> u64 {
        let left = BURST.saturating_sub(self.0.saturating_sub(now));
        let units = left.as_nanos().saturating_mul(u128::from(rate)).checked_div(NANOS).unwrap_or_default();
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    /// Whether nothing of it is used.
    #[must_use]
    pub fn is_full(self, now: Duration) -> bool {
        self.0 <= now
    }
}

const NANOS: u128 = 1_000_000_000;

/// In what time so much comes back; a rate of nothing counts as one.
fn time_of(amount: u64, rate: u64) -> Duration {
    let nanos = u128::from(amount).saturating_mul(NANOS).checked_div(u128::from(rate.max(1)));
    Duration::from_nanos(u64::try_from(nanos.unwrap_or_default()).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "in a test a panic is the report")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_is_there_at_once_and_comes_back_by_the_second() {
        let (mut bucket, start) = (Bucket::default(), SECOND * 100);
        assert_eq!((bucket.left(5, start), bucket.wait(5, 50, start)), (50, Duration::ZERO));
        bucket.take(5, 50, start);
        assert_eq!((bucket.left(5, start), bucket.wait(5, 5, start)), (0, SECOND));
        assert_eq!(bucket.wait(5, 5, start + SECOND), Duration::ZERO);
        assert_eq!(bucket.left(5, start + SECOND * 3), 15);
        assert!(!bucket.is_full(start + SECOND * 9) && bucket.is_full(start + BURST));
    }

    #[test]
    fn what_is_larger_than_a_burst_passes_alone_and_leaves_a_debt() {
        let (mut bucket, start) = (Bucket::default(), SECOND);
        assert_eq!(bucket.wait(1, 1_000, start), Duration::ZERO);
        bucket.take(1, 1_000, start);
        assert_eq!(bucket.wait(1, 1, start), SECOND * 991);
        assert_eq!(bucket.wait(1, 1_000, start), SECOND * 1_000, "until the debt is paid and nothing used");
        assert_eq!(bucket.wait(1, 1_000, start + SECOND * 1_000), Duration::ZERO);
    }

    #[test]
    fn a_principal_has_its_share_and_one_at_least() {
        let slug = OrgSlug::parse("a").unwrap();
        let small = Quota { items: 1, streams: 3, ..Quota::default() };
        let quotas =
            Quotas { principal_percent: 50, exceptions: [(slug.clone(), small)].into(), ..Quotas::default() };
        let own = quotas.of_principal(&slug);
        assert_eq!((quotas.of(&slug), own.items, own.streams, own.bytes), (small, 1, 1, 1 << 29));
        assert_eq!(quotas.of(&OrgSlug::parse("b").unwrap()), Quota::default());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whoever waits as told is never given more than a burst and the rate.
        #[test]
        fn nobody_is_given_more_than_a_burst_and_the_rate(
            rate in 1_u64..1_000,
            asked in proptest::collection::vec((0_u64..2_000, 0_u64..5_000), 1..60),
        ) {
            let (mut bucket, mut now, mut given) = (Bucket::default(), Duration::ZERO, 0_u128);
            for (amount, pause) in asked {
                now += Duration::from_millis(pause);
                let amount = amount.min(rate * BURST.as_secs());
                if bucket.wait(rate, amount, now).is_zero() {
                    bucket.take(rate, amount, now);
                    given += u128::from(amount);
                }
                // Each rounds its time down by less than a nanosecond.
                let most = u128::from(rate) * (now + BURST).as_nanos() / NANOS + 1;
                prop_assert!(given <= most, "{given} of {most}");
            }
        }
    }
}
