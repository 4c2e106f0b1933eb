//! The face over a real hub, without a network: what the layers promise.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use prometheus_client::registry::Registry;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;
use uuid::Uuid;

use crate::base::clock::{SystemClock, Timestamp};
use crate::hub::{Hub, Options, PeerCertificate};
use crate::model::org::{OrgSlug, Organisation};
use crate::model::principal::{Role, Roles, SpiffeId};
use crate::model::roster::{Grant, Roster};
use crate::pki::identity::{CertificateId, IssuerDigest};
use crate::policy::access::Method;
use crate::wire::proto::v1;
use crate::wire::proto::v1::directory_service_client::DirectoryServiceClient;
use crate::wire::proto::v1::exchange_service_client::ExchangeServiceClient;

use super::face::{MAX_MESSAGE_BYTES, MAX_SMALL_MESSAGE_BYTES};
use super::layers::intake::{Intake, Limits};
use super::{Face, Metrics};
use crate::policy::limits::Quota;

const IDENTITY: &str = "spiffe://test.example/org/a/system/feed";
const LONG: Duration = Duration::from_secs(60);

type Service = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Infallible>;

struct Trial {
    hub: Arc<Hub>,
    peer: PeerCertificate,
    metrics: Metrics,
    _dir: tempfile::TempDir,
}

impl Trial {
    fn start() -> Self {
        Self::with(Roles::NONE.with(Role::Publisher))
    }

    /// A hub at which the peer has `roles`.
    fn with(roles: Roles) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let identity = SpiffeId::parse(IDENTITY).unwrap();
        let slug = OrgSlug::parse("a").unwrap();
        let organisation = Organisation::plain(slug.clone());
        let grant = Grant { roles, from: None, to: None };
        let roster = Roster {
            organisations: [(slug, organisation)].into(),
            principals: [(identity.clone(), grant)].into(),
            ..Roster::default()
        };
        Hub::init(&data_dir, roster, "test.example", &SystemClock).unwrap();
        let hub = Hub::open(Options { data_dir, ..Options::default() }).unwrap();
        let not_after = Timestamp::from_micros(4_000_000_000_000_000).unwrap();
        let peer = PeerCertificate {
            identity,
            certificate: CertificateId { issuer: IssuerDigest::of(b"authority"), serial: "2a".into() },
            fingerprint: [0; 32],
            not_before: Timestamp::EPOCH,
            not_after,
            key_exchange: "X25519MLKEM768",
            severed: CancellationToken::new(),
        };
        Self { hub, peer, metrics: Metrics::default(), _dir: dir }
    }

    /// The face as a connection of the peer sees it.
    fn serve(&self, longest: Duration) -> Service {
        self.connect(self.bare(longest))
    }

    /// The same of a certain face.
    fn connect(&self, face: Face) -> Service {
        let peer = self.peer.clone();
        BoxCloneSyncService::new(face.map_request(move |mut request: http::Request<Body>| {
            request.extensions_mut().insert(peer.clone());
            request
        }))
    }

    /// The face without a certificate in sight.
    fn bare(&self, longest: Duration) -> Face {
        Face::new(Arc::clone(&self.hub), self.metrics.clone(), longest).unwrap()
    }
}

fn batch(value: &str) -> v1::PublishIndicatorsRequest {
    let draft = v1::IndicatorDraft {
        observable: Some(v1::Observable { value: Some(v1::observable::Value::Text(value.to_owned())) }),
        marking: Some(v1::Marking { tlp: v1::Tlp::Green.into(), ..Default::default() }),
        ..Default::default()
    };
    v1::PublishIndicatorsRequest {
        request_id: Uuid::new_v4().to_string(),
        indicators: vec![draft],
        ..Default::default()
    }
}

fn request(path: &str, body: Body) -> http::Request<Body> {
    http::Request::post(format!("http://hub{path}"))
        .header("content-type", "application/grpc")
        .body(body)
        .unwrap()
}

/// The status with which a response ends, wherever it stands.
async fn ended(response: http::Response<Body>) -> Status {
    let mut headers = response.headers().clone();
    headers.extend(response.into_body().collect().await.unwrap().trailers().cloned().unwrap_or_default());
    Status::from_header_map(&headers).unwrap()
}

fn told(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_am_i_tells_what_the_certificate_says() {
    let trial = Trial::start();
    let mut client = DirectoryServiceClient::new(trial.serve(LONG));
    let me = client.who_am_i(v1::WhoAmIRequest {}).await.unwrap().into_inner();
    assert_eq!((me.spiffe_id.as_str(), me.organisation.as_str()), (IDENTITY, "organisations/a"));
    assert_eq!((me.roles, me.certificate_serial.as_str()), (vec!["publisher".to_owned()], "2a"));
    assert_eq!(me.certificate_expire_time.unwrap().seconds, 4_000_000_000);
    assert_eq!(me.key_exchange, "X25519MLKEM768");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_certificate_nothing_is_answered() {
    let trial = Trial::start();
    let mut client = DirectoryServiceClient::new(trial.bare(LONG));
    let status = client.who_am_i(v1::WhoAmIRequest {}).await.unwrap_err();
    assert_eq!(told(&status), (Code::Internal, "INTERNAL_ERROR".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unary_call_ends_at_its_deadline() {
    let trial = Trial::start();
    for (longest, asked) in [(Duration::from_millis(1), None), (LONG, Some("1m"))] {
        // A request that never comes to its end.
        let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let mut request = request("/luytre.v1.ExchangeService/PublishIndicators", Body::new(body));
        if let Some(asked) = asked {
            request.headers_mut().insert("grpc-timeout", asked.parse().unwrap());
        }
        let status = ended(trial.serve(longest).oneshot(request).await.unwrap()).await;
        assert_eq!(told(&status), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()), "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_message_ends_a_call_in_time_however_long_the_call_may_take() {
    let trial = Trial::with(Role::ALL.into_iter().collect());
    let mut face = trial.bare(LONG);
    face.intake = Intake::new(Limits { message_within: Duration::ZERO, ..Limits::default() });
    let open = v1::Open { start: Some(v1::open::Start::Position(1)), ..Default::default() };
    let open =
        v1::SubscribeRequest { message: Some(v1::subscribe_request::Message::Open(open)) }.encode_to_vec();
    for (method, before) in [
        (Method::WhoAmI, None),
        (Method::PublishIndicators, None),
        (Method::PublishStream, None),
        (Method::PublishStream, Some(batch("a.example").encode_to_vec())),
        (Method::LookupObservables, None),
        (Method::Subscribe, None),
        (Method::Subscribe, Some(open)),
    ] {
        let before = before.map(|whole| message(&whole)).unwrap_or_default();
        let frames = [before, message(&[0; 9]).slice(..7)].map(|data| Ok::<_, Infallible>(Frame::data(data)));
        let body = StreamBody::new(stream::iter(frames).chain(stream::pending()));
        let request = request(method.path(), Body::new(body));
        let status = ended(trial.connect(face.clone()).oneshot(request).await.unwrap()).await;
        assert_eq!(told(&status), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()), "{method:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_for_which_there_is_no_room_is_told_when_to_come_again() {
    let trial = Trial::with(Role::ALL.into_iter().collect());
    let mut face = trial.bare(LONG);
    face.intake = Intake::new(Limits { room_kib: 0, room_within: Duration::ZERO, ..Limits::default() });
    for method in [Method::PublishIndicators, Method::PublishStream, Method::Subscribe] {
        let request = request(method.path(), framed(&[]));
        let status = ended(trial.connect(face.clone()).oneshot(request).await.unwrap()).await;
        assert_eq!(told(&status), (Code::ResourceExhausted, "RATE_LIMITED".to_owned()), "{method:?}");
        assert!(status.get_details_retry_info().unwrap().retry_delay.is_some(), "{method:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_stream_ends_when_its_certificate_does() {
    let trial = Trial::start();
    let mut client = ExchangeServiceClient::new(trial.serve(LONG));
    let (requests, taken) = mpsc::channel(4);
    let mut answers = client.publish_stream(ReceiverStream::new(taken)).await.unwrap().into_inner();
    requests.send(batch("a.example")).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().results.len(), 1);

    trial.peer.severed.cancel();
    let status = answers.message().await.unwrap_err();
    assert_eq!(told(&status), (Code::Unauthenticated, "CERTIFICATE_REVOKED".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_message_is_told_as_such_however_it_is_malformed() {
    let trial = Trial::start();
    for body in
        [&[0, 0, 0, 0, 2, 0xff, 0xff][..], &[0, 0, 0, 0, 9, 1], &[], &[7, 0, 0, 0, 0], &[1, 0, 0, 0, 0]]
    {
        let request =
            request("/luytre.v1.DirectoryService/WhoAmI", Body::new(Full::new(Bytes::copy_from_slice(body))));
        let status = ended(trial.serve(LONG).oneshot(request).await.unwrap()).await;
        assert_eq!(told(&status), (Code::InvalidArgument, "FIELD_INVALID".to_owned()), "{body:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_counted_once_by_method_and_outcome() {
    let trial = Trial::start();
    let mut client = ExchangeServiceClient::new(trial.serve(LONG));
    client.publish_indicators(batch("a.example")).await.unwrap();
    client.list_indicators(v1::ListIndicatorsRequest::default()).await.unwrap_err();
    let (_requests, taken) = mpsc::channel(4);
    drop(client.publish_stream(ReceiverStream::new(taken)).await.unwrap());

    let mut registry = Registry::default();
    trial.metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        r#"luytre_rpc_calls_total{method="PublishIndicators",outcome="OK"} 1"#,
        r#"luytre_rpc_calls_total{method="ListIndicators",outcome="ROLE_INSUFFICIENT"} 1"#,
        r#"luytre_rpc_calls_total{method="PublishStream",outcome="ABANDONED"} 1"#,
        "luytre_rpc_calls_running 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

/// A message as gRPC frames it.
fn message(content: &[u8]) -> Bytes {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[0][..], &length, content].concat().into()
}

/// A request of one message.
fn framed(content: &[u8]) -> Body {
    Body::new(Full::new(message(content)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_items_are_refused_before_any_is_decoded() {
    let trial = Trial::with(Roles::NONE.with(Role::Publisher).with(Role::Subscriber));
    for (method, key) in [
        (Method::PublishIndicators, 0x12),
        (Method::PublishStream, 0x12),
        (Method::ReportSightings, 0x12),
        (Method::LookupObservables, 0x0a),
    ] {
        // Decoding would come to the end and find it malformed.
        let mut content = [key, 0].repeat(MAX_MESSAGE_BYTES / 2 - 1);
        content.push(0xff);
        let request = request(method.path(), framed(&content));
        let status = ended(trial.serve(LONG).oneshot(request).await.unwrap()).await;
        assert_eq!(told(&status), (Code::InvalidArgument, "REQUEST_TOO_LARGE".to_owned()), "{method:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_carries_many_items_or_a_rule_may_be_large() {
    let trial = Trial::with(Role::ALL.into_iter().collect());
    for method in Method::ALL.into_iter().filter(|method| method.path().starts_with("/luytre.v1.")) {
        let limit = match method {
            Method::PublishIndicators
            | Method::PublishStream
            | Method::ReportSightings
            | Method::LookupObservables
            | Method::GetObservable
            | Method::ChangeAssets
            | Method::DiffRoster
            | Method::ApplyRoster => MAX_MESSAGE_BYTES,
            _ => MAX_SMALL_MESSAGE_BYTES,
        };
        // Bytes that decode to nothing: what is read is found malformed.
        for (size, reason) in [(limit, "FIELD_INVALID"), (limit + 1, "REQUEST_TOO_LARGE")] {
            let request = request(method.path(), framed(&vec![0xff; size]));
            let status = ended(trial.serve(LONG).oneshot(request).await.unwrap()).await;
            assert_eq!(told(&status), (Code::InvalidArgument, reason.to_owned()), "{method:?} {size}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_is_the_last_that_a_call_says() {
    let trial = Trial::start();
    let (requests, taken) = mpsc::channel(2);
    requests.send(v1::PublishIndicatorsRequest::default()).await.unwrap();
    requests.send(batch("a.example")).await.unwrap();
    let both = ReceiverStream::new(taken)
        .map(|request| Ok::<_, Infallible>(Frame::data(message(&request.encode_to_vec()))));
    let request = request(Method::PublishStream.path(), Body::new(StreamBody::new(both)));
    let mut body = trial.serve(LONG).oneshot(request).await.unwrap().into_body();
    assert!(body.frame().await.unwrap().unwrap().is_trailers(), "the first request is refused");
    assert!(body.frame().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organisation_has_so_many_streams_open_and_gets_another_when_one_ends() {
    let trial = Trial::start();
    let mut client = ExchangeServiceClient::new(trial.serve(LONG));
    let mut open = Vec::new();
    for _ in 0..Quota::default().streams {
        let (requests, taken) = mpsc::channel(1);
        let answers = client.publish_stream(ReceiverStream::new(taken)).await.unwrap().into_inner();
        open.push((requests, answers));
    }
    let refused = client.publish_stream(stream::pending()).await.unwrap_err();
    assert_eq!(told(&refused), (Code::ResourceExhausted, "RATE_LIMITED".to_owned()));
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    assert!(client.publish_indicators(batch("a.example")).await.is_ok(), "what is no stream goes on");

    // One ends in good order, one is given up, one ends with an error.
    let (requests, mut answers) = open.pop().unwrap();
    drop(requests);
    assert!(answers.message().await.unwrap().is_none());
    drop(open.pop());
    let (requests, mut failed) = open.pop().unwrap();
    requests.send(v1::PublishIndicatorsRequest::default()).await.unwrap();
    failed.message().await.unwrap_err();
    for _ in 0..3 {
        let (requests, taken) = mpsc::channel(1);
        let answers = client.publish_stream(ReceiverStream::new(taken)).await.unwrap().into_inner();
        open.push((requests, answers));
    }
    let refused = client.publish_stream(stream::pending()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
}
