//! Promises of a revocation about what was on its way: a client that reads
//! slowly gets no more of it than it has already.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use hyper_util::rt::TokioIo;
use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;
use uuid::Uuid;
use v1::subscribe_request::Message as Say;
use v1::subscription_service_client::SubscriptionServiceClient;

use crate::harness::issuing::Issuing;
use crate::harness::patience::patiently;
use crate::harness::witness::from_the_beginning;
use crate::harness::{TestHub, batch, draft, eventually};

const FEED: &str = "system/feed";
/// Far more than the system holds on the way, and a window does.
const ITEMS: usize = 4_000;
/// Bytes of a last status and of what else says goodbye.
const LAST_WORDS: u64 = 4 * 1024;

/// Whether a client reads, and how much it has read.
#[derive(Default)]
struct Tap {
    closed: AtomicBool,
    read: AtomicU64,
    reader: AtomicWaker,
}

impl Tap {
    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
        self.reader.wake();
    }

    fn read(&self) -> u64 {
        self.read.load(Ordering::SeqCst)
    }
}

/// A connection that is read only while its tap is open.
struct Tapped(TlsStream<TcpStream>, Arc<Tap>);

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.1.reader.register(cx.waker());
        if self.1.closed.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.0).poll_read(cx, buffer);
        self.1.read.fetch_add((buffer.filled().len() - before) as u64, Ordering::SeqCst);
        polled
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A hub with much to tell.
async fn started() -> Issuing {
    let hub = TestHub::builder()
        .principal("a", FEED, &[Role::Subscriber])
        .principal("b", FEED, &[Role::Publisher])
        .start_issuing()
        .await;
    let b = hub.peer_with("b", FEED, &hub.enrolled("b", FEED).await);
    for first in (0..ITEMS).step_by(250) {
        let item = |number| draft(&format!("https://n{number}.b.example/{}", "x".repeat(1_500)));
        let items = (first..first + 250).map(item).collect();
        b.exchange().publish_indicators(batch(Uuid::new_v4(), items)).await.unwrap();
    }
    hub
}

/// What a subscriber reads after it was revoked, that has stopped reading in
/// the middle of a replay: at its tap, or by its windows alone.
async fn read_after_revocation(hub: &Issuing, window: u32, at_the_tap: bool) -> u64 {
    let peer = hub.peer_with("a", FEED, &hub.enrolled("a", FEED).await);
    let tap = Arc::<Tap>::default();
    let (address, config, tapped) = (hub.grpc(), peer.tls(), Arc::clone(&tap));
    let channel = Endpoint::from_static("http://localhost")
        .initial_stream_window_size(window)
        .initial_connection_window_size(window)
        .connect_with_connector_lazy(tower::service_fn(move |_: http::Uri| {
            let (config, tap) = (Arc::clone(&config), Arc::clone(&tapped));
            async move {
                let socket = TcpSocket::new_v4()?;
                socket.set_recv_buffer_size(64 * 1024)?;
                let tcp = socket.connect(address).await?;
                let name = ServerName::try_from("localhost").unwrap();
                let tls = TlsConnector::from(config).connect(name, tcp).await?;
                Ok::<_, io::Error>(TokioIo::new(Tapped(tls, tap)))
            }
        }));
    let (say, said) = mpsc::channel(4);
    let open = v1::Open { initial_credit: 0, ..from_the_beginning() };
    say.send(v1::SubscribeRequest { message: Some(Say::Open(open)) }).await.unwrap();
    let mut stream = SubscriptionServiceClient::new(channel)
        .max_decoding_message_size(64 << 20)
        .subscribe(ReceiverStream::new(said))
        .await
        .unwrap()
        .into_inner();
    if at_the_tap {
        tap.close();
    }
    let before = delivered(hub).await;
    let credit = v1::Credit { events: i64::try_from(ITEMS).unwrap() };
    say.send(v1::SubscribeRequest { message: Some(Say::Credit(credit)) }).await.unwrap();
    // The hub goes on until nothing fits in any more.
    let mut last = (0, 0);
    eventually("the hub waits for the reader", async || {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let now = (delivered(hub).await - before, tap.read());
        (now.0 > 0 && std::mem::replace(&mut last, now) == now).then_some(())
    })
    .await;
    assert!(last.0 < ITEMS as u64, "it is still in the middle");

    let certificate = hub.certificates_of("a", FEED).await.pop().unwrap();
    let read = tap.read();
    hub.revoke(&certificate.name).await;
    tap.open();
    patiently("the end", async { while let Ok(Some(_)) = stream.message().await {} }).await;
    tap.read() - read
}

/// Events that the hub has handed to its connections.
async fn delivered(hub: &Issuing) -> u64 {
    let (_, page) = hub.get("/metrics").await;
    let line = page.lines().find_map(|line| line.strip_prefix("luytre_events_delivered_total "));
    line.unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_window_does_not_leave_after_a_revocation() {
    let hub = started().await;
    let read = read_after_revocation(&hub, 65_535, false).await;
    assert!(read <= LAST_WORDS, "{read} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_socket_does_not_leave_after_a_revocation() {
    let hub = started().await;
    let read = read_after_revocation(&hub, 64 << 20, true).await;
    // What the client's own system has taken for it by then is past recall.
    assert!(read <= 512 * 1024, "{read} bytes");
}
