//! Decides how a hub is played that shakes hands, enrols and renews: over TLS on
//! loopback, in this process.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, Router};
use tonic::{Code, Request, Response, Status};

use crate::base::{digest, tasks};
use crate::pki::tls::ALPN;
use crate::wire::proto::v1;
use v1::certificate_service_server::CertificateService;
use v1::directory_service_server::DirectoryService;
use v1::enrollment_service_server::EnrollmentService;

use super::stub::refuse;

/// The identity that this authority knows.
pub(crate) const HOLDER: &str = "spiffe://hub.example/org/soc/system/feed";

/// Both hierarchies in one authority.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Public keys that were certified, repeats included.
    certified: Mutex<Vec<Vec<u8>>>,
    /// Answers that are lost on the way.
    pub(crate) lost: Mutex<usize>,
    /// What the next answer gets wrong.
    pub(crate) fault: Mutex<Option<Fault>>,
    /// Whether holders are asked to renew now.
    pub(crate) renew_now: Mutex<bool>,
    /// Names that were revoked.
    pub(crate) revoked: Mutex<Vec<String>>,
    /// The last step of a rotation that was asked for.
    pub(crate) step: Mutex<Option<v1::RotateAuthorityRequest>>,
}

/// How an answer of the authority is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Key,
    Holder,
}

impl Authority {
    pub(crate) fn new() -> Arc<Self> {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "G1");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Arc::new(Self {
            issuer,
            certified: Mutex::default(),
            lost: Mutex::default(),
            fault: Mutex::default(),
            renew_now: Mutex::default(),
            revoked: Mutex::default(),
            step: Mutex::default(),
        })
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        digest::sha256(self.issuer.der())
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// How many keys were certified, each counted once.
    pub(crate) fn keys(&self) -> usize {
        let mut keys = self.certified.lock().clone();
        keys.sort();
        keys.dedup();
        keys.len()
    }

    fn sign(&self, name: SanType, usage: ExtendedKeyUsagePurpose, key: &impl PublicKeyData) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![name];
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.signed_by(key, &self.issuer).unwrap().der().to_vec()
    }

    /// A certificate of [`HOLDER`] and its key, as an operator writes them.
    pub(crate) fn enrol(&self, dir: &Path) {
        self.enrol_until(dir, 4_000);
    }

    /// The same until the end of a year.
    pub(crate) fn enrol_until(&self, dir: &Path, year: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(year, 12, 31);
        params.subject_alt_names = vec![SanType::URI(HOLDER.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let der = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        let pem = crate::pki::pem::encode(crate::pki::pem::Label::Certificate, &der);
        std::fs::write(dir.join("me.pem"), pem).unwrap();
        std::fs::write(dir.join("me.key"), key.serialize_pem()).unwrap();
        std::fs::write(dir.join("ca.pem"), self.pem()).unwrap();
    }

    fn answer(&self, request: &[u8]) -> Result<v1::IssuedCertificate, Status> {
        let request = CertificateSigningRequestParams::from_der(&request.to_vec().into()).unwrap();
        self.certified.lock().push(request.public_key.der_bytes().to_vec());
        if let Some(left) = { self.lost.lock().checked_sub(1) } {
            *self.lost.lock() = left;
            return Err(refuse(Code::Unavailable, "DRAINING"));
        }
        let fault = self.fault.lock().take();
        let holder =
            if fault == Some(Fault::Holder) { "spiffe://hub.example/org/soc/user/eve" } else { HOLDER };
        let name = SanType::URI(holder.try_into().unwrap());
        let leaf = if fault == Some(Fault::Key) {
            self.sign(name, ExtendedKeyUsagePurpose::ClientAuth, &KeyPair::generate().unwrap())
        } else {
            self.sign(name, ExtendedKeyUsagePurpose::ClientAuth, &request.public_key)
        };
        let root = self.issuer.der().to_vec();
        Ok(v1::IssuedCertificate {
            chain: vec![leaf.into()],
            trust_bundle: vec![root.into()],
            spiffe_id: holder.to_owned(),
            ..v1::IssuedCertificate::default()
        })
    }

    /// The terms of the hub: with certificates of this authority alone, or
    /// without any.
    pub(crate) fn config(&self, clients: bool) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let name = SanType::DnsName("localhost".try_into().unwrap());
        let leaf = self.sign(name, ExtendedKeyUsagePurpose::ServerAuth, &key);
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = if clients {
            builder.unwrap().with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.unwrap().with_no_client_auth()
        };
        let chain = vec![leaf.into(), self.issuer.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![ALPN.to_vec()];
        Arc::new(config)
    }
}

/// A hub behind TLS; gone when dropped.
pub(crate) struct TlsHub {
    pub(crate) address: SocketAddr,
    /// Certificates of the connections in the order of their handshakes.
    pub(crate) seen: Arc<Mutex<Vec<CertificateDer<'static>>>>,
    /// Certificates of the connections that have ended.
    pub(crate) ended: watch::Receiver<Vec<CertificateDer<'static>>>,
    /// How many handshakes failed.
    pub(crate) refused: watch::Receiver<usize>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for TlsHub {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl TlsHub {
    pub(crate) async fn serve(config: Arc<ServerConfig>, router: Router) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (out, incoming) = mpsc::channel(16);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (gone, ended) = watch::channel(Vec::new());
        let (gone, all) = (Arc::new(gone), Arc::clone(&seen));
        let (failed, refused) = watch::channel(0);
        let accept = tasks::spawn("accept", async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let Ok(stream) = TlsAcceptor::from(Arc::clone(&config)).accept(tcp).await else {
                    failed.send_modify(|failed| *failed += 1);
                    continue;
                };
                let peer = stream.get_ref().1.peer_certificates().map(|all| all[0].clone());
                all.lock().extend(peer.clone());
                let _ = out.send(io::Result::Ok(Counted { stream, peer, gone: Arc::clone(&gone) })).await;
            }
        });
        let serve = tasks::spawn("serve", async move {
            let _ = router.serve_with_incoming(ReceiverStream::new(incoming)).await;
        });
        Self { address, seen, ended, refused, tasks: [accept, serve] }
    }

    /// Certificates seen so far.
    pub(crate) fn shown(&self) -> Vec<CertificateDer<'static>> {
        self.seen.lock().clone()
    }
}

/// A connection whose end is noted.
struct Counted {
    stream: TlsStream<TcpStream>,
    peer: Option<CertificateDer<'static>>,
    gone: Arc<watch::Sender<Vec<CertificateDer<'static>>>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let peer = self.peer.take();
        self.gone.send_modify(|gone| gone.extend(peer));
    }
}

impl Connected for Counted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tonic::async_trait]
impl EnrollmentService for Authority {
    async fn enroll_system(
        &self,
        request: Request<v1::EnrollSystemRequest>,
    ) -> Result<Response<v1::EnrollSystemResponse>, Status> {
        let certificate = Some(self.answer(&request.into_inner().certificate_request)?);
        Ok(Response::new(v1::EnrollSystemResponse { certificate }))
    }
}

/// Methods that this authority does not have.
macro_rules! absent {
    ($($method:ident($request:ident) -> $response:ident),* $(,)?) => {$(
        fn $method<'a: 'b, 'b>(
            &'a self,
            _: Request<v1::$request>,
        ) -> Pin<Box<dyn Future<Output = Result<Response<v1::$response>, Status>> + Send + 'b>>
        where
            Self: 'b,
        {
            Box::pin(async { Err(Status::unimplemented("not of this stub")) })
        }
    )*};
}

#[tonic::async_trait]
impl CertificateService for Authority {
    async fn renew_certificate(
        &self,
        request: Request<v1::RenewCertificateRequest>,
    ) -> Result<Response<v1::RenewCertificateResponse>, Status> {
        let certificate = Some(self.answer(&request.into_inner().certificate_request)?);
        Ok(Response::new(v1::RenewCertificateResponse { certificate }))
    }

    async fn get_trust_bundle(
        &self,
        _: Request<v1::GetTrustBundleRequest>,
    ) -> Result<Response<v1::GetTrustBundleResponse>, Status> {
        let certificates = vec![self.issuer.der().to_vec().into()];
        Ok(Response::new(v1::GetTrustBundleResponse {
            certificates,
            digest: String::new(),
            canary_name: String::new(),
        }))
    }

    async fn list_certificates(
        &self,
        request: Request<v1::ListCertificatesRequest>,
    ) -> Result<Response<v1::ListCertificatesResponse>, Status> {
        // Two pages.
        let (serial, next) = match request.into_inner().page_token.as_str() {
            "" => ("ab12cd34", "more"),
            _ => ("ab1299ff", ""),
        };
        let certificates = vec![v1::Certificate {
            name: format!("authorities/0f/certificates/{serial}"),
            spiffe_id: HOLDER.to_owned(),
            serial: serial.to_owned(),
            state: v1::CertificateState::Active.into(),
            connection_count: 2,
            ..v1::Certificate::default()
        }];
        Ok(Response::new(v1::ListCertificatesResponse { certificates, next_page_token: next.to_owned() }))
    }

    async fn revoke_certificate(
        &self,
        request: Request<v1::RevokeCertificateRequest>,
    ) -> Result<Response<v1::RevokeCertificateResponse>, Status> {
        self.revoked.lock().push(request.into_inner().name);
        Ok(Response::new(v1::RevokeCertificateResponse { severed_count: 2, ..Default::default() }))
    }

    async fn issue_enrollment_token(
        &self,
        request: Request<v1::IssueEnrollmentTokenRequest>,
    ) -> Result<Response<v1::IssueEnrollmentTokenResponse>, Status> {
        let token = v1::EnrollmentToken {
            name: "enrollmentTokens/6a1f".to_owned(),
            spiffe_id: request.into_inner().spiffe_id,
            state: v1::EnrollmentTokenState::Pending.into(),
            ..v1::EnrollmentToken::default()
        };
        let shown = "luytre-enrol-1.once".to_owned();
        Ok(Response::new(v1::IssueEnrollmentTokenResponse { enrollment_token: Some(token), token: shown }))
    }

    async fn list_authorities(
        &self,
        _: Request<v1::ListAuthoritiesRequest>,
    ) -> Result<Response<v1::ListAuthoritiesResponse>, Status> {
        let rotations = vec![v1::Rotation {
            hierarchy: v1::Hierarchy::Client.into(),
            phase: v1::RotationPhase::Draining.into(),
            etag: "seven".to_owned(),
            current: Some(v1::Authority { name: "authorities/0f".to_owned(), ..v1::Authority::default() }),
            ..v1::Rotation::default()
        }];
        Ok(Response::new(v1::ListAuthoritiesResponse { rotations, unconfirmed_count: 3 }))
    }

    async fn rotate_authority(
        &self,
        request: Request<v1::RotateAuthorityRequest>,
    ) -> Result<Response<v1::RotateAuthorityResponse>, Status> {
        let request = request.into_inner();
        let free = request.accept_cutting_off == [HOLDER];
        *self.step.lock() = Some(request);
        let blocks = |text: &str| if free { Vec::new() } else { vec![text.to_owned()] };
        let (blockers, cut_off) = (blocks("one system has not renewed"), blocks(HOLDER));
        Ok(Response::new(v1::RotateAuthorityResponse { rotation: None, blockers, cut_off }))
    }

    absent! {
        get_revocation_list(GetRevocationListRequest) -> GetRevocationListResponse,
        list_enrollment_tokens(ListEnrollmentTokensRequest) -> ListEnrollmentTokensResponse,
        approve_enrollment_token(ApproveEnrollmentTokenRequest) -> ApproveEnrollmentTokenResponse,
        cancel_enrollment_token(CancelEnrollmentTokenRequest) -> CancelEnrollmentTokenResponse,
        get_certificate(GetCertificateRequest) -> GetCertificateResponse,
        confirm_certificates(ConfirmCertificatesRequest) -> ConfirmCertificatesResponse,
        sever_connections(SeverConnectionsRequest) -> SeverConnectionsResponse,
    }
}

#[tonic::async_trait]
impl DirectoryService for Authority {
    async fn who_am_i(&self, _: Request<v1::WhoAmIRequest>) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let renew_now = *self.renew_now.lock();
        Ok(Response::new(v1::WhoAmIResponse { renew_now, ..v1::WhoAmIResponse::default() }))
    }

    absent! {
        list_organisations(ListOrganisationsRequest) -> ListOrganisationsResponse,
        get_organisation(GetOrganisationRequest) -> GetOrganisationResponse,
    }
}
