//! Decides how a revocation is measured: from the operator's command to the
//! last byte on each stream of the certificate, and what others notice of it.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use luytre::model::principal::Role;
use luytre::pki::key::Key;
use luytre::wire::proto::v1;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use uuid::Uuid;

use super::Sizes;
use super::harness::issuing::{Issuing, request};
use super::harness::{TestHub, eventually, listener};
use super::items::{Items, RECEIVER, amber, green};
use super::load::quantile;
use super::rows::{Heard, LIVE, Readings, subscribe};
use super::wire::{self, Target};

/// Whose certificates are revoked, two of them at most at once.
const STOLEN: [&str; 2] = ["north", "south"];
/// Systems of each, one after the other: the hub signs ten certificates within
/// an hour for one of them.
const SYSTEMS: usize = 40;
/// Certificates of one system.
const OF_ONE: usize = 8;
/// Streams on one connection; the hub takes 256.
const STREAMS: usize = 250;
/// A stream that lives on for so long was not ended.
const PATIENCE: Duration = Duration::from_secs(10);
/// One item each; what it takes to look at a thousand streams leaves room.
const PACE: Duration = Duration::from_millis(4);
/// Items before a window, and in one: a second with the revocation in it, and
/// a second without.
const WARM: usize = 25;
const WINDOW: usize = 250;

/// So many streams of so many certificates that are revoked in one moment.
struct Crowd {
    streams: usize,
    certificates: usize,
    rounds: fn(&Sizes) -> usize,
    /// Median, 99th percentile and worst time to the last byte.
    readings: [&'static str; 3],
    /// What others notice, if that is measured: their 99th percentile with a
    /// revocation and without one, their worst with and without, and how many
    /// times the first is of the second.
    others: Option<[&'static str; 5]>,
}

/// An organisation has at most 512 streams, so a thousand take two.
const CROWDS: [Crowd; 4] = [
    Crowd {
        streams: 1,
        certificates: 1,
        rounds: |sizes| sizes.revocations * 4,
        readings: ["p23.1.p50", "p23.1.p99", "p23.1.worst"],
        others: None,
    },
    Crowd {
        streams: 100,
        certificates: 1,
        rounds: |sizes| sizes.revocations,
        readings: ["p23.100.p50", "p23.100.p99", "p23.100.worst"],
        others: Some([
            "p23.100.others",
            "p23.100.calm",
            "p23.100.others.worst",
            "p23.100.calm.worst",
            "p23.100.moved",
        ]),
    },
    Crowd {
        streams: 512,
        certificates: 1,
        rounds: |sizes| sizes.revocations.div_ceil(2),
        readings: ["p23.512.p50", "p23.512.p99", "p23.512.worst"],
        others: None,
    },
    Crowd {
        streams: 1_000,
        certificates: 2,
        rounds: |sizes| sizes.revocations,
        readings: ["p23.1000.p50", "p23.1000.p99", "p23.1000.worst"],
        others: Some([
            "p23.1000.others",
            "p23.1000.calm",
            "p23.1000.others.worst",
            "p23.1000.calm.worst",
            "p23.1000.moved",
        ]),
    },
];

/// P23: certificates with open streams are revoked over the hub's own socket,
/// each enrolled anew, while others publish and listen.
pub async fn revocation(items: &mut Items, sizes: &Sizes, out: &mut Readings) {
    let mut hub = hub().await;
    let rounds: usize = CROWDS.iter().filter(|crowd| crowd.others.is_some()).map(|c| (c.rounds)(sizes)).sum();
    let mut traffic = Traffic::start(&hub, items, rounds * (WARM + 2 * WINDOW)).await;
    let (mut ended, mut wrong, mut answers, mut round) = (0, 0, Vec::new(), 0);
    for crowd in &CROWDS {
        let (mut waits, mut with, mut without) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..(crowd.rounds)(sizes) {
            let mut doomed = Vec::new();
            let system = format!("system/stolen-{}", round / OF_ONE);
            round += 1;
            for organisation in &STOLEN[..crowd.certificates] {
                let streams = crowd.streams / crowd.certificates;
                doomed.push(Doomed::open(&hub, organisation, &system, streams).await);
            }
            let cut = if crowd.others.is_some() {
                traffic.pace(WARM).await;
                let calm = traffic.pace(WINDOW).await;
                let (cut, moved) = tokio::join!(revoke(&hub, doomed), traffic.pace(WINDOW));
                traffic.settle().await;
                without.extend(traffic.waits(calm));
                with.extend(traffic.waits(moved));
                cut
            } else {
                revoke(&hub, doomed).await
            };
            ended += cut.waits.len();
            wrong += cut.wrong;
            answers.extend(cut.answers);
            waits.extend(cut.waits);
        }
        note(crowd.readings, waits, out);
        if let Some(names) = crowd.others {
            note_others(names, with, without, out);
        }
    }
    answers.sort_unstable();
    out.insert("p23.answer.worst", quantile(&answers, 1.0));
    out.insert("p23.streams", ended as f64);
    out.insert("p23.wrong", wrong as f64);
    drop(traffic);
    hub.terminate().await;
}

fn note([p50, p99, worst]: [&'static str; 3], mut waits: Vec<Duration>, out: &mut Readings) {
    waits.sort_unstable();
    out.extend([(p50, quantile(&waits, 0.5)), (p99, quantile(&waits, 0.99)), (worst, quantile(&waits, 1.0))]);
}

fn note_others(
    [p99, calm, worst, calm_worst, moved]: [&'static str; 5],
    mut with: Vec<Duration>,
    mut without: Vec<Duration>,
    out: &mut Readings,
) {
    with.sort_unstable();
    without.sort_unstable();
    let (with_p99, without_p99) = (quantile(&with, 0.99), quantile(&without, 0.99));
    out.extend([(p99, with_p99), (calm, without_p99), (moved, with_p99 / without_p99)]);
    out.extend([(worst, quantile(&with, 1.0)), (calm_worst, quantile(&without, 1.0))]);
}

/// A hub with authorities of its own.
async fn hub() -> Issuing {
    let mut builder = TestHub::builder().principal("agency", "system/feed", &[Role::Publisher]);
    for number in 0..LIVE {
        builder = builder.principal(RECEIVER, &format!("system/s{number}"), &[Role::Subscriber]);
    }
    for organisation in STOLEN {
        for system in 0..SYSTEMS {
            let name = format!("system/stolen-{system}");
            builder = builder.principal(organisation, &name, &[Role::Subscriber]);
        }
    }
    builder.config("[log]\nfilter = \"warn\"").start_issuing().await
}

/// Enrols a system, and says how it calls.
async fn enrolled(hub: &Issuing, organisation: &str, name: &str) -> Target {
    let credentials = hub.enrolled(organisation, name).await;
    Target { address: hub.grpc(), tls: hub.peer_with(organisation, name, &credentials).tls() }
}

/// A certificate that will be revoked, with its open streams.
struct Doomed {
    name: String,
    connections: usize,
    streams: Vec<JoinHandle<End>>,
}

/// How a stream ended.
struct End {
    at: Instant,
    /// Whether the hub said why.
    told: bool,
}

impl Doomed {
    async fn open(hub: &Issuing, organisation: &str, system: &str, streams: usize) -> Self {
        let key = Key::for_leaf().unwrap();
        let token = hub.token(organisation, system).await;
        let issued = hub.enrol(&token, request(&key)).await.unwrap();
        let credentials = hub.keep(organisation, &issued, &key);
        let target =
            Target { address: hub.grpc(), tls: hub.peer_with(organisation, system, &credentials).tls() };
        let asked = v1::ListCertificatesRequest {
            organisation: format!("organisations/{organisation}"),
            ..Default::default()
        };
        let listed = hub.machine().list_certificates(asked).await.unwrap().into_inner().certificates;
        let mine = listed.into_iter().find(|one| one.serial == issued.serial).expect("it is in the ledger");
        let connections = streams.div_ceil(STREAMS);
        let mut open = Vec::with_capacity(streams);
        for number in 0..connections {
            let channel = target.connect().await.unwrap();
            for _ in 0..STREAMS.min(streams - number * STREAMS) {
                let heard = subscribe(channel.clone(), v1::StartPosition::Latest).await;
                open.push(tokio::spawn(end(heard)));
            }
        }
        Self { name: mine.name, connections, streams: open }
    }
}

/// Listens until the hub ends the stream.
async fn end((mut answers, keep): Heard) -> End {
    let _keep = keep;
    loop {
        let message = answers.message().await;
        let at = Instant::now();
        match message {
            Ok(Some(_)) => {}
            Ok(None) => return End { at, told: false },
            Err(status) => {
                let reason = listener::reason(&status);
                let told = status.code() == Code::Unauthenticated
                    && reason.as_deref() == Some("CERTIFICATE_REVOKED");
                return End { at, told };
            }
        }
    }
}

/// What a revocation took.
#[derive(Default)]
struct Cut {
    /// To the last byte on each stream.
    waits: Vec<Duration>,
    /// To the answer to each command.
    answers: Vec<Duration>,
    /// Streams that did not end, or not with the reason.
    wrong: usize,
}

/// Revokes these certificates at the same moment, one command each.
async fn revoke(hub: &Issuing, doomed: Vec<Doomed>) -> Cut {
    let mut cut = Cut::default();
    let started = Instant::now();
    let commands: Vec<_> = doomed
        .iter()
        .map(|one| {
            // As a command does it that has just been started.
            let mut machine = hub.machine();
            let asked = v1::RevokeCertificateRequest {
                request_id: Uuid::new_v4().to_string(),
                name: one.name.clone(),
                reason: "stolen".to_owned(),
                ..Default::default()
            };
            tokio::spawn(async move {
                let answer = machine.revoke_certificate(asked).await.unwrap().into_inner();
                (answer, started.elapsed())
            })
        })
        .collect();
    for (command, one) in commands.into_iter().zip(doomed) {
        for stream in one.streams {
            match timeout_at((started + PATIENCE).into(), stream).await {
                Ok(end) => {
                    let End { at, told } = end.unwrap();
                    cut.waits.push(at.saturating_duration_since(started));
                    cut.wrong += usize::from(!told);
                }
                Err(_) => cut.wrong += 1,
            }
        }
        let (answer, wait) = command.await.unwrap();
        // Fewer where the hub's own sweep of the new ledger came first.
        assert!(answer.severed_count as usize <= one.connections, "no connection is ended twice");
        cut.answers.push(wait);
    }
    cut
}

/// One who publishes, and some who listen and are no part of it all.
struct Traffic {
    base: Instant,
    publish: mpsc::Sender<Bytes>,
    requests: std::vec::IntoIter<Bytes>,
    /// When each item was sent.
    sent: Vec<Duration>,
    /// When each listener has heard each.
    heard: Vec<Arc<Mutex<Vec<Duration>>>>,
}

impl Traffic {
    async fn start(hub: &Issuing, items: &mut Items, count: usize) -> Self {
        // Two in a window reach the streams that will be cut, so that they are
        // in use; more would make a hundredth of all deliveries wait for them.
        let marking =
            |number: usize, _| if number.is_multiple_of(WINDOW / 2) { green() } else { amber(&[RECEIVER]) };
        let requests: Vec<_> = (0..count).map(|number| items.marked(number, 1, &marking).0.bytes).collect();
        let base = Instant::now();
        let mut heard = Vec::new();
        for number in 0..LIVE {
            let target = enrolled(hub, RECEIVER, &format!("system/s{number}")).await;
            let (mut answers, keep) =
                subscribe(target.connect().await.unwrap(), v1::StartPosition::Latest).await;
            let times: Arc<Mutex<Vec<Duration>>> = Arc::default();
            heard.push(Arc::clone(&times));
            tokio::spawn(async move {
                let _keep = keep;
                while let Ok(Some(message)) = answers.message().await {
                    let now = base.elapsed();
                    times.lock().extend((0..wire::events(&message)).map(|_| now));
                }
            });
        }
        let channel = enrolled(hub, "agency", "system/feed").await.connect().await.unwrap();
        let (publish, receive) = mpsc::channel(64);
        tokio::spawn(async move {
            let answers = wire::open(channel, wire::PUBLISH, &[], ReceiverStream::new(receive)).await;
            let mut answers = answers.unwrap();
            while let Ok(Some(answer)) = answers.message().await {
                assert_eq!(wire::published(&answer), 1, "every item is taken");
            }
        });
        Self { base, publish, requests: requests.into_iter(), sent: Vec::with_capacity(count), heard }
    }

    /// Sends so many, one after another; says which.
    async fn pace(&mut self, count: usize) -> Range<usize> {
        let first = self.sent.len();
        let mut pace = tokio::time::interval(PACE);
        for _ in 0..count {
            pace.tick().await;
            let request = self.requests.next().expect("there are enough");
            self.sent.push(self.base.elapsed());
            self.publish.send(request).await.expect("the publisher is served");
        }
        first..self.sent.len()
    }

    /// Waits until everyone has heard all.
    async fn settle(&self) {
        let all = |times: &Arc<Mutex<Vec<Duration>>>| times.lock().len() >= self.sent.len();
        eventually("the others hear everything", async || self.heard.iter().all(all).then_some(())).await;
    }

    /// From sending each of these to each listener's receipt.
    fn waits(&self, which: Range<usize>) -> Vec<Duration> {
        let of = |times: &Arc<Mutex<Vec<Duration>>>| {
            let times = times.lock();
            let sent = self.sent[which.clone()].iter().zip(&times[which.clone()]);
            sent.map(|(sent, heard)| heard.saturating_sub(*sent)).collect::<Vec<_>>()
        };
        self.heard.iter().flat_map(of).collect()
    }
}
