//! Verification reads, and leaves everything as it found it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use luytre::base::digest;
use luytre::hub::{verify, verify_in};

use super::model::{Item, Model, Op};
use super::support::Engine;

/// Every file of a directory: its digest, and when it was last changed.
fn files(path: &Path) -> BTreeMap<String, ([u8; 32], SystemTime)> {
    let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            let digest = digest::sha256(&fs::read(entry.path()).unwrap());
            (name, (digest, entry.metadata().unwrap().modified().unwrap()))
        })
        .collect()
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// A hub with some content, half of it in tables.
async fn filled() -> Engine {
    let mut engine = Engine::new();
    let mut model = Model::default();
    for note in 0..6 {
        let items =
            (0..8).map(|value| Item { value, marking: 1, labels: 3, note, reinstate: false }).collect();
        model.apply(&engine, &Op::Publish { org: 0, items }).await;
        if note == 2 {
            engine = engine.reopen(|_| ()).await;
        }
    }
    engine
}

#[tokio::test]
async fn verification_changes_no_byte_of_a_hub_or_a_backup() {
    let engine = filled().await;
    let (hub, backup) = (engine.path().to_owned(), engine.dir.path().join("backup"));
    engine.hub.backup(&backup).unwrap();
    let dir = engine.close().await;
    assert!(!backup.join("LOCK").exists(), "no engine has opened the copy to write");
    for path in [&hub, &backup] {
        let before = files(path);
        assert!(before.keys().any(|name| name.ends_with(".log")) && before.contains_key("CURRENT"));
        for _ in 0..2 {
            let report = verify(path, |_| ()).unwrap();
            assert!(report.is_clean() && report.items > 0, "{:?}", report.differences);
            assert_eq!(files(path), before);
        }
        assert_eq!(names(dir.path()), ["backup", "hub"], "nothing is left beside it");
    }
}

#[tokio::test]
async fn the_scratch_copy_goes_where_it_is_told_and_nowhere_else() {
    let engine = filled().await;
    let hub = engine.path().to_owned();
    let dir = engine.close().await;
    let (scratch, file) = (dir.path().join("scratch"), dir.path().join("file"));
    fs::create_dir(&scratch).unwrap();
    fs::write(&file, "").unwrap();
    let mut seen = Vec::new();
    assert!(verify_in(&hub, &scratch, |_| seen.extend(names(&scratch))).unwrap().is_clean());
    assert!(seen.iter().any(|name| name.starts_with(".verify-")), "{seen:?}");
    assert!(names(&scratch).is_empty(), "it is removed");
    let before = files(&hub);
    for wrong in [&file, &dir.path().join("absent"), &hub, &hub.join(".")] {
        let refused = verify_in(&hub, wrong, |_| ()).unwrap_err().to_string();
        assert!(refused.contains("--scratch DIR") && refused.contains("scratch copy in"), "{refused}");
    }
    assert_eq!(files(&hub), before);
    assert_eq!(names(dir.path()), ["file", "hub", "scratch"]);
}
