//! Decides how `luytre cert agent` keeps a certificate renewed: what is due is
//! done, what fails is tried again, and what nears its end is told.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::clock::{Clock as _, SystemClock, Timestamp};
use crate::base::random;
use crate::cli::arguments::CertAgent;
use crate::cli::exit::Failure;
use crate::cli::hook::{self, Hook};
use crate::cli::output;
use crate::cli::profile::Settings;
use crate::cli::stop::Stop;
use crate::client::{Advice, Backoff, Issued};
use crate::pki::schedule;

use super::own::{Held, Own, read_token};

/// Longest wait before the hub is asked whether something is due.
const LOOK: Duration = Duration::from_secs(60 * 60);
/// Between tries of what failed.
const AGAIN: Backoff =
    Backoff { first: Duration::from_secs(60), longest: Duration::from_secs(60 * 60), tries: None };
/// A clock that differs more from the hub's is told of.
const SKEW: Duration = Duration::from_secs(60);

/// Runs the command.
pub(super) async fn run(settings: Settings, options: &CertAgent, quiet: bool) -> Result<(), Failure> {
    let mut stop =
        Stop::listen().map_err(|error| Failure::Io(format!("cannot listen for signals: {error}")))?;
    let mark = beside(&settings.cert)?;
    let hook = match &options.hook {
        Some(command) => Some(Hook::open(command, options.hook_timeout, mark)?),
        None => None,
    };
    let token = match &options.first.token_file {
        // Stdin is there once.
        Some(path) if path.as_os_str() == "-" => Some(read_token(path)?),
        _ => None,
    };
    let own = Own::open(settings)?;
    let mut agent = Agent { own, hook, options, token, due: None, warned: None, quiet };
    if options.once {
        let tended = tokio::select! {
            () = stop.asked() => Err(Failure::Interrupted("interrupted before it was done".to_owned())),
            tended = agent.tend() => tended.map(|_| ()),
        };
        let finished = match &mut agent.hook {
            Some(hook) => hook.finish().await,
            None => Ok(()),
        };
        return tended.and(finished);
    }
    let mut failed = 0;
    loop {
        let tended = tokio::select! {
            () = stop.asked() => return Ok(()),
            tended = agent.tend() => tended,
        };
        let wait = match tended {
            Ok(wait) => {
                failed = 0;
                wait
            }
            // The words at the prompt do not change.
            Err(failure @ Failure::Usage(_)) => return Err(failure),
            Err(failure) => {
                agent.warn(&failure);
                let wait = AGAIN.delay(failed, random::u64()).max(asked(&failure));
                failed = failed.saturating_add(1);
                wait
            }
        };
        tokio::select! {
            () = stop.asked() => return Ok(()),
            () = tokio::time::sleep(wait) => {}
            never = hook::working(&mut agent.hook) => match never {},
        }
    }
}

struct Agent<'a> {
    own: Own,
    hook: Option<Hook>,
    options: &'a CertAgent,
    /// From stdin.
    token: Option<Zeroizing<String>>,
    /// Serial number of a certificate, and when it is renewed.
    due: Option<(String, Timestamp)>,
    /// The last warning of a near end, in days.
    warned: Option<u32>,
    quiet: bool,
}

impl Agent<'_> {
    /// Does what is due; says after how long to look again.
    async fn tend(&mut self) -> Result<Duration, Failure> {
        let now = SystemClock.now();
        match self.own.held()? {
            None => self.enrol().await?,
            Some(held) if now >= held.not_after => {
                if self.options.first.token_file.is_none() {
                    return Err(self.own.lapsed(&held));
                }
                self.enrol().await?;
            }
            Some(held) => {
                if now >= self.due(&held) || self.is_asked_to().await? {
                    let issued = self.own.renew().await?;
                    self.store(&issued)?;
                }
                self.follow_authorities().await?;
                self.own.prove_trust().await?;
            }
        }
        let held = self.own.held()?.ok_or_else(|| Failure::Io("the certificate was removed".to_owned()))?;
        let left = self.due(&held).since(SystemClock.now());
        let look = LOOK - LOOK / 10 + Duration::from_secs(random::u64() % (LOOK.as_secs() / 5));
        Ok(left.min(look))
    }

    /// When this certificate is renewed; drawn once.
    fn due(&mut self, held: &Held) -> Timestamp {
        match &self.due {
            Some((serial, at)) if *serial == held.serial => *at,
            _ => {
                let at = schedule::renew_at(held.not_before, held.not_after, random::u64());
                self.due = Some((held.serial.clone(), at));
                at
            }
        }
    }

    /// Whether the hub asks for renewal now.
    async fn is_asked_to(&mut self) -> Result<bool, Failure> {
        let me = self.own.client()?.whoami().await?;
        if let Some(hub) = me.server_time.and_then(|at| u64::try_from(at.seconds).ok()) {
            let here = SystemClock.now().as_seconds();
            if hub.abs_diff(here) > SKEW.as_secs() {
                output::talk(&format!(
                    "luytre: warning: this machine's clock is {} s {} the hub's; set it right (NTP), or certificates will be refused",
                    hub.abs_diff(here),
                    if here < hub { "behind" } else { "ahead of" }
                ));
            }
        }
        Ok(me.renew_now)
    }

    async fn enrol(&mut self) -> Result<(), Failure> {
        let token = self.token.as_deref().map(String::as_str);
        let issued = self.own.enrol(&self.options.first, token).await?;
        self.store(&issued)
    }

    fn store(&mut self, issued: &Issued) -> Result<(), Failure> {
        self.announce()?;
        self.own.store(issued)?;
        self.warned = None;
        if !self.quiet {
            output::talk(&format!(
                "luytre: a new certificate of {} until {}",
                issued.details().spiffe_id,
                issued.not_after()
            ));
        }
        Ok(())
    }

    async fn follow_authorities(&mut self) -> Result<(), Failure> {
        if let Some(text) = self.own.newer_authorities().await? {
            self.announce()?;
            self.own.store_authorities(&text)?;
            if !self.quiet {
                output::talk("luytre: the hub's authorities changed; the file holds those that it names now");
            }
        }
        Ok(())
    }

    fn announce(&mut self) -> Result<(), Failure> {
        self.hook.as_mut().map_or(Ok(()), Hook::announce)
    }

    /// Tells what failed, and how near the end is.
    fn warn(&mut self, failure: &Failure) {
        if let Some(text) = failure.text() {
            output::talk(&text);
        }
        let now = SystemClock.now();
        let Ok(Some(held)) = self.own.held() else { return };
        if now >= held.not_after || now < self.due(&held) {
            return;
        }
        let warning = schedule::warning(held.not_before, held.not_after, now);
        if warning.is_some() && warning != self.warned {
            output::talk(&format!(
                "luytre: warning: the certificate in {} ends at {} and could not be renewed yet",
                self.own.chain().display(),
                held.not_after
            ));
            self.warned = warning;
        }
    }
}

/// How long the hub asks to wait.
fn asked(failure: &Failure) -> Duration {
    match failure {
        Failure::Client(error) => match error.advice() {
            Advice::Retry(after) => after,
            _ => Duration::ZERO,
        },
        _ => Duration::ZERO,
    }
}

/// The mark of a hook that is due.
fn beside(chain: &std::path::Path) -> Result<std::path::PathBuf, Failure> {
    let name = chain
        .file_name()
        .ok_or_else(|| Failure::Configuration(format!("{} names no file", chain.display())))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".hook-due");
    Ok(chain.with_file_name(hidden))
}
