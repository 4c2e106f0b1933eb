//! Decides how a feed publishes through crashes: pipelined batches, each
//! repeated with its `request_id` until it is answered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use luytre::wire::proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use super::listener::reason;
use super::{Peer, Seed, batch};

/// Batches under way at once.
const WINDOW: usize = 4;

/// An item that the hub acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) value: String,
    pub(crate) name: String,
    pub(crate) version: u64,
}

struct Sent {
    request: v1::PublishIndicatorsRequest,
    values: Vec<String>,
}

/// A feed.
pub(crate) struct Publisher {
    peer: Peer,
    seed: Seed,
    /// Makes the item with this number: its canonical value and its draft.
    item: fn(feed: usize, number: u64) -> (String, v1::IndicatorDraft),
    feed: usize,
    next: u64,
    unanswered: VecDeque<Sent>,
    progress: Arc<AtomicU64>,
    /// What was acknowledged, in order.
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// What the hub did that it must not do.
    pub(crate) problems: Vec<String>,
}

impl Publisher {
    pub(crate) fn new(
        peer: Peer,
        seed: Seed,
        feed: usize,
        item: fn(usize, u64) -> (String, v1::IndicatorDraft),
    ) -> Self {
        Self {
            peer,
            seed,
            item,
            feed,
            next: 0,
            unanswered: VecDeque::new(),
            progress: Arc::default(),
            acknowledged: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Begins with item `number`.
    pub(crate) fn starting_at(mut self, number: u64) -> Self {
        self.next = number;
        self
    }

    /// How many batches were answered so far, for whoever watches the feed.
    pub(crate) fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.progress)
    }

    /// Publishes without pause until told to stop; returns once everything
    /// that was sent is answered.
    pub(crate) async fn publish_until(mut self, stop: CancellationToken) -> Self {
        loop {
            match self.stream(&stop).await {
                Ok(()) => return self,
                Err(status) => {
                    if let Some(reason) = reason(&status).filter(|reason| reason != "DRAINING") {
                        self.problems.push(format!("feed {}: {reason}: {}", self.feed, status.message()));
                        return self;
                    }
                    let pause = self.seed.millis(5, 40);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Publishes one batch of `count` items, and returns when it is answered.
    pub(crate) async fn publish(&mut self, count: u64) -> Result<(), Status> {
        let request = self.prepare(count);
        let answer = self.peer.exchange().publish_indicators(request).await?;
        self.take(answer.into_inner());
        Ok(())
    }

    fn prepare(&mut self, count: u64) -> v1::PublishIndicatorsRequest {
        let items = self.next..self.next + count;
        self.next += count;
        let (values, drafts) = items.map(|number| (self.item)(self.feed, number)).unzip();
        let request = batch(Uuid::new_v4(), drafts);
        self.unanswered.push_back(Sent { request: request.clone(), values });
        request
    }

    async fn stream(&mut self, stop: &CancellationToken) -> Result<(), Status> {
        let (requests, receiver) = mpsc::channel(WINDOW);
        for sent in &self.unanswered {
            requests.try_send(sent.request.clone()).expect("the window bounds what is unanswered");
        }
        let mut client = self.peer.exchange();
        let mut answers = client.publish_stream(ReceiverStream::new(receiver)).await?.into_inner();
        loop {
            if stop.is_cancelled() && self.unanswered.is_empty() {
                return Ok(());
            }
            let room = self.unanswered.len() < WINDOW && !stop.is_cancelled();
            let pause = self.seed.millis(0, 6);
            tokio::select! {
                answer = answers.message() => match answer? {
                    Some(answer) => self.take(answer),
                    None => return Err(Status::unavailable("the stream ended early")),
                },
                () = tokio::time::sleep(pause), if room => {
                    let count = self.seed.between(1, 40);
                    let request = self.prepare(count);
                    if requests.try_send(request).is_err() {
                        return Err(Status::unavailable("the stream is gone"));
                    }
                }
                () = stop.cancelled(), if room => {}
            }
        }
    }

    fn take(&mut self, answer: v1::PublishIndicatorsResponse) {
        use v1::publish_result::Outcome;
        let Some(sent) = self.unanswered.pop_front() else {
            self.problems.push(format!("feed {}: an answer without a request", self.feed));
            return;
        };
        self.progress.fetch_add(1, Ordering::Relaxed);
        if answer.results.len() != sent.values.len() {
            self.problems.push(format!(
                "feed {}: {} answers to {} items",
                self.feed,
                answer.results.len(),
                sent.values.len()
            ));
        }
        for (value, result) in sent.values.into_iter().zip(answer.results) {
            match result.outcome {
                Some(Outcome::Published(published)) if published.effect() == v1::PublishEffect::Created => {
                    self.acknowledged.push(Acknowledged {
                        value,
                        name: published.name,
                        version: published.version,
                    });
                }
                other => self
                    .problems
                    .push(format!("feed {}: {value} is new and was answered {other:?}", self.feed)),
            }
        }
    }
}
