//! Decides how a test types commands: the real `luytre`, as one principal, at
//! the hub where it is now.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::patience::{eventually, patiently};
use super::{Credentials, TestHub};

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// What it printed.
    ///
    /// # Panics
    /// If it failed.
    pub(crate) fn well(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// What it printed, as JSON lines.
    ///
    /// # Panics
    /// If it failed, or printed something else.
    pub(crate) fn json(self) -> Vec<serde_json::Value> {
        self.well().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Ends the command with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `luytre <words>` as `name` of `organisation`, begun.
fn begun(hub: &TestHub, organisation: &str, name: &str, words: &[&str], input: Stdio) -> Running {
    let Credentials { certificate, key } = hub.credentials(organisation, name);
    let nowhere = Path::new("/nonexistent");
    Running(
        Command::new(env!("CARGO_BIN_EXE_luytre"))
            .args(words)
            .arg("--hub")
            .arg(format!("localhost:{}", hub.grpc().port()))
            .arg("--ca")
            .arg(hub.server_ca())
            .arg("--cert")
            .arg(certificate)
            .arg("--key")
            .arg(key)
            // The profile of whoever runs the tests does not count.
            .env_remove("LUYTRE_PROFILE")
            .env("HOME", nowhere)
            .env("XDG_CONFIG_HOME", nowhere)
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    )
}

async fn ended(mut child: Running) -> Ended {
    let status = eventually("the command ends", async || child.0.try_wait().unwrap()).await;
    let read = |pipe: &mut dyn std::io::Read| {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    };
    Ended {
        code: status.code().expect("it is not killed"),
        stdout: read(child.0.stdout.as_mut().unwrap()),
        stderr: read(child.0.stderr.as_mut().unwrap()),
    }
}

/// Runs `luytre <words>` as `name` of `organisation`. What it prints has to fit
/// into a pipe.
pub(crate) async fn luytre(hub: &TestHub, organisation: &str, name: &str, words: &[&str]) -> Ended {
    ended(begun(hub, organisation, name, words, Stdio::null())).await
}

/// The same with `content` on stdin, and the most memory that it had, in KiB,
/// when it had taken all of that but what a pipe holds.
pub(crate) async fn luytre_fed(
    hub: &TestHub,
    organisation: &str,
    name: &str,
    words: &[&str],
    content: Vec<u8>,
) -> (Ended, u64) {
    let mut child = begun(hub, organisation, name, words, Stdio::piped());
    let mut input = child.0.stdin.take().unwrap();
    let pid = child.0.id();
    let feeding = tokio::task::spawn_blocking(move || {
        // It may end without reading all.
        let _ = input.write_all(&content);
        peak_kib(pid)
    });
    let peak = patiently("the command takes its input", feeding).await.unwrap();
    (ended(child).await, peak)
}

/// Runs it likewise, and kills it once it has written `mark`, with its input
/// still open; whether it was killed.
pub(crate) async fn luytre_killed(
    hub: &TestHub,
    organisation: &str,
    name: &str,
    words: &[&str],
    content: Vec<u8>,
    mark: &Path,
) -> bool {
    let mut child = begun(hub, organisation, name, words, Stdio::piped());
    let mut input = child.0.stdin.take().unwrap();
    input.write_all(&content).unwrap();
    eventually("it keeps its place", async || mark.exists().then_some(())).await;
    child.0.kill().unwrap();
    child.0.wait().unwrap().code().is_none()
}

/// A command that goes on until it is interrupted.
pub(crate) struct Watching {
    child: Running,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Option<BufReader<ChildStderr>>,
}

/// Runs `luytre <words>` likewise, and leaves it running.
pub(crate) fn luytre_watching(hub: &TestHub, organisation: &str, name: &str, words: &[&str]) -> Watching {
    let mut child = begun(hub, organisation, name, words, Stdio::null());
    let (stdout, stderr) = (child.0.stdout.take(), child.0.stderr.take());
    Watching { child, stdout: stdout.map(BufReader::new), stderr: stderr.map(BufReader::new) }
}

/// The next line of a pipe; empty at its end.
async fn next_line<R: BufRead + Send + 'static>(pipe: &mut Option<R>) -> String {
    let mut reader = pipe.take().unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        (reader, line)
    });
    let (reader, line) = patiently("the command writes a line", reading).await.unwrap();
    *pipe = Some(reader);
    line
}

impl Watching {
    /// The next line that it prints.
    pub(crate) async fn line(&mut self) -> String {
        next_line(&mut self.stdout).await
    }

    /// Waits until it has told this on stderr.
    ///
    /// # Panics
    /// If it ends before.
    pub(crate) async fn told(&mut self, text: &str) {
        let mut all = String::new();
        while !all.contains(text) {
            let line = next_line(&mut self.stderr).await;
            assert!(!line.is_empty(), "it ended: {all}");
            all.push_str(&line);
        }
    }

    /// Interrupts it, as Ctrl-C does; what it printed since.
    pub(crate) async fn interrupt(self) -> Ended {
        let Self { mut child, stdout, stderr } = self;
        kill_process(Pid::from_child(&child.0), Signal::INT).unwrap();
        let status = eventually("the command ends", async || child.0.try_wait().unwrap()).await;
        let rest = |pipe: &mut dyn std::io::Read| {
            let mut text = String::new();
            pipe.read_to_string(&mut text).unwrap();
            text
        };
        Ended {
            code: status.code().expect("it is not killed"),
            stdout: rest(&mut stdout.unwrap()),
            stderr: rest(&mut stderr.unwrap()),
        }
    }
}

/// The most memory of a process that still runs, in KiB; 0 if it does not.
pub(crate) fn peak_kib(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
}
