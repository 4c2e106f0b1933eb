//! Decides when something is due: renewal, the next authority, the next
//! revocation list, a warning; and whether a clock can be believed.
//!
//! Every answer is a pure function of moments that the caller gives.

#![deny(clippy::arithmetic_side_effects)]

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::model::Invalid;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The share of its life after which a leaf is renewed: two thirds, as
/// cert-manager and step-ca have it.
pub const RENEW_AT: (u32, u32) = (2, 3);
/// The share of its life after which a leaf may be renewed at all.
pub const RENEWAL_OPENS: (u32, u32) = (1, 3);
/// How far a renewal strays to either side, as a share of the time until it:
/// a tenth, as SPIRE has it (`rotationutil`).
pub const RENEW_JITTER: (u32, u32) = (1, 10);
/// How long before its authority a leaf ends at the latest, for clocks that
/// differ.
pub const AUTHORITY_MARGIN: Duration = Duration::from_secs(5 * 60);
/// How many of the longest leaf lives an authority must last when it is
/// prepared: one until it signs, one for what it signs then.
pub const LEAVES_IN_AUTHORITY: u32 = 2;
/// The next authority is prepared when half of the life is left, or this
/// (SPIRE, `ca/manager`).
pub const PREPARE_LEFT: Duration = DAY.saturating_mul(30);
/// The next authority is activated when a sixth of the life is left, or this
/// (SPIRE, `ca/manager`).
pub const ACTIVATE_LEFT: Duration = DAY.saturating_mul(7);
/// How long the next authority is at least trusted before it signs, unless
/// configured otherwise.
pub const SOAK: Duration = HOUR;
/// How often a revocation list is signed anew, revoked or not.
pub const LIST_PERIOD: Duration = DAY;
/// Days of life left at which an expiry is warned of, fewest first.
pub const WARNING_DAYS: [u32; 4] = [1, 7, 14, 30];
/// Shortest span between two renewals of one system; a tenth of the lifetime
/// if that is longer.
pub const MIN_RENEWAL_PERIOD: Duration = HOUR;
/// How long a token can be used if nobody says.
pub const DEFAULT_TOKEN_TTL: Duration = DAY;
/// How long a token can be used at most.
pub const MAX_TOKEN_TTL: Duration = DAY.saturating_mul(3);
/// Furthest that the wall clock may stray from the monotonic one between two
/// readings and be believed: far beyond any correction by NTP, and far below
/// what would make certificates expire in numbers.
pub const MAX_CLOCK_STEP: Duration = HOUR;
/// Up to so many are tainted or severed at once; more are spread out.
pub const MAX_AT_ONCE: usize = 10;

/// When a leaf is renewed. `random` is any number, drawn once per leaf, so that
/// not all come at once.
#[must_use]
pub fn renew_at(not_before: Timestamp, not_after: Timestamp, random: u64) -> Timestamp {
    let until = share(not_after.since(not_before), RENEW_AT);
    let jitter = share(until, RENEW_JITTER);
    let stray = within(random, micros(jitter).saturating_mul(2));
    not_before.saturating_add(until.saturating_sub(jitter)).saturating_add(Duration::from_micros(stray))
}

/// From when on a leaf may be renewed.
#[must_use]
pub fn renewal_opens(not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    not_before.saturating_add(share(not_after.since(not_before), RENEWAL_OPENS))
}

/// Shortest span between two renewals of a system whose certificates live for
/// `lifetime`.
#[must_use]
pub fn renewal_period(lifetime: Duration) -> Duration {
    MIN_RENEWAL_PERIOD.max(share(lifetime, (1, 10)))
}

/// When a leaf ends that is signed now for `lifetime`: before its authority, on
/// a whole second. `None` if the authority is too near its end to sign.
#[must_use]
pub fn leaf_end(now: Timestamp, lifetime: Duration, authority_end: Timestamp) -> Option<Timestamp> {
    let end = now.saturating_add(lifetime).min(authority_end.saturating_sub(AUTHORITY_MARGIN));
    let end = end.saturating_sub(Duration::from_micros(u64::from(end.subsec_micros())));
    (end > now).then_some(end)
}

/// Whether the authority after this one should be prepared.
#[must_use]
pub fn prepare_due(not_before: Timestamp, not_after: Timestamp, now: Timestamp) -> bool {
    not_after.since(now) <= share(not_after.since(not_before), (1, 2)).min(PREPARE_LEFT)
}

/// Whether the authority after this one should sign.
#[must_use]
pub fn activate_due(not_before: Timestamp, not_after: Timestamp, now: Timestamp) -> bool {
    not_after.since(now) <= share(not_after.since(not_before), (1, 6)).min(ACTIVATE_LEFT)
}

/// When the list after this one is signed: after a day, or half of its life.
#[must_use]
pub fn list_due(this_update: Timestamp, next_update: Timestamp) -> Timestamp {
    let half = share(next_update.since(this_update), (1, 2));
    this_update.saturating_add(half.min(LIST_PERIOD))
}

/// The days of life, of [`WARNING_DAYS`], that a certificate has fallen to; 0
/// once it has expired. Of a short life only those days count that come after
/// its renewal was due.
#[must_use]
pub fn warning(not_before: Timestamp, not_after: Timestamp, now: Timestamp) -> Option<u32> {
    if now >= not_after {
        return Some(0);
    }
    let left = not_after.since(now);
    let worth_saying = share(not_after.since(not_before), (1, 3));
    WARNING_DAYS.into_iter().find(|&days| {
        let threshold = DAY.saturating_mul(days);
        left <= threshold && threshold <= worth_saying
    })
}

/// How long a token can be used for which `asked` was asked; zero means that
/// nobody said.
///
/// # Errors
/// If that is more than [`MAX_TOKEN_TTL`].
pub fn token_ttl(asked: Duration) -> Result<Duration, Invalid> {
    if asked.is_zero() {
        Ok(DEFAULT_TOKEN_TTL)
    } else if asked <= MAX_TOKEN_TTL {
        Ok(asked)
    } else {
        Err(Invalid::new("ttl", "a token can be used for at most 72 hours; ask for less"))
    }
}

/// A wall clock that moved otherwise than time went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jump {
    /// Ahead, by so much.
    Ahead(Duration),
    /// Back, by so much.
    Back(Duration),
}

/// Whether the wall clock, read twice, moved implausibly: by more than
/// [`MAX_CLOCK_STEP`] otherwise than the monotonic clock did in between.
/// Nothing expires on the word of such a clock until an operator confirms it.
#[must_use]
pub fn clock_jump(before: Timestamp, now: Timestamp, elapsed: Duration) -> Option<Jump> {
    let expected = before.saturating_add(elapsed);
    let (ahead, back) = (now.since(expected), expected.since(now));
    if ahead > MAX_CLOCK_STEP {
        Some(Jump::Ahead(ahead))
    } else if back > MAX_CLOCK_STEP {
        Some(Jump::Back(back))
    } else {
        None
    }
}

/// How long the `index`th of `count` waits when many are tainted or severed:
/// each has its own part of `window`, and a `random` moment in it. A few do not
/// wait at all.
#[must_use]
pub fn wave_delay(index: usize, count: usize, window: Duration, random: u64) -> Duration {
    if count <= MAX_AT_ONCE {
        return Duration::ZERO;
    }
    let of = |at: usize| {
        let part = u128::from(micros(window)).saturating_mul(at.min(count) as u128);
        part.checked_div(count as u128).and_then(|part| u64::try_from(part).ok()).unwrap_or(u64::MAX)
    };
    let (from, to) = (of(index), of(index.saturating_add(1)));
    Duration::from_micros(from.saturating_add(within(random, to.saturating_sub(from))))
}

/// A part of a span, rounded down to microseconds.
fn share(span: Duration, (numerator, denominator): (u32, u32)) -> Duration {
    let part = u128::from(micros(span)).saturating_mul(u128::from(numerator));
    let part = part.checked_div(u128::from(denominator)).unwrap_or(0);
    Duration::from_micros(u64::try_from(part).unwrap_or(u64::MAX))
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// A number from 0 to `most`, inclusive, as evenly drawn as `random` is.
fn within(random: u64, most: u64) -> u64 {
    let product = u128::from(random).saturating_mul(u128::from(most).saturating_add(1));
    u64::try_from(product >> 64).unwrap_or(most)
}

#[cfg(test)]
mod tests;
