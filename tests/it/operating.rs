//! Promises to the operators of certificates: what they do is done once, leaves
//! its trace, and tells what they have to know.

use std::process::{Command, Stdio};

use luytre::model::principal::Role;
use luytre::pki::key::Key;
use luytre::wire::proto::v1;
use luytre::wire::proto::v1::sever_connections_request::Target;
use luytre::wire::proto::v1::{RotationPhase as Phase, RotationStep as Step};

use crate::harness::issuing::Issuing;
use crate::harness::listener::reason;
use crate::harness::rotating::{CLIENT, id, renew};
use crate::harness::{Peer, TestHub, eventually};

const FEED: &str = "system/feed";

async fn started() -> Issuing {
    TestHub::builder()
        .principal("a", FEED, &[Role::Publisher, Role::Subscriber])
        .principal("hub", "user/lan", &[Role::Operator])
        .start_issuing()
        .await
}

/// A system with a certificate of the hub's own authority.
async fn peer(hub: &Issuing, organisation: &str, name: &str) -> Peer {
    hub.peer_with(organisation, name, &hub.enrolled(organisation, name).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_asked_for_once_more_gets_its_first_answer_whatever_came_after() {
    let mut hub = started().await;
    hub.ready_next(&[CLIENT], "before").await;
    let lan = peer(&hub, "hub", "user/lan").await;
    for mut operator in [lan.certificates(), hub.machine()] {
        let asked = hub.asked(CLIENT, Step::Prepare).await;
        let mut first = operator.rotate_authority(asked.clone()).await.unwrap().into_inner();
        assert_eq!(first.rotation.as_ref().unwrap().phase(), Phase::Prepared);
        let mut again = operator.rotate_authority(asked.clone()).await.unwrap().into_inner();
        without_what_moves(&mut first);
        without_what_moves(&mut again);
        assert_eq!(first, again);
        hub.take(CLIENT, Step::Activate).await;
        let late = operator.rotate_authority(asked.clone()).await.unwrap().into_inner().rotation.unwrap();
        let then = first.rotation.unwrap();
        assert_eq!((late.phase(), late.etag, late.since), (Phase::Prepared, then.etag, then.since));
        assert_eq!(hub.phase(CLIENT).await, Phase::Active, "nothing was done once more");

        // Another request is another step, and so is another step under the same name.
        for (other, why) in [
            (v1::RotateAuthorityRequest { request_id: id(), ..asked.clone() }, "ETAG_MISMATCH"),
            (v1::RotateAuthorityRequest { dry_run: true, ..asked.clone() }, "ETAG_MISMATCH"),
            (v1::RotateAuthorityRequest { etag: "77".to_owned(), ..asked.clone() }, "DUPLICATE_REQUEST_ID"),
        ] {
            let refused = operator.rotate_authority(other).await.unwrap_err();
            assert_eq!(reason(&refused).as_deref(), Some(why), "{refused:?}");
        }
        hub.take(CLIENT, Step::Rollback).await;
        eventually("it is over", async || (hub.phase(CLIENT).await == Phase::Stable).then_some(())).await;
        hub.next_generation("client");
        hub.backup(&id());
    }
    hub.terminate().await;
    hub.verify();
}

/// Leaves out what the hub goes on to issue and to sign beside a step.
fn without_what_moves(answer: &mut v1::RotateAuthorityResponse) {
    let rotation = answer.rotation.as_mut().unwrap();
    for authority in [&mut rotation.current, &mut rotation.next].into_iter().flatten() {
        authority.live_certificate_count = 0;
        authority.connection_count = 0;
        authority.revocation_list_number = 0;
        authority.revocation_list_next_update_time = None;
    }
}

/// Runs `luytre` over the hub's own socket: what it says to people.
fn luytre(hub: &Issuing, words: &[&str]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_luytre"))
        .args(words)
        .arg("--socket")
        .arg(hub.data_dir().join("admin.sock"))
        .env_remove("LUYTRE_PROFILE")
        .env("HOME", "/nonexistent")
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success(), "{told}");
    told
}

/// Whether the hub still serves whoever holds this.
async fn served(peer: &Peer) -> bool {
    peer.directory().who_am_i(v1::WhoAmIRequest {}).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_names_what_a_thief_may_have_renewed_and_takes_it_if_asked() {
    let mut hub = started().await;
    let stolen = peer(&hub, "a", FEED).await;
    assert!(served(&stolen).await);
    let first = hub.certificates_of("a", FEED).await.pop().unwrap();
    // So that it can be renewed at its age.
    hub.ready_next(&[CLIENT], "before").await;
    for step in [Step::Prepare, Step::Activate, Step::Taint] {
        hub.take(CLIENT, step).await;
    }
    let key = Key::for_leaf().unwrap();
    let issued = renew(stolen.channel(), &key).await.unwrap();
    let thief = hub.peer_with("a", FEED, &hub.keep("thief", &issued, &key));
    assert!(served(&thief).await);
    let used = async || hub.certificates_of("a", FEED).await.into_iter().find(|c| c.serial == issued.serial);
    eventually("its use is noted", async || used().await.filter(|c| c.first_use_time.is_some())).await;

    let done = hub.revoke(&first.name).await;
    let left: Vec<_> = done.descendants.iter().map(|c| (c.serial.as_str(), c.state())).collect();
    assert_eq!(left, [(issued.serial.as_str(), v1::CertificateState::Active)]);
    assert_eq!(done.revoked_count, 1);
    assert!(!served(&stolen).await && served(&thief).await);

    // As luytre certs revoke says.
    let told = luytre(&hub, &["certs", "revoke", &first.serial, "--reason", "as before"]);
    assert!(told.contains(&format!("renewed to {}, which is still taken", issued.serial)), "{told}");
    assert!(told.contains(&format!("luytre certs revoke {} --descendants", first.serial)), "{told}");
    let told = luytre(&hub, &["certs", "revoke", &first.serial, "--descendants", "--reason", "the thief's"]);
    assert!(!told.contains("still taken"), "{told}");
    assert!(!served(&thief).await);
    let states: Vec<_> = hub.certificates_of("a", FEED).await.iter().map(v1::Certificate::state).collect();
    assert_eq!(states, [v1::CertificateState::Revoked; 2]);
    hub.terminate().await;
    hub.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_ends_connections_leaves_who_whom_when_and_why() {
    let mut hub = started().await;
    let a = peer(&hub, "a", FEED).await;
    let mut first = a.directory();
    first.who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    let lan = peer(&hub, "hub", "user/lan").await;
    let asked = v1::SeverConnectionsRequest {
        target: Some(Target::SpiffeId(hub.spiffe("a", FEED))),
        request_id: id(),
        reason: "floods the hub".to_owned(),
    };
    let done = lan.certificates().sever_connections(asked.clone()).await.unwrap().into_inner();
    assert_eq!(done.severed_count, 1);
    // The client comes back, and a retry leaves it alone.
    let mut back = a.directory();
    back.who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    let again = lan.certificates().sever_connections(asked).await.unwrap().into_inner();
    assert_eq!(again.severed_count, 0);
    back.who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    let told = async |hub: &Issuing| {
        let shown = hub.certificates_of("a", FEED).await.pop().unwrap();
        assert_eq!(shown.state(), v1::CertificateState::Active);
        (shown.severer, shown.sever_reason, shown.sever_time.is_some())
    };
    let expected = (hub.spiffe("hub", "user/lan"), "floods the hub".to_owned(), true);
    assert_eq!(told(&hub).await, expected);
    let others = hub.certificates_of("hub", "user/lan").await.pop().unwrap();
    assert_eq!((others.sever_time, others.severer), (None, String::new()));

    let whole = v1::SeverConnectionsRequest {
        target: Some(Target::Organisation("organisations/a".to_owned())),
        reason: "moves to another line".to_owned(),
        ..Default::default()
    };
    hub.machine().sever_connections(whole).await.unwrap();
    let long = "x".repeat(1_025);
    let long = v1::SeverConnectionsRequest {
        target: Some(Target::Organisation("organisations/a".to_owned())),
        reason: long,
        ..Default::default()
    };
    let refused = hub.machine().sever_connections(long).await.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("FIELD_INVALID"), "{refused:?}");
    hub.restart().await;
    assert_eq!(told(&hub).await, (String::new(), "moves to another line".to_owned(), true));
    hub.terminate().await;
    hub.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_backup_counts_once_its_file_is_whole_and_after_a_restart() {
    let mut hub = started().await;
    hub.next_generation("client");
    hub.kill_signer();
    hub.sign().await;
    let blocked = async |hub: &Issuing| {
        let blockers = hub.dry_run(CLIENT, Step::Prepare).await.blockers;
        blockers.iter().any(|blocker| blocker.contains("backup"))
    };
    assert!(blocked(&hub).await);
    let passphrase = hub.dir().join("passphrase").display().to_string();
    let to = |name: &str| hub.dir().join(name).display().to_string();
    let nowhere = to("missing/backup.age");
    let failed = hub.luytred(&["backup", "--to", &nowhere, "--passphrase-file", &passphrase]);
    assert!(!failed.status.success());
    assert!(blocked(&hub).await, "there is no such file");
    let made = hub.luytred(&["backup", "--to", &to("backup.age"), "--passphrase-file", &passphrase]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(!blocked(&hub).await);
    hub.restart().await;
    assert!(!blocked(&hub).await, "it is in the log");
    hub.take(CLIENT, Step::Prepare).await;
    hub.terminate().await;
    hub.verify();
}
