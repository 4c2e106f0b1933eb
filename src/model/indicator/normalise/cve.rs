//! Decides the canonical form of a CVE number: `CVE-2021-44228`.

use crate::model::Invalid;

use super::super::{Kind, Observable};

/// The year of the first numbers.
const FIRST_YEAR: u16 = 1999;

/// The number that `text` is, if it is one.
pub(super) fn detect(text: &str) -> Option<Observable> {
    let (prefix, rest) = text.split_at_checked(4)?;
    if !prefix.eq_ignore_ascii_case("cve-") {
        return None;
    }
    let (year, number) = rest.split_once('-')?;
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    // Four digits at least, padded with zeros up to there and no further.
    let number_fits =
        (4..=19).contains(&number.len()) && digits(number) && (number.len() == 4 || !number.starts_with('0'));
    let year_fits =
        year.len() == 4 && digits(year) && year.parse::<u16>().is_ok_and(|year| year >= FIRST_YEAR);
    (number_fits && year_fits).then(|| Observable::written(Kind::Cve, format!("CVE-{rest}")))
}

/// Reads `text` as a CVE number.
pub(super) fn named(text: &str) -> Result<Observable, Invalid> {
    detect(text).ok_or_else(|| {
        Invalid::new(
            "",
            "is not a CVE number: write CVE, the year and four digits or more, such as CVE-2021-44228",
        )
    })
}
