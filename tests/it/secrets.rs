//! The promise that a secret stays where it belongs: whatever hub and signer
//! leave behind holds no private key, no enrolment token and no passphrase.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use luytre::base::digest::sha256;
use luytre::base::secret::Secret;
use luytre::model::principal::Role;
use luytre::pki::key::Key;
use luytre::pki::{encrypted, pem};
use luytre::wire::proto::v1;

use crate::harness::TestHub;
use crate::harness::issuing::{Issuing, request};
use crate::harness::rotating::{id, renew};
use crate::harness::secrets::Left;

const FEED: &str = "system/feed";

/// Files that hold keys or the passphrase because that is what they are for.
fn is_kept_secret(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "key") || path.ends_with("passphrase")
}

/// The secret numbers of all private keys below `directory`.
fn keys(directory: &Path, passphrase: &[u8]) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut keys, mut directories) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = directories.pop() {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|ending| ending == "key") {
                let text = fs::read(&path).unwrap();
                let plain = if encrypted::is_encrypted(&text) {
                    let passphrase = Secret::new(passphrase.to_vec());
                    encrypted::read(&text, &passphrase).unwrap().to_pem().as_bytes().to_vec()
                } else {
                    text
                };
                keys.push((path, number(&plain)));
            }
        }
    }
    keys
}

/// The secret number of a key on P-256 or P-384: the string of 32 or 48 octets
/// behind the version (RFC 5915, section 3). The version is sought too, or a
/// key that has a tag and a length among its random bytes is read wrongly.
fn number(plain: &[u8]) -> Vec<u8> {
    const VERSION: [u8; 3] = [0x02, 0x01, 0x01];
    let der = pem::private_key(plain).unwrap();
    let der = der.expose().secret_der();
    let behind = |length: u8| {
        let start = [VERSION.as_slice(), &[0x04, length]].concat();
        let at = der.windows(start.len()).position(|found| found == start)? + start.len();
        Some(der[at..at + usize::from(length)].to_vec())
    };
    behind(48).or_else(|| behind(32)).unwrap()
}

/// The random part of a token.
fn secret(token: &str) -> Vec<u8> {
    let part = token.split('.').nth(1).unwrap();
    let secret = URL_SAFE_NO_PAD.decode(part).unwrap();
    assert_eq!(secret.len(), 32);
    secret
}

/// Where the store of a hub's directory is: beside what says which is current.
pub(crate) fn store_in(directory: &Path) -> PathBuf {
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        if directory.join("CURRENT").is_file() {
            return directory;
        }
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        directories.extend(entries.filter(|path| path.is_dir()));
    }
    panic!("there is no store in {}", directory.display());
}

async fn pending(hub: &Issuing) -> String {
    let asked = v1::IssueEnrollmentTokenRequest {
        request_id: id(),
        spiffe_id: hub.spiffe("b", FEED),
        note: "by phone".to_owned(),
        ..Default::default()
    };
    hub.machine().issue_enrollment_token(asked).await.unwrap().into_inner().token
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_left_behind_holds_a_private_key_or_an_enrolment_token() {
    let mut hub = TestHub::builder()
        .principal("a", FEED, &[Role::Subscriber])
        .principal("b", FEED, &[Role::Subscriber])
        .config("[log]\nfilter = \"trace\"")
        .prepare_issuing("soak = \"0s\"\n");
    let config = hub.dir().join("signer.toml");
    let mut signer = fs::File::options().append(true).open(config).unwrap();
    writeln!(signer, "[log]\nfilter = \"trace\"").unwrap();
    hub.sign().await;
    hub.serve().await;

    // Used, used again with another key, waiting, cancelled by a restore, and
    // one that the hub never made.
    let used = hub.token("a", FEED).await;
    let (key, thief) = (Key::for_leaf().unwrap(), Key::for_leaf().unwrap());
    let issued = hub.enrol(&used, request(&key)).await.unwrap();
    hub.enrol(&used, request(&thief)).await.unwrap_err();
    hub.enrol(&used, b"no request".to_vec()).await.unwrap_err();
    let (ready, waiting) = (hub.token("b", FEED).await, pending(&hub).await);
    hub.enrol(&waiting, request(&thief)).await.unwrap_err();
    let mut foreign = used.clone().into_bytes();
    foreign[20] = if foreign[20] == b'A' { b'B' } else { b'A' };
    let foreign = String::from_utf8(foreign).unwrap();
    hub.enrol(&foreign, request(&thief)).await.unwrap_err();
    hub.enrol(&used[..30], request(&thief)).await.unwrap_err();
    let peer = hub.peer_with("a", FEED, &hub.keep("a", &issued, &key));
    peer.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    renew(peer.channel(), &thief).await.unwrap_err();
    let certificate = hub.certificates_of("a", FEED).await.pop().unwrap();
    hub.revoke(&certificate.name).await;

    let backup = hub.backup("backup");
    hub.kill9();
    hub.kill_signer();
    hub.sign().await;
    hub.serve().await;
    hub.kill9();
    hub.restore(&backup);
    hub.serve().await;
    hub.terminate().await;
    hub.kill_signer();

    let log = hub.log() + &hub.signer_log();
    assert!(log.contains("TRACE") && log.contains("enrolment token refused"));
    assert!(hub.signer_log().contains("certificate signed"));
    let passphrase = fs::read(hub.dir().join("passphrase")).unwrap();
    let keys = keys(hub.dir(), &passphrase);
    assert!(keys.len() >= 12, "{} keys", keys.len());
    let stores = [backup, hub.data_dir()].map(|place| Left::of_store(&store_in(&place)));
    for left in stores.iter().chain([&Left::read(hub.dir(), is_kept_secret)]) {
        for (path, number) in &keys {
            assert_eq!(left.holds(number), None, "the key {}", path.display());
        }
        assert_eq!(left.holds(&passphrase), None, "the passphrase");
        for token in [&used, &ready, &waiting, &foreign] {
            assert_eq!(left.holds(token.as_bytes()), None, "a token");
            assert_eq!(left.holds(&secret(token)), None, "a token's secret");
        }
    }
    // The search finds what is there: of a token its digest, of a key its
    // public half.
    for store in stores {
        for token in [&used, &ready, &waiting] {
            assert!(store.holds(&sha256(&secret(token))).is_some());
        }
    }
    let journal = Left::read(&hub.dir().join("signer-state"), |_| false);
    assert!(journal.holds(&key.public_key()[30..]).is_some());
}
