//! Whole files are taken in as they come: tried out, then published for real,
//! with the counts of each in `tests/golden`, and in bounded memory.
//!
//! `LUYTRE_BLESS=1 cargo test --test it intake::` writes the counts anew. Real
//! data are read where they are at hand (`../shared/data/threat`, or
//! `LUYTRE_REAL_DATA`); our own files, which cover the same cases, always.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use luytre::model::principal::Role;

use crate::harness::{Ended, TestHub, luytre, luytre_fed, luytre_killed, peak_kib};

/// Most memory of the client at any time, and most that the hub may grow by
/// with one file, in KiB: far below what a file may have.
const MAX_MEMORY_KIB: u64 = 64 * 1024;

async fn hub() -> TestHub {
    TestHub::builder().principal("a", "system/feed", &[Role::Publisher]).start().await
}

/// Where real data are, if they are at hand.
pub(crate) fn real_data() -> Option<PathBuf> {
    let named = std::env::var_os("LUYTRE_REAL_DATA").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/threat"));
    folder.is_dir().then_some(folder)
}

fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/intake")
}

pub(crate) fn files_under(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_under(&path, out);
        } else if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("LICENSE")) {
            out.push(path);
        }
    }
    out.sort();
}

/// What a run said of a file.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    format: String,
    accepted: u64,
    unchanged: u64,
    rejected: String,
}

fn number_after(text: &str, word: &str) -> Option<u64> {
    let rest = text.split_once(word)?.1;
    let digits: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == ',').collect();
    digits.replace(',', "").parse().ok()
}

fn counts(ended: &Ended, rejects: &Path) -> Counts {
    assert!(matches!(ended.code, 0 | 65), "{ended:?}");
    let format = ended.stderr.split_once("read as ").map(|(_, rest)| rest.lines().next().unwrap().to_owned());
    let mut by_reason = BTreeMap::<String, u64>::new();
    for line in std::fs::read_to_string(rejects).unwrap().lines() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        let (reason, problem) = (json["reason"].as_str().unwrap(), json["problem"].as_str().unwrap());
        assert!(json["line"].as_u64().is_some_and(|line| line > 0) && !problem.is_empty(), "{line}");
        assert!(json["file"].is_string() && !line.contains('\u{1b}'), "{line}");
        let mark = if json["passed_over"] == true { "~" } else { "" };
        *by_reason.entry(format!("{mark}{reason}")).or_default() += 1;
    }
    let refused: u64 = by_reason.iter().filter(|(reason, _)| !reason.starts_with('~')).map(|(_, n)| n).sum();
    assert_eq!(ended.code == 65, refused > 0, "{ended:?}");
    let rejected: Vec<_> = by_reason.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
    Counts {
        format: format.unwrap_or_else(|| panic!("{ended:?}")),
        accepted: number_after(&ended.stderr, "accepted ").unwrap(),
        unchanged: ended
            .stderr
            .split(", ")
            .find_map(|p| p.split_once(" unchanged")?.0.replace(',', "").parse().ok())
            .unwrap_or(0),
        rejected: rejected.join(", "),
    }
}

/// Takes every file in, and compares what was counted.
async fn take_in(folder: &Path, files: Vec<PathBuf>, golden: &str) {
    let hub = hub().await;
    let rejects = hub.dir().join("rejects.jsonl");
    let mut told = String::from("file\tformat\taccepted\tunchanged\trejected (~ passed over)\n");
    for path in files {
        let name = path.strip_prefix(folder).unwrap().display().to_string();
        let words =
            |input| ["publish", input, "--tlp", "green", "--quiet", "--rejects", rejects.to_str().unwrap()];
        let trial = [&words(path.to_str().unwrap())[..], &["--dry-run"]].concat();
        let tried = counts(&luytre(&hub, "a", "system/feed", &trial).await, &rejects);

        // By a pipe that stays open, so that its memory can be asked for.
        let real = [&words("-")[..], &["--input-format", &tried.format]].concat();
        let content = std::fs::read(&path).unwrap();
        let before = peak_kib(hub.pid());
        let (ended, peak) = luytre_fed(&hub, "a", "system/feed", &real, content).await;
        let done = counts(&ended, &rejects);
        assert!(peak < MAX_MEMORY_KIB, "{name}: {peak} KiB");
        // What it keeps of all files together is bounded by its own caches. The
        // system counts by the page and by the thread, and not exactly.
        let grown = peak_kib(hub.pid()).saturating_sub(before);
        assert!(grown < MAX_MEMORY_KIB, "{name}: the hub grew by {grown} KiB");
        assert_eq!((done.accepted, &done.rejected), (tried.accepted, &tried.rejected), "{name}");
        writeln!(told, "{name}\t{}\t{}\t{}\t{}", done.format, done.accepted, done.unchanged, done.rejected)
            .unwrap();
    }
    compare(golden, &told);
}

pub(crate) fn compare(golden: &str, told: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(golden);
    if std::env::var_os("LUYTRE_BLESS").is_some() {
        std::fs::write(&path, told).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let differ: Vec<_> =
        told.lines().zip(expected.lines().chain(std::iter::repeat(""))).filter(|(a, b)| a != b).collect();
    assert!(
        told == expected,
        "{golden} differs; bless it with LUYTRE_BLESS=1 if that is right:\n{differ:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_files_of_every_format_are_taken_in_with_a_reason_for_each_reject() {
    let mut files = Vec::new();
    files_under(&own(), &mut files);
    take_in(&own(), files, "intake_own.tsv").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::print_stdout, reason = "test report")]
async fn real_files_are_taken_in_with_a_reason_for_each_reject() {
    let Some(folder) = real_data() else {
        println!("skipped: no real threat data at hand; our own files are taken in instead");
        return;
    };
    let mut files = Vec::new();
    for part in ["csv", "feeds", "lists", "text"] {
        files_under(&folder.join(part), &mut files);
    }
    take_in(&folder, files, "intake.tsv").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_of_the_client_does_not_grow_with_its_input() {
    let hub = hub().await;
    let rows = |line: &str, count| line.repeat(count).into_bytes();
    let endless =
        [b"one.example\n".to_vec(), vec![b'x'; 48 * 1024 * 1024], b"\nevil[.]example\n".to_vec()].concat();
    let open_quote = [b"value,comment\nq.example,\"".to_vec(), rows("x,y\n", 1_000_000)].concat();
    for (format, content) in [
        ("plain", endless.clone()),
        ("prose", endless),
        ("csv", open_quote),
        ("prose", rows("a report about nothing at all, version 1.2.3.4 | and more\n", 100_000)),
        ("hosts", rows("0.0.0.0 localhost\n", 500_000)),
    ] {
        let words = ["publish", "-", "--tlp", "green", "--quiet", "--dry-run", "--input-format", format];
        let (ended, peak) = luytre_fed(&hub, "a", "system/feed", &words, content).await;
        assert!(peak > 0 && peak < MAX_MEMORY_KIB, "{format}: {peak} KiB, {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_was_interrupted_goes_on_and_repeats_nothing() {
    let hub = hub().await;
    let (list, state) = (hub.dir().join("list.txt"), hub.dir().join("state"));
    let line = |n: usize| format!("host{n}.example\n");
    let half: String = (0..1_000).map(line).collect();
    std::fs::write(&list, half).unwrap();
    let list = list.to_str().unwrap().to_owned();
    let words = |input: &str| {
        ["publish", input, "--tlp", "green", "--quiet", "--batch", "100", "--resume", state.to_str().unwrap()]
            .map(str::to_owned)
    };
    let run = async |input: &str| {
        let words = words(input);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        luytre(&hub, "a", "system/feed", &words).await
    };
    // Cut off: the pipe holds half of it, and the hub goes away meanwhile.
    let words_of_pipe = words("-");
    let words_of_pipe: Vec<&str> = words_of_pipe.iter().map(String::as_str).collect();
    let first: String = (0..450).map(line).collect();
    let killed = luytre_killed(&hub, "a", "system/feed", &words_of_pipe, first.into_bytes(), &state).await;
    assert!(killed, "it was killed with some of its parts answered");
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
    assert!(kept["parts"].as_u64().is_some_and(|parts| parts > 0), "{kept}");

    let second = run(&list).await;
    assert_eq!(second.code, 0, "{second:?}");
    assert!(second.stderr.contains("accepted 1,000: 1,000 new, 0 updated, 0 unchanged"), "{second:?}");
    assert!(!state.exists(), "what is done leaves no place");
    let third = run(&list).await;
    assert!(third.stderr.contains("0 new, 0 updated, 1,000 unchanged"), "{third:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_before_an_import_was_interrupted_is_reported_at_its_end() {
    let hub = hub().await;
    let [list, state, rejects] = ["list.jsonl", "state", "rejects.jsonl"].map(|name| hub.dir().join(name));
    // Every tenth is refused, and by the hub alone.
    let line = |n: usize| match n % 10 {
        7 => format!("{{\"value\":\"no value {n}\"}}\n"),
        _ => format!("{{\"value\":\"host{n}.example\"}}\n"),
    };
    std::fs::write(&list, (0..1_000).map(line).collect::<String>()).unwrap();
    let paths = [&list, &state, &rejects].map(|path| path.to_str().unwrap());
    let words = |input| {
        let options = ["--tlp", "green", "--quiet", "--batch", "100", "--resume", paths[1]];
        [&["publish", input, "--rejects", paths[2]][..], &options].concat()
    };
    let first: String = (0..450).map(line).collect();
    assert!(luytre_killed(&hub, "a", "system/feed", &words("-"), first.into_bytes(), &state).await);
    let second = luytre(&hub, "a", "system/feed", &words(paths[0])).await;
    assert_eq!(second.code, 65, "{second:?}");
    assert!(second.stderr.contains("accepted 900: 900 new"), "{second:?}");
    assert!(second.stderr.contains("refused 100: FIELD_INVALID 100"), "{second:?}");
    assert_eq!(std::fs::read_to_string(&rejects).unwrap().lines().count(), 100);
}
