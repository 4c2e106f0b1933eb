//! Decides how a hub is copied while it runs, brought back from a copy, and
//! mended where only the very end of its log is damaged.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};

use crate::base::clock::{Clock, Timestamp};
use crate::base::files::{self, Staging};
use crate::model::position::Position;
use crate::store::repair::{self, Damage};
use crate::store::{Store, Tuning, checkpoint, db};

use super::engine::{Hub, last_seq, last_version};
use super::error::Error;
use super::{genesis, store_error};

/// What a backup holds.
#[derive(Debug, Clone)]
pub struct BackupReport {
    /// Where it lies.
    pub path: PathBuf,
    /// Number of the last entry in it.
    pub last_entry: u64,
    /// History epoch.
    pub epoch: u16,
    /// Its size, in bytes.
    pub bytes: u64,
}

/// What a restore made.
#[derive(Debug, Clone)]
pub struct RestoreReport {
    /// Where the hub lies now.
    pub path: PathBuf,
    /// Number of the last entry that the backup held.
    pub last_entry: u64,
    /// The new history epoch.
    pub epoch: u16,
}

/// What was cut off.
#[derive(Debug, Clone)]
pub struct RepairReport {
    /// What was damaged; `None`: nothing.
    pub damage: Option<Damage>,
}

impl Hub {
    /// Copies the hub into `to`, which must not exist, while it runs. The
    /// copy holds everything acknowledged before the call. Blocking.
    ///
    /// # Errors
    /// Whatever the store answers.
    pub fn backup(&self, to: &Path) -> Result<BackupReport, db::Error> {
        backup(&self.shared.store, to)
    }
}

fn backup(store: &Store, to: &Path) -> Result<BackupReport, db::Error> {
    store.checkpoint(to, |copy| {
        let last = store_last(copy)?;
        Ok(BackupReport {
            path: to.to_owned(),
            last_entry: last.seq().counter(),
            epoch: last.seq().epoch(),
            bytes: size(copy)?,
        })
    })
}

/// Copies a hub that does not run into `to`, which must not exist.
///
/// # Errors
/// Whatever the store answers.
pub fn backup_offline(data_dir: &Path, to: &Path) -> Result<BackupReport, db::Error> {
    backup(&Store::open(data_dir, &Tuning::default())?, to)
}

fn store_last(path: &Path) -> Result<Position, db::Error> {
    let store = Store::open_read_only(path, &Tuning::default())?;
    store.last_position()?.ok_or_else(|| db::Error::corrupt("log", "end"))
}

fn size(path: &Path) -> Result<u64, db::Error> {
    let failed = |source| db::Error::File { path: path.to_owned(), source };
    let mut bytes = 0;
    for entry in fs::read_dir(path).map_err(failed)? {
        bytes += entry.and_then(|entry| entry.metadata()).map_err(failed)?.len();
    }
    Ok(bytes)
}

/// Makes a hub in `to`, a new or empty directory, from the backup in `from`,
/// and begins a new history epoch in it. A restore that stops half way leaves
/// nothing in `to`, and beside it nothing that could be served.
///
/// # Errors
/// If `to` is not empty, or the backup is damaged.
pub fn restore(from: &Path, to: &Path, clock: &dyn Clock) -> Result<RestoreReport, db::Error> {
    // A backup that cannot be opened must not leave half a hub behind.
    store_last(from)?;
    let failed = |source| db::Error::File { path: to.to_owned(), source };
    restore_with(to, clock, |copy| {
        for entry in fs::read_dir(from).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let to = copy.join(entry.file_name());
            if entry.file_type().map_err(failed)?.is_file() && !to.try_exists().map_err(failed)? {
                fs::copy(entry.path(), &to).map_err(failed)?;
            }
        }
        Ok(())
    })
}

/// The same from what `fill` puts into the directory that it is given, where
/// the mark of a backup lies already.
pub(super) fn restore_with<E: From<db::Error>>(
    to: &Path,
    clock: &dyn Clock,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<RestoreReport, E> {
    let failed = |source| db::Error::File { path: to.to_owned(), source };
    match fs::read_dir(to).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(db::Error::NotEmpty(to.to_owned()).into()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error).into()),
        _ => {}
    }
    let staging = Staging::beside(to).map_err(failed)?;
    let copy = staging.place();
    files::create_private_dir(copy).map_err(failed)?;
    // First of all: until its epoch begins, the copy is as little a hub as
    // what it is copied from.
    checkpoint::mark(copy)?;
    fill(copy)?;
    let store = Store::open(copy, &Tuning::default())?;
    let last = store.last_position()?.ok_or_else(|| db::Error::corrupt("log", "end"))?;
    let told = |error: Error| db::Error::Corrupt { what: "backup", at: error.to_string() };
    // Versions go on rising even where this machine's clock is behind.
    let begins = clock.now().max(Timestamp::from_micros_clamped(last_version(&store, last)?));
    let epoch = genesis::begin_epoch(&store, last_seq(&store).map_err(told)?, begins).map_err(told)?;
    drop(store);
    checkpoint::unmark(copy)?;
    staging.publish().map_err(failed)?;
    Ok(RestoreReport { path: to.to_owned(), last_entry: last.seq().counter(), epoch: epoch.epoch() })
}

/// Cuts a damaged end off the write-ahead log of a hub that does not run.
///
/// # Errors
/// If the hub runs, or if valid records follow the damage.
pub fn repair_tail(data_dir: &Path) -> Result<RepairReport, db::Error> {
    let lock = data_dir.join("LOCK");
    let file =
        File::options().write(true).open(&lock).map_err(|source| db::Error::File { path: lock, source })?;
    if fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(db::Error::Locked(data_dir.to_owned()));
    }
    Ok(RepairReport { damage: repair::cut_tail(data_dir)? })
}

/// A failure of looking after a hub, told as an error of the engine.
#[must_use]
pub fn told(error: db::Error) -> Error {
    store_error(error)
}
