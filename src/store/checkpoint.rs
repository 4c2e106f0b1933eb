//! Decides how a copy of the whole store is made while it is in use: an
//! engine checkpoint of hard links, private, marked, complete or absent.

use std::fs;
use std::path::Path;

use rocksdb::checkpoint::Checkpoint;

use super::db::{Error, Store};
use crate::base::files::{self, Staging};

/// The file that tells a copy from a hub.
pub const MARK: &str = "BACKUP";
/// What it says to whoever looks.
const MARK_TEXT: &str =
    "This directory is a backup of a hub, with its keys. Do not serve it: it would give out
again what the hub gave out since. Make a hub of it with `luytred restore`.
";

impl Store {
    /// Makes a consistent copy of the store in `to`, which must not exist,
    /// marked as one. The engine flushes first and then links table files, so
    /// a checkpoint on the same file system costs little more than the log's
    /// tail. `finish` sees the copy before it stands in its place.
    ///
    /// # Errors
    /// If `to` exists; whatever the engine, the file system or `finish`
    /// answers; there is no copy then.
    pub fn checkpoint<T>(
        &self,
        to: &Path,
        finish: impl FnOnce(&Path) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let failed = |source| Error::File { path: to.to_owned(), source };
        if to.symlink_metadata().is_ok() {
            return Err(failed(std::io::ErrorKind::AlreadyExists.into()));
        }
        let staging = Staging::beside(to).map_err(failed)?;
        Checkpoint::new(&self.db)?.create_checkpoint(staging.place())?;
        // The engine lets everyone read what it links together.
        files::make_private(staging.place()).map_err(failed)?;
        mark(staging.place())?;
        let finished = finish(staging.place())?;
        staging.publish().map_err(failed)?;
        Ok(finished)
    }
}

/// Marks a directory as a copy: its positions were given out by another hub.
///
/// # Errors
/// Whatever the file system answers.
pub fn mark(directory: &Path) -> Result<(), Error> {
    let path = directory.join(MARK);
    files::write_atomic(&path, MARK_TEXT.as_bytes(), 0o600).map_err(|source| Error::File { path, source })
}

/// Takes the mark off a copy that may be a hub now.
///
/// # Errors
/// Whatever the file system answers.
pub fn unmark(directory: &Path) -> Result<(), Error> {
    let path = directory.join(MARK);
    fs::remove_file(&path).map_err(|source| Error::File { path, source })
}

/// # Errors
/// [`Error::Backup`] if the directory is marked as a copy.
pub fn refuse_marked(directory: &Path) -> Result<(), Error> {
    let path = directory.join(MARK);
    match path.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(Error::Backup(directory.to_owned())),
        Err(source) => Err(Error::File { path, source }),
    }
}
