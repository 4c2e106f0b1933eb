//! Decides how long a test waits: until what it waits for is so, and not for
//! ever.

use std::time::Duration;

/// How long anything may take; `LUYTRE_TEST_PATIENCE` in seconds, for slow or
/// busy machines.
pub(crate) fn patience() -> Duration {
    let seconds = std::env::var("LUYTRE_TEST_PATIENCE").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(120))
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// If there is none within the patience of this run.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let Ok(answer) = tokio::time::timeout(patience(), asking).await else {
        panic!("not within {:?}: {what}", patience());
    };
    answer
}

/// Waits for `work`, and not for ever.
///
/// # Panics
/// If it is not done within the patience of this run.
pub(crate) async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> T {
    let Ok(answer) = tokio::time::timeout(patience(), work).await else {
        panic!("not within {:?}: {what}", patience());
    };
    answer
}
