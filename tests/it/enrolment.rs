//! Promises of the listener for enrolment to those who are honest, whatever
//! others do to it.

use std::io;
use std::net::Ipv4Addr;

use luytre::model::principal::Role;
use luytre::pki::key::Key;
use luytre::pki::pem;
use luytre::pki::tls::{FirstTrust, first_contact_config};
use luytre::pki::token::EnrolmentToken;
use luytre::wire::proto::v1;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::issuing::{Issuing, request};
use crate::harness::listener::reason;
use crate::harness::patience::patiently;
use crate::harness::{TestHub, eventually};

const FEED: &str = "system/feed";
/// Where everyone else calls from.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 3, 0, 9);
/// Most connections at once, in all and from one address.
const PLACES: (usize, usize) = (64, 16);

async fn started() -> Issuing {
    TestHub::builder().principal("a", FEED, &[Role::Subscriber]).start_issuing().await
}

/// Enrols honestly.
async fn enrol(hub: &Issuing, token: &str) -> Result<v1::IssuedCertificate, Status> {
    hub.enrol(token, request(&Key::for_leaf().unwrap())).await
}

/// One that says hello, hears the hub's answer, and goes no further; an error
/// where there is no answer.
async fn answered(hub: &Issuing, from: Ipv4Addr) -> io::Result<TcpStream> {
    let roots = pem::certificates(&std::fs::read(hub.server_ca()).unwrap()).unwrap();
    let config = first_contact_config(FirstTrust::Authorities(roots)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut hello = Vec::new();
    rustls::ClientConnection::new(config, name).unwrap().write_tls(&mut hello).unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut tcp = socket.connect(hub.enrolment()).await.unwrap();
    tcp.write_all(&hello).await?;
    patiently("the answer to a hello, or the end", tcp.read_exact(&mut [0; 5])).await?;
    Ok(tcp)
}

/// Whether the hub has closed it: reads whatever came, and does not wait.
fn is_closed(tcp: &TcpStream) -> bool {
    loop {
        match tcp.try_read(&mut [0; 4096]) {
            Ok(1..) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Ok(0) | Err(_) => return true,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_does_not_take_every_place_for_enrolment() {
    let hub = started().await;
    let token = hub.token("a", FEED).await;
    let mut taken = Vec::new();
    for _ in 0..PLACES.1 {
        taken.push(answered(&hub, STRANGER).await.unwrap());
    }
    assert!(answered(&hub, STRANGER).await.is_err());
    assert!(!taken.iter().any(is_closed), "nobody within the limit has to go");
    enrol(&hub, &token).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_system_enrols_while_others_have_every_place_and_stall() {
    let hub = started().await;
    let token = hub.token("a", FEED).await;
    let mut flood = Vec::new();
    for number in 0..PLACES.0 {
        flood.push(answered(&hub, Ipv4Addr::new(127, 3, 1, number as u8)).await.unwrap());
    }
    // It may be refused while all of them are within their grace.
    eventually("it is enrolled", async || enrol(&hub, &token).await.ok()).await;
    // Not because all of them had run out of time.
    let _ = patiently("the end of the oldest", flood[0].read_to_end(&mut Vec::new())).await;
    assert!(!flood.last().is_none_or(is_closed));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_tokens_is_stopped_and_nobody_else_is() {
    let hub = started().await;
    let token = hub.token("a", FEED).await;
    let key = Key::for_leaf().unwrap();
    let root = *EnrolmentToken::parse(&token).unwrap().root();
    let guess = || EnrolmentToken::generate(root).reveal();
    for _ in 0..10 {
        let refused = hub.enrol_from(STRANGER, &guess(), request(&key)).await.unwrap_err();
        assert_eq!(reason(&refused).as_deref(), Some("ENROLMENT_TOKEN_INVALID"), "{refused:?}");
    }
    // From there the right one is a guess, too.
    for guess in [guess().to_string(), token.clone()] {
        let stopped = hub.enrol_from(STRANGER, &guess, request(&key)).await.unwrap_err();
        assert_eq!(
            (stopped.code(), reason(&stopped).as_deref()),
            (Code::ResourceExhausted, Some("RATE_LIMITED"))
        );
        let wait = stopped.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert!((1..=600).contains(&wait.as_secs()), "{wait:?}");
    }
    enrol(&hub, &token).await.unwrap();
}
