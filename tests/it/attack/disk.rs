//! The thief of the disk: he has every file of a hub's store, or of a backup,
//! and not the passphrases.

use std::fs;

use luytre::pki::pem;

use super::{READER, SECRET, hide};
use crate::harness::TestHub;
use crate::harness::secrets::Left;

async fn stolen() -> TestHub {
    let mut hub = TestHub::builder().principal("a", "system/feed", &READER).organisation("c").start().await;
    hide(&hub).await;
    hub.terminate().await;
    hub
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_store_holds_no_private_key_of_hub_or_member() {
    let hub = stolen().await;
    let store = Left::of_store(&hub.data_dir());
    let credentials = hub.credentials("a", "system/feed");
    for key in [credentials.key, hub.dir().join("pki/server.key")] {
        let der = pem::private_key(&fs::read(&key).unwrap()).unwrap();
        let whole = der.expose().secret_der();
        assert_eq!(store.holds(&whole[whole.len() / 4..whole.len() / 2]), None, "{}", key.display());
    }
    // What does not hold, and is said so: the store itself is not encrypted.
    assert!(store.holds(SECRET.as_bytes()).is_some(), "the file system is to be encrypted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_backup_is_worth_nothing_without_its_passphrase() {
    let hub = stolen().await;
    let passphrase = hub.dir().join("backup.passphrase");
    luytre::base::files::write_new(&passphrase, "tre già măng mọc\n".as_bytes(), 0o400).unwrap();
    let file = hub.dir().join("day.age");
    let words = ["backup", "--to", file.to_str().unwrap(), "--passphrase-file", passphrase.to_str().unwrap()];
    let done = hub.luytred(&words);
    assert!(done.status.success(), "{done:?}");
    let sealed = fs::read(&file).unwrap();
    for secret in [SECRET, "hidden-words", "system/feed"] {
        assert!(!sealed.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
    let wrong = hub.dir().join("wrong.passphrase");
    luytre::base::files::write_new(&wrong, "bảy con ngựa vằn\n".as_bytes(), 0o400).unwrap();
    let target = hub.dir().join("restored");
    let restored = std::process::Command::new(env!("CARGO_BIN_EXE_luytred"))
        .args(["restore", "--from", file.to_str().unwrap(), "--to", target.to_str().unwrap()])
        .args(["--passphrase-file", wrong.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(!restored.status.success() && !target.exists(), "{restored:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_written_to_behind_the_hubs_back_is_found_out() {
    let hub = stolen().await;
    assert!(hub.luytred(&["verify"]).status.success());
    let (tables, logs) = (hub.files("sst"), hub.files("log"));
    let file = tables.iter().chain(&logs).max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(file, bytes).unwrap();
    assert!(!hub.luytred(&["verify"]).status.success(), "{}", file.display());
}
