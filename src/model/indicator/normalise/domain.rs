//! Decides the canonical form of a host name: A-labels in lower case, without
//! a final dot, by UTS #46 as browsers apply it (non-transitional).
//!
//! Letters are never folded: `shọpmobaviet.vn` and `shopmobạviet.vn` are two
//! names. Composed and decomposed spellings of one name are one, by UTS #46.

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use crate::model::Invalid;

use super::super::Observable;
use super::{address, hash};

/// Longest host name, in bytes, without a final dot (RFC 1035).
pub(super) const MAX_NAME_BYTES: usize = 253;
/// Longest label, in bytes (RFC 1035).
const MAX_LABEL_BYTES: usize = 63;

/// ASCII that no name may hold: all but letters, digits, hyphen, dot and the
/// underscore, which real names in the DNS carry.
const DENIED: AsciiDenyList = AsciiDenyList::new(true, " !\"#$%&'()*+,/:;<=>?@[\\]^`{|}~");

/// Reads `text`, already refanged, as a host name.
pub(super) fn domain(text: &str) -> Result<Observable, Invalid> {
    check_shape(text)?;
    check_typography(text)?;
    let ascii = Uts46::new()
        .to_ascii(text.as_bytes(), DENIED, Hyphens::Allow, DnsLength::Ignore)
        .map_err(|_| Invalid::new("", not_a_name(text)))?;
    let name = ascii.strip_suffix('.').unwrap_or(&ascii);
    if !name.is_empty() && !name.contains('.') {
        return Err(Invalid::new("", single_label(name)));
    }
    check(name)?;
    Ok(Observable::Domain(name.into()))
}

/// Checks a name in A-labels without a final dot: its lengths, its characters
/// and the shape of its top-level label.
pub(super) fn check(name: &str) -> Result<(), Invalid> {
    if name.len() > MAX_NAME_BYTES {
        return Err(Invalid::new("", format!("is too long for a host name: at most {MAX_NAME_BYTES} bytes")));
    }
    let mut labels = 0_usize;
    for label in name.split('.') {
        labels += 1;
        if label.is_empty() {
            return Err(Invalid::new(
                "",
                "has an empty label: host names have no dot at the start and no two dots together",
            ));
        }
        if label.len() > MAX_LABEL_BYTES {
            return Err(Invalid::new(
                "",
                format!("has a label of more than {MAX_LABEL_BYTES} bytes, which no host name may have"),
            ));
        }
        if !label.bytes().all(is_label_byte) {
            return Err(Invalid::new(
                "",
                "is not a host name: labels hold letters, digits, hyphens and underscores",
            ));
        }
    }
    if labels < 2 {
        return Err(Invalid::new("", "has one label only, which names nothing outside its own network"));
    }
    let top = name.rsplit_once('.').map_or(name, |(_, top)| top);
    check_top_level(top)
}

const fn is_label_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')
}

/// A top-level label is two letters or more, or an A-label: a number there
/// means a broken address, anything else a leftover glued to the name.
fn check_top_level(top: &str) -> Result<(), Invalid> {
    if (top.len() >= 2 && top.bytes().all(|b| b.is_ascii_lowercase())) || top.starts_with("xn--") {
        Ok(())
    } else if top.bytes().all(|b| b.is_ascii_digit()) {
        Err(Invalid::new(
            "",
            "is neither a host name nor an address: it ends in a number but is not a dotted quad of four decimal \
             numbers from 0 to 255 without leading zeros",
        ))
    } else {
        Err(Invalid::new(
            "",
            "has no top-level domain: the last label is two letters or more, or starts with xn--",
        ))
    }
}

fn single_label(name: &str) -> &'static str {
    if hash::is_hex(name) && name.len() >= 16 {
        "looks like a hash of unknown length: MD5 has 32 hexadecimal digits, SHA-1 40, SHA-256 64, SHA-512 128"
    } else {
        "is not an address, host name, URL, hash or other value that tells its kind: a host name has at least two \
         labels, such as example.org; for what cannot be told by its look, name the kind"
    }
}

/// Refuses what is plainly something else, with advice.
fn check_shape(text: &str) -> Result<(), Invalid> {
    let problem = if address::is_address(text) {
        "is an IP address, not a host name: give it as ipv4 or ipv6"
    } else if text.contains("://") {
        "is a URL, not a host name: give it as url"
    } else if text.contains('@') {
        "looks like an e-mail address: give it as email, or the host name after the @ alone"
    } else if text.starts_with("*.") || text.starts_with("||") {
        "is a filter rule, not a host name: give the name without * or |"
    } else if text.contains(['/', '?', '#']) {
        "has a path, so it is a URL, not a host name: give it as url"
    } else if text.contains(':') {
        "has a port: give the host name alone, or both as endpoint"
    } else if text.chars().any(char::is_whitespace) {
        "holds white space: give one value at a time"
    } else {
        return Ok(());
    };
    Err(Invalid::new("", problem))
}

/// Refuses signs and dashes that word processors and PDF copies put in place
/// of a hyphen. UTS #46 lets them through, but the name meant is another one.
pub(super) fn check_typography(text: &str) -> Result<(), Invalid> {
    let suspect = |c: char| {
        matches!(c,
            '\u{a1}'..='\u{a9}' | '\u{ab}' | '\u{ac}' | '\u{ae}'..='\u{b1}' | '\u{b4}' | '\u{b6}' | '\u{b8}'
            | '\u{bb}'..='\u{bf}' | '\u{d7}' | '\u{f7}' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}'
            | '\u{2212}' | '\u{fffd}')
    };
    if text.chars().any(suspect) {
        return Err(Invalid::new(
            "",
            "holds a sign or dash that copying from a document puts in place of a hyphen: correct it at the source, \
             or give the A-label (xn--) if it is meant",
        ));
    }
    Ok(())
}

fn not_a_name(text: &str) -> &'static str {
    if text.contains(['[', ']', '(', ')', '{', '}', '\\', '|', '*', '^']) {
        "is not a host name, even with [.] and the like read as dots; patterns are not taken"
    } else if text.to_ascii_lowercase().contains("xn--") {
        "is not a host name: a label that starts with xn-- is not valid punycode (UTS #46)"
    } else {
        "is not a host name: labels hold letters and digits of any script, hyphens and underscores (UTS #46)"
    }
}
