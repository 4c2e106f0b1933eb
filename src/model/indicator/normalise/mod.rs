//! Decides the one canonical form of every observable: publishing, querying
//! and matching all come through here, so that equal things have equal text.
//!
//! The rules, with examples, are in `docs/canonical-forms.md`. Two properties
//! hold for every input: a canonical text is its own canonical form, and a
//! refusal says what is wrong without repeating the value.

mod address;
mod asn;
mod bank;
mod crypto;
mod cve;
mod domain;
mod email;
pub mod explain;
mod fast;
mod file;
mod hash;
mod host;
mod phone;
mod refang;
mod rule;
mod tls;
mod url;

#[cfg(test)]
mod tests;

use crate::model::Invalid;

use super::draft::MAX_VALUE_BYTES;
use super::{Kind, Observable};

/// An observable read from text.
#[derive(Clone, PartialEq, Eq)]
pub struct Canonical {
    /// What was read.
    pub observable: Observable,
    /// The text as given, where it differs from the canonical text.
    pub raw: Option<String>,
}

impl std::fmt::Debug for Canonical {
    /// The kind only: indicator values do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Canonical({}, raw: {})", self.observable.kind(), self.raw.is_some())
    }
}

/// Reads `text` as an observable of `kind`.
///
/// The observable may be of a narrower kind than asked for: an IPv4-mapped
/// IPv6 address is an IPv4 address, and a network of one address is that
/// address.
///
/// # Errors
/// What is wrong with the text, with an empty field path.
pub fn observable(kind: Kind, text: &str) -> Result<Canonical, Invalid> {
    if let Some(canonical) = fast::detect(text)
        && canonical.observable.kind() == kind
    {
        return Ok(canonical);
    }
    if kind.is_rule() {
        return rule::rule(kind, text).map(|observable| Canonical { observable, raw: None });
    }
    let value = clean(text)?;
    let observable = match kind {
        Kind::Ipv4 => address::ipv4(&refang::commas(value)),
        Kind::Ipv6 => address::ipv6(&refang::host(value)),
        Kind::Cidr => address::network(&refang::host(value)),
        Kind::Endpoint => address::endpoint(&refang::host_named(value)),
        Kind::Domain => domain::domain(&refang::host_named(value)),
        Kind::Url => url::url(value),
        Kind::Md5 | Kind::Sha1 | Kind::Sha256 | Kind::Sha512 => hash::of_kind(kind, value),
        Kind::Email => email::named(value),
        Kind::Cve => cve::named(value),
        Kind::Asn => asn::named(value),
        Kind::FileSize => file::size(value),
        Kind::Ssdeep => file::ssdeep(value),
        Kind::Tlsh => file::tlsh(value),
        Kind::Imphash => file::imphash(value),
        Kind::Certificate => tls::certificate(value),
        Kind::Ja3 => tls::ja3(value),
        Kind::Ja4 => tls::ja4(value),
        Kind::RegistryKey => host::registry_key(value),
        Kind::Phone => phone::phone(value),
        Kind::BankAccount => bank::account(value),
        Kind::CryptoAddress => crypto::named(value),
        Kind::FileName | Kind::UserAgent | Kind::Mutex => host::verbatim(kind, text),
        Kind::Yara | Kind::Sigma | Kind::Suricata | Kind::StixPattern => rule::rule(kind, text),
    }?;
    Ok(with_raw(observable, text))
}

/// Reads `text` as an observable of whatever kind it has.
///
/// # Errors
/// What is wrong with the text, with an empty field path.
pub fn detect(text: &str) -> Result<Canonical, Invalid> {
    fast::detect(text).map_or_else(|| detect_slowly(text), Ok)
}

/// The hash that `text` is by its length, if it is one.
pub(super) fn hash(text: &str) -> Option<Observable> {
    hash::detect(text)
}

/// The hashes of one file, as text.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hashes<'a> {
    /// MD5.
    pub md5: Option<&'a str>,
    /// SHA-1.
    pub sha1: Option<&'a str>,
    /// SHA-256.
    pub sha256: Option<&'a str>,
    /// SHA-512.
    pub sha512: Option<&'a str>,
}

/// Reads the hashes of one file: the one that names it, then the others. A
/// file is named by SHA-256 where that is given, since that is what most
/// sources have; then by SHA-512, SHA-1, MD5.
///
/// # Errors
/// The field (`md5`, `sha1`, `sha256`, `sha512`) that is wrong, or that none
/// is given.
pub fn file(hashes: Hashes<'_>) -> Result<(Observable, Vec<Observable>), Invalid> {
    let Hashes { md5, sha1, sha256, sha512 } = hashes;
    let given = [(Kind::Sha256, sha256), (Kind::Sha512, sha512), (Kind::Sha1, sha1), (Kind::Md5, md5)];
    let mut read = Vec::with_capacity(given.len());
    for (kind, text) in given {
        if let Some(text) = text {
            read.push(observable(kind, text).map_err(|e| e.under(kind))?.observable);
        }
    }
    let mut read = read.into_iter();
    let primary = read.next().ok_or_else(|| {
        Invalid::new("", "a file needs at least one hash: give md5, sha1, sha256 or sha512")
    })?;
    Ok((primary, read.collect()))
}

/// [`detect`] without the shortcut for what is canonical already.
fn detect_slowly(text: &str) -> Result<Canonical, Invalid> {
    let value = clean(text)?;
    let observable = if let Some(hash) = hash::detect(value) {
        hash
    } else if refang::has_scheme(value) || url::is_magnet(value) {
        url::url(value)?
    } else if let Some(found) = by_look(value) {
        found
    } else {
        detect_without_scheme(value)?
    };
    Ok(with_raw(observable, text))
}

/// What cannot be anything else by its look: none of these has a dot.
fn by_look(value: &str) -> Option<Observable> {
    if value.contains('.') {
        return None;
    }
    cve::detect(value)
        .or_else(|| asn::detect(value))
        .or_else(|| file::detect(value))
        .or_else(|| tls::detect_ja4(value))
        .or_else(|| crypto::detect(value))
}

fn detect_without_scheme(value: &str) -> Result<Observable, Invalid> {
    let (head, tail) = refang::split_authority(value);
    if (tail.is_empty() && email::looks_like(head)) || email::is_link(head) {
        return email::detect(value);
    }
    let head = refang::host(head);
    if tail.is_empty() {
        host_or_endpoint(&head)
    } else if tail.starts_with('/') && address::is_address(&head) && address::looks_like_prefix(tail) {
        address::network(&format!("{head}{tail}"))
    } else {
        url::url(value)
    }
}

fn host_or_endpoint(head: &str) -> Result<Observable, Invalid> {
    if address::is_address(head) {
        address::any(head)
    } else if address::looks_like_endpoint(head) {
        address::endpoint(head)
    } else if head.contains(':') || address::is_numeric(head) {
        Err(address::not_an_address(head))
    } else {
        domain::domain(head)
    }
}

/// The text between its invisible edges, in bounds and without controls.
fn clean(text: &str) -> Result<&str, Invalid> {
    if text.len() > MAX_VALUE_BYTES {
        return Err(too_long());
    }
    let value = text.trim_matches(is_invisible_edge);
    check_text(value)?;
    Ok(value)
}

/// Refuses what is no value of one line.
fn check_text(value: &str) -> Result<(), Invalid> {
    if value.is_empty() {
        return Err(Invalid::new("", "is empty: give a value"));
    }
    if value.chars().any(char::is_control) {
        return Err(Invalid::new(
            "",
            "holds a control character, such as a tab or a line break: give one value without any",
        ));
    }
    Ok(())
}

fn too_long() -> Invalid {
    Invalid::new("", format!("is too long: a value has at most {MAX_VALUE_BYTES} bytes"))
}

/// White space of any script, byte-order marks, zero-width characters and
/// marks of direction: copying glues them to the ends of values.
fn is_invisible_edge(c: char) -> bool {
    c.is_whitespace()
        || matches!(c,
            '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}' | '\u{2066}'..='\u{2069}'
            | '\u{061c}' | '\u{180e}' | '\u{00ad}')
}

fn with_raw(observable: Observable, text: &str) -> Canonical {
    let same = match observable.as_text() {
        Some(canonical) => canonical == text,
        None => observable.to_string() == text,
    };
    Canonical { observable, raw: (!same).then(|| text.to_owned()) }
}
