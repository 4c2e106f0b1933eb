//! Decides how a hub is waited for, and with which memory it starts again.

use std::fs;
use std::time::{Duration, Instant};

use luytre::wire::proto::v1;

use super::ask::Asker;
use super::harness::TestHub;
use super::place::Place;
use super::process;
use super::roster;
use super::wire::Target;

/// The block cache as the hub has it unless told otherwise.
pub const CACHE: &str = "256MiB";
/// The least that it can be told to have.
pub const SMALL_CACHE: &str = "8MiB";

pub fn target(hub: &TestHub, organisation: &str, name: &str) -> Target {
    Target { address: hub.grpc(), tls: hub.peer(organisation, name).tls() }
}

/// The analyst, connected.
pub async fn analyst(hub: &TestHub) -> Asker {
    Asker::of(target(hub, roster::ANALYST, roster::USER), hub.pid()).await
}

/// A hub on the store of `place`, that serves.
pub async fn start(place: &Place) -> TestHub {
    let mut hub = place.hub();
    hub.serve().await;
    settle(hub.pid(), Duration::from_secs(600)).await;
    hub
}

/// Ends the hub and starts it again with a block cache of this size.
pub async fn restart(hub: &mut TestHub, cache: &str) {
    assert!(hub.terminate().await.success(), "the hub ends well");
    let path = hub.dir().join("hub.toml");
    let text = fs::read_to_string(&path).expect("the configuration is there");
    let lines = text.lines().map(|line| match line.starts_with("block_cache_bytes") {
        true => format!("block_cache_bytes = \"{cache}\"\n"),
        false => format!("{line}\n"),
    });
    fs::write(&path, lines.collect::<String>()).expect("the configuration can be written");
    hub.serve().await;
    settle(hub.pid(), Duration::from_secs(600)).await;
}

/// Ends the hub.
pub async fn end(mut hub: TestHub) {
    assert!(hub.terminate().await.success(), "the hub ends well");
}

/// Waits until the process does next to nothing for a second.
pub async fn settle(pid: u32, at_most: Duration) {
    let started = Instant::now();
    let (mut before, mut quiet) = (process::cpu(pid), 0);
    while quiet < 4 && started.elapsed() < at_most {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = process::cpu(pid);
        quiet = if now.saturating_sub(before) <= Duration::from_millis(20) { quiet + 1 } else { 0 };
        before = now;
    }
}

/// Waits until the hub answers what needs all of its indexes.
pub async fn indexed(hub: &TestHub) {
    let asker = analyst(hub).await;
    let started = Instant::now();
    let filter = v1::IndicatorFilter { text: "nothing-is-called-so".to_owned(), ..Default::default() };
    let request = v1::ListIndicatorsRequest { filter: Some(filter), ..Default::default() };
    while let Err(status) = asker.page(&request).await {
        assert!(started.elapsed() < Duration::from_secs(7_200), "no answer for two hours: {status}");
    }
}
