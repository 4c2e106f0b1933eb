//! Decides the canonical form of an e-mail address: `local@host` in lower
//! case, the host as A-labels.
//!
//! RFC 5321 lets a mail server tell local parts by case; none in use does, and
//! two spellings of one mailbox would be two records.

use std::borrow::Cow;

use crate::model::Invalid;

use super::super::{Kind, Observable};
use super::{domain, refang};

/// Longest local part, in bytes (RFC 5321).
const MAX_LOCAL_BYTES: usize = 64;
/// Longest address, in bytes (RFC 5321, as corrected).
const MAX_BYTES: usize = 254;

/// Whether `text`, without a path, is meant as an e-mail address.
pub(super) fn looks_like(text: &str) -> bool {
    text.contains('@') || (text.contains(['[', '(', '{']) && refang::at(text).contains('@'))
}

/// Whether `text` starts as a link to a mailbox does.
pub(super) fn is_link(text: &str) -> bool {
    without_prefix(text).len() < text.len()
}

/// Whether `text` holds a mark of defanging.
pub(super) fn is_marked(text: &str) -> bool {
    !text.contains('@') || refang::host(&refang::at(text)) != text
}

/// Reads `text` as an e-mail address.
pub(super) fn detect(text: &str) -> Result<Observable, Invalid> {
    read(&refang::at(without_prefix(text)))
}

/// The same where the kind is named, so that words in capitals stand for the
/// signs: `bob AT example DOT com`.
pub(super) fn named(text: &str) -> Result<Observable, Invalid> {
    let text = refang::at(without_prefix(text));
    let text = if text.contains('@') { text } else { Cow::Owned(capitals(&text, "AT", "@")) };
    let Some((local, host)) = text.split_once('@') else { return Err(no_at()) };
    if refang::host(host).contains('.') {
        return read(&text);
    }
    read(&format!("{local}@{}", capitals(host, "DOT", ".")))
}

fn read(text: &str) -> Result<Observable, Invalid> {
    let text = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
    let Some((local, host)) = text.split_once('@') else { return Err(no_at()) };
    check_local(local)?;
    if host.contains('@') {
        return Err(Invalid::new("", "is not an e-mail address: it has more than one @"));
    }
    let host = match domain::domain(&refang::host(host)) {
        Ok(Observable::Domain(host)) => host,
        Ok(_) => return Err(no_at()),
        Err(e) => {
            return Err(Invalid::new("", format!("is an e-mail address whose host {}", e.problem)));
        }
    };
    let address = format!("{}@{host}", local.to_ascii_lowercase());
    if address.len() > MAX_BYTES {
        return Err(Invalid::new(
            "",
            format!("is too long for an e-mail address: at most {MAX_BYTES} bytes"),
        ));
    }
    Ok(Observable::written(Kind::Email, address))
}

fn check_local(local: &str) -> Result<(), Invalid> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._+-'=&~".contains(&b);
    let problem = if local.is_empty() || local.len() > MAX_LOCAL_BYTES {
        "is not an e-mail address: before the @ stand 1 to 64 characters"
    } else if local.contains(':') {
        "is not an e-mail address: a colon stands before the @; if it is a URL, write its scheme and ://"
    } else if !local.bytes().all(fits) {
        "is not an e-mail address that is taken here: before the @ stand letters and digits of ASCII and ._+-'=&~"
    } else if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
        "is not an e-mail address: before the @ no dot stands first, last or beside another"
    } else {
        return Ok(());
    };
    Err(Invalid::new("", problem))
}

/// Without the scheme of a link to a mailbox.
fn without_prefix(text: &str) -> &str {
    const SCHEME: &str = "mailto:";
    match text.split_at_checked(SCHEME.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => rest,
        _ => text,
    }
}

/// Replaces `word`, in capitals among small letters or between spaces, by
/// `sign`: `fooATbar`, but neither `fooMATbar` nor `fooATAbar`.
fn capitals(text: &str, word: &str, sign: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, from) = rest.split_at(at);
        let after = from.get(word.len()..).unwrap_or_default();
        let small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let glued = before.ends_with(small) && after.starts_with(small);
        if glued || (before.ends_with(' ') && after.starts_with(' ')) {
            out.push_str(before.trim_end());
            out.push_str(sign);
            rest = after.trim_start();
        } else {
            out.push_str(before);
            out.push_str(word);
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

fn no_at() -> Invalid {
    Invalid::new("", "is not an e-mail address: write it as name@example.org")
}
