//! What is followed in a directory that others write to.

use std::os::unix::fs::symlink;

use clap::Parser as _;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::super::super::arguments::{Arguments, Command};
use super::*;

fn follower(dir: &Path, paths: &[&Path]) -> Follower {
    let paths = paths.iter().map(|path| path.to_str().unwrap());
    let state = dir.join("state");
    let words = ["luytre", "tail-publish", "--state", state.to_str().unwrap(), "--tlp", "green"];
    let words = words.into_iter().chain(paths);
    match Arguments::try_parse_from(words).unwrap().command {
        Command::TailPublish(options) => {
            let places = Places::open(&state, "hub").unwrap();
            Follower { settle: Duration::ZERO, ..Follower::new(&options, places) }
        }
        other => panic!("{other:?}"),
    }
}

fn drop_box(dir: &Path) -> PathBuf {
    let inbox = dir.join("drop");
    std::fs::create_dir(&inbox).unwrap();
    inbox
}

fn names(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.path.file_name().unwrap().to_str().unwrap()).collect()
}

/// How many items are published now.
fn taken(follower: &mut Follower) -> usize {
    let mut items = 0;
    for seen in follower.scan().unwrap() {
        while let Some(portion) = follower.next(&seen).unwrap() {
            let Portion::Lines(found, place) = portion else { panic!("{portion:?}") };
            items += found.len();
            follower.advance(seen.key, place).unwrap();
        }
    }
    items
}

#[test]
fn a_pipe_under_the_name_of_a_file_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let inbox = drop_box(dir.path());
    let path = inbox.join("list");
    std::fs::write(&path, "a.example\n").unwrap();
    let mut follower = follower(dir.path(), &[&inbox]);
    let seen = follower.scan().unwrap();
    std::fs::remove_file(&path).unwrap();
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert!(follower.next(&seen[0]).unwrap().is_none());
    assert!(follower.scan().unwrap().is_empty());
}

#[test]
fn a_link_in_a_directory_leads_nowhere_and_one_that_was_asked_for_does() {
    let dir = tempfile::tempdir().unwrap();
    let inbox = drop_box(dir.path());
    let (secret, asked) = (dir.path().join("secret"), dir.path().join("asked"));
    std::fs::write(&secret, "secret.example\n").unwrap();
    symlink(&secret, inbox.join("list")).unwrap();
    symlink(&secret, &asked).unwrap();
    assert_eq!(taken(&mut follower(dir.path(), &[&inbox])), 0);
    assert_eq!(taken(&mut follower(dir.path(), &[&asked])), 1);
    // Nor does one that took the place of a file since.
    let path = inbox.join("file");
    std::fs::write(&path, "a.example\n").unwrap();
    let mut follower = follower(dir.path(), &[&inbox]);
    let seen = follower.scan().unwrap();
    std::fs::rename(&path, dir.path().join("moved")).unwrap();
    symlink(dir.path().join("moved"), &path).unwrap();
    assert!(seen[0].open().is_err());
}

#[test]
fn what_changed_in_the_middle_of_a_file_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let inbox = drop_box(dir.path());
    let path = inbox.join("list");
    let part = "# the same\n".repeat(200);
    let write = |name: &str, end: &str, at: u64| {
        std::fs::write(&path, format!("{part}{name}\n{part}{end}")).unwrap();
        let at = std::time::UNIX_EPOCH + Duration::from_secs(at);
        OpenOptions::new().append(true).open(&path).unwrap().set_modified(at).unwrap();
    };
    let mut follower = follower(dir.path(), &[&inbox]);
    for (at, end, all) in [(1, "", 1), (2, "", 1), (3, "z.example", 2), (4, "z.example", 2)] {
        write(&format!("{at}.example"), end, at);
        assert_eq!(taken(&mut follower), if at == 3 { 1 } else { all }, "{at}");
        assert_eq!(taken(&mut follower), 0, "{at}");
    }
}

#[test]
fn of_too_many_files_logs_and_those_that_changed_last_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let inbox = drop_box(dir.path());
    let log = dir.path().join("log");
    for n in 0..MAX_FILES {
        std::fs::write(inbox.join(format!("{n}")), "").unwrap();
    }
    std::fs::write(&log, "").unwrap();
    let mut follower = follower(dir.path(), &[&inbox, &log]);
    let first = follower.scan().unwrap();
    assert_eq!((first.len(), names(&first)[0]), (MAX_FILES + 1, "log"));
    let old = first.iter().find(|seen| seen.path.ends_with("5000")).unwrap().clone();
    follower.places.of.insert(old.key, Place::default());
    OpenOptions::new().append(true).open(&old.path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    std::fs::write(inbox.join("zz"), "").unwrap();
    let seen = follower.scan().unwrap();
    let found = names(&seen);
    assert_eq!((seen.len(), found.first(), found.last()), (MAX_FILES + 1, Some(&"log"), Some(&"zz")));
    assert!(!found.contains(&"5000"));
    assert!(follower.places.of.contains_key(&old.key));
}

#[test]
fn the_name_of_a_file_writes_no_line_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let inbox = drop_box(dir.path());
    symlink("/dev/null", inbox.join("a\n\u{1b}[2Jluytre: all is well")).unwrap();
    let mut follower = follower(dir.path(), &[&inbox]);
    follower.scan().unwrap();
    assert!(!follower.told.is_empty());
    assert!(!follower.told.iter().any(|text| text.contains(char::is_control)), "{:?}", follower.told);
}
