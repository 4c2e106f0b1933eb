//! Decides what time it is for a hub under test: what the test says.

use std::sync::atomic::{AtomicU64, Ordering};

use luytre::base::clock::{Clock, Timestamp};

/// A clock that stands until it is set.
#[derive(Debug)]
pub(crate) struct Hands(AtomicU64);

impl Hands {
    /// A clock that shows this, in microseconds since the Unix epoch.
    pub(crate) fn new(micros: u64) -> Self {
        Self(AtomicU64::new(micros))
    }

    /// A clock that shows noon of `day` at the hub's place.
    pub(crate) fn noon(day: time::Date) -> Self {
        Self::new(noon(day))
    }

    /// Shows noon of `day` at the hub's place.
    pub(crate) fn set_noon(&self, day: time::Date) {
        self.set(noon(day));
    }

    pub(crate) fn set(&self, micros: u64) {
        self.0.store(micros, Ordering::SeqCst);
    }

    pub(crate) fn advance(&self, micros: u64) {
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

/// Noon of a day at the hub's place, UTC+7.
pub(crate) fn noon(day: time::Date) -> u64 {
    u64::try_from(day.midnight().assume_utc().unix_timestamp()).unwrap() * 1_000_000 + 5 * 3_600_000_000
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros_clamped(self.0.load(Ordering::SeqCst))
    }
}
