//! Promises of `luytre cert`, `certs` and `ca` against the real hub and its
//! signer: what an agency and an operator type.

use std::process::{Command, Output, Stdio};

use luytre::model::principal::Role;

use crate::harness::TestHub;
use crate::harness::issuing::Issuing;

const FEED: &str = "spiffe://test.luytre.example/org/a/system/feed";

async fn started() -> Issuing {
    TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher, Role::Subscriber])
        .start_issuing()
        .await
}

/// Runs `luytre` with the files and the hub of a system.
fn luytre(hub: &Issuing, words: &[&str]) -> (i32, String, String) {
    let at = |name: &str| hub.dir().join(name);
    let ended: Output = Command::new(env!("CARGO_BIN_EXE_luytre"))
        .args(["--server-name", "localhost", "--hub", &hub.grpc().to_string()])
        .args(["--ca".as_ref(), at("my-ca.pem").as_os_str()])
        .args(["--cert".as_ref(), at("me.pem").as_os_str()])
        .args(["--key".as_ref(), at("me.key").as_os_str()])
        .args(words)
        // The profile of whoever runs the tests does not count.
        .env_remove("LUYTRE_PROFILE")
        .env("HOME", "/nonexistent")
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (ended.status.code().unwrap(), text(&ended.stdout), text(&ended.stderr))
}

/// Runs `luytre` as the operator of the hub's machine.
fn operator(hub: &Issuing, words: &[&str]) -> (i32, String, String) {
    let socket = hub.data_dir().join("admin.sock").display().to_string();
    luytre(hub, &[words, &["--socket", &socket]].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_enrols_by_its_token_alone_and_is_out_when_it_is_revoked() {
    let hub = started().await;
    let token = hub.token("a", "system/feed").await;
    let file = hub.dir().join("token");
    std::fs::write(&file, token).unwrap();
    let (at, file) = (hub.enrolment().to_string(), file.display().to_string());

    let (code, _, told) = luytre(&hub, &["cert", "enrol", "--enrol-at", &at, "--token-file", &file]);
    assert_eq!(code, 0, "{told}");
    let (code, me, told) = luytre(&hub, &["whoami", "--format", "jsonl"]);
    assert_eq!(code, 0, "{told}");
    let me: serde_json::Value = serde_json::from_str(&me).unwrap();
    assert_eq!((me["identity"].as_str(), me["key_exchange"].as_str()), (Some(FEED), Some("X25519MLKEM768")));

    // Nothing is due yet, and the hub says so too.
    let (code, _, told) = luytre(&hub, &["cert", "agent", "--once"]);
    assert_eq!(code, 0, "{told}");
    let (code, _, told) = luytre(&hub, &["cert", "renew"]);
    assert!(code == 75 && told.contains("RENEWAL_TOO_EARLY"), "{code} {told}");

    let (code, listed, told) = operator(&hub, &["certs", "list", "--format", "jsonl"]);
    assert_eq!(code, 0, "{told}");
    assert!(listed.contains(FEED), "{listed}");
    let serial = me["certificate_serial"].as_str().unwrap();
    let (code, shown, told) = operator(&hub, &["certs", "revoke", &serial[..12], "--reason", "stolen"]);
    assert!(code == 0 && shown.contains("revoked"), "{code} {shown} {told}");
    let (code, _, told) = luytre(&hub, &["whoami"]);
    assert_eq!(code, 77, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_machines_operator_makes_tokens_and_reads_where_the_authorities_stand() {
    let hub = started().await;
    let (code, token, told) = operator(&hub, &["certs", "token", "issue", FEED, "--hours", "2"]);
    assert!(code == 0 && token.starts_with("luytre-enrol-1."), "{code} {told}");
    assert!(!told.contains(token.trim()), "a token is told once");
    let (code, listed, told) = operator(&hub, &["certs", "token", "list", "--format", "jsonl"]);
    assert_eq!(code, 0, "{told}");
    let listed: serde_json::Value = serde_json::from_str(listed.trim()).unwrap();
    assert_eq!((listed["identity"].as_str(), listed["state"].as_str()), (Some(FEED), Some("pending")));
    let (code, _, told) = operator(&hub, &["certs", "token", "cancel", listed["id"].as_str().unwrap()]);
    assert_eq!(code, 0, "{told}");

    let (code, status, told) = operator(&hub, &["ca", "status"]);
    assert!(code == 0 && status.contains("client: stable"), "{code} {status} {told}");
    let (code, _, told) = operator(&hub, &["ca", "retire", "client", "--dry-run"]);
    assert!(told.contains("in the way") || code == 65, "{code} {told}");
}
