//! Decides how a connection to the hub is made: TCP, then TLS 1.3, then the
//! hub's first words; there is no other way.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncBufReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pki::tls::ALPN;

use super::tls::Tls;

/// Longest wait for TCP and TLS together.
const CONNECT: Duration = Duration::from_secs(10);

/// What a connection is made to, and on which terms.
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) name: ServerName<'static>,
    pub(super) terms: Terms,
}

/// The terms of the next handshake.
pub(super) enum Terms {
    /// Those that the files hold then.
    Files(Tls),
    /// Always the same.
    Fixed(Arc<ClientConfig>),
}

impl Terms {
    fn config(&self) -> Arc<ClientConfig> {
        match self {
            Self::Files(tls) => tls.config(),
            Self::Fixed(config) => Arc::clone(config),
        }
    }
}

/// The only way to connect: TCP, then TLS, then a check that both sides mean
/// HTTP/2.
#[derive(Clone)]
pub(super) struct Connector(pub(super) Arc<Target>);

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let target = Arc::clone(&self.0);
        Box::pin(async move {
            match tokio::time::timeout(CONNECT, target.connect()).await {
                Ok(connected) => connected.map(TokioIo::new),
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no connection within {} s", CONNECT.as_secs()),
                )),
            }
        })
    }
}

impl Target {
    async fn connect(self: Arc<Self>) -> io::Result<TlsStream<TcpStream>> {
        let files = Arc::clone(&self);
        let config = crate::base::tasks::spawn_blocking(move || files.terms.config())
            .await
            .map_err(io::Error::other)?;
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        let mut stream = TlsConnector::from(config).connect(self.name.clone(), tcp).await?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the server does not speak HTTP/2 over TLS (no ALPN h2); is this the hub's gRPC address?",
            ));
        }
        // With TLS 1.3 the handshake ends on this side before the hub has seen
        // our certificate. Its first words say that it took it, or its alert
        // that it did not; who writes before he has heard them may lose the
        // alert, since a socket that is closed on unread bytes is reset.
        if stream.fill_buf().await?.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection was closed before the hub said a word",
            ));
        }
        Ok(stream)
    }
}
