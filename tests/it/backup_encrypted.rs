//! A backup with a passphrase is one file that tells nobody anything without
//! it, that comes back whole or not at all, and that leaves nothing behind.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use luytre::base::files;
use luytre::hub::genesis;
use luytre::model::principal::Role;
use luytre::store::{Store, Tuning};
use luytre::wire::proto::v1;
use uuid::Uuid;

use crate::harness::peer::{batch, draft, value_of};
use crate::harness::{Builder, TestHub};

const VALUE: &str = "very-secret-indicator.encrypted.example";

fn builder() -> Builder {
    TestHub::builder().principal("a", "system/feed", &[Role::Publisher, Role::Analyst, Role::Subscriber])
}

async fn publish(hub: &TestHub, value: &str) {
    let request = batch(Uuid::new_v4(), vec![draft(value)]);
    hub.peer("a", "system/feed").exchange().publish_indicators(request).await.unwrap();
}

async fn listed(hub: &TestHub) -> BTreeSet<String> {
    let request = v1::ListIndicatorsRequest { page_size: 1000, ..Default::default() };
    let page = hub.peer("a", "system/feed").exchange().list_indicators(request).await.unwrap().into_inner();
    page.indicators.iter().map(value_of).collect()
}

/// A file with a passphrase, which only its owner can read.
fn passphrase(hub: &TestHub, name: &str, text: &str) -> String {
    let path = hub.dir().join(name);
    if !path.try_exists().unwrap() {
        files::write_new(&path, text.as_bytes(), 0o400).unwrap();
    }
    path.to_str().unwrap().to_owned()
}

fn right(hub: &TestHub) -> String {
    passphrase(hub, "passphrase", "sáu con ngựa vằn\n")
}

/// Backs up what does not run into the file `name`.
fn back_up(hub: &TestHub, name: &str) -> PathBuf {
    let to = hub.dir().join(name);
    let done = hub.luytred(&["backup", "--to", to.to_str().unwrap(), "--passphrase-file", &right(hub)]);
    assert!(done.status.success(), "{}", said(&done));
    to
}

fn restore(from: &Path, to: &Path, passphrase: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_luytred"));
    command.arg("restore").arg("--from").arg(from).arg("--to").arg(to).args(passphrase).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn refused(output: &Output, code: i32, because: &str) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(because), "{because}: {said}");
    assert!(output.stdout.is_empty());
}

/// Names in a directory, hidden ones too.
fn list(path: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(path).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_hub_comes_back_from_one_encrypted_file() {
    let mut hub = builder().start().await;
    publish(&hub, VALUE).await;
    right(&hub);
    let (before, to) = (list(hub.dir()), hub.dir().join("day.age"));
    let done = hub.operate(&["backup", "--to", to.to_str().unwrap(), "--passphrase-file", &right(&hub)]);
    assert!(done.status.success(), "{}", said(&done));
    assert!(said(&done).contains("luytred restore --from"), "{}", said(&done));
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o7777, 0o600);
    let new = list(hub.dir());
    assert_eq!(new.difference(&before).collect::<Vec<_>>(), ["day.age"], "the plain copy is gone");
    assert!(hub.log().contains("backup asked for"), "the hub made it");

    publish(&hub, "later.encrypted.example").await;
    hub.terminate().await;
    fs::rename(hub.data_dir(), hub.dir().join("data.before")).unwrap();
    let script = "exec 3< \"$1\"; exec \"$0\" restore --from \"$2\" --to \"$3\" --passphrase-fd 3";
    let restored = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_luytred"), &right(&hub)])
        .args([&to, &hub.data_dir()])
        .output()
        .unwrap();
    assert!(restored.status.success(), "{}", said(&restored));
    hub.verify();
    hub.serve().await;
    assert_eq!(listed(&hub).await, BTreeSet::from([VALUE.to_owned()]));
    hub.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_backup_holds_nothing_that_can_be_read() {
    let mut hub = builder().start().await;
    publish(&hub, VALUE).await;
    let plain = hub.backup("plain");
    hub.terminate().await;
    let sealed = fs::read(back_up(&hub, "day.age")).unwrap();
    let store = Store::open_read_only(&plain, &Tuning::default()).unwrap();
    let genesis = genesis::read(&store).unwrap();
    drop(store);
    let (mut found, mut blocks) = ([false; 2], HashSet::new());
    for name in list(&plain) {
        let content = fs::read(plain.join(&name)).unwrap();
        for (found, secret) in found.iter_mut().zip([VALUE.as_bytes(), genesis.seal_key.expose()]) {
            *found |= holds(&content, secret);
            assert!(!holds(&sealed, secret));
        }
        assert!(!holds(&sealed, name.as_bytes()), "{name}");
        blocks.extend(content.as_chunks::<16>().0.iter().copied());
    }
    assert_eq!(found, [true; 2], "both are in a plain backup");
    let shared = sealed.windows(16).filter(|&window| blocks.contains(window)).count();
    assert_eq!(shared, 0, "sixteen bytes are alike");
}

#[test]
fn what_is_not_whole_or_not_opened_by_the_passphrase_leaves_nothing_behind() {
    let hub = builder().prepare();
    let (backup, right) = (back_up(&hub, "day.age"), right(&hub));
    let wrong = passphrase(&hub, "wrong", "bảy con ngựa vằn\n");
    let whole = fs::read(&backup).unwrap();
    let changed = |at: usize| {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        changed
    };
    let stanza = whole.windows(3).position(|window| window == b"-> ").unwrap();
    let length = whole.len();
    // After the header and a nonce come pieces of 64 KiB, each with a tag.
    let payload = whole.windows(5).position(|window| window == b"\n--- ").unwrap() + 1;
    let payload = payload + whole[payload..].iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let piece = payload + 16 + 65_536 + 16;
    assert!(length > piece + 16, "{length} bytes are not several pieces");
    let second_line = whole.iter().position(|&byte| byte == b'\n').unwrap();
    let cases: [(&str, Vec<u8>, &str, i32, &str); 12] = [
        ("the wrong passphrase", whole.clone(), &wrong, 65, "does not open"),
        ("a byte in the middle", changed(length / 2), &right, 70, "damaged"),
        ("the last byte", changed(length - 1), &right, 70, "damaged"),
        ("the header", changed(stanza + 12), &right, 65, ""),
        ("half of it", whole[..length / 2].to_vec(), &right, 70, "damaged"),
        ("all but the last piece", whole[..piece].to_vec(), &right, 70, "damaged"),
        ("all but a byte", whole[..length - 1].to_vec(), &right, 70, "damaged"),
        ("its header alone", whole[..second_line + 20].to_vec(), &right, 70, "damaged"),
        ("one byte more", [&whole[..], b"x"].concat(), &right, 70, "damaged"),
        ("a text", b"not a backup at all, but a text".to_vec(), &right, 65, "no encrypted backup"),
        ("nothing", Vec::new(), &right, 65, "no encrypted backup"),
        (
            "other work",
            {
                let at = whole.windows(3).position(|window| window == b" 18").unwrap();
                [&whole[..at], b" 40", &whole[at + 3..]].concat()
            },
            &right,
            65,
            "more work",
        ),
    ];
    let place = hub.dir().join("place");
    fs::create_dir(&place).unwrap();
    let (from, to) = (place.join("from.age"), place.join("store"));
    for (what, content, passphrase, code, because) in cases {
        fs::write(&from, content).unwrap();
        let output = restore(&from, &to, &["--passphrase-file", passphrase]);
        assert_eq!(output.status.code(), Some(code), "{what}: {}", said(&output));
        assert!(said(&output).contains(because), "{what}: {}", said(&output));
        assert_eq!(list(&place), BTreeSet::from(["from.age".to_owned()]), "{what}");
    }
    assert!(restore(&backup, &to, &["--passphrase-file", &right]).status.success());
}

#[test]
fn a_backup_and_a_restore_say_what_they_need() {
    let hub = builder().prepare();
    let (backup, right) = (back_up(&hub, "day.age"), right(&hub));
    let before = fs::read(&backup).unwrap();
    let to = |name: &str| hub.dir().join(name).to_str().unwrap().to_owned();
    let with = |words: &[&str]| hub.luytred(&[&["backup"], words].concat());
    refused(&with(&["--to", &to("day.age"), "--passphrase-file", &right]), 73, "exists already");
    assert_eq!(fs::read(&backup).unwrap(), before);
    refused(&with(&["--to", &to("other.age")]), 64, "--ask-passphrase");
    refused(&with(&["--to", &to("other.age"), "--passphrase-file", &to("absent")]), 65, "cannot read");
    refused(&with(&["--to", &to("absent/other.age"), "--passphrase-file", &right]), 66, "absent/other.age");
    let binary = hub.dir().join("binary");
    files::write_new(&binary, &[0xff, 0xfe], 0o400).unwrap();
    refused(&with(&["--to", &to("other.age"), "--passphrase-file", &to("binary")]), 65, "UTF-8");
    let scratch = ["--to", &to("other.age"), "--passphrase-file", &right, "--scratch", &to("absent")];
    refused(&with(&scratch), 74, "--scratch DIR");
    let plain = hub.dir().join("plain");
    assert!(with(&["--to", plain.to_str().unwrap()]).status.success());
    let store = hub.dir().join("store");
    refused(&restore(&backup, &store, &[]), 64, "--ask-passphrase");
    refused(&restore(&plain, &store, &["--passphrase-file", &right]), 64, "is a directory");
    refused(&restore(&backup, &hub.dir().join("plain"), &["--passphrase-file", &right]), 73, "not empty");
    let verified =
        Command::new(env!("CARGO_BIN_EXE_luytred")).args(["verify", "--data"]).arg(&backup).output();
    refused(&verified.unwrap(), 65, "luytred restore --from");
    assert!(!list(hub.dir()).iter().any(|name| name.starts_with('.') || name.starts_with("other")));
}

#[test]
fn what_a_killed_backup_left_is_removed_by_the_next_and_told() {
    let hub = builder().prepare();
    let left = hub.dir().join(".data.backup");
    files::create_private_dir(&left.join("0123/copy")).unwrap();
    fs::write(left.join("0123/copy/CURRENT"), "").unwrap();
    let at_work = files::lock(&left.join("lock")).unwrap().unwrap();
    let (to, right) = (hub.dir().join("day.age"), right(&hub));
    let words = ["backup", "--to", to.to_str().unwrap(), "--passphrase-file", &right];
    refused(&hub.luytred(&words), 75, "another backup is being made");
    assert!(left.join("0123/copy/CURRENT").try_exists().unwrap());
    drop(at_work);
    let done = hub.luytred(&words);
    assert!(done.status.success() && said(&done).contains("of a backup that was killed"), "{}", said(&done));
    assert!(!left.try_exists().unwrap());
}
