//! That others than ourselves can speak with the hub and read what it is made
//! of: OpenSSL, and Python's ssl.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use luytre::pki::issue::{Key, Leaf};
use luytre::pki::pem::{self, Label};

use super::support::{Credential, Hub, NAME, crl};

/// The hub's authorities and a client's credentials, as files.
struct Files(tempfile::TempDir);

impl Files {
    fn of(hub: &Hub, client: &Credential) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let certificate = |der: &[u8]| pem::encode(Label::Certificate, der);
        write("root.pem", &certificate(hub.pki.server_root.certificate()));
        write("issuing.pem", &certificate(hub.pki.server.certificate()));
        write("client-ca.pem", &certificate(hub.pki.client.certificate()));
        write("client.pem", &certificate(&client.chain[0]));
        write("client.key", &Key::from_der(&client.key).unwrap().to_pem());
        Self(dir)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).unwrap();
    }

    /// Runs a program among these files.
    async fn run(&self, program: &str, words: &[&str]) -> (bool, String) {
        let mut command = Command::new(program);
        command.args(words).current_dir(self.path()).stdin(Stdio::null());
        let ran = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let Output { status, stdout, stderr } = ran;
        let said = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        (status.success(), said)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Whether a program is on this machine; says loudly if not.
fn is_here(program: &str, version: &str) -> bool {
    let here = Command::new(program).arg(version).output().is_ok_and(|output| output.status.success());
    if !here {
        eprintln!("SKIPPED: there is no {program} on this machine, so nothing is shown of it");
    }
    here
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_shakes_hands_with_the_best_key_exchange_that_it_has() {
    if !is_here("openssl", "version") {
        return;
    }
    let hub = Hub::start().await;
    let files = Files::of(&hub, &hub.good_client());
    let hybrid = files.run("openssl", &["list", "-kem-algorithms"]).await.1.contains("X25519MLKEM768");
    let (groups, expected) =
        if hybrid { ("X25519MLKEM768:X25519", "X25519MLKEM768") } else { ("X25519:P-256", "X25519") };
    let address = hub.address.to_string();
    let words = [
        "s_client",
        "-connect",
        &address,
        "-servername",
        NAME,
        "-alpn",
        "h2",
        "-tls1_3",
        "-groups",
        groups,
        "-cert",
        "client.pem",
        "-key",
        "client.key",
        "-CAfile",
        "root.pem",
        "-verify_return_error",
        "-verify_hostname",
        NAME,
        "-brief",
    ];
    let (well, said) = files.run("openssl", &words).await;
    assert!(well && said.contains("Verification: OK") && said.contains("TLSv1.3"), "{said}");
    super::support::eventually("the hub serves it", || hub.connections.counters().served() == 1).await;
    assert!(said.contains(expected), "{expected}: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_verifies_our_certificates_and_reads_our_list() {
    if !is_here("openssl", "version") {
        return;
    }
    let hub = Hub::start().await;
    let client = hub.good_client();
    let files = Files::of(&hub, &client);
    let now = hub.clock.now();
    let leaf = Leaf::Server { dns: vec![NAME.to_owned()], ip: vec![] };
    let server = hub.pki.server.issue(&leaf, now, luytre::pki::issue::DAY).unwrap();
    files.write("server.pem", &pem::encode(Label::Certificate, &server.certificate));
    let verify = ["verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", NAME];
    let chain = ["-CAfile", "root.pem", "-untrusted", "issuing.pem", "server.pem"];
    let (well, said) = files.run("openssl", &[&verify[..], &chain].concat()).await;
    assert!(well, "{said}");

    let check = ["verify", "-x509_strict", "-partial_chain", "-crl_check", "-purpose", "sslclient"];
    let with = ["-CAfile", "client-ca.pem", "-CRLfile", "list.pem", "client.pem"];
    let serial = client.serial();
    for (revoked, taken) in [(vec![], true), (vec![serial.as_slice()], false)] {
        let list = crl(&hub.pki.client, None, &revoked, now);
        files.write("list.pem", &pem::encode(Label::RevocationList, &list));
        let (well, said) = files.run("openssl", &[&check[..], &with].concat()).await;
        assert!(well == taken && (taken || said.contains("revoked")), "{said}");
        let (well, said) = files.run("openssl", &["crl", "-in", "list.pem", "-noout", "-text"]).await;
        assert!(well && said.contains("CRL Number") && said.contains("Authority Key Identifier"), "{said}");
        let shown = client.certificate_id().serial.to_uppercase();
        assert_eq!(said.contains(&shown), !taken, "{shown}: {said}");
        let (well, said) =
            files.run("openssl", &["crl", "-in", "list.pem", "-noout", "-CAfile", "client-ca.pem"]).await;
        assert!(well && said.contains("verify OK"), "{said}");
    }
}

const PYTHON: &str = "
import socket, ssl, sys
host, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context(cafile='root.pem')
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.load_cert_chain('client.pem', 'client.key')
context.set_alpn_protocols(['h2'])
with context.wrap_socket(socket.create_connection((host, port)), server_hostname=name) as tls:
    tls.sendall(b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    frame = tls.recv(9)
    print(tls.version(), tls.selected_alpn_protocol(), 'settings' if frame[3] == 4 else frame)
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pythons_ssl_connects_by_h2_and_is_answered() {
    if !is_here("python3", "--version") {
        return;
    }
    let hub = Hub::start().await;
    let files = Files::of(&hub, &hub.good_client());
    let (host, port) = (hub.address.ip().to_string(), hub.address.port().to_string());
    let (well, said) = files.run("python3", &["-c", PYTHON, &host, &port, NAME]).await;
    assert!(well, "{said}");
    assert_eq!(said.trim(), "TLSv1.3 h2 settings");
}
