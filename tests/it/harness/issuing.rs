//! Decides how a test gets a hub with authorities of its own: the real signer
//! in a process of its own, its keys encrypted, beside the real hub.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use luytre::pki::key::Key;
use luytre::pki::pem;
use luytre::pki::tls::client_config;
use luytre::wire::proto::v1;
use luytre::wire::proto::v1::certificate_service_client::CertificateServiceClient;
use luytre::wire::proto::v1::enrollment_service_client::EnrollmentServiceClient;
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, UnixStream};
use tonic::transport::Channel;
use uuid::Uuid;

use super::hub::{TRUST_DOMAIN, spiffe};
use super::patience::eventually;
use super::{Builder, Credentials, TestHub};

/// The passphrase of the keys in tests.
const PASSPHRASE: &str = "tre già măng mọc";

/// A hub with authorities of its own, and its signer.
pub(crate) struct Issuing {
    hub: TestHub,
    signer: Option<Child>,
}

impl Builder {
    /// A hub with authorities of its own, that does not run yet; `more` is
    /// added to its `[authorities]`.
    pub(crate) fn prepare_issuing(self, more: &str) -> Issuing {
        let hub = self.with_authorities(more).prepare();
        let at = |name: &str| hub.dir().join(name);
        luytre::base::files::write_new(&at("passphrase"), PASSPHRASE.as_bytes(), 0o600).unwrap();
        let issuing = Issuing { hub, signer: None };
        let (ca, passphrase) = (issuing.at("ca"), issuing.at("passphrase"));
        let words = ["--trust-domain", TRUST_DOMAIN];
        issuing.pki(&["init"], &[("--dir", &ca), ("--passphrase-file", &passphrase)], &words);
        issuing.pki(&["export-signer"], &[("--dir", &ca), ("--to", &issuing.at("keys"))], &[]);
        let mut text = String::new();
        writeln!(text, "trust_domain = {TRUST_DOMAIN:?}").unwrap();
        writeln!(text, "server_names = [\"localhost\", \"127.0.0.1\", \"canary.localhost\"]").unwrap();
        writeln!(text, "keys = {:?}\nstate = {:?}", issuing.at("keys"), issuing.at("signer-state")).unwrap();
        writeln!(text, "socket = {:?}", issuing.at("signer.sock")).unwrap();
        fs::write(issuing.at("signer.toml"), text).unwrap();
        issuing
    }

    /// A hub with authorities of its own, that serves.
    pub(crate) async fn start_issuing(self) -> Issuing {
        let mut issuing = self.prepare_issuing("soak = \"0s\"\n");
        issuing.sign().await;
        issuing.hub.serve().await;
        issuing
    }
}

impl Issuing {
    fn at(&self, name: &str) -> PathBuf {
        self.hub.dir().join(name)
    }

    /// Runs `luytre pki`.
    pub(crate) fn pki(&self, command: &[&str], paths: &[(&str, &Path)], words: &[&str]) {
        let mut run = Command::new(env!("CARGO_BIN_EXE_luytre"));
        run.arg("pki").args(command).args(words).stdin(Stdio::null());
        paths.iter().for_each(|(flag, path)| {
            run.arg(flag).arg(path);
        });
        let done = run.output().unwrap();
        assert!(done.status.success(), "luytre pki: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Makes the next generation of an authority offline, and carries it to
    /// the signer.
    pub(crate) fn next_generation(&self, hierarchy: &str) {
        let (ca, passphrase) = (self.at("ca"), self.at("passphrase"));
        let words = ["--hierarchy", hierarchy];
        self.pki(&["issuing"], &[("--dir", &ca), ("--passphrase-file", &passphrase)], &words);
        self.pki(&["export-signer"], &[("--dir", &ca), ("--to", &self.at("keys"))], &[]);
    }

    /// Starts the signer and waits until it answers.
    pub(crate) async fn sign(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.at("signer.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_luytred"))
            .args(["signer", "--config"])
            .arg(self.at("signer.toml"))
            .arg("--passphrase-file")
            .arg(self.at("passphrase"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.signer = Some(child);
        let socket = self.at("signer.sock");
        eventually("the signer answers", async || UnixStream::connect(&socket).await.ok()).await;
    }

    /// Kills the signer.
    pub(crate) fn kill_signer(&mut self) {
        if let Some(mut child) = self.signer.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// What the signer said so far.
    pub(crate) fn signer_log(&self) -> String {
        fs::read_to_string(self.at("signer.log")).unwrap()
    }

    /// Where new systems enrol.
    pub(crate) fn enrolment(&self) -> SocketAddr {
        let ready: serde_json::Value = serde_json::from_slice(&fs::read(self.at("ready")).unwrap()).unwrap();
        ready["enrolment"].as_str().unwrap().parse().unwrap()
    }

    /// The calls of the machine's operator, over the hub's own socket.
    pub(crate) fn machine(&self) -> CertificateServiceClient<Channel> {
        let socket = self.hub.data_dir().join("admin.sock");
        let channel = tonic::transport::Endpoint::from_static("http://hub.invalid")
            .connect_with_connector_lazy(tower::service_fn(move |_: http::Uri| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            }));
        CertificateServiceClient::new(channel)
    }

    /// A token for `name` of `organisation`, made over the hub's own socket and
    /// approved by the operator who came with the hub.
    pub(crate) async fn token(&self, organisation: &str, name: &str) -> String {
        let mut machine = self.machine();
        let asked = v1::IssueEnrollmentTokenRequest {
            request_id: Uuid::new_v4().to_string(),
            spiffe_id: spiffe(organisation, name),
            ..Default::default()
        };
        let made = machine.issue_enrollment_token(asked).await.unwrap().into_inner();
        let approved = v1::ApproveEnrollmentTokenRequest {
            request_id: Uuid::new_v4().to_string(),
            name: made.enrollment_token.unwrap().name,
        };
        let mut operator = self.peer("hub", "user/operator").certificates();
        operator.approve_enrollment_token(approved).await.unwrap();
        made.token
    }

    /// What the enrolment listener answers to a token and a request.
    pub(crate) async fn enrol(
        &self,
        token: &str,
        request: Vec<u8>,
    ) -> Result<v1::IssuedCertificate, tonic::Status> {
        self.enrol_from(Ipv4Addr::LOCALHOST, token, request).await
    }

    /// The same from another address of the loopback network.
    pub(crate) async fn enrol_from(
        &self,
        from: Ipv4Addr,
        token: &str,
        request: Vec<u8>,
    ) -> Result<v1::IssuedCertificate, tonic::Status> {
        let roots = pem::certificates(&fs::read(self.hub.server_ca()).unwrap()).unwrap();
        let config = client_config(roots, Arc::new(Nobody)).unwrap();
        let (address, connector) = (self.enrolment(), tokio_rustls::TlsConnector::from(config));
        let channel = tonic::transport::Endpoint::from_static("http://localhost")
            .connect_with_connector_lazy(tower::service_fn(move |_: http::Uri| {
                let connector = connector.clone();
                async move {
                    let socket = TcpSocket::new_v4()?;
                    socket.bind((from, 0).into())?;
                    let tcp = socket.connect(address).await?;
                    let name = ServerName::try_from("localhost").unwrap();
                    connector.connect(name, tcp).await.map(TokioIo::new)
                }
            }));
        let asked = v1::EnrollSystemRequest { token: token.to_owned(), certificate_request: request.into() };
        let mut client = EnrollmentServiceClient::new(channel);
        client.enroll_system(asked).await.map(|answer| answer.into_inner().certificate.unwrap())
    }

    /// Enrols a system: its certificate and key in files.
    pub(crate) async fn enrolled(&self, organisation: &str, name: &str) -> Credentials {
        let token = self.token(organisation, name).await;
        let key = Key::for_leaf().unwrap();
        let issued = self.enrol(&token, request(&key)).await.unwrap();
        self.keep(&format!("{organisation}-{}", name.replace('/', "-")), &issued, &key)
    }

    /// Writes a certificate and its key to files.
    pub(crate) fn keep(&self, stem: &str, issued: &v1::IssuedCertificate, key: &Key) -> Credentials {
        let chain: String =
            issued.chain.iter().map(|der| pem::encode(pem::Label::Certificate, der)).collect();
        let directory = self.at("enrolled");
        fs::create_dir_all(&directory).unwrap();
        let credentials = Credentials {
            certificate: directory.join(format!("{stem}.pem")),
            key: directory.join(format!("{stem}.key")),
        };
        fs::write(&credentials.key, key.to_pem().as_bytes()).unwrap();
        fs::write(&credentials.certificate, chain).unwrap();
        credentials
    }
}

/// A request for a certificate for this key, that asks for nothing else.
pub(crate) fn request(key: &Key) -> Vec<u8> {
    let pair = rcgen::KeyPair::from_pem(&key.to_pem()).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.serialize_request(&pair).unwrap().der().to_vec()
}

/// Shows no certificate.
#[derive(Debug)]
struct Nobody;

impl rustls::client::ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

impl Deref for Issuing {
    type Target = TestHub;

    fn deref(&self) -> &TestHub {
        &self.hub
    }
}

impl DerefMut for Issuing {
    fn deref_mut(&mut self) -> &mut TestHub {
        &mut self.hub
    }
}

impl Drop for Issuing {
    fn drop(&mut self) {
        self.kill_signer();
    }
}
