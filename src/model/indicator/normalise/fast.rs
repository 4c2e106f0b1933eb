//! Decides which texts are canonical on sight: lower-case ASCII host names,
//! dotted quads and hashes. One pass, no allocation beyond the result.
//!
//! Whatever this module accepts, the slow path reads as the same observable
//! (a property test holds them together); it may decline anything.

use std::net::Ipv4Addr;

use super::super::Observable;
use super::{Canonical, domain, hash};

const DIGIT: u8 = 1;
const LOWER_HEX: u8 = 1 << 1;
const LOWER: u8 = 1 << 2;
const UPPER_HEX: u8 = 1 << 3;
const DOT: u8 = 1 << 4;
const HYPHEN_OR_UNDERSCORE: u8 = 1 << 5;
const OTHER: u8 = 1 << 6;

/// Longest text worth a look: a full host name.
const LONGEST: usize = domain::MAX_NAME_BYTES;

/// The observable, if `text` is one of the common forms.
pub(super) fn detect(text: &str) -> Option<Canonical> {
    if text.len() > LONGEST {
        return None;
    }
    let classes = text.bytes().fold(0, |all, byte| all | class(byte));
    if within(classes, DIGIT | LOWER_HEX | UPPER_HEX) {
        let observable = hash::detect(text)?;
        let raw = (classes & UPPER_HEX != 0).then(|| text.to_owned());
        return Some(Canonical { observable, raw });
    }
    let observable = if within(classes, DIGIT | DOT) {
        Observable::Ipv4(text.parse::<Ipv4Addr>().ok()?)
    } else if within(classes, DIGIT | LOWER_HEX | LOWER | DOT | HYPHEN_OR_UNDERSCORE) {
        // An A-label needs its punycode checked.
        let plain = text.split('.').all(|label| !label.starts_with("xn--"));
        if !plain || domain::check(text).is_err() {
            return None;
        }
        Observable::Domain(text.into())
    } else {
        return None;
    };
    Some(Canonical { observable, raw: None })
}

const fn within(classes: u8, allowed: u8) -> bool {
    classes & !allowed == 0
}

const fn class(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => DIGIT,
        b'a'..=b'f' => LOWER_HEX,
        b'g'..=b'z' => LOWER,
        b'A'..=b'F' => UPPER_HEX,
        b'.' => DOT,
        b'-' | b'_' => HYPHEN_OR_UNDERSCORE,
        _ => OTHER,
    }
}
