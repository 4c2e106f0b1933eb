//! Decides how a test proves what somebody did not learn: a witness keeps
//! every byte that the hub ever sent it.

use std::sync::Arc;

use bytes::Bytes;
use luytre::wire::proto::v1;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use uuid::Uuid;
use v1::publish_result::Outcome;
use v1::subscribe_request::Message as Say;
use v1::subscribe_response::Message as Heed;

use super::patience::patiently;
use super::told::{Event, events};
use super::{Peer, batch, raw};

/// Events that a watcher allows at first.
const CREDIT: u32 = 10_000;

/// A principal that remembers all that it was told.
#[derive(Clone)]
pub(crate) struct Witness {
    identity: String,
    channel: Channel,
    told: Arc<Mutex<Vec<u8>>>,
}

/// Code and reason of a refusal.
pub(crate) type Refusal = (Code, String);

impl Witness {
    pub(crate) fn new(peer: &Peer) -> Self {
        Self { identity: peer.identity().to_owned(), channel: peer.channel(), told: Arc::default() }
    }

    /// Its SPIFFE identity.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// Whether anything that the hub ever told it holds `text`, in whatever
    /// case.
    pub(crate) fn was_told(&self, text: &str) -> bool {
        let (told, text) = (self.told.lock().to_ascii_lowercase(), text.to_ascii_lowercase());
        told.windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// Calls a method of `luytre.v1` that answers once.
    pub(crate) async fn call<A: prost::Message + Default>(
        &self,
        method: &str,
        request: &impl prost::Message,
    ) -> Result<A, Status> {
        let said = vec![Bytes::from(request.encode_to_vec())];
        let path = format!("/luytre.v1.{method}");
        let answer = patiently(method, raw::call(&self.channel, &path, said)).await;
        self.keep(&answer.headers, &answer.trailers);
        answer.messages.iter().for_each(|message| self.told.lock().extend_from_slice(message));
        if let Some(status) = answer.status {
            self.keep_status(&status);
            return Err(status);
        }
        assert_eq!(answer.messages.len(), 1, "{method} as {}", self.identity);
        Ok(A::decode(answer.messages[0].clone()).unwrap())
    }

    fn keep(&self, headers: &MetadataMap, trailers: &MetadataMap) {
        self.told.lock().extend_from_slice(format!("{headers:?} {trailers:?}").as_bytes());
    }

    fn keep_status(&self, status: &Status) {
        let mut told = self.told.lock();
        told.extend_from_slice(status.message().as_bytes());
        told.extend_from_slice(status.details());
        told.extend_from_slice(format!("{:?}", status.metadata()).as_bytes());
    }

    /// Publishes; the verdict on each item.
    pub(crate) async fn send(
        &self,
        request: &v1::PublishIndicatorsRequest,
    ) -> Vec<Result<v1::PublishedIndicator, Refusal>> {
        let answer: v1::PublishIndicatorsResponse =
            self.call("ExchangeService/PublishIndicators", request).await.unwrap();
        let verdict = |result: v1::PublishResult| match result.outcome.unwrap() {
            Outcome::Published(published) => Ok(published),
            Outcome::Rejected(status) => {
                use tonic_types::RpcStatusExt as _;
                let reason = status.get_details_error_info().map(|info| info.reason);
                Err((Code::from_i32(status.code), reason.unwrap_or_default()))
            }
        };
        answer.results.into_iter().map(verdict).collect()
    }

    /// Publishes one indicator; its name.
    pub(crate) async fn publish(&self, draft: v1::IndicatorDraft) -> String {
        self.send(&batch(Uuid::new_v4(), vec![draft])).await.remove(0).unwrap().name
    }

    /// An indicator with its sightings and collisions.
    pub(crate) async fn get(&self, name: &str) -> Result<v1::GetIndicatorResponse, Refusal> {
        let request = v1::GetIndicatorRequest { name: name.to_owned(), as_of: None };
        self.call("ExchangeService/GetIndicator", &request).await.map_err(|status| refusal(&status))
    }

    /// What is known of a value.
    pub(crate) async fn lookup(&self, value: &str) -> Vec<v1::LookupMatch> {
        let request = v1::LookupObservablesRequest {
            observables: vec![super::text_value(value)],
            ..Default::default()
        };
        let answer: v1::LookupObservablesResponse =
            self.call("ExchangeService/LookupObservables", &request).await.unwrap();
        answer.results.into_iter().flat_map(|result| result.matches).collect()
    }

    /// All indicators in force.
    pub(crate) async fn list(&self) -> Vec<v1::Indicator> {
        let request = v1::ListIndicatorsRequest { page_size: 1_000, ..Default::default() };
        let answer: v1::ListIndicatorsResponse =
            self.call("ExchangeService/ListIndicators", &request).await.unwrap();
        answer.indicators
    }

    /// Reports a sighting; its name.
    pub(crate) async fn sight(&self, sighting: v1::Sighting) -> Result<String, Refusal> {
        let request =
            v1::ReportSightingsRequest { request_id: Uuid::new_v4().to_string(), sightings: vec![sighting] };
        let mut answer: v1::ReportSightingsResponse =
            self.call("ExchangeService/ReportSightings", &request).await.unwrap();
        match answer.results.remove(0).outcome.unwrap() {
            v1::sighting_result::Outcome::Recorded(name) => Ok(name),
            v1::sighting_result::Outcome::Rejected(status) => {
                use tonic_types::RpcStatusExt as _;
                let reason = status.get_details_error_info().map(|info| info.reason);
                Err((Code::from_i32(status.code), reason.unwrap_or_default()))
            }
        }
    }

    /// An organisation as it stands.
    pub(crate) async fn organisation(&self, slug: &str) -> v1::Organisation {
        let request = v1::GetOrganisationRequest { name: format!("organisations/{slug}") };
        let answer: v1::GetOrganisationResponse =
            self.call("DirectoryService/GetOrganisation", &request).await.unwrap();
        answer.organisation.unwrap()
    }

    /// Opens a stream.
    pub(crate) async fn watch(&self, open: v1::Open) -> Result<Watcher, Refusal> {
        let (say, said) = mpsc::channel(16);
        let open = v1::SubscribeRequest { message: Some(Say::Open(open)) };
        say.send(open.encode_to_vec().into()).await.unwrap();
        let said = ReceiverStream::new(said);
        let opening = raw::open(&self.channel, "/luytre.v1.SubscriptionService/Subscribe", said);
        let response = patiently("a stream", opening).await.map_err(|status| {
            self.keep_status(&status);
            refusal(&status)
        })?;
        self.keep(response.metadata(), &MetadataMap::new());
        let frames = response.into_inner();
        Ok(Watcher { witness: self.clone(), say, frames, token: Bytes::new() })
    }

    /// Watches all that it may see, from the beginning of the log.
    pub(crate) async fn watch_all(&self) -> Watcher {
        self.watch(from_the_beginning()).await.unwrap()
    }
}

/// Everything, from the beginning of the log.
pub(crate) fn from_the_beginning() -> v1::Open {
    v1::Open {
        start: Some(v1::open::Start::Position(v1::StartPosition::Earliest.into())),
        initial_credit: CREDIT,
        include_sightings: true,
        include_notices: true,
        ..v1::Open::default()
    }
}

/// Code and reason of a status.
pub(crate) fn refusal(status: &Status) -> Refusal {
    (status.code(), super::listener::reason(status).unwrap_or_default())
}

/// A stream of a witness.
pub(crate) struct Watcher {
    witness: Witness,
    say: mpsc::Sender<Bytes>,
    frames: Streaming<Bytes>,
    /// The last token.
    pub(crate) token: Bytes,
}

impl Watcher {
    /// The next frame, or why there is none.
    pub(crate) async fn next(&mut self) -> Result<Heed, Refusal> {
        let frame = match patiently("a frame", self.frames.message()).await {
            Ok(frame) => frame.expect("the hub says why it ends a stream"),
            Err(status) => {
                self.witness.keep_status(&status);
                return Err(refusal(&status));
            }
        };
        self.witness.told.lock().extend_from_slice(&frame);
        let message = v1::SubscribeResponse::decode(frame).unwrap().message.unwrap();
        match &message {
            Heed::Opened(v1::Opened { resume_token, .. })
            | Heed::Batch(v1::EventBatch { resume_token, .. })
            | Heed::Heartbeat(v1::Heartbeat { resume_token, .. }) => self.token = resume_token.clone(),
            _ => {}
        }
        Ok(message)
    }

    /// Everything up to the event that `last` knows, and that event's batch.
    pub(crate) async fn up_to(&mut self, last: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut heard = Vec::new();
        while !heard.iter().any(&last) {
            if let Heed::Batch(batch) = self.next().await.unwrap() {
                heard.extend(events(batch));
            }
        }
        heard
    }

    /// Everything up to the first event of the indicator of this name.
    pub(crate) async fn up_to_indicator(&mut self, name: &str) -> Vec<Event> {
        self.up_to(|event| event.indicator.as_ref().is_some_and(|indicator| indicator.name == name)).await
    }

    /// How the stream ends.
    pub(crate) async fn end(&mut self) -> Refusal {
        loop {
            if let Err(refusal) = self.next().await {
                return refusal;
            }
        }
    }

    /// Acknowledges all that came; returns once that is durable.
    pub(crate) async fn acknowledge(&mut self) {
        let ack = v1::Ack { resume_token: self.token.clone() };
        let said = v1::SubscribeRequest { message: Some(Say::Ack(ack)) };
        self.say.send(said.encode_to_vec().into()).await.unwrap();
        while !matches!(self.next().await.unwrap(), Heed::Acked(_)) {}
    }
}
