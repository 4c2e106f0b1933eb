//! Who was away while the past was cut off is told so, begins at the current
//! state, by itself or when it is told to, and has in the end what one has that
//! begins now.

use std::collections::BTreeSet;
use std::fs;

use super::{Days, builder, metric, noisy, plan, publish, revoke};
use crate::harness::{Agent, Ended, Relay, TestHub, eventually};

const ANCHOR: &str = "anchor.retention.example";

/// Runs `luytre <words>`, which finds the hub where it was before.
async fn run(hub: &TestHub, relay: &Relay, organisation: &str, words: &[&str]) -> Ended {
    let mut agent = Agent::new(hub, relay, organisation, "system/fw", words);
    agent.start();
    let code = agent.ended().await.code().unwrap();
    let log = agent.log();
    let (stdout, stderr) =
        log.lines().map(|line| format!("{line}\n")).partition(|line| line.starts_with('{'));
    Ended { code, stdout, stderr }
}

/// A run of `luytre sync --once` whose files carry this name: what it printed,
/// and what the files hold.
async fn sync(hub: &TestHub, relay: &Relay, name: &str, more: &[&str]) -> (Ended, String, String) {
    let path = |ending: &str| hub.dir().join(format!("{name}.{ending}")).to_str().unwrap().to_owned();
    let (state, plain, jsonl) = (path("state"), path("txt"), path("jsonl"));
    let words = ["sync", "--once", "--state", &state, "--plain", &plain, "--jsonl", &jsonl];
    let ended = run(hub, relay, "c", &[&words, more].concat()).await;
    let read = |path: &str| fs::read_to_string(path).unwrap();
    (ended, read(&plain), read(&jsonl))
}

async fn subscribe(hub: &TestHub, relay: &Relay, more: &[&str]) -> Ended {
    run(hub, relay, "b", &[&["subscribe"], more].concat()).await
}

/// The values that a subscription printed, and whether they are a current state.
fn printed(ended: Ended) -> (bool, BTreeSet<String>) {
    let lines = ended.json();
    let events = lines.iter().filter_map(|line| line["value"].as_str());
    (lines[0]["event"] == "state-begin", events.map(str::to_owned).collect())
}

/// A hub that cut off its past while everyone was away.
async fn moved_on(hub: &mut TestHub, days: Days, gone: &str) {
    let feed = hub.peer("a", "system/feed");
    publish(&feed, vec![noisy(ANCHOR, 1), noisy("new.retention.example", 0)]).await;
    revoke(&feed, gone).await;
    hub.terminate().await;
    plan(hub, days.after(11)).await;
    publish(&feed, vec![noisy("later.retention.example", 0)]).await;
    hub.terminate().await;
    hub.dated(days.after(14));
    hub.serve().await;
    eventually("the past is cut off", async || {
        let over = metric(hub, "luytre_history_begins_seconds").await > 0
            && metric(hub, "luytre_truncation_behind_entries").await == 0
            && metric(hub, "luytre_records_dropped_total").await == 1;
        over.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_was_away_begins_anew_by_itself_and_a_subscription_where_it_is_told_to() {
    let (mut hub, days) = (builder().prepare(), Days::from_today());
    hub.dated(days.after(1));
    hub.serve().await;
    let relay = Relay::to(&hub).await;
    let feed = hub.peer("a", "system/feed");
    let published = publish(&feed, vec![noisy(ANCHOR, 0), noisy("gone.retention.example", 0)]).await;
    let before: BTreeSet<_> = [ANCHOR, "gone.retention.example"].map(str::to_owned).into();
    for (name, more) in [("plain", &[][..]), ("named", &["--name", "fw"])] {
        let (ended, plain, _) = sync(&hub, &relay, name, more).await;
        assert_eq!((ended.code, plain.lines().count()), (0, 2), "{ended:?}");
    }
    let state = hub.dir().join("place").to_str().unwrap().to_owned();
    let (kept_here, kept_there) = (["--state", &state], ["--name", "soc"]);
    for more in [&kept_here, &kept_there] {
        let ended = subscribe(&hub, &relay, &[&more[..], &["--count", "2"]].concat()).await;
        assert_eq!(printed(ended), (false, before.clone()));
    }

    moved_on(&mut hub, days, &published[1].0).await;
    let now = [ANCHOR, "new.retention.example", "later.retention.example"].map(str::to_owned);
    let now = BTreeSet::from(now);

    // A sync does so by itself, and says so.
    let fresh = sync(&hub, &relay, "fresh", &[]).await;
    assert!(fresh.0.code == 0 && !fresh.0.stderr.contains("anew"), "{:?}", fresh.0);
    assert_eq!(fresh.1.lines().map(str::to_owned).collect::<BTreeSet<_>>(), now);
    for (name, more) in [("plain", &[][..]), ("named", &["--name", "fw"])] {
        let (ended, plain, jsonl) = sync(&hub, &relay, name, more).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        let told = ["asking for the current state anew", "no longer keeps all that followed"];
        assert!(told.iter().all(|text| ended.stderr.contains(text)), "{name}: {ended:?}");
        assert_eq!((&plain, &jsonl), (&fresh.1, &fresh.2), "{name}");
        // And once.
        let (ended, ..) = sync(&hub, &relay, name, more).await;
        assert!(ended.code == 0 && !ended.stderr.contains("anew"), "{name}: {ended:?}");
    }

    // A subscription does not: it ends, as often as it is tried, with what to do.
    for more in [&kept_here, &kept_there] {
        for from in ["earliest", "current-state"] {
            let ended =
                subscribe(&hub, &relay, &[&more[..], &["--from", from, "--count", "1"]].concat()).await;
            assert_eq!((ended.code, ended.stdout.as_str()), (65, ""), "{ended:?}");
            let told = ["RESUME_TOKEN_EXPIRED", "--from current-state", "luytre subscriptions delete"];
            assert!(told.iter().all(|text| ended.stderr.contains(text)), "{ended:?}");
        }
    }
    // What was replaced is told of as gone.
    let versions = ["versions", &published[0].0];
    let ended = run(&hub, &relay, "c", &versions).await;
    assert!(ended.code == 0 && ended.stderr.contains("are kept no longer"), "{ended:?}");
    let ended = run(&hub, &relay, "c", &[&versions[..], &["--lang", "vi", "--json"]].concat()).await;
    assert!(ended.stdout.lines().count() == 1 && ended.stderr.contains("không còn được lưu"), "{ended:?}");
    fs::remove_file(&state).unwrap();
    run(&hub, &relay, "b", &["subscriptions", "delete", "soc"]).await.well();
    for more in [&kept_here, &kept_there] {
        let ended =
            subscribe(&hub, &relay, &[&more[..], &["--from", "current-state", "--count", "3"]].concat())
                .await;
        assert_eq!(printed(ended), (true, now.clone()));
    }
    // Both have their place again.
    publish(&feed, vec![noisy("last.retention.example", 0)]).await;
    for more in [&kept_here, &kept_there] {
        let ended = subscribe(&hub, &relay, &[&more[..], &["--count", "1"]].concat()).await;
        assert_eq!(printed(ended), (false, ["last.retention.example".to_owned()].into()));
    }
    hub.terminate().await;
    hub.verify();
}
