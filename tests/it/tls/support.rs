//! A hub's listener with a health service, and credentials good and bad.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use luytre::base::clock::{Clock, SystemClock, Timestamp};
use luytre::base::secret::Secret;
use luytre::hub::PeerCertificate;
use luytre::model::principal::SpiffeId;
use luytre::pki::identity::{self, CertificateId, Identity, IssuerDigest};
use luytre::pki::issue::{Authority, DAY, Hierarchy, Issued, Key, Leaf};
use luytre::pki::revocation::List;
use luytre::pki::tls::{Ledger, Material, Snapshot, Witness, client_config};
use luytre::server::connections::Connections;
use luytre::server::handshake::Refused;
use luytre::server::listener::{Drained, Limits, Listener};
use parking_lot::Mutex;
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceExt as _;

use crate::harness::Shown;

pub const TRUST_DOMAIN: &str = "hub.test";
pub const NAME: &str = "hub.test";

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A clock that goes only when it is told to, starting at the real time.
#[derive(Debug)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    pub fn shared() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(SystemClock.now().as_micros())))
    }

    pub fn forward(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros_clamped(self.0.load(Ordering::SeqCst))
    }
}

/// A certificate chain with its key.
pub struct Credential {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: Secret<PrivateKeyDer<'static>>,
}

impl From<Issued> for Credential {
    fn from(issued: Issued) -> Self {
        Self { chain: vec![issued.certificate], key: issued.key.to_der() }
    }
}

impl Credential {
    pub fn identity(&self) -> Arc<Shown> {
        Shown::new(self.chain.clone(), &self.key)
    }

    pub fn read(&self) -> Identity {
        identity::read(&self.chain[0], TRUST_DOMAIN).unwrap()
    }

    pub fn certificate_id(&self) -> CertificateId {
        self.read().certificate_id()
    }

    pub fn serial(&self) -> Vec<u8> {
        identity::parse(&self.chain[0]).unwrap().raw_serial().to_vec()
    }
}

/// Both hierarchies.
pub struct Pki {
    pub server_root: Authority,
    pub server: Authority,
    pub client: Authority,
}

pub fn authority(hierarchy: Hierarchy, now: Timestamp) -> (Authority, Authority) {
    let root = Authority::root(hierarchy, "test", now, DAY * 300).unwrap();
    let issuing = root.issuing(hierarchy, "test", 1, now, DAY * 200).unwrap();
    (root, issuing)
}

impl Pki {
    pub fn new(now: Timestamp) -> Self {
        let (server_root, server) = authority(Hierarchy::Server, now);
        let (_, client) = authority(Hierarchy::Client, now);
        Self { server_root, server, client }
    }

    pub fn material(&self, now: Timestamp) -> Material {
        self.material_with(&[(&self.client, crl(&self.client, None, &[], now))])
    }

    pub fn material_with(&self, trusted: &[(&Authority, CertificateRevocationListDer<'static>)]) -> Material {
        // Of the real time, by which the clients judge it.
        let now = SystemClock.now();
        let leaf = Leaf::Server { dns: vec![NAME.to_owned()], ip: vec![[127, 0, 0, 1].into()] };
        let issued = self.server.issue(&leaf, now, DAY * 30).unwrap();
        Material {
            anchors: trusted.iter().map(|(authority, _)| authority.certificate().clone()).collect(),
            revocation_lists: trusted.iter().map(|(_, list)| list.clone()).collect(),
            chain: vec![issued.certificate, self.server.certificate().clone()],
            key: issued.key.to_der(),
            canary: None,
        }
    }

    pub fn client_config(&self, credential: &Credential) -> Arc<ClientConfig> {
        client_config(vec![self.server_root.certificate().clone()], credential.identity()).unwrap()
    }
}

/// A revocation list of `authority` for a week.
pub fn crl(
    authority: &Authority,
    previous: Option<&List>,
    revoked: &[&[u8]],
    now: Timestamp,
) -> CertificateRevocationListDer<'static> {
    let mut list = authority.sign_revocation_list(previous, None, now, DAY * 7).unwrap();
    for serial in revoked {
        let before = List::read(&list).unwrap();
        list = authority.sign_revocation_list(Some(&before), Some(serial), now, DAY * 7).unwrap();
    }
    list
}

/// An empty list that outlives its authority, which `issue` would not sign.
pub fn long_crl(authority: &Authority, now: Timestamp) -> CertificateRevocationListDer<'static> {
    let params = rcgen::CertificateRevocationListParams {
        this_update: now.to_offset(),
        next_update: now.saturating_add(DAY * 900).to_offset(),
        crl_number: SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs: vec![],
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    params.signed_by(&issuer(authority)).unwrap().into()
}

/// A list with this number of all these serials, for a week.
pub fn large_crl(
    authority: &Authority,
    number: u8,
    revoked: impl Iterator<Item = Vec<u8>>,
    now: Timestamp,
) -> CertificateRevocationListDer<'static> {
    let entry = |serial: Vec<u8>| rcgen::RevokedCertParams {
        serial_number: SerialNumber::from_slice(&serial),
        revocation_time: now.to_offset(),
        reason_code: None,
        invalidity_date: None,
    };
    let params = rcgen::CertificateRevocationListParams {
        this_update: now.to_offset(),
        next_update: now.saturating_add(DAY * 7).to_offset(),
        crl_number: SerialNumber::from_slice(&[1, number]),
        issuing_distribution_point: None,
        revoked_certs: revoked.map(entry).collect(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    params.signed_by(&issuer(authority)).unwrap().into()
}

pub fn issuer(authority: &Authority) -> Issuer<'static, KeyPair> {
    let signer = KeyPair::try_from(authority.key().to_der().expose()).unwrap();
    Issuer::from_ca_cert_der(authority.certificate(), signer).unwrap()
}

/// The usual client of a test.
pub const FEED: &str = "spiffe://hub.test/org/soc/system/feed";

pub fn client_leaf(authority: &Authority, id: &str, now: Timestamp) -> Credential {
    authority.issue(&Leaf::Client(SpiffeId::parse(id).unwrap()), now, DAY).unwrap().into()
}

/// A client leaf as `issue` would make it, but for what `edit` changes.
pub fn odd_leaf(authority: &Authority, edit: impl FnOnce(&mut CertificateParams)) -> Credential {
    odd_leaf_with(authority, KeyPair::generate().unwrap(), edit)
}

pub fn odd_leaf_with(
    authority: &Authority,
    key: KeyPair,
    edit: impl FnOnce(&mut CertificateParams),
) -> Credential {
    let certificate = odd_params(edit).signed_by(&key, &issuer(authority)).unwrap();
    credential(certificate.der().clone(), &key)
}

pub fn self_signed_leaf() -> Credential {
    let key = KeyPair::generate().unwrap();
    let certificate = odd_params(|_| {}).self_signed(&key).unwrap();
    credential(certificate.der().clone(), &key)
}

fn credential(certificate: CertificateDer<'static>, key: &KeyPair) -> Credential {
    Credential { chain: vec![certificate], key: Secret::new(key.serialize_der().try_into().unwrap()) }
}

fn odd_params(edit: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let now = SystemClock.now();
    let mut params = CertificateParams::default();
    params.not_before = now.saturating_sub(DAY).to_offset();
    params.not_after = now.saturating_add(DAY).to_offset();
    params.serial_number = Some(SerialNumber::from_slice(&luytre::base::random::bytes::<16>()));
    params.subject_alt_names = vec![uri(FEED)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    edit(&mut params);
    params
}

pub fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// An authority that `Authority::issuing` would not make.
pub fn odd_authority(edit: impl FnOnce(&mut CertificateParams)) -> Authority {
    let key = KeyPair::generate().unwrap();
    let now = SystemClock.now();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("odd {}", luytre::base::random::u64()));
    params.not_before = now.saturating_sub(DAY).to_offset();
    params.not_after = now.saturating_add(DAY * 100).to_offset();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    edit(&mut params);
    let certificate = params.self_signed(&key).unwrap();
    let der = Secret::new(PrivateKeyDer::try_from(key.serialize_der()).unwrap());
    Authority::load(certificate.der().clone(), Key::from_der(&der).unwrap()).unwrap()
}

/// Writes down what the canary proves.
#[derive(Debug, Default)]
pub struct Proofs(pub Mutex<Vec<(SpiffeId, IssuerDigest)>>);

impl Witness for Proofs {
    fn proved(&self, holder: &SpiffeId, authority: IssuerDigest) {
        self.0.lock().push((holder.clone(), authority));
    }
}

/// A listener with a health service behind it.
pub struct Hub {
    pub address: SocketAddr,
    pub pki: Pki,
    pub clock: Arc<dyn Clock>,
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub connections: Arc<Connections>,
    pub callers: Arc<Mutex<Vec<PeerCertificate>>>,
    /// What the canary has proved.
    pub proofs: Arc<Proofs>,
    pub health: tonic_health::server::HealthReporter,
    ledger: Option<Arc<dyn Ledger>>,
    drain: CancellationToken,
    running: JoinHandle<Drained>,
}

impl Hub {
    pub async fn start() -> Self {
        Self::start_with(Limits::default(), SystemClock::shared(), &[]).await
    }

    pub async fn limited(limits: Limits) -> Self {
        Self::start_with(limits, SystemClock::shared(), &[]).await
    }

    /// Also trusts `others`.
    pub async fn trusting(others: &[&Authority]) -> Self {
        Self::start_with(Limits::default(), SystemClock::shared(), others).await
    }

    pub async fn start_with(limits: Limits, clock: Arc<dyn Clock>, others: &[&Authority]) -> Self {
        Self::start_judged(limits, clock, others, None).await
    }

    /// A hub whose certificates must also stand in `ledger`.
    pub async fn start_judged(
        limits: Limits,
        clock: Arc<dyn Clock>,
        others: &[&Authority],
        ledger: Option<Arc<dyn Ledger>>,
    ) -> Self {
        super::log::install();
        let now = clock.now();
        let pki = Pki::new(now);
        let mut trusted = vec![(&pki.client, crl(&pki.client, None, &[], now))];
        trusted.extend(others.iter().map(|&authority| (authority, crl(authority, None, &[], now))));
        let material = pki.material_with(&trusted);
        let snapshot = Snapshot::build(material, TRUST_DOMAIN, 1, &clock, ledger.clone()).unwrap();
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));

        let tcp = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = tcp.local_addr().unwrap();
        let (health, service) = tonic_health::server::health_reporter();
        let routes = tonic::service::Routes::new(service).prepare();
        let callers: Arc<Mutex<Vec<PeerCertificate>>> = Arc::default();
        let seen = Arc::clone(&callers);
        let spy = tower::service_fn(move |request: http::Request<tonic::body::Body>| {
            let peer = request.extensions().get::<PeerCertificate>().expect("every call has a peer").clone();
            seen.lock().push(peer);
            let routes = routes.clone();
            async move { Ok::<_, Infallible>(routes.oneshot(request).await.unwrap()) }
        });
        let proofs = Arc::new(Proofs::default());
        let witness = Some(Arc::clone(&proofs) as _);
        let listener = Listener::new(tcp, Arc::clone(&snapshot), spy, limits, Arc::clone(&clock), witness);
        let connections = listener.connections();
        let drain = CancellationToken::new();
        let running = tokio::spawn(listener.run(drain.clone()));
        Self { address, pki, clock, snapshot, connections, callers, proofs, health, ledger, drain, running }
    }

    pub fn good_client(&self) -> Credential {
        client_leaf(&self.pki.client, FEED, self.clock.now())
    }

    /// Puts a snapshot of `trusted` in force and sweeps, as a reload does.
    pub fn reload(&self, trusted: &[(&Authority, CertificateRevocationListDer<'static>)]) -> usize {
        self.put_in_force(self.pki.material_with(trusted))
    }

    /// Puts a snapshot of `material` in force and sweeps.
    pub fn put_in_force(&self, material: Material) -> usize {
        let current = self.snapshot.load_full();
        let (epoch, ledger) = (current.epoch() + 1, self.ledger.clone());
        let next = Snapshot::build(material, TRUST_DOMAIN, epoch, &self.clock, ledger).unwrap();
        next.check_follows(&current).unwrap();
        self.snapshot.store(Arc::new(next));
        self.connections.sweep(&self.snapshot.load(), self.clock.now())
    }

    /// Revokes `credential` and reloads.
    pub fn revoke(&self, credential: &Credential) -> usize {
        self.reload(&[(
            &self.pki.client,
            crl(&self.pki.client, None, &[&credential.serial()], self.clock.now()),
        )])
    }

    pub async fn tls_with(&self, config: Arc<ClientConfig>, name: &str) -> io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(config).connect(ServerName::try_from(name.to_owned()).unwrap(), tcp).await
    }

    pub async fn tls(&self, credential: &Credential) -> io::Result<TlsStream<TcpStream>> {
        self.tls_with(self.pki.client_config(credential), NAME).await
    }

    /// The alert by which the hub refuses a client. With TLS 1.3 the client
    /// only learns it when it reads.
    pub async fn alert_for(&self, config: Arc<ClientConfig>) -> AlertDescription {
        let outcome = match self.tls_with(config, NAME).await {
            Ok(mut stream) => within(stream.read_to_end(&mut Vec::new())).await.map(|_| ()),
            Err(error) => Err(error),
        };
        let error = outcome.expect_err("the hub refuses");
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) => *alert,
            _ => panic!("expected an alert, got {error:?}"),
        }
    }

    /// Asserts that the hub refuses `credential` for `reason`, once.
    pub async fn assert_refuses(&self, credential: &Credential, reason: Refused) -> AlertDescription {
        let before = self.connections.counters().refused(reason);
        let alert = self.alert_for(self.pki.client_config(credential)).await;
        self.eventually_refused(reason, before + 1).await;
        alert
    }

    pub async fn eventually_refused(&self, reason: Refused, times: u64) {
        let counters = self.connections.counters();
        eventually(&format!("{times} refused as {}", reason.as_str()), || counters.refused(reason) == times)
            .await;
    }

    pub async fn assert_serves(&self, credential: &Credential) {
        check(&mut self.client(credential)).await.expect("the hub serves");
    }

    pub fn channel(&self, config: Arc<ClientConfig>) -> Channel {
        let address = self.address;
        Endpoint::from_static("http://hub.test").connect_with_connector_lazy(tower::service_fn(
            move |_: http::Uri| {
                let connector = TlsConnector::from(Arc::clone(&config));
                async move {
                    let tcp = TcpStream::connect(address).await?;
                    let stream = connector.connect(ServerName::try_from(NAME).unwrap(), tcp).await?;
                    Ok::<_, io::Error>(TokioIo::new(stream))
                }
            },
        ))
    }

    pub fn client(&self, credential: &Credential) -> HealthClient<Channel> {
        HealthClient::new(self.channel(self.pki.client_config(credential)))
    }

    /// An open stream that has delivered its first message.
    pub async fn watch(
        &self,
        client: &mut HealthClient<Channel>,
    ) -> tonic::Streaming<tonic_health::pb::HealthCheckResponse> {
        let mut stream = within(client.watch(HealthCheckRequest::default())).await.unwrap().into_inner();
        within(stream.message()).await.unwrap().unwrap();
        stream
    }

    pub fn begin_drain(&self) {
        self.drain.cancel();
    }

    pub async fn drained(self) -> Drained {
        within(self.running).await.unwrap()
    }
}

pub async fn check(client: &mut HealthClient<Channel>) -> Result<(), tonic::Status> {
    within(client.check(HealthCheckRequest::default())).await.map(|_| ())
}

/// Awaits `work`, but not for ever.
pub async fn within<F: Future>(work: F) -> F::Output {
    tokio::time::timeout(PATIENCE, work).await.expect("done within the patience of the test")
}

/// Waits until `holds`.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "never came true: {what}");
}

/// The reason in the status' `ErrorInfo`.
pub fn reason(status: &tonic::Status) -> String {
    use tonic_types::StatusExt as _;
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}
