//! Decides what the machine's operator is told about the certificates in
//! force, and does to them what he asks.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::connections::Connections;
use super::settings::Settings;
use super::tls::{Certificates, Failure, NotReloaded, Reloaded};
use crate::admin::{ClockAnswer, ClockRequest, Keeper, ReloadAnswer, ReloadRequest};
use crate::base::clock::Clock as _;
use crate::base::digest;
use crate::base::steady::SteadyClock;
use crate::pki::tls::Change;

/// The hub's certificates and its time, for the operator of its machine.
#[derive(Debug)]
pub struct Keys {
    certificates: Arc<Certificates>,
    connections: Arc<Connections>,
    clock: Arc<SteadyClock>,
    settings: Option<Arc<Settings>>,
}

impl Keys {
    /// Those of one hub.
    #[must_use]
    pub const fn new(
        certificates: Arc<Certificates>,
        connections: Arc<Connections>,
        clock: Arc<SteadyClock>,
    ) -> Self {
        Self { certificates, connections, clock, settings: None }
    }

    /// The same, with settings that are read anew beside the certificates.
    #[must_use]
    pub fn with(self, settings: Arc<Settings>) -> Self {
        Self { settings: Some(settings), ..self }
    }
}

impl Keeper for Keys {
    fn reload(&self, request: ReloadRequest) -> Pin<Box<dyn Future<Output = ReloadAnswer> + Send>> {
        let (certificates, settings) = (Arc::clone(&self.certificates), self.settings.clone());
        Box::pin(async move {
            let read = match settings {
                Some(settings) => settings.reload().await.map_err(|error| error.to_string()),
                None => Ok(Vec::new()),
            };
            answer(certificates.reload(request.forced).await, read)
        })
    }

    fn clock(&self, request: ClockRequest) -> ClockAnswer {
        if request == ClockRequest::Accept {
            self.clock.accept();
            // What the jump has ended ends now, not at the next look.
            self.connections.sweep(&self.certificates.current(), self.clock.now());
        }
        ClockAnswer {
            doubted: self.clock.is_doubted(),
            time: self.clock.now().to_string(),
            machine: self.clock.machine().to_string(),
        }
    }

    fn ailment(&self) -> Option<String> {
        let current = self.certificates.current();
        if current.is_closed() {
            let problem = "the certificates were not sound at the start; see the log, put them right, and run: luytred reload";
            return Some(problem.to_owned());
        }
        let ended = current.server_not_after();
        (self.clock.now() > ended).then(|| {
            format!(
                "the hub's own certificate ended at {ended}; put a new one in place and run: luytred reload"
            )
        })
    }
}

fn answer(reloaded: Result<Reloaded, NotReloaded>, read: Result<Vec<String>, String>) -> ReloadAnswer {
    let (changed, problem) = match read {
        Ok(changed) => (changed, None),
        Err(problem) => (Vec::new(), Some(problem)),
    };
    match reloaded {
        Ok(Reloaded { snapshot, change, severed }) => ReloadAnswer::Reloaded {
            epoch: snapshot.epoch(),
            server_fingerprint: digest::hex(&snapshot.own().fingerprint),
            server_not_after: snapshot.own().not_after.to_string(),
            changes: words(change).into_iter().chain(changed).collect(),
            problem,
            anchors: snapshot
                .anchors()
                .map(|anchor| (anchor.name.clone(), digest::hex(&anchor.fingerprint)))
                .collect(),
            severed,
        },
        Err(NotReloaded { error, epoch }) => ReloadAnswer::Refused {
            reason: Failure::of(&error).as_str().to_owned(),
            problem: error.to_string(),
            epoch,
            changes: changed,
            unread: problem,
        },
    }
}

/// A change in words; nothing for none.
fn words(change: Change) -> Vec<String> {
    let Change { server, anchors_added, anchors_removed, lists_renewed, newly_revoked } = change;
    let mut words = Vec::new();
    if server {
        words.push("the hub shows another certificate".to_owned());
    }
    words.extend(anchors_added.into_iter().map(|name| format!("{name} is trusted")));
    words.extend(anchors_removed.into_iter().map(|name| format!("{name} is trusted no more")));
    words.extend(lists_renewed.into_iter().map(|name| format!("{name} has another revocation list")));
    if newly_revoked > 0 {
        words.push(format!("certificates revoked since: {newly_revoked}"));
    }
    words
}
