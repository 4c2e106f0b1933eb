//! Decides how often a wrong enrolment token may be shown: so rarely that
//! nobody guesses, and whoever guesses keeps nobody else out.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a wrong token counts at most.
const WINDOW: Duration = Duration::from_secs(10 * 60);
/// Most wrong tokens from one source within [`WINDOW`].
const MAX_OF_SOURCE: u32 = 10;
/// Wrong tokens in all within [`WINDOW`] past which one is the most from each
/// source.
const MAX_IN_ALL: u32 = 1_000;
/// Most sources that are remembered; the one whose last wrong token is the
/// longest ago is forgotten first.
const MAX_SOURCES: usize = 4_096;

/// Wrong tokens of late.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When the first was shown that counts.
    began: Option<Instant>,
    in_all: u32,
    number: u64,
    /// Of each source: how many, and the number of the last.
    sources: HashMap<IpAddr, (u32, u64)>,
    /// The source of each of these numbers.
    last: BTreeMap<u64, IpAddr>,
}

impl Attempts {
    /// Takes note of a token from `source` that was looked up, and whether it
    /// was right. `source` stands for all addresses that one host may have.
    ///
    /// # Errors
    /// The source has shown too many wrong ones, and this one is not to be
    /// taken either, be it right or wrong; with the time until it may try again.
    pub fn note(&self, source: IpAddr, right: bool, now: Instant) -> Result<(), Duration> {
        let mut state = self.0.lock();
        if let Some(began) = state.began {
            let passed = now.saturating_duration_since(began);
            if passed >= WINDOW {
                *state = State::default();
            } else if state.of(source) >= state.limit() {
                return Err(WINDOW - passed);
            }
        }
        if !right {
            state.count(source, now);
        }
        Ok(())
    }
}

impl State {
    fn of(&self, source: IpAddr) -> u32 {
        self.sources.get(&source).map_or(0, |(count, _)| *count)
    }

    const fn limit(&self) -> u32 {
        if self.in_all < MAX_IN_ALL { MAX_OF_SOURCE } else { 1 }
    }

    fn count(&mut self, source: IpAddr, now: Instant) {
        self.began.get_or_insert(now);
        self.in_all = self.in_all.saturating_add(1);
        self.number += 1;
        let (count, last) = self.sources.entry(source).or_default();
        *count = count.saturating_add(1);
        let before = std::mem::replace(last, self.number);
        self.last.remove(&before);
        self.last.insert(self.number, source);
        if self.sources.len() > MAX_SOURCES
            && let Some((_, oldest)) = self.last.pop_first()
        {
            self.sources.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock;

    fn source(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn a_source_that_guesses_is_refused_and_another_is_not() {
        let (attempts, now) = (Attempts::default(), clock::monotonic());
        for _ in 0..MAX_OF_SOURCE {
            assert_eq!(attempts.note(source(1), false, now), Ok(()));
        }
        let later = now + WINDOW / 4;
        assert_eq!(attempts.note(source(1), false, later), Err(WINDOW - WINDOW / 4));
        assert!(attempts.note(source(1), true, later).is_err(), "a right guess is a guess");
        assert_eq!(attempts.note(source(2), true, later), Ok(()));
        assert_eq!(attempts.note(source(1), true, now + WINDOW), Ok(()));
    }

    #[test]
    fn what_is_right_does_not_count() {
        let (attempts, now) = (Attempts::default(), clock::monotonic());
        for _ in 0..MAX_IN_ALL * 2 {
            assert_eq!(attempts.note(source(1), true, now), Ok(()));
        }
        assert_eq!(attempts.note(source(1), false, now), Ok(()));
    }

    #[test]
    fn past_the_limit_for_all_each_source_has_one_guess_and_nobody_honest_is_kept_out() {
        let (attempts, now) = (Attempts::default(), clock::monotonic());
        for number in 0..MAX_IN_ALL {
            assert_eq!(attempts.note(source(number), false, now), Ok(()));
        }
        assert!(attempts.note(source(0), false, now).is_err());
        assert_eq!(attempts.note(source(MAX_IN_ALL), false, now), Ok(()));
        assert!(attempts.note(source(MAX_IN_ALL), false, now).is_err());
        assert_eq!(attempts.note(source(MAX_IN_ALL + 1), true, now), Ok(()));
    }

    #[test]
    fn no_more_sources_are_remembered_than_there_is_room_for() {
        let (attempts, now) = (Attempts::default(), clock::monotonic());
        let many = u32::try_from(MAX_SOURCES).unwrap() + 10;
        for number in 0..many {
            assert_eq!(attempts.note(source(number), false, now), Ok(()));
        }
        let state = attempts.0.lock();
        assert_eq!((state.sources.len(), state.last.len()), (MAX_SOURCES, MAX_SOURCES));
        assert_eq!((state.of(source(9)), state.of(source(10))), (0, 1));
    }
}
