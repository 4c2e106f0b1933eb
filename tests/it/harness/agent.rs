//! Decides how a test runs a `luytre` that stays: at an address that outlives
//! the hub's restarts, killed and started again at will.

use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::patience::eventually;
use super::{Credentials, TestHub};

/// One address for all runs of a hub: hands every connection on to where the
/// hub is.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn to(hub: &TestHub) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, hub.addresses()));
        Self { address, serving }
    }
}

async fn serve(listener: TcpListener, hub: watch::Receiver<SocketAddr>) {
    while let Ok((mut here, _)) = listener.accept().await {
        let address = *hub.borrow();
        tokio::spawn(async move {
            // A hub that is away looks like one: the connection is closed.
            let Ok(mut there) = TcpStream::connect(address).await else { return };
            let _ = here.set_nodelay(true).and_then(|()| there.set_nodelay(true));
            let _ = copy_bidirectional(&mut here, &mut there).await;
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A command that is run again and again.
#[derive(Debug)]
pub(crate) struct Agent {
    words: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Agent {
    /// `luytre <words>` as `name` of `organisation`. Not started yet.
    pub(crate) fn new(hub: &TestHub, relay: &Relay, organisation: &str, name: &str, words: &[&str]) -> Self {
        let Credentials { certificate, key } = hub.credentials(organisation, name);
        let path = |path: PathBuf| path.to_str().unwrap().to_owned();
        let mut words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        words.extend(["--hub".to_owned(), format!("localhost:{}", relay.address.port())]);
        words.extend(["--ca".to_owned(), path(hub.server_ca())]);
        words.extend(["--cert".to_owned(), path(certificate), "--key".to_owned(), path(key)]);
        let log = hub.dir().join(format!("agent-{:016x}.log", luytre::base::random::u64()));
        Self { words, log, child: None }
    }

    /// Starts it.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_luytre"))
            .args(&self.words)
            .env_remove("LUYTRE_PROFILE")
            .env("HOME", "/nonexistent")
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill9(&mut self) {
        let mut child = self.child.take().expect("it was started");
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "it ended by itself: {ended:?}: {}", self.log());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(self.child.as_ref().expect("it was started")), Signal::TERM).unwrap();
        self.ended().await
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it was started");
        eventually("the command ends", async || child.try_wait().unwrap()).await
    }

    /// What it has said, over all its runs.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        super::hub::last_words("the agent", &self.log());
    }
}
