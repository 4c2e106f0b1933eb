//! Decides how the stub hub is served: over plain TCP on loopback, in this
//! process.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::base::tasks;
use crate::client::Client;
use crate::client::connection::Connection;
use crate::wire::proto::v1;
use v1::exchange_service_server::{ExchangeService, ExchangeServiceServer};
use v1::subscription_service_server::{SubscriptionService, SubscriptionServiceServer};

/// A stub hub; gone when dropped.
pub(crate) struct Hub {
    address: SocketAddr,
    served: JoinHandle<()>,
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.served.abort();
    }
}

impl Hub {
    pub(super) async fn exchange(service: Arc<impl ExchangeService>) -> Self {
        Self::serve(Server::builder().add_service(ExchangeServiceServer::from_arc(service)), None).await
    }

    pub(super) async fn subscriptions(
        service: Arc<impl SubscriptionService>,
        at: Option<SocketAddr>,
    ) -> Self {
        Self::serve(Server::builder().add_service(SubscriptionServiceServer::from_arc(service)), at).await
    }

    async fn serve(router: tonic::transport::server::Router, at: Option<SocketAddr>) -> Self {
        let at = at.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tasks::spawn("stub", async move {
            router.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Self { address, served }
    }

    /// Ends the hub and waits until its address is free.
    pub(super) async fn end(mut self) {
        self.served.abort();
        let _ = (&mut self.served).await;
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(Connection::plain(self.address)).with_backoff(super::AT_ONCE)
    }
}

/// A refusal as the hub words it.
pub(super) fn refuse(code: Code, reason: &str) -> Status {
    Status::with_error_details(code, "no", ErrorDetails::with_error_info(reason, "hub", []))
}
