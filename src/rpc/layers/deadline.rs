//! Decides how long a call may take: what its caller asks, at most what the
//! hub allows.

use std::time::Duration;

use http::HeaderMap;

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
    fn a_malformed_deadline_bounds_nothing() {
        for text in ["", "S", "1", "000000001S", "-1S", "1s", "1 S", "+1S"] {
            assert_eq!(asked(text), MAX, "{text}");
        }
    }
}
