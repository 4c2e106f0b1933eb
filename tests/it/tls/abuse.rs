//! What a hostile peer can send, and what it costs the others.

use std::io;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use luytre::server::handshake::Refused;
use luytre::server::listener::Limits;
use rustls::{AlertDescription, ClientConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::handshake::roots;
use super::support::{Credential, Hub, eventually, odd_leaf, within};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ENHANCE_YOUR_CALM: u32 = 0xb;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An HTTP/2 connection below any library.
pub async fn bare_http2(hub: &Hub, client: &Credential) -> TlsStream<TcpStream> {
    let mut stream = hub.tls(client).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

/// Everything that the hub still sends.
async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut rest = Vec::new();
    // How it ends is not the question here.
    let _ = within(stream.read_to_end(&mut rest)).await;
    rest
}

fn goaway_codes(mut bytes: &[u8]) -> Vec<u32> {
    let mut codes = Vec::new();
    while bytes.len() >= 9 {
        let length = usize::try_from(u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]])).unwrap();
        let Some(payload) = bytes.get(9..9 + length) else { break };
        if bytes[3] == GOAWAY {
            codes.push(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        bytes = &bytes[9 + length..];
    }
    codes
}

#[tokio::test]
async fn a_client_that_offers_tls_1_2_alone_is_refused() {
    let hub = Hub::start().await;
    let mut tcp = TcpStream::connect(hub.address).await.unwrap();
    tcp.write_all(&client_hello_of_tls_1_2()).await.unwrap();
    let answer = rest(&mut tcp).await;
    // A fatal alert: protocol_version (RFC 8446, section 6).
    assert_eq!(answer, [0x15, 3, 3, 0, 2, 2, 70]);
    hub.eventually_refused(Refused::TlsVersion, 1).await;
}

fn client_hello_of_tls_1_2() -> Vec<u8> {
    let extensions: &[u8] = &[
        0, 10, 0, 4, 0, 2, 0, 23, // supported_groups: secp256r1
        0, 11, 0, 2, 1, 0, // ec_point_formats: uncompressed
        0, 13, 0, 4, 0, 2, 4, 3, // signature_algorithms: ecdsa_secp256r1_sha256
        0, 23, 0, 0, // extended_master_secret
    ];
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend([0, 2, 0xc0, 0x2b, 1, 0]);
    hello.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    hello.extend(extensions);
    let length = u16::try_from(hello.len()).unwrap();
    let mut record = vec![0x16, 3, 1];
    record.extend((length + 4).to_be_bytes());
    record.extend([1, 0]);
    record.extend(length.to_be_bytes());
    record.extend(hello);
    record
}

#[tokio::test]
async fn http2_without_tls_is_answered_with_an_alert_and_closed() {
    let hub = Hub::start().await;
    let mut tcp = TcpStream::connect(hub.address).await.unwrap();
    tcp.write_all(PREFACE).await.unwrap();
    let answer = rest(&mut tcp).await;
    assert_eq!(&answer[..3], [0x15, 3, 3]);
    hub.eventually_refused(Refused::Malformed, 1).await;
}

#[tokio::test]
async fn a_client_that_offers_no_protocol_is_closed() {
    let hub = Hub::start().await;
    let mut stream = hub.tls_with(with_protocols(&hub, &[]), super::support::NAME).await.unwrap();
    assert!(rest(&mut stream).await.is_empty());
    hub.eventually_refused(Refused::Alpn, 1).await;
    assert!(hub.callers.lock().is_empty());
}

#[tokio::test]
async fn a_client_that_offers_another_protocol_gets_an_alert() {
    let hub = Hub::start().await;
    let alert = hub.alert_for(with_protocols(&hub, &[b"http/1.1"])).await;
    assert_eq!(alert, AlertDescription::NoApplicationProtocol);
    hub.eventually_refused(Refused::Alpn, 1).await;
}

fn with_protocols(hub: &Hub, protocols: &[&[u8]]) -> Arc<ClientConfig> {
    let client = hub.good_client();
    let mut config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(roots(hub))
        .with_client_auth_cert(client.chain.clone(), client.key.expose().clone_key())
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

#[tokio::test]
async fn a_hello_that_drips_is_cut_at_the_deadline() {
    let hub = Hub::limited(Limits { hello_deadline: Duration::from_millis(200), ..Limits::default() }).await;
    let mut tcp = TcpStream::connect(hub.address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let hello = client_hello_of_tls_1_2();
    let dripping = async {
        for byte in hello.iter().cycle() {
            if tcp.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            // The hub's close is seen by reading, before a write fails.
            match tcp.try_read(&mut [0; 16]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    };
    within(dripping).await;
    hub.eventually_refused(Refused::Timeout, 1).await;
}

#[tokio::test]
async fn a_silent_connection_is_cut_at_the_deadline() {
    let hub = Hub::limited(Limits { hello_deadline: Duration::from_millis(100), ..Limits::default() }).await;
    let mut tcp = TcpStream::connect(hub.address).await.unwrap();
    rest(&mut tcp).await;
    hub.eventually_refused(Refused::Timeout, 1).await;
}

#[tokio::test]
async fn a_client_that_shakes_hands_and_says_nothing_is_cut() {
    let limits = Limits {
        first_call: Duration::from_millis(100),
        sever_grace: Duration::from_millis(100),
        ..Limits::default()
    };
    let hub = Hub::limited(limits).await;
    let mut silent = hub.tls(&hub.good_client()).await.unwrap();
    rest(&mut silent).await;
    // Nor does it help to speak HTTP/2 and call nothing.
    let mut idle = bare_http2(&hub, &hub.good_client()).await;
    rest(&mut idle).await;
    eventually("both are gone", || hub.connections.total() == 0).await;
    assert!(hub.callers.lock().is_empty());
}

#[tokio::test]
async fn a_flood_of_key_updates_ends_that_connection_alone() {
    let hub = Hub::start().await;
    let mut other = hub.client(&hub.good_client());
    super::support::check(&mut other).await.unwrap();
    let mut stream = bare_http2(&hub, &hub.good_client()).await;
    eventually("both are served", || hub.connections.live() == 2).await;
    for _ in 0..200 {
        stream.get_mut().1.refresh_traffic_keys().unwrap();
    }
    let _ = stream.flush().await;
    eventually("the flooding one is gone", || hub.connections.live() == 1).await;
    super::support::check(&mut other).await.unwrap();
}

#[tokio::test]
async fn rapid_reset_is_told_to_calm_down() {
    let hub = Hub::start().await;
    let mut stream = bare_http2(&hub, &hub.good_client()).await;
    let mut flood = Vec::new();
    for index in 0..500_u32 {
        let number = index * 2 + 1;
        // POST, https and the path /: indices 3, 7 and 4 (RFC 7541, appendix A).
        flood.extend(frame(HEADERS, 0x4, number, &[0x83, 0x87, 0x84, 0x41, 1, b'x']));
        flood.extend(frame(RST_STREAM, 0, number, &8_u32.to_be_bytes()));
    }
    // The hub may well close before it has read it all.
    let _ = stream.write_all(&flood).await;
    let _ = stream.flush().await;
    assert!(goaway_codes(&rest(&mut stream).await).contains(&ENHANCE_YOUR_CALM));
    hub.assert_serves(&hub.good_client()).await;
}

#[tokio::test]
async fn a_flood_of_pings_or_settings_that_reads_no_answer_costs_the_others_nothing() {
    let hub = Hub::start().await;
    let mut other = hub.client(&hub.good_client());
    super::support::check(&mut other).await.unwrap();
    for (kind, payload) in [(PING, &[0_u8; 8][..]), (SETTINGS, &[0, 3, 0, 0, 0, 9][..])] {
        let mut stream = bare_http2(&hub, &hub.good_client()).await;
        let burst = frame(kind, 0, 0, payload).repeat(4_000);
        // Sends until the hub takes no more, for it must not buffer answers
        // without end; reading nothing all the while.
        let stalled = async {
            for _ in 0..2_000 {
                let sent = tokio::time::timeout(Duration::from_millis(300), stream.write_all(&burst)).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return true;
                }
            }
            false
        };
        assert!(within(stalled).await, "the hub took a flood of kind {kind} without end");
        super::support::check(&mut other).await.unwrap();
        drop(stream);
        eventually("the flooding one is gone", || hub.connections.live() == 1).await;
    }
}

#[tokio::test]
async fn headers_beyond_the_limit_fail_that_call_alone() {
    let hub = Hub::start().await;
    let mut client = hub.client(&hub.good_client());
    let mut request = tonic::Request::new(tonic_health::pb::HealthCheckRequest::default());
    request.metadata_mut().insert("x-padding", "x".repeat(17 * 1024).parse().unwrap());
    assert!(within(client.check(request)).await.is_err());
    assert!(hub.callers.lock().is_empty());
    super::support::check(&mut client).await.unwrap();
}

/// What OpenSSL signs that our own library would not: keys and digests of old.
struct OpenSsl(tempfile::TempDir);

impl OpenSsl {
    fn run(&self, arguments: &str) -> Command {
        let mut command = Command::new("openssl");
        command.current_dir(self.0.path()).args(arguments.split_whitespace());
        command
    }

    fn new() -> Option<Self> {
        let this = Self(tempfile::tempdir().unwrap());
        match this.run("version").output() {
            Ok(_) => Some(this),
            Err(_) => {
                eprintln!("SKIPPED: openssl is not installed; weak certificates were not tried");
                None
            }
        }
    }

    /// A client certificate for `key`, signed with `digest`.
    fn sign(&self, hub: &Hub, key: &str, digest: &str) {
        let path = |name: &str| self.0.path().join(name);
        let ca = luytre::pki::pem::encode(luytre::pki::pem::Label::Certificate, hub.pki.client.certificate());
        std::fs::write(path("ca.pem"), ca).unwrap();
        std::fs::write(path("ca.key"), hub.pki.client.key().to_pem().as_bytes()).unwrap();
        let extensions = "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\nkeyUsage=digitalSignature\nsubjectAltName=URI:spiffe://hub.test/org/soc/system/feed\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always\n";
        std::fs::write(path("ext"), extensions).unwrap();
        for step in [
            format!("req -new -nodes -newkey {key} -keyout leaf.key -out leaf.csr -subj /CN=x"),
            format!(
                "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -{digest} -days 2 -extfile ext -set_serial 0x4711 -out leaf.pem"
            ),
        ] {
            let output = self.run(&step).output().unwrap();
            assert!(output.status.success(), "{step}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    fn credential(&self) -> Credential {
        let read = |name: &str| std::fs::read(self.0.path().join(name)).unwrap();
        Credential {
            chain: luytre::pki::pem::certificates(&read("leaf.pem")).unwrap(),
            key: luytre::pki::pem::private_key(&read("leaf.key")).unwrap(),
        }
    }
}

#[tokio::test]
async fn a_certificate_signed_with_sha_1_is_refused() {
    let Some(openssl) = OpenSsl::new() else { return };
    let hub = Hub::start().await;
    openssl.sign(&hub, "ec -pkeyopt ec_paramgen_curve:P-256", "sha1");
    hub.assert_refuses(&openssl.credential(), Refused::Certificate).await;
    openssl.sign(&hub, "ec -pkeyopt ec_paramgen_curve:P-256", "sha384");
    hub.assert_serves(&openssl.credential()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_rsa_key_of_1024_bits_is_refused() {
    let Some(openssl) = OpenSsl::new() else { return };
    let hub = Hub::start().await;
    openssl.sign(&hub, "rsa:1024", "sha256");
    let leaf = openssl.credential();
    assert!(matches!(
        luytre::pki::identity::read(&leaf.chain[0], super::support::TRUST_DOMAIN),
        Err(luytre::pki::identity::Error::Key)
    ));
    // Our TLS library would not even sign with it, so OpenSSL is the client.
    let connect = format!(
        "s_client -connect {} -cert leaf.pem -key leaf.key -alpn h2 -tls1_3 -cipher DEFAULT@SECLEVEL=0",
        hub.address
    );
    let mut command = openssl.run(&connect);
    let output = tokio::task::spawn_blocking(move || command.stdin(std::process::Stdio::null()).output());
    within(output).await.unwrap().unwrap();
    hub.eventually_refused(Refused::Identity, 1).await;
}

#[tokio::test]
async fn a_certificate_by_our_published_profile_is_served() {
    let Some(openssl) = OpenSsl::new() else { return };
    let hub = Hub::start().await;
    openssl.sign(&hub, "ec -pkeyopt ec_paramgen_curve:P-384", "sha384");
    let profile = concat!(env!("CARGO_MANIFEST_DIR"), "/certs/profiles/client.ext");
    let sign = format!(
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -sha384 -days 2 -extfile {profile} -out leaf.pem"
    );
    let output = openssl.run(&sign).env("SPIFFE_ID", super::support::FEED).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    hub.assert_serves(&openssl.credential()).await;
}

#[tokio::test]
async fn our_revocation_list_is_one_that_openssl_takes() {
    let Some(openssl) = OpenSsl::new() else { return };
    let hub = Hub::start().await;
    openssl.sign(&hub, "ec -pkeyopt ec_paramgen_curve:P-256", "sha384");
    let verify = |revoked: &[&[u8]]| {
        let list = super::support::crl(&hub.pki.client, None, revoked, hub.clock.now());
        let text = luytre::pki::pem::encode(luytre::pki::pem::Label::RevocationList, &list);
        std::fs::write(openssl.0.path().join("crl.pem"), text).unwrap();
        let verify = "verify -partial_chain -crl_check -x509_strict -CAfile ca.pem -CRLfile crl.pem leaf.pem";
        let output = openssl.run(verify).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (taken, said) = verify(&[&[9]]);
    assert!(taken, "{said}");
    let (taken, said) = verify(&[&[0x47, 0x11]]);
    assert!(!taken && said.contains("revoked"), "{said}");
}

#[tokio::test]
async fn an_oversized_serial_is_refused() {
    let hub = Hub::start().await;
    let odd = odd_leaf(&hub.pki.client, |params| {
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x7f; 32]));
    });
    let before = hub.connections.counters().served();
    hub.alert_for(hub.pki.client_config(&odd)).await;
    assert_eq!(hub.connections.counters().served(), before);
}
