//! The outsider: he reaches the hub's ports and has no certificate of its
//! authorities.

use bytes::Bytes;
use luytre::base::clock::{Clock as _, SystemClock};
use luytre::model::principal::SpiffeId;
use luytre::pki::directory::Directory;
use luytre::pki::issue::{Leaf, lifetime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{READER, SECRET, hide, serves};
use crate::authz_matrix::methods;
use crate::harness::patience::patiently;
use crate::harness::{Credentials, TestHub, raw};

async fn start() -> TestHub {
    TestHub::builder().principal("a", "system/feed", &READER).organisation("c").start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_of_ones_own_makes_no_member_whatever_it_writes_into_its_certificates() {
    let hub = start().await;
    let paths = methods(&hub.peer("a", "system/feed")).await;
    let own = tempfile::tempdir().unwrap();
    let now = SystemClock.now();
    let forger = Directory::init(
        &own.path().join("pki"),
        crate::harness::hub::TRUST_DOMAIN,
        now,
        lifetime::REVOCATION_LIST,
    )
    .unwrap();
    for (organisation, name) in [("a", "system/feed"), ("hub", "user/operator")] {
        let holder = SpiffeId::parse(&hub.spiffe(organisation, name)).unwrap();
        let file = name.replace('/', "-");
        let written = forger.issue(&Leaf::Client(holder), &file, now, lifetime::CLIENT).unwrap();
        let forged = Credentials { certificate: written.certificate, key: written.key };
        let channel = hub.peer_with(organisation, name, &forged).channel();
        for path in &paths {
            let answer = raw::call(&channel, path, vec![Bytes::new()]).await;
            let status = answer.status.expect("no method answers");
            assert!(answer.messages.is_empty() && status.details().is_empty(), "{path}: {status:?}");
        }
    }
    let (_, page) = hub.get("/metrics").await;
    let refused = "luytre_connections_refused_total{reason=\"unknown_issuer\"} ";
    let count: Option<u64> = page.lines().find_map(|line| line.strip_prefix(refused)?.parse().ok());
    assert!(count.is_some_and(|count| count > 0), "{page}");
    serves(&hub, "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_written_to_the_port_is_answered_with_nothing_and_costs_nobody() {
    let hub = start().await;
    hide(&hub).await;
    let said: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0x16, 0x03, 0x01, 0xff, 0xff],
        &[0; 70_000],
        b"\x16\x03\x01\x00\x05hello",
    ];
    for said in said {
        let mut tcp = TcpStream::connect(hub.grpc()).await.unwrap();
        // The hub may have hung up in the middle of it.
        let _ = tcp.write_all(said).await;
        let _ = tcp.shutdown().await;
        let mut answer = Vec::new();
        let _ = patiently("the end", tcp.read_to_end(&mut answer)).await;
        // A TLS alert of seven bytes is the most that a stranger is told.
        assert!(answer.len() <= 7, "{said:?}: {answer:?}");
    }
    serves(&hub, "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_without_a_certificate_names_no_value_and_no_person() {
    let hub = start().await;
    let name = hide(&hub).await;
    for path in ["/metrics", "/livez", "/readyz", "/", "/indicators", "/..%2f..%2fdata"] {
        let (_, page) = hub.get(path).await;
        for secret in [SECRET, "hidden-words", "system/feed", "spiffe://", name.as_str()] {
            assert!(!page.contains(secret), "{path}: {secret}");
        }
    }
}
