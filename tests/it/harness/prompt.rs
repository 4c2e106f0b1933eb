//! Decides how a test types commands: the real `luytre`, as one principal, at
//! the hub where it is now.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::patience::eventually;
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

/// Runs `luytre <words>` as `name` of `organisation`. What it prints has to fit
/// into a pipe.
pub(crate) async fn luytre(hub: &TestHub, organisation: &str, name: &str, words: &[&str]) -> Ended {
    let Credentials { certificate, key } = hub.credentials(organisation, name);
    let nowhere = Path::new("/nonexistent");
    let mut child = Running(
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
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
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
