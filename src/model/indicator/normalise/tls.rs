//! Decides the canonical forms of what a TLS connection shows: certificates,
//! JA3 and JA4.

use crate::model::Invalid;

use super::super::{Kind, Observable};
use super::hash;

/// The JA4 that `text` is, if it is one.
pub(super) fn detect_ja4(text: &str) -> Option<Observable> {
    let mut parts = text.split('_');
    let (head, ciphers, extensions) = (parts.next()?, parts.next()?, parts.next()?);
    let hashed = |part: &str| part.len() == 12 && hash::is_hex(part);
    if parts.next().is_some() || !hashed(ciphers) || !hashed(extensions) {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let &[transport, v1, v2, sni, c1, c2, e1, e2, a1, a2] = lower.as_bytes().first_chunk::<10>()?;
    let known = matches!(transport, b't' | b'q' | b'd')
        && matches!(&[v1, v2], b"10" | b"11" | b"12" | b"13" | b"s2" | b"s3" | b"d1" | b"d2" | b"d3" | b"00")
        && matches!(sni, b'd' | b'i')
        && [c1, c2, e1, e2].iter().all(u8::is_ascii_digit)
        && [a1, a2].iter().all(u8::is_ascii_alphanumeric);
    (head.len() == 10 && known).then(|| Observable::written(Kind::Ja4, lower))
}

/// Reads a JA4.
pub(super) fn ja4(text: &str) -> Result<Observable, Invalid> {
    detect_ja4(text).ok_or_else(|| {
        Invalid::new("", "is not a JA4: write its three parts, such as t13d1516h2_8daaf6152771_e5627efa2ab1")
    })
}

/// Reads a JA3: the MD5 of it, not the string that is hashed.
pub(super) fn ja3(text: &str) -> Result<Observable, Invalid> {
    hash::digits(text, &[32]).map(|text| Observable::written(Kind::Ja3, text)).ok_or_else(|| {
        Invalid::new("", "is not a JA3: write its MD5, 32 hexadecimal digits, not the list of numbers")
    })
}

/// Reads the fingerprint of a certificate: SHA-1 or SHA-256 of its DER, with
/// colons or spaces between bytes or without.
pub(super) fn certificate(text: &str) -> Result<Observable, Invalid> {
    let parts: Vec<&str> = text.split([':', ' ']).collect();
    let bytewise = parts.len() == 1 || parts.iter().all(|part| part.len() == 2);
    hash::digits(&parts.concat(), &[40, 64])
        .filter(|_| bytewise)
        .map(|text| Observable::written(Kind::Certificate, text))
        .ok_or_else(|| {
            Invalid::new(
                "",
                "is not a certificate's fingerprint: write the SHA-1 (40) or SHA-256 (64 hexadecimal digits) of its \
                 DER, with colons between bytes or without",
            )
        })
}
