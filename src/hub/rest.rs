//! Decides what may be learnt of a hub that does not run, without a change to
//! its directory.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, fcntl_lock};

use super::genesis;
use crate::store::{Store, checkpoint, db};

/// The trust domain of the hub in `data_dir`, unless one runs there: its store
/// is left alone then. While it is read no hub can start on it.
///
/// # Errors
/// [`db::Error::Locked`] if a hub runs there; what else keeps one from
/// starting there.
pub fn trust_domain(data_dir: &Path) -> Result<String, db::Error> {
    checkpoint::refuse_marked(data_dir)?;
    let path = data_dir.join("LOCK");
    let lock = match File::open(&path) {
        Ok(lock) => Some(lock),
        // Nobody has run here since the directory was restored.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(db::Error::File { path, source }),
    };
    if lock.as_ref().is_some_and(|lock| fcntl_lock(lock, FlockOperation::NonBlockingLockShared).is_err()) {
        return Err(db::Error::Locked(data_dir.to_owned()));
    }
    let store = Store::open_to_read(data_dir)?;
    let genesis = genesis::read(&store)
        .map_err(|error| db::Error::Corrupt { what: "beginning of the log", at: error.to_string() })?;
    Ok(genesis.trust_domain)
}
