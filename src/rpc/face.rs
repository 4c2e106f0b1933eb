//! Decides what reaches a handler: calls by an accepted certificate, to a
//! method of the table, by a role that may call it. All else ends here, before
//! a byte of it is decoded.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::{HealthReporter, HealthService};
use tower::Service;
use tracing::{Instrument as _, Span, field};
use uuid::Uuid;

use crate::hub::audit::{Closing, Trail};
use crate::hub::error::{Error, Reason};
use crate::hub::{Hub, PeerCertificate};
use crate::policy::access::Method;
use crate::wire::proto;
use crate::wire::proto::v1::asset_service_server::AssetServiceServer;
use crate::wire::proto::v1::audit_service_server::AuditServiceServer;
use crate::wire::proto::v1::certificate_service_server::CertificateServiceServer;
use crate::wire::proto::v1::directory_service_server::DirectoryServiceServer;
use crate::wire::proto::v1::exchange_service_server::ExchangeServiceServer;
use crate::wire::proto::v1::held_service_server::HeldServiceServer;
use crate::wire::proto::v1::history_service_server::HistoryServiceServer;
use crate::wire::proto::v1::receipt_service_server::ReceiptServiceServer;
use crate::wire::proto::v1::republication_service_server::RepublicationServiceServer;
use crate::wire::proto::v1::roster_service_server::RosterServiceServer;
use crate::wire::proto::v1::subscription_service_server::SubscriptionServiceServer;

use super::asset::Assets;
use super::audit::Audits;
use super::call::Call;
use super::certificate::Certificates;
use super::directory::Directory;
use super::exchange::Exchange;
use super::held::HeldPublications;
use super::history::History;
use super::layers::deadline;
use super::layers::intake::{self, Intake};
use super::layers::metrics::Metrics;
use super::layers::watch::{Record, Renewal};
use super::layers::{repair, streams};
use super::listing::Listing;
use super::receipt::Receipts;
use super::republication::Republications;
use super::roster::Rosters;
use super::status::status;
use super::subscribe::Subscribe;
use super::subscription::Subscriptions;

/// Largest message of many items that is decoded, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 5 * 1024 * 1024;
/// Largest message of any other method, in bytes: a list with a full filter.
pub(super) const MAX_SMALL_MESSAGE_BYTES: usize = 64 * 1024;

/// The gRPC face of a hub: a service that every connection clones.
#[derive(Clone)]
pub struct Face {
    hub: Arc<Hub>,
    exchange: ExchangeServiceServer<Exchange>,
    /// The same for the calls that carry many items.
    bulk: ExchangeServiceServer<Exchange>,
    listing: Listing,
    subscriptions: SubscriptionServiceServer<Subscriptions>,
    subscribe: Subscribe,
    directory: DirectoryServiceServer<Directory>,
    history: HistoryServiceServer<History>,
    /// The same, for a value that may be a rule.
    values: HistoryServiceServer<History>,
    republications: RepublicationServiceServer<Republications>,
    held: HeldServiceServer<HeldPublications>,
    assets: AssetServiceServer<Assets>,
    /// The same, for what changes a whole list.
    lists: AssetServiceServer<Assets>,
    audits: AuditServiceServer<Audits>,
    receipts: ReceiptServiceServer<Receipts>,
    certificates: CertificateServiceServer<Certificates>,
    rosters: RosterServiceServer<Rosters>,
    /// The same, for what carries a whole roster.
    documents: RosterServiceServer<Rosters>,
    common: Routes,
    health: HealthReporter,
    metrics: Metrics,
    longest: Duration,
    streams: TaskTracker,
    pub(super) intake: Intake,
}

impl std::fmt::Debug for Face {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Face").field("longest", &self.longest).finish_non_exhaustive()
    }
}

impl Face {
    /// A face of `hub` whose unary calls take at most `longest`.
    ///
    /// # Errors
    /// The published contract cannot be read, which is a fault of the build.
    pub fn new(hub: Arc<Hub>, metrics: Metrics, longest: Duration) -> Result<Self, Error> {
        let health = HealthReporter::new();
        let streams = TaskTracker::new();
        let exchange = ExchangeServiceServer::new(Exchange(Arc::clone(&hub)));
        let rosters = RosterServiceServer::new(Rosters(Arc::clone(&hub)));
        let history = HistoryServiceServer::new(History(Arc::clone(&hub)));
        let assets = AssetServiceServer::new(Assets(Arc::clone(&hub)));
        Ok(Self {
            exchange: exchange.clone().max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES),
            bulk: exchange.max_decoding_message_size(MAX_MESSAGE_BYTES),
            listing: Listing(Arc::clone(&hub)),
            subscriptions: SubscriptionServiceServer::new(Subscriptions(Arc::clone(&hub)))
                .max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES),
            subscribe: Subscribe { hub: Arc::clone(&hub), streams: streams.clone() },
            directory: DirectoryServiceServer::new(Directory(Arc::clone(&hub)))
                .max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES),
            history: history.clone().max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES),
            values: history.max_decoding_message_size(MAX_MESSAGE_BYTES),
            republications: RepublicationServiceServer::new(Republications(Arc::clone(&hub)))
                .max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES),
            held: HeldServiceServer::new(HeldPublications(Arc::clone(&hub)))
                .max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES),
            assets: assets.clone().max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES),
            lists: assets.max_decoding_message_size(MAX_MESSAGE_BYTES),
            audits: AuditServiceServer::new(Audits(Arc::clone(&hub)))
                .max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES),
            receipts: ReceiptServiceServer::new(Receipts(Arc::clone(&hub)))
                .max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES),
            certificates: CertificateServiceServer::new(Certificates::for_callers(Arc::clone(&hub)))
                .max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES),
            rosters: rosters.clone().max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES),
            documents: rosters.max_decoding_message_size(MAX_MESSAGE_BYTES),
            common: common(health.clone()).map_err(Error::internal)?,
            hub,
            health,
            metrics,
            longest,
            streams,
            intake: Intake::new(intake::Limits::default()),
        })
    }

    /// Says over `grpc.health.v1` whether the hub serves.
    pub async fn set_serving(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.health.set_service_status("", status).await;
        for service in SERVICES {
            self.health.set_service_status(service, status).await;
        }
    }

    /// Resolves once no subscription runs any more; call it after the hub
    /// began to drain.
    pub async fn drained(&self) {
        self.streams.close();
        self.streams.wait().await;
    }

    /// Answers a call, and whoever asks too much a little later.
    async fn answer(self, request: Request<Body>, closing: Option<Arc<Closing>>) -> Response<Body> {
        let time = deadline::of(request.headers(), self.longest);
        let response = self.answer_at_once(request, time, closing).await;
        let wait = deadline::held_back(repair::outcome(response.headers()), time);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        response
    }

    /// Admits a call and sends it to its handler.
    async fn answer_at_once(
        mut self,
        mut request: Request<Body>,
        time: Duration,
        closing: Option<Arc<Closing>>,
    ) -> Response<Body> {
        let method = Method::from_path(request.uri().path());
        let peer = request.extensions_mut().remove::<PeerCertificate>();
        let Some((peer, closing)) = peer.zip(closing) else {
            let error = Error::internal("a connection without a certificate reached the gRPC face");
            return status(error).into_http();
        };
        let call = match self.admit(peer, method, closing.trail()) {
            Ok(call) => call,
            Err(error) => return status(error).into_http(),
        };
        let method = call.method;
        let mut request = request.map(|body| self.intake.meter(call.account.clone(), longest(method), body));
        if !method.is_unary() {
            let place = match call.account.open_stream() {
                Ok(place) => place,
                Err(error) => return status(error).into_http(),
            };
            if let Err(error) = closing.open().await {
                return status(error).into_http();
            }
            request.extensions_mut().insert(call);
            return streams::hold(place, self.route(method, request).await);
        }
        request.extensions_mut().insert(call);
        let answered = async {
            let response = self.route(method, request).await;
            // It leaves once it is on record who got it.
            match closing.conclude(repair::outcome(response.headers())).await {
                Ok(()) => response,
                Err(error) => status(error).into_http(),
            }
        };
        match tokio::time::timeout(time, answered).await {
            Ok(response) => response,
            Err(_) => status(Error::new(
                Reason::DeadlineExceeded,
                "the call took longer than its deadline; a write may still have been stored, so repeat it with the same request_id",
            ))
            .into_http(),
        }
    }

    fn admit(&self, peer: PeerCertificate, method: Option<Method>, trail: &Trail) -> Result<Call, Error> {
        Span::current().record("principal", peer.identity.as_str());
        match method {
            Some(method) => Call::admit(&self.hub, peer, method, trail.clone()),
            None => {
                self.hub.authenticate(&peer)?;
                Err(Error::new(
                    Reason::MethodUnknown,
                    "this hub has no such method; see its contract by reflection",
                ))
            }
        }
    }

    async fn route(&mut self, method: Method, request: Request<Body>) -> Response<Body> {
        let answered = match method {
            Method::PublishIndicators
            | Method::PublishStream
            | Method::ReportSightings
            | Method::LookupObservables => self.bulk.call(request).await,
            Method::RevokeIndicator | Method::GetIndicator | Method::ExplainAccess => {
                self.exchange.call(request).await
            }
            Method::ListIndicators => Ok(self.listing.clone().serve(request).await),
            Method::Subscribe => Ok(self.subscribe.clone().serve(request).await),
            Method::GetSubscription | Method::ListSubscriptions | Method::DeleteSubscription => {
                self.subscriptions.call(request).await
            }
            Method::GetOrganisation | Method::ListOrganisations | Method::WhoAmI => {
                self.directory.call(request).await
            }
            Method::ListIndicatorVersions | Method::ExportIndicators | Method::AggregateIndicators => {
                self.history.call(request).await
            }
            Method::GetObservable => self.values.call(request).await,
            Method::RequestRepublication
            | Method::GrantRepublication
            | Method::WithdrawRepublication
            | Method::ListRepublications => self.republications.call(request).await,
            Method::ListHeldPublications
            | Method::ApprovePublication
            | Method::RejectPublication
            | Method::HoldIndicator
            | Method::ReleaseIndicator => self.held.call(request).await,
            Method::RenewCertificate
            | Method::GetTrustBundle
            | Method::GetRevocationList
            | Method::IssueEnrollmentToken
            | Method::ListEnrollmentTokens
            | Method::ApproveEnrollmentToken
            | Method::CancelEnrollmentToken
            | Method::ListCertificates
            | Method::GetCertificate
            | Method::RevokeCertificate
            | Method::ConfirmCertificates
            | Method::SeverConnections
            | Method::ListAuthorities
            | Method::RotateAuthority => self.certificates.call(request).await,
            Method::GetAssets => self.assets.call(request).await,
            Method::ChangeAssets => self.lists.call(request).await,
            Method::ListAuditRecords
            | Method::GetCheckpoint
            | Method::GetConsistencyProof
            | Method::GetInclusionProof
            | Method::ExportAuditLog => self.audits.call(request).await,
            Method::ListRecipients => self.receipts.call(request).await,
            Method::DiffRoster | Method::ApplyRoster => self.documents.call(request).await,
            Method::GetRoster | Method::ListPendingChanges | Method::ApproveChange | Method::RejectChange => {
                self.rosters.call(request).await
            }
            Method::HealthCheck | Method::HealthWatch | Method::Reflection | Method::ReflectionAlpha => {
                self.common.call(request).await
            }
        };
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Longest message that a caller of `method` may send.
pub(super) const fn longest(method: Method) -> usize {
    match method {
        Method::PublishIndicators
        | Method::PublishStream
        | Method::ReportSightings
        | Method::LookupObservables
        | Method::GetObservable
        | Method::ChangeAssets
        | Method::DiffRoster
        | Method::ApplyRoster => MAX_MESSAGE_BYTES,
        _ => MAX_SMALL_MESSAGE_BYTES,
    }
}

/// Our services, for health.
const SERVICES: [&str; 11] = [
    "luytre.v1.AssetService",
    "luytre.v1.AuditService",
    "luytre.v1.CertificateService",
    "luytre.v1.ExchangeService",
    "luytre.v1.HeldService",
    "luytre.v1.SubscriptionService",
    "luytre.v1.DirectoryService",
    "luytre.v1.HistoryService",
    "luytre.v1.ReceiptService",
    "luytre.v1.RosterService",
    "luytre.v1.RepublicationService",
];

/// Health and reflection.
fn common(health: HealthReporter) -> Result<Routes, tonic_reflection::server::Error> {
    use tonic_health::pb::health_server::HealthServer;
    let contract = || {
        let all = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        // What is served here, and not the enrolment of elsewhere.
        let here =
            SERVICES.into_iter().chain(["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]);
        here.fold(all, |all, service| all.with_service_name(service))
    };
    let health = HealthServer::new(HealthService::from_health_reporter(health));
    Ok(Routes::new(health.max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES))
        .add_service(contract().build_v1()?.max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES))
        .add_service(contract().build_v1alpha()?.max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES))
        .prepare())
}

impl<B> Service<Request<B>> for Face
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let id = Uuid::new_v4();
        let called = Method::from_path(request.uri().path());
        let method = called.map_or("unknown", Method::name);
        let span = tracing::info_span!("call", method, call = %id, principal = field::Empty);
        let peer = request.extensions().get::<PeerCertificate>();
        let renewal =
            peer.map(|peer| Renewal { hub: Arc::clone(&self.hub), issuer: peer.certificate.issuer });
        let closing = peer.map(|peer| Closing::begin(&self.hub, id, called, peer));
        let record = Record::begin(id, method, self.metrics.clone(), span.clone(), renewal, closing.clone());
        let answer = self.clone().answer(request.map(Body::new), closing);
        Box::pin(async move { Ok(record.finish(answer.await)) }.instrument(span))
    }
}
