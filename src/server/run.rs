//! Decides in which order a hub starts, and in which it stops: whoever could
//! be promised something by a part learns first that the part will go.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::config::{Authorities, Config, Limits};
use super::custody::Custodian;
use super::enrolment::{self, Patience, Shown};
use super::keeper::Keys;
use super::listener::{self, Drained, Listener};
use super::settings::Settings;
use super::switchboard::{Board, Proofs};
use super::tls::{Certificates, Files, Source};
use super::{Error, Ready, calendar, expiry, health, metrics, process, retention, tls};
use crate::admin::{Admin, Keeper, OperatorSocket};
use crate::base::clock::Clock;
use crate::base::steady::SteadyClock;
use crate::base::tasks;
use crate::hub::{Hub, Issuance, Options, lists};
use crate::pki::tls::Snapshot;
use crate::pki::{self, pem};
use crate::rpc::{self, Face, Metrics};
use crate::signer;

/// How long what is left may take once the drain deadline has passed.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Connections that the system keeps until they are accepted.
const BACKLOG: u32 = 4096;

/// The sockets of a hub, bound.
#[derive(Debug)]
pub struct Sockets {
    /// Where agencies connect.
    pub grpc: TcpListener,
    /// Where metrics and health are read.
    pub http: TcpListener,
    /// Where new systems enrol, if they can.
    pub enrolment: Option<TcpListener>,
}

impl Sockets {
    /// Binds the addresses that the configuration names.
    ///
    /// # Errors
    /// [`Error::Listen`].
    pub async fn bind(config: &Config) -> Result<Self, Error> {
        let bind =
            async |key, address| listen(address).map_err(|source| Error::Listen { key, address, source });
        Ok(Self {
            grpc: bind("grpc.listen", config.grpc.listen).await?,
            http: bind("http.listen", config.http.listen).await?,
            enrolment: match config.authorities.as_ref().and_then(|authorities| authorities.enrolment) {
                Some(address) => Some(bind("authorities.enrolment", address).await?),
                None => None,
            },
        })
    }
}

/// A hub, put together and ready to serve.
pub struct Assembly {
    config: Config,
    hub: Arc<Hub>,
    face: Face,
    snapshot: Arc<ArcSwap<Snapshot>>,
    source: Arc<dyn Source>,
    custodian: Option<Arc<Custodian>>,
    rpc: Metrics,
    machine: Arc<SteadyClock>,
}

impl fmt::Debug for Assembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assembly").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Assembly {
    /// Opens the store and reads the certificates. `calendar` is the hub's
    /// clock, if it is not the machine's, against which certificates are held.
    /// Blocks.
    ///
    /// # Errors
    /// What is wrong with the store or the certificates.
    pub fn open(config: Config, calendar: Option<Arc<dyn Clock>>) -> Result<Self, Error> {
        process::prepare();
        let machine = SteadyClock::system();
        let limits = &config.limits;
        let issuance = config.authorities.as_ref().map(issuance).transpose()?;
        let hub = Hub::open(Options {
            data_dir: config.data_dir.clone(),
            machine: Arc::clone(&machine) as _,
            issuance: issuance.clone(),
            clock: calendar.unwrap_or_else(|| Arc::clone(&machine) as _),
            block_cache_bytes: bytes(limits.block_cache_bytes.0),
            ring_bytes: bytes(limits.ring_bytes.0),
            heartbeat: limits.heartbeat.0,
            free_space_floor: limits.free_space.0,
            retention: config.retention.clone().map(Arc::new),
            checkpoint_every: config.audit.checkpoint_every.0,
            audit_keep: config.audit.keep(),
            receipts_keep: config.receipts.keep.0,
            guard: Arc::new(lists::load(&config.guards)?),
            max_subscriptions_per_org: limits.subscriptions_per_organisation,
            quotas: Arc::new(limits.quotas()),
            ..Options::default()
        })?;
        if let Some(path) = &config.ready_file {
            // Left by a hub that was killed, for the directory is ours: it
            // would say that this one serves already.
            Ready::withdraw(path);
        }
        let store = hub.trust_domain();
        if let Some(config) = config.trust_domain.as_deref().filter(|&config| config != store) {
            return Err(Error::TrustDomain { store: store.to_owned(), config: config.to_owned() });
        }
        let custodian = issuance.zip(config.authorities.clone()).map(|(issuance, authorities)| {
            Arc::new(Custodian::new(Arc::clone(&hub), issuance, authorities, &config))
        });
        let source: Arc<dyn Source> = match &custodian {
            Some(custodian) => {
                // What was signed before may do without the signer.
                let (_, failure) = tokio::runtime::Handle::current().block_on(custodian.maintain());
                if let Some(error) = failure {
                    // A restored hub that cannot ask has forgotten revocations.
                    if hub.journal_read().1 {
                        return Err(error);
                    }
                    tracing::error!(%error, "the hub's authorities are not all in force");
                }
                Arc::clone(custodian) as _
            }
            None => Arc::new(Files(config.grpc.clone())),
        };
        let clock = Arc::clone(&machine) as Arc<dyn Clock>;
        let ledger = hub.admission();
        let snapshot = match tls::make(source.as_ref(), store, 1, &clock, Some(ledger)) {
            Ok(snapshot) => snapshot,
            // The hub's machine must be able to put it right over the socket.
            Err(error)
                if custodian.is_some() || matches!(&error, Error::Tls(error) if error.is_of_time()) =>
            {
                tracing::error!(%error, "nobody is served until the certificates are put right");
                pki::tls::closed(store, &clock)?
            }
            Err(error) => return Err(error),
        };
        let rpc = Metrics::default();
        let face = Face::new(Arc::clone(&hub), rpc.clone(), limits.call_deadline.0)?;
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
        Ok(Self { hub, face, snapshot, source, custodian, rpc, machine, config })
    }
}

/// Serves until `shutdown`, then drains and closes; returns when all is down.
/// Every move of `reload` reads the certificates, limits and lists anew.
///
/// # Errors
/// Why it could not start, or what broke.
pub async fn serve(
    assembly: Assembly,
    sockets: Sockets,
    shutdown: CancellationToken,
    reload: watch::Receiver<u64>,
) -> Result<(), Error> {
    let Assembly { config, hub, face, snapshot, source, custodian, rpc, machine } = assembly;
    let clock = Arc::clone(&machine) as Arc<dyn Clock>;
    let operator = match OperatorSocket::bind(&config.admin_socket).await {
        Ok(operator) => operator,
        Err(error) => {
            hub.close().await;
            return Err(error.into());
        }
    };
    let ready = Ready {
        pid: std::process::id(),
        grpc: sockets.grpc.local_addr()?,
        http: sockets.http.local_addr()?,
        enrolment: sockets.enrolment.as_ref().map(TcpListener::local_addr).transpose()?,
    };
    let (stopping, drain, closed) =
        (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let listener = Listener::new(
        sockets.grpc,
        Arc::clone(&snapshot),
        face.clone(),
        limits(&config.limits),
        Arc::clone(&clock),
        Some(Arc::new(Proofs(Arc::clone(&hub)))),
    );
    let connections = listener.connections();
    hub.attend(Arc::new(Board(Arc::clone(&connections))));
    let certificates = Arc::new(Certificates::new(
        source,
        Some(hub.admission()),
        snapshot,
        Arc::clone(&connections),
        Arc::clone(&clock),
    ));
    let settings = Arc::new(Settings::new(Arc::clone(&hub), config.clone()));
    let registry = Arc::new(metrics::registry(&hub, &rpc, &connections, &certificates, &settings, &machine));
    let keys = Keys::new(Arc::clone(&certificates), connections, machine).with(Arc::clone(&settings));
    let keeper: Arc<dyn Keeper> = Arc::new(keys);
    let admin = Admin::new(Arc::clone(&hub), registry, Arc::clone(&keeper), stopping.clone()).router();
    let admin = axum::serve(sockets.http, admin).with_graceful_shutdown(closed.clone().cancelled_owned());
    let expiry = expiry::follow(Arc::clone(&certificates), stopping.clone());
    let settings = settings.follow(reload.clone(), stopping.clone());
    let follow = Arc::clone(&certificates).follow(reload, stopping.clone());
    let calendar = calendar::follow(Arc::clone(&hub), stopping.clone());
    let retention = {
        let (past, audit) = (Arc::clone(&hub), Arc::clone(&hub));
        let stopping = stopping.clone();
        async move {
            tokio::join!(
                retention::follow(past, stopping.clone()),
                retention::follow_audit(audit, stopping.clone())
            );
        }
    };
    let health = health::follow(Arc::clone(&hub), face.clone(), stopping.clone());
    let calls = axum::Router::new().route_service(
        "/luytre.v1.CertificateService/{*method}",
        rpc::Certificates::machine_service(Arc::clone(&hub)),
    );
    let operator = operator.serve(Arc::clone(&hub), keeper, calls, closed.clone().cancelled_owned());
    // Before anybody can ask.
    custodian.iter().for_each(|custodian| custodian.report(&certificates));
    let authorities = authorities(
        Arc::clone(&hub),
        custodian,
        Arc::clone(&certificates),
        sockets.enrolment,
        stopping.clone(),
    );
    let mut served = tasks::spawn("listener", listener.run(drain.clone()));
    let parts = Parts {
        admin: tasks::spawn("admin", admin.into_future()),
        operator: tasks::spawn("operator", operator),
        health: tasks::spawn("health", health),
        calendar: tasks::spawn("calendar", calendar),
        retention: tasks::spawn("retention", retention),
        settings: tasks::spawn("settings", settings),
        follow: tasks::spawn("certificates", follow),
        expiry: tasks::spawn("expiry", expiry),
        authorities: tasks::spawn("authorities", authorities),
        patience: config.limits.drain_deadline.0 + LAST_WORDS,
        hub,
        face,
        stopping,
        drain,
        closed,
    };

    let mut outcome = Ok(());
    if let Some(path) = &config.ready_file {
        outcome = ready.write(path).map_err(|source| Error::Ready { path: path.clone(), source });
    }
    if outcome.is_ok() {
        tracing::info!(key = parts.hub.audit_key(), "the audit is signed");
        tracing::info!(grpc = %ready.grpc, http = %ready.http, trust_domain = parts.hub.trust_domain(), "serving");
        tokio::select! {
            () = shutdown.cancelled() => {}
            // Before anyone asked for it: nobody is served any more.
            _ = &mut served => outcome = Err(Error::ListenerFailed),
        }
    }
    tracing::info!(deadline = %config.limits.drain_deadline, "draining");
    let served = (!matches!(outcome, Err(Error::ListenerFailed))).then_some(served);
    let cut = parts.stop(served).await;
    if let Some(path) = &config.ready_file {
        Ready::withdraw(path);
    }
    tracing::info!(connections_cut = cut, "stopped");
    outcome
}

/// What runs beside the listener, and what tells it to end.
struct Parts {
    hub: Arc<Hub>,
    face: Face,
    stopping: CancellationToken,
    drain: CancellationToken,
    closed: CancellationToken,
    health: JoinHandle<()>,
    calendar: JoinHandle<()>,
    retention: JoinHandle<()>,
    settings: JoinHandle<()>,
    follow: JoinHandle<()>,
    expiry: JoinHandle<()>,
    authorities: JoinHandle<()>,
    operator: JoinHandle<io::Result<()>>,
    admin: JoinHandle<io::Result<()>>,
    patience: Duration,
}

impl Parts {
    /// Takes everything down; returns how many connections were cut.
    ///
    /// In this order: the load balancer and the clients hear first, streams
    /// get their last token, connections their GOAWAY; the store closes when
    /// nobody can ask it any more, and the admin face, red all along, goes
    /// last.
    async fn stop(self, served: Option<JoinHandle<Drained>>) -> usize {
        let Self {
            hub,
            face,
            stopping,
            drain,
            closed,
            health,
            calendar,
            retention,
            settings,
            follow,
            expiry,
            authorities,
            operator,
            admin,
            patience,
        } = self;
        stopping.cancel();
        in_time("health", patience, health).await;
        in_time("calendar", patience, calendar).await;
        in_time("retention", patience, retention).await;
        in_time("settings", patience, settings).await;
        in_time("certificates", patience, follow).await;
        in_time("expiry", patience, expiry).await;
        in_time("authorities", patience, authorities).await;
        hub.begin_drain();
        drain.cancel();
        let cut = match served {
            Some(served) => in_time("listener", patience, served).await.map_or(0, |Drained { cut }| cut),
            None => 0,
        };
        in_time("streams", LAST_WORDS, tasks::spawn("streams", async move { face.drained().await })).await;
        hub.close().await;
        closed.cancel();
        in_time("operator", LAST_WORDS, operator).await;
        in_time("admin", LAST_WORDS, admin).await;
        cut
    }
}

/// Waits for `task` to end, at most `patience`, then ends it.
async fn in_time<T>(name: &'static str, patience: Duration, mut task: JoinHandle<T>) -> Option<T> {
    match tokio::time::timeout(patience, &mut task).await {
        Ok(Ok(ended)) => Some(ended),
        Ok(Err(error)) => {
            tracing::error!(name, %error, "a part of the hub failed");
            None
        }
        Err(_) => {
            task.abort();
            tracing::warn!(name, "a part of the hub did not end in time");
            None
        }
    }
}

/// Listens with room for everybody who comes back at once after a restart.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What the hub's own authorities need of the configuration.
fn issuance(authorities: &Authorities) -> Result<Issuance, Error> {
    let read = |source| Error::File { path: authorities.roots.clone(), source };
    let roots = std::fs::read(&authorities.roots).map_err(read)?;
    Ok(Issuance {
        signer: Arc::new(signer::Remote::new(authorities.signer.clone())),
        roots: pem::certificates(&roots).map_err(pki::tls::Error::from)?.into(),
        canary: authorities.canary.as_str().into(),
        lifetime: authorities.client_lifetime.0,
        soak: authorities.soak.0,
    })
}

/// Keeps the hub's authorities in force, lets systems enrol, and notes which
/// certificates are in use.
async fn authorities(
    hub: Arc<Hub>,
    custodian: Option<Arc<Custodian>>,
    certificates: Arc<Certificates>,
    enrolment: Option<TcpListener>,
    stopping: CancellationToken,
) {
    let shown = Shown::default();
    // The hub is ready: whoever would enrol need not wait for the first round.
    if let Some(greeting) = custodian.as_ref().and_then(|custodian| custodian.greeting().ok()) {
        shown.store(Some(greeting));
    }
    let custody = async {
        if let Some(custodian) = custodian {
            custodian.follow(certificates, Arc::clone(&shown), stopping.clone()).await;
        }
    };
    let enrol = async {
        if let Some(tcp) = enrolment {
            let (hub, shown) = (Arc::clone(&hub), Arc::clone(&shown));
            enrolment::serve(tcp, hub, shown, Patience::default(), stopping.clone()).await;
        }
    };
    let uses = stopping.run_until_cancelled(hub.note_first_uses());
    tokio::join!(custody, enrol, uses);
}

fn limits(limits: &Limits) -> listener::Limits {
    listener::Limits {
        hello_deadline: limits.hello_timeout.0,
        handshake_deadline: limits.handshake_timeout.0,
        max_handshakes: limits.handshakes,
        max_handshakes_per_source: limits.handshakes_per_source,
        max_pending: limits.pending_connections,
        max_connections: limits.connections,
        max_connections_per_source: limits.connections_per_source,
        max_concurrent_streams: limits.streams_per_connection,
        max_age: Some(limits.connection_age.0),
        drain_deadline: limits.drain_deadline.0,
        ..listener::Limits::default()
    }
}

/// A size of the configuration in memory; bounded there well below any limit.
fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
