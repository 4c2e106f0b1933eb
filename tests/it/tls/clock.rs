//! What a clock that jumps does to the certificates: nothing, until a person
//! says that it is right.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use luytre::admin::{ClockRequest, Keeper as _};
use luytre::base::clock::{Clock, SystemClock, Timestamp};
use luytre::base::steady::{SteadyClock, Stopwatch};
use luytre::pki::issue::DAY;
use luytre::server::config::Grpc;
use luytre::server::handshake::Refused;
use luytre::server::keeper::Keys;
use luytre::server::listener::Limits;
use luytre::server::tls::{Certificates, Files};

use super::support::{Credential, FEED, Hub, check, client_leaf, eventually, reason, within};

/// A wall clock that is set by hand, and a stopwatch beside it.
#[derive(Debug)]
struct Machine {
    wall: AtomicU64,
    run: AtomicU64,
}

impl Machine {
    fn jump(&self, by: Duration) {
        self.wall.fetch_add(micros(by), Ordering::SeqCst);
    }

    fn jump_back(&self, by: Duration) {
        self.wall.fetch_sub(micros(by), Ordering::SeqCst);
    }

    fn pass(&self, time: Duration) {
        self.jump(time);
        self.run.fetch_add(micros(time), Ordering::SeqCst);
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap()
}

impl Clock for Machine {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros_clamped(self.wall.load(Ordering::SeqCst))
    }
}

impl Stopwatch for Machine {
    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.run.load(Ordering::SeqCst))
    }
}

struct Kept {
    hub: Hub,
    machine: Arc<Machine>,
    keys: Keys,
    client: Credential,
}

async fn start() -> Kept {
    let wall = AtomicU64::new(SystemClock.now().as_micros());
    let machine = Arc::new(Machine { wall, run: AtomicU64::new(0) });
    let clock = SteadyClock::new(Arc::clone(&machine) as _, Arc::clone(&machine) as _);
    let hub = Hub::start_with(Limits::default(), Arc::clone(&clock) as _, &[]).await;
    let nowhere = std::path::PathBuf::new;
    let (listen, client_ca, client_crl) = (hub.address, nowhere(), nowhere());
    let files = Files(Grpc { listen, cert: nowhere(), key: nowhere(), client_ca, client_crl });
    let (snapshot, connections) = (Arc::clone(&hub.snapshot), Arc::clone(&hub.connections));
    let source = Arc::new(files);
    let shared = Arc::clone(&clock) as Arc<dyn Clock>;
    let certificates = Certificates::new(source, None, snapshot, Arc::clone(&connections), shared);
    let keys = Keys::new(Arc::new(certificates), connections, clock);
    let client = client_leaf(&hub.pki.client, FEED, hub.clock.now());
    Kept { hub, machine, keys, client }
}

fn sweep(hub: &Hub) -> usize {
    hub.connections.sweep(&hub.snapshot.load(), hub.clock.now())
}

#[tokio::test]
async fn a_clock_that_jumps_a_year_severs_nobody_until_the_operator_confirms_it() {
    let Kept { hub, machine, keys, client } = start().await;
    let mut calls = hub.client(&client);
    let mut stream = hub.watch(&mut calls).await;
    machine.jump(DAY * 365);
    assert_eq!(sweep(&hub), 0);
    check(&mut calls).await.unwrap();
    // Authorities and revocation lists have not run out for newcomers either.
    hub.assert_serves(&client).await;
    let told = keys.clock(ClockRequest::Show);
    assert!(told.doubted && told.machine > told.time, "{told:?}");
    assert_eq!(keys.ailment(), None);

    let told = keys.clock(ClockRequest::Accept);
    assert!(!told.doubted, "{told:?}");
    assert_eq!(reason(&within(stream.message()).await.unwrap_err()), "CERTIFICATE_EXPIRED");
    eventually("all are gone", || hub.connections.live() == 0).await;
    hub.assert_refuses(&client, Refused::Expired).await;
    assert!(keys.ailment().is_some_and(|why| why.contains("luytred reload")));
}

#[tokio::test]
async fn a_clock_that_jumps_back_a_year_keeps_nobody_out() {
    let Kept { hub, machine, keys, client } = start().await;
    let mut calls = hub.client(&client);
    let _stream = hub.watch(&mut calls).await;
    machine.jump_back(DAY * 365);
    assert_eq!(sweep(&hub), 0);
    hub.assert_serves(&client).await;
    assert!(keys.clock(ClockRequest::Show).doubted);
    // What ends meanwhile ends all the same: a certificate of a day.
    machine.pass(DAY * 2);
    assert_eq!(sweep(&hub), 2);
    hub.assert_refuses(&client, Refused::Expired).await;
    // Set right, it is believed without a word.
    machine.jump(DAY * 365);
    assert!(!keys.clock(ClockRequest::Show).doubted);
}

#[tokio::test]
async fn a_clock_that_is_set_by_seconds_is_believed_at_once() {
    let Kept { hub, machine, keys, client } = start().await;
    for _ in 0..3 {
        machine.jump(Duration::from_secs(20));
        hub.assert_serves(&client).await;
        machine.jump_back(Duration::from_secs(30));
        hub.assert_serves(&client).await;
        assert!(!keys.clock(ClockRequest::Show).doubted);
        assert_eq!(hub.clock.now(), machine.now());
    }
}
