//! Promises of a rotation through crashes: whatever dies, it goes on from
//! where it was, and nothing is signed twice.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use luytre::pki::identity;
use luytre::pki::key::Key;
use luytre::pki::signing::{Signed, Signer as _};
use luytre::signer::Remote;
use luytre::wire::proto::v1;
use luytre::wire::proto::v1::{RotationPhase as Phase, RotationStep as Step};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::system::NAME;
use super::{hub_of, organisations};
use crate::harness::issuing::{Issuing, request};
use crate::harness::rotating::{CLIENT, SERVER, renew};
use crate::harness::{TestHub, eventually};

/// What the signer wrote down must hold no serial number twice, and for each
/// authority no list number twice and none that falls. Returns how many
/// leaves and lists there are.
async fn check_journal(hub: &Issuing, socket: &str) -> (usize, usize) {
    let remote = Remote::new(hub.dir().join(socket));
    let (mut serials, mut numbers, mut lists, mut after) = (BTreeSet::new(), BTreeMap::new(), 0, 0);
    loop {
        let asked = remote.clone();
        let records = tokio::task::spawn_blocking(move || asked.journal(after)).await.unwrap().unwrap();
        let Some(last) = records.last() else { return (serials.len(), lists) };
        after = last.number;
        for record in records {
            match record.signed {
                Signed::Leaf { certificate } => {
                    let serial = identity::parse(&certificate).unwrap().raw_serial().to_vec();
                    assert!(serials.insert(serial), "record {} gives a serial twice", record.number);
                }
                Signed::List { authority, number, .. } => {
                    let before = numbers.insert(authority, number);
                    assert!(before.is_none_or(|before| before < number), "list {number} after {before:?}");
                    lists += 1;
                }
            }
        }
    }
}

/// Kills the hub, starts it again, and looks whether it stands where it stood.
async fn survives(hub: &mut Issuing, hierarchy: v1::Hierarchy) {
    let before = hub.rotation(hierarchy).await;
    hub.kill9();
    hub.serve().await;
    let after = hub.rotation(hierarchy).await;
    // Going from prepared to distributed takes nobody's word.
    if (before.phase(), after.phase()) != (Phase::Prepared, Phase::Distributed) {
        assert_eq!((before.phase, before.etag), (after.phase, after.etag));
    }
    let name = |authority: Option<v1::Authority>| authority.map(|authority| authority.name);
    assert_eq!((name(before.current), name(before.next)), (name(after.current), name(after.next)));
}

/// Runs `luytre cert agent --once` with the files of a system.
fn agent(hub: &Issuing, organisation: &str) {
    let stem = hub.dir().join("enrolled").join(format!("{organisation}-system-feed"));
    let done = Command::new(env!("CARGO_BIN_EXE_luytre"))
        .args(["cert", "agent", "--once", "--server-name", "localhost", "--hub", &hub.grpc().to_string()])
        .args(["--ca".as_ref(), hub.server_ca().as_os_str()])
        .args(["--cert".as_ref(), stem.with_extension("pem").as_os_str()])
        .args(["--key".as_ref(), stem.with_extension("key").as_os_str()])
        .env_remove("LUYTRE_PROFILE")
        .env("HOME", "/nonexistent")
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_phase_leaves_the_rotation_where_it_was() {
    let names = organisations(1);
    let mut hub = hub_of(&names).await;
    let mut peer = hub.peer_with(&names[0], NAME, &hub.enrolled(&names[0], NAME).await);
    peer.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    for hierarchy in [SERVER, CLIENT] {
        hub.ready_next(&[hierarchy], if hierarchy == SERVER { "first" } else { "second" }).await;
        let steps: &[_] = if hierarchy == SERVER {
            &[Step::Prepare, Step::Activate, Step::Switch, Step::Taint, Step::Retire]
        } else {
            &[Step::Prepare, Step::Activate, Step::Taint, Step::Retire]
        };
        for step in steps {
            if (hierarchy, *step) == (SERVER, Step::Activate) {
                // As an agency does, with the product's own agent.
                let proved = async || {
                    agent(&hub, &names[0]);
                    (hub.phase(SERVER).await == Phase::Distributed).then_some(())
                };
                eventually("the trust is proved", proved).await;
            }
            if (hierarchy, *step) == (CLIENT, Step::Retire) {
                let key = Key::for_leaf().unwrap();
                let issued = renew(peer.channel(), &key).await.unwrap();
                peer = hub.peer_with(&names[0], NAME, &hub.keep("renewed", &issued, &key));
                peer.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
            }
            hub.take(hierarchy, *step).await;
            survives(&mut hub, hierarchy).await;
            peer.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
        }
        assert_eq!(hub.phase(hierarchy).await, Phase::Stable);
    }
    let (leaves, lists) = check_journal(&hub, "signer.sock").await;
    assert!(leaves >= 6 && lists >= 2, "{leaves} {lists}");
    hub.terminate().await;
    hub.verify();
}

/// Stands between the hub and the signer; what the signer answers is lost
/// while `lossy`.
async fn lose_answers(between: UnixListener, signer: std::path::PathBuf, lossy: Arc<AtomicBool>) {
    while let Ok((mut hub, _)) = between.accept().await {
        let (signer, lossy) = (signer.clone(), Arc::clone(&lossy));
        tokio::spawn(async move {
            let Ok(mut signer) = UnixStream::connect(signer).await else { return };
            let mut head = [0; 5];
            if hub.read_exact(&mut head).await.is_err() {
                return;
            }
            let mut order = vec![0; u32::from_be_bytes(head[..4].try_into().unwrap()) as usize];
            let asked = hub.read_exact(&mut order).await;
            let told = [head.as_slice(), &order].concat();
            if asked.is_err() || signer.write_all(&told).await.is_err() {
                return;
            }
            let mut length = [0; 4];
            if signer.read_exact(&mut length).await.is_err() {
                return;
            }
            let mut answer = length.to_vec();
            answer.resize(4 + u32::from_be_bytes(length) as usize, 0);
            if signer.read_exact(&mut answer[4..]).await.is_err() {
                return;
            }
            if !lossy.load(Ordering::SeqCst) {
                let _ = hub.write_all(&answer).await;
            }
        });
    }
}

/// A hub that serves, and whose signer's answers can be lost.
struct Relayed {
    hub: Issuing,
    /// Where the signer is.
    behind: std::path::PathBuf,
    lossy: Arc<AtomicBool>,
    relay: tokio::task::JoinHandle<()>,
}

async fn relayed() -> Relayed {
    use luytre::model::principal::Role;
    let mut hub =
        TestHub::builder().principal("a", NAME, &[Role::Subscriber]).prepare_issuing("soak = \"0s\"\n");
    // The signer at another place, and the one that loses answers at its own.
    let config = hub.dir().join("signer.toml");
    let text = std::fs::read_to_string(&config).unwrap().replace("signer.sock", "behind.sock");
    std::fs::write(&config, text).unwrap();
    let (between, behind) = (hub.dir().join("signer.sock"), hub.dir().join("behind.sock"));
    let lossy = Arc::new(AtomicBool::new(false));
    let listener = UnixListener::bind(between).unwrap();
    let relay = tokio::spawn(lose_answers(listener, behind.clone(), Arc::clone(&lossy)));
    hub.sign().await;
    eventually("the signer listens", async || UnixStream::connect(&behind).await.ok()).await;
    hub.serve().await;
    Relayed { hub, behind, lossy, relay }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_signed_and_never_answered_is_not_signed_twice() {
    let Relayed { mut hub, behind, lossy, relay } = relayed().await;

    let token = hub.token("a", NAME).await;
    let (lost, key) = (Key::for_leaf().unwrap(), Key::for_leaf().unwrap());
    let journal = check_journal(&hub, "behind.sock").await;
    lossy.store(true, Ordering::SeqCst);
    let unanswered = hub.enrol(&token, request(&lost)).await.unwrap_err();
    assert_eq!(unanswered.code(), tonic::Code::Unavailable, "{unanswered:?}");
    // A list whose answer is lost, and the signer dies on top of it.
    let monitor = hub.certificates().await.into_iter().find(|c| c.revoke_time.is_none()).unwrap();
    hub.revoke(&monitor.name).await;
    let signed = async || {
        let (leaves, lists) = check_journal(&hub, "behind.sock").await;
        (leaves > journal.0 && lists > journal.1).then_some(())
    };
    eventually("both are in the journal", signed).await;
    hub.kill_signer();
    hub.kill9();
    lossy.store(false, Ordering::SeqCst);
    hub.sign().await;
    eventually("the signer listens", async || UnixStream::connect(&behind).await.ok()).await;
    hub.serve().await;

    // The token is as good as before: nothing was issued for it.
    let issued = hub.enrol(&token, request(&key)).await.unwrap();
    let peer = hub.peer_with("a", NAME, &hub.keep("a", &issued, &key));
    peer.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    assert_eq!(hub.certificates_of("a", NAME).await.len(), 1);
    eventually("it is listed", async || hub.listed().await.contains(&monitor.serial).then_some(())).await;
    check_journal(&hub, "behind.sock").await;
    hub.terminate().await;
    hub.verify();
    relay.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_answer_was_lost_is_followed_by_the_next_without_a_restart() {
    let Relayed { hub, lossy, relay, .. } = relayed().await;
    hub.enrolled("a", NAME).await;
    let certificate = hub.certificates_of("a", NAME).await.pop().unwrap();
    let (_, before) = check_journal(&hub, "behind.sock").await;
    lossy.store(true, Ordering::SeqCst);
    hub.revoke(&certificate.name).await;
    eventually("a list is in the journal", async || {
        (check_journal(&hub, "behind.sock").await.1 > before).then_some(())
    })
    .await;
    assert!(!hub.listed().await.contains(&certificate.serial), "nobody heard of it");
    lossy.store(false, Ordering::SeqCst);
    eventually("it is listed", async || hub.listed().await.contains(&certificate.serial).then_some(())).await;
    check_journal(&hub, "behind.sock").await;
    relay.abort();
}
