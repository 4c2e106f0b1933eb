//! Decides when those are told whose connections have ended: a few at once,
//! many one after the other, so that nobody else waits for it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::End;
use crate::base::{clock, random, tasks};
use crate::pki::schedule::{MAX_AT_ONCE, wave_delay};

/// Longest time that telling them all takes.
const WINDOW: Duration = Duration::from_millis(200);
/// Time for each of them, where that is less.
const EACH: Duration = Duration::from_millis(2);

/// Tells everyone on these connections, which were cut, of their end.
pub(in crate::server) fn tell(ends: &[End]) {
    let bells: Vec<_> = ends.iter().flat_map(End::bells).collect();
    if bells.len() <= MAX_AT_ONCE {
        bells.iter().for_each(CancellationToken::cancel);
        return;
    }
    tasks::spawn("telling of an end", async move {
        let (started, count) = (Instant::from_std(clock::monotonic()), bells.len());
        let window = WINDOW.min(EACH.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)));
        for (index, bell) in bells.into_iter().enumerate() {
            sleep_until(started + wave_delay(index, count, window, random::u64())).await;
            bell.cancel();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::sever::Cause;

    /// So many connections that were cut, each with a call that waits.
    fn cut(count: usize) -> Vec<(End, CancellationToken)> {
        let one = |_| {
            let end = End::default();
            let bell = end.bell().unwrap();
            end.cut(Cause::Revoked);
            (end, bell)
        };
        (0..count).map(one).collect()
    }

    #[tokio::test]
    async fn few_are_told_at_once_and_many_one_after_the_other() {
        let few = cut(5);
        tell(&few.iter().map(|(end, _)| end.clone()).collect::<Vec<_>>());
        assert!(few.iter().all(|(end, bell)| bell.is_cancelled() && end.0.told.is_cancelled()));

        let many = cut(1_000);
        tell(&many.iter().map(|(end, _)| end.clone()).collect::<Vec<_>>());
        // Whoever has cut them goes on first.
        assert!(!many.iter().any(|(end, bell)| bell.is_cancelled() || end.0.told.is_cancelled()));
        many[0].1.cancelled().await;
        assert!(!many[999].1.is_cancelled());
        for (end, bell) in &many {
            bell.cancelled().await;
            end.ended().await;
        }
    }
}
