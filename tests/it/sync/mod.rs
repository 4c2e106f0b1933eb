//! `luytre sync` keeps its files whole at every moment and right when all is
//! quiet, whoever is killed.

mod files;
mod unit;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use luytre::base::clock::{Clock as _, SystemClock};
use luytre::model::indicator::Kind;
use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use v1::publish_result::Outcome;

use self::files::{Files, Reader, expected, plain};
use self::unit::Unit;
use crate::harness::patience::patiently;
use crate::harness::{Agent, Peer, Relay, Seed, TestHub, batch, draft, eventually, luytre};

const ANCHOR: &str = "anchor.sync.example";

async fn hub() -> TestHub {
    TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher])
        .principal("b", "system/feed", &[Role::Publisher])
        .principal("c", "system/fw", &[Role::Subscriber, Role::Analyst])
        .organisation("elsewhere")
        .config("[limits]\nheartbeat = \"1s\"")
        .start()
        .await
}

fn blocking(value: &str) -> v1::IndicatorDraft {
    v1::IndicatorDraft { recommended_action: v1::RecommendedAction::Block.into(), ..draft(value) }
}

async fn publish(peer: &Peer, draft: v1::IndicatorDraft) -> String {
    let answer = peer.exchange().publish_indicators(batch(Uuid::new_v4(), vec![draft])).await.unwrap();
    match answer.into_inner().results.remove(0).outcome.unwrap() {
        Outcome::Published(published) => published.name,
        Outcome::Rejected(status) => panic!("{status:?}"),
    }
}

async fn revoke(peer: &Peer, name: &str) {
    let revocation =
        v1::Revocation { reason: v1::RevocationReason::FalsePositive.into(), ..Default::default() };
    let request = v1::RevokeIndicatorRequest {
        request_id: Uuid::new_v4().to_string(),
        name: name.to_owned(),
        revocation: Some(revocation),
        ..Default::default()
    };
    peer.exchange().revoke_indicator(request).await.unwrap();
}

/// The words of a sync of all three files in the hub's directory.
fn words(hub: &TestHub, more: &[&str]) -> (Files, Vec<String>) {
    let files = Files::at(hub.dir());
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let mut words = vec!["sync".to_owned(), "--state".to_owned(), path(&hub.dir().join("sync"))];
    for (option, file) in [("--plain", &files.plain), ("--hosts", &files.hosts), ("--jsonl", &files.jsonl)] {
        words.extend([option.to_owned(), path(file)]);
    }
    words.extend(more.iter().map(|word| (*word).to_owned()));
    (files, words)
}

fn agent(hub: &TestHub, relay: &Relay, words: &[String]) -> Agent {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    Agent::new(hub, relay, "c", "system/fw", &words)
}

/// Waits until the files hold what the hub lists.
async fn quiet(files: &Files, peer: &Peer) {
    let mut last = String::new();
    let equal = eventually("the files equal the hub's set", async || {
        let (expected, found) = (expected(peer).await, files.read());
        let equal = found.as_ref() == Ok(&expected);
        last = format!("expected {expected:?}\nfound {found:?}");
        equal.then_some(())
    });
    equal.await;
}

fn rounds(usual: u64) -> u64 {
    std::env::var("LUYTRE_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_files_parse_at_every_moment_and_equal_the_hubs_set_when_quiet_whoever_is_killed() {
    let mut seed = Seed::of_this_run("sync");
    let mut hub = hub().await;
    let relay = Relay::to(&hub).await;
    let (a, b, c) = (hub.peer("a", "system/feed"), hub.peer("b", "system/feed"), hub.peer("c", "system/fw"));
    publish(&a, blocking(ANCHOR)).await;
    let runs = hub.dir().join("runs");
    let hook = format!("echo ran >> {}", runs.display());
    let (files, words) = words(&hub, &["--every", "0.05", "--hook", &hook]);
    let reader = Reader::of(files.clone(), ANCHOR);
    let mut sync = agent(&hub, &relay, &words);
    sync.start();
    let stop = CancellationToken::new();
    let units: Vec<_> = [a, b]
        .into_iter()
        .map(|peer| tokio::spawn(Unit::new(peer, seed.fork()).work_until(stop.clone())))
        .collect();
    for _ in 0..rounds(16) {
        tokio::time::sleep(seed.millis(0, 500)).await;
        match seed.between(0, 4) {
            0 => {
                hub.kill9();
                hub.serve().await;
            }
            1 => {
                sync.kill9();
                hub.kill9();
                hub.serve().await;
                sync.start();
            }
            _ => {
                sync.kill9();
                sync.start();
            }
        }
    }
    stop.cancel();
    let mut done = 0;
    for unit in units {
        done += patiently("a unit has its answers", unit).await.unwrap().done;
    }
    quiet(&files, &c).await;
    let read = reader.end().unwrap();
    println!("{done} changes, {read} readings");
    assert!(done > 20 && read > 20);
    eventually("the hook has run", async || (!hub.dir().join("sync/hook-due").exists()).then_some(())).await;
    assert!(fs::read_to_string(&runs).unwrap().lines().count() > 1);
    let status = sync.terminate().await;
    assert!(status.success(), "{status}: {}", sync.log());
    hub.terminate().await;
    hub.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_is_lost_never_empties_the_files() {
    let mut hub = hub().await;
    let relay = Relay::to(&hub).await;
    let (a, c) = (hub.peer("a", "system/feed"), hub.peer("c", "system/fw"));
    publish(&a, blocking(ANCHOR)).await;
    let backup = hub.backup("backup");
    let (files, words) = words(&hub, &["--every", "0.05"]);
    let reader = Reader::of(files.clone(), ANCHOR);
    let mut sync = agent(&hub, &relay, &words);
    sync.start();
    publish(&a, blocking("later.sync.example")).await;
    quiet(&files, &c).await;

    // The hub goes back to before what the sync has seen.
    hub.terminate().await;
    hub.restore(&backup);
    hub.serve().await;
    quiet(&files, &c).await;
    assert_eq!(files.read().unwrap().plain, [ANCHOR]);
    assert!(sync.log().contains("current state anew"), "{}", sync.log());

    // The state is gone, and something has changed meanwhile.
    sync.kill9();
    fs::remove_dir_all(hub.dir().join("sync")).unwrap();
    publish(&a, blocking("again.sync.example")).await;
    sync.start();
    quiet(&files, &c).await;
    assert_eq!(files.read().unwrap().plain.len(), 2);
    assert!(reader.end().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_of_two_owners_stays_until_both_have_left_it() {
    let hub = hub().await;
    let relay = Relay::to(&hub).await;
    let (a, b, c) = (hub.peer("a", "system/feed"), hub.peer("b", "system/feed"), hub.peer("c", "system/fw"));
    publish(&a, blocking(ANCHOR)).await;
    let of_a = publish(&a, blocking("shared.sync.example")).await;
    let of_b = publish(&b, blocking("shared.sync.example")).await;
    let (files, words) = words(&hub, &["--every", "0.05"]);
    let mut sync = agent(&hub, &relay, &words);
    sync.start();
    quiet(&files, &c).await;
    assert_eq!(files.read().unwrap().jsonl.len(), 3);
    revoke(&a, &of_a).await;
    quiet(&files, &c).await;
    assert_eq!(files.read().unwrap().plain, [ANCHOR, "shared.sync.example"]);
    revoke(&b, &of_b).await;
    quiet(&files, &c).await;
    assert_eq!(files.read().unwrap().plain, [ANCHOR]);
}

/// Runs `luytre sync --once` with these files beside.
async fn once(hub: &TestHub, state: &str, more: &[&str]) -> crate::harness::Ended {
    let state = hub.dir().join(state);
    let words = [&["sync", "--once", "--state", state.to_str().unwrap()], more].concat();
    luytre(hub, "c", "system/fw", &words).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_must_not_be_blocked_is_in_no_list_for_blocking() {
    let hub = hub().await;
    let (a, b) = (hub.peer("a", "system/feed"), hub.peer("b", "system/feed"));
    let role =
        |value: &str, role: v1::IndicatorRole| v1::IndicatorDraft { role: role.into(), ..draft(value) };
    let watched = |mut draft: v1::IndicatorDraft| {
        let caveats = v1::Caveats { watch_do_not_block: true, ..Default::default() };
        draft.marking.as_mut().unwrap().caveats = Some(caveats);
        draft
    };
    publish(&a, blocking(ANCHOR)).await;
    publish(&a, role("victim.sync.example", v1::IndicatorRole::Victim)).await;
    publish(&a, draft("silent.sync.example")).await;
    publish(&a, watched(blocking("watched.sync.example"))).await;
    // Two owners who disagree: the careful one is heard.
    publish(&a, blocking("torn.sync.example")).await;
    publish(&b, role("torn.sync.example", v1::IndicatorRole::Victim)).await;
    publish(&b, blocking("http://url.sync.example/x")).await;
    // What would harm whoever blocks it, or reads as a command.
    publish(&b, blocking("0.0.0.0/0")).await;
    publish(&b, blocking("com.vn")).await;
    let text = "0.0.0.0/0 } ; flush ruleset".to_owned();
    let observable = luytre::wire::observable::of_text(Some(Kind::Mutex), text.clone());
    publish(&b, v1::IndicatorDraft { observable: Some(observable), ..blocking("a.example") }).await;

    let [list, hosts, all] = ["list.txt", "hosts", "all.txt"].map(|name| hub.dir().join(name));
    let name = |path: &Path| path.to_str().unwrap().to_owned();
    let ended = once(&hub, "one", &["--plain", &name(&list), "--hosts", &name(&hosts)]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{ended:?}");
    assert_eq!(plain(&list).unwrap(), [ANCHOR, "http://url.sync.example/x"]);
    let head = "# Luy Tre: domains to block. TLP:GREEN\n";
    assert_eq!(fs::read_to_string(&hosts).unwrap(), format!("{head}0.0.0.0 {ANCHOR}\n"));
    let mutexes = once(&hub, "mutexes", &["--plain", &name(&all), "--kind", "mutex"]).await;
    assert_eq!((mutexes.code, plain(&all).unwrap()), (0, vec![text]));
    assert_eq!(once(&hub, "two", &["--plain", &name(&all), "--include-monitor"]).await.code, 0);
    let watched = [
        "0.0.0.0/0",
        ANCHOR,
        "com.vn",
        "http://url.sync.example/x",
        "silent.sync.example",
        "watched.sync.example",
    ];
    assert_eq!(plain(&all).unwrap(), watched);
    let victims = once(&hub, "two", &["--plain", &name(&all), "--role", "victim"]).await;
    assert_eq!(victims.code, 64, "{victims:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_brings_the_files_up_to_date_and_runs_the_hook_only_where_they_changed() {
    let mut hub = hub().await;
    let a = hub.peer("a", "system/feed");
    publish(&a, blocking(ANCHOR)).await;
    let [list, runs] = ["list.txt", "runs"].map(|name| hub.dir().join(name).to_str().unwrap().to_owned());
    let hook = format!("echo to stdout; echo ran >> {runs}");
    let words = ["--plain", &list, "--hook", &hook];
    let count = || fs::read_to_string(&runs).unwrap_or_default().lines().count();
    fs::write(&list, "of before\n").unwrap();
    fs::set_permissions(&list, fs::Permissions::from_mode(0o644)).unwrap();
    let mut names = Vec::new();
    for (number, value) in ["", "one.sync.example", "two.sync.example"].into_iter().enumerate() {
        if !value.is_empty() {
            names.push(publish(&a, blocking(value)).await);
        }
        let ended = once(&hub, "state", &words).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{ended:?}");
        assert!(ended.stderr.contains("to stdout"), "{ended:?}");
        assert_eq!((plain(Path::new(&list)).unwrap().len(), count()), (number + 1, number + 1));
    }
    assert_eq!(fs::metadata(&list).unwrap().permissions().mode() & 0o777, 0o644);
    // Nothing changed: neither the file nor the hook is touched.
    let before = fs::metadata(&list).unwrap();
    assert_eq!(once(&hub, "state", &words).await.code, 0);
    let after = fs::metadata(&list).unwrap();
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!((before.ino(), count()), (after.ino(), 3));
    // A hook that fails is told of, and runs again though nothing changed.
    revoke(&a, &names[0]).await;
    let failing = once(&hub, "state", &["--plain", &list, "--hook", "exit 9"]).await;
    assert!(failing.code == 74 && failing.stderr.contains("exit status: 9"), "{failing:?}");
    assert_eq!(plain(Path::new(&list)).unwrap(), [ANCHOR, "two.sync.example"]);
    assert_eq!(once(&hub, "state", &words).await.code, 0);
    assert_eq!(count(), 4);
    // The hub is away: the file stays, and cron is told to try later.
    hub.terminate().await;
    let away = once(&hub, "state", &words).await;
    assert_eq!(away.code, 75, "{away:?}");
    assert_eq!(plain(Path::new(&list)).unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_serves_one_sync_and_a_revoked_certificate_ends_it_with_77() {
    let mut hub = hub().await;
    let relay = Relay::to(&hub).await;
    let (a, c) = (hub.peer("a", "system/feed"), hub.peer("c", "system/fw"));
    publish(&a, blocking(ANCHOR)).await;
    let (files, words) = words(&hub, &["--every", "0.05", "--name", "fw"]);
    let mut sync = agent(&hub, &relay, &words);
    sync.start();
    quiet(&files, &c).await;
    let list = hub.dir().join("other.txt").to_str().unwrap().to_owned();
    let second = once(&hub, "sync", &["--plain", &list]).await;
    assert!(second.code == 75 && second.stderr.contains("another process"), "{second:?}");
    let named = luytre(&hub, "c", "system/fw", &["subscriptions", "list", "--format", "jsonl"]).await.json();
    assert!(named[0].to_string().contains("\"fw\""), "{named:?}");

    let pem = fs::read(hub.credentials("c", "system/fw").certificate).unwrap();
    let certificates = luytre::pki::pem::certificates(&pem).unwrap();
    let shown = luytre::pki::identity::read_of_any_domain(&certificates[0]).unwrap();
    let lifetime = luytre::pki::issue::lifetime::REVOCATION_LIST;
    hub.pki().sign_revocation_list(Some(&shown.serial), SystemClock.now(), lifetime).unwrap();
    hub.restart().await;
    let status = sync.ended().await;
    assert_eq!(status.code(), Some(77), "{}", sync.log());
    assert_eq!(files.read().unwrap().plain, [ANCHOR], "what is blocked stays blocked");
}
