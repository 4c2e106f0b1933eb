//! A disk that fails makes the hub stop writing and say so, and never makes it
//! lose, repeat or invent anything: each fault, then reopen and verify.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Output;

use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::harness::listener::reason;
use crate::harness::patience::eventually;
use crate::harness::{Builder, Disk, TestHub, batch, draft, value_of};

fn builder() -> Builder {
    TestHub::builder().principal("a", "system/feed", &[Role::Publisher, Role::Analyst, Role::Subscriber])
}

async fn hub_on(disk: fn(&Path) -> Disk) -> TestHub {
    let mut hub = builder().prepare();
    hub.put_on(disk);
    hub.serve().await;
    hub
}

/// Values that no other call makes.
fn values(group: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{group}-{index}.faults.example")).collect()
}

fn request(values: &[String]) -> v1::PublishIndicatorsRequest {
    batch(Uuid::new_v4(), values.iter().map(|value| draft(value)).collect())
}

async fn send(hub: &TestHub, request: v1::PublishIndicatorsRequest) -> Result<(), Status> {
    let answer = hub.peer("a", "system/feed").exchange().publish_indicators(request).await?.into_inner();
    for result in answer.results {
        assert!(matches!(result.outcome, Some(v1::publish_result::Outcome::Published(_))), "{result:?}");
    }
    Ok(())
}

/// Publishes a group of ten, which must be acknowledged.
async fn publish(hub: &TestHub, group: &str) -> Vec<String> {
    let values = values(group, 10);
    send(hub, request(&values)).await.unwrap();
    values
}

/// Every value that the hub lists.
async fn listed(hub: &TestHub) -> BTreeSet<String> {
    let request = v1::ListIndicatorsRequest { page_size: 1000, ..Default::default() };
    let page = hub.peer("a", "system/feed").exchange().list_indicators(request).await.unwrap().into_inner();
    assert!(page.next_page_token.is_empty());
    let values: BTreeSet<_> = page.indicators.iter().map(value_of).collect();
    assert_eq!(values.len(), page.indicators.len());
    values
}

async fn assert_holds(hub: &TestHub, groups: &[&[String]]) {
    let wanted: BTreeSet<_> = groups.iter().flat_map(|group| group.iter().cloned()).collect();
    assert_eq!(listed(hub).await, wanted);
}

/// The hub takes no more, says so everywhere, and still answers questions.
async fn assert_read_only(hub: &TestHub, kept: &[&[String]]) {
    let refused = send(hub, request(&values("refused", 1))).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_deref()),
        (Code::Unavailable, Some("STORE_READ_ONLY")),
        "{refused:?}"
    );
    let (status, body) = hub.get("/readyz").await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("STORE_READ_ONLY"), "{body}");
    let asked = hub.ready(&hub.dir().join("hub.toml"));
    let told = String::from_utf8(asked.stderr).unwrap();
    assert_eq!(asked.status.code(), Some(75), "{told}");
    assert!(told.contains("answers: not ready: STORE_READ_ONLY"), "{told}");
    let held = listed(hub).await;
    assert!(kept.iter().all(|group| group.iter().all(|value| held.contains(value))));
}

/// Stops and verifies, starts again, and publishes.
async fn assert_recovers(hub: &mut TestHub, kept: &[&[String]]) {
    hub.verify();
    hub.serve().await;
    let (status, body) = hub.get("/readyz").await;
    assert_eq!(status, 200, "{body}");
    assert_holds(hub, kept).await;
    let after = publish(hub, "after").await;
    let mut all = kept.to_vec();
    all.push(&after);
    assert_holds(hub, &all).await;
    hub.restart().await;
    assert_holds(hub, &all).await;
    hub.terminate().await;
    hub.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_write_makes_the_hub_read_only_until_it_starts_again() {
    let mut hub = hub_on(Disk::forgetful).await;
    let before = publish(&hub, "before").await;
    hub.disk().set("fail-write *.log 0\n");
    let during = request(&values("during", 10));
    let failed = send(&hub, during.clone()).await.unwrap_err();
    assert_eq!(reason(&failed).as_deref(), Some("STORE_READ_ONLY"), "{failed:?}");
    assert!(!hub.disk().hits().is_empty());

    hub.disk().set("");
    assert_read_only(&hub, &[&before]).await;
    hub.kill9();
    hub.disk().cut_power(None);
    hub.serve().await;
    // The publisher repeats what was not acknowledged, under its request_id.
    send(&hub, during).await.unwrap();
    let during = values("during", 10);
    assert_holds(&hub, &[&before, &during]).await;
    hub.terminate().await;
    assert_recovers(&mut hub, &[&before, &during]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_is_never_acknowledged() {
    let mut hub = hub_on(Disk::forgetful).await;
    let before = publish(&hub, "before").await;
    hub.disk().set("fail-sync *.log 0\n");
    let failed = send(&hub, request(&values("during", 10))).await.unwrap_err();
    assert_eq!(reason(&failed).as_deref(), Some("STORE_READ_ONLY"), "{failed:?}");
    // A second sync that succeeds proves nothing about what the first one lost.
    hub.disk().set("");
    assert_read_only(&hub, &[&before]).await;
    hub.kill9();
    hub.disk().cut_power(None);
    assert_recovers(&mut hub, &[&before]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_writes_are_written_on_to_their_end() {
    let mut hub = hub_on(Disk::forgetful).await;
    hub.disk().set("short-write *\n");
    let before = publish(&hub, "before").await;
    assert!(hub.disk().hits().iter().any(|hit| hit.contains(".log")));
    hub.kill9();
    hub.disk().cut_power(None);
    assert_recovers(&mut hub, &[&before]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_makes_the_hub_read_only_and_room_and_a_restart_heal_it() {
    let mut hub = hub_on(Disk::faulty).await;
    hub.disk().set("no-space 100000\n");
    let mut kept = Vec::new();
    let failed = loop {
        let group = values(&format!("fill{}", kept.len()), 10);
        match send(&hub, request(&group)).await {
            Ok(()) => kept.extend(group),
            Err(status) => break status,
        }
    };
    assert_eq!(reason(&failed).as_deref(), Some("STORE_READ_ONLY"), "{failed:?}");
    assert!(!kept.is_empty());
    assert_read_only(&hub, &[&kept]).await;
    hub.disk().set("");
    assert_read_only(&hub, &[&kept]).await;
    hub.terminate().await;
    hub.verify();
    hub.serve().await;
    // The batch that met the full disk was refused; it may not be half there.
    let held = listed(&hub).await;
    let beyond: Vec<_> = held.iter().filter(|value| !kept.contains(value)).collect();
    assert!(beyond.is_empty() || beyond.len() == 10, "{beyond:?}");
    hub.terminate().await;
    let held: Vec<_> = held.into_iter().collect();
    assert!(kept.iter().all(|value| held.contains(value)));
    assert_recovers(&mut hub, &[&held]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_during_recovery_costs_nothing() {
    let mut hub = hub_on(Disk::forgetful).await;
    let before = publish(&hub, "before").await;
    hub.kill9();
    for fault in ["fail-write *.sst 0", "fail-sync *.sst 0", "fail-sync MANIFEST-* 0", "no-space 100"] {
        hub.disk().cut_power(None);
        hub.disk().set(fault);
        let refused = hub.try_serve().await.unwrap_err();
        assert!(!refused.status.success(), "{fault}");
        assert!(
            hub.disk().hits().iter().any(|hit| hit.starts_with(fault.split(' ').next().unwrap())),
            "{fault}"
        );
    }
    hub.disk().set("");
    hub.disk().cut_power(None);
    assert_recovers(&mut hub, &[&before]).await;
}

/// A hub that published two groups and was killed, so that both lie in its
/// write-ahead log.
async fn killed_hub() -> (TestHub, Vec<String>, Vec<String>) {
    let mut hub = builder().start().await;
    let first = publish(&hub, "first").await;
    let second = publish(&hub, "second").await;
    hub.kill9();
    (hub, first, second)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_tail_costs_only_the_record_that_was_cut() {
    let (mut hub, first, _) = killed_hub().await;
    let log = hub.files("log").pop().unwrap();
    let whole = fs::read(&log).unwrap();
    let cut = position(&whole, b"second-9.faults").unwrap();
    fs::write(&log, &whole[..cut]).unwrap();
    assert_recovers(&mut hub, &[&first]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_of_garbage_is_refused_with_its_place_and_cut_on_request() {
    // A checksum, a length and a type as a record has them, and 100 bytes.
    let record: Vec<u8> = [0xde, 0xad, 0xbe, 0xef, 100, 0, 1].into_iter().chain([0x5a; 100]).collect();
    for garbage in [record.clone(), record.repeat(700)] {
        let (mut hub, first, second) = killed_hub().await;
        let log = hub.files("log").pop().unwrap();
        let end = fs::metadata(&log).unwrap().len();
        OpenOptions::new().append(true).open(&log).unwrap().write_all(&garbage).unwrap();

        let refused = hub.try_serve().await.unwrap_err().stderr;
        assert!(refused.contains(log.file_name().unwrap().to_str().unwrap()), "{refused}");
        assert!(refused.contains(&end.to_string()), "not at {end}: {refused}");
        assert!(refused.contains("repair --tail"), "{refused}");

        let repaired = hub.luytred(&["repair", "--tail"]);
        assert!(repaired.status.success(), "{}", said(&repaired));
        assert_recovers(&mut hub, &[&first, &second]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_that_reads_as_a_write_cut_off_is_passed_over() {
    // The length in the first goes past the end of the file; zeros are what a
    // file system leaves of blocks that were given out and not written.
    for tail in [vec![0xa5; 4096], vec![0; 4096], vec![0; 70_000]] {
        let (mut hub, first, second) = killed_hub().await;
        let log = hub.files("log").pop().unwrap();
        OpenOptions::new().append(true).open(&log).unwrap().write_all(&tail).unwrap();
        assert_recovers(&mut hub, &[&first, &second]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_in_the_middle_of_the_log_stops_the_hub_and_points_to_the_backup() {
    let mut hub = builder().start().await;
    let first = publish(&hub, "first").await;
    let backup = hub.backup("backup");
    let _second = publish(&hub, "second").await;
    let _third = publish(&hub, "third").await;
    hub.kill9();
    let log = hub
        .files("log")
        .into_iter()
        .find(|log| position(&fs::read(log).unwrap(), b"second-5.faults").is_some())
        .unwrap();
    flip(&log, b"second-5.faults");

    let refused = hub.try_serve().await.unwrap_err().stderr;
    assert!(refused.contains(log.file_name().unwrap().to_str().unwrap()), "{refused}");
    assert!(refused.contains("byte "), "{refused}");
    assert!(refused.contains("restore"), "{refused}");
    let damaged = fs::read(&log).unwrap();
    let repaired = hub.luytred(&["repair", "--tail"]);
    assert!(!repaired.status.success(), "{}", said(&repaired));
    assert_eq!(fs::read(&log).unwrap(), damaged, "valid records follow: nothing may be cut");

    hub.restore(&backup);
    assert_recovers(&mut hub, &[&first]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_damaged_table_is_found_by_verify() {
    let (mut hub, _, _) = killed_hub().await;
    // Recovery moves the log into tables.
    hub.serve().await;
    hub.terminate().await;
    hub.verify();
    for table in hub.files("sst") {
        let sound = fs::read(&table).unwrap();
        // A table begins with a block of data.
        flip_at(&table, 20);
        let verified = hub.luytred(&["verify"]);
        let name = table.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(!verified.status.success(), "{name}: {}", said(&verified));
        // Without the beginning of the log there is nothing to begin with.
        let told = said(&verified);
        assert!(told.contains(&name) || told.contains("restore the last good backup"), "{told}");
        fs::write(&table, sound).unwrap();
    }
    hub.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_hub_on_the_directory_is_refused_and_the_first_goes_on() {
    let mut hub = builder().start().await;
    let before = publish(&hub, "before").await;
    let (status, said) = hub.serve_beside().await;
    assert!(!status.success());
    assert!(said.contains("another luytred"), "{said}");
    let verified = hub.luytred(&["verify"]);
    assert_eq!(verified.status.code(), Some(75), "{}", self::said(&verified));
    let after = publish(&hub, "beside").await;
    assert_holds(&hub, &[&before, &after]).await;
    hub.terminate().await;
    assert_recovers(&mut hub, &[&before, &after]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_socket_takes_the_place_of_nothing_but_a_socket_left_behind() {
    let mut hub = builder().prepare();
    let socket = hub.data_dir().join("admin.sock");
    fs::write(&socket, "a file").unwrap();
    let refused = hub.try_serve().await.unwrap_err().stderr;
    assert!(refused.contains("is not a socket"), "{refused}");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "a file");

    fs::remove_file(&socket).unwrap();
    let other = UnixListener::bind(&socket).unwrap();
    let refused = hub.try_serve().await.unwrap_err().stderr;
    assert!(refused.contains("another process listens"), "{refused}");
    assert!(socket.symlink_metadata().is_ok());

    // The listener is gone and its socket stays, as a killed hub leaves it.
    drop(other);
    hub.serve().await;
    hub.backup("backup");
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "a file").unwrap();
    assert!(hub.terminate().await.success());
    assert_eq!(fs::read_to_string(&socket).unwrap(), "a file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_whose_disk_has_less_room_than_configured_is_red_and_takes_nothing() {
    let hub = builder().config("[limits]\nfree_space = \"1048576GiB\"").start().await;
    eventually("the disk is measured", async || (hub.get("/readyz").await.0 == 503).then_some(())).await;
    assert_read_only(&hub, &[]).await;
    let metrics = hub.get("/metrics").await.1;
    assert!(metrics.contains("\nluytre_store_space_low 1\n"), "{metrics}");
    assert!(metrics.contains("\nluytre_store_read_only 0\n"), "{metrics}");
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Flips a bit in the middle of the first place where `text` stands.
fn flip(path: &Path, text: &[u8]) {
    let at = position(&fs::read(path).unwrap(), text).unwrap();
    flip_at(path, (at + text.len() / 2) as u64);
}

fn flip_at(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}
