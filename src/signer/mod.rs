//! Decides how the issuing keys are held: by a process of their own, which
//! signs what its profile allows, and writes down what it signed.
//!
//! | module | decides |
//! |---|---|
//! | `vault` | how an order becomes a signature |
//! | `profile` | what is signed, whoever asks |
//! | `journal`, `past` | how what was signed is written down, and what is remembered of it |
//! | `keys` | which keys are held |
//! | [`passphrase`] | where a passphrase comes from |
//! | `listen`, `frames` | who may ask, and what goes over the socket |
//! | `remote` | how the hub asks |
//! | `process` | what is asked of the system |
//!
//! A hub in foreign hands can have certificates signed only as the profile
//! allows, and what was signed stands in a journal that it cannot change.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::base::clock::Clock;
use crate::base::secret::Secret;
use crate::base::socket::{self, Listener};
use crate::base::{files, tasks};

mod frames;
mod journal;
mod keys;
mod listen;
pub mod passphrase;
mod past;
mod process;
mod profile;
mod remote;
mod vault;

pub use profile::{MAX_LIST_LIFETIME, MAX_REVOKED, Profile};
pub use remote::Remote;
pub use vault::Vault;

/// Name of the journal in the directory of the signer's state.
const JOURNAL: &str = "journal";
/// Name of the lock beside it.
const LOCK: &str = "lock";
/// Connections that may wait.
const BACKLOG: u32 = 64;

/// What a signer is run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Directory of the keys, with `client` and `server` in it.
    pub keys: PathBuf,
    /// Directory of the journal.
    pub state: PathBuf,
    /// Where the hub asks.
    pub socket: PathBuf,
    /// The users that may ask, beside the signer's own and root. With any, the
    /// socket is open to the signer's group, and what is asked is for these.
    pub allowed: BTreeSet<u32>,
    /// What is signed.
    pub profile: Profile,
}

/// Why a signer does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key is not sound.
    #[error(transparent)]
    Keys(Box<dyn std::error::Error + Send + Sync>),
    /// The journal is damaged, or cannot be read.
    #[error(transparent)]
    Journal(Box<dyn std::error::Error + Send + Sync>),
    /// The directory of its state cannot be used.
    #[error("{}: {source}", path.display())]
    State {
        /// The directory.
        path: PathBuf,
        /// What the file system answered.
        source: std::io::Error,
    },
    /// Another signer runs.
    #[error("another signer uses {}; stop it first: two would give one serial number twice", path.display())]
    Running {
        /// The directory of its state.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error(transparent)]
    Socket(#[from] socket::Error),
    /// Accepting connections failed.
    #[error("cannot go on: {0}")]
    Serve(#[from] std::io::Error),
}

/// Runs a signer until `stop`. Looks for new authorities whenever `reload`
/// moves, and whenever it is asked which it holds.
///
/// The passphrase is read before, because from here on this process can no
/// longer open what is handed to it as a descriptor.
///
/// # Errors
/// [`Error`]; nothing is listened on before everything was read.
pub async fn serve(
    settings: Settings,
    passphrase: Secret<Vec<u8>>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    reload: watch::Receiver<u64>,
) -> Result<(), Error> {
    process::harden();
    let Settings { keys, state, socket, allowed, profile } = settings;
    let failed = |source| Error::State { path: state.clone(), source };
    files::create_private_dir(&state).map_err(failed)?;
    let Some(_lock) = files::lock(&state.join(LOCK)).map_err(failed)? else {
        return Err(Error::Running { path: state });
    };
    let journal = state.join(JOURNAL);
    // On a thread of its own, so that signals are heard meanwhile.
    let opened = tasks::spawn_blocking(move || Vault::open(&keys, passphrase, &journal, profile, clock));
    let vault = opened.await.map_err(std::io::Error::other)??;
    let mode = if allowed.is_empty() { 0o600 } else { 0o660 };
    let listener = Listener::bind(&socket, mode, BACKLOG).await?;
    tracing::info!(socket = %socket.display(), "the signer answers");
    listen::serve(Arc::new(vault), listener, allowed, stop, reload).await?;
    tracing::info!("the signer stopped");
    Ok(())
}

#[cfg(test)]
mod tests;
