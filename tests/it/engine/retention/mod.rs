//! Keeping less of the past: nothing is lost that the policy keeps, whenever
//! the hub is killed, and nothing comes back that it does not keep.

mod clocks;
mod dropping;
mod following;
mod held;
mod history;
mod load;

use std::sync::Arc;
use std::time::Duration;

use luytre::hub::{VerifyReport, verify};
use luytre::model::retention::{Retention, Rule};

use super::support::Engine;

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

/// All is kept for ten days; what is planned waits for three.
fn policy(rules: Vec<Rule>) -> Retention {
    Retention { history: days(10), grace: days(3), rules }
}

fn engine(rules: Vec<Rule>) -> Engine {
    Engine::with(|options| options.retention = Some(Arc::new(policy(rules))))
}

/// Takes steps until nothing more is to be done.
async fn settle(engine: &Engine) {
    while engine.hub.retain().await.unwrap() {}
}

/// Keeps what the policy says as of now, once the plan is ripe.
async fn keep_less(engine: &Engine) {
    settle(engine).await;
    engine.clock.advance(3 * DAY);
    settle(engine).await;
}

/// Whether the hub, which goes on, is what its log says.
fn verified(engine: &Engine) -> VerifyReport {
    let copy = engine.dir.path().join("copy");
    engine.hub.backup(&copy).unwrap();
    let report = verify(&copy, |_| ()).unwrap();
    std::fs::remove_dir_all(copy).unwrap();
    assert!(report.is_clean(), "{:?}", report.differences);
    report
}
