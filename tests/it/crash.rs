//! What was acknowledged is there, once and in order, whenever the hub is
//! killed; and on a disk that drops syncs this very test fails.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;

use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use tokio_util::sync::CancellationToken;

use crate::harness::patience::patiently;
use crate::harness::{
    Disk, Heard, Listener, Peer, Publisher, Seed, TestHub, amber, draft, eventually, value_of,
};

const FEEDS: usize = 3;
const LAST: &str = "last.crash.example";

/// What the hub's disk does at the kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    /// Nothing is lost: the page cache survives.
    Process,
    /// What was not synced is lost.
    Power,
    /// The same, and syncs do nothing.
    PowerWithoutSync,
}

fn rounds(usual: u64) -> u64 {
    std::env::var("LUYTRE_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    let problems = ordeal(Kill::Process, rounds(30)).await;
    assert!(problems.is_empty(), "{problems:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_power_cut_at_any_moment() {
    let problems = ordeal(Kill::Power, rounds(30)).await;
    assert!(problems.is_empty(), "{problems:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_syncs_the_same_test_finds_the_loss() {
    let problems = ordeal(Kill::PowerWithoutSync, 2).await;
    assert!(problems.iter().any(|problem| problem.contains("acknowledged and is gone")), "{problems:#?}");
}

/// Item `number` of a feed: every third for organisation `b` only.
fn item(feed: usize, number: u64) -> (String, v1::IndicatorDraft) {
    let value = format!("i{number}.feed{feed}.crash.example");
    let mut draft = draft(&value);
    draft.labels = vec![if number.is_multiple_of(2) { "even" } else { "odd" }.to_owned()];
    (value, if number.is_multiple_of(3) { amber(draft, &["b"]) } else { draft })
}

fn number(value: &str) -> Option<(usize, u64)> {
    let (number, rest) = value.strip_prefix('i')?.split_once(".feed")?;
    Some((rest.split_once('.')?.0.parse().ok()?, number.parse().ok()?))
}

/// Feeds publish and subscribers listen while the hub is killed `rounds`
/// times. Returns everything that the hub must not do and did.
async fn ordeal(kill: Kill, rounds: u64) -> Vec<String> {
    let mut seed = Seed::of_this_run(&format!("crash, {kill:?}"));
    let mut builder = TestHub::builder()
        .principal("b", "system/fw", &[Role::Subscriber, Role::Analyst])
        .principal("c", "system/fw", &[Role::Subscriber])
        .config("[limits]\nheartbeat = \"1s\"");
    for feed in 0..FEEDS {
        builder = builder.principal("a", &format!("system/feed{feed}"), &[Role::Publisher]);
    }
    let mut hub = builder.prepare();
    if kill != Kill::Process {
        hub.put_on(Disk::forgetful);
    }
    if kill == Kill::PowerWithoutSync {
        hub.disk().set("drop-sync\n");
    }
    hub.serve().await;

    let stop = CancellationToken::new();
    let feeds: Vec<_> = (0..FEEDS)
        .map(|feed| Publisher::new(hub.peer("a", &format!("system/feed{feed}")), seed.fork(), feed, item))
        .collect();
    let progress: Vec<_> = feeds.iter().map(Publisher::progress).collect();
    let answered = || progress.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>();
    let feeds: Vec<_> =
        feeds.into_iter().map(|feed| tokio::spawn(feed.publish_until(stop.clone()))).collect();
    let listeners: Vec<_> = listeners(&hub)
        .into_iter()
        .map(|listener| {
            tokio::spawn(
                listener
                    .listen_until(seed.fork(), |heard| heard.last().is_some_and(|last| last.value == LAST)),
            )
        })
        .collect();

    for round in 0..rounds {
        // A kill before anything was acknowledged would prove nothing.
        let before = answered();
        eventually("an acknowledgement", async || (answered() > before).then_some(())).await;
        tokio::time::sleep(seed.millis(0, 300)).await;
        end(&mut hub, kill, &mut seed);
        if seed.one_in(4) {
            // Recovery is a moment like any other.
            let moment = seed.millis(0, 120);
            hub.serve_for(moment).await;
            end_disk(&hub, kill, &mut seed);
        }
        if round % 10 == 9 {
            hub.verify();
        }
        hub.serve().await;
    }

    stop.cancel();
    let mut problems = Vec::new();
    let mut acknowledged = Vec::new();
    for feed in feeds {
        let feed = patiently("a feed has its answers", feed).await.unwrap();
        problems.extend(feed.problems);
        acknowledged.extend(feed.acknowledged);
    }
    let mut last = Publisher::new(hub.peer("a", "system/feed0"), seed.fork(), 0, |_, _| {
        let mut draft = draft(LAST);
        draft.labels = vec!["even".to_owned()];
        (LAST.to_owned(), draft)
    });
    last.publish(1).await.unwrap();

    let told = replay(hub.peer("b", "system/fw"), seed.fork()).await;
    let listed = list(hub.peer("b", "system/fw")).await;
    problems.extend(told.problems);
    problems.extend(compare(&acknowledged, &told.heard, &listed));
    for listener in listeners {
        let listener = patiently("a listener hears the last event", listener).await.unwrap();
        let wanted: Vec<_> = told.heard.iter().filter(|heard| wants(listener.who(), heard)).collect();
        if listener.problems.is_empty() && !listener.heard.iter().eq(wanted.iter().copied()) {
            let missing = wanted.iter().filter(|heard| !listener.heard.contains(heard)).count();
            problems.push(format!(
                "{}: heard {} of {} events, {missing} missing",
                listener.who(),
                listener.heard.len(),
                wanted.len()
            ));
        }
        println!("{}: {} events, {} repeats", listener.who(), listener.heard.len(), listener.repeats);
        problems.extend(listener.problems);
    }
    println!("{kill:?}: {rounds} rounds, {} items acknowledged", acknowledged.len());
    hub.terminate().await;
    hub.verify();
    problems
}

fn end(hub: &mut TestHub, kill: Kill, seed: &mut Seed) {
    hub.kill9();
    end_disk(hub, kill, seed);
}

fn end_disk(hub: &TestHub, kill: Kill, seed: &mut Seed) {
    if kill != Kill::Process {
        let torn = seed.one_in(2).then_some(seed);
        hub.disk().cut_power(torn);
    }
}

fn listeners(hub: &TestHub) -> Vec<Listener> {
    let b = || hub.peer("b", "system/fw");
    let even = || v1::IndicatorFilter { labels: vec!["even".to_owned()], ..Default::default() };
    vec![
        Listener::new(b(), "b by token"),
        Listener::new(b(), "b by token, even").filtered(even()),
        Listener::new(b(), "b by cursor").named("b", "firewall"),
        Listener::new(b(), "b by cursor, even").named("b", "half").filtered(even()),
        Listener::new(hub.peer("c", "system/fw"), "c by token"),
        Listener::new(hub.peer("c", "system/fw"), "c by cursor").named("c", "firewall"),
    ]
}

/// Whether an event is for the listener of that name.
fn wants(who: &str, heard: &Heard) -> bool {
    let Some((_, number)) = number(&heard.value) else { return true };
    (who.starts_with('b') || !number.is_multiple_of(3))
        && (!who.ends_with("even") || number.is_multiple_of(2))
}

/// Everything from the earliest event on, without a cut.
async fn replay(peer: Peer, mut seed: Seed) -> Listener {
    let mut listener = Listener::new(peer, "replay");
    let end =
        listener.session(&mut seed, u64::MAX, |heard| heard.last().is_some_and(|last| last.value == LAST));
    let end = patiently("a replay", end).await;
    println!("replay: {} events, {end:?}", listener.heard.len());
    listener
}

async fn list(peer: Peer) -> Vec<v1::Indicator> {
    let mut client = peer.exchange();
    let (mut indicators, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListIndicatorsRequest { page_size: 777, page_token, ..Default::default() };
        let page = client.list_indicators(request).await.unwrap().into_inner();
        indicators.extend(page.indicators);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return indicators;
        }
    }
}

fn compare(
    acknowledged: &[crate::harness::publisher::Acknowledged],
    told: &[Heard],
    listed: &[v1::Indicator],
) -> Vec<String> {
    let mut problems = Vec::new();
    let mut by_value: HashMap<&str, Vec<&Heard>> = HashMap::new();
    for heard in told {
        by_value.entry(&heard.value).or_default().push(heard);
    }
    let listed_versions: BTreeMap<String, u64> =
        listed.iter().map(|indicator| (value_of(indicator), indicator.version)).collect();
    if listed_versions.len() != listed.len() {
        problems.push(format!("the list of {} names {} values", listed.len(), listed_versions.len()));
    }
    for item in acknowledged {
        match by_value.get(item.value.as_str()).map(Vec::as_slice) {
            None => problems.push(format!("{} was acknowledged and is gone", item.value)),
            Some([heard]) if heard.version == item.version && heard.name == item.name => {}
            Some(several) => problems.push(format!("{item:?} was told as {several:?}")),
        }
        if listed_versions.get(&item.value) != Some(&item.version) {
            problems.push(format!("{} was acknowledged and is not listed as such", item.value));
        }
    }
    let sent: BTreeSet<&str> = acknowledged.iter().map(|item| item.value.as_str()).chain([LAST]).collect();
    problems.extend(
        by_value.keys().filter(|value| !sent.contains(*value)).map(|value| format!("{value} was invented")),
    );
    problems.extend(
        listed_versions
            .keys()
            .filter(|value| !sent.contains(value.as_str()))
            .map(|value| format!("{value} is listed and was invented")),
    );
    let mut next = [0; FEEDS];
    for (feed, number) in told.iter().filter_map(|heard| number(&heard.value)) {
        if number != next[feed] {
            problems.push(format!("feed {feed}: item {number} in the place of {}", next[feed]));
        }
        next[feed] = number + 1;
    }
    if !told.windows(2).all(|pair| pair[0].version < pair[1].version) {
        problems.push("versions do not rise".to_owned());
    }
    problems
}
