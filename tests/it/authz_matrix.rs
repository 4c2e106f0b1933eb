//! Every method that the hub's own reflection lists, called as every role,
//! without a role, and by a stranger: who may call what is one table, and it
//! is this one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use luytre::model::principal::Role;
use prost::Message as _;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tonic_types::StatusExt as _;

use crate::harness::{Peer, Raw, TestHub};

/// Who may call a method.
#[derive(Debug, Clone, Copy)]
enum Who {
    /// Anyone whose organisation takes part.
    Certificate,
    /// Anyone with a role.
    AnyRole,
    /// These roles and no other.
    Only(&'static [Role]),
}

/// The table. A method that is missing here fails the test.
const TABLE: &[(&str, Who)] = &[
    ("/grpc.health.v1.Health/Check", Who::Certificate),
    ("/grpc.health.v1.Health/Watch", Who::Certificate),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Who::Certificate),
    ("/luytre.v1.AssetService/ChangeAssets", Who::Only(&[Role::Publisher])),
    ("/luytre.v1.AssetService/GetAssets", Who::Only(&[Role::Analyst, Role::Publisher, Role::Subscriber])),
    ("/luytre.v1.AuditService/ExportAuditLog", Who::Only(&[Role::Auditor])),
    ("/luytre.v1.AuditService/GetCheckpoint", Who::Certificate),
    ("/luytre.v1.AuditService/GetConsistencyProof", Who::Certificate),
    ("/luytre.v1.AuditService/GetInclusionProof", Who::Certificate),
    ("/luytre.v1.AuditService/ListAuditRecords", Who::Only(&[Role::Auditor])),
    ("/luytre.v1.CertificateService/ApproveEnrollmentToken", Who::Only(&[Role::Operator])),
    ("/luytre.v1.CertificateService/CancelEnrollmentToken", Who::Only(&[Role::Operator])),
    ("/luytre.v1.CertificateService/GetCertificate", Who::Only(&[Role::Coordinator, Role::Operator])),
    ("/luytre.v1.CertificateService/GetRevocationList", Who::Certificate),
    ("/luytre.v1.CertificateService/GetTrustBundle", Who::Certificate),
    ("/luytre.v1.CertificateService/IssueEnrollmentToken", Who::Only(&[Role::Operator])),
    ("/luytre.v1.CertificateService/ListAuthorities", Who::Only(&[Role::Coordinator, Role::Operator])),
    ("/luytre.v1.CertificateService/ListCertificates", Who::Only(&[Role::Coordinator, Role::Operator])),
    ("/luytre.v1.CertificateService/ListEnrollmentTokens", Who::Only(&[Role::Coordinator, Role::Operator])),
    ("/luytre.v1.CertificateService/RenewCertificate", Who::Certificate),
    ("/luytre.v1.CertificateService/RevokeCertificate", Who::Only(&[Role::Operator])),
    ("/luytre.v1.CertificateService/RotateAuthority", Who::Only(&[Role::Operator])),
    ("/luytre.v1.CertificateService/ConfirmCertificates", Who::Only(&[Role::Operator])),
    ("/luytre.v1.CertificateService/SeverConnections", Who::Only(&[Role::Operator])),
    ("/luytre.v1.DirectoryService/GetOrganisation", Who::AnyRole),
    ("/luytre.v1.DirectoryService/ListOrganisations", Who::AnyRole),
    ("/luytre.v1.DirectoryService/WhoAmI", Who::Certificate),
    ("/luytre.v1.ExchangeService/ExplainAccess", Who::Only(&[Role::Analyst, Role::Publisher])),
    ("/luytre.v1.ExchangeService/GetIndicator", Who::Only(&[Role::Analyst, Role::Subscriber])),
    ("/luytre.v1.ExchangeService/ListIndicators", Who::Only(&[Role::Analyst])),
    ("/luytre.v1.ExchangeService/LookupObservables", Who::Only(&[Role::Analyst, Role::Subscriber])),
    ("/luytre.v1.ExchangeService/PublishIndicators", Who::Only(&[Role::Publisher])),
    ("/luytre.v1.ExchangeService/PublishStream", Who::Only(&[Role::Publisher])),
    ("/luytre.v1.ExchangeService/ReportSightings", Who::Only(&[Role::Publisher])),
    ("/luytre.v1.ExchangeService/RevokeIndicator", Who::Only(&[Role::Publisher])),
    ("/luytre.v1.HeldService/ApprovePublication", Who::Only(&[Role::Publisher])),
    ("/luytre.v1.HeldService/HoldIndicator", Who::Only(&[Role::Coordinator])),
    ("/luytre.v1.HeldService/ListHeldPublications", Who::Only(&[Role::Analyst, Role::Publisher])),
    ("/luytre.v1.HeldService/RejectPublication", Who::Only(&[Role::Publisher])),
    ("/luytre.v1.HeldService/ReleaseIndicator", Who::Only(&[Role::Coordinator])),
    ("/luytre.v1.HistoryService/ExportIndicators", Who::Only(&[Role::Analyst])),
    ("/luytre.v1.HistoryService/AggregateIndicators", Who::Only(&[Role::Analyst])),
    ("/luytre.v1.HistoryService/GetObservable", Who::Only(&[Role::Analyst])),
    ("/luytre.v1.HistoryService/ListIndicatorVersions", Who::Only(&[Role::Analyst])),
    ("/luytre.v1.ReceiptService/ListRecipients", Who::Only(&[Role::Analyst, Role::Auditor, Role::Publisher])),
    ("/luytre.v1.RepublicationService/GrantRepublication", Who::Only(&[Role::Publisher])),
    ("/luytre.v1.RepublicationService/ListRepublications", Who::Only(&[Role::Analyst, Role::Publisher])),
    ("/luytre.v1.RepublicationService/RequestRepublication", Who::Only(&[Role::Publisher])),
    ("/luytre.v1.RepublicationService/WithdrawRepublication", Who::Only(&[Role::Publisher])),
    ("/luytre.v1.RosterService/ApplyRoster", Who::Only(&[Role::Operator])),
    ("/luytre.v1.RosterService/ApproveChange", Who::Only(&[Role::Operator])),
    ("/luytre.v1.RosterService/DiffRoster", Who::Only(&[Role::Coordinator, Role::Operator])),
    ("/luytre.v1.RosterService/GetRoster", Who::Only(&[Role::Coordinator, Role::Operator])),
    ("/luytre.v1.RosterService/ListPendingChanges", Who::Only(&[Role::Coordinator, Role::Operator])),
    ("/luytre.v1.RosterService/RejectChange", Who::Only(&[Role::Operator])),
    ("/luytre.v1.SubscriptionService/DeleteSubscription", Who::Only(&[Role::Subscriber])),
    ("/luytre.v1.SubscriptionService/GetSubscription", Who::Only(&[Role::Subscriber])),
    ("/luytre.v1.SubscriptionService/ListSubscriptions", Who::Only(&[Role::Subscriber])),
    ("/luytre.v1.SubscriptionService/Subscribe", Who::Only(&[Role::Subscriber])),
];

/// Bytes that no message of ours decodes from.
const MALFORMED: &[u8] = &[0xff; 4];

async fn start() -> TestHub {
    let names = Role::ALL.map(|role| format!("system/{}", role.as_str()));
    Role::ALL
        .into_iter()
        .zip(&names)
        .fold(TestHub::builder(), |hub, (role, name)| hub.principal("a", name, &[role]))
        .start()
        .await
}

fn with_role(hub: &TestHub, role: Option<Role>) -> Peer {
    match role {
        Some(role) => hub.peer("a", &format!("system/{}", role.as_str())),
        None => hub.peer("a", "system/unlisted"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_is_open_to_the_roles_of_the_table_and_to_no_other() {
    let hub = start().await;
    let table: BTreeMap<_, _> = TABLE.iter().copied().collect();
    let listed = methods(&with_role(&hub, None)).await;
    assert_eq!(listed.iter().map(String::as_str).collect::<BTreeSet<_>>(), table.keys().copied().collect());

    for role in Role::ALL.into_iter().map(Some).chain([None]) {
        let peer = with_role(&hub, role).channel();
        for (&method, &who) in &table {
            let open = match (who, role) {
                (Who::Certificate, _) | (Who::AnyRole, Some(_)) => true,
                (Who::AnyRole | Who::Only(_), None) => false,
                (Who::Only(roles), Some(role)) => roles.contains(&role),
            };
            for body in [&[][..], MALFORMED] {
                let answer = call(&peer, method, body).await;
                let denied =
                    answer.as_ref().err().is_some_and(|status| reason(status) == "ROLE_INSUFFICIENT");
                assert_eq!(open, !denied, "{method} as {role:?}: {answer:?}");
                if denied {
                    assert_eq!(answer.unwrap_err().code(), Code::PermissionDenied, "{method} as {role:?}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_with_a_good_certificate_reaches_no_method() {
    let hub = start().await;
    let stranger = hub.peer("nobody", "system/feed").channel();
    for method in
        TABLE.iter().map(|(method, _)| *method).chain(["/luytre.v1.ExchangeService/PurgeIndicators"])
    {
        let status = call(&stranger, method, Bytes::new()).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::PermissionDenied, "PRINCIPAL_UNKNOWN"),
            "{method}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_that_is_not_in_the_table_cannot_be_called() {
    let hub = start().await;
    let publisher = with_role(&hub, Some(Role::Publisher)).channel();
    for method in
        ["/luytre.v1.ExchangeService/PurgeIndicators", "/luytre.v1.Exchange/PublishIndicators", "/x"]
    {
        let status = call(&publisher, method, Bytes::new()).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::PermissionDenied, "METHOD_UNKNOWN"),
            "{method}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_has_one_error_info_and_the_number_of_the_call() {
    let hub = start().await;
    for role in Role::ALL {
        let peer = with_role(&hub, Some(role)).channel();
        for (method, _) in TABLE {
            let Err(status) = call(&peer, method, MALFORMED).await else { continue };
            let details = status.get_error_details_vec();
            let infos =
                details.iter().filter(|d| matches!(d, tonic_types::ErrorDetail::ErrorInfo(_))).count();
            assert_eq!(infos, 1, "{method} as {role:?}: {status:?}");
            assert!(status.get_details_request_info().is_some(), "{method} as {role:?}");
            assert!(status.details().len() < 6 * 1024, "{method} as {role:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_answers_in_both_of_its_forms() {
    let hub = start().await;
    let peer = with_role(&hub, None).channel();
    let asked = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices("*".into())),
    };
    for version in ["v1", "v1alpha"] {
        let method = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let answer = call(&peer, &method, asked.encode_to_vec()).await.unwrap().unwrap();
        let answer = ServerReflectionResponse::decode(answer).unwrap();
        assert!(
            matches!(answer.message_response, Some(MessageResponse::ListServicesResponse(_))),
            "{version}"
        );
    }
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// Sends one message, and returns the first answer or the refusal.
pub(crate) async fn call(
    peer: &Channel,
    method: &str,
    body: impl Into<Bytes>,
) -> Result<Option<Bytes>, Status> {
    let mut client = tonic::client::Grpc::new(peer.clone());
    client.ready().await.unwrap();
    let request = tonic::Request::new(tokio_stream::once(body.into()));
    let path = PathAndQuery::try_from(method).unwrap();
    client.streaming(request, path, Raw).await?.into_inner().message().await
}

/// The paths of all methods that the hub lists.
pub(crate) async fn methods(peer: &Peer) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    let MessageResponse::ListServicesResponse(list) =
        reflect(peer, MessageRequest::ListServices(String::new())).await
    else {
        panic!("reflection lists services");
    };
    for service in list.service {
        let asked = MessageRequest::FileContainingSymbol(service.name.clone());
        let MessageResponse::FileDescriptorResponse(files) = reflect(peer, asked).await else {
            panic!("reflection describes {}", service.name);
        };
        for file in files.file_descriptor_proto {
            let file = prost_types::FileDescriptorProto::decode(file.as_slice()).unwrap();
            for described in &file.service {
                if format!("{}.{}", file.package(), described.name()) == service.name {
                    paths.extend(described.method.iter().map(|m| format!("/{}/{}", service.name, m.name())));
                }
            }
        }
    }
    paths
}

async fn reflect(peer: &Peer, asked: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
    let mut answers = ServerReflectionClient::new(peer.channel())
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    let ServerReflectionResponse { message_response, .. } = answers.message().await.unwrap().unwrap();
    message_response.unwrap()
}
