//! Decides how systems without a certificate reach the hub: on a listener of
//! its own, for one call, in small numbers and for a short time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_rustls::StartHandshake;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tower::ServiceExt as _;

use super::connections::{Connections, Place, source};
use super::handshake::hello;
use super::limits::Limits;
use super::listener::Executor;
use crate::base::{clock, tasks};
use crate::hub::Hub;
use crate::rpc::enrolment::{self, Stranger};

/// Most connections at once: enrolling is rare, and whoever asks is a stranger.
const MAX_CONNECTIONS: usize = 64;
/// Most of those from one address, or /64 of IPv6; four times that from one
/// /48.
const MAX_OF_SOURCE: usize = 16;
/// From the connection to the client's hello.
const HELLO: Duration = Duration::from_secs(3);
/// From the connection to a request with a token that the hub knows.
const REQUEST: Duration = Duration::from_secs(5);
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

/// How long a stranger may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    hello: Duration,
    request: Duration,
    deadline: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { hello: HELLO, request: REQUEST, deadline: DEADLINE }
    }
}

/// A place for everyone who may be there at all, so that nobody waits for his
/// turn to shake hands; a newcomer takes the place of one that stalls.
fn limits() -> Limits {
    Limits {
        max_handshakes: MAX_CONNECTIONS,
        max_pending: MAX_CONNECTIONS,
        max_connections_per_source: MAX_OF_SOURCE,
        max_handshakes_per_source: MAX_OF_SOURCE,
        ..Limits::default()
    }
}

/// Serves enrolment on `tcp` until `stopping`.
pub(super) async fn serve(
    tcp: TcpListener,
    hub: Arc<Hub>,
    shown: Shown,
    patience: Patience,
    stopping: CancellationToken,
) {
    let (limits, routes) = (limits(), enrolment::routes(hub));
    let connections = Arc::new(Connections::new(&limits));
    let accept = async {
        loop {
            let (stream, peer) = match tcp.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections for enrolment, pausing");
                    sleep(BACK_OFF).await;
                    continue;
                }
            };
            let (peer, Some(config)) = (peer.ip(), shown.load_full()) else {
                tracing::info!(peer = %peer.ip(), "the hub cannot enrol anybody yet");
                continue;
            };
            let place = match connections.admit(peer, &limits) {
                Ok(place) => place,
                Err(refused) => {
                    tracing::info!(%peer, reason = refused.as_str(), "no room for one more that would enrol");
                    continue;
                }
            };
            let admitted = CancellationToken::new();
            let stranger = Stranger { source: source(peer), admitted };
            let visit = visit(stream, place, config, routes.clone(), stranger, patience);
            tasks::spawn("enrolment", async move {
                if let Err(problem) = visit.await {
                    tracing::info!(%peer, problem, "a connection for enrolment was ended");
                }
            });
        }
    };
    stopping.run_until_cancelled(accept).await;
}

/// One connection; why the hub has ended it, if it has.
async fn visit(
    stream: TcpStream,
    mut place: Place,
    config: Arc<ServerConfig>,
    routes: Routes,
    stranger: Stranger,
    patience: Patience,
) -> Result<(), &'static str> {
    const DISPLACED: &str = "it did not go on while others came";
    let began = Instant::from_std(clock::monotonic());
    let hello = tokio::select! {
        () = place.displaced() => return Err(DISPLACED),
        hello = timeout(patience.hello, hello(stream)) => hello.map_err(|_| "no hello came in time")?,
    };
    let Ok(hello) = hello else { return Err("what it said is no TLS") };
    if !place.hear().await {
        return Err(DISPLACED);
    }
    let admitted = stranger.admitted.clone();
    let mut work = pin!(connection(hello, config, routes, stranger));
    tokio::select! {
        biased;
        () = &mut work => return Ok(()),
        () = admitted.cancelled() => {}
        () = place.displaced() => return Err(DISPLACED),
        () = sleep_until(began + patience.request) => return Err("no token that is known came in time"),
    }
    // From here on nobody takes its place: its token may be used up.
    if !place.keep() {
        return Err(DISPLACED);
    }
    timeout_at(began + patience.deadline, work).await.map_err(|_| "it took too long")
}

async fn connection(
    hello: StartHandshake<TcpStream>,
    config: Arc<ServerConfig>,
    routes: Routes,
    stranger: Stranger,
) {
    let stream = match hello.into_stream(config).await {
        Ok(stream) => stream,
        Err(error) => return tracing::info!(%error, "handshake for enrolment failed"),
    };
    let mut http = http2::Builder::new(Executor);
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(64 * 1024);
    let service = routes.map_request(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(stranger.clone());
        request
    });
    if let Err(error) = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await {
        tracing::debug!(%error, "a connection for enrolment failed");
    }
}

#[cfg(test)]
mod tests;
