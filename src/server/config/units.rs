//! Decides how sizes and spans of time are written in the configuration:
//! a whole number and a unit, such as `64MiB` or `10s`, and nothing else.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(pub u64);

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const SPANS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        measure(&text, &SIZES).map(Self).ok_or_else(|| {
            "write a size as a whole number and B, KiB, MiB or GiB, such as \"64MiB\"".to_owned()
        })
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        measure(&text, &SPANS).map(|millis| Self(Duration::from_millis(millis))).ok_or_else(|| {
            "write a span of time as a whole number and ms, s, m or h, such as \"10s\"".to_owned()
        })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_measure(f, self.0, SIZES.into_iter(), "B")
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        write_measure(f, millis, SPANS.into_iter(), "s")
    }
}

/// A whole number straight followed by one of `units`; `None` for anything
/// else, an overflow included.
fn measure(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

/// Writes `amount` in the largest unit that divides it.
fn write_measure(
    f: &mut fmt::Formatter<'_>,
    amount: u64,
    mut units: impl Iterator<Item = (&'static str, u64)>,
    zero: &str,
) -> fmt::Result {
    match units.find(|(_, scale)| amount != 0 && amount.is_multiple_of(*scale)) {
        Some((unit, scale)) => write!(f, "{}{unit}", amount / scale),
        None => write!(f, "{amount}{zero}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(text: &str) -> Option<u64> {
        Size::try_from(text.to_owned()).ok().map(|size| size.0)
    }

    fn span(text: &str) -> Option<Duration> {
        Span::try_from(text.to_owned()).ok().map(|span| span.0)
    }

    #[test]
    fn a_size_is_a_number_and_a_binary_unit() {
        assert_eq!(size("64MiB"), Some(64 << 20));
        assert_eq!(size("1GiB"), Some(1 << 30));
        assert_eq!(size("0B"), Some(0));
    }

    #[test]
    fn a_size_that_could_be_misread_is_refused() {
        for text in
            ["", "64", "64MB", "64 MiB", "-1B", "1.5GiB", "MiB", "+1B", "64mib", "18446744073709551615KiB"]
        {
            assert_eq!(size(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_span_is_a_number_and_a_unit_of_time() {
        assert_eq!(span("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(span("10s"), Some(Duration::from_secs(10)));
        assert_eq!(span("2h"), Some(Duration::from_secs(7200)));
    }

    #[test]
    fn a_span_that_could_be_misread_is_refused() {
        for text in ["", "10", "10 s", "1m30s", "1d", "-1s", "0.5s", "s", "99999999999999999999s"] {
            assert_eq!(span(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same() {
        for text in ["64MiB", "1GiB", "1500KiB", "7B", "0B"] {
            assert_eq!(Size::try_from(text.to_owned()).unwrap().to_string(), text);
        }
        for text in ["1500ms", "10s", "90m", "2h", "0s"] {
            assert_eq!(Span::try_from(text.to_owned()).unwrap().to_string(), text);
        }
    }
}
