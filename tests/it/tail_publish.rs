//! `luytre tail-publish` publishes every line that appears, whoever is killed,
//! however its file is rotated, and none that is not complete.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use luytre::model::principal::Role;
use luytre::wire::proto::v1;

use crate::harness::{Agent, Peer, Relay, Seed, TestHub, eventually, value_of};

async fn hub() -> TestHub {
    TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher])
        .principal("c", "system/siem", &[Role::Analyst])
        .start()
        .await
}

/// A `tail-publish` of one path.
fn agent(hub: &TestHub, relay: &Relay, path: &Path, more: &[&str]) -> Agent {
    let state = hub.dir().join("tail");
    let words = ["tail-publish", path.to_str().unwrap(), "--state", state.to_str().unwrap()];
    let words = [&words[..], &["--tlp", "green", "--poll", "0.02", "--settle", "0.2"], more].concat();
    Agent::new(hub, relay, "a", "system/feed", &words)
}

/// All values that the hub holds.
async fn published(peer: &Peer) -> BTreeSet<String> {
    let mut client = peer.exchange();
    let (mut values, mut page_token) = (BTreeSet::new(), String::new());
    loop {
        let request = v1::ListIndicatorsRequest { page_size: 500, page_token, ..Default::default() };
        let page = client.list_indicators(request).await.unwrap().into_inner();
        values.extend(page.indicators.iter().map(value_of));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return values;
        }
    }
}

/// Waits until the hub holds these values; it must hold no other.
async fn holds(peer: &Peer, values: &BTreeSet<String>) {
    let all = eventually("the hub holds every value", async || {
        let all = published(peer).await;
        all.is_superset(values).then_some(all)
    });
    assert_eq!(&all.await, values);
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// A log that is written in pieces of any size, and rotated.
struct Writer {
    log: PathBuf,
    rotated: u64,
    next: u64,
    /// What is still to be written of a line.
    rest: String,
    lines: BTreeSet<String>,
}

impl Writer {
    fn new(log: PathBuf) -> Self {
        Self { log, rotated: 0, next: 0, rest: String::new(), lines: BTreeSet::new() }
    }

    fn write(&mut self, seed: &mut Seed) {
        for _ in 0..seed.between(1, 20) {
            let value = format!("i{}.tail.example", self.next);
            self.next += 1;
            self.rest.push_str(&value);
            self.rest.push('\n');
            self.lines.insert(value);
        }
        let piece: String = self.rest.drain(..seed.between(1, self.rest.len() as u64 + 1) as usize).collect();
        append(&self.log, &piece);
    }

    fn flush(&mut self) {
        append(&self.log, &std::mem::take(&mut self.rest));
    }

    /// Moves the log away; a writer does not cut a line in doing so.
    fn rotate(&mut self) {
        self.flush();
        self.rotated += 1;
        let old = format!("{}.{}", self.log.display(), self.rotated);
        fs::rename(&self.log, old).unwrap();
        append(&self.log, "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_is_published_whoever_is_killed_and_however_often_the_log_is_renamed() {
    let mut seed = Seed::of_this_run("tail-publish");
    let mut hub = hub().await;
    let relay = Relay::to(&hub).await;
    let mut writer = Writer::new(hub.dir().join("honeypot.log"));
    // Of before anybody followed the log.
    append(&hub.dir().join("honeypot.log.0"), "old.tail.example\n");
    let mut tail = agent(&hub, &relay, &writer.log, &["--input-format", "plain"]);
    tail.start();
    // From here on whatever is rotated counts.
    let state = hub.dir().join("tail/places.json");
    eventually("the log is followed", async || state.exists().then_some(())).await;
    for _ in 0..16 {
        for _ in 0..seed.between(1, 6) {
            writer.write(&mut seed);
            tokio::time::sleep(seed.millis(0, 60)).await;
        }
        match seed.between(0, 5) {
            0 => {
                hub.kill9();
                writer.write(&mut seed);
                hub.serve().await;
            }
            1 => {
                tail.kill9();
                writer.rotate();
                writer.write(&mut seed);
                tail.start();
            }
            2 => {
                tail.kill9();
                tail.start();
            }
            _ => writer.rotate(),
        }
    }
    writer.flush();
    holds(&hub.peer("c", "system/siem"), &writer.lines).await;
    let status = tail.terminate().await;
    assert!(status.success(), "{status}: {}", tail.log());
    hub.terminate().await;
    hub.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_waits_for_its_end_and_a_log_that_was_copied_and_truncated_goes_on() {
    let hub = hub().await;
    let relay = Relay::to(&hub).await;
    let peer = hub.peer("c", "system/siem");
    let log = hub.dir().join("a.log");
    append(&log, "198.51.100.7\n198.51.100.1");
    let mut tail = agent(&hub, &relay, &log, &["--input-format", "plain"]);
    tail.start();
    holds(&peer, &set(&["198.51.100.7"])).await;
    tail.kill9();
    tail.start();
    append(&log, "8\n");
    holds(&peer, &set(&["198.51.100.7", "198.51.100.18"])).await;
    // Shorter, longer, and of the very length that was read already.
    let mut all = set(&["198.51.100.7", "198.51.100.18"]);
    for (number, length) in [(20, 1), (30, 9), (40, 9)] {
        fs::copy(&log, hub.dir().join("a.log.1")).unwrap();
        let lines: Vec<_> = (number..number + length).map(|n| format!("203.0.113.{n}")).collect();
        fs::write(&log, format!("{}\n", lines.join("\n"))).unwrap();
        all.extend(lines);
        holds(&peer, &all).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_gives_every_file_in_it_once_it_is_complete() {
    let hub = hub().await;
    let relay = Relay::to(&hub).await;
    let peer = hub.peer("c", "system/siem");
    let drop = hub.dir().join("drop");
    fs::create_dir(&drop).unwrap();
    let rejects = drop.join("rejects.jsonl");
    fs::write(drop.join("first.txt"), "one.example.com\ntwo.example.com").unwrap();
    fs::write(drop.join(".hidden"), "hidden.example.com\n").unwrap();
    fs::write(drop.join("half.part"), "half.example.com\n").unwrap();
    let mut tail = agent(&hub, &relay, &drop, &["--rejects", rejects.to_str().unwrap()]);
    tail.start();
    let mut all = set(&["one.example.com", "two.example.com"]);
    holds(&peer, &all).await;

    // What is read as a whole: packed, and prose.
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/intake/list.txt.gz");
    fs::copy(packed, drop.join("list.txt.gz")).unwrap();
    let before = all.len();
    eventually("the packed list is published", async || {
        all = published(&peer).await;
        (all.len() > before).then_some(())
    })
    .await;
    // Bad lines stop nothing, and the file of them is not read.
    fs::write(drop.join("bad.txt"), "*.example.org\nthree.example.com\n").unwrap();
    fs::rename(drop.join("half.part"), drop.join("half.txt")).unwrap();
    append(&drop.join("first.txt"), "\nfour.example.com\n");
    all.extend(set(&["three.example.com", "half.example.com", "four.example.com"]));
    holds(&peer, &all).await;
    let told: Vec<serde_json::Value> = fs::read_to_string(&rejects)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|told: &serde_json::Value| told["file"].as_str().unwrap().ends_with("bad.txt"))
        .collect();
    assert_eq!((told.len(), &told[0]["line"], &told[0]["reason"]), (1, &1.into(), &"PATTERN".into()));
    assert!(tail.log().contains("PATTERN"), "{}", tail.log());
    assert!(tail.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_publish_moves_no_place_and_ends_with_77() {
    let hub = hub().await;
    let relay = Relay::to(&hub).await;
    let log = hub.dir().join("a.log");
    append(&log, "198.51.100.7\n");
    let state = hub.dir().join("tail");
    let words = ["tail-publish", log.to_str().unwrap(), "--state", state.to_str().unwrap(), "--tlp", "green"];
    let mut tail = Agent::new(&hub, &relay, "c", "system/siem", &words);
    tail.start();
    assert_eq!(tail.ended().await.code(), Some(77), "{}", tail.log());
    let mut tail = agent(&hub, &relay, &log, &[]);
    tail.start();
    holds(&hub.peer("c", "system/siem"), &set(&["198.51.100.7"])).await;
    // Without a marking every line would be refused and passed by.
    let mut silent = Agent::new(&hub, &relay, "a", "system/feed", &words[..4]);
    silent.start();
    assert_eq!(silent.ended().await.code(), Some(64), "{}", silent.log());
}
