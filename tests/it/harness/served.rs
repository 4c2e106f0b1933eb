//! Decides how a test gets a hub in its own process: the real server over
//! mutual TLS on a real store, with a calendar that is set by hand.
//! Certificates go by the machine's clock.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use luytre::base::clock::{Clock, SystemClock};
use luytre::hub::{Hub, Options};
use luytre::interop::roster;
use luytre::rpc::{Face, Metrics};
use luytre::server::config::Config;
use luytre::server::listener::{Drained, Limits, Listener};
use luytre::server::{Assembly, Error, Sockets, serve, tls};
use time::Date;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::clock::Hands;
use super::hub::TRUST_DOMAIN;
use super::patience::patiently;
use super::{Builder, TestHub};

/// The whole server, as `luytred` runs it.
pub(crate) struct Served {
    hub: TestHub,
    /// The hub's calendar.
    pub(crate) clock: Arc<Hands>,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), Error>>,
    _reload: watch::Sender<u64>,
}

/// The engine with its gRPC face and its listener, and nothing that acts of
/// its own accord: what is counted is what was asked.
pub(crate) struct Faced {
    hub: TestHub,
    pub(crate) engine: Arc<Hub>,
    /// The hub's calendar.
    pub(crate) clock: Arc<Hands>,
    drain: CancellationToken,
    running: JoinHandle<Drained>,
}

/// A hub with a store that begins at noon of `day`; its configuration.
fn lay_out(builder: Builder, day: Date) -> (TestHub, Arc<Hands>, Config) {
    let hub = builder.lay_out();
    let clock = Arc::new(Hands::noon(day));
    let roster = roster::parse(&std::fs::read(hub.roster_file()).unwrap()).unwrap();
    Hub::init(&hub.data_dir(), roster, TRUST_DOMAIN, clock.as_ref()).unwrap();
    let config = Config::load(&hub.config_file()).unwrap();
    (hub, clock, config)
}

impl Builder {
    /// A hub that serves, and whose calendar stands at noon of `day`.
    pub(crate) async fn serve_on(self, day: Date) -> Served {
        let (mut hub, clock, config) = lay_out(self, day);
        let sockets = Sockets::bind(&config).await.unwrap();
        hub.listens_at(sockets.grpc.local_addr().unwrap(), sockets.http.local_addr().unwrap());
        let calendar = Arc::clone(&clock) as Arc<dyn Clock>;
        let opening = tokio::task::spawn_blocking(move || Assembly::open(config, Some(calendar)));
        let assembly = opening.await.unwrap().unwrap();
        let shutdown = CancellationToken::new();
        let (reload, reloads) = watch::channel(0);
        let running = tokio::spawn(serve(assembly, sockets, shutdown.clone(), reloads));
        Served { hub, clock, shutdown, running, _reload: reload }
    }

    /// A hub that only answers, and whose calendar stands at noon of `day`.
    pub(crate) async fn face_on(self, day: Date) -> Faced {
        let (mut hub, clock, config) = lay_out(self, day);
        let sockets = Sockets::bind(&config).await.unwrap();
        hub.listens_at(sockets.grpc.local_addr().unwrap(), sockets.http.local_addr().unwrap());
        let machine = SystemClock::shared();
        let snapshot = tls::load(&config.grpc, TRUST_DOMAIN, 1, &machine).unwrap();
        let engine = Hub::open(Options {
            data_dir: config.data_dir,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            // What the hub owes it writes after this test.
            debt_delay: Duration::from_secs(3_600),
            // No stream is quiet for so long that a sign of life comes.
            heartbeat: Duration::from_secs(3_600),
            ..Options::default()
        })
        .unwrap();
        let face = Face::new(Arc::clone(&engine), Metrics::default(), config.limits.call_deadline.0).unwrap();
        let listener = Listener::new(
            sockets.grpc,
            Arc::new(ArcSwap::from_pointee(snapshot)),
            face,
            Limits::default(),
            machine,
            None,
        );
        let drain = CancellationToken::new();
        let running = tokio::spawn(listener.run(drain.clone()));
        Faced { hub, engine, clock, drain, running }
    }
}

impl Served {
    /// Ends the hub in good order; the store must agree with its log.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        patiently("the hub ends", self.running).await.unwrap().unwrap();
        self.hub.verify();
    }
}

impl Faced {
    /// Ends the hub in good order; the store must agree with its log.
    pub(crate) async fn stop(self) {
        self.engine.begin_drain();
        self.drain.cancel();
        patiently("the listener ends", self.running).await.unwrap();
        self.engine.close().await;
        drop(self.engine);
        self.hub.verify();
    }
}

impl Deref for Served {
    type Target = TestHub;

    fn deref(&self) -> &TestHub {
        &self.hub
    }
}

impl Deref for Faced {
    type Target = TestHub;

    fn deref(&self) -> &TestHub {
        &self.hub
    }
}
