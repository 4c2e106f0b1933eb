//! Decides the canonical form of a file's hash: its bytes, shown as lower-case
//! hexadecimal.

use crate::model::Invalid;

use super::super::{Kind, Observable};

/// The hash that `text` is by its length, if it is one.
pub(super) fn detect(text: &str) -> Option<Observable> {
    match text.len() {
        32 => decode(text).map(Observable::Md5),
        40 => decode(text).map(Observable::Sha1),
        64 => decode(text).map(Observable::Sha256),
        128 => decode(text).map(|hash| Observable::Sha512(Box::new(hash))),
        _ => None,
    }
}

/// Reads `text` as a hash of `kind`, whose length it must have.
pub(super) fn of_kind(kind: Kind, text: &str) -> Result<Observable, Invalid> {
    let hash = detect(text).filter(|hash| hash.kind() == kind);
    hash.ok_or_else(|| Invalid::new("", problem(kind, text)))
}

fn problem(kind: Kind, text: &str) -> String {
    let (name, digits) = match kind {
        Kind::Md5 => ("an MD5", 32),
        Kind::Sha1 => ("a SHA-1", 40),
        Kind::Sha256 => ("a SHA-256", 64),
        _ => ("a SHA-512", 128),
    };
    if let Some(other) = detect(text) {
        let other = other.kind();
        format!("has the length of another hash: give it as {other}; {name} has {digits} digits")
    } else if is_hex(text) {
        format!("has {} hexadecimal digits: {name} has {digits}", text.len())
    } else {
        format!("is not a hash: {name} is written as {digits} hexadecimal digits and nothing else")
    }
}

/// Whether `text` is hexadecimal digits only.
pub(super) fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Hexadecimal digits of one of these numbers, in lower case.
pub(super) fn digits(text: &str, lengths: &[usize]) -> Option<String> {
    (lengths.contains(&text.len()) && is_hex(text)).then(|| text.to_ascii_lowercase())
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, &[high, low]) in out.iter_mut().zip(pairs) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(out)
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
