//! Decides nothing: unpacks the calls of `CertificateService`, hands them to
//! the hub, and wraps what it answers. Over the hub's own socket the caller is
//! the machine's operator.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::base::digest;
use crate::hub::error::Error;
use crate::hub::{
    Caller, CertificateView, Hub, Issued, Operator, Peers, RotationView, StepAsked, StepKind, TokenView,
};
use crate::model::Invalid;
use crate::model::certificate::{CertificateId, State, TokenState};
use crate::pki::authority::{Generation, Phase};
use crate::wire::convert::certificate::{
    self, authority, bundle_digest, hierarchy, read_authority, read_certificate, read_duration,
    read_hierarchy, read_identity, read_token, token,
};
use crate::wire::convert::{batch, name, time};
use crate::wire::proto::v1;
use crate::wire::proto::v1::certificate_service_server::{CertificateService, CertificateServiceServer};

use super::call::Call;
use super::face::MAX_SMALL_MESSAGE_BYTES;
use super::page;
use super::status::{invalid, status};

/// Most certificates that are confirmed at once.
const MAX_NAMES: usize = 200;

/// The calls of `CertificateService`.
#[derive(Debug, Clone)]
pub struct Certificates {
    hub: Arc<Hub>,
    /// Whether whoever calls is the machine's operator.
    machine: bool,
}

/// Whoever calls.
enum Asker {
    Person(Box<Caller>),
    Machine,
}

impl Asker {
    fn operator(&self) -> Operator<'_> {
        match self {
            Self::Person(caller) => Operator::Person(caller),
            Self::Machine => Operator::Machine,
        }
    }
}

impl Certificates {
    /// For calls over mutual TLS.
    pub(super) const fn for_callers(hub: Arc<Hub>) -> Self {
        Self { hub, machine: false }
    }

    /// The service over the hub's own socket.
    #[must_use]
    pub fn machine_service(hub: Arc<Hub>) -> CertificateServiceServer<Self> {
        CertificateServiceServer::new(Self { hub, machine: true })
            .max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES)
    }

    fn asker<T>(&self, request: &mut Request<T>) -> Result<Asker, Status> {
        if self.machine {
            Ok(Asker::Machine)
        } else {
            Ok(Asker::Person(Box::new(Call::take(request)?.caller)))
        }
    }

    fn id(&self, field: &str, name: &str) -> Result<CertificateId, Status> {
        let (issuer, serial) = read_certificate(field, name).map_err(invalid)?;
        let issuer = self.hub.issuer(issuer).ok_or_else(|| status(Error::absent()))?;
        Ok(CertificateId { issuer, serial: serial.to_owned() })
    }
}

#[tonic::async_trait]
impl CertificateService for Certificates {
    async fn renew_certificate(
        &self,
        mut request: Request<v1::RenewCertificateRequest>,
    ) -> Result<Response<v1::RenewCertificateResponse>, Status> {
        let asker = self.asker(&mut request)?;
        let Asker::Person(caller) = asker else {
            let problem = "a certificate is renewed over the connection that it opened, not over this socket";
            return Err(invalid(Invalid::new("certificate_request", problem)));
        };
        let issued =
            self.hub.renew(&caller, &request.into_inner().certificate_request).await.map_err(status)?;
        let certificate = Some(show_issued(issued, &self.hub));
        Ok(Response::new(v1::RenewCertificateResponse { certificate }))
    }

    async fn get_trust_bundle(
        &self,
        mut request: Request<v1::GetTrustBundleRequest>,
    ) -> Result<Response<v1::GetTrustBundleResponse>, Status> {
        let asker = self.asker(&mut request)?;
        let roots = self.hub.trust_bundle().map_err(status)?;
        let digest = bundle_digest(roots.iter().map(|root| root.as_ref()));
        let certificates = roots.iter().map(|root| root.to_vec().into()).collect();
        let canary_name = match asker {
            Asker::Person(caller) => self.hub.canary_name(caller.identity()),
            Asker::Machine => String::new(),
        };
        Ok(Response::new(v1::GetTrustBundleResponse { certificates, digest, canary_name }))
    }

    async fn get_revocation_list(
        &self,
        mut request: Request<v1::GetRevocationListRequest>,
    ) -> Result<Response<v1::GetRevocationListResponse>, Status> {
        self.asker(&mut request)?;
        let lists = self.hub.revocation_lists().iter().map(|list| list.to_vec().into()).collect();
        Ok(Response::new(v1::GetRevocationListResponse { lists }))
    }

    async fn issue_enrollment_token(
        &self,
        mut request: Request<v1::IssueEnrollmentTokenRequest>,
    ) -> Result<Response<v1::IssueEnrollmentTokenResponse>, Status> {
        let asker = self.asker(&mut request)?;
        let v1::IssueEnrollmentTokenRequest { request_id, spiffe_id, ttl, note } = request.into_inner();
        let request_id = name::read_request_id(&request_id).map_err(invalid)?;
        let holder = read_identity("spiffe_id", &spiffe_id).map_err(invalid)?;
        let ttl = read_duration("ttl", ttl).map_err(invalid)?;
        let made = self.hub.make_token(asker.operator(), request_id, holder, ttl, note).await;
        let (view, secret) = made.map_err(status)?;
        Ok(Response::new(v1::IssueEnrollmentTokenResponse {
            enrollment_token: Some(show_token(view)),
            token: secret.map(|secret| secret.reveal().to_string()).unwrap_or_default(),
        }))
    }

    async fn list_enrollment_tokens(
        &self,
        mut request: Request<v1::ListEnrollmentTokensRequest>,
    ) -> Result<Response<v1::ListEnrollmentTokensResponse>, Status> {
        self.asker(&mut request)?;
        let enrollment_tokens = self.hub.tokens().into_iter().map(show_token).collect();
        Ok(Response::new(v1::ListEnrollmentTokensResponse { enrollment_tokens }))
    }

    async fn approve_enrollment_token(
        &self,
        mut request: Request<v1::ApproveEnrollmentTokenRequest>,
    ) -> Result<Response<v1::ApproveEnrollmentTokenResponse>, Status> {
        let asker = self.asker(&mut request)?;
        let v1::ApproveEnrollmentTokenRequest { request_id, name } = request.into_inner();
        let request_id = name::read_request_id(&request_id).map_err(invalid)?;
        let id = read_token("name", &name).map_err(invalid)?;
        let approved = self.hub.approve_token(asker.operator(), request_id, id).await.map_err(status)?;
        let enrollment_token = Some(show_token(approved));
        Ok(Response::new(v1::ApproveEnrollmentTokenResponse { enrollment_token }))
    }

    async fn cancel_enrollment_token(
        &self,
        mut request: Request<v1::CancelEnrollmentTokenRequest>,
    ) -> Result<Response<v1::CancelEnrollmentTokenResponse>, Status> {
        let asker = self.asker(&mut request)?;
        let v1::CancelEnrollmentTokenRequest { request_id, name } = request.into_inner();
        let request_id = name::read_request_id(&request_id).map_err(invalid)?;
        let id = read_token("name", &name).map_err(invalid)?;
        self.hub.cancel_token(asker.operator(), request_id, id).await.map_err(status)?;
        Ok(Response::new(v1::CancelEnrollmentTokenResponse {}))
    }

    async fn list_certificates(
        &self,
        mut request: Request<v1::ListCertificatesRequest>,
    ) -> Result<Response<v1::ListCertificatesResponse>, Status> {
        self.asker(&mut request)?;
        let v1::ListCertificatesRequest { page_size, page_token, organisation, expire_before, include_ended } =
            request.into_inner();
        let size = batch::read_page_size(page_size).map_err(invalid)?;
        let of = if organisation.is_empty() {
            None
        } else {
            Some(name::read_organisation("organisation", &organisation).map_err(invalid)?)
        };
        let before = time::read("expire_before", expire_before).map_err(invalid)?;
        let now = self.hub.machine_now();
        let list =
            format!("certificates {organisation} {} {include_ended}", before.map_or(0, |at| at.as_micros()));
        let chosen = self.hub.certificates().into_iter().filter(|view| {
            of.as_ref().is_none_or(|of| view.certificate.holder.org() == of)
                && before.is_none_or(|before| view.certificate.not_after < before)
                && (include_ended || is_taken(state(view, now)))
        });
        let keyed: Vec<_> = chosen
            .map(|view| {
                let c = &view.certificate;
                (format!("{:020} {} {}", c.not_after.as_micros(), c.id.issuer, c.id.serial), view)
            })
            .collect();
        let (page, next_page_token) =
            page::cut(&list, keyed, |(key, _)| key.as_str(), size, &page_token).map_err(status)?;
        let certificates = page.into_iter().map(|(_, view)| show(view, &self.hub)).collect();
        Ok(Response::new(v1::ListCertificatesResponse { certificates, next_page_token }))
    }

    async fn get_certificate(
        &self,
        mut request: Request<v1::GetCertificateRequest>,
    ) -> Result<Response<v1::GetCertificateResponse>, Status> {
        self.asker(&mut request)?;
        let id = self.id("name", &request.into_inner().name)?;
        let view = self.hub.certificate(&id).ok_or_else(|| status(Error::absent()))?;
        Ok(Response::new(v1::GetCertificateResponse { certificate: Some(show(view, &self.hub)) }))
    }

    async fn revoke_certificate(
        &self,
        mut request: Request<v1::RevokeCertificateRequest>,
    ) -> Result<Response<v1::RevokeCertificateResponse>, Status> {
        let asker = self.asker(&mut request)?;
        let v1::RevokeCertificateRequest { request_id, name, reason, descendants } = request.into_inner();
        let request_id = name::read_request_id(&request_id).map_err(invalid)?;
        let id = self.id("name", &name)?;
        let done = self.hub.revoke_certificate(asker.operator(), request_id, id, reason, descendants).await;
        let done = done.map_err(status)?;
        Ok(Response::new(v1::RevokeCertificateResponse {
            certificate: done.certificate.map(|view| show(view, &self.hub)),
            severed_count: count(done.severed),
            list_signed: done.list_signed,
            descendants: done.descendants.into_iter().map(|view| show(view, &self.hub)).collect(),
            revoked_count: count(done.revoked),
        }))
    }

    async fn confirm_certificates(
        &self,
        mut request: Request<v1::ConfirmCertificatesRequest>,
    ) -> Result<Response<v1::ConfirmCertificatesResponse>, Status> {
        let asker = self.asker(&mut request)?;
        let v1::ConfirmCertificatesRequest { request_id, names } = request.into_inner();
        let request_id = name::read_request_id(&request_id).map_err(invalid)?;
        if names.is_empty() || names.len() > MAX_NAMES {
            let problem = format!("name 1 to {MAX_NAMES} certificates, as ListCertificates gives them");
            return Err(invalid(Invalid::new("names", problem)));
        }
        let ids = names.iter().enumerate().map(|(at, one)| self.id(&format!("names[{at}]"), one));
        let ids = ids.collect::<Result<_, _>>()?;
        let confirmed = self.hub.confirm_certificates(asker.operator(), request_id, ids).await;
        let confirmed_count = count(confirmed.map_err(status)?);
        Ok(Response::new(v1::ConfirmCertificatesResponse { confirmed_count }))
    }

    async fn sever_connections(
        &self,
        mut request: Request<v1::SeverConnectionsRequest>,
    ) -> Result<Response<v1::SeverConnectionsResponse>, Status> {
        use v1::sever_connections_request::Target;
        let asker = self.asker(&mut request)?;
        let v1::SeverConnectionsRequest { target, request_id, reason } = request.into_inner();
        let request_id = match request_id.as_str() {
            "" => None,
            id => Some(name::read_request_id(id).map_err(invalid)?),
        };
        let peers = match target {
            Some(Target::Certificate(name)) => Peers::Certificate(self.id("certificate", &name)?),
            Some(Target::SpiffeId(id)) => Peers::Identity(read_identity("spiffe_id", &id).map_err(invalid)?),
            Some(Target::Organisation(name)) => {
                Peers::Organisation(name::read_organisation("organisation", &name).map_err(invalid)?)
            }
            None => {
                let problem = "required: certificate, spiffe_id or organisation";
                return Err(invalid(Invalid::new("target", problem)));
            }
        };
        let severed = self.hub.sever_connections(asker.operator(), request_id, peers, reason).await;
        Ok(Response::new(v1::SeverConnectionsResponse { severed_count: count(severed.map_err(status)?) }))
    }

    async fn list_authorities(
        &self,
        mut request: Request<v1::ListAuthoritiesRequest>,
    ) -> Result<Response<v1::ListAuthoritiesResponse>, Status> {
        self.asker(&mut request)?;
        let rotations = self.hub.rotations().into_iter().map(show_rotation).collect();
        let unconfirmed_count = count(self.hub.unconfirmed().len());
        Ok(Response::new(v1::ListAuthoritiesResponse { rotations, unconfirmed_count }))
    }

    async fn rotate_authority(
        &self,
        mut request: Request<v1::RotateAuthorityRequest>,
    ) -> Result<Response<v1::RotateAuthorityResponse>, Status> {
        let asker = self.asker(&mut request)?;
        let v1::RotateAuthorityRequest {
            request_id,
            hierarchy,
            step,
            authority,
            etag,
            dry_run,
            accept_cutting_off,
        } = request.into_inner();
        let request_id = name::read_request_id(&request_id).map_err(invalid)?;
        let hierarchy = read_hierarchy("hierarchy", hierarchy).map_err(invalid)?;
        let authority = match authority.as_str() {
            "" => None,
            name => Some(read_authority("authority", name).map_err(invalid)?.to_owned()),
        };
        let accept = accept_cutting_off
            .iter()
            .map(|id| read_identity("accept_cutting_off", id))
            .collect::<Result<_, _>>()
            .map_err(invalid)?;
        let required = "required: the etag of the rotation that you looked at (ListAuthorities)";
        let version =
            name::read_etag(&etag).and_then(|read| read.ok_or_else(|| Invalid::new("etag", required)));
        let version = version.map_err(invalid)?;
        let asked = StepAsked { hierarchy, step: read_step(step)?, authority, version, dry_run, accept };
        let done = self.hub.rotate(asker.operator(), request_id, asked).await.map_err(status)?;
        Ok(Response::new(v1::RotateAuthorityResponse {
            rotation: Some(show_rotation(done.rotation)),
            blockers: done.blockers,
            cut_off: done.cut_off.iter().map(ToString::to_string).collect(),
        }))
    }
}

fn read_step(number: i32) -> Result<StepKind, Status> {
    Ok(match v1::RotationStep::try_from(number) {
        Ok(v1::RotationStep::Prepare) => StepKind::Prepare,
        Ok(v1::RotationStep::Activate) => StepKind::Activate,
        Ok(v1::RotationStep::Switch) => StepKind::Switch,
        Ok(v1::RotationStep::Taint) => StepKind::Taint,
        Ok(v1::RotationStep::Retire) => StepKind::Retire,
        Ok(v1::RotationStep::Rollback) => StepKind::Rollback,
        Ok(v1::RotationStep::Unspecified) | Err(_) => {
            return Err(invalid(Invalid::new("step", "required: a step of this release of the contract")));
        }
    })
}

/// A certificate for its holder.
pub(super) fn show_issued(issued: Issued, hub: &Hub) -> v1::IssuedCertificate {
    let Issued { certificate, roots, renew } = issued;
    v1::IssuedCertificate {
        chain: vec![certificate.der.clone().into()],
        trust_bundle: roots.iter().map(|root| root.to_vec().into()).collect(),
        trust_bundle_digest: bundle_digest(roots.iter().map(|root| root.as_ref())),
        spiffe_id: certificate.holder.to_string(),
        serial: certificate.id.serial.clone(),
        expire_time: Some(time::write(certificate.not_after)),
        renew_time: Some(time::write(renew)),
        server_time: Some(time::write(hub.machine_now())),
        canary_name: hub.canary_name(&certificate.holder),
    }
}

fn show_token(view: TokenView) -> v1::EnrollmentToken {
    let TokenView { id, token: known } = view;
    let state = match known.state {
        TokenState::Pending => v1::EnrollmentTokenState::Pending,
        TokenState::Ready => v1::EnrollmentTokenState::Ready,
        TokenState::Used(_) => v1::EnrollmentTokenState::Used,
    };
    v1::EnrollmentToken {
        name: token(id),
        spiffe_id: known.holder.to_string(),
        author: known.author.clone(),
        create_time: Some(time::write(known.made)),
        expire_time: Some(time::write(known.expires)),
        state: state.into(),
        note: known.note.clone(),
        fingerprint: crate::pki::token::fingerprint(&known.digest),
    }
}

fn state(view: &CertificateView, now: crate::base::clock::Timestamp) -> v1::CertificateState {
    if view.revoked.is_some() {
        return v1::CertificateState::Revoked;
    }
    match view.certificate.state(now) {
        State::Active => v1::CertificateState::Active,
        State::Unconfirmed => v1::CertificateState::Unconfirmed,
        State::Grace => v1::CertificateState::Superseded,
        State::Superseded | State::Expired => v1::CertificateState::Expired,
    }
}

/// Whether it is taken, or may be.
const fn is_taken(state: v1::CertificateState) -> bool {
    use v1::CertificateState as State;
    matches!(state, State::Active | State::Superseded | State::Unconfirmed)
}

fn show(view: CertificateView, hub: &Hub) -> v1::Certificate {
    let state = state(&view, hub.machine_now());
    let CertificateView { certificate: known, revoked, severed, connections, renew_now } = view;
    let mut shown = v1::Certificate {
        name: certificate::certificate(&known.id.issuer, &known.id.serial),
        spiffe_id: known.holder.to_string(),
        organisation: name::organisation(known.holder.org()),
        serial: known.id.serial.clone(),
        issuer: hub.issuer_name(&known.id.issuer),
        fingerprint: digest::hex(&known.fingerprint()),
        issue_time: Some(time::write(known.issued)),
        expire_time: Some(time::write(known.not_after)),
        state: state.into(),
        first_use_time: known.first_used.map(time::write),
        connection_count: count(connections),
        renew_now,
        doubtful_clock: known.doubtful,
        ..v1::Certificate::default()
    };
    if let Some(revoked) = revoked {
        shown.revoke_time = Some(time::write(revoked.time));
        shown.revoke_reason = revoked.reason.clone();
        shown.revoker = revoked.by.clone();
    }
    if let Some(severed) = severed {
        shown.sever_time = Some(time::write(severed.time));
        shown.sever_reason = severed.reason.clone();
        shown.severer = severed.by.clone();
    }
    shown
}

fn show_rotation(view: RotationView) -> v1::Rotation {
    let RotationView { rotation, lists, counts, due } = view;
    let show = |generation: &Generation| {
        let list = lists.get(&generation.issuer);
        let (live, connections) = counts.get(&generation.issuer).copied().unwrap_or_default();
        v1::Authority {
            name: authority(&generation.issuer),
            display_name: generation.name.clone(),
            generation: i32::try_from(generation.number).unwrap_or(i32::MAX),
            certificate: generation.certificate.to_vec().into(),
            expire_time: Some(time::write(generation.not_after)),
            revocation_list_number: list.map_or(0, |list| i64::try_from(list.0).unwrap_or(i64::MAX)),
            revocation_list_next_update_time: list.map(|list| time::write(list.1)),
            live_certificate_count: count(live),
            connection_count: count(connections),
        }
    };
    v1::Rotation {
        hierarchy: hierarchy(rotation.hierarchy).into(),
        phase: phase(rotation.phase).into(),
        current: Some(show(&rotation.current)),
        next: rotation.next.as_ref().map(show),
        since: Some(time::write(rotation.since)),
        etag: rotation.version.to_string(),
        due: due.map(|due| due.as_str().to_owned()).unwrap_or_default(),
    }
}

const fn phase(phase: Phase) -> v1::RotationPhase {
    match phase {
        Phase::Stable => v1::RotationPhase::Stable,
        Phase::Prepared => v1::RotationPhase::Prepared,
        Phase::Distributed => v1::RotationPhase::Distributed,
        Phase::Active => v1::RotationPhase::Active,
        Phase::Switched => v1::RotationPhase::Switched,
        Phase::Draining => v1::RotationPhase::Draining,
        Phase::Rollback => v1::RotationPhase::Rollback,
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
