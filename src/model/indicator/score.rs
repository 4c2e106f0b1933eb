//! Decides how much a value deserves attention at a moment: the joint
//! confidence of those who hold to it, less what time and false positives
//! took away from it.
//!
//! ```text
//! score      = confidence × freshness × trust
//! confidence = 1 − Π (1 − confidence of a source)      50 % where a source says none
//! freshness  = ½ after each half-life of the kind, in a straight line between two
//! trust      = 1 ∕ (1 + organisations that report a false positive)
//! ```
//!
//! Whole numbers throughout, so that every machine computes the same. Nothing
//! is stored: a score is computed when it is asked for.

use std::time::Duration;

use super::Kind;

/// What is reckoned with: parts of a million.
const WHOLE: u64 = 1_000_000;
/// Confidence of a source that says none, in percent.
pub const UNSAID: u8 = 50;
const DAY: u64 = 86_400;

/// A score and what it is the product of, each in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Score {
    /// The score.
    pub value: u8,
    /// Joint confidence of the sources.
    pub confidence: u8,
    /// What time left of it.
    pub freshness: u8,
    /// What false positives left of it.
    pub trust: u8,
}

/// The score of a value of `kind` that sources of these confidences hold to,
/// last heard of so long ago, and found harmless by so many.
#[must_use]
pub fn score(kind: Kind, confidences: &[Option<u8>], age: Duration, false_positives: u32) -> Score {
    let doubt = confidences.iter().fold(WHOLE, |doubt, confidence| {
        doubt * (100 - u64::from(confidence.unwrap_or(UNSAID).min(100))) / 100
    });
    let confidence = WHOLE - doubt;
    let freshness = freshness(kind, age);
    let trust = WHOLE / (1 + u64::from(false_positives));
    let value = confidence * freshness / WHOLE * trust / WHOLE;
    Score {
        value: percent(value),
        confidence: percent(confidence),
        freshness: percent(freshness),
        trust: percent(trust),
    }
}

fn freshness(kind: Kind, age: Duration) -> u64 {
    let half_life = u64::from(half_life_days(kind)) * DAY;
    let (halvings, rest) = (age.as_secs() / half_life, age.as_secs() % half_life);
    let from = u32::try_from(halvings).ok().and_then(|halvings| WHOLE.checked_shr(halvings)).unwrap_or(0);
    from - from * rest / (2 * half_life)
}

fn percent(parts: u64) -> u8 {
    u8::try_from((parts * 100 + WHOLE / 2) / WHOLE).unwrap_or(100)
}

/// Days after which a value of `kind`, unheard of since, deserves half the
/// attention: addresses change hands within days, a file stays what it is.
#[must_use]
pub const fn half_life_days(kind: Kind) -> u32 {
    match kind {
        Kind::Url => 10,
        Kind::Ipv4 | Kind::Ipv6 | Kind::Endpoint => 14,
        Kind::Cidr | Kind::Domain => 30,
        Kind::Email | Kind::Phone => 60,
        Kind::UserAgent | Kind::FileName | Kind::FileSize | Kind::BankAccount => 90,
        Kind::Asn | Kind::Certificate | Kind::Ja3 | Kind::Ja4 => 180,
        Kind::Md5
        | Kind::Sha1
        | Kind::Sha256
        | Kind::Sha512
        | Kind::Ssdeep
        | Kind::Tlsh
        | Kind::Imphash
        | Kind::Mutex
        | Kind::RegistryKey
        | Kind::CryptoAddress => 365,
        Kind::Cve | Kind::Yara | Kind::Sigma | Kind::Suricata | Kind::StixPattern => 730,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn days(days: u64) -> Duration {
        Duration::from_secs(days * DAY)
    }

    #[test]
    fn a_score_is_the_product_of_its_parts() {
        let of = |confidences: &[Option<u8>], age, wrong| {
            let Score { value, confidence, freshness, trust } =
                score(Kind::Domain, confidences, days(age), wrong);
            [value, confidence, freshness, trust]
        };
        assert_eq!(of(&[Some(80)], 0, 0), [80, 80, 100, 100]);
        assert_eq!(of(&[Some(80)], 30, 0), [40, 80, 50, 100]);
        assert_eq!(of(&[Some(80)], 15, 0), [60, 80, 75, 100]);
        assert_eq!(of(&[Some(80)], 90, 0), [10, 80, 13, 100]);
        assert_eq!(of(&[None, None], 0, 1), [38, 75, 100, 50]);
        assert_eq!(of(&[Some(100), Some(0)], 0, 0), [100, 100, 100, 100]);
        assert_eq!(of(&[], 0, 0), [0, 0, 100, 100]);
        assert_eq!(of(&[Some(100)], 1_000_000, 0), [0, 100, 0, 100]);
        assert_eq!(of(&[Some(90)], 0, u32::MAX), [0, 90, 100, 0]);
    }

    fn kind() -> impl Strategy<Value = Kind> {
        prop::sample::select(Kind::ALL)
    }

    fn confidences() -> impl Strategy<Value = Vec<Option<u8>>> {
        prop::collection::vec(prop::option::of(0..=100_u8), 0..8)
    }

    proptest! {
        #[test]
        fn a_further_source_never_lowers_a_score(
            kind in kind(), all in confidences(), more in prop::option::of(0..=100_u8), age in 0..2_000_u64, wrong in 0..9_u32
        ) {
            let before = score(kind, &all, days(age), wrong);
            let after = score(kind, &[all, vec![more]].concat(), days(age), wrong);
            prop_assert!(after.value >= before.value && after.confidence >= before.confidence);
        }

        #[test]
        fn more_confidence_never_lowers_a_score(
            kind in kind(), all in confidences(), one in 0..=100_u8, other in 0..=100_u8, age in 0..2_000_u64, wrong in 0..9_u32
        ) {
            let with = |one: u8| score(kind, &[all.clone(), vec![Some(one)]].concat(), days(age), wrong);
            prop_assert!(with(one.min(other)).value <= with(one.max(other)).value);
        }

        #[test]
        fn time_never_raises_a_score(
            kind in kind(), all in confidences(), one in 0..200_000_000_u64, other in 0..200_000_000_u64, wrong in 0..9_u32
        ) {
            let after = |seconds: u64| score(kind, &all, Duration::from_secs(seconds), wrong);
            let (sooner, later) = (after(one.min(other)), after(one.max(other)));
            prop_assert!(later.value <= sooner.value && later.freshness <= sooner.freshness);
        }

        #[test]
        fn a_false_positive_never_raises_a_score(
            kind in kind(), all in confidences(), age in 0..2_000_u64, wrong in 0..100_u32
        ) {
            let with = |wrong| score(kind, &all, days(age), wrong);
            prop_assert!(with(wrong + 1).value <= with(wrong).value);
        }

        #[test]
        fn whatever_is_asked_a_score_is_a_percentage(
            kind in kind(), all in prop::collection::vec(any::<Option<u8>>(), 0..300), age: u64, wrong: u32
        ) {
            let Score { value, confidence, freshness, trust } = score(kind, &all, Duration::from_secs(age), wrong);
            prop_assert!([value, confidence, freshness, trust].iter().all(|part| *part <= 100));
            prop_assert!(value <= confidence.min(freshness).min(trust));
        }
    }
}
