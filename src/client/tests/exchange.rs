//! Publishing and single calls against a hub that cuts streams.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::base::tasks;
use crate::client::{Backoff, Error, PublishOptions};
use crate::wire::proto::v1;
use v1::exchange_service_server::ExchangeService;

use super::AT_ONCE;
use super::stub::{Hub, refuse};

/// How the stub ends a stream.
#[derive(Clone)]
pub(crate) enum Cut {
    /// With this status, after that many answers; one more batch is applied
    /// and not answered.
    Status(usize, Status),
    /// Without a word, after that many answers.
    Quiet(usize),
    /// Answers with a verdict too few.
    TooFew,
}

#[derive(Default)]
pub(crate) struct State {
    /// One for each stream or call to come; afterwards all goes well.
    cuts: Mutex<VecDeque<Cut>>,
    streams: Mutex<usize>,
    /// Request ids in the order of arrival, repeats included.
    arrived: Mutex<Vec<String>>,
    /// Streams that the client ended in good order.
    ended: Mutex<usize>,
    /// Of each request that arrived, which of its drafts are masked.
    masked: Mutex<Vec<Vec<bool>>>,
    /// What was published under each request id.
    applied: Mutex<HashMap<String, Vec<String>>>,
}

#[derive(Clone)]
pub(crate) struct Stub(Arc<State>);

impl Stub {
    pub(crate) fn with(cuts: impl IntoIterator<Item = Cut>) -> Self {
        Self(Arc::new(State { cuts: Mutex::new(cuts.into_iter().collect()), ..State::default() }))
    }

    pub(crate) async fn serve(&self) -> Hub {
        Hub::exchange(Arc::new(self.clone())).await
    }

    fn begin(&self) -> Option<Cut> {
        *self.0.streams.lock() += 1;
        self.0.cuts.lock().pop_front()
    }

    fn apply(&self, request: v1::PublishIndicatorsRequest) -> v1::PublishIndicatorsResponse {
        let masked = |draft: &v1::IndicatorDraft| {
            draft.marking.as_ref().is_some_and(|m| m.caveats.as_ref().is_some_and(|c| c.masked_source))
        };
        self.0.masked.lock().push(request.indicators.iter().map(masked).collect());
        let values: Vec<String> = request.indicators.into_iter().map(|d| text(d.observable)).collect();
        let results = values.iter().map(|value| v1::PublishResult { outcome: Some(verdict(value)) });
        let results = results.collect();
        self.0.arrived.lock().push(request.request_id.clone());
        let earlier = self.0.applied.lock().insert(request.request_id, values.clone());
        assert!(earlier.is_none_or(|earlier| earlier == values), "a request id stands for one content");
        v1::PublishIndicatorsResponse { results }
    }

    fn streams(&self) -> usize {
        *self.0.streams.lock()
    }

    /// Streams that the client ended in good order, having heard all.
    pub(crate) fn ended(&self) -> usize {
        *self.0.ended.lock()
    }

    pub(crate) fn published(&self) -> usize {
        self.0.applied.lock().values().map(Vec::len).sum()
    }

    /// Answers batch by batch until the cut.
    async fn answer(
        self,
        mut requests: Streaming<v1::PublishIndicatorsRequest>,
        cut: Option<Cut>,
        out: mpsc::Sender<Result<v1::PublishIndicatorsResponse, Status>>,
    ) {
        let mut answered = 0;
        loop {
            let batch = match requests.message().await {
                Ok(Some(batch)) => batch,
                Ok(None) => return *self.0.ended.lock() += 1,
                Err(_) => return,
            };
            let mut answer = self.apply(batch);
            match &cut {
                Some(Cut::Status(after, status)) if answered == *after => {
                    let _ = out.send(Err(status.clone())).await;
                    return;
                }
                Some(Cut::Quiet(after)) if answered == *after => return,
                Some(Cut::TooFew) => drop(answer.results.pop()),
                _ => {}
            }
            answered += 1;
            if out.send(Ok(answer)).await.is_err() {
                return;
            }
        }
    }
}

/// Refuses values that begin with `bad`.
fn verdict(value: &str) -> v1::publish_result::Outcome {
    use prost::Message as _;
    use tonic_types::{ErrorDetails, StatusExt as _};
    if value.starts_with("bad") {
        let mut details = ErrorDetails::with_error_info("FIELD_INVALID", "hub", []);
        details.add_bad_request_violation("observable.text", "is no value");
        let status = Status::with_error_details(Code::InvalidArgument, "no", details);
        return v1::publish_result::Outcome::Rejected(tonic_types::Status::decode(status.details()).unwrap());
    }
    v1::publish_result::Outcome::Published(v1::PublishedIndicator {
        name: value.to_owned(),
        version: 1,
        effect: 1,
        guard: None,
    })
}

fn text(observable: Option<v1::Observable>) -> String {
    match observable.unwrap().value.unwrap() {
        v1::observable::Value::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

/// A match that is named like the value; of a wide look-up, of its host and
/// with more that is not told.
fn looked_up(name: String, wide: bool) -> v1::LookupResult {
    let mut found = v1::LookupMatch { name, ..v1::LookupMatch::default() };
    if wide {
        found.relation = v1::LookupRelation::Host.into();
        found.matched = Some(v1::Observable { value: Some(v1::observable::Value::Domain("host".into())) });
    }
    v1::LookupResult { matches: vec![found], truncated: wide, rejected: None }
}

pub(super) fn draft(n: usize) -> v1::IndicatorDraft {
    let value = Some(v1::observable::Value::Text(format!("value-{n}")));
    v1::IndicatorDraft { observable: Some(v1::Observable { value }), ..v1::IndicatorDraft::default() }
}

type Answers<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl ExchangeService for Stub {
    type PublishStreamStream = Answers<v1::PublishIndicatorsResponse>;
    type LookupObservablesStream = Answers<v1::LookupObservablesResponse>;

    async fn publish_indicators(
        &self,
        request: Request<v1::PublishIndicatorsRequest>,
    ) -> Result<Response<v1::PublishIndicatorsResponse>, Status> {
        let cut = self.begin();
        let answer = self.apply(request.into_inner());
        match cut {
            Some(Cut::Status(_, status)) => Err(status),
            _ => Ok(Response::new(answer)),
        }
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<v1::PublishIndicatorsRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let cut = self.begin();
        let (out, answers) = mpsc::channel(4);
        tasks::spawn("answers", self.clone().answer(request.into_inner(), cut, out));
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn lookup_observables(
        &self,
        request: Request<Streaming<v1::LookupObservablesRequest>>,
    ) -> Result<Response<Self::LookupObservablesStream>, Status> {
        let cut = self.begin();
        let mut requests = request.into_inner();
        let (out, answers) = mpsc::channel(4);
        let stub = self.clone();
        tasks::spawn("answers", async move {
            let mut answered = 0;
            loop {
                let batch = match requests.message().await {
                    Ok(Some(batch)) => batch,
                    Ok(None) => return *stub.0.ended.lock() += 1,
                    Err(_) => return,
                };
                if matches!(&cut, Some(Cut::Quiet(after)) if answered == *after) {
                    return;
                }
                answered += 1;
                let wide = batch.scope() == v1::LookupScope::Wide;
                let results = batch.observables.into_iter().map(|asked| looked_up(text(Some(asked)), wide));
                let answer = v1::LookupObservablesResponse { results: results.collect() };
                if out.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn revoke_indicator(
        &self,
        _: Request<v1::RevokeIndicatorRequest>,
    ) -> Result<Response<v1::RevokeIndicatorResponse>, Status> {
        Err(Status::unimplemented("not of this stub"))
    }

    async fn report_sightings(
        &self,
        _: Request<v1::ReportSightingsRequest>,
    ) -> Result<Response<v1::ReportSightingsResponse>, Status> {
        Err(Status::unimplemented("not of this stub"))
    }

    async fn get_indicator(
        &self,
        _: Request<v1::GetIndicatorRequest>,
    ) -> Result<Response<v1::GetIndicatorResponse>, Status> {
        Err(Status::unimplemented("not of this stub"))
    }

    async fn explain_access(
        &self,
        _: Request<v1::ExplainAccessRequest>,
    ) -> Result<Response<v1::ExplainAccessResponse>, Status> {
        Err(Status::unimplemented("not of this stub"))
    }

    async fn list_indicators(
        &self,
        request: Request<v1::ListIndicatorsRequest>,
    ) -> Result<Response<v1::ListIndicatorsResponse>, Status> {
        // Three pages, the second of them empty.
        let (page, next) = match request.into_inner().page_token.as_str() {
            "" => (2, "a"),
            "a" => (0, "b"),
            _ => (1, ""),
        };
        Ok(Response::new(v1::ListIndicatorsResponse {
            indicators: vec![v1::Indicator::default(); page],
            next_page_token: next.to_owned(),
            plan: None,
        }))
    }
}

const SMALL: PublishOptions =
    PublishOptions { batch: 3, window: 4, backoff: AT_ONCE, on_behalf_of: String::new() };

async fn publish_all(hub: &Hub, drafts: usize) -> Result<Vec<(u64, String)>, Error> {
    let mut stream = hub.client().publish_stream(SMALL);
    let mut verdicts = Vec::new();
    for n in 0..drafts {
        verdicts.extend(stream.push(draft(n)).await?);
    }
    verdicts.extend(stream.finish().await?);
    Ok(verdicts
        .into_iter()
        .map(|verdict| match verdict.result.outcome.unwrap() {
            v1::publish_result::Outcome::Published(published) => (verdict.index, published.name),
            v1::publish_result::Outcome::Rejected(status) => (verdict.index, status.message),
        })
        .collect())
}

#[tokio::test]
async fn verdicts_keep_the_order_of_the_drafts_over_broken_streams_and_nothing_is_published_twice() {
    let away = || Status::unavailable("restarting");
    let cuts = [Cut::Status(2, away()), Cut::Quiet(0), Cut::Quiet(3), Cut::Status(0, away()), Cut::Quiet(1)];
    let stub = Stub::with(cuts);
    let hub = stub.serve().await;

    let verdicts = publish_all(&hub, 50).await.unwrap();

    let expected: Vec<_> = (0..50_u64).map(|n| (n, format!("value-{n}"))).collect();
    assert_eq!(verdicts, expected);
    assert_eq!(stub.published(), 50);
    assert_eq!(stub.streams(), 6);
    assert_eq!(stub.ended(), 1, "the stream that was not cut");
    assert!(stub.0.arrived.lock().len() > 17, "some batches were repeated");
}

#[tokio::test]
async fn masked_and_open_drafts_go_in_requests_of_their_own_and_keep_their_order() {
    let stub = Stub::with([]);
    let hub = stub.serve().await;
    let mut stream = hub.client().publish_stream(SMALL);
    let mut verdicts = Vec::new();
    for n in 0..8 {
        let caveats = v1::Caveats { masked_source: (2..4).contains(&n), ..v1::Caveats::default() };
        let marking = Some(v1::Marking { caveats: Some(caveats), ..v1::Marking::default() });
        verdicts.extend(stream.push(v1::IndicatorDraft { marking, ..draft(n) }).await.unwrap());
    }
    verdicts.extend(stream.finish().await.unwrap());
    let places: Vec<_> = verdicts.iter().map(|verdict| verdict.index).collect();
    assert_eq!(places, (0..8).collect::<Vec<_>>());
    let sent = [vec![false; 2], vec![true; 2], vec![false; 3], vec![false]];
    assert_eq!(*stub.0.masked.lock(), sent);
}

#[tokio::test]
async fn a_stream_that_the_hub_refuses_is_not_opened_again() {
    let stub = Stub::with([Cut::Status(0, refuse(Code::PermissionDenied, "ROLE_INSUFFICIENT"))]);
    let hub = stub.serve().await;
    let error = publish_all(&hub, 5).await.unwrap_err();
    assert_eq!(error.reason(), "ROLE_INSUFFICIENT");
    assert_eq!(stub.streams(), 1);
}

#[tokio::test]
async fn verdicts_that_do_not_match_the_drafts_in_number_are_an_error() {
    let hub = Stub::with([Cut::TooFew]).serve().await;
    assert!(matches!(publish_all(&hub, 5).await, Err(Error::Protocol(_))));
}

#[tokio::test]
async fn a_call_is_tried_again_under_the_same_request_id() {
    let stub = Stub::with([Cut::Status(0, Status::unavailable("draining"))]);
    let hub = stub.serve().await;
    hub.client().publish(vec![draft(1)]).await.unwrap();
    let arrived = stub.0.arrived.lock().clone();
    assert_eq!(arrived.len(), 2);
    assert_eq!(arrived[0], arrived[1]);
}

#[tokio::test]
async fn only_unavailable_is_tried_again() {
    for code in
        [Code::ResourceExhausted, Code::Internal, Code::Aborted, Code::DeadlineExceeded, Code::Unknown]
    {
        let stub = Stub::with([Cut::Status(0, refuse(code, "SOME_REASON"))]);
        let hub = stub.serve().await;
        let error = hub.client().publish(vec![draft(1)]).await.unwrap_err();
        assert_eq!(error.reason(), "SOME_REASON");
        assert_eq!(stub.streams(), 1, "{code:?}");
    }
}

#[tokio::test]
async fn a_hub_that_is_not_there_is_an_error_that_names_it() {
    let hub = Stub::with([]).serve().await;
    let (client, address) = (hub.client(), hub.address());
    hub.end().await;
    let error = client.whoami().await.unwrap_err();
    assert!(matches!(&error, Error::Transport(broken) if !broken.after_handshake), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn results_of_a_bulk_look_up_keep_the_order_of_the_values_over_a_broken_stream() {
    let stub = Stub::with([Cut::Quiet(1), Cut::Quiet(0)]);
    let hub = stub.serve().await;
    let mut lookup = hub.client().lookup().wide();
    let mut found = Vec::new();
    for n in 0..2_000 {
        found.extend(lookup.push_text(&format!("value-{n}")).await.unwrap());
    }
    found.extend(lookup.finish().await.unwrap());
    assert_eq!(stub.ended(), 1, "the stream that was not cut");
    assert_eq!(found.len(), 2_000);
    for (n, found) in found.into_iter().enumerate() {
        assert_eq!(text(Some(found.observable)), format!("value-{n}"));
        assert_eq!(found.result, looked_up(format!("value-{n}"), true));
    }
}

#[tokio::test]
async fn long_values_are_looked_up_in_as_many_messages_as_they_need() {
    let hub = Stub::with([]).serve().await;
    let mut lookup = hub.client().lookup();
    let mut found = Vec::new();
    for _ in 0..100 {
        found.extend(lookup.push_text(&"a".repeat(64 * 1024)).await.unwrap());
    }
    found.extend(lookup.finish().await.unwrap());
    assert_eq!(found.len(), 100);
}

#[tokio::test]
async fn a_walk_goes_on_past_an_empty_page_and_ends_at_the_last() {
    let hub = Stub::with([]).serve().await;
    let mut walk = hub.client().list(v1::IndicatorFilter::default(), 2);
    let mut sizes = Vec::new();
    while let Some(page) = walk.next_page().await.unwrap() {
        sizes.push(page.len());
    }
    assert_eq!(sizes, [2, 0, 1]);
}

/// Waits for ever after a failed try, but for a deadline.
const FOR_EVER: Backoff =
    Backoff { first: Duration::from_hours(1), longest: Duration::from_hours(1), tries: None };

fn patient(hub: &Hub) -> crate::client::Client {
    hub.client().with_backoff(FOR_EVER).with_deadline(Duration::from_secs(1))
}

#[tokio::test]
async fn a_call_that_ran_out_of_time_says_why_its_last_try_failed() {
    let hub = Stub::with([Cut::Status(0, Status::unavailable("restarting"))]).serve().await;
    let error = patient(&hub).publish(vec![draft(1)]).await.unwrap_err();
    assert!(matches!(&error, Error::Timeout { last: Some(last), .. } if last == "restarting"), "{error:?}");
    assert!(error.to_string().contains("restarting"), "{error}");
}

#[tokio::test]
async fn a_stream_without_a_first_answer_ends_with_the_deadline() {
    let hub = Stub::with([Cut::Status(0, Status::unavailable("restarting"))]).serve().await;
    let mut stream = patient(&hub).publish_stream(PublishOptions { backoff: FOR_EVER, ..SMALL });
    assert!(stream.push(draft(1)).await.unwrap().is_empty());
    let error = stream.finish().await.unwrap_err();
    assert!(matches!(&error, Error::Timeout { last: Some(last), .. } if last == "restarting"), "{error:?}");
}
