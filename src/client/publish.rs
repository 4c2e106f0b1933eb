//! Decides how a producer publishes without pause: drafts gathered into
//! batches, verdicts in the order of the drafts.

use std::fmt;

use prost::Message as _;
use tonic::{Status, Streaming};

use crate::wire::proto::v1;

use super::backoff::Backoff;
use super::calls::{Client, MAX_ITEMS, request_id};
use super::error::{Error, Refusal};
use super::line::Place;
use super::pipeline::{Call, Pipeline, Requests};

/// Most bytes of drafts in one batch: below the 4 MiB of the public contract,
/// with room for framing.
const MAX_BATCH_BYTES: usize = 3 * 1024 * 1024;

/// How a publishing stream is run.
#[derive(Debug, Clone)]
pub struct PublishOptions {
    /// Drafts in a batch, 1 to [`MAX_ITEMS`].
    pub batch: usize,
    /// Batches on their way at once. Memory is bounded by this many batches.
    pub window: usize,
    /// Patience with a hub that is away.
    pub backoff: Backoff,
    /// Resource name of the organisation whose indicators these shall be;
    /// empty: the caller's own.
    pub on_behalf_of: String,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self { batch: 500, window: 8, backoff: Backoff::STREAM, on_behalf_of: String::new() }
    }
}

/// The verdict on one draft.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Place of the draft in the order of [`PublishStream::push`], from 0.
    pub index: u64,
    /// What became of it.
    pub result: v1::PublishResult,
}

impl Verdict {
    /// What the hub now holds for the draft.
    ///
    /// # Errors
    /// The refusal: its `reason` is for programs, its text for people.
    pub fn outcome(&self) -> Result<&v1::PublishedIndicator, Refusal> {
        use v1::publish_result::Outcome;
        match &self.result.outcome {
            Some(Outcome::Published(published)) => Ok(published),
            Some(Outcome::Rejected(status)) => Err(Refusal::from_item(status)),
            None => Err(Refusal::from_status(&Status::unknown("the hub gave no verdict on this item"))),
        }
    }
}

/// A stream of drafts to the hub. When the connection breaks it is opened
/// again, and what was not answered is sent again under the same request ids:
/// nothing is lost and nothing is published twice.
///
/// Every method that may wait returns the verdicts that came meanwhile, in the
/// order of the drafts, so that they never pile up here.
///
/// ```no_run
/// # async fn example(client: luytre::client::Client, lines: Vec<String>) -> Result<(), luytre::client::Error> {
/// use luytre::client::{Draft, Tlp, Verdict};
///
/// fn report(verdict: Verdict) {
///     if let Err(refusal) = verdict.outcome() {
///         eprintln!("line {}: {refusal}", verdict.index + 1);
///     }
/// }
///
/// let mut stream = client.publish_stream(Default::default());
/// for line in lines {
///     let draft = Draft::new(line, Tlp::Green).label("phishing");
///     stream.push(draft).await?.into_iter().for_each(report);
/// }
/// stream.finish().await?.into_iter().for_each(report);
/// # Ok(())
/// # }
/// ```
pub struct PublishStream {
    pipeline: Pipeline<Publish>,
    gathered: Vec<v1::IndicatorDraft>,
    gathered_bytes: usize,
    batch: usize,
    on_behalf_of: String,
    /// Verdicts received and not yet returned.
    ready: Vec<Verdict>,
    answered: u64,
}

impl fmt::Debug for PublishStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishStream").field("answered", &self.answered).finish_non_exhaustive()
    }
}

impl Client {
    /// A stream for publishing without pause.
    #[must_use]
    pub fn publish_stream(&self, options: PublishOptions) -> PublishStream {
        let hub = self.connection().hub().to_owned();
        PublishStream {
            pipeline: Pipeline::new(
                Publish(self.clone()),
                hub,
                options.window,
                options.backoff,
                self.deadline(),
            ),
            gathered: Vec::new(),
            gathered_bytes: 0,
            batch: options.batch.clamp(1, MAX_ITEMS),
            on_behalf_of: options.on_behalf_of,
            ready: Vec::new(),
            answered: 0,
        }
    }
}

impl PublishStream {
    /// Adds a draft; waits only while the window is full. Returns verdicts on
    /// earlier drafts.
    ///
    /// # Errors
    /// See [`Error`]. Drafts without a verdict may or may not be published.
    pub async fn push(&mut self, draft: impl Into<v1::IndicatorDraft>) -> Result<Vec<Verdict>, Error> {
        let draft = draft.into();
        let bytes = draft.encoded_len() + 8;
        // One request never holds masked and open ones: they would be known to
        // be neighbours.
        let alike = self.gathered.last().is_none_or(|last| is_masked(last) == is_masked(&draft));
        if self.gathered_bytes + bytes > MAX_BATCH_BYTES || !alike {
            self.send_gathered().await?;
        }
        self.gathered_bytes += bytes;
        self.gathered.push(draft);
        if self.gathered.len() >= self.batch {
            self.send_gathered().await?;
        }
        Ok(std::mem::take(&mut self.ready))
    }

    /// Sends drafts as one request of their own, under a request id of the
    /// caller's: sent again under the same id, be it by another process and days
    /// later, they have the answer that they had. Returns verdicts on earlier
    /// drafts.
    ///
    /// # Errors
    /// See [`Error`]. Drafts without a verdict may or may not be published.
    pub async fn push_batch(
        &mut self,
        request_id: String,
        drafts: Vec<v1::IndicatorDraft>,
    ) -> Result<Vec<Verdict>, Error> {
        self.send_gathered().await?;
        if !drafts.is_empty() {
            self.send(request_id, drafts).await?;
        }
        Ok(std::mem::take(&mut self.ready))
    }

    /// Sends what is gathered and waits for every verdict that is due.
    ///
    /// # Errors
    /// See [`Error`]. Drafts without a verdict may or may not be published.
    pub async fn flush(&mut self) -> Result<Vec<Verdict>, Error> {
        self.send_gathered().await?;
        while !self.pipeline.is_empty() {
            self.receive().await?;
        }
        Ok(std::mem::take(&mut self.ready))
    }

    /// As [`Self::flush`], then ends the stream in good order. A stream that
    /// is merely dropped looks to the hub like a producer that went away.
    /// What is pushed afterwards goes over a new stream.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub async fn finish(&mut self) -> Result<Vec<Verdict>, Error> {
        let verdicts = self.flush().await?;
        self.pipeline.end().await;
        Ok(verdicts)
    }

    async fn send_gathered(&mut self) -> Result<(), Error> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.gathered_bytes = 0;
        let indicators = std::mem::take(&mut self.gathered);
        self.send(request_id(), indicators).await
    }

    async fn send(&mut self, request_id: String, indicators: Vec<v1::IndicatorDraft>) -> Result<(), Error> {
        while self.pipeline.is_full() {
            self.receive().await?;
        }
        let on_behalf_of = self.on_behalf_of.clone();
        self.pipeline.send(v1::PublishIndicatorsRequest { request_id, indicators, on_behalf_of });
        Ok(())
    }

    async fn receive(&mut self) -> Result<(), Error> {
        if let Some((_, answer)) = self.pipeline.receive().await? {
            for result in answer.results {
                self.ready.push(Verdict { index: self.answered, result });
                self.answered += 1;
            }
        }
        Ok(())
    }
}

fn is_masked(draft: &v1::IndicatorDraft) -> bool {
    draft.marking.as_ref().and_then(|marking| marking.caveats.as_ref()).is_some_and(|c| c.masked_source)
}

struct Publish(Client);

impl Call for Publish {
    type Request = v1::PublishIndicatorsRequest;
    type Answer = v1::PublishIndicatorsResponse;

    fn place(&self) -> Place {
        self.0.connection().place()
    }

    async fn open(&self, requests: Requests<Self::Request>) -> Result<Streaming<Self::Answer>, Status> {
        Ok(self.0.exchange().publish_stream(requests).await?.into_inner())
    }

    fn asked(request: &Self::Request) -> usize {
        request.indicators.len()
    }

    fn answered(answer: &Self::Answer) -> usize {
        answer.results.len()
    }
}
