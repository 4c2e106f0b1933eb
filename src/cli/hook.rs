//! Decides when the command of a `--hook` runs: after files changed,
//! one at a time, within its time, and again after a failure.
//!
//! That it is due is on disk from before the first file is replaced until it
//! has succeeded, so that a kill in between loses no run.

use std::convert::Infallible;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::task::JoinHandle;

use crate::base::clock::monotonic;
use crate::base::{files, tasks};
use crate::cli::exit::Failure;
use crate::cli::output;

/// Longest wait before a hook that failed runs again.
const AGAIN: Duration = Duration::from_secs(60);

/// The command, and whether it is to run.
#[derive(Debug)]
pub(super) struct Hook {
    command: String,
    limit: Duration,
    /// There as long as it is due.
    mark: PathBuf,
    due: bool,
    /// Not before this moment, after a failure.
    rest: Option<Instant>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    ended: JoinHandle<io::Result<ExitStatus>>,
    group: Option<Pid>,
    /// When its time is over; none: it is, and it was killed.
    until: Option<Instant>,
}

impl Hook {
    /// The hook whose `mark` is there as long as it is due, perhaps from an
    /// earlier run.
    pub(super) fn open(command: &str, limit: Duration, mark: PathBuf) -> Result<Self, Failure> {
        let due = mark
            .try_exists()
            .map_err(|error| Failure::Io(format!("cannot read {}: {error}", mark.display())))?;
        Ok(Self { command: command.to_owned(), limit, mark, due, rest: None, running: None })
    }

    /// Notes, for good, that files are about to change.
    pub(super) fn announce(&mut self) -> Result<(), Failure> {
        files::write_atomic(&self.mark, b"", 0o600)
            .map_err(|error| Failure::Io(format!("cannot write {}: {error}", self.mark.display())))?;
        self.due = true;
        self.rest = None;
        Ok(())
    }

    /// Runs what is due, again and again. Nothing is lost if the future is
    /// dropped.
    pub(super) async fn work(&mut self) -> Infallible {
        loop {
            if self.running.is_some() {
                let ended = self.ended().await;
                self.judge(ended);
            } else if self.due {
                if let Some(rest) = self.rest {
                    tokio::time::sleep(rest.saturating_duration_since(monotonic())).await;
                }
                self.begin();
            } else {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Runs what is due once more, to its end.
    pub(super) async fn finish(&mut self) -> Result<(), Failure> {
        let mut done = true;
        while self.running.is_some() || self.due && done {
            if self.running.is_none() {
                self.begin();
            }
            let ended = self.ended().await;
            done = self.judge(ended);
        }
        if self.due {
            Err(Failure::Io("the hook failed; it is due with the next run".to_owned()))
        } else {
            Ok(())
        }
    }

    fn begin(&mut self) {
        (self.due, self.rest) = (false, None);
        let spawned = Command::new("sh")
            .arg("-c")
            .arg(&self.command)
            .stdin(Stdio::null())
            // Our stdout is data, if it is anything.
            .stdout(Stdio::from(io::stderr()))
            // What it starts ends with it, and not with a Ctrl-C meant for us.
            .process_group(0)
            .spawn();
        let (ended, group) = match spawned {
            Ok(mut child) => {
                let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                (tasks::spawn_blocking(move || child.wait()), group)
            }
            Err(error) => (tasks::spawn_blocking(move || Err(error)), None),
        };
        self.running = Some(Running { ended, group, until: Some(monotonic() + self.limit) });
    }

    /// How the running one ended.
    async fn ended(&mut self) -> Result<(), String> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let mut late = running.until.is_none();
        if let Some(until) = running.until {
            let left = until.saturating_duration_since(monotonic());
            if let Ok(ended) = tokio::time::timeout(left, &mut running.ended).await {
                return said(ended);
            }
            running.until = None;
            late = true;
            if let Some(group) = running.group {
                // It may have ended by itself just now.
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
        let ended = said((&mut running.ended).await);
        if late { Err(format!("took longer than {} s and was ended", self.limit.as_secs())) } else { ended }
    }

    /// Notes how it ended; whether it ended well.
    fn judge(&mut self, ended: Result<(), String>) -> bool {
        self.running = None;
        match ended {
            Ok(()) => {
                if !self.due
                    && let Err(error) = std::fs::remove_file(&self.mark)
                    && error.kind() != io::ErrorKind::NotFound
                {
                    output::talk(&format!("luytre: cannot remove {}: {error}", self.mark.display()));
                }
                true
            }
            Err(problem) => {
                output::talk(&format!(
                    "luytre: the hook {problem}; it runs again with the next change, or in a minute"
                ));
                self.due = true;
                self.rest = Some(monotonic() + AGAIN);
                false
            }
        }
    }
}

/// Runs the hook, if there is one, as often as it is due.
pub(super) async fn working(hook: &mut Option<Hook>) -> Infallible {
    match hook {
        Some(hook) => hook.work().await,
        None => std::future::pending().await,
    }
}

fn said(ended: Result<io::Result<ExitStatus>, tokio::task::JoinError>) -> Result<(), String> {
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("failed ({status})")),
        Ok(Err(error)) => Err(format!("cannot be run: {error}")),
        Err(error) => Err(format!("cannot be waited for: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn hook(dir: &Path, command: &str, limit: Duration) -> Hook {
        Hook::open(command, limit, dir.join("hook-due")).unwrap()
    }

    #[tokio::test]
    async fn a_hook_that_was_announced_is_due_in_the_next_process_until_it_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let good = format!("echo ran >> {}", out.display());
        let limit = Duration::from_secs(60);
        assert!(!hook(dir.path(), &good, limit).due);
        // Killed after the announcement.
        hook(dir.path(), &good, limit).announce().unwrap();
        let mut failing = hook(dir.path(), "exit 3", limit);
        assert!(failing.due);
        assert_eq!(failing.finish().await.unwrap_err().code(), 74);
        let mut again = hook(dir.path(), &good, limit);
        assert!(again.due);
        again.finish().await.unwrap();
        assert!(!hook(dir.path(), &good, limit).due);
        assert_eq!(std::fs::read_to_string(out).unwrap(), "ran\n");
    }

    /// Whether a process runs; one that nobody has waited for does not.
    fn runs(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
    }

    /// Asks until there is an answer, and not for ever.
    async fn soon<T>(mut ask: impl FnMut() -> Option<T>) -> T {
        let asking = async {
            loop {
                if let Some(answer) = ask() {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), asking).await.expect("soon")
    }

    #[tokio::test]
    async fn a_hook_that_takes_too_long_is_ended_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let command = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", pid.display());
        let mut hook = hook(dir.path(), &command, Duration::from_secs(1_000));
        hook.announce().unwrap();
        hook.begin();
        let started = soon(|| std::fs::read_to_string(&pid).ok()).await.trim().to_owned();
        assert!(runs(&started));
        hook.running.as_mut().unwrap().until = Some(monotonic());
        assert!(hook.finish().await.is_err());
        assert!(hook.due && hook.running.is_none());
        soon(|| (!runs(&started)).then_some(())).await;
    }

    #[tokio::test]
    async fn a_change_while_the_hook_runs_has_it_run_once_more() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let mut hook = hook(dir.path(), &format!("echo ran >> {}", out.display()), Duration::from_secs(60));
        hook.announce().unwrap();
        hook.begin();
        hook.announce().unwrap();
        hook.finish().await.unwrap();
        assert_eq!(std::fs::read_to_string(out).unwrap(), "ran\nran\n");
        assert!(!hook.due);
    }
}
