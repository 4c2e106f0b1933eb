//! What large numbers do: ten thousand sockets that say nothing, a thousand
//! that say hello and no more, and a list of a hundred thousand revoked
//! certificates. Where the system allows fewer open files, there are fewer
//! sockets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use luytre::base::random;
use luytre::pki::tls::Snapshot;
use luytre::server::handshake::Refused;
use luytre::server::listener::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;

use super::limits::client_hello;
use super::support::{Hub, check, eventually, large_crl, within};

/// Raises the limit of open files as far as the system allows, and returns it.
fn descriptors() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}

/// So many sockets, or as many as there are descriptors for: half of them are
/// the hub's, and other tests run too.
fn sockets(wanted: usize) -> usize {
    let most = usize::try_from(descriptors() / 2).unwrap().saturating_sub(2_000);
    assert!(most > 200, "without some 5,000 open files there is no flood; see ulimit -n");
    wanted.min(most)
}

fn open() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_sockets_that_say_nothing_take_no_more_than_their_share() {
    let many = sockets(10_000);
    let limits = Limits { max_pending: 200, ..Limits::default() };
    let hub = Hub::limited(limits).await;
    let mut member = hub.client(&hub.good_client());
    check(&mut member).await.unwrap();
    let mut flood = Vec::new();
    for number in 0..many {
        let [.., c, d] = u32::try_from(number).unwrap().to_be_bytes();
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 2, c, d], 0).into()).unwrap();
        flood.push(within(socket.connect(hub.address)).await.unwrap());
        assert!(hub.connections.total() <= 201);
    }
    let counters = hub.connections.counters();
    eventually("all were accepted", || counters.accepted() > many as u64).await;
    // Whoever was silent for longest made way, one for each that came.
    hub.eventually_refused(Refused::Displaced, many as u64 - 200).await;
    assert_eq!(hub.connections.total(), 201);
    hub.assert_serves(&hub.good_client()).await;
    check(&mut member).await.unwrap();
    // The hub holds its two hundred, not one for each that ever came.
    let with_flood = open();
    drop(flood);
    eventually("the silent ones are gone", || hub.connections.total() <= 2).await;
    eventually("their descriptors are closed", || open() + many <= with_flood + 1_000).await;
    assert_eq!(counters.accept_errors(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_client_gets_in_though_a_thousand_have_said_hello_and_go_no_further() {
    let many = sockets(1_024);
    // What is shown here is not how fast this machine is today; and time alone
    // frees no place.
    let patient = Duration::from_secs(60 * 60);
    let limits = Limits {
        hello_deadline: patient,
        handshake_deadline: patient,
        handshake_queue: patient,
        first_call: patient,
        ..Limits::default()
    };
    let hub = Hub::limited(limits).await;
    let mut member = hub.client(&hub.good_client());
    check(&mut member).await.unwrap();
    let hello = client_hello(&hub);
    let mut flood = Vec::new();
    for number in 0..many {
        let [.., c, d] = u32::try_from(number).unwrap().to_be_bytes();
        // Some come from where the good ones come from.
        let from = if number.is_multiple_of(12) { [127, 0, 0, 1] } else { [127, 2, c, d] };
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut tcp = within(socket.connect(hub.address)).await.unwrap();
        tcp.write_all(&hello).await.unwrap();
        flood.push(tcp);
    }
    let counters = hub.connections.counters();
    eventually("all were accepted", || counters.accepted() > many as u64).await;
    for _ in 0..3 {
        hub.assert_serves(&hub.good_client()).await;
    }
    check(&mut member).await.unwrap();
    assert!(counters.refused(Refused::Displaced) > 0);
    assert_eq!(counters.refused(Refused::Timeout) + counters.refused(Refused::HandshakesSaturated), 0);
    drop(flood);
    eventually("they are gone", || hub.connections.total() <= 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_a_hundred_thousand_is_swapped_under_load_and_the_old_one_is_let_go() {
    // What is shown here is not how fast this machine is today.
    let patient = Duration::from_secs(120);
    let limits = Limits {
        hello_deadline: patient,
        handshake_deadline: patient,
        handshake_queue: patient,
        first_call: patient,
        ..Limits::default()
    };
    let hub = Hub::limited(limits).await;
    let (good, bad) = (hub.good_client(), hub.good_client());
    let serials: Vec<_> = (0..100_000).map(|_| random::bytes::<16>().to_vec()).collect();
    let now = hub.clock.now();
    let lists = [1, 2, 3].map(|number| {
        let bad = (number == 3).then(|| bad.serial());
        large_crl(&hub.pki.client, number, serials.iter().cloned().chain(bad), now)
    });
    let done = AtomicBool::new(false);
    let load = async {
        let mut shaken = 0;
        while !done.load(Ordering::SeqCst) {
            let clients = join_all((0..4).map(|_| hub.tls(&good))).await;
            let failed = clients.iter().find_map(|client| client.as_ref().err());
            assert!(failed.is_none(), "every handshake succeeds: {failed:?}");
            shaken += clients.len();
        }
        shaken
    };
    let swaps = async {
        let mut old: Vec<Weak<Snapshot>> = Vec::new();
        let mut severed = 0;
        for list in lists {
            old.push(Arc::downgrade(&hub.snapshot.load_full()));
            let material = hub.pki.material_with(&[(&hub.pki.client, list)]);
            // As a reload does it: beside those who serve.
            severed += tokio::task::block_in_place(|| hub.put_in_force(material));
            hub.assert_serves(&good).await;
        }
        done.store(true, Ordering::SeqCst);
        (old, severed)
    };
    let ((old, severed), shaken) = tokio::join!(swaps, load);
    assert!(shaken > 0);
    assert_eq!(severed, 0);
    assert_eq!(hub.snapshot.load().revoked(), 100_001);
    eventually("the old lists are let go", || old.iter().all(|old| old.strong_count() == 0)).await;
    hub.assert_refuses(&bad, Refused::Revoked).await;
}
