//! Decides whether the machine's clock is believed: one that jumps by a day or
//! more is not, until a person says that it is right.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::clock::{Clock, SystemClock, Timestamp, monotonic};

/// The smallest jump that is not believed. A machine that was asleep for a
/// night is; what would end the certificates of many is not.
pub const IMPLAUSIBLE: Duration = Duration::from_secs(24 * 60 * 60);

/// A clock that knows no date and never jumps.
pub trait Stopwatch: Send + Sync + fmt::Debug {
    /// How long it has run.
    fn elapsed(&self) -> Duration;
}

/// The machine's monotonic clock.
#[derive(Debug)]
struct SystemStopwatch(Instant);

impl Stopwatch for SystemStopwatch {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The machine's monotonic clock, from now on.
#[must_use]
pub fn stopwatch() -> Arc<dyn Stopwatch> {
    Arc::new(SystemStopwatch(monotonic()))
}

/// The wall clock as long as it goes evenly, and what it would show had it not
/// jumped when it did.
///
/// Steps of seconds, minutes and hours are followed at once.
#[derive(Debug)]
pub struct SteadyClock {
    wall: Arc<dyn Clock>,
    stopwatch: Arc<dyn Stopwatch>,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// What was shown last, and what the stopwatch showed then.
    shown: Timestamp,
    at: Duration,
    doubted: bool,
}

impl SteadyClock {
    /// The machine's own clocks.
    #[must_use]
    pub fn system() -> Arc<Self> {
        Self::new(SystemClock::shared(), stopwatch())
    }

    /// A clock that believes `wall` now, and holds it against `stopwatch` from
    /// now on.
    #[must_use]
    pub fn new(wall: Arc<dyn Clock>, stopwatch: Arc<dyn Stopwatch>) -> Arc<Self> {
        let state = State { shown: wall.now(), at: stopwatch.elapsed(), doubted: false };
        Arc::new(Self { wall, stopwatch, state: Mutex::new(state) })
    }

    /// What the machine's clock shows, believed or not.
    #[must_use]
    pub fn machine(&self) -> Timestamp {
        self.wall.now()
    }

    /// Believes the machine's clock from now on, on a person's word.
    pub fn accept(&self) {
        let mut state = self.state.lock();
        *state = State { shown: self.wall.now(), at: self.stopwatch.elapsed(), doubted: false };
        tracing::warn!(time = %state.shown, "the machine's clock is believed, on the operator's word");
    }

    fn read(&self) -> State {
        let mut state = self.state.lock();
        let (wall, at) = (self.wall.now(), self.stopwatch.elapsed());
        let expected = state.shown.saturating_add(at.saturating_sub(state.at));
        let gap = wall.since(expected).max(expected.since(wall));
        let doubted = gap >= IMPLAUSIBLE;
        if doubted && !state.doubted {
            tracing::error!(
                machine = %wall,
                %expected,
                "the machine's clock has jumped and is not believed: nothing expires by it; set it right, \
                 or confirm it with: luytred clock accept"
            );
        } else if !doubted && state.doubted {
            tracing::info!(time = %wall, "the machine's clock is back where it should be");
        }
        *state = State { shown: if doubted { expected } else { wall }, at, doubted };
        *state
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        self.read().shown
    }

    fn is_doubted(&self) -> bool {
        self.read().doubted
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Shows the seconds that it was set to.
    #[derive(Debug, Default)]
    struct Hand(AtomicU64);

    impl Hand {
        fn turn(&self, seconds: i64) {
            let now = self.0.load(Ordering::SeqCst);
            self.0.store(now.checked_add_signed(seconds).unwrap(), Ordering::SeqCst);
        }
    }

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros_clamped(self.0.load(Ordering::SeqCst) * 1_000_000)
        }
    }

    impl Stopwatch for Hand {
        fn elapsed(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::SeqCst))
        }
    }

    const YEAR: i64 = 365 * 86_400;

    fn clock() -> (Arc<Hand>, Arc<Hand>, Arc<SteadyClock>) {
        let (wall, watch) = (Arc::new(Hand::default()), Arc::new(Hand::default()));
        wall.turn(50 * YEAR);
        let steady = SteadyClock::new(Arc::clone(&wall) as _, Arc::clone(&watch) as _);
        (wall, watch, steady)
    }

    #[test]
    fn a_clock_that_goes_evenly_or_is_set_by_hours_is_followed() {
        let (wall, watch, steady) = clock();
        for step in [2, -2, 3_600, -20 * 3_600, 0] {
            wall.turn(10 + step);
            watch.turn(10);
            assert_eq!(steady.now(), wall.now(), "{step}");
            assert!(!steady.is_doubted());
        }
        // However long nobody looked.
        wall.turn(3 * YEAR);
        watch.turn(3 * YEAR);
        assert_eq!(steady.now(), wall.now());
    }

    #[test]
    fn a_jump_of_a_year_either_way_is_not_followed_and_time_goes_on() {
        for jump in [YEAR, -YEAR] {
            let (wall, watch, steady) = clock();
            let before = steady.now();
            wall.turn(jump);
            assert_eq!(steady.now(), before);
            assert!(steady.is_doubted());
            wall.turn(60);
            watch.turn(60);
            assert_eq!(steady.now(), before.saturating_add(Duration::from_secs(60)));
            // Set right by itself.
            wall.turn(-jump);
            assert_eq!(steady.now(), wall.now());
            assert!(!steady.is_doubted());
        }
    }

    #[test]
    fn a_jump_is_followed_once_a_person_agrees() {
        let (wall, _watch, steady) = clock();
        wall.turn(YEAR);
        assert!(steady.is_doubted());
        steady.accept();
        assert_eq!(steady.now(), wall.now());
        assert!(!steady.is_doubted());
    }
}
