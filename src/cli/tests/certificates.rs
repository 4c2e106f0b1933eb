//! Promises of `luytre cert`, `certs` and `ca`, against a hub that is played.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser as _;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use super::super::arguments::{Arguments, Command};
use super::super::exit::Failure;
use super::super::output::Data;
use super::super::{Environment, authorities, cert, certs, profile};
use super::Printed;
use crate::client::tests::authority::{Authority, HOLDER, TlsHub};
use crate::pki::token::EnrolmentToken;
use crate::wire::proto::v1;
use v1::certificate_service_server::CertificateServiceServer;
use v1::directory_service_server::DirectoryServiceServer;
use v1::enrollment_service_server::EnrollmentServiceServer;

/// A hub, its enrolment, and the files of a system.
struct Scene {
    dir: tempfile::TempDir,
    authority: Arc<Authority>,
    hub: TlsHub,
    door: TlsHub,
}

impl Scene {
    async fn new() -> Self {
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        let calls = Server::builder()
            .add_service(CertificateServiceServer::from_arc(Arc::clone(&authority)))
            .add_service(DirectoryServiceServer::from_arc(Arc::clone(&authority)));
        let hub = TlsHub::serve(authority.config(true), calls).await;
        let door = Server::builder().add_service(EnrollmentServiceServer::from_arc(Arc::clone(&authority)));
        let door = TlsHub::serve(authority.config(false), door).await;
        let token = EnrolmentToken::generate(authority.digest()).reveal();
        fs::write(dir.path().join("token"), token.as_bytes()).unwrap();
        Self { dir, authority, hub, door }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs `luytre cert` with these words, and the hub and files of the scene.
    async fn cert(&self, words: &[&str]) -> Result<(), Failure> {
        let file = |name: &str| self.path(name).display().to_string();
        let (hub, door) = (self.hub.address.to_string(), self.door.address.to_string());
        let mut all: Vec<String> =
            ["luytre", "--server-name", "localhost", "--hub", &hub].map(Into::into).into();
        all.extend(
            ["--ca", &file("ca.pem"), "--cert", &file("me.pem"), "--key", &file("me.key")].map(Into::into),
        );
        all.extend(["--quiet".to_owned(), "cert".to_owned()]);
        for word in words {
            match *word {
                "TOKEN" => all.extend(["--enrol-at", &door, "--token-file", &file("token")].map(Into::into)),
                "HOOK" => all.extend(["--hook".to_owned(), format!("echo ran >> {}", file("hook"))]),
                word => all.push(word.to_owned()),
            }
        }
        let Arguments { hub, command: Command::Cert(options), .. } = Arguments::try_parse_from(all).unwrap()
        else {
            panic!("{words:?}")
        };
        cert::run(&hub, &Environment::default(), &options, true).await
    }

    fn leaf(&self) -> Vec<u8> {
        fs::read(self.path("me.pem")).unwrap()
    }

    fn hooks(&self) -> usize {
        fs::read_to_string(self.path("hook")).unwrap_or_default().lines().count()
    }
}

#[tokio::test]
async fn a_system_enrols_with_its_token_and_is_renewed_when_the_hub_asks() {
    let scene = Scene::new().await;
    scene.cert(&["enrol", "TOKEN"]).await.unwrap();
    let first = scene.leaf();
    assert_eq!(fs::read_to_string(scene.path("ca.pem")).unwrap(), scene.authority.pem());

    scene.cert(&["agent", "--once", "HOOK"]).await.unwrap();
    assert_eq!((scene.leaf(), scene.hooks(), scene.authority.keys()), (first.clone(), 0, 1));

    *scene.authority.renew_now.lock() = true;
    scene.cert(&["agent", "--once", "HOOK"]).await.unwrap();
    assert_ne!(scene.leaf(), first);
    assert_eq!((scene.hooks(), scene.authority.keys()), (1, 2));

    scene.cert(&["renew"]).await.unwrap();
    assert_eq!(scene.authority.keys(), 3);
}

#[tokio::test]
async fn an_agent_without_a_certificate_enrols() {
    let scene = Scene::new().await;
    assert_eq!(scene.cert(&["agent", "--once"]).await.unwrap_err().code(), 64);
    scene.cert(&["agent", "--once", "TOKEN", "HOOK"]).await.unwrap();
    assert_eq!((scene.hooks(), scene.authority.keys()), (1, 1));
    scene.cert(&["agent", "--once", "TOKEN", "HOOK"]).await.unwrap();
    assert_eq!((scene.hooks(), scene.authority.keys()), (1, 1));
}

#[tokio::test]
async fn who_let_his_certificate_end_is_told_what_to_run_and_enrols_again() {
    let scene = Scene::new().await;
    scene.authority.enrol_until(scene.dir.path(), 2020);
    let ended = scene.cert(&["agent", "--once"]).await.unwrap_err();
    assert_eq!(ended.code(), 77);
    let told = ended.text().unwrap();
    assert!(told.contains(&format!("luytre certs token issue {HOLDER}")), "{told}");
    assert!(told.contains("cert enrol --enrol-at"), "{told}");
    let before = scene.leaf();
    scene.cert(&["agent", "--once", "TOKEN"]).await.unwrap();
    assert_ne!(scene.leaf(), before);
}

#[tokio::test]
async fn the_authorities_are_those_that_the_hub_names_and_the_hook_hears_of_it() {
    let scene = Scene::new().await;
    scene.cert(&["enrol", "TOKEN"]).await.unwrap();
    let both = scene.authority.pem() + &Authority::new().pem();
    fs::write(scene.path("ca.pem"), both).unwrap();
    scene.cert(&["agent", "--once", "HOOK"]).await.unwrap();
    assert_eq!(fs::read_to_string(scene.path("ca.pem")).unwrap(), scene.authority.pem());
    assert_eq!((scene.hooks(), scene.authority.keys()), (1, 1));
}

#[tokio::test]
async fn a_renewal_without_an_answer_leaves_everything_and_goes_on_with_its_key() {
    let scene = Scene::new().await;
    scene.cert(&["enrol", "TOKEN"]).await.unwrap();
    let before = scene.leaf();
    *scene.authority.lost.lock() = 8;
    assert_eq!(scene.cert(&["renew"]).await.unwrap_err().code(), 75);
    assert_eq!(scene.leaf(), before);
    scene.cert(&["renew"]).await.unwrap();
    assert_ne!(scene.leaf(), before);
    assert_eq!(scene.authority.keys(), 2);
}

#[tokio::test]
async fn two_agents_do_not_keep_one_certificate() {
    let scene = Scene::new().await;
    let _first = crate::client::Keep::open(scene.path("me.pem"), scene.path("me.key")).unwrap();
    assert_eq!(scene.cert(&["agent", "--once", "TOKEN"]).await.unwrap_err().code(), 75);
}

/// Runs `luytre certs` or `luytre ca` over an admin socket; what it printed.
async fn over_socket(authority: &Arc<Authority>, dir: &Path, words: &[&str]) -> Result<String, Failure> {
    let socket = dir.join("admin.sock");
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    let service = CertificateServiceServer::from_arc(Arc::clone(authority));
    let served = crate::base::tasks::spawn("socket", async move {
        let router = Server::builder().add_service(service);
        router.serve_with_incoming(UnixListenerStream::new(listener)).await.unwrap();
    });
    let path = socket.display().to_string();
    let all = [&["luytre"], words, &["--socket", &path]].concat();
    let arguments = Arguments::try_parse_from(all).unwrap();
    let way = super::super::way(&arguments.command).unwrap();
    let client = profile::connect_to_socket(&arguments.hub, way);
    let printed = Printed::default();
    let mut data = Data::to(printed.clone());
    let ended = match &arguments.command {
        Command::Certs(options) => certs::run(&client, options, &mut data).await,
        Command::Ca(options) => authorities::run(&client, options, &mut data).await,
        other => panic!("{other:?}"),
    };
    data.flush().unwrap();
    served.abort();
    ended.map(|()| String::from_utf8(printed.0.lock().clone()).unwrap())
}

#[tokio::test]
async fn over_the_admin_socket_certificates_are_listed_and_revoked_without_any() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let run = |words: &'static [&'static str]| over_socket(&authority, dir.path(), words);
    let all = run(&["certs", "list", "--format", "jsonl"]).await.unwrap();
    assert_eq!(all.lines().count(), 2);
    assert!(all.contains("\"serial\":\"ab1299ff\"") && all.contains("\"connections\":2"), "{all}");

    let ended = run(&["certs", "revoke", "ab12", "--reason", "stolen"]).await.unwrap_err();
    assert_eq!(ended.code(), 64, "two begin so");
    assert_eq!(run(&["certs", "revoke", "ffff", "--reason", "stolen"]).await.unwrap_err().code(), 66);
    assert_eq!(authority.revoked.lock().len(), 0);
    run(&["certs", "revoke", "AB:12:CD", "--reason", "stolen"]).await.unwrap();
    assert_eq!(*authority.revoked.lock(), ["authorities/0f/certificates/ab12cd34"]);
}

#[tokio::test]
async fn a_token_goes_to_its_file_or_to_the_screen_and_not_to_both() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let shown = over_socket(&authority, dir.path(), &["certs", "token", "issue", HOLDER]).await.unwrap();
    assert_eq!(shown, "luytre-enrol-1.once\n");
    let file = dir.path().join("token").display().to_string();
    let words = ["certs", "token", "issue", HOLDER, "--to", &file];
    assert_eq!(over_socket(&authority, dir.path(), &words).await.unwrap(), "");
    assert_eq!(fs::read_to_string(&file).unwrap(), "luytre-enrol-1.once\n");
    assert!(!crate::base::files::is_open_to_others(Path::new(&file)).unwrap());
}

#[tokio::test]
async fn a_step_is_taken_from_the_state_that_was_read_and_says_who_blocks() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let run = |words: &'static [&'static str]| over_socket(&authority, dir.path(), words);
    let status = run(&["ca", "status"]).await.unwrap();
    assert!(status.starts_with("client: draining\n"), "{status}");

    run(&["ca", "retire", "client", "--dry-run"]).await.unwrap();
    let step = authority.step.lock().take().unwrap();
    assert!(step.dry_run && step.etag == "seven" && step.step() == v1::RotationStep::Retire);
    assert_eq!(run(&["ca", "retire", "client"]).await.unwrap_err().code(), 65);
    run(&["ca", "retire", "client", "--accept-cutting-off", HOLDER]).await.unwrap();
    assert!(!authority.step.lock().take().unwrap().dry_run);
    run(&["ca", "activate", "client", "0f"]).await.unwrap_err();
    assert_eq!(authority.step.lock().take().unwrap().authority, "authorities/0f");
    assert_eq!(run(&["ca", "switch", "server"]).await.unwrap_err().code(), 66);
}
