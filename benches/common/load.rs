//! Decides how load is made: requests encoded beforehand, connections warm,
//! and everyone off at the same moment.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Barrier, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::process;

/// A request as it goes over the wire.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The message.
    pub bytes: Bytes,
    /// How many items it holds.
    pub items: usize,
}

/// What publishing took.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// Items that were taken.
    pub items: usize,
    /// Items that were refused or not answered.
    pub lost: usize,
    /// From the start to the last answer.
    pub elapsed: Duration,
    /// Of the server, meanwhile.
    pub cpu: Duration,
    /// From sending a request to its answer, sorted.
    pub waits: Vec<Duration>,
}

impl Published {
    /// Items a second.
    pub fn rate(&self) -> f64 {
        self.items as f64 / self.elapsed.as_secs_f64()
    }

    /// Processor seconds of the server for a million.
    pub fn cpu_per_million(&self) -> f64 {
        self.cpu.as_secs_f64() / (self.items as f64 / 1e6)
    }

    /// The wait, in milliseconds, that this share of requests did not exceed.
    pub fn wait(&self, share: f64) -> f64 {
        quantile(&self.waits, share)
    }
}

/// The value, in milliseconds, that `share` of the sorted spans do not exceed.
pub fn quantile(sorted: &[Duration], share: f64) -> f64 {
    let place = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(place).map_or(f64::NAN, |span| span.as_secs_f64() * 1e3)
}

/// How a load is driven.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The method.
    pub path: &'static str,
    /// Metadata of the call.
    pub metadata: &'static [(&'static str, usize)],
    /// Requests of one stream that are under way at once.
    pub window: usize,
    /// Process of the server.
    pub pid: u32,
    /// Counts the items taken in an answer; without it all of a request's are.
    pub count: Option<fn(&[u8]) -> usize>,
}

/// Publishes one list of requests on each channel, one stream each.
pub async fn publish(plan: Plan, loads: Vec<(Channel, Vec<Encoded>)>) -> Published {
    let start = Arc::new(Barrier::new(loads.len() + 1));
    let streams: Vec<_> = loads
        .into_iter()
        .map(|(channel, requests)| tokio::spawn(stream(plan, channel, requests, Arc::clone(&start))))
        .collect();
    start.wait().await;
    let (started, before) = (Instant::now(), process::cpu(plan.pid));
    let mut all = Published::default();
    for stream in streams {
        let one = stream.await.expect("no stream panics");
        all.items += one.items;
        all.lost += one.lost;
        all.waits.extend(one.waits);
    }
    all.elapsed = started.elapsed();
    all.cpu = process::cpu(plan.pid).saturating_sub(before);
    all.waits.sort_unstable();
    all
}

/// Publishes one list of requests, once everyone is ready.
pub async fn stream(plan: Plan, channel: Channel, requests: Vec<Encoded>, start: Arc<Barrier>) -> Published {
    let mut out = Published { waits: Vec::with_capacity(requests.len()), ..Published::default() };
    let (send, receive) = mpsc::channel::<Bytes>(plan.window);
    let mut requests = requests.into_iter();
    // The first is not measured: it warms the connection and the stream.
    let warm = requests.next().expect("a load holds requests");
    send.send(warm.bytes).await.expect("the stream is open");
    let answers = super::wire::open(channel, plan.path, plan.metadata, ReceiverStream::new(receive)).await;
    let mut answers = answers.expect("the call is taken");
    answers.message().await.expect("the first is answered").expect("the first is answered");
    start.wait().await;
    let mut waiting: VecDeque<(Instant, usize)> = VecDeque::with_capacity(plan.window);
    loop {
        while waiting.len() < plan.window {
            let Some(next) = requests.next() else { break };
            waiting.push_back((Instant::now(), next.items));
            if send.send(next.bytes).await.is_err() {
                break;
            }
        }
        let Some((sent, items)) = waiting.pop_front() else { return out };
        let Ok(Some(answer)) = answers.message().await else {
            out.lost += items + waiting.iter().map(|(_, items)| items).sum::<usize>();
            out.lost += requests.map(|request| request.items).sum::<usize>();
            return out;
        };
        out.waits.push(sent.elapsed());
        let taken = plan.count.map_or(items, |count| count(&answer));
        out.items += taken;
        out.lost += items - taken.min(items);
    }
}

/// Spreads requests over `streams` streams on `connections` connections.
pub async fn spread(
    target: &super::wire::Target,
    connections: usize,
    streams: usize,
    requests: Vec<Encoded>,
) -> Vec<(Channel, Vec<Encoded>)> {
    let mut channels = Vec::with_capacity(connections);
    for _ in 0..connections {
        channels.push(target.connect().await.expect("the server takes a connection"));
    }
    let mut loads: Vec<_> =
        (0..streams).map(|number| (channels[number % connections].clone(), Vec::new())).collect();
    for (number, request) in requests.into_iter().enumerate() {
        loads[number % streams].1.push(request);
    }
    loads
}
