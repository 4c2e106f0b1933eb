//! Decides how long a call may take: what its caller asks, at most what the
//! hub allows; and how long it takes at least where it asks too much.

use std::time::Duration;

use http::HeaderMap;

use crate::hub::error::Reason;

use super::repair::Outcome;

/// The header in which gRPC carries a deadline.
const HEADER: &str = "grpc-timeout";

/// The time that a call with `headers` has, at most `max`. A malformed
/// deadline bounds nothing.
pub(in crate::rpc) fn of(headers: &HeaderMap, max: Duration) -> Duration {
    headers
        .get(HEADER)
        .and_then(|value| value.to_str().ok())
        .and_then(parse)
        .map_or(max, |asked| asked.min(max))
}

/// How long whoever asks for more than he may waits for the answer: he is told
/// to come again in a second at the soonest, and who comes again at once would
/// else have the hub read and refuse without end what it could do for others.
const REFUSED: Duration = Duration::from_millis(250);

/// How long the answer to a call is held back that has come out so, and that has
/// this time: long before it is over, so that it is that answer which he gets.
pub(in crate::rpc) fn held_back(outcome: Outcome, time: Duration) -> Duration {
    if outcome == Reason::RateLimited.as_str() { REFUSED.min(time / 4) } else { Duration::ZERO }
}

/// Reads one to eight digits and a unit.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(30);

    fn asked(text: &str) -> Duration {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, text.parse().unwrap());
        of(&headers, MAX)
    }

    #[test]
    fn a_caller_may_ask_for_less_time_but_not_for_more() {
        assert_eq!(of(&HeaderMap::new(), MAX), MAX);
        assert_eq!(asked("250m"), Duration::from_millis(250));
        assert_eq!(asked("7S"), Duration::from_secs(7));
        assert_eq!(asked("99999999H"), MAX);
    }

    #[test]
    fn who_asks_too_much_waits_for_the_answer_and_gets_it_before_he_gives_up() {
        let refused = |time| held_back(Reason::RateLimited.as_str(), time);
        assert_eq!(refused(MAX), Duration::from_millis(250));
        assert_eq!(refused(asked("400m")), Duration::from_millis(100));
        assert_eq!(held_back(Reason::NotFound.as_str(), MAX), Duration::ZERO);
        assert_eq!(held_back(super::super::repair::OK, MAX), Duration::ZERO);
    }

    #[test]
    fn a_malformed_deadline_bounds_nothing() {
        for text in ["", "S", "1", "000000001S", "-1S", "1s", "1 S", "+1S"] {
            assert_eq!(asked(text), MAX, "{text}");
        }
    }
}
