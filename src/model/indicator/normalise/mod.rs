//! Decides the one canonical form of every observable: publishing, querying
//! and matching all come through here, so that equal things have equal text.
//!
//! The rules, with examples, are in `docs/canonical-forms.md`. Two properties
//! hold for every input: a canonical text is its own canonical form, and a
//! refusal says what is wrong without repeating the value.

mod address;
mod domain;
mod fast;
mod hash;
mod refang;
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
    let value = clean(text)?;
    let observable = match kind {
        Kind::Ipv4 => address::ipv4(&refang::host(value)),
        Kind::Ipv6 => address::ipv6(&refang::host(value)),
        Kind::Cidr => address::network(&refang::host(value)),
        Kind::Endpoint => address::endpoint(&refang::host(value)),
        Kind::Domain => domain::domain(&refang::host(value)),
        Kind::Url => url::url(value),
        Kind::Md5 | Kind::Sha1 | Kind::Sha256 => hash::of_kind(kind, value),
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

/// Reads the hashes of one file: the strongest, then the others from strong
/// to weak.
///
/// # Errors
/// The field (`md5`, `sha1`, `sha256`) that is wrong, or that none is given.
pub fn file(
    md5: Option<&str>,
    sha1: Option<&str>,
    sha256: Option<&str>,
) -> Result<(Observable, Vec<Observable>), Invalid> {
    let given = [(Kind::Sha256, sha256), (Kind::Sha1, sha1), (Kind::Md5, md5)];
    let mut read = Vec::with_capacity(given.len());
    for (kind, text) in given {
        if let Some(text) = text {
            read.push(observable(kind, text).map_err(|e| e.under(kind))?.observable);
        }
    }
    let mut read = read.into_iter();
    let primary = read
        .next()
        .ok_or_else(|| Invalid::new("", "a file needs at least one hash: give md5, sha1 or sha256"))?;
    Ok((primary, read.collect()))
}

/// [`detect`] without the shortcut for what is canonical already.
fn detect_slowly(text: &str) -> Result<Canonical, Invalid> {
    let value = clean(text)?;
    let observable = if let Some(hash) = hash::detect(value) {
        hash
    } else if refang::has_scheme(value) {
        url::url(value)?
    } else {
        detect_without_scheme(value)?
    };
    Ok(with_raw(observable, text))
}

fn detect_without_scheme(value: &str) -> Result<Observable, Invalid> {
    let (head, tail) = refang::split_authority(value);
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
    if value.is_empty() {
        return Err(Invalid::new("", "is empty: give a value"));
    }
    if value.chars().any(char::is_control) {
        return Err(Invalid::new(
            "",
            "holds a control character, such as a tab or a line break: give one value without any",
        ));
    }
    Ok(value)
}

fn too_long() -> Invalid {
    Invalid::new("", format!("is too long: a value has at most {MAX_VALUE_BYTES} bytes"))
}

/// White space of any script, byte-order marks and zero-width characters:
/// copying glues them to the ends of values.
fn is_invisible_edge(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{180e}' | '\u{00ad}')
}

fn with_raw(observable: Observable, text: &str) -> Canonical {
    let same = match &observable {
        Observable::Domain(canonical) | Observable::Url(canonical) => **canonical == *text,
        other => other.to_string() == text,
    };
    Canonical { observable, raw: (!same).then(|| text.to_owned()) }
}
