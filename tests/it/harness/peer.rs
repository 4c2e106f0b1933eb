//! Decides how a test speaks to the hub: the generated clients over mutual
//! TLS, apart from the product's own client, which is tested elsewhere.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use luytre::pki::pem;
use luytre::pki::tls::client_config;
use luytre::wire::proto::v1;
use luytre::wire::proto::v1::certificate_service_client::CertificateServiceClient;
use luytre::wire::proto::v1::directory_service_client::DirectoryServiceClient;
use luytre::wire::proto::v1::exchange_service_client::ExchangeServiceClient;
use luytre::wire::proto::v1::subscription_service_client::SubscriptionServiceClient;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use super::{Credentials, Shown};

/// Largest answer that a test takes.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// One principal with its certificate. Follows the hub to the port of its
/// next start.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    identity: String,
    config: Arc<rustls::ClientConfig>,
    address: watch::Receiver<SocketAddr>,
    connected: Arc<AtomicUsize>,
}

impl Peer {
    pub(super) fn new(
        identity: String,
        credentials: &Credentials,
        server_ca: &std::path::Path,
        address: watch::Receiver<SocketAddr>,
    ) -> Self {
        let chain = pem::certificates(&fs::read(&credentials.certificate).unwrap()).unwrap();
        let key = pem::private_key(&fs::read(&credentials.key).unwrap()).unwrap();
        let roots = pem::certificates(&fs::read(server_ca).unwrap()).unwrap();
        let config = client_config(roots, Shown::new(chain, &key)).unwrap();
        Self { identity, config, address, connected: Arc::default() }
    }

    /// The SPIFFE identity in the certificate.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// What this principal's TLS is configured with.
    pub(crate) fn tls(&self) -> Arc<rustls::ClientConfig> {
        Arc::clone(&self.config)
    }

    /// How many connections its channels have made so far.
    pub(crate) fn connections(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    /// Shakes hands with the hub under another of its names, and hangs up.
    pub(crate) async fn greet(&self, name: &str) -> std::io::Result<()> {
        let address = *self.address.borrow();
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let tcp = TcpStream::connect(address).await?;
        let mut tls = TlsConnector::from(self.tls()).connect(name, tcp).await?;
        tls.shutdown().await?;
        // Until the hub has hung up, too: it has seen the certificate then.
        let _ = tls.read_to_end(&mut Vec::new()).await;
        Ok(())
    }

    /// Certificates, authorities, tokens.
    pub(crate) fn certificates(&self) -> CertificateServiceClient<Channel> {
        CertificateServiceClient::new(self.channel())
    }

    /// A connection that is made with the first call, and again when it broke.
    pub(crate) fn channel(&self) -> Channel {
        let peer = self.clone();
        Endpoint::from_static("http://localhost")
            .connect_timeout(Duration::from_secs(10))
            .connect_with_connector_lazy(tower::service_fn(move |_| {
                let peer = peer.clone();
                async move {
                    let address = *peer.address.borrow();
                    let tcp = TcpStream::connect(address).await?;
                    tcp.set_nodelay(true)?;
                    let name = ServerName::try_from("localhost").expect("a name");
                    let tls = TlsConnector::from(peer.config).connect(name, tcp).await?;
                    peer.connected.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, std::io::Error>(TokioIo::new(tls))
                }
            }))
    }

    /// Publishing and asking.
    pub(crate) fn exchange(&self) -> ExchangeServiceClient<Channel> {
        ExchangeServiceClient::new(self.channel()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Receiving.
    pub(crate) fn subscriptions(&self) -> SubscriptionServiceClient<Channel> {
        SubscriptionServiceClient::new(self.channel()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Who takes part.
    pub(crate) fn directory(&self) -> DirectoryServiceClient<Channel> {
        DirectoryServiceClient::new(self.channel())
    }
}

/// An observable whose kind the hub detects.
pub(crate) fn text_value(text: &str) -> v1::Observable {
    v1::Observable { value: Some(v1::observable::Value::Text(text.to_owned())) }
}

/// What `text` asserts, for every member.
pub(crate) fn draft(text: &str) -> v1::IndicatorDraft {
    v1::IndicatorDraft {
        observable: Some(text_value(text)),
        marking: Some(v1::Marking { tlp: v1::Tlp::Green.into(), ..Default::default() }),
        ..Default::default()
    }
}

/// The same for the named organisations only.
pub(crate) fn amber(mut draft: v1::IndicatorDraft, organisations: &[&str]) -> v1::IndicatorDraft {
    draft.marking = Some(v1::Marking {
        tlp: v1::Tlp::Amber.into(),
        organisations: organisations.iter().map(|slug| format!("organisations/{slug}")).collect(),
        ..Default::default()
    });
    draft
}

/// A request to publish.
pub(crate) fn batch(request_id: Uuid, indicators: Vec<v1::IndicatorDraft>) -> v1::PublishIndicatorsRequest {
    v1::PublishIndicatorsRequest { request_id: request_id.to_string(), indicators, ..Default::default() }
}

/// The value of an indicator as text.
pub(crate) fn value_of(indicator: &v1::Indicator) -> String {
    luytre::wire::observable::flat(indicator.observable.clone()).1
}
