//! Promises of a hub that issues certificates, of what it does not do: it
//! renews for nobody who is out, revokes nothing that never was, and neither
//! gives up nor runs hot when something fails.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use luytre::base::clock::{Clock as _, SystemClock};
use luytre::model::principal::Role;
use luytre::pki::directory::CLIENT_CRL;
use luytre::pki::key::Key;
use luytre::wire::proto::v1;
use luytre::wire::proto::v1::RotationStep as Step;
use luytre::wire::proto::v1::directory_service_client::DirectoryServiceClient;
use rustls::pki_types::ServerName;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use crate::harness::issuing::Issuing;
use crate::harness::listener::reason;
use crate::harness::rotating::{CLIENT, id, renew};
use crate::harness::{Peer, TestHub, eventually, luytre};

const FEED: &str = "system/feed";

async fn started() -> Issuing {
    TestHub::builder()
        .principal("a", FEED, &[Role::Publisher, Role::Subscriber])
        .principal("b", FEED, &[Role::Publisher, Role::Subscriber])
        .start_issuing()
        .await
}

async fn peer(hub: &Issuing, organisation: &str) -> Peer {
    hub.peer_with(organisation, FEED, &hub.enrolled(organisation, FEED).await)
}

/// Everybody may renew at once.
async fn taint(hub: &mut Issuing) {
    hub.ready_next(&[CLIENT], "before").await;
    for step in [Step::Prepare, Step::Activate, Step::Taint] {
        hub.take(CLIENT, step).await;
    }
}

/// A connection that is made once and never again.
fn once(hub: &Issuing, peer: &Peer) -> Channel {
    let (address, tls, made) = (hub.grpc(), peer.tls(), Arc::new(AtomicBool::new(false)));
    let connect = tower::service_fn(move |_: http::Uri| {
        let (tls, again) = (Arc::clone(&tls), made.swap(true, Ordering::SeqCst));
        async move {
            if again {
                return Err(std::io::Error::other("it was made once"));
            }
            let tcp = TcpStream::connect(address).await?;
            let name = ServerName::try_from("localhost").unwrap();
            TlsConnector::from(tls).connect(name, tcp).await.map(TokioIo::new)
        }
    });
    Endpoint::from_static("http://localhost").connect_with_connector_lazy(connect)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_organisation_renews_nothing_until_it_takes_part_again() {
    let mut hub = started().await;
    let a = peer(&hub, "a").await;
    let channel = a.channel();
    let mut me = DirectoryServiceClient::new(channel.clone());
    me.who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    taint(&mut hub).await;
    let day = SystemClock.now().day().to_string();
    let roster = async |what: &str| {
        let words = ["roster", what, "a", "--on", &day, "--basis", "QĐ 9"];
        luytre(&hub, "hub", "user/operator", &words).await.well()
    };

    roster("suspend").await;
    let key = Key::for_leaf().unwrap();
    let refused = renew(channel.clone(), &key).await.unwrap_err();
    // Unless the hub has looked over its connections meanwhile, and ended it.
    let why = reason(&refused).unwrap_or_else(|| "ORGANISATION_INACTIVE".to_owned());
    assert_eq!(why, "ORGANISATION_INACTIVE", "{refused:?}");
    a.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap_err();
    assert_eq!(hub.certificates_of("a", FEED).await.len(), 1);

    roster("resume").await;
    let again = eventually("it renews", async || renew(channel.clone(), &key).await.ok());
    assert_eq!(again.await.chain.len(), 1);
    assert_eq!(hub.certificates_of("a", FEED).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_renewed_over_a_connection_that_was_ended() {
    let mut hub = started().await;
    let (a, b) = (peer(&hub, "a").await, peer(&hub, "b").await);
    let (of_a, of_b) = (once(&hub, &a), once(&hub, &b));
    for channel in [&of_a, &of_b] {
        DirectoryServiceClient::new(channel.clone()).who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    }
    taint(&mut hub).await;
    let revoked = hub.certificates_of("a", FEED).await.pop().unwrap();
    hub.revoke(&revoked.name).await;
    let asked = v1::SeverConnectionsRequest {
        target: Some(v1::sever_connections_request::Target::SpiffeId(hub.spiffe("b", FEED))),
        ..Default::default()
    };
    let severed = hub.machine().sever_connections(asked).await.unwrap().into_inner();
    assert_eq!(severed.severed_count, 1, "{severed:?}");
    for (channel, organisation) in [(of_a, "a"), (of_b, "b")] {
        renew(channel, &Key::for_leaf().unwrap()).await.unwrap_err();
        assert_eq!(hub.certificates_of(organisation, FEED).await.len(), 1, "{organisation}");
    }
    // Who is not revoked comes back, and renews.
    renew(a.channel(), &Key::for_leaf().unwrap()).await.unwrap_err();
    renew(b.channel(), &Key::for_leaf().unwrap()).await.unwrap();
    assert_eq!(hub.certificates_of("a", FEED).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_has_one_name_and_what_has_none_keeps_no_list_from_being_signed() {
    let hub = started().await;
    let _feed = hub.enrolled("a", FEED).await;
    let real = hub.certificates_of("a", FEED).await.pop().unwrap();
    let (authority, serial) = real.name.rsplit_once('/').unwrap();
    let revoke = async |name: String| {
        let asked = v1::RevokeCertificateRequest {
            request_id: id(),
            name,
            reason: "stolen".to_owned(),
            descendants: false,
        };
        hub.machine().revoke_certificate(asked).await.unwrap_err()
    };
    for other in [format!("00{serial}"), serial.to_uppercase(), format!("0{serial}"), format!("{serial}0")] {
        if other == serial {
            continue;
        }
        let refused = revoke(format!("{authority}/{other}")).await;
        assert_eq!(refused.code(), Code::InvalidArgument, "{other}: {refused:?}");
    }
    let refused = revoke(format!("{authority}/1badc0de")).await;
    assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
    hub.revoke(&real.name).await;
    eventually("the list names it", async || hub.listed().await.contains(&real.serial).then_some(())).await;
    assert!(!hub.listed().await.contains("1badc0de"));
}

/// The value of a metric, by its whole name with labels.
async fn metric(hub: &Issuing, name: &str) -> u64 {
    let (_, text) = hub.get("/metrics").await;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_put_in_force_is_tried_again_until_it_can() {
    let hub = started().await;
    let _feed = hub.enrolled("a", FEED).await;
    let real = hub.certificates_of("a", FEED).await.pop().unwrap();
    let file = hub.dir().join("pki").join(CLIENT_CRL);
    let whole = fs::read(&file).unwrap();
    let (in_force, failures) =
        ("luytre_tls_revoked_certificates", "luytre_tls_reload_failures_total{reason=\"pem\"}");
    let before = metric(&hub, in_force).await;
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    hub.revoke(&real.name).await;
    eventually("it is tried", async || (metric(&hub, failures).await > 1).then_some(())).await;
    assert!(hub.listed().await.contains(&real.serial), "the list is signed");
    assert_eq!(metric(&hub, in_force).await, before);
    fs::write(&file, whole).unwrap();
    eventually("it is in force", async || (metric(&hub, in_force).await == before + 1).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_pauses_between_tries_however_much_changes_meanwhile() {
    let mut hub = started().await;
    let _feed = hub.enrolled("a", FEED).await;
    let real = hub.certificates_of("a", FEED).await.pop().unwrap();
    hub.kill_signer();
    // From now on a list is due that nobody signs.
    hub.revoke(&real.name).await;
    let tries = || -> Vec<OffsetDateTime> {
        let log = hub.log();
        let failed = log.lines().filter(|line| line.contains("trying again"));
        let moment = |line: &str| {
            let text = line.split_whitespace().next().unwrap();
            OffsetDateTime::parse(text, &Rfc3339).unwrap_or_else(|error| panic!("{line}: {error}"))
        };
        failed.map(moment).collect()
    };
    let mut tokens = 0;
    let tries = eventually("it tries again and again", async || {
        let asked = v1::IssueEnrollmentTokenRequest {
            request_id: id(),
            spiffe_id: hub.spiffe("b", FEED),
            ..Default::default()
        };
        tokens += usize::from(hub.machine().issue_enrollment_token(asked).await.is_ok());
        let tries = tries();
        (tries.len() >= 4).then_some(tries)
    })
    .await;
    for pair in tries.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_secs(2), "{tries:?}");
    }
    assert!(tokens > 3, "the ledger changed {tokens} times");
    // No number is drawn for each try either.
    let drawn = hub.rotation(CLIENT).await.current.unwrap().revocation_list_number;
    hub.sign().await;
    eventually("the list names it", async || hub.listed().await.contains(&real.serial).then_some(())).await;
    assert_eq!(hub.rotation(CLIENT).await.current.unwrap().revocation_list_number, drawn + 1);
}
