//! What a backup holds, and what a hub brought back from one never repeats.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::join_all;
use luytre::base::clock::{Clock, Timestamp};
use luytre::hub::error::Reason;
use luytre::hub::{self, Hub, Open, Options, Start, verify};
use uuid::Uuid;

use super::model::{self, Item, Model, Op};
use super::support::{Engine, Event, START};

fn publish(org: usize, note: u8) -> Op {
    let items = (0..3).map(|value| Item { value, marking: 1, labels: 1, note, reinstate: false }).collect();
    Op::Publish { org, items }
}

fn everything() -> Open {
    Open { start: Some(Start::Earliest), ..Open::default() }
}

async fn read(engine: &Engine, start: Start) -> (Vec<Event>, bytes::Bytes) {
    let mut stream = engine.stream(1, Open { start: Some(start), ..everything() }).await.unwrap();
    let events = stream.drain(100).await.into_iter().flat_map(|batch| batch.events).collect();
    let token = stream.token.clone();
    stream.leave().await;
    (events, token)
}

fn names(events: &[Event]) -> HashSet<bytes::Bytes> {
    events.iter().map(|event| event.event_id.clone()).collect()
}

#[tokio::test]
async fn a_restored_hub_goes_on_from_before_the_backup_and_refuses_tokens_from_after() {
    let engine = Engine::new();
    let mut model = Model::default();
    model.apply(&engine, &publish(0, 0)).await;
    model.apply(&engine, &publish(2, 0)).await;
    let (_, before) = read(&engine, Start::Earliest).await;
    model.apply(&engine, &publish(0, 1)).await;
    let (kept, at_backup) = read(&engine, Start::Earliest).await;
    let (backup, restored) = (engine.dir.path().join("backup"), engine.dir.path().join("restored"));
    let report = engine.hub.backup(&backup).unwrap();
    let snapshot = model.clone();
    model.apply(&engine, &publish(3, 0)).await;
    let (all, after) = read(&engine, Start::Earliest).await;
    let clock = Arc::clone(&engine.clock);
    // The machine that it is restored on has a clock that is behind.
    clock.set(START - 3_600_000_000);
    let made = hub::restore(&backup, &restored, clock.as_ref()).unwrap();
    assert!(made.epoch > report.epoch);
    let engine = engine.reopen(|options| options.data_dir = restored.clone()).await;
    let mut model = snapshot;
    let expired =
        engine.stream(1, Open { start: Some(Start::Token(after)), ..everything() }).await.err().unwrap();
    assert_eq!(expired.reason, Reason::ResumeTokenExpired);
    assert_eq!(read(&engine, Start::Token(before.clone())).await.0, kept[6..]);
    assert!(read(&engine, Start::Token(at_backup.clone())).await.0.is_empty());
    // Versions rise past the backup's (the model minds that); once the clock
    // is right again, past those that were lost, too.
    model.apply(&engine, &publish(0, 0)).await;
    clock.set(START + 1_000_000);
    model.apply(&engine, &publish(3, 0)).await;
    let (again, _) = read(&engine, Start::Earliest).await;
    let (new, _) = read(&engine, Start::Token(at_backup)).await;
    assert_eq!(new, again[kept.len()..]);
    assert_eq!(again[..kept.len()], kept);
    assert!(names(&new).is_disjoint(&names(&all)), "no event's name is used twice");
    let ids = |events: &[Event]| -> HashSet<_> {
        events.iter().filter(|e| e.kind == 1).map(|e| e.indicator.as_ref().unwrap().name.clone()).collect()
    };
    assert!(ids(&new).is_disjoint(&ids(&all)), "nor an indicator's");
    let lost = all[kept.len()..].iter().map(|e| e.indicator.as_ref().unwrap().version).max().unwrap();
    assert!(new[3..].iter().all(|e| e.indicator.as_ref().unwrap().version > lost));
    let _dir = engine.close().await;
    let report = verify(&restored, |_| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.differences);
}

#[tokio::test]
async fn a_backup_made_while_all_publish_is_whole_and_holds_what_was_acknowledged() {
    let engine = Engine::new();
    let mut model = Model::default();
    model.apply(&engine, &publish(0, 0)).await;
    let to = engine.dir.path().join("backup");
    let publishing = join_all((0..200_u8).map(|n| {
        let caller = engine.caller(usize::from(n % 4));
        let item = Item { value: n % 11, marking: n % 5, labels: n % 8, note: n / 100, reinstate: false };
        let drafts = vec![Ok(model::draft(&item))];
        let hub: &Hub = &engine.hub;
        async move { hub.publish(&caller, Uuid::new_v4(), drafts).await.unwrap() }
    }));
    let copying = {
        let (hub, to) = (Arc::clone(&engine.hub), to.clone());
        tokio::task::spawn_blocking(move || hub.backup(&to).unwrap())
    };
    let (_, copied) = tokio::join!(publishing, copying);
    assert!(copied.unwrap().last_entry >= 2);
    let report = verify(&to, |_| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.differences);
    assert!(report.items >= 3);
    engine.close().await;
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Names in a directory, hidden ones too.
fn list(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Why a hub in `path` does not open.
fn refusal(path: &Path) -> String {
    let options = Options { data_dir: path.to_owned(), block_cache_bytes: 8 << 20, ..Options::default() };
    Hub::open(options).expect_err("it opens").to_string()
}

#[tokio::test]
async fn only_the_hubs_user_can_enter_a_backup_a_restored_hub_and_a_new_one() {
    let engine = Engine::new();
    let path = |name: &str| engine.dir.path().join(name);
    engine.hub.backup(&path("backup")).unwrap();
    let there = path("there");
    fs::create_dir(&there).unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o755)).unwrap();
    hub::restore(&path("backup"), &there, engine.clock.as_ref()).unwrap();
    hub::restore(&path("backup"), &path("new"), engine.clock.as_ref()).unwrap();
    let empty = path("empty");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o777)).unwrap();
    Hub::init(&empty, super::support::roster(), "hub.example", engine.clock.as_ref()).unwrap();
    for name in ["hub", "backup", "there", "new", "empty"] {
        assert_eq!(mode(&path(name)), 0o700, "{name}");
    }
    assert_eq!(list(engine.dir.path()), ["backup", "empty", "hub", "new", "there"], "nothing is left over");
    engine.close().await;
}

#[tokio::test]
async fn a_directory_that_others_can_enter_is_refused_with_what_to_run() {
    let engine = Engine::new();
    let path = engine.path().to_owned();
    let dir = engine.close().await;
    for open in [0o750, 0o701, 0o702] {
        fs::set_permissions(&path, fs::Permissions::from_mode(open)).unwrap();
        let told = refusal(&path);
        assert!(told.contains(&format!("chmod 700 {}", path.display())), "{told}");
        assert!(verify(&path, |_| ()).is_err());
    }
    drop(dir);
}

#[tokio::test]
async fn a_backup_takes_no_place_that_is_taken() {
    let engine = Engine::new();
    let to = engine.dir.path().join("backup");
    fs::create_dir(&to).unwrap();
    assert!(engine.hub.backup(&to).is_err(), "not even that of an empty directory");
    fs::write(to.join("kept"), "").unwrap();
    assert!(engine.hub.backup(&to).is_err());
    hub::restore(engine.path(), &to, engine.clock.as_ref()).unwrap_err();
    assert_eq!(list(&to), ["kept"]);
    assert_eq!(list(engine.dir.path()), ["backup", "hub"]);
    engine.close().await;
}

#[tokio::test]
async fn a_backup_does_not_serve_and_says_how_to_make_a_hub_of_it() {
    let engine = Engine::new();
    let (backup, restored) = (engine.dir.path().join("backup"), engine.dir.path().join("restored"));
    engine.hub.backup(&backup).unwrap();
    for _ in 0..2 {
        let told = refusal(&backup);
        assert!(told.contains("is a backup") && told.contains("luytred restore"), "{told}");
        let report = verify(&backup, |_| ()).unwrap();
        assert!(report.is_clean(), "{:?}", report.differences);
        hub::restore(&backup, &restored, engine.clock.as_ref()).unwrap();
        let options = Options { data_dir: restored.clone(), ..engine.options.clone() };
        Hub::open(options).unwrap().close().await;
        fs::remove_dir_all(&restored).unwrap();
    }
    engine.close().await;
}

/// A clock that copies what lies on the disk whenever it is asked.
#[derive(Debug)]
struct Camera {
    of: PathBuf,
    to: PathBuf,
}

impl Clock for Camera {
    fn now(&self) -> Timestamp {
        copy(&self.of, &self.to);
        Timestamp::from_micros_clamped(START)
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
}

/// Directories under `path` that look like a hub.
fn hubs(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in list(path) {
        let path = path.join(name);
        if path.is_dir() {
            found.extend(path.join("CURRENT").exists().then(|| path.clone()));
            found.extend(hubs(&path));
        }
    }
    found
}

#[tokio::test]
async fn a_restore_that_stops_before_its_epoch_begins_leaves_nothing_that_serves() {
    let engine = Engine::new();
    let backup = engine.dir.path().join("backup");
    engine.hub.backup(&backup).unwrap();
    let (of, to) = (engine.dir.path().join("machine"), engine.dir.path().join("stopped"));
    fs::create_dir(&of).unwrap();
    let restored = of.join("restored");
    // The time is asked when all is copied, just before the epoch begins.
    hub::restore(&backup, &restored, &Camera { of, to: to.clone() }).unwrap();
    assert!(!to.join("restored").exists(), "the place is empty until the hub is whole");
    let halves = hubs(&to);
    assert_eq!(halves.len(), 1, "{halves:?}");
    for half in halves {
        let told = refusal(&half);
        assert!(told.contains("is a backup"), "{told}");
    }
    let options = Options { data_dir: restored, ..engine.options.clone() };
    Hub::open(options).unwrap().close().await;
    engine.close().await;
}
