//! What happens to connections whose certificate is no longer good.

use std::time::Duration;

use luytre::base::clock::Clock as _;
use luytre::pki::issue::{DAY, Hierarchy};
use luytre::server::connections::Whose;
use luytre::server::handshake::Refused;
use luytre::server::listener::Limits;
use luytre::server::sever::Cause;
use rustls::AlertDescription;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

use super::support::{
    Credential, FEED, Hub, ManualClock, authority, check, client_leaf, crl, eventually, long_crl, odd_leaf,
    reason, within,
};

const OTHER: &str = "spiffe://hub.test/org/other/system/feed";

#[tokio::test]
async fn a_revoked_client_does_not_come_back() {
    let hub = Hub::start().await;
    let client = hub.good_client();
    hub.assert_serves(&client).await;
    hub.revoke(&client);
    let alert = hub.assert_refuses(&client, Refused::Revoked).await;
    assert_eq!(alert, AlertDescription::CertificateRevoked);
}

#[tokio::test]
async fn a_revocation_ends_the_open_streams_of_that_client_alone_and_says_why() {
    let hub = Hub::start().await;
    let (bad, good) = (hub.good_client(), client_leaf(&hub.pki.client, OTHER, hub.clock.now()));
    let (mut bad_calls, mut good_calls) = (hub.client(&bad), hub.client(&good));
    let mut bad_stream = hub.watch(&mut bad_calls).await;
    let mut good_stream = hub.watch(&mut good_calls).await;

    assert_eq!(hub.revoke(&bad), 1);
    let status = within(bad_stream.message()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "CERTIFICATE_REVOKED"));
    assert!(hub.callers.lock()[0].severed.is_cancelled());

    hub.health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    assert!(within(good_stream.message()).await.unwrap().is_some());
    check(&mut good_calls).await.unwrap();
    assert_eq!(hub.connections.counters().ended(Cause::Revoked), 1);
    eventually("only the good connection lives", || hub.connections.live() == 1).await;
}

#[tokio::test]
async fn a_client_that_ignores_the_goodbye_is_cut_off_and_sooner_if_it_is_revoked() {
    let (soon, late) = (Duration::from_millis(50), Duration::from_secs(60 * 60));
    for (cause, sever_grace, revoked_grace) in [(Cause::Revoked, late, soon), (Cause::Severed, soon, late)] {
        let hub = Hub::limited(Limits { sever_grace, revoked_grace, ..Limits::default() }).await;
        let client = hub.good_client();
        // A connection that answers nothing is such a client.
        let mut stream = super::abuse::bare_http2(&hub, &client).await;
        eventually("it is served", || hub.connections.live() == 1).await;
        assert_eq!(hub.connections.sever(Whose::Holder(&client.read().spiffe_id), cause), 1);
        eventually("it is gone", || hub.connections.total() == 0).await;
        let mut rest = Vec::new();
        let _ = within(stream.read_to_end(&mut rest)).await;
    }
    let Limits { sever_grace, revoked_grace, .. } = Limits::default();
    assert!(revoked_grace <= Duration::from_millis(500) && revoked_grace < sever_grace);
}

#[tokio::test]
async fn many_are_cut_at_once_though_they_are_told_one_after_the_other() {
    let hub = Hub::start().await;
    let clients: Vec<_> = (0..20).map(|_| hub.good_client()).collect();
    let mut calls: Vec<_> = clients.iter().map(|client| hub.client(client)).collect();
    let mut streams = Vec::new();
    for calls in &mut calls {
        streams.push(hub.watch(calls).await);
    }
    assert_eq!(hub.connections.sever(Whose::Holder(&clients[0].read().spiffe_id), Cause::Revoked), 20);
    assert!(hub.callers.lock().iter().all(|caller| caller.severed.is_cancelled()), "nothing is taken");
    hub.health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    for mut stream in streams {
        let status = within(stream.message()).await.expect_err("nothing more is delivered");
        assert_eq!(reason(&status), "CERTIFICATE_REVOKED");
    }
    eventually("all are gone", || hub.connections.total() == 0).await;
}

#[tokio::test]
async fn the_same_serial_of_another_authority_stays() {
    let now = luytre::base::clock::SystemClock.now();
    let (_, second) = authority(Hierarchy::Client, now);
    let hub = Hub::trusting(&[&second]).await;
    let serial = [0x11; 16];
    let with =
        |by| odd_leaf(by, |params| params.serial_number = Some(rcgen::SerialNumber::from_slice(&serial)));
    let (bad, good) = (with(&hub.pki.client), with(&second));
    let (mut bad_calls, mut good_calls) = (hub.client(&bad), hub.client(&good));
    let mut bad_stream = hub.watch(&mut bad_calls).await;
    let _good_stream = hub.watch(&mut good_calls).await;
    let severed = hub.reload(&[
        (&hub.pki.client, crl(&hub.pki.client, None, &[&serial], now)),
        (&second, crl(&second, None, &[], now)),
    ]);
    assert_eq!(severed, 1);
    assert!(within(bad_stream.message()).await.is_err());
    check(&mut good_calls).await.unwrap();
    hub.assert_serves(&good).await;
}

#[tokio::test]
async fn a_dropped_authority_takes_its_clients_with_it() {
    let now = luytre::base::clock::SystemClock.now();
    let (_, second) = authority(Hierarchy::Client, now);
    let hub = Hub::trusting(&[&second]).await;
    let client = client_leaf(&second, FEED, now);
    let mut calls = hub.client(&client);
    let mut stream = hub.watch(&mut calls).await;
    assert_eq!(hub.reload(&[(&hub.pki.client, crl(&hub.pki.client, None, &[], now))]), 1);
    let status = within(stream.message()).await.unwrap_err();
    assert_eq!(reason(&status), "CERTIFICATE_REVOKED");
    hub.assert_refuses(&client, Refused::UnknownIssuer).await;
}

#[tokio::test]
async fn a_new_authority_disturbs_nobody_and_its_clients_are_served() {
    let hub = Hub::start().await;
    let now = hub.clock.now();
    let mut calls = hub.client(&hub.good_client());
    let mut stream = hub.watch(&mut calls).await;
    let (_, second) = authority(Hierarchy::Client, now);
    let severed = hub.reload(&[
        (&hub.pki.client, crl(&hub.pki.client, None, &[], now)),
        (&second, crl(&second, None, &[], now)),
    ]);
    assert_eq!(severed, 0);
    hub.assert_serves(&client_leaf(&second, FEED, now)).await;
    hub.health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    assert!(within(stream.message()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_stream_ends_with_its_certificate_and_says_so() {
    let hub = Hub::start().await;
    let brief = odd_leaf(&hub.pki.client, |params| {
        params.not_after = time::OffsetDateTime::now_utc() + time::Duration::seconds(2);
    });
    let mut calls = hub.client(&brief);
    let mut stream = hub.watch(&mut calls).await;
    let status = within(stream.message()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "CERTIFICATE_EXPIRED"));
    assert_eq!(hub.connections.counters().ended(Cause::Expired), 1);
    hub.assert_refuses(&brief, Refused::Expired).await;
}

#[tokio::test]
async fn a_stale_revocation_list_stops_newcomers_and_leaves_open_streams() {
    let clock = ManualClock::shared();
    let hub = Hub::start_with(Limits::default(), clock.clone(), &[]).await;
    let long = odd_leaf(&hub.pki.client, |params| {
        params.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(90);
    });
    let mut calls = hub.client(&long);
    let mut stream = hub.watch(&mut calls).await;
    clock.forward(DAY * 8);
    hub.assert_refuses(&long, Refused::RevocationStale).await;
    hub.health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    assert!(within(stream.message()).await.unwrap().is_some());
    // A fresh list lets them in again.
    let now = clock.now();
    assert_eq!(hub.reload(&[(&hub.pki.client, crl(&hub.pki.client, None, &[], now))]), 0);
    hub.assert_serves(&long).await;
}

#[tokio::test]
async fn an_authority_that_expires_in_force_takes_nobody_any_more() {
    let clock = ManualClock::shared();
    let now = clock.now();
    let root = luytre::pki::issue::Authority::root(Hierarchy::Client, "test", now, DAY * 300).unwrap();
    let brief = root.issuing(Hierarchy::Client, "test", 2, now, DAY).unwrap();
    let hub = Hub::start_with(Limits::default(), clock.clone(), &[&brief]).await;
    // A leaf that outlives its authority, which `issue` would never sign.
    let leaf = odd_leaf(&brief, |params| {
        params.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(90);
    });
    let trusted = [(&hub.pki.client, long_crl(&hub.pki.client, now)), (&brief, long_crl(&brief, now))];
    assert_eq!(hub.reload(&trusted), 0);
    let mut calls = hub.client(&leaf);
    check(&mut calls).await.unwrap();
    clock.forward(DAY * 2);
    assert_eq!(hub.connections.sweep(&hub.snapshot.load(), clock.now()), 1);
    hub.assert_refuses(&leaf, Refused::Expired).await;
}

#[tokio::test]
async fn a_revocation_between_handshake_and_registration_is_found() {
    let hub = Hub::start().await;
    let client = hub.good_client();
    let name = rustls::pki_types::ServerName::try_from(super::support::NAME).unwrap();
    let mut session = rustls::ClientConnection::new(hub.pki.client_config(&client), name).unwrap();
    let mut tcp = tokio::net::TcpStream::connect(hub.address).await.unwrap();
    let mut flight = Vec::new();
    session.write_tls(&mut flight).unwrap();
    tcp.write_all(&flight).await.unwrap();
    while session.is_handshaking() {
        let mut answer = [0; 4096];
        let read = within(tcp.read(&mut answer)).await.unwrap();
        assert_ne!(read, 0, "the hub goes on");
        session.read_tls(&mut &answer[..read]).unwrap();
        session.process_new_packets().unwrap();
    }
    // The hub judges this handshake by the snapshot it began under; the
    // certificate is revoked before the client's last flight leaves.
    assert_eq!(hub.revoke(&client), 0, "there is nothing to sever yet");
    let mut flight = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut flight).unwrap();
    }
    tcp.write_all(&flight).await.unwrap();
    let counters = hub.connections.counters();
    eventually("it is found", || counters.ended(Cause::Revoked) == 1).await;
    assert_eq!((counters.served(), counters.refused(Refused::Revoked)), (1, 0));
    eventually("it is gone", || hub.connections.total() == 0).await;
}

#[tokio::test]
async fn snapshots_that_change_all_the_time_fail_no_handshake() {
    let hub = Hub::start().await;
    let now = hub.clock.now();
    let mut snapshots = Vec::new();
    for _ in 0..2 {
        hub.reload(&[(&hub.pki.client, crl(&hub.pki.client, None, &[], now))]);
        snapshots.push(hub.snapshot.load_full());
    }
    let clients: Vec<_> = (0..30).map(|_| hub.client(&hub.good_client())).collect();
    let calls = futures_util::future::join_all(
        clients.into_iter().map(|mut client| async move { check(&mut client).await }),
    );
    let storm = async {
        for snapshot in snapshots.iter().cycle() {
            hub.snapshot.store(std::sync::Arc::clone(snapshot));
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        results = calls => assert!(results.iter().all(Result::is_ok), "{results:?}"),
        () = storm => {}
    }
}

#[tokio::test]
async fn severing_ends_the_connections_that_are_meant_and_no_other() {
    let hub = Hub::start().await;
    let leaf =
        |id: &str| client_leaf(&hub.pki.client, &format!("spiffe://hub.test/org/{id}"), hub.clock.now());
    let credentials =
        [leaf("soc/system/feed"), leaf("soc/system/feed"), leaf("soc/user/lan"), leaf("cb/user/an")];
    let [bad, namesake, colleague, other] = &credentials;
    let mut calls: Vec<_> = credentials.iter().map(|credential| hub.client(credential)).collect();
    let mut streams = Vec::new();
    for calls in &mut calls {
        streams.push(hub.watch(calls).await);
    }
    let mut ended = async |index: usize| reason(&within(streams[index].message()).await.unwrap_err());

    let (id, holder) = (bad.certificate_id(), namesake.read().spiffe_id);
    let sever = |whose, cause| (hub.connections.count(whose), hub.connections.sever(whose, cause));
    assert_eq!(sever(Whose::Certificate(&id), Cause::Revoked), (1, 1));
    assert_eq!(hub.connections.sever(Whose::Certificate(&id), Cause::Revoked), 0);
    assert_eq!(ended(0).await, "CERTIFICATE_REVOKED");
    eventually("the bad one is gone", || hub.connections.live() == 3).await;
    let used: Vec<_> = hub.connections.in_use().into_iter().map(|used| used.certificate).collect();
    let mut left = [namesake, colleague, other].map(Credential::certificate_id);
    left.sort();
    assert_eq!(used, left);

    assert_eq!(sever(Whose::Holder(&holder), Cause::Superseded), (1, 1));
    assert_eq!(ended(1).await, "CERTIFICATE_SUPERSEDED");
    eventually("the namesake is gone", || hub.connections.live() == 2).await;
    assert_eq!(sever(Whose::Organisation(holder.org()), Cause::Inactive), (1, 1));
    assert_eq!(ended(2).await, "ORGANISATION_INACTIVE");
    eventually("the colleague is gone", || hub.connections.live() == 1).await;
    assert_eq!(sever(Whose::Authority(other.read().issuer), Cause::Severed), (1, 1));
    assert_eq!(ended(3).await, "DRAINING");
    eventually("all are gone", || hub.connections.live() == 0).await;
    assert_eq!(hub.connections.in_use(), []);
}
