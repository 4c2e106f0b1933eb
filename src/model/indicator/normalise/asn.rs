//! Decides the canonical form of an autonomous system: `AS` and its number in
//! decimal (RFC 5396, asplain).

use crate::model::Invalid;

use super::super::{Kind, Observable};

/// The system that `text` is, if it is `AS` and a number.
pub(super) fn detect(text: &str) -> Option<Observable> {
    let (prefix, number) = text.split_at_checked(2)?;
    if !prefix.eq_ignore_ascii_case("as") {
        return None;
    }
    number_of(number).map(system)
}

/// Reads `text` as an autonomous system: also the number alone, `ASN`, and
/// asdot (`AS1.10`).
pub(super) fn named(text: &str) -> Result<Observable, Invalid> {
    let number = ["asn", "as"]
        .into_iter()
        .find_map(|prefix| {
            let (given, rest) = text.split_at_checked(prefix.len())?;
            given.eq_ignore_ascii_case(prefix).then(|| rest.trim_start())
        })
        .unwrap_or(text);
    let number = match number.split_once('.') {
        Some((high, low)) => {
            let half = |text: &str| if text == "0" { Some(0) } else { number_of(text) };
            let both = half(high).zip(half(low)).filter(|&(high, low)| high.max(low) <= u32::from(u16::MAX));
            both.map(|(high, low)| high << 16 | low).filter(|&number| number > 0)
        }
        None => number_of(number),
    };
    number.map(system).ok_or_else(|| {
        Invalid::new(
            "",
            "is not an autonomous system: write AS and a number from 1 to 4294967295, such as AS64500",
        )
    })
}

fn system(number: u32) -> Observable {
    Observable::written(Kind::Asn, format!("AS{number}"))
}

/// A number from 1, in digits only, without leading zeros.
fn number_of(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if plain { text.parse().ok() } else { None }
}
