//! Decides how connections are taken and served: an accept loop of our own,
//! because every connection must be bounded, known by its certificate, and
//! ended one by one.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tower::{Service, ServiceExt as _};

use super::connections::{Connections, Place};
use super::handshake::{Failure, Refused, Shaken, hello, shake_hands};
use super::sever::{Cause, End, Severable};
use crate::base::clock::{self, Clock, Timestamp};
use crate::base::{random, tasks};
use crate::hub::PeerCertificate;
use crate::pki::tls::{Snapshot, Witness};

pub use super::limits::Limits;

/// Shortest and longest pause after a failure to accept.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How often the wall clock is read against a certificate's end, for it may
/// jump while a timer runs.
const CLOCK_CHECK: Duration = Duration::from_secs(30);

/// An accept loop and all that it serves.
#[derive(Debug)]
pub struct Listener<S> {
    shared: Arc<Shared<S>>,
    tcp: TcpListener,
}

#[derive(Debug)]
struct Shared<S> {
    snapshot: Arc<ArcSwap<Snapshot>>,
    service: S,
    limits: Limits,
    clock: Arc<dyn Clock>,
    connections: Arc<Connections>,
    witness: Option<Arc<dyn Witness>>,
    drain: CancellationToken,
}

/// How a drained listener ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that had not ended by the deadline.
    pub cut: usize,
}

impl<S> Listener<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    /// A listener on a bound socket. `service` is `tonic::service::Routes` or
    /// layers around it; each of its requests carries a [`PeerCertificate`].
    /// `witness` is told which clients have shaken hands under the canary.
    pub fn new(
        tcp: TcpListener,
        snapshot: Arc<ArcSwap<Snapshot>>,
        service: S,
        limits: Limits,
        clock: Arc<dyn Clock>,
        witness: Option<Arc<dyn Witness>>,
    ) -> Self {
        let shared = Shared {
            connections: Arc::new(Connections::new(&limits)),
            drain: CancellationToken::new(),
            snapshot,
            service,
            limits,
            clock,
            witness,
        };
        Self { shared: Arc::new(shared), tcp }
    }

    /// The connections, to sever, sweep and count.
    #[must_use]
    pub fn connections(&self) -> Arc<Connections> {
        Arc::clone(&self.shared.connections)
    }

    /// Accepts and serves until `drain` is cancelled; then says GOAWAY on every
    /// connection and returns once all have ended, each by force at the deadline.
    pub async fn run(self, drain: CancellationToken) -> Drained {
        let Self { shared, tcp } = self;
        let tracker = TaskTracker::new();
        let accept = async { tokio::join!(accept_all(&tcp, &shared, &tracker), shared.connections.usher()) };
        drain.run_until_cancelled(accept).await;
        // Later connects are refused by the system, not left in its queue.
        drop(tcp);
        shared.drain.cancel();
        tracker.close();
        tracker.wait().await;
        let ended = shared.connections.counters().ended(Cause::Draining);
        let cut = usize::try_from(ended).unwrap_or(usize::MAX);
        if cut > 0 {
            tracing::warn!(connections = cut, "calls outlived the drain and were ended");
        }
        Drained { cut }
    }
}

async fn accept_all<S>(tcp: &TcpListener, shared: &Arc<Shared<S>>, tracker: &TaskTracker)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let mut pause = BACK_OFF.0;
    loop {
        match tcp.accept().await {
            Ok((stream, peer)) => {
                pause = BACK_OFF.0;
                let counters = shared.connections.counters();
                counters.count_accepted();
                match shared.connections.admit(peer.ip(), &shared.limits) {
                    Ok(place) => {
                        let work = Arc::clone(shared).take(stream, peer, place);
                        tasks::spawn("connection", tracker.track_future(work));
                    }
                    Err(refused) => {
                        counters.count_refused(refused);
                        tracing::debug!(peer = %peer.ip(), reason = refused.as_str(), "connection refused");
                    }
                }
            }
            // The peer went before it was accepted: no fault of ours.
            Err(error) if is_of_peer(&error) => shared.connections.counters().count_accept_error(),
            Err(error) => {
                shared.connections.counters().count_accept_error();
                tracing::error!(%error, pause_ms = pause.as_millis(), "cannot accept connections, pausing");
                sleep(pause).await;
                pause = BACK_OFF.1.min(pause * 2);
            }
        }
    }
}

fn is_of_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

impl<S> Shared<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    /// One connection from its accepted socket to its close. Each part has a
    /// box of its own, so that a quiet connection keeps nothing of its
    /// handshake.
    async fn take(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, mut place: Place) {
        let shaken = tokio::select! {
            () = self.drain.cancelled() => return,
            shaken = Box::pin(self.shake_hands(stream, &mut place)) => shaken,
        };
        let end = End::default();
        let admitted = shaken.and_then(|shaken| self.establish(shaken, peer, &mut place, &end));
        let established = match admitted {
            Ok(established) => established,
            Err(failure) => return self.refuse(peer, &failure),
        };
        Box::pin(self.serve(established, peer, &end)).await;
    }

    /// Only one who has said hello is given a turn: silence holds up nobody.
    /// Nor does a handshake that comes no further, once others wait.
    async fn shake_hands(&self, stream: TcpStream, place: &mut Place) -> Result<Box<Shaken>, Failure> {
        let hello = tokio::select! {
            () = place.displaced() => return Err(Failure::displaced()),
            hello = timeout(self.limits.hello_deadline, hello(stream)) => hello,
        };
        let hello = hello.unwrap_or_else(|_| Err(Failure::silent()))?;
        match timeout(self.limits.handshake_queue, place.hear()).await {
            Ok(true) => {}
            Ok(false) => return Err(Failure::displaced()),
            Err(_) => return Err(Failure::saturated()),
        }
        let (mut work, mut answered) = (pin!(shake_hands(hello, &self.snapshot)), false);
        let work = poll_fn(|cx| {
            let poll = work.as_mut().poll(cx);
            if poll.is_pending() && !std::mem::replace(&mut answered, true) {
                place.answered();
            }
            poll
        });
        let shaken = tokio::select! {
            () = place.displaced() => return Err(Failure::stalled()),
            shaken = timeout(self.limits.handshake_deadline, work) => shaken,
        };
        match shaken {
            Ok(shaken) => shaken.map(Box::new),
            Err(_) => Err(Failure::timeout()),
        }
    }

    fn refuse(&self, peer: SocketAddr, failure: &Failure) {
        self.connections.counters().count_refused(failure.refused);
        if failure.refused == Refused::NotIssued {
            // Nobody else can sign such a certificate by mistake.
            tracing::error!(peer = %peer.ip(), detail = failure.detail, "an authority's key may be stolen");
            return;
        }
        tracing::info!(
            peer = %peer.ip(),
            reason = failure.refused.as_str(),
            detail = failure.detail,
            skew_seconds = failure.skew_seconds,
            "handshake refused"
        );
    }

    /// Registers the connection and makes it ready to be served.
    fn establish(
        &self,
        shaken: Box<Shaken>,
        peer: SocketAddr,
        place: &mut Place,
        end: &End,
    ) -> Result<Established<S>, Failure> {
        place.register(&shaken.identity, end, &self.limits).map_err(Failure::refused)?;
        // Registered first, checked second: a revocation that lands between
        // the handshake and here is found by one of the two.
        let standing = self.snapshot.load().standing(&shaken.identity, self.clock.now());
        if let Some(cause) = Cause::of(standing) {
            self.connections.end(end, cause);
        } else if let (Some(authority), Some(witness)) = (shaken.proof, &self.witness) {
            witness.proved(&shaken.identity.spiffe_id, authority);
        }
        tracing::debug!(
            peer = %peer.ip(),
            identity = %shaken.identity.spiffe_id,
            serial = shaken.identity.serial,
            key_exchange = shaken.key_exchange,
            "connection established"
        );
        let certificate = PeerCertificate {
            certificate: shaken.identity.certificate_id(),
            identity: shaken.identity.spiffe_id,
            fingerprint: shaken.identity.fingerprint,
            not_before: shaken.identity.not_before,
            not_after: shaken.identity.not_after,
            key_exchange: shaken.key_exchange,
            severed: end.severed(),
        };
        let called = Arc::new(AtomicBool::new(false));
        let calls = Calls {
            service: self.service.clone(),
            certificate: certificate.clone(),
            info: TcpConnectInfo {
                local_addr: shaken.stream.get_ref().0.local_addr().ok(),
                remote_addr: Some(peer),
            },
            end: end.clone(),
            called: Arc::clone(&called),
        };
        let stream = Severable::new(shaken.stream, end.clone());
        let connection = Box::pin(self.http().serve_connection(TokioIo::new(stream), calls));
        Ok(Established { connection, certificate, ends: shaken.ends, called })
    }

    async fn serve(&self, established: Established<S>, peer: SocketAddr, end: &End) {
        let Established { connection, certificate, ends, called } = established;
        self.drive(connection, ends, &called, peer, end).await;
        let (identity, serial) = (certificate.identity, certificate.certificate.serial);
        match end.cause() {
            Some(cause) => {
                tracing::info!(peer = %peer.ip(), %identity, serial, cause = cause.as_str(), "connection ended by the hub");
            }
            None => tracing::debug!(peer = %peer.ip(), %identity, "connection closed"),
        }
    }

    async fn drive(
        &self,
        mut connection: Http<S>,
        ends: Timestamp,
        called: &AtomicBool,
        peer: SocketAddr,
        end: &End,
    ) {
        let limits = &self.limits;
        let mut expiry = pin!(expired(self.clock.as_ref(), ends));
        let mut first_call = pin!(sleep(limits.first_call));
        let mut age = pin!(maybe(limits.max_age.map(jittered)));
        let (mut overtime, mut overtime_cause) = (pin!(maybe(None)), Cause::Aged);
        let mut close = pin!(maybe(None));
        let (mut draining, mut aged, mut ended, mut first_checked, mut expiry_seen) =
            (false, false, false, false, false);
        loop {
            tokio::select! {
                biased;
                () = close.as_mut() => break,
                () = end.ended(), if !ended => {
                    ended = true;
                    connection.as_mut().graceful_shutdown();
                    close.set(maybe(Some(self.grace(end))));
                }
                () = expiry.as_mut(), if !expiry_seen => {
                    expiry_seen = true;
                    self.connections.end(end, Cause::Expired);
                }
                () = self.drain.cancelled(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                    overtime_cause = Cause::Draining;
                    overtime.set(maybe(Some(limits.drain_deadline)));
                }
                () = age.as_mut(), if !aged => {
                    aged = true;
                    connection.as_mut().graceful_shutdown();
                    if !draining {
                        overtime.set(maybe(Some(limits.age_grace)));
                    }
                }
                () = overtime.as_mut() => {
                    self.connections.end(end, overtime_cause);
                    overtime.set(maybe(None));
                }
                () = first_call.as_mut(), if !first_checked => {
                    first_checked = true;
                    if !called.load(Ordering::Relaxed) {
                        tracing::info!(peer = %peer.ip(), "no call after the handshake, closing");
                        connection.as_mut().graceful_shutdown();
                        close.set(maybe(Some(limits.sever_grace)));
                    }
                }
                closed = connection.as_mut() => {
                    if let Err(error) = closed {
                        tracing::debug!(peer = %peer.ip(), %error, "connection failed");
                    }
                    break;
                }
            }
        }
    }

    /// How long a connection may go on that was just told of its end.
    fn grace(&self, end: &End) -> Duration {
        match end.severed_at() {
            // From the cut on, though the telling took its time.
            Some(at) => self.limits.revoked_grace.saturating_sub(clock::monotonic().duration_since(at)),
            None => self.limits.sever_grace,
        }
    }

    fn http(&self) -> http2::Builder<Executor> {
        let limits = &self.limits;
        let mut http = http2::Builder::new(Executor);
        http.timer(TokioTimer::new())
            .adaptive_window(false)
            .initial_stream_window_size(limits.stream_window_bytes)
            .initial_connection_window_size(limits.connection_window_bytes)
            // The bounds of RFC 9113, section 4.2; beyond them the library panics.
            .max_frame_size(limits.max_frame_bytes.clamp(16 * 1024, 16 * 1024 * 1024 - 1))
            .max_send_buf_size(limits.max_send_buffer_bytes)
            .max_concurrent_streams(limits.max_concurrent_streams)
            .max_header_list_size(limits.max_header_list_bytes)
            .max_pending_accept_reset_streams(limits.max_pending_accept_reset_streams)
            .max_local_error_reset_streams(limits.max_local_error_reset_streams)
            .keep_alive_interval(limits.keepalive_interval)
            .keep_alive_timeout(limits.keepalive_timeout);
        http
    }
}

/// A connection over which calls come.
type Http<S> = Pin<Box<http2::Connection<TokioIo<Severable>, Calls<S>, Executor>>>;

/// A connection that is ready to be served.
struct Established<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    connection: Http<S>,
    certificate: PeerCertificate,
    /// The last second of the right to be served.
    ends: Timestamp,
    /// Whether a call has come.
    called: Arc<AtomicBool>,
}

/// Everything that is called on one connection.
struct Calls<S> {
    service: S,
    certificate: PeerCertificate,
    info: TcpConnectInfo,
    end: End,
    called: Arc<AtomicBool>,
}

impl<S> hyper::service::Service<Request<Incoming>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.called.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.certificate.clone());
        request.extensions_mut().insert(self.info.clone());
        let call = self.service.clone().oneshot(request);
        let answer = self.end.clone().guard(async { call.await.unwrap_or_else(|never| match never {}) });
        Box::pin(async { Ok(answer.await) })
    }
}

/// Starts the tasks of calls by the one door that starts tasks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Executor;

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, call: F) {
        tasks::spawn("call", call);
    }
}

/// Resolves after `span`; never without one.
async fn maybe(span: Option<Duration>) {
    match span {
        Some(span) => sleep(span).await,
        None => std::future::pending().await,
    }
}

/// Resolves once `clock` is past the second `last`.
async fn expired(clock: &dyn Clock, last: Timestamp) {
    let end = last.saturating_add(Duration::from_secs(1));
    loop {
        let left = end.since(clock.now());
        if left.is_zero() {
            return;
        }
        sleep(left.min(CLOCK_CHECK)).await;
    }
}

/// `age` give or take a tenth, so that clients do not all come back at once.
fn jittered(age: Duration) -> Duration {
    let tenth = u64::try_from(age.as_millis() / 10).unwrap_or(u64::MAX / 2);
    let offset = random::u64() % tenth.saturating_mul(2).max(1);
    age.saturating_sub(Duration::from_millis(tenth)).saturating_add(Duration::from_millis(offset))
}
