//! Promises of a hub whose certificates have all ended: it starts, takes
//! nobody, and its machine's operator brings it back.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use luytre::base::clock::{Clock as _, SystemClock, Timestamp};
use luytre::base::files;
use luytre::base::secret::Secret;
use luytre::hub::{Hub, Issuance, Operator, Options};
use luytre::model::principal::{Role, SpiffeId};
use luytre::pki::authority::Generation;
use luytre::pki::directory::{CLIENT_CA, CLIENT_CRL, Directory, SERVER_CA};
use luytre::pki::issue::{DAY, Leaf, lifetime};
use luytre::pki::key::Key;
use luytre::pki::pem;
use luytre::pki::schedule;
use luytre::pki::signing::Signer as _;
use luytre::signer::{Profile, Vault};
use luytre::wire::proto::v1;
use luytre::wire::proto::v1::{RotationPhase as Phase, RotationStep as Step};
use uuid::Uuid;

use crate::harness::clock::Hands;
use crate::harness::hub::TRUST_DOMAIN;
use crate::harness::issuing::{Issuing, request};
use crate::harness::rotating::{CLIENT, SERVER, id};
use crate::harness::{Credentials, TestHub, eventually};

const FEED: &str = "system/feed";
/// From where systems enrol.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn now() -> Timestamp {
    SystemClock.now()
}

/// The four files of a hub, and who is a client of it.
const FILES: [&str; 4] = ["server.pem", "server.key", CLIENT_CA, CLIENT_CRL];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in FILES {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

#[tokio::test]
async fn a_hub_whose_files_have_all_ended_starts_closed_and_a_reload_of_new_ones_opens_it() {
    let mut hub = TestHub::builder().principal("a", FEED, &[Role::Subscriber]).prepare();
    let (files, sound, ended) = (hub.dir().join("pki"), hub.dir().join("sound"), hub.dir().join("ended"));
    copy(&files, &sound);
    // The authorities, the hub's certificate and the list of three years ago.
    let then = now().saturating_sub(DAY * 3 * 365);
    let old = Directory::init(&ended, TRUST_DOMAIN, then, lifetime::REVOCATION_LIST).unwrap();
    let leaf = Leaf::Server { dns: vec!["localhost".to_owned()], ip: vec![Ipv4Addr::LOCALHOST.into()] };
    old.issue(&leaf, "server", then, lifetime::SERVER).unwrap();
    let feed = Leaf::Client(SpiffeId::parse(&hub.spiffe("a", FEED)).unwrap());
    let written = old.issue(&feed, "feed", then, lifetime::CLIENT).unwrap();
    copy(&ended, &files);

    hub.serve().await;
    assert!(hub.log().contains("nobody is served until the certificates are put right"), "{}", hub.log());
    let (status, told) = hub.get("/readyz").await;
    assert!(status == 503 && told.contains("luytred reload"), "{status} {told}");
    let credentials = Credentials { certificate: written.certificate, key: written.key };
    for peer in [hub.peer("a", FEED), hub.peer_with("a", FEED, &credentials)] {
        peer.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap_err();
    }
    // The machine's operator is answered, and what has ended stays out.
    let still = hub.operate(&["reload"]);
    assert_eq!(still.status.code(), Some(65), "{still:?}");
    assert!(hub.operate(&["clock", "show"]).status.success());
    hub.backup("while-closed");

    copy(&sound, &files);
    let done = hub.operate(&["reload"]);
    assert!(done.status.success(), "{done:?}");
    hub.peer("a", FEED).directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    hub.peer_with("a", FEED, &credentials).directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap_err();
    assert_eq!(hub.get("/readyz").await.0, 200);
    assert!(hub.terminate().await.success());
}

/// What the signer's keys are encrypted with.
fn passphrase(hub: &Issuing) -> Secret<Vec<u8>> {
    Secret::new(fs::read(hub.dir().join("passphrase")).unwrap())
}

/// Authorities as they were made at `then`, in place of those that `hub` has.
fn made_at(hub: &Issuing, then: Timestamp) {
    let (ca, keys) = (hub.dir().join("ca"), hub.dir().join("keys"));
    for made in [&ca, &keys] {
        fs::remove_dir_all(made).unwrap();
    }
    let list = lifetime::REVOCATION_LIST;
    let made = Directory::init_under(&ca, TRUST_DOMAIN, then, list, Some(passphrase(hub))).unwrap();
    made.export_for_signer(&keys).unwrap();
}

/// Without the authorities of files.
fn alone(hub: &Issuing) {
    let config = hub.dir().join("hub.toml");
    let text = fs::read_to_string(&config).unwrap();
    let kept = text.lines().filter(|line| !line.starts_with("client_c"));
    fs::write(&config, kept.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

/// The hub as it was at `then`: it begins with its authorities, and enrols a
/// system.
async fn lived(hub: &Issuing, then: Timestamp) -> Credentials {
    let (clock, state) = (Arc::new(Hands::new(then.as_micros())), hub.dir().join("signer-state"));
    files::create_private_dir(&state).unwrap();
    let profile = Profile::new(TRUST_DOMAIN.to_owned(), BTreeSet::new());
    let (keys, journal) = (hub.dir().join("keys"), state.join("journal"));
    let vault = Vault::open(&keys, passphrase(hub), &journal, profile, Arc::clone(&clock) as _).unwrap();
    let held = vault.authorities().unwrap();
    let roots = pem::certificates(&fs::read(hub.dir().join("ca").join(SERVER_CA)).unwrap()).unwrap();
    let issuance = Issuance {
        signer: Arc::new(vault),
        roots: roots.into(),
        canary: "canary.localhost".into(),
        lifetime: lifetime::CLIENT,
        soak: Duration::ZERO,
    };
    let options =
        Options { data_dir: hub.data_dir(), machine: clock, issuance: Some(issuance), ..Options::default() };
    let engine = tokio::task::spawn_blocking(move || Hub::open(options)).await.unwrap().unwrap();
    for authority in held {
        let first = Generation::from_der(0, authority.certificate).unwrap();
        engine.begin_hierarchy(authority.hierarchy, first).await.unwrap();
    }
    let (machine, holder) = (Operator::Machine, SpiffeId::parse(&hub.spiffe("a", FEED)).unwrap());
    let made = engine.make_token(machine, Uuid::new_v4(), holder, Duration::ZERO, String::new());
    let (token, secret) = made.await.unwrap();
    engine.approve_token(machine, Uuid::new_v4(), token.id).await.unwrap();
    let key = Key::for_leaf().unwrap();
    let issued = engine.enrol(HERE, &secret.unwrap(), &request(&key), || ()).await.unwrap();
    engine.close().await;
    let chain = vec![issued.certificate.der.clone().into()];
    hub.keep("of-then", &v1::IssuedCertificate { chain, ..Default::default() }, &key)
}

/// A token that the machine's operator makes and approves by himself.
async fn token(hub: &Issuing) -> String {
    let asked = v1::IssueEnrollmentTokenRequest {
        request_id: id(),
        spiffe_id: hub.spiffe("a", FEED),
        ..Default::default()
    };
    let made = hub.machine().issue_enrollment_token(asked).await.unwrap().into_inner();
    let name = made.enrollment_token.unwrap().name;
    let approved = v1::ApproveEnrollmentTokenRequest { request_id: id(), name };
    hub.machine().approve_enrollment_token(approved).await.unwrap();
    made.token
}

/// Enrols as soon as the hub has something to show.
async fn enrolled(hub: &Issuing, token: &str, key: &Key) -> v1::IssuedCertificate {
    eventually("it enrols", async || hub.enrol(token, request(key)).await.ok()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_authorities_have_ended_too_the_machines_operator_rotates_them_and_all_come_back() {
    for order in [[CLIENT, SERVER], [SERVER, CLIENT]] {
        let builder = TestHub::builder().principal("a", FEED, &[Role::Subscriber]);
        let mut hub = builder.prepare_issuing("soak = \"0s\"\n");
        let then = now().saturating_sub(lifetime::ISSUING + DAY * 2);
        made_at(&hub, then);
        alone(&hub);
        let ended = lived(&hub, then.saturating_add(DAY)).await;
        hub.sign().await;
        hub.serve().await;

        let who = async |credentials: &Credentials| {
            hub.peer_with("a", FEED, credentials).directory().who_am_i(v1::WhoAmIRequest {}).await
        };
        who(&ended).await.unwrap_err();
        let (status, told) = hub.get("/readyz").await;
        assert!(status == 503, "{told}");
        assert_eq!(hub.certificates_of("a", FEED).await.len(), 1);
        assert_eq!(hub.phase(CLIENT).await, Phase::Stable);
        let early = token(&hub).await;
        let key = Key::for_leaf().unwrap();
        hub.enrol(&early, request(&key)).await.unwrap_err();

        hub.ready_next(&order, "before").await;
        for hierarchy in order {
            hub.take(hierarchy, Step::Prepare).await;
            hub.take(hierarchy, Step::Activate).await;
            if hierarchy == SERVER {
                hub.take(hierarchy, Step::Switch).await;
            }
        }
        // What has ended stands in nobody's way, retired or not.
        let issued = enrolled(&hub, &early, &key).await;
        let renewed = hub.keep("renewed", &issued, &key);
        let peer = hub.peer_with("a", FEED, &renewed);
        peer.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
        for hierarchy in order {
            hub.take(hierarchy, Step::Taint).await;
            hub.take(hierarchy, Step::Retire).await;
        }
        peer.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
        let ended = hub.peer_with("a", FEED, &ended);
        ended.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap_err();
        assert_eq!(hub.get("/readyz").await.0, 200);

        // And it stays so.
        hub.restart().await;
        peer.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
        hub.terminate().await;
        hub.verify();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_while_the_hub_runs_gives_way_to_the_next_all_the_same() {
    let builder = TestHub::builder().principal("a", FEED, &[Role::Subscriber]);
    let mut hub = builder.prepare_issuing("soak = \"0s\"\n");
    // What an authority signs ends five minutes before it, so all of that ends
    // in some seconds, the hub's own certificate among it.
    let end = now().saturating_add(schedule::AUTHORITY_MARGIN + Duration::from_secs(20));
    made_at(&hub, end.saturating_sub(lifetime::ISSUING));
    alone(&hub);
    hub.sign().await;
    hub.serve().await;
    eventually("the hub's certificate has ended", async || (hub.get("/readyz").await.0 == 503).then_some(()))
        .await;

    hub.ready_next(&[CLIENT, SERVER], "before").await;
    for hierarchy in [CLIENT, SERVER] {
        hub.take(hierarchy, Step::Prepare).await;
        hub.take(hierarchy, Step::Activate).await;
    }
    hub.take(SERVER, Step::Switch).await;
    let (token, key) = (token(&hub).await, Key::for_leaf().unwrap());
    let issued = enrolled(&hub, &token, &key).await;
    let peer = hub.peer_with("a", FEED, &hub.keep("new", &issued, &key));
    peer.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    assert_eq!(hub.get("/readyz").await.0, 200);
}
