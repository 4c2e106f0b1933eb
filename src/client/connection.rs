//! Decides how the hub is reached: one HTTP/2 channel over mutual TLS that
//! connects when needed and again when cut.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::AsyncBufReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Channel;

use crate::pki::tls::ALPN;

use super::calls::Client;
use super::error::Error;
use super::identity::Identity;
use super::tls::Tls;

/// Longest wait for TCP and TLS together.
const CONNECT: Duration = Duration::from_secs(10);
/// How often a quiet connection is probed, and how long the answer may take.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// Flow-control windows: a stream in full flight must not wait for the peer.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Where the hub is, and how it proves itself.
#[derive(Debug, Clone)]
pub struct Endpoint {
    host: String,
    port: u16,
    server_name: String,
    authorities: PathBuf,
}

impl Endpoint {
    /// The hub at `address` (`host:port`, `[v6]:port`), whose certificate must
    /// come from one of the `authorities`, a PEM file.
    ///
    /// # Errors
    /// An address that cannot be read.
    pub fn new(address: &str, authorities: impl Into<PathBuf>) -> Result<Self, Error> {
        let wrong = || {
            Error::Settings(format!(
                "`{address}` is not an address of a hub; write host:port, such as hub.example:7443 or [2001:db8::7]:7443"
            ))
        };
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(v6) => v6,
            None if host.contains([':', '/', '[', ']', '@']) => return Err(wrong()),
            None => host,
        };
        if host.is_empty() || port == 0 {
            return Err(wrong());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            server_name: host.to_owned(),
            authorities: authorities.into(),
        })
    }

    /// The name that the hub's certificate must carry, where it is not the
    /// host of the address.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = name.into();
        self
    }

    /// The address, for people.
    #[must_use]
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The URI that requests name. Its scheme is `http` because TLS is inside
    /// the connector, which knows no other way to connect.
    fn uri(&self) -> Result<Uri, Error> {
        let name = &self.server_name;
        let authority = if name.contains(':') {
            format!("[{name}]:{}", self.port)
        } else {
            format!("{name}:{}", self.port)
        };
        Uri::builder()
            .scheme("http")
            .authority(authority)
            .path_and_query("/")
            .build()
            .map_err(|_| Error::Settings(format!("`{name}` is not a host name; see --server-name")))
    }
}

/// A channel to the hub. Clones share it.
///
/// ```no_run
/// # async fn example() -> Result<(), luytre::client::Error> {
/// use luytre::client::{Connection, Endpoint, Identity};
///
/// let identity = Identity::from_files("soc.pem", "soc.key")?;
/// let endpoint = Endpoint::new("hub.example:7443", "hub-ca.pem")?;
/// let hub = Connection::open(&endpoint, identity)?;
/// println!("{}", hub.client().whoami().await?.spiffe_id);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Connection {
    channel: Channel,
    hub: Arc<str>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.hub).finish()
    }
}

impl Connection {
    /// Prepares a channel; it connects with the first call. Must be called on
    /// a tokio runtime.
    ///
    /// # Errors
    /// Files or names that cannot be used.
    pub fn open(endpoint: &Endpoint, identity: Identity) -> Result<Self, Error> {
        let name = ServerName::try_from(endpoint.server_name.clone()).map_err(|_| {
            Error::Settings(format!(
                "`{}` is not a host name or address that a certificate can carry; see --server-name",
                endpoint.server_name
            ))
        })?;
        let connector = Connector(Arc::new(Target {
            host: endpoint.host.clone(),
            port: endpoint.port,
            name,
            tls: Tls::open(endpoint.authorities.clone(), identity)?,
        }));
        Ok(Self::over(endpoint.uri()?, &endpoint.address(), connector))
    }

    fn over<C>(uri: Uri, hub: &str, connector: C) -> Self
    where
        C: tower::Service<Uri> + Send + 'static,
        C::Response: hyper::rt::Read + hyper::rt::Write + Send + Unpin,
        C::Future: Send,
        tonic::codegen::StdError: From<C::Error>,
        C::Error: Send,
    {
        let channel = tonic::transport::Endpoint::from(uri)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(connector);
        Self { channel, hub: hub.into() }
    }

    /// A channel over plain TCP, for tests of the protocol.
    #[cfg(test)]
    pub(super) fn plain(address: std::net::SocketAddr) -> Self {
        let uri =
            Uri::builder().scheme("http").authority(address.to_string()).path_and_query("/").build().unwrap();
        let connector =
            tower::service_fn(
                move |_: Uri| async move { TcpStream::connect(address).await.map(TokioIo::new) },
            );
        Self::over(uri, &address.to_string(), connector)
    }

    /// The calls of the hub over this channel.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.clone())
    }

    /// Address of the hub, for people.
    #[must_use]
    pub fn hub(&self) -> &str {
        &self.hub
    }

    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }
}

struct Target {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: Tls,
}

/// The only way to connect: TCP, then TLS, then a check that both sides mean
/// HTTP/2.
#[derive(Clone)]
struct Connector(Arc<Target>);

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
        let config =
            crate::base::tasks::spawn_blocking(move || files.tls.config()).await.map_err(io::Error::other)?;
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

#[cfg(test)]
mod tests;
