//! The disk that the fault tests rely on does what they believe: each mode of
//! `tests/shim/faultfs.c`, and the same steps without it.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::harness::{Disk, Seed, disk::probe};

/// A directory `data` in a temporary one, and a disk under it.
struct Bench {
    dir: tempfile::TempDir,
    disk: Disk,
}

impl Bench {
    fn new(make: fn(&Path) -> Disk) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("old"), "old").unwrap();
        Self { disk: make(&data), dir }
    }

    fn command(&self, steps: &[&str]) -> Command {
        let mut command = Command::new(probe());
        command.current_dir(self.dir.path().join("data")).args(steps).envs(self.disk.environment());
        command
    }

    fn run(&self, steps: &[&str]) -> Output {
        self.command(steps).output().unwrap()
    }

    /// What each step answered.
    fn answers(&self, steps: &[&str]) -> Vec<String> {
        lines(&self.run(steps))
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.dir.path().join("data").join(name)).ok()
    }
}

fn lines(output: &Output) -> Vec<String> {
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn a_power_cut_loses_exactly_what_was_not_synced() {
    let bench = Bench::new(Disk::forgetful);
    let steps = [
        "create a",
        "write kept",
        "fsync",
        "pwrite 1 E",
        "fdatasync",
        "write lost",
        "pwrite 0 X",
        "writev lost lost",
        "kill",
    ];
    assert_eq!(bench.run(&steps).status.signal(), Some(9));
    assert_eq!(bench.read("a").as_deref(), Some("XEptlostlostlost"), "SIGKILL alone keeps the page cache");
    bench.disk.cut_power(None);
    assert_eq!(bench.read("a").as_deref(), Some("kEpt"));
    assert_eq!(bench.read("old").as_deref(), Some("old"), "what was there before is durable");
}

#[test]
fn a_second_power_cut_starts_from_what_the_first_one_left() {
    let bench = Bench::new(Disk::forgetful);
    bench.run(&["create a", "write one", "fsync", "write lost", "kill"]);
    bench.disk.cut_power(None);
    bench.run(&["open a", "write two", "fsync", "write lost", "open old", "write lost", "kill"]);
    bench.disk.cut_power(None);
    assert_eq!(bench.read("a").as_deref(), Some("onetwo"));
    assert_eq!(bench.read("old").as_deref(), Some("old"));
}

#[test]
fn a_name_is_durable_once_its_directory_is_synced() {
    let bench = Bench::new(Disk::forgetful);
    let steps = ["create new", "write content", "fsync", "rename new CURRENT", "unlink old", "kill"];
    bench.run(&steps);
    bench.disk.cut_power(None);
    assert_eq!(bench.read("new").as_deref(), Some("content"), "the rename was not synced");
    assert_eq!(bench.read("CURRENT"), None);
    assert_eq!(bench.read("old").as_deref(), Some("old"), "neither was the removal");

    bench.run(&[
        "rename new CURRENT",
        "unlink old",
        "create empty",
        "write lost",
        "mkdir sub",
        "syncdir .",
        "kill",
    ]);
    bench.disk.cut_power(None);
    assert_eq!(bench.read("CURRENT").as_deref(), Some("content"));
    assert_eq!((bench.read("new"), bench.read("old")), (None, None));
    assert_eq!(bench.read("empty").as_deref(), Some(""), "a durable name without durable content");
    assert!(bench.dir.path().join("data/sub").is_dir());
}

#[test]
fn a_file_that_takes_a_removed_file_s_inode_inherits_nothing() {
    let bench = Bench::new(Disk::forgetful);
    // The file system hands the inode out again at once, most of the time.
    let steps = [
        "create a",
        "write long-content",
        "fsync",
        "close",
        "unlink a",
        "create b",
        "write b",
        "syncdir .",
        "kill",
    ];
    bench.run(&steps);
    bench.disk.cut_power(None);
    assert_eq!((bench.read("a"), bench.read("b").as_deref()), (None, Some("")));
}

#[test]
fn a_file_with_a_second_name_keeps_its_content_when_the_first_goes() {
    let bench = Bench::new(Disk::forgetful);
    let steps = ["create a", "write kept", "fsync", "link a b", "unlink a", "syncdir .", "kill"];
    bench.run(&steps);
    bench.disk.cut_power(None);
    assert_eq!((bench.read("a"), bench.read("b").as_deref()), (None, Some("kept")));
}

#[test]
fn a_truncation_is_durable_with_the_next_sync() {
    let bench = Bench::new(Disk::forgetful);
    bench.run(&["create a", "write 123456", "fsync", "truncate 3", "fsync", "truncate 1", "kill"]);
    bench.disk.cut_power(None);
    assert_eq!(bench.read("a").as_deref(), Some("123"));
}

#[test]
fn a_torn_log_keeps_a_part_of_its_unsynced_tail() {
    let bench = Bench::new(Disk::forgetful);
    bench.run(&["create 1.log", "write kept", "fsync", "write 0123456789", "create a", "write lost", "kill"]);
    bench.disk.cut_power(Some(&mut Seed::of_this_run("torn")));
    let log = bench.read("1.log").unwrap();
    assert!("kept0123456789".starts_with(&log) && log.len() >= 4, "{log}");
    assert_eq!(bench.read("a"), None);
}

#[test]
fn a_dropped_sync_says_yes_and_keeps_nothing() {
    let bench = Bench::new(Disk::forgetful);
    bench.disk.set("drop-sync\n");
    assert_eq!(
        bench.answers(&["create a", "write lost", "fsync", "syncdir .", "kill"]),
        ["0", "4", "0", "0"]
    );
    bench.disk.cut_power(None);
    assert_eq!(bench.read("a"), None);
    assert_eq!(bench.disk.hits(), ["drop-sync a", "drop-sync "]);
}

#[test]
fn a_write_fails_once_its_bytes_are_used_up_and_only_where_the_pattern_says() {
    let bench = Bench::new(Disk::faulty);
    bench.disk.set("fail-write *.log 6\n");
    let answers = bench.answers(&[
        "create 1.log",
        "write 1234",
        "write 567",
        "pwrite 0 567",
        "write 56",
        "create a",
        "write 1234567",
    ]);
    assert_eq!(answers, ["0", "4", "EIO", "EIO", "2", "0", "7"]);
    assert_eq!(bench.disk.hits(), ["fail-write 1.log", "fail-write 1.log"]);
}

#[test]
fn a_sync_fails_after_its_calls_and_what_it_was_for_is_lost() {
    let bench = Bench::new(Disk::forgetful);
    bench.disk.set("fail-sync *.log 1\n");
    let answers =
        bench.answers(&["create 1.log", "write 1", "fsync", "write 2", "fsync", "fdatasync", "kill"]);
    assert_eq!(answers, ["0", "1", "0", "1", "EIO", "EIO"]);
    bench.disk.cut_power(None);
    assert_eq!(bench.read("1.log").as_deref(), Some("1"));
}

#[test]
fn a_full_disk_refuses_until_there_is_room_again() {
    let bench = Bench::new(Disk::faulty);
    bench.disk.set("no-space 6\n");
    let more = bench.dir.path().join("more");
    let wait = format!("wait {}", more.display());
    let steps =
        ["create a", "write 1234", "write 5678", "write 9", "reserve 100", &wait, "write 9", "reserve 100"];
    let child = bench.command(&steps).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while bench.disk.hits().len() < 3 {
        std::thread::yield_now();
    }
    bench.disk.set("");
    fs::write(more, "").unwrap();
    let answers = lines(&child.wait_with_output().unwrap());
    assert_eq!(answers, ["0", "4", "2", "ENOSPC", "ENOSPC", "0", "1", "0"]);
    assert_eq!(bench.read("a").as_deref(), Some("1234569"));
}

#[test]
fn a_short_write_takes_half() {
    let bench = Bench::new(Disk::faulty);
    bench.disk.set("short-write *\n");
    assert_eq!(bench.answers(&["create a", "write 12345", "writev 12 345", "write 1"]), ["0", "3", "3", "1"]);
    assert_eq!(bench.read("a").as_deref(), Some("1231231"));
}

#[test]
fn files_elsewhere_are_left_alone() {
    let bench = Bench::new(Disk::forgetful);
    bench.disk.set("fail-write * 0\nfail-sync * 0\n");
    let sibling = bench.dir.path().join("atad");
    fs::create_dir(&sibling).unwrap();
    let outside = format!("create {}", sibling.join("outside").display());
    assert_eq!(bench.answers(&[&outside, "write 12", "fsync"]), ["0", "2", "0"]);
    assert_eq!(bench.answers(&["create inside", "write 12", "fsync"]), ["0", "EIO", "EIO"]);
}

#[test]
fn a_fault_that_cannot_be_read_stops_the_program() {
    let bench = Bench::new(Disk::faulty);
    bench.disk.set("fail-wrte * 0\n");
    let output = bench.run(&["create a", "write 1"]);
    assert_eq!(output.status.signal(), Some(6));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot read"));
}
