//! Decides how systems without a certificate reach the hub: on a listener of
//! its own, for one call, in small numbers and for a short time.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::listener::Executor;
use crate::base::tasks;
use crate::hub::Hub;
use crate::rpc::enrolment;

/// Most connections at once: enrolling is rare, and whoever asks is a stranger.
const MAX_CONNECTIONS: usize = 64;
/// From the connection to its end.
const DEADLINE: Duration = Duration::from_secs(15);
/// Calls at once on one connection.
const MAX_STREAMS: u32 = 4;
/// Largest headers, in bytes.
const MAX_HEADERS: u32 = 8 * 1024;
/// Pause after a failure to accept.
const BACK_OFF: Duration = Duration::from_millis(200);

/// What the listener shows of the hub; nothing yet: connections are closed.
pub(super) type Shown = Arc<ArcSwapOption<ServerConfig>>;

/// Serves enrolment on `tcp` until `stopping`.
pub(super) async fn serve(tcp: TcpListener, hub: Arc<Hub>, shown: Shown, stopping: CancellationToken) {
    let (places, routes) = (Arc::new(Semaphore::new(MAX_CONNECTIONS)), enrolment::routes(hub));
    let accept = async {
        loop {
            match tcp.accept().await {
                Ok((stream, peer)) => {
                    let (Ok(place), Some(config)) =
                        (Arc::clone(&places).try_acquire_owned(), shown.load_full())
                    else {
                        tracing::info!(peer = %peer.ip(), "no room for one more that would enrol");
                        continue;
                    };
                    let routes = routes.clone();
                    tasks::spawn("enrolment", async move {
                        let _place = place;
                        if timeout(DEADLINE, connection(stream, config, routes)).await.is_err() {
                            tracing::info!(peer = %peer.ip(), "enrolment took too long");
                        }
                    });
                }
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections for enrolment, pausing");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    };
    stopping.run_until_cancelled(accept).await;
}

async fn connection(stream: TcpStream, config: Arc<ServerConfig>, routes: Routes) {
    let stream = match TlsAcceptor::from(config).accept(stream).await {
        Ok(stream) => stream,
        Err(error) => return tracing::info!(%error, "handshake for enrolment failed"),
    };
    let mut http = http2::Builder::new(Executor);
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(64 * 1024);
    let service = TowerToHyperService::new(routes);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection for enrolment failed");
    }
}
