//! Decides how the hub is reached: one HTTP/2 channel over mutual TLS that
//! connects when needed and again when cut.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::UnixStream;
use tonic::transport::Channel;

use super::calls::Client;
use super::connector::{Connector, Target, Terms};
use super::endpoint::{Address, Endpoint};
use super::error::Error;
use super::identity::Identity;
use super::line::{Line, Place};
use super::tls::Tls;

/// How often a quiet connection is probed, and how long the answer may take.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));
/// Flow-control windows: a stream in full flight must not wait for the peer.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

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
///
/// When the identity shows a renewed certificate, a new connection is made
/// beside the old one. Once it stands, new calls take it, streams of this
/// library go on over it from where they are, and the old one closes.
#[derive(Clone)]
pub struct Connection {
    line: Arc<Line>,
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
        let address = endpoint.place();
        let tls = Tls::open(endpoint.authorities().to_owned(), identity.clone())?;
        let connector = connector(address, Terms::Files(tls))?;
        let line = Line::following(settings(address.uri()?), connector, identity);
        Ok(Self { line, hub: address.shown().into() })
    }

    /// A channel to the admin socket of a hub on this machine, where the
    /// operator of the machine needs no certificate: `CertificateService` and
    /// nothing else. There is no encryption, and no way out of the machine.
    /// Must be called on a tokio runtime.
    #[must_use]
    pub fn over_admin_socket(socket: &Path) -> Self {
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        Self::over(Uri::from_static("http://localhost/"), &socket.display().to_string(), connector)
    }

    /// A channel on terms that stay, to a hub that asks for no certificate.
    pub(super) fn without_identity(address: &Address, config: Arc<ClientConfig>) -> Result<Self, Error> {
        let connector = connector(address, Terms::Fixed(config))?;
        Ok(Self::over(address.uri()?, &address.shown(), connector))
    }

    fn over<C>(uri: Uri, hub: &str, connector: C) -> Self
    where
        C: tower::Service<Uri> + Send + 'static,
        C::Response: hyper::rt::Read + hyper::rt::Write + Send + Unpin,
        C::Future: Send,
        tonic::codegen::StdError: From<C::Error>,
        C::Error: Send,
    {
        let channel = settings(uri).connect_with_connector_lazy(connector);
        Self { line: Line::fixed(channel), hub: hub.into() }
    }

    /// A channel over plain TCP, for tests of the protocol.
    #[cfg(test)]
    pub(super) fn plain(address: std::net::SocketAddr) -> Self {
        let uri =
            Uri::builder().scheme("http").authority(address.to_string()).path_and_query("/").build().unwrap();
        let connector = tower::service_fn(move |_: Uri| async move {
            tokio::net::TcpStream::connect(address).await.map(TokioIo::new)
        });
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
        self.line.channel()
    }

    /// Where a stream stands that is opened now; taken before its channel.
    pub(super) fn place(&self) -> Place {
        self.line.place()
    }
}

fn connector(address: &Address, terms: Terms) -> Result<Connector, Error> {
    let (host, port) = (address.host.clone(), address.port);
    Ok(Connector(Arc::new(Target { host, port, name: address.tls_name()?, terms })))
}

fn settings(uri: Uri) -> tonic::transport::Endpoint {
    tonic::transport::Endpoint::from(uri)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        .keep_alive_while_idle(true)
}

#[cfg(test)]
mod tests;
