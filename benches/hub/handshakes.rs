//! Decides how handshakes are measured: how many there is time for, and what
//! those cost a good client that others begin and leave lying.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::TlsConnector;

use luytre::model::principal::Role;

use super::harness::{TestHub, eventually};
use super::items::RECEIVER;
use super::load::quantile;
use super::rows::{Readings, end, hub, target};
use super::wire::Target;
use super::{Sizes, process, raw};

/// Handshakes under way at once.
const AT_ONCE: usize = 8;
/// Turns of the hub and of the limit, one after the other.
const TURNS: usize = 4;
/// How long the hub lets a handshake lie, in seconds.
const DEADLINE: u64 = 15;
/// How long the good client comes and goes.
const VISITS: Duration = Duration::from_secs(3);
/// One of its connects that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// Begun handshakes that a hub has room for by default.
const USUAL: usize = 1_024;
/// Connects before the hub is waited for: the system queues 128 for it, and
/// lets one more wait a second.
const BURST: usize = 96;
/// Descriptors for everything else.
const SPARE: u64 = 500;

/// A connection from nothing to the server's first word after the handshake,
/// which it says once it has accepted the client's certificate.
async fn greet(target: &Target) -> io::Result<()> {
    let tcp = TcpStream::connect(target.address).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let mut tls = TlsConnector::from(Arc::clone(&target.tls)).connect(name, tcp).await?;
    tls.read_exact(&mut [0]).await.map(|_| ())
}

/// What handshakes took.
#[derive(Default)]
struct Done {
    count: f64,
    seconds: f64,
    /// Of the server's processors.
    cpu: f64,
}

impl Done {
    fn rate(&self) -> f64 {
        self.count / self.seconds
    }

    /// Milliseconds of the server's processors for each.
    fn each(&self) -> f64 {
        1e3 * self.cpu / self.count
    }

    /// So many more, [`AT_ONCE`].
    async fn more(&mut self, target: &Target, pid: u32, count: usize) {
        let mut workers = JoinSet::new();
        let (started, before) = (Instant::now(), process::cpu(pid));
        for _ in 0..AT_ONCE {
            let target = target.clone();
            workers.spawn(async move {
                for _ in 0..count / AT_ONCE {
                    greet(&target).await.expect("the handshake succeeds");
                }
            });
        }
        workers.join_all().await;
        self.count += (count / AT_ONCE * AT_ONCE) as f64;
        self.seconds += started.elapsed().as_secs_f64();
        self.cpu += process::cpu(pid).saturating_sub(before).as_secs_f64();
    }
}

/// P10: handshakes with the hub beside the same with a server that only shakes
/// hands; and with a hub that has authorities, and so a ledger, of its own.
///
/// The limit is measured whatever was asked: the target is a share of it.
pub async fn rate(sizes: &Sizes, out: &mut Readings) {
    let hub = hub().await;
    let client = target(&hub, RECEIVER, "system/s0");
    let server = raw::Server::start(&hub.dir().join("pki"), hub.dir()).await;
    let raw_client = Target { address: server.address, ..client.clone() };
    let mut own = TestHub::builder()
        .principal(RECEIVER, "system/s0", &[Role::Subscriber])
        .config("[log]\nfilter = \"warn\"")
        .start_issuing()
        .await;
    let credentials = own.enrolled(RECEIVER, "system/s0").await;
    let tls = own.peer_with(RECEIVER, "system/s0", &credentials).tls();
    let own_client = Target { address: own.grpc(), tls };
    let [mut with_hub, mut with_raw, mut with_own] = <[Done; 3]>::default();
    let turns = [(&client, hub.pid()), (&raw_client, server.pid()), (&own_client, own.pid())];
    for (target, pid) in turns {
        // The first ones warm what is cold.
        Done::default().more(target, pid, 2 * AT_ONCE).await;
    }
    for _ in 0..TURNS {
        for ((target, pid), done) in turns.into_iter().zip([&mut with_hub, &mut with_raw, &mut with_own]) {
            done.more(target, pid, sizes.handshakes / TURNS).await;
        }
    }
    out.insert("p10.rate", with_hub.rate());
    out.insert("p10.cpu", with_hub.each());
    out.insert("p10.own", with_own.rate());
    out.insert("p10.own_cpu", with_own.each());
    out.insert("handshake.rate", with_raw.rate());
    out.insert("handshake.cpu", with_raw.each());
    out.insert("p10.share", with_hub.rate() / with_raw.rate());
    own.terminate().await;
    end(hub).await;
}

/// How far a handshake comes that is left lying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Half of the hello was said.
    InTheHello,
    /// The hub has answered the hello and awaits the client's proof.
    AfterTheHello,
}

/// P24: handshakes that were begun and left lying, from as many addresses, and
/// a good client that comes and goes meanwhile.
pub async fn half_open(sizes: &Sizes, out: &mut Readings) {
    let most = usize::try_from(descriptors().saturating_sub(SPARE)).unwrap_or(usize::MAX);
    let many = sizes.half_open.min(most);
    let mut failed = 0;
    let mut uncut = 0;
    for (left, readings) in [
        (Left::InTheHello, ["p24.half", "p24.half.kib", "p24.half.p50", "p24.half.p99"]),
        (Left::AfterTheHello, ["p24.whole", "p24.whole.kib", "p24.whole.p50", "p24.whole.p99"]),
    ] {
        let hub = hub_of(&roomy()).await;
        let good = target(&hub, RECEIVER, "system/s0");
        let alone = visits(&good, VISITS).await;
        let before = process::resident_kib(hub.pid());
        let flood = flood(&hub, &good, left, many, true).await;
        let grown = process::resident_kib(hub.pid()).saturating_sub(before);
        let standing = open(&hub).await;
        let among = visits(&good, VISITS).await;
        let standing = standing.min(open(&hub).await);
        failed += alone.failed + among.failed;
        uncut += cut(flood).await;
        let [count, kib, p50, p99] = readings;
        out.insert(count, standing);
        out.insert(kib, grown as f64 / many as f64);
        out.insert(p50, quantile(&among.waits, 0.5));
        out.insert(p99, quantile(&among.waits, 0.99));
        if left == Left::InTheHello {
            out.insert("p24.alone.p50", quantile(&alone.waits, 0.5));
            out.insert("p24.alone.p99", quantile(&alone.waits, 0.99));
        }
        end(hub).await;
    }
    usual(many, out).await;
    out.insert("p24.failed", failed as f64);
    out.insert("p24.uncut", uncut as f64);
}

/// The same against a hub with the limits that it has by default, and no more
/// than it has room for.
async fn usual(many: usize, out: &mut Readings) {
    for (left, readings) in [
        (Left::InTheHello, ["p24.usual.half.p99", "p24.usual.half.share"]),
        (Left::AfterTheHello, ["p24.usual.whole.p99", "p24.usual.whole.share"]),
    ] {
        let hub = hub_of("").await;
        let good = target(&hub, RECEIVER, "system/s0");
        let flood = flood(&hub, &good, left, many.min(USUAL), false).await;
        // The silent ones are cut after three seconds; those who have said
        // hello give their places to each other at first, and have a grace.
        let span = if left == Left::InTheHello { VISITS / 2 } else { VISITS };
        let among = visits(&good, span).await;
        drop(flood);
        let [p99, share] = readings;
        let all = (among.waits.len() + among.failed) as f64;
        if !among.waits.is_empty() {
            out.insert(p99, quantile(&among.waits, 0.99));
        }
        out.insert(share, 100.0 * among.waits.len() as f64 / all);
        end(hub).await;
    }
}

/// Raises the limit of open files as far as the system allows, and returns it.
fn descriptors() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}

/// Limits that let them all lie: by default there is room for a tenth of them,
/// and the place of the most silent is given to whoever comes.
fn roomy() -> String {
    format!(
        "[limits]\npending_connections = 16384\nhandshakes = 16384\n\
         hello_timeout = \"{DEADLINE}s\"\nhandshake_timeout = \"{DEADLINE}s\""
    )
}

async fn hub_of(limits: &str) -> TestHub {
    TestHub::builder()
        .principal(RECEIVER, "system/s0", &[Role::Subscriber])
        .config("[log]\nfilter = \"warn\"")
        .config(limits)
        .start()
        .await
}

/// What the hub itself counts under this name.
async fn counted(hub: &TestHub, name: &str) -> f64 {
    let (_, page) = hub.get("/metrics").await;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(f64::NAN)
}

/// Connections at once, those at the handshake included.
async fn open(hub: &TestHub) -> f64 {
    counted(hub, "luytre_connections_open").await
}

/// What a good client met with.
struct Visits {
    waits: Vec<Duration>,
    failed: usize,
}

/// Connects again and again for so long, one at a time.
async fn visits(good: &Target, span: Duration) -> Visits {
    let mut visits = Visits { waits: Vec::new(), failed: 0 };
    let first = Instant::now();
    while first.elapsed() < span {
        let started = Instant::now();
        match timeout(PATIENCE, greet(good)).await {
            Ok(Ok(())) => visits.waits.push(started.elapsed()),
            Ok(Err(_)) | Err(_) => visits.failed += 1,
        }
    }
    visits.waits.sort_unstable();
    visits
}

/// Begins `many` handshakes, each from an address of its own; all get as far
/// as they go if the hub is `roomy`.
async fn flood(hub: &TestHub, good: &Target, left: Left, many: usize, roomy: bool) -> Vec<TcpStream> {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut hello = Vec::new();
    rustls::ClientConnection::new(Arc::clone(&good.tls), name).unwrap().write_tls(&mut hello).unwrap();
    if left == Left::InTheHello {
        hello.truncate(hello.len() / 2);
    }
    let (hello, answered) = (Arc::<[u8]>::from(hello), roomy && left == Left::AfterTheHello);
    let before = counted(hub, "luytre_connections_accepted_total").await;
    let mut held = Vec::with_capacity(many);
    while held.len() < many {
        let last = many.min(held.len() + BURST);
        let mut callers = JoinSet::new();
        for caller in 0..AT_ONCE {
            let numbers = (held.len() + caller..last).step_by(AT_ONCE);
            callers.spawn(leave(numbers, good.address, Arc::clone(&hello), answered));
        }
        held.extend(callers.join_all().await.into_iter().flatten());
        eventually("the hub has taken all of them", async || {
            let taken = counted(hub, "luytre_connections_accepted_total").await - before;
            (taken >= last as f64).then_some(())
        })
        .await;
    }
    held
}

/// Begins handshakes and leaves them lying.
async fn leave(
    numbers: impl Iterator<Item = usize>,
    address: SocketAddr,
    hello: Arc<[u8]>,
    answered: bool,
) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for number in numbers {
        let [.., c, d] = u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::new(127, 2, c, d), 0).into()).unwrap();
        let mut tcp = socket.connect(address).await.unwrap();
        // Some are closed at once by a hub that has no room for them.
        let said = tcp.write_all(&hello).await;
        if answered {
            said.unwrap();
            // The hub's part of the handshake shows that it has begun.
            tcp.read_exact(&mut [0; 5]).await.unwrap();
        }
        held.push(tcp);
    }
    held
}

/// Waits until the hub has closed them; returns how many it has not in time.
async fn cut(flood: Vec<TcpStream>) -> usize {
    let last = Instant::now() + Duration::from_secs(DEADLINE + 2);
    let mut closing = JoinSet::new();
    for mut tcp in flood {
        closing.spawn(async move {
            let mut rest = [0; 4096];
            while matches!(tcp.read(&mut rest).await, Ok(1..)) {}
        });
    }
    let _ = timeout_at(last.into(), async { while closing.join_next().await.is_some() {} }).await;
    closing.len()
}
