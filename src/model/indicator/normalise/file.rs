//! Decides the canonical forms of what a file shows beside its hashes: name,
//! size, fuzzy hashes and the hash of its imports.

use crate::model::Invalid;

use super::super::{Kind, Observable};
use super::hash;

/// Longest part of an ssdeep hash.
const MAX_SSDEEP_PART: usize = 64;
/// Shortest first part that is taken for ssdeep without being named so.
const MIN_SSDEEP_DETECTED: usize = 8;
/// Hexadecimal digits of a TLSH, without its version.
const TLSH_DIGITS: usize = 70;

/// The fuzzy hash that `text` is, if it is one beyond doubt.
pub(super) fn detect(text: &str) -> Option<Observable> {
    if let Some(digits) = text.strip_prefix("T1") {
        return tlsh_of(digits);
    }
    let first = ssdeep_parts(text)?;
    (first.len() >= MIN_SSDEEP_DETECTED).then(|| Observable::written(Kind::Ssdeep, text))
}

/// Reads a size: bytes, in decimal.
pub(super) fn size(text: &str) -> Result<Observable, Invalid> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    match text.parse::<u64>() {
        Ok(size) if plain => Ok(Observable::written(Kind::FileSize, size.to_string())),
        _ => Err(Invalid::new(
            "",
            "is not a file's size: write bytes as a whole number without unit, sign or separators, such as 73728",
        )),
    }
}

/// Reads an ssdeep hash.
pub(super) fn ssdeep(text: &str) -> Result<Observable, Invalid> {
    ssdeep_parts(text).map(|_| Observable::written(Kind::Ssdeep, text)).ok_or_else(|| {
        Invalid::new(
            "",
            "is not an ssdeep hash: write block size, colon, hash, colon, hash, such as 96:KdVzX4Z5:0dVzX4Z5, without \
             a file name",
        )
    })
}

/// Reads a TLSH, with its version `T1` or without.
pub(super) fn tlsh(text: &str) -> Result<Observable, Invalid> {
    let digits = text.strip_prefix("T1").or_else(|| text.strip_prefix("t1")).unwrap_or(text);
    tlsh_of(digits).ok_or_else(|| Invalid::new("", "is not a TLSH: write T1 and 70 hexadecimal digits"))
}

/// Reads the hash of an executable's imports.
pub(super) fn imphash(text: &str) -> Result<Observable, Invalid> {
    hash::digits(text, &[32])
        .map(|text| Observable::written(Kind::Imphash, text))
        .ok_or_else(|| Invalid::new("", "is not an imphash: write 32 hexadecimal digits"))
}

fn tlsh_of(digits: &str) -> Option<Observable> {
    let fits = digits.len() == TLSH_DIGITS && hash::is_hex(digits);
    fits.then(|| Observable::written(Kind::Tlsh, format!("T1{}", digits.to_ascii_uppercase())))
}

/// The first of the two hashes, if `text` is block size and two hashes.
fn ssdeep_parts(text: &str) -> Option<&str> {
    let (size, hashes) = text.split_once(':')?;
    let (first, second) = hashes.split_once(':')?;
    let part = |text: &str| {
        text.len() <= MAX_SSDEEP_PART
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
    };
    // Three, doubled any number of times.
    let plain = size.bytes().all(|b| b.is_ascii_digit()) && !size.starts_with('0');
    let blocks = size.parse::<u64>().ok().filter(|_| plain)?;
    (blocks % 3 == 0 && (blocks / 3).is_power_of_two() && part(first) && part(second)).then_some(first)
}
