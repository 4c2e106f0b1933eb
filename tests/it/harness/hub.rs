//! Decides how a test gets a hub: the real binary in a process of its own,
//! with its own roster, certificates and directory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use luytre::base::clock::{Clock as _, SystemClock, Timestamp};
use luytre::model::principal::SpiffeId;
use luytre::pki::directory::{CLIENT_CA, CLIENT_CRL, Directory, SERVER_CA};
use luytre::pki::issue::{Leaf, lifetime};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use time::Date;
use tokio::sync::watch;

use super::patience::{eventually, patiently};
use super::{Builder, Disk, Peer};

/// The trust domain of every hub under test.
pub(crate) const TRUST_DOMAIN: &str = "test.luytre.example";

/// A user without rights of its own, and its group.
const NOBODY: u32 = 65_534;

/// A certificate and its key.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// The hub did not come up.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
}

/// A hub in a process of its own.
#[derive(Debug)]
pub(crate) struct TestHub {
    dir: tempfile::TempDir,
    pki: Directory,
    issued: Mutex<BTreeMap<String, Credentials>>,
    disk: Option<Disk>,
    user: Option<u32>,
    /// What its calendar shows, if not today.
    date: Option<Date>,
    child: Option<Child>,
    address: watch::Sender<SocketAddr>,
    http: SocketAddr,
}

impl Builder {
    /// A hub whose directory is initialised and that does not run yet.
    pub(crate) fn prepare(self) -> TestHub {
        let hub = self.lay_out();
        let roster = hub.roster_file();
        let operator = hub.spiffe("hub", "user/operator");
        let words =
            ["--roster", roster.to_str().unwrap(), "--operator", &operator, "--trust-domain", TRUST_DOMAIN];
        let done = hub.command(&["init"]).arg("--data").arg(hub.data_dir()).args(words).output().unwrap();
        assert!(done.status.success(), "luytred init: {}", String::from_utf8_lossy(&done.stderr));
        hub
    }

    /// Roster, certificates and configuration of a hub that has no store yet.
    pub(super) fn lay_out(self) -> TestHub {
        let dir = tempfile::Builder::new().prefix("luytre-it-").tempdir().unwrap();
        let builder = self.organisation("hub");
        fs::write(dir.path().join("roster.json"), builder.roster()).unwrap();
        let pki =
            Directory::init(&dir.path().join("pki"), TRUST_DOMAIN, now(), lifetime::REVOCATION_LIST).unwrap();
        let leaf = Leaf::Server { dns: vec!["localhost".to_owned()], ip: vec![Ipv4Addr::LOCALHOST.into()] };
        pki.issue(&leaf, "server", now(), lifetime::SERVER).unwrap();
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let hub = TestHub {
            pki,
            issued: Mutex::default(),
            disk: None,
            user: None,
            date: None,
            child: None,
            address: watch::Sender::new(nowhere),
            http: nowhere,
            dir,
        };
        fs::write(hub.config_file(), hub.toml(builder.lines(), builder.authorities())).unwrap();
        hub
    }

    /// A hub that serves.
    pub(crate) async fn start(self) -> TestHub {
        let mut hub = self.prepare();
        hub.serve().await;
        hub
    }
}

pub(super) fn spiffe(organisation: &str, name: &str) -> String {
    format!("spiffe://{TRUST_DOMAIN}/org/{organisation}/{name}")
}

fn now() -> Timestamp {
    SystemClock.now()
}

impl TestHub {
    pub(crate) fn builder() -> Builder {
        Builder::default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The directory of everything that belongs to this hub.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The store's directory.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.path("hub.toml")
    }

    pub(super) fn roster_file(&self) -> PathBuf {
        self.path("roster.json")
    }

    /// Says where a hub of this test's own process listens.
    pub(super) fn listens_at(&mut self, grpc: SocketAddr, http: SocketAddr) {
        self.http = http;
        self.address.send_replace(grpc);
    }

    /// Where authorities and certificates lie.
    pub(crate) fn pki(&self) -> &Directory {
        &self.pki
    }

    /// Where agencies connect, of the present or last run.
    pub(crate) fn grpc(&self) -> SocketAddr {
        *self.address.borrow()
    }

    /// The same, now and after each start.
    pub(crate) fn addresses(&self) -> watch::Receiver<SocketAddr> {
        self.address.subscribe()
    }

    /// The process of the running hub.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("the hub runs").id()
    }

    /// Where health and metrics are read.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// The SPIFFE identity of `name` in `organisation`.
    pub(crate) fn spiffe(&self, organisation: &str, name: &str) -> String {
        spiffe(organisation, name)
    }

    /// What the hub has said so far, over all its runs.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("hub.log")).unwrap_or_default()
    }

    /// From the next start on the hub lives on this disk.
    pub(crate) fn put_on(&mut self, disk: fn(&Path) -> Disk) {
        self.disk = Some(disk(&self.data_dir()));
    }

    /// From the next start on the hub is one to whom the system refuses files.
    /// Whether that can be had here.
    pub(crate) fn without_privileges(&mut self) -> bool {
        if !rustix::process::geteuid().is_root() {
            return true;
        }
        self.user = Some(NOBODY);
        let runs = self.command_as(&["--version"]).output().is_ok_and(|output| output.status.success());
        if !runs {
            self.user = None;
            return false;
        }
        let owner = format!("{NOBODY}:{NOBODY}");
        let owned = Command::new("chown").args(["-R", &owner]).arg(self.dir.path()).status().unwrap();
        assert!(owned.success());
        true
    }

    /// From the next start on the hub's calendar begins on this date.
    pub(crate) fn dated(&mut self, date: Date) {
        self.date = Some(date);
    }

    /// The disk that the hub lives on.
    pub(crate) fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("put_on was called")
    }

    fn toml(&self, more: &str, authorities: Option<&str>) -> String {
        let mut text = String::new();
        // A plain path is quoted alike in Rust and TOML.
        let quoted = |name: &str| format!("{:?}", self.path(name));
        writeln!(text, "data_dir = {}", quoted("data")).unwrap();
        writeln!(text, "ready_file = {}", quoted("ready")).unwrap();
        writeln!(text, "[grpc]\nlisten = \"127.0.0.1:0\"").unwrap();
        if authorities.is_none() {
            writeln!(text, "cert = {}", quoted("pki/server.pem")).unwrap();
            writeln!(text, "key = {}", quoted("pki/server.key")).unwrap();
        }
        writeln!(text, "client_ca = {}", quoted(&format!("pki/{CLIENT_CA}"))).unwrap();
        writeln!(text, "client_crl = {}", quoted(&format!("pki/{CLIENT_CRL}"))).unwrap();
        if let Some(more) = authorities {
            writeln!(text, "[authorities]\nsigner = {}", quoted("signer.sock")).unwrap();
            writeln!(text, "roots = {}", quoted(&format!("ca/{SERVER_CA}"))).unwrap();
            writeln!(text, "names = [\"localhost\", \"127.0.0.1\"]\nenrolment = \"127.0.0.1:0\"").unwrap();
            writeln!(text, "{more}").unwrap();
        }
        writeln!(text, "[http]\nlisten = \"127.0.0.1:0\"\n{more}").unwrap();
        text
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_luytred"));
        command.args(words).stdin(Stdio::null());
        command
    }

    /// The same as the user that the hub is.
    fn command_as(&self, words: &[&str]) -> Command {
        let Some(user) = self.user else { return self.command(words) };
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()]);
        command.arg(env!("CARGO_BIN_EXE_luytred")).args(words).stdin(Stdio::null());
        command
    }

    /// Runs `luytred <words> --data DIR`.
    pub(crate) fn luytred(&self, words: &[&str]) -> Output {
        let output = self.command(words).arg("--data").arg(self.data_dir()).output().unwrap();
        // These commands do not run on the test's disk: what they wrote stays.
        self.disk.iter().for_each(Disk::settle);
        output
    }

    /// Runs `luytred check-config`.
    pub(crate) fn check_config(&self, config: &Path) -> Output {
        self.command(&["check-config", "--config"]).arg(config).output().unwrap()
    }

    /// Runs `luytred ready`.
    pub(crate) fn ready(&self, config: &Path) -> Output {
        self.command(&["ready", "--config"]).arg(config).output().unwrap()
    }

    /// Runs `luytred <words>` as the operator of the hub's machine.
    pub(crate) fn operate(&self, words: &[&str]) -> Output {
        self.command(words).arg("--config").arg(self.config_file()).output().unwrap()
    }

    /// The store must agree with its log.
    pub(crate) fn verify(&self) {
        let output = self.luytred(&["verify"]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "verify: {}{}", text(&output.stdout), text(&output.stderr));
    }

    /// Takes a backup of the running hub into the new directory `name`.
    pub(crate) fn backup(&self, name: &str) -> PathBuf {
        let to = self.path(name);
        let config = self.config_file();
        let output = self.command(&["backup", "--config"]).arg(config).arg("--to").arg(&to).output().unwrap();
        assert!(output.status.success(), "backup: {}", String::from_utf8_lossy(&output.stderr));
        to
    }

    /// Puts what the backup `from` holds in the place of the store, which is
    /// kept beside it.
    pub(crate) fn restore(&self, from: &Path) {
        let before = (0..).map(|number| self.path(&format!("data.before{number}")));
        let before = before.into_iter().find(|path| !path.try_exists().unwrap()).unwrap();
        fs::rename(self.data_dir(), before).unwrap();
        let output =
            self.command(&["restore", "--from"]).arg(from).arg("--to").arg(self.data_dir()).output().unwrap();
        self.disk.iter().for_each(Disk::settle);
        assert!(output.status.success(), "restore: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The store's files with this ending that hold something, oldest first.
    pub(crate) fn files(&self, ending: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut directories = vec![self.data_dir()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
                let path = entry.path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|found| found == ending)
                    && entry.metadata().unwrap().len() > 0
                {
                    files.push(path);
                }
            }
        }
        files.sort();
        files
    }

    /// The certificate of a principal, made at its first use; the roster need
    /// not know it.
    pub(crate) fn credentials(&self, organisation: &str, name: &str) -> Credentials {
        let identity = spiffe(organisation, name);
        let mut issued = self.issued.lock();
        if let Some(credentials) = issued.get(&identity) {
            return credentials.clone();
        }
        let leaf = Leaf::Client(SpiffeId::parse(&identity).unwrap());
        let file = format!("{organisation}-{}", name.replace('/', "-"));
        let written = self.pki.issue(&leaf, &file, now(), lifetime::CLIENT).unwrap();
        let credentials = Credentials { certificate: written.certificate, key: written.key };
        issued.insert(identity, credentials.clone());
        credentials
    }

    /// What agencies must trust, PEM.
    pub(crate) fn server_ca(&self) -> PathBuf {
        let own = self.path("ca").join(SERVER_CA);
        if own.is_file() { own } else { self.path("pki").join(SERVER_CA) }
    }

    /// A client of a principal with this certificate.
    pub(crate) fn peer_with(&self, organisation: &str, name: &str, credentials: &Credentials) -> Peer {
        Peer::new(spiffe(organisation, name), credentials, &self.server_ca(), self.address.subscribe())
    }

    /// A client with this principal's certificate.
    pub(crate) fn peer(&self, organisation: &str, name: &str) -> Peer {
        let credentials = self.credentials(organisation, name);
        Peer::new(spiffe(organisation, name), &credentials, &self.server_ca(), self.address.subscribe())
    }

    /// Starts the hub and waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) async fn serve(&mut self) {
        if let Err(refused) = self.try_serve().await {
            panic!("luytred serve: {}: {}", refused.status, refused.stderr);
        }
    }

    /// Starts a second hub on the directory, which must end by itself: how it
    /// ended and what it said.
    pub(crate) async fn serve_beside(&self) -> (ExitStatus, String) {
        let before = self.log().len();
        let mut second = self.spawn();
        let status = eventually("the second hub ends", async || second.try_wait().unwrap()).await;
        (status, self.log()[before..].to_owned())
    }

    /// Starts the hub and kills it after `moment`, wherever it is by then.
    pub(crate) async fn serve_for(&self, moment: std::time::Duration) {
        let mut child = self.spawn();
        tokio::time::sleep(moment).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn spawn(&self) -> Child {
        let _ = fs::remove_file(self.path("ready"));
        let log = OpenOptions::new().create(true).append(true).open(self.path("hub.log")).unwrap();
        let mut command = self.command_as(&["serve", "--config"]);
        command.arg(self.config_file()).stdout(Stdio::null()).stderr(log);
        command.args(self.date.iter().flat_map(|date| ["--as-of".to_owned(), date.to_string()]));
        if let Some(disk) = &self.disk {
            command.envs(disk.environment());
        }
        command.spawn().unwrap()
    }

    /// Starts the hub and waits until it serves or ends.
    pub(crate) async fn try_serve(&mut self) -> Result<(), Refused> {
        assert!(self.child.is_none(), "the hub runs already");
        let before = self.log().len();
        let ready = self.path("ready");
        let mut child = self.spawn();
        let outcome = eventually("the hub serves or ends", async || {
            if let Some(status) = child.try_wait().unwrap() {
                return Some(Err(status));
            }
            fs::read_to_string(&ready).ok().filter(|text| text.ends_with('\n')).map(Ok)
        })
        .await;
        match outcome {
            Ok(text) => {
                let (grpc, http) = addresses(&text);
                self.http = http;
                self.child = Some(child);
                self.address.send_replace(grpc);
                Ok(())
            }
            Err(status) => Err(Refused { status, stderr: self.log()[before..].to_owned() }),
        }
    }

    /// Ends the hub as `kill -9` does.
    pub(crate) fn kill9(&mut self) {
        let mut child = self.child.take().expect("the hub runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks the hub to end, and waits until it has.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the hub runs");
        let pid = Pid::from_child(&child);
        kill_process(pid, Signal::TERM).unwrap();
        eventually("the hub ends", async || child.try_wait().unwrap()).await
    }

    /// Ends the hub in good order and starts it again.
    pub(crate) async fn restart(&mut self) {
        let status = self.terminate().await;
        assert!(status.success(), "{status}: {}", self.log());
        self.serve().await;
    }

    /// Status and body of a page of the health listener.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let (address, path) = (self.http, path.to_owned());
        let fetch = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address)?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut text = String::new();
            stream.read_to_string(&mut text).map(|_| text)
        });
        let text = patiently("a page", fetch).await.unwrap().unwrap();
        let status = text.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap();
        (status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }
}

/// Reads the file that says where the hub listens.
fn addresses(text: &str) -> (SocketAddr, SocketAddr) {
    let ready: serde_json::Value = serde_json::from_str(text).unwrap();
    let address = |key: &str| ready[key].as_str().unwrap().parse().unwrap();
    (address("grpc"), address("http"))
}

/// Shows the end of a log where a test fails.
pub(super) fn last_words(whose: &str, log: &str) {
    if std::thread::panicking() {
        let tail: Vec<_> = log.lines().rev().take(40).collect();
        eprintln!("--- last words of {whose} ---");
        tail.iter().rev().for_each(|line| eprintln!("{line}"));
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        last_words("the hub", &self.log());
    }
}
