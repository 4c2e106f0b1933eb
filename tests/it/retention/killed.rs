//! A hub that is killed while it cuts off the past loses nothing that it keeps,
//! and goes on where it was: others publish, subscribe and ask meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use luytre::wire::proto::v1;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use super::{Days, Stage, builder, metric, noisy, plan, publish, revoke, versions};
use crate::harness::listener::{End, reason};
use crate::harness::patience::patiently;
use crate::harness::publisher::Acknowledged;
use crate::harness::{
    Disk, Heard, Listener, Peer, Publisher, Seed, TestHub, batch, draft, eventually, value_of,
};

/// Values that stay, and how many versions each gets.
const KEPT: usize = 300;
const NOTES: u64 = 4;
/// Values that are taken back.
const GONE: usize = 150;
/// Values that change after what becomes the base.
const LATE: usize = 5;
const LAST: &str = "last.retention.example";

/// What the kill takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    /// Nothing: the page cache survives.
    Process,
    /// What was not synced.
    Power,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_kept_is_lost_by_a_kill_at_any_moment_of_cutting_off() {
    ordeal(Kill::Process, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_kept_is_lost_by_a_power_cut_at_any_moment_of_cutting_off() {
    ordeal(Kill::Power, 1).await;
}

/// What the hub has to know.
#[derive(Debug, Default, Clone)]
struct Known {
    /// By name, the newest version.
    kept: BTreeMap<String, u64>,
    gone: BTreeSet<String>,
    /// The two versions of what changed late.
    late: BTreeMap<String, [u64; 2]>,
}

async fn ordeal(kill: Kill, cycles: u64) {
    let mut seed = Seed::of_this_run(&format!("retention, {kill:?}"));
    let mut hub = builder().prepare();
    if kill == Kill::Power {
        hub.put_on(Disk::forgetful);
    }
    let days = Days::from_today();
    let (feed, b) = (hub.peer("a", "system/feed"), hub.peer("b", "system/fw"));
    let (mut known, mut acknowledged, mut stages) = (Known::default(), Vec::new(), BTreeSet::new());
    let mut listeners = Vec::new();
    let mut rounds = 0;
    for cycle in 0..cycles {
        let day = i64::try_from(cycle).unwrap() * 30;
        hub.dated(days.after(day + 1));
        hub.serve().await;
        fill(&feed, &b, cycle, &mut known).await;
        hub.terminate().await;

        plan(&mut hub, days.after(day + 11)).await;
        late(&feed, cycle, &mut known).await;
        if listeners.is_empty() {
            listeners.extend(["b", "c"].map(|who| Hearing::of(hub.peer(who, "system/fw"), who, seed.fork())));
        }
        let anchor = format!("anchor{cycle}.retention.example");
        let published = publish(&feed, vec![draft(&anchor)]).await;
        known.kept.extend(published);
        for listener in &listeners {
            // Whoever keeps up is past what becomes the base.
            let heard = || listener.last() == anchor;
            eventually("the anchor is heard", async || (heard() || listener.ended()).then_some(())).await;
            assert!(heard(), "a listener found something wrong");
        }
        end(&mut hub, kill, &mut seed);

        hub.dated(days.after(day + 14));
        let before = Stage::of(&hub);
        let stop = CancellationToken::new();
        let publisher = Publisher::new(feed.clone(), seed.fork(), 0, item).starting_at(cycle * 1_000_000);
        let publishing = tokio::spawn(publisher.publish_until(stop.clone()));
        let asking = tokio::spawn(ask_until(stop.clone(), hub.peer("c", "system/fw"), known.clone()));
        let dropped = known.gone.len() as u64;
        let (mut stage, mut idle) = (before.clone(), 0);
        while !stage.is_settled(&before.base, dropped) {
            if seed.one_in(8) {
                let moment = seed.millis(0, 300 + 20 * idle);
                hub.serve_for(moment).await;
                end_disk(&hub, kill, &mut seed);
            } else {
                hub.serve().await;
                tokio::time::sleep(seed.millis(10, 150 + 20 * idle)).await;
                end(&mut hub, kill, &mut seed);
            }
            rounds += 1;
            let after = Stage::of(&hub);
            idle = if after == stage { idle + 1 } else { 0 };
            assert!(idle < 50, "nothing moves: {after:?}");
            stage = after;
            assert!(stage.mark.upto <= stage.base.position && stage.base.position >= before.base.position);
            stages.insert(format!("{stage:?}"));
            if rounds % 6 == 0 {
                hub.verify();
            }
        }
        hub.verify();
        hub.serve().await;
        stop.cancel();
        let publisher = patiently("the feed has its answers", publishing).await.unwrap();
        assert!(publisher.problems.is_empty(), "{:#?}", publisher.problems);
        acknowledged.extend(publisher.acknowledged);
        patiently("the last question is answered", asking).await.unwrap();
        assert_eq!(metric(&hub, "luytre_records_dropped_total").await, dropped);
        check(&b, &feed, &known, &acknowledged).await;
        accounted(&hub, cycle).await;
        hub.terminate().await;
    }
    println!("{kill:?}: {rounds} kills, {} stages, {} items meanwhile", stages.len(), acknowledged.len());
    assert!(stages.len() > 2, "it was killed between its steps: {stages:#?}");

    hub.serve().await;
    publish(&feed, vec![draft(LAST)]).await;
    let earliest = replay(hub.peer("b", "system/fw"), seed.fork()).await;
    for listener in listeners {
        let heard = listener.end().await;
        assert!(heard.ends_with(&earliest), "who kept up heard all that is kept, and EARLIEST tells no less");
        let told: BTreeSet<_> = heard.iter().map(|heard| (heard.value.as_str(), heard.version)).collect();
        assert_eq!(told.len(), heard.len(), "each once");
        let missed = acknowledged.iter().find(|item| !told.contains(&(item.value.as_str(), item.version)));
        assert!(missed.is_none(), "{missed:?}");
    }
    assert!(earliest.len() > LATE, "{}", earliest.len());
    hub.terminate().await;
    hub.verify();
}

/// Item `number` of the feed that goes on meanwhile.
fn item(_: usize, number: u64) -> (String, v1::IndicatorDraft) {
    let value = format!("n{number}.meanwhile.example");
    let draft = draft(&value);
    (value, draft)
}

/// What becomes the past: versions that are replaced, indicators that are taken
/// back, and what was reported of both.
async fn fill(feed: &Peer, b: &Peer, cycle: u64, known: &mut Known) {
    let kept: Vec<_> = (0..KEPT).map(|number| format!("k{number}.c{cycle}.example")).collect();
    let mut names = Vec::new();
    for note in 0..NOTES {
        for values in kept.chunks(100) {
            let drafts = values.iter().map(|value| noisy(value, note)).collect();
            let published = publish(feed, drafts).await;
            if note == 0 {
                names.extend(published.iter().map(|(name, _)| name.clone()));
            }
            known.kept.extend(published);
        }
    }
    let mut gone = Vec::new();
    let values: Vec<_> = (0..GONE).map(|number| format!("g{number}.c{cycle}.example")).collect();
    for values in values.chunks(100) {
        let published = publish(feed, values.iter().map(|value| noisy(value, 0)).collect()).await;
        gone.extend(published.into_iter().map(|(name, _)| name));
    }
    for names in [&names, &gone] {
        let sightings = names.iter().map(|name| v1::Sighting {
            indicator: name.clone(),
            outcome: v1::SightingOutcome::SeenBlocked.into(),
            ..Default::default()
        });
        let request = v1::ReportSightingsRequest {
            request_id: Uuid::new_v4().to_string(),
            sightings: sightings.collect(),
        };
        b.exchange().report_sightings(request).await.unwrap();
    }
    stream::iter(&gone).for_each_concurrent(16, |name| revoke(feed, name)).await;
    known.gone.extend(gone);
}

/// Changes some of it, later than what becomes the base.
async fn late(feed: &Peer, cycle: u64, known: &mut Known) {
    known.late.clear();
    let drafts = (0..LATE).map(|number| noisy(&format!("k{number}.c{cycle}.example"), 100));
    for (name, version) in publish(feed, drafts.collect()).await {
        let before = known.kept.insert(name.clone(), version).unwrap();
        known.late.insert(name, [version, before]);
    }
}

fn end(hub: &mut TestHub, kill: Kill, seed: &mut Seed) {
    hub.kill9();
    end_disk(hub, kill, seed);
}

fn end_disk(hub: &TestHub, kill: Kill, seed: &mut Seed) {
    if kill == Kill::Power {
        let torn = seed.one_in(2).then_some(seed);
        hub.disk().cut_power(torn);
    }
}

/// Whether a call failed because the hub was away.
fn away(status: &Status) -> bool {
    reason(status).is_none_or(|reason| reason == "DRAINING")
}

/// All that is told, in any state: versions by name.
async fn list(peer: &Peer) -> Result<BTreeMap<String, u64>, Status> {
    let states = [v1::IndicatorState::Active, v1::IndicatorState::Revoked, v1::IndicatorState::Expired]
        .map(Into::into);
    let filter = v1::IndicatorFilter { states: states.to_vec(), ..Default::default() };
    let (mut client, mut found, mut page_token) = (peer.exchange(), BTreeMap::new(), String::new());
    loop {
        let request = v1::ListIndicatorsRequest {
            filter: Some(filter.clone()),
            page_size: 500,
            page_token,
            ..Default::default()
        };
        let page = client.list_indicators(request).await?.into_inner();
        found.extend(page.indicators.into_iter().map(|indicator| (indicator.name, indicator.version)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}

/// Asks for everything again and again: what is kept is always there.
async fn ask_until(stop: CancellationToken, peer: Peer, known: Known) {
    while !stop.is_cancelled() {
        match list(&peer).await {
            Ok(found) => {
                let missing = known.kept.iter().find(|(name, version)| found.get(*name) != Some(version));
                assert_eq!(missing, None, "of {} found", found.len());
                // Others ask as well.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            // What began before the base is begun anew.
            Err(status) if away(&status) || reason(&status).as_deref() == Some("HISTORY_TRUNCATED") => {
                tokio::task::yield_now().await;
            }
            Err(status) => panic!("{status:?}"),
        }
    }
}

/// Everything is there that is kept, and nothing that is not.
async fn check(b: &Peer, feed: &Peer, known: &Known, acknowledged: &[Acknowledged]) {
    let found = list(b).await.unwrap();
    let mut expected = known.kept.clone();
    expected.extend(acknowledged.iter().map(|item| (item.name.clone(), item.version)));
    assert!(found == expected, "{} found, {} expected", found.len(), expected.len());
    for (name, told) in &known.late {
        assert_eq!(versions(b, name).await, told, "what was replaced lately, and what stood at the base");
    }
    let mut client = b.exchange();
    for name in known.kept.keys().take(20) {
        let request = v1::GetIndicatorRequest { name: name.clone(), ..Default::default() };
        let got = client.get_indicator(request).await.unwrap().into_inner();
        let is_anchor = value_of(got.indicator.as_ref().unwrap()).starts_with("anchor");
        assert_eq!(got.sightings.len(), usize::from(!is_anchor), "{name}");
    }
    for name in known.gone.iter().take(20) {
        let request = v1::GetIndicatorRequest { name: name.clone(), ..Default::default() };
        let refused = client.get_indicator(request).await.unwrap_err();
        assert_eq!(reason(&refused).as_deref(), Some("NOT_FOUND"));
    }
    // What was taken back stays refused.
    let again = batch(Uuid::new_v4(), vec![draft("g0.c0.example")]);
    let answer = feed.exchange().publish_indicators(again).await.unwrap().into_inner();
    let Some(v1::publish_result::Outcome::Rejected(status)) = &answer.results[0].outcome else {
        panic!("{answer:?}")
    };
    let reason = String::from_utf8_lossy(&status.details[0].value);
    assert!(reason.contains("INDICATOR_REVOKED"), "{status:?}");
}

/// What the running hub says that each organisation takes is what its log holds.
async fn accounted(hub: &TestHub, cycle: u64) {
    let json = |words: &[&str]| -> serde_json::Value {
        let told = hub.operate(words);
        assert!(told.status.success(), "{told:?}");
        serde_json::from_slice(&told.stdout).unwrap()
    };
    let told = eventually("all is counted", async || {
        let told = json(&["storage", "--json"])["counted"].take();
        (told["uncounted_entries"] == 0).then_some(told)
    })
    .await;
    let backup = hub.backup(&format!("counted{cycle}"));
    let forecast = json(&["forecast", "--data", backup.to_str().unwrap(), "--json"]);
    assert_eq!(told["organisations"], forecast["organisations"]);
    assert_eq!(
        told["organisations"].as_object().unwrap().len(),
        2,
        "who published, and who reported: {told}"
    );
    let sum: u64 =
        told["organisations"].as_object().unwrap().values().filter_map(|bytes| bytes.as_u64()).sum();
    assert_eq!(metric(hub, "luytre_log_item_bytes").await, sum);
    assert_eq!(metric(hub, "luytre_log_uncounted_entries").await, 0);
    let lines = String::from_utf8(hub.operate(&["storage"]).stdout).unwrap();
    assert!(lines.starts_with("a: ") && lines.lines().count() == 2, "{lines}");
}

/// A listener at work, and what it heard last.
struct Hearing {
    last: Arc<Mutex<String>>,
    task: tokio::task::JoinHandle<Listener>,
}

impl Hearing {
    fn of(peer: Peer, who: &str, seed: Seed) -> Self {
        let last = Arc::<Mutex<String>>::default();
        let hears = Arc::clone(&last);
        let listening = Listener::new(peer, who).keeping_every_token().listen_until(seed, move |heard| {
            let value = heard.last().map(|heard| heard.value.clone()).unwrap_or_default();
            let over = value == LAST;
            *hears.lock() = value;
            over
        });
        Self { last, task: tokio::spawn(listening) }
    }

    fn last(&self) -> String {
        self.last.lock().clone()
    }

    fn ended(&self) -> bool {
        self.task.is_finished()
    }

    async fn end(self) -> Vec<Heard> {
        let listener = patiently("a listener hears the last event", self.task).await.unwrap();
        assert!(listener.problems.is_empty(), "{:#?}", listener.problems);
        listener.heard
    }
}

/// All that is kept of the log, without a cut.
async fn replay(peer: Peer, mut seed: Seed) -> Vec<Heard> {
    let mut listener = Listener::new(peer, "replay");
    let over = |heard: &[Heard]| heard.last().is_some_and(|last| last.value == LAST);
    let end = patiently("a replay", listener.session(&mut seed, u64::MAX, over)).await;
    assert!(matches!(end, End::Done) && listener.problems.is_empty(), "{end:?} {:#?}", listener.problems);
    listener.heard
}
