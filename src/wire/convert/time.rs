//! Decides which protobuf timestamps are moments: from 1970 to 9999, kept to
//! the microsecond.

use crate::base::clock::Timestamp;
use crate::model::Invalid;

/// Reads an optional moment.
///
/// # Errors
/// Outside of 1970 to 9999, or nanoseconds outside of a second.
pub fn read(field: &str, pb: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>, Invalid> {
    let Some(prost_types::Timestamp { seconds, nanos }) = pb else { return Ok(None) };
    let moment = || {
        let nanos = u64::try_from(nanos).ok().filter(|&n| n < 1_000_000_000)?;
        let micros = u64::try_from(seconds).ok()?.checked_mul(1_000_000)?.checked_add(nanos / 1_000)?;
        Timestamp::from_micros(micros)
    };
    moment().map(Some).ok_or_else(|| {
        Invalid::new(field, "a time lies in the years 1970 to 9999, with 0 to 999,999,999 nanoseconds")
    })
}

/// Reads the ends of a span; `last` is not before `first`.
///
/// # Errors
/// As [`read`], or the ends are in the wrong order.
pub fn span(
    first: (&str, Option<prost_types::Timestamp>),
    last: (&str, Option<prost_types::Timestamp>),
) -> Result<(Option<Timestamp>, Option<Timestamp>), Invalid> {
    let (from, to) = (read(first.0, first.1)?, read(last.0, last.1)?);
    if from.zip(to).is_some_and(|(from, to)| to < from) {
        return Err(Invalid::new(last.0, format!("must not be before {}", first.0)));
    }
    Ok((from, to))
}

/// Reads the ends of a span that holds something; `end` is after `start`.
///
/// # Errors
/// As [`read`], or the span is empty.
pub fn open_span(
    start: (&str, Option<prost_types::Timestamp>),
    end: (&str, Option<prost_types::Timestamp>),
) -> Result<(Option<Timestamp>, Option<Timestamp>), Invalid> {
    let (from, to) = (read(start.0, start.1)?, read(end.0, end.1)?);
    if from.zip(to).is_some_and(|(from, to)| to <= from) {
        return Err(Invalid::new(end.0, format!("must be after {}", start.0)));
    }
    Ok((from, to))
}

/// Writes a moment.
#[must_use]
pub fn write(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: i64::try_from(at.as_seconds()).unwrap_or(i64::MAX),
        nanos: i32::try_from(at.subsec_micros()).unwrap_or(0) * 1_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pb(seconds: i64, nanos: i32) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos })
    }

    #[test]
    fn a_moment_survives_both_ways_to_the_microsecond() {
        let read = read("t", pb(1_700_000_000, 123_456_789)).unwrap().unwrap();
        assert_eq!(write(read), prost_types::Timestamp { seconds: 1_700_000_000, nanos: 123_456_000 });
    }

    #[test]
    fn moments_outside_of_1970_to_9999_are_refused() {
        for (seconds, nanos) in
            [(-1, 0), (253_402_300_800, 0), (i64::MAX, 0), (i64::MIN, 0), (0, -1), (0, 1_000_000_000)]
        {
            assert_eq!(
                read("valid_from", pb(seconds, nanos)).unwrap_err().field,
                "valid_from",
                "{seconds}.{nanos}"
            );
        }
        assert!(read("t", pb(253_402_300_799, 999_999_999)).is_ok());
    }

    #[test]
    fn a_span_does_not_end_before_it_starts() {
        assert!(span(("a", pb(5, 0)), ("b", pb(5, 0))).is_ok());
        assert_eq!(span(("a", pb(5, 0)), ("b", pb(4, 0))).unwrap_err().field, "b");
        assert_eq!(open_span(("a", pb(5, 0)), ("b", pb(5, 0))).unwrap_err().field, "b");
        assert!(open_span(("a", pb(5, 0)), ("b", None)).is_ok());
    }
}
