//! How much of everything there is, and how it ends.

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use luytre::server::handshake::Refused;
use luytre::server::listener::{Drained, Limits};
use luytre::server::sever::Cause;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tonic::Code;

use super::abuse::bare_http2;
use super::support::{Credential, Hub, check, eventually, reason, within};

#[tokio::test]
async fn idle_sockets_of_one_source_do_not_take_every_handshake() {
    let limits = Limits { max_handshakes_per_source: 8, ..Limits::default() };
    let hub = Hub::limited(limits).await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(TcpStream::connect(hub.address).await.unwrap());
    }
    hub.eventually_refused(Refused::SourceSaturated, 12).await;
    assert_eq!(hub.connections.total(), 8);
    drop(idle);
    eventually("all are gone", || hub.connections.total() == 0).await;
    hub.assert_serves(&hub.good_client()).await;
}

#[tokio::test]
async fn a_handshake_waits_its_turn_behind_the_others() {
    let limits = Limits {
        max_handshakes: 1,
        handshake_deadline: Duration::from_millis(200),
        handshake_queue: Duration::from_secs(10),
        ..Limits::default()
    };
    let hub = Hub::limited(limits).await;
    let _stalled = stalled(&hub).await;
    hub.assert_serves(&hub.good_client()).await;
    hub.eventually_refused(Refused::Timeout, 1).await;
}

#[tokio::test]
async fn a_handshake_that_would_wait_too_long_is_refused() {
    let limits =
        Limits { max_handshakes: 1, handshake_queue: Duration::from_millis(50), ..Limits::default() };
    let hub = Hub::limited(limits).await;
    let _stalled = stalled(&hub).await;
    assert!(hub.tls(&hub.good_client()).await.is_err());
    hub.eventually_refused(Refused::HandshakesSaturated, 1).await;
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_makes_way_for_the_next() {
    let hour = Duration::from_secs(60 * 60);
    let limits = Limits {
        max_handshakes: 1,
        handshake_deadline: hour,
        handshake_queue: hour,
        handshake_grace: Duration::from_millis(50),
        ..Limits::default()
    };
    let hub = Hub::limited(limits).await;
    let mut stalled = stalled(&hub).await;
    hub.assert_serves(&hub.good_client()).await;
    hub.eventually_refused(Refused::Displaced, 1).await;
    let _ = within(stalled.read_to_end(&mut Vec::new())).await;
}

/// What a client says first, who is good so far.
pub fn client_hello(hub: &Hub) -> Vec<u8> {
    let config = hub.pki.client_config(&hub.good_client());
    let name = rustls::pki_types::ServerName::try_from(super::support::NAME).unwrap();
    let mut hello = Vec::new();
    rustls::ClientConnection::new(config, name).unwrap().write_tls(&mut hello).unwrap();
    hello
}

/// A client that says hello and leaves the hub waiting for the rest.
async fn stalled(hub: &Hub) -> TcpStream {
    let mut tcp = TcpStream::connect(hub.address).await.unwrap();
    tcp.write_all(&client_hello(hub)).await.unwrap();
    // The hub's part of the handshake shows that it has begun.
    within(tcp.read_exact(&mut [0; 5])).await.unwrap();
    tcp
}

/// A connection that says nothing, from an address of the loopback network.
async fn silent(hub: &Hub, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(hub.address).await.unwrap()
}

#[tokio::test]
async fn silent_sockets_take_no_handshake_from_those_who_speak() {
    let limits = Limits { max_handshakes: 1, handshake_queue: Duration::ZERO, ..Limits::default() };
    let hub = Hub::limited(limits).await;
    let mut flood = Vec::new();
    for number in 0..20 {
        flood.push(silent(&hub, [127, 0, 1, number]).await);
    }
    eventually("the silent ones are in", || hub.connections.total() == 20).await;
    hub.assert_serves(&hub.good_client()).await;
}

#[tokio::test]
async fn silent_sockets_take_no_place_from_those_who_are_served() {
    let limits = Limits { max_connections: 2, ..Limits::default() };
    let hub = Hub::limited(limits).await;
    let mut member = hub.client(&hub.good_client());
    check(&mut member).await.unwrap();
    let mut flood = Vec::new();
    for number in 0..20 {
        flood.push(silent(&hub, [127, 0, 1, number]).await);
    }
    eventually("the silent ones are in", || hub.connections.total() == 21).await;
    hub.assert_serves(&hub.good_client()).await;
    check(&mut member).await.unwrap();
}

#[tokio::test]
async fn a_good_client_gets_in_through_a_flood_of_silent_sockets() {
    let limits = Limits { max_pending: 8, max_handshakes_per_source: 4, ..Limits::default() };
    let hub = Hub::limited(limits).await;
    let mut member = hub.client(&hub.good_client());
    check(&mut member).await.unwrap();
    let mut flood = Vec::new();
    for number in 0..40 {
        flood.push(silent(&hub, [127, 0, 1, number]).await);
    }
    hub.eventually_refused(Refused::Displaced, 32).await;
    assert_eq!(hub.connections.total(), 9);
    hub.assert_serves(&hub.good_client()).await;
    check(&mut member).await.unwrap();
    // The oldest went first, and was closed.
    let read = within(flood[0].read(&mut [0; 1])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_those_within_it_served() {
    let hub = Hub::limited(Limits { max_connections: 1, ..Limits::default() }).await;
    let mut first = hub.client(&hub.good_client());
    check(&mut first).await.unwrap();
    assert!(hub.tls(&hub.good_client()).await.is_err());
    hub.eventually_refused(Refused::ConnectionsSaturated, 1).await;
    check(&mut first).await.unwrap();
}

#[tokio::test]
async fn a_drained_listener_ends_idle_connections_and_takes_no_more() {
    let hub = Hub::start().await;
    let mut client = hub.client(&hub.good_client());
    check(&mut client).await.unwrap();
    let address = hub.address;
    hub.begin_drain();
    assert_eq!(hub.drained().await, Drained { cut: 0 });
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_call_that_ends_in_time_is_not_cut_by_the_drain() {
    let hub = Hub::start().await;
    let mut client = hub.client(&hub.good_client());
    let mut stream = hub.watch(&mut client).await;
    hub.begin_drain();
    let address = hub.address;
    within(async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The stream still delivers after the listener is closed.
    hub.health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    assert!(within(stream.message()).await.unwrap().is_some());
    drop((stream, client));
    assert_eq!(hub.drained().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_call_that_outlives_the_drain_is_told_to_come_back() {
    let hub = Hub::limited(Limits { drain_deadline: Duration::from_millis(100), ..Limits::default() }).await;
    let mut client = hub.client(&hub.good_client());
    let mut stream = hub.watch(&mut client).await;
    hub.begin_drain();
    let status = within(stream.message()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "DRAINING"));
    let severed = hub.callers.lock()[0].severed.clone();
    assert_eq!(hub.drained().await, Drained { cut: 1 });
    assert!(!severed.is_cancelled(), "a drain says nothing about the certificate");
}

#[tokio::test]
async fn a_peer_that_ignores_the_drain_is_cut_off() {
    let limits = Limits {
        drain_deadline: Duration::from_millis(50),
        sever_grace: Duration::from_millis(50),
        ..Limits::default()
    };
    let hub = Hub::limited(limits).await;
    let mut stream = bare_http2(&hub, &hub.good_client()).await;
    eventually("it is served", || hub.connections.live() == 1).await;
    hub.begin_drain();
    assert_eq!(hub.drained().await, Drained { cut: 1 });
    let _ = within(stream.read_to_end(&mut Vec::new())).await;
}

#[tokio::test]
async fn a_connection_past_its_age_is_renewed_and_its_streams_told_to_come_back() {
    let limits = Limits {
        max_age: Some(Duration::from_millis(100)),
        age_grace: Duration::from_millis(100),
        ..Limits::default()
    };
    let hub = Hub::limited(limits).await;
    let mut client = hub.client(&hub.good_client());
    let mut stream = hub.watch(&mut client).await;
    let status = within(stream.message()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "DRAINING"));
    assert_eq!(hub.connections.counters().ended(Cause::Aged), 1);
    check(&mut client).await.unwrap();
    assert_eq!(hub.connections.counters().served(), 2);
}

/// Where a child process of this binary keeps its files; unset in the parent.
const CHILD: &str = "LUYTRE_IT_CHILD";

fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).env(CHILD, dir);
    command.stdout(std::process::Stdio::null());
    command
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn exists(dir: &Path, name: &str) -> bool {
    dir.join(name).try_exists().unwrap()
}

#[tokio::test]
async fn running_out_of_descriptors_pauses_the_listener_and_it_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut running = Running(child("tls::limits::child_with_few_descriptors", dir).spawn().unwrap());
    eventually("the child listens", || exists(dir, "address")).await;
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    let address: std::net::SocketAddr = String::from_utf8(read("address")).unwrap().parse().unwrap();
    let credential = Credential {
        chain: vec![read("leaf").into()],
        key: luytre::base::secret::Secret::new(PrivateKeyDer::try_from(read("key")).unwrap()),
    };
    let config = luytre::pki::tls::client_config(vec![read("root").into()], credential.identity()).unwrap();

    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    eventually("the child ran out", || exists(dir, "ran-out")).await;
    drop(idle);
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from(super::support::NAME).unwrap();
    within(tokio_rustls::TlsConnector::from(config).connect(name, tcp))
        .await
        .expect("served once there is room");

    std::fs::write(dir.join("stop"), "").unwrap();
    eventually("the child ended", || running.0.try_wait().unwrap().is_some()).await;
    let errors: u64 = String::from_utf8(read("errors")).unwrap().parse().unwrap();
    // A loop without pauses would count many thousands in the same time.
    assert!((1..200).contains(&errors), "{errors} failures to accept");
}

#[tokio::test]
#[ignore = "the other half of running_out_of_descriptors_pauses_the_listener_and_it_recovers"]
async fn child_with_few_descriptors() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let dir = Path::new(&dir);
    let limits = Limits { hello_deadline: Duration::from_secs(60), ..Limits::default() };
    let hub = Hub::limited(limits).await;
    let client = hub.good_client();
    std::fs::write(dir.join("root"), hub.pki.server_root.certificate()).unwrap();
    std::fs::write(dir.join("leaf"), &client.chain[0]).unwrap();
    std::fs::write(dir.join("key"), client.key.expose().secret_der()).unwrap();
    let open = u64::try_from(std::fs::read_dir("/proc/self/fd").unwrap().count()).unwrap();
    let limit = rustix::process::Rlimit { current: Some(open + 20), maximum: Some(open + 20) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    std::fs::write(dir.join("address.new"), hub.address.to_string()).unwrap();
    std::fs::rename(dir.join("address.new"), dir.join("address")).unwrap();
    let counters = hub.connections.counters();
    eventually("it runs out", || counters.accept_errors() > 0).await;
    // Making a file needs a descriptor, a directory does not.
    std::fs::create_dir(dir.join("ran-out")).unwrap();
    eventually("it is told to stop", || exists(dir, "stop")).await;
    std::fs::write(dir.join("errors"), counters.accept_errors().to_string()).unwrap();
}

#[tokio::test]
async fn a_key_log_that_the_environment_asks_for_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("keys.log");
    let mut command = child("tls::limits::child_with_a_key_log", dir.path());
    let mut running = Running(command.env("SSLKEYLOGFILE", &log).spawn().unwrap());
    eventually("the child ended", || running.0.try_wait().unwrap().is_some()).await;
    assert!(exists(dir.path(), "served"), "the child shook hands");
    assert!(!log.try_exists().unwrap(), "secrets were written to {}", log.display());
}

#[tokio::test]
#[ignore = "the other half of a_key_log_that_the_environment_asks_for_is_not_written"]
async fn child_with_a_key_log() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let hub = Hub::start().await;
    hub.assert_serves(&hub.good_client()).await;
    std::fs::write(Path::new(&dir).join("served"), "").unwrap();
}
