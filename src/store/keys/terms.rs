//! Decides under which term a version is found, for what people say in words:
//! a term is a number of eight bytes, stored and never spelt otherwise.

use std::ops::RangeInclusive;

use crate::base::clock::Timestamp;
use crate::base::digest;
use crate::model::indicator::{Kind, technique};
use crate::model::position::Position;

/// Seconds of an hour.
const HOUR: u64 = 3_600;
/// Most labels of a host name that make its terms.
const MAX_HOST_LABELS: usize = 3;
/// Bits of the term of a pair of words.
const PAIR_BITS: u32 = 13;
/// Entries of the log, as a power of two, whose records have one term of birth.
const BORN_BITS: u32 = 14;
/// The term of a confidence that is not said.
pub const NO_CONFIDENCE: u64 = 101;
/// The term of a time that is not said.
pub const NOT_SEEN: u64 = 0;

/// The term of a label.
#[must_use]
pub fn label_term(label: &str) -> u64 {
    digest::sha256_u64(label.as_bytes())
}

/// The term of a role, by its number.
#[must_use]
pub fn role_term(number: u8) -> u64 {
    // No label holds a control character, so none has the term of these.
    digest::sha256_u64(&[b"role\0".as_slice(), &[number]].concat())
}

/// The term of a family of malware, in whatever case.
#[must_use]
pub fn family_term(family: &str) -> u64 {
    digest::sha256_u64(format!("family\0{}", family.to_lowercase()).as_bytes())
}

/// The term of a campaign, in whatever case.
#[must_use]
pub fn campaign_term(campaign: &str) -> u64 {
    digest::sha256_u64(format!("campaign\0{}", campaign.to_lowercase()).as_bytes())
}

/// The term of a technique of ATT&CK, such as `T1566.001`.
#[must_use]
pub fn technique_term(technique: &str) -> u64 {
    digest::sha256_u64(format!("technique\0{technique}").as_bytes())
}

/// All terms by which filters find an indicator: of its labels, and of its
/// role, its family, its campaign and its techniques where it says them. Who
/// asks for a technique finds what names one of its sub-techniques too.
#[must_use]
pub fn terms(labels: &[String], role: u8, family: &str, campaign: &str, techniques: &[String]) -> Vec<u64> {
    let mut terms: Vec<_> = labels.iter().map(|label| label_term(label)).collect();
    terms.extend((role != 0).then(|| role_term(role)));
    terms.extend((!family.is_empty()).then(|| family_term(family)));
    terms.extend((!campaign.is_empty()).then(|| campaign_term(campaign)));
    for name in techniques {
        for name in technique::parent(name).into_iter().chain([name.as_str()]) {
            let term = technique_term(name);
            if !terms.contains(&term) {
                terms.push(term);
            }
        }
    }
    terms
}

/// The term of a value that a record had, by its key.
#[must_use]
pub fn value_term(key: &[u8]) -> u64 {
    digest::sha256_u64(key)
}

/// The term of a confidence: itself, or [`NO_CONFIDENCE`].
#[must_use]
pub fn confidence_term(confidence: Option<u8>) -> u64 {
    confidence.map_or(NO_CONFIDENCE, u64::from)
}

/// The term of a time at which something was seen: [`NOT_SEEN`], or twice the
/// whole hours since the Unix epoch, and one more where it is not exactly on
/// the hour. So terms rise with time, and what is on the hour is known to be.
#[must_use]
pub const fn seen_term(at: Option<Timestamp>) -> u64 {
    let Some(at) = at else { return NOT_SEEN };
    let hours = at.as_seconds() / HOUR;
    let exact = at.as_micros() == hours * HOUR * 1_000_000;
    // The epoch itself is told by the version: its term would say nothing.
    if exact && hours > 0 { hours * 2 } else { hours * 2 + 1 }
}

/// The term of a day on which something was seen: whole days since the Unix
/// epoch. So terms rise with time.
#[must_use]
pub const fn day_term(at: Timestamp) -> u64 {
    at.as_seconds() / (24 * HOUR)
}

/// The term under which whatever lies below the host name or domain `name` is
/// found, and more: of its last three labels. Which domains are registered is
/// not asked: the list of public suffixes changes, and terms may not.
#[must_use]
pub fn host_term(name: &str) -> u64 {
    digest::sha256_u64(host_zones(name).last().unwrap_or(name).as_bytes())
}

/// The terms of a host name: of its last label, its last two, its last three,
/// as many as it has.
pub fn host_terms(name: &str) -> impl Iterator<Item = u64> + '_ {
    host_zones(name).map(|zone| digest::sha256_u64(zone.as_bytes()))
}

fn host_zones(name: &str) -> impl Iterator<Item = &str> {
    let dots = name.rmatch_indices('.').filter_map(|(at, _)| name.get(at + 1..));
    dots.chain([name]).take(MAX_HOST_LABELS)
}

/// The term of a folded word: its first eight bytes, filled up with zeros.
/// Longer words share it, and are told apart by the text.
#[must_use]
pub fn text_term(word: &str) -> u64 {
    let mut term = [0; 8];
    for (to, from) in term.iter_mut().zip(word.bytes()) {
        *to = from;
    }
    u64::from_be_bytes(term)
}

/// The terms of all folded words that begin with `prefix`, and where that has
/// eight bytes or more those of others too.
#[must_use]
pub fn text_terms(prefix: &str) -> RangeInclusive<u64> {
    let open = u32::try_from(8_usize.saturating_sub(prefix.len()) * 8).unwrap_or(u64::BITS);
    let first = text_term(prefix);
    first..=first | u64::MAX.checked_shr(u64::BITS - open).unwrap_or(0)
}

/// The term of two folded words that stand side by side. Many pairs share one:
/// there are as many different pairs as items, and a step of indexing is to
/// write some thousands of terms, not one for each. The text tells them apart.
#[must_use]
pub fn pair_term(left: &str, right: &str) -> u64 {
    // Multipliers of SplitMix64 (Steele, Lea, Flood, 2014): any odd ones would
    // do, but they are stored and may not change.
    let mix = |term: u64, by: u64| {
        let term = (term ^ term >> 29).wrapping_mul(by);
        term ^ term >> 32
    };
    let left = mix(text_term(left), 0xbf58_476d_1ce4_e5b9).rotate_left(32);
    mix(left ^ text_term(right), 0x94d0_49bb_1331_11eb) >> (u64::BITS - PAIR_BITS)
}

/// The term of where a record was born: it rises with the log.
#[must_use]
pub const fn born_term(handle: Position) -> u64 {
    handle.seq().raw() >> BORN_BITS
}

/// Which schemes of URLs are cut to their first letter in terms of how they
/// begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// `http` and `https`: another beginning with an h is not among theirs.
    Web,
    /// All, as a release before did.
    All,
}

/// The term of how a long value of a kind begins: the number of the kind, then
/// seven bytes. Of a web address those are the first of its scheme and what
/// stands behind `://`, since nearly all begin alike.
#[must_use]
pub fn beginning_term(kind: Kind, text: &str, cut: Cut) -> u64 {
    *beginning_terms(kind, text, cut).start()
}

/// The terms of the long values of a kind that begin with a text, and perhaps
/// of some others.
#[must_use]
pub fn beginning_terms(kind: Kind, text: &str, cut: Cut) -> RangeInclusive<u64> {
    let is_cut = |scheme: &str| cut == Cut::All || matches!(scheme, "http" | "https");
    let may_be_cut = || cut == Cut::All || ["http://", "https://"].iter().any(|web| web.starts_with(text));
    let parts = match (kind, text.split_once("://")) {
        (Kind::Url, Some((scheme, rest))) if is_cut(scheme) => [scheme.get(..1).unwrap_or_default(), rest],
        // It ends within the scheme.
        (Kind::Url, None) if may_be_cut() => [text.get(..1).unwrap_or_default(), ""],
        _ => [text, ""],
    };
    let known = parts.iter().flat_map(|part| part.bytes());
    let filled = |rest| {
        let bytes = [kind.number()].into_iter().chain(known.clone()).chain(std::iter::repeat(rest));
        bytes.take(8).fold(0, |term, byte| term << 8 | u64::from(byte))
    };
    filled(0)..=filled(u8::MAX)
}

/// The term of a `valid_from`: whole hours since the Unix epoch.
#[must_use]
pub const fn valid_from_term(from: Timestamp) -> u64 {
    from.as_seconds() / HOUR
}
