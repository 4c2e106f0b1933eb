//! Whatever a viewer might not be allowed to read is written so that it is
//! found in any bytes: organisations, groups, persons, values and notes as
//! `zq`, a letter and digits, ids as they are.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::rules::{Mark, Person};

/// What some bytes name, or may.
pub(super) type Secrets = BTreeSet<String>;

const DIGITS: usize = 4;

pub(super) fn org(org: usize) -> String {
    format!("zqo{org:04}")
}

pub(super) fn group(group: usize) -> String {
    format!("zqg{group:04}")
}

pub(super) fn person((org, number): Person) -> String {
    format!("zqp{org:02}{number:02}")
}

pub(super) fn value(value: usize) -> String {
    format!("zqv{value:04}")
}

pub(super) fn note(note: u32) -> String {
    format!("zqn{note:04}")
}

pub(super) fn id(id: Uuid) -> String {
    id.hyphenated().to_string()
}

/// Those whom a marking names.
pub(super) fn recipients(mark: &Mark, into: &mut Secrets) {
    into.extend(mark.organisations.iter().copied().map(org));
    into.extend(mark.groups.iter().copied().map(group));
    for &named in &mark.persons {
        into.extend([person(named), org(named.0)]);
    }
}

/// The number of the note in a text.
pub(super) fn note_in(text: &str) -> u32 {
    let digits = text.strip_prefix("zqn").and_then(|digits| digits.parse().ok());
    digits.unwrap_or_else(|| panic!("no note: {text:?}"))
}

/// Everything of that kind in some bytes.
pub(super) fn found(bytes: &[u8]) -> Secrets {
    let mut all = Secrets::new();
    for at in 0..bytes.len() {
        let rest = &bytes[at..];
        let marked = rest.starts_with(b"zq") && rest.len() >= 3 + DIGITS;
        if marked && rest[3..3 + DIGITS].iter().all(u8::is_ascii_digit) {
            all.insert(String::from_utf8_lossy(&rest[..3 + DIGITS]).into_owned());
        }
        if rest.starts_with(b"s/")
            && let Some(text) = rest.get(2..38).and_then(|text| std::str::from_utf8(text).ok())
            && let Ok(found) = Uuid::parse_str(text)
        {
            all.insert(id(found));
        }
    }
    all
}

/// Asserts that some bytes name nothing but what they may.
pub(super) fn assert_within(what: &str, bytes: &[u8], allowed: &Secrets) {
    let found = found(bytes);
    let beyond: Vec<_> = found.difference(allowed).collect();
    assert!(beyond.is_empty(), "{what} names {beyond:?}, and may name {allowed:?}");
}
