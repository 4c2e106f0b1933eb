//! Decides when a certificate is due for renewal, and when its end is near
//! enough to warn: pure functions of time.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::pki::issue::DAY;

/// Days before the end at which a renewal that does not succeed is warned of.
const WARNINGS: [u64; 4] = [1, 7, 14, 30];

/// When to renew a certificate: at two thirds of its life, later by up to a
/// twentieth, drawn by `random`, so that not all come at once.
pub(super) fn renew_at(not_before: Timestamp, not_after: Timestamp, random: u64) -> Timestamp {
    let life = not_after.since(not_before);
    let spread = life / 20;
    let drawn =
        u64::try_from(spread.as_micros()).unwrap_or(u64::MAX).checked_add(1).map_or(0, |n| random % n);
    not_before.saturating_add(life / 3 * 2).saturating_add(Duration::from_micros(drawn))
}

/// Which warning stands so shortly before the end; `None`: none yet.
pub(super) fn warning(left: Duration) -> Option<u64> {
    WARNINGS.into_iter().find(|&days| left <= DAY.saturating_mul(u32::try_from(days).unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_due_after_two_thirds_and_well_before_the_end() {
        let begin = Timestamp::EPOCH.saturating_add(DAY * 100);
        let end = begin.saturating_add(DAY * 30);
        assert_eq!(renew_at(begin, end, 0), begin.saturating_add(DAY * 20));
        for random in [1, 77_777_777_777, u64::MAX] {
            let at = renew_at(begin, end, random);
            assert!(at >= begin.saturating_add(DAY * 20) && at <= begin.saturating_add(DAY * 43 / 2), "{at}");
        }
        assert_eq!(renew_at(begin, begin, u64::MAX), begin);
    }

    #[test]
    fn warnings_stand_at_thirty_fourteen_seven_and_one_day() {
        let after = |days: u32| warning(DAY * days);
        assert_eq!(
            [31, 30, 15, 14, 8, 7, 2, 1, 0].map(after),
            [None, Some(30), Some(30), Some(14), Some(14), Some(7), Some(7), Some(1), Some(1)]
        );
    }
}
