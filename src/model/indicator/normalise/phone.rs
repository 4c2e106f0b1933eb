//! Decides the canonical form of a telephone number: E.164, `+84912345678`.
//!
//! A number without a country code is Vietnamese if it starts with a zero, or
//! is a service number (1800, 1900). Vietnamese numbers are checked against
//! the numbering plan in force since 2018; of others only the length is.

use crate::model::Invalid;

use super::super::{Kind, Observable};

/// Digits of an international number with its country code (E.164).
const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// Reads a telephone number.
pub(super) fn phone(text: &str) -> Result<Observable, Invalid> {
    let text = match text.split_at_checked(4) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("tel:") => rest,
        _ => text,
    };
    let mut number = String::with_capacity(16);
    for c in text.chars() {
        match c {
            '0'..='9' => number.push(c),
            '+' if number.is_empty() => number.push(c),
            '-' | '.' | '(' | ')' | '\u{2010}'..='\u{2013}' => {}
            c if c.is_whitespace() => {}
            _ => return Err(not_a_number()),
        }
    }
    let number = match number.strip_prefix("00") {
        Some(rest) => format!("+{rest}"),
        None => number,
    };
    let canonical = if let Some(national) = number.strip_prefix("+84") {
        // The zero of the national form, often left in: +84 (0) 912 345 678.
        vietnamese(national.strip_prefix('0').unwrap_or(national))?
    } else if let Some(international) = number.strip_prefix('+') {
        if !DIGITS.contains(&international.len()) || international.starts_with('0') {
            return Err(not_a_number());
        }
        number
    } else if let Some(national) = number.strip_prefix('0') {
        vietnamese(national)?
    } else if is_service(&number) {
        format!("+84{number}")
    } else {
        return Err(not_a_number());
    };
    Ok(Observable::written(Kind::Phone, canonical))
}

/// A Vietnamese number from what follows the country code or the zero.
fn vietnamese(national: &str) -> Result<String, Invalid> {
    let fits = match (national.as_bytes().first(), national.len()) {
        (Some(b'3' | b'5' | b'7' | b'8' | b'9'), 9) | (Some(b'2'), 10) => true,
        (Some(b'1'), 10) if !is_service(national) => {
            return Err(Invalid::new(
                "",
                "is an eleven-digit mobile number of Vietnam, which ended in 2018: give the ten-digit number that \
                 replaced it",
            ));
        }
        _ => is_service(national),
    };
    if fits { Ok(format!("+84{national}")) } else { Err(not_a_number()) }
}

/// Service numbers of Vietnam: 1800 (free) and 1900 (charged), with 4 to 6
/// digits more.
fn is_service(number: &str) -> bool {
    (number.starts_with("1800") || number.starts_with("1900")) && (8..=10).contains(&number.len())
}

fn not_a_number() -> Invalid {
    Invalid::new(
        "",
        "is not a telephone number: write it with its country code, such as +84912345678, or as dialled in Vietnam, \
         0912345678; short numbers are not taken",
    )
}
