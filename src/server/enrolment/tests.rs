//! What the listener for enrolment promises of the time that a stranger has.

use std::net::{IpAddr, Ipv4Addr};

use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

use super::*;
use crate::base::clock::SystemClock;
use crate::hub::Options;
use crate::model::roster::Roster;
use crate::server::handshake::Refused;

const LONG: Duration = Duration::from_secs(60 * 60);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn hub() -> (TempDir, Arc<Hub>) {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    Hub::init(&data_dir, Roster::default(), "test.example", &SystemClock).unwrap();
    let hub = Hub::open(Options { data_dir, ..Options::default() }).unwrap();
    (dir, hub)
}

/// What a hub shows to strangers; nobody gets as far as to judge it.
fn greeting() -> Arc<ServerConfig> {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    Arc::new(config.with_single_cert(vec![certificate.der().clone()], key).unwrap())
}

/// A client that says hello and goes no further.
async fn stalled(address: std::net::SocketAddr) -> TcpStream {
    use tokio::io::AsyncWriteExt as _;
    let config = rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("hub.test").unwrap();
    let mut hello = Vec::new();
    rustls::ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut hello).unwrap();
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(&hello).await.unwrap();
    tcp.read_exact(&mut [0; 5]).await.unwrap();
    tcp
}

/// One visit, of a client that says hello and goes no further.
async fn visited(
    known: bool,
    patience: Patience,
) -> (impl Future<Output = Result<(), &'static str>>, Arc<Connections>, TcpStream, TempDir) {
    let (dir, hub) = hub();
    let tcp = TcpListener::bind((HERE, 0)).await.unwrap();
    let client = tokio::spawn(stalled(tcp.local_addr().unwrap()));
    let (stream, _) = tcp.accept().await.unwrap();
    let limits = Limits { max_pending: 1, handshake_grace: Duration::ZERO, ..limits() };
    let connections = Arc::new(Connections::new(&limits));
    let place = connections.admit(HERE, &limits).unwrap();
    let stranger = Stranger { source: HERE, admitted: CancellationToken::new() };
    let admitted = stranger.admitted.clone();
    let visit = tokio::spawn(visit(stream, place, greeting(), enrolment::routes(hub), stranger, patience));
    let client = client.await.unwrap();
    if known {
        admitted.cancel();
    }
    (async { visit.await.unwrap() }, connections, client, dir)
}

#[tokio::test]
async fn whoever_shows_no_token_has_little_time() {
    let patience = Patience { hello: LONG, request: Duration::from_millis(100), deadline: LONG };
    let (visit, connections, mut client, _dir) = visited(false, patience).await;
    assert_eq!(visit.await, Err("no token that is known came in time"));
    assert_eq!(connections.total(), 0);
    let _ = client.read_to_end(&mut Vec::new()).await;
}

#[tokio::test]
async fn whoever_says_no_hello_has_the_least() {
    let (_dir, hub) = hub();
    let tcp = TcpListener::bind((HERE, 0)).await.unwrap();
    let _client = TcpStream::connect(tcp.local_addr().unwrap()).await.unwrap();
    let (stream, _) = tcp.accept().await.unwrap();
    let place = Arc::new(Connections::new(&limits())).admit(HERE, &limits()).unwrap();
    let stranger = Stranger { source: HERE, admitted: CancellationToken::new() };
    let patience = Patience { hello: Duration::from_millis(50), request: LONG, deadline: LONG };
    let visit = visit(stream, place, greeting(), enrolment::routes(hub), stranger, patience);
    assert_eq!(visit.await, Err("no hello came in time"));
}

#[tokio::test]
async fn whoever_stalls_makes_way_for_a_newcomer() {
    let patience = Patience { hello: LONG, request: LONG, deadline: LONG };
    let (visit, connections, _client, _dir) = visited(false, patience).await;
    let limits = Limits { max_pending: 1, ..limits() };
    let newcomer = connections.admit(HERE, &limits).unwrap();
    assert_eq!(visit.await, Err("it did not go on while others came"));
    assert_eq!(connections.total(), 1);
    drop(newcomer);
}

#[tokio::test]
async fn whoever_has_shown_a_known_token_keeps_its_place_to_the_end() {
    let patience = Patience { hello: LONG, request: LONG, deadline: Duration::from_millis(500) };
    let (visit, connections, _client, _dir) = visited(true, patience).await;
    let limits = Limits { max_pending: 1, ..limits() };
    // The token is shown in the middle of the work on it.
    tokio::task::yield_now().await;
    assert_eq!(connections.admit(HERE, &limits).unwrap_err(), Refused::HandshakesSaturated);
    assert_eq!(visit.await, Err("it took too long"));
    assert_eq!(connections.total(), 0);
}
