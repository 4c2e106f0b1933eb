//! Decides how a hub that cannot start, or cannot go on, says why.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::config;
use crate::{admin, hub, pki, store};

/// Why a hub did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// A file that the configuration names cannot be read.
    #[error("cannot read {}: {source}; check the path and who may read it", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Others can read the private key.
    #[error("others can read the private key {0}; run: chmod 600 {0}", path.display())]
    KeyOpen {
        /// The key.
        path: PathBuf,
    },
    /// The certificates are not sound.
    #[error("certificates: {0}")]
    Tls(#[from] pki::tls::Error),
    /// The hub's own authorities are not in force.
    #[error("authorities: {0}")]
    Authorities(String),
    /// The lists that values are held against cannot be loaded.
    #[error("guards: {0}")]
    Guards(#[from] hub::lists::Error),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The engine refused.
    #[error("{0}")]
    Hub(#[from] hub::Error),
    /// The store is of another trust domain than the configuration says.
    #[error(
        "the store is of trust domain {store}, the configuration says {config}; correct trust_domain or data_dir"
    )]
    TrustDomain {
        /// As the store has it.
        store: String,
        /// As the configuration has it.
        config: String,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; another process may hold it: choose another {key}")]
    Listen {
        /// The key in the configuration.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system answered.
        source: io::Error,
    },
    /// The operator's socket cannot be made.
    #[error("admin_socket: {0}")]
    Operator(#[from] admin::Error),
    /// The file that says where the hub listens cannot be written.
    #[error("cannot write the ready file {}: {source}", path.display())]
    Ready {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The listener ended by itself.
    #[error("the listener failed; see the log, then start the hub again")]
    ListenerFailed,
    /// The log cannot be set up.
    #[error("cannot log: {0}")]
    Log(String),
    /// The runtime or its signals cannot be set up.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}
