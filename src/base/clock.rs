//! Decides where time comes from: every reading of a clock in this crate is
//! made through [`Clock`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment: microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

/// The last microsecond of the year 9999, the bound of RFC 3339.
const MAX_MICROS: u64 = 253_402_300_799_999_999;

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);

    /// From microseconds since the Unix epoch; `None` past the year 9999.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Option<Self> {
        if micros <= MAX_MICROS { Some(Self(micros)) } else { None }
    }

    /// From microseconds since the Unix epoch, cut to the year 9999.
    #[must_use]
    pub const fn from_micros_clamped(micros: u64) -> Self {
        Self(if micros <= MAX_MICROS { micros } else { MAX_MICROS })
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn as_seconds(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Microseconds past the last whole second.
    #[must_use]
    pub const fn subsec_micros(self) -> u32 {
        (self.0 % 1_000_000) as u32
    }

    /// This moment moved forward, cut to the year 9999.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        Self::from_micros_clamped(self.0.saturating_add(by))
    }

    /// This moment moved back, at most to the Unix epoch.
    #[must_use]
    pub fn saturating_sub(self, by: Duration) -> Self {
        let by = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(by))
    }

    /// The span from `earlier` to this moment; zero if it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The same moment for the `time` crate.
    #[must_use]
    pub fn to_offset(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// The day at the hub's place, UTC+7: the day on which dated roles, duties
    /// and organisations begin and end.
    #[must_use]
    pub fn day(self) -> time::Date {
        self.to_offset().to_offset(time::macros::offset!(+7)).date()
    }

    /// From the `time` crate; `None` before the Unix epoch.
    #[must_use]
    pub fn from_offset(at: OffsetDateTime) -> Option<Self> {
        u64::try_from(at.unix_timestamp_nanos() / 1_000).ok().and_then(Self::from_micros)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_offset().format(&Rfc3339) {
            Ok(text) => f.write_str(&text),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A source of time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present moment, UTC. May jump with the machine's clock.
    fn now(&self) -> Timestamp;

    /// Whether it is not the machine's clock that it shows, for that has
    /// jumped and is not believed.
    fn is_doubted(&self) -> bool {
        false
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// A shared handle to the machine's clock.
    #[must_use]
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the one reading of the wall clock")]
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros_clamped(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}

/// A monotonic instant, for spans and deadlines inside this process.
#[must_use]
pub fn monotonic() -> std::time::Instant {
    #[expect(clippy::disallowed_methods, reason = "this is the one reading of the monotonic clock")]
    std::time::Instant::now()
}

/// The machine's clock, set off by whole days so that it reads a chosen date
/// at first; the time of day stays, and time goes on.
#[derive(Debug, Clone, Copy)]
pub struct DatedClock {
    forward: Duration,
    back: Duration,
}

impl DatedClock {
    /// A clock that reads `date` now, at the hub's place.
    #[must_use]
    pub fn starting_on(date: time::Date) -> Self {
        let days = (date - SystemClock.now().day()).whole_days();
        let span = Duration::from_secs(days.unsigned_abs() * 86_400);
        if days >= 0 {
            Self { forward: span, back: Duration::ZERO }
        } else {
            Self { forward: Duration::ZERO, back: span }
        }
    }
}

impl Clock for DatedClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().saturating_add(self.forward).saturating_sub(self.back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_begins_when_it_begins_at_the_hubs_place() {
        let at = time::macros::datetime!(2025-02-28 17:00 UTC);
        let begins = Timestamp::from_offset(at).unwrap();
        assert_eq!(begins.day(), time::macros::date!(2025 - 03 - 01));
        assert_eq!(
            begins.saturating_sub(Duration::from_micros(1)).day(),
            time::macros::date!(2025 - 02 - 28)
        );
    }

    #[test]
    fn a_dated_clock_reads_its_date_and_keeps_the_time_of_day() {
        for date in [time::macros::date!(2019 - 12 - 10), time::macros::date!(2099 - 02 - 28)] {
            let before = SystemClock.now();
            let dated = DatedClock::starting_on(date).now();
            let after = SystemClock.now();
            // Midnight may pass between the readings.
            assert!((0..=1).contains(&(dated.day() - date).whole_days()), "{dated}");
            let day = 86_400_000_000;
            let passed = dated.as_micros() % day;
            assert!(
                (before.as_micros() % day..=after.as_micros() % day).contains(&passed)
                    || before.as_seconds() / 86_400 != after.as_seconds() / 86_400,
                "{before} {dated} {after}"
            );
        }
    }
}
