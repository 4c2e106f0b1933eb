//! Decides what signals mean: the first SIGTERM or SIGINT drains the hub, the
//! second ends it at once, SIGHUP loads the certificates anew.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The signals of this process, listened to.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// If the system does not allow it.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Cancels `shutdown` at the first request to end and resolves at the
    /// second, to the exit code that its signal is known by. Counts `reload`
    /// up at every SIGHUP.
    pub async fn watch(mut self, shutdown: CancellationToken, reload: watch::Sender<u64>) -> u8 {
        loop {
            let signal = tokio::select! {
                _ = self.interrupt.recv() => SignalKind::interrupt(),
                _ = self.terminate.recv() => SignalKind::terminate(),
                _ = self.hangup.recv() => {
                    // A storm of them is one reload: the watch holds one number.
                    reload.send_modify(|count| *count += 1);
                    continue;
                }
            };
            if shutdown.is_cancelled() {
                return exit_code(signal);
            }
            tracing::info!(signal = signal.as_raw_value(), "stopping; a second signal ends at once");
            shutdown.cancel();
        }
    }
}

/// The exit code that shells give to a process ended by `signal`.
fn exit_code(signal: SignalKind) -> u8 {
    u8::try_from(signal.as_raw_value()).map_or(u8::MAX, |number| number.saturating_add(128))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_signal_ends_with_the_code_that_shells_know() {
        assert_eq!(exit_code(SignalKind::interrupt()), 130);
        assert_eq!(exit_code(SignalKind::terminate()), 143);
    }
}
