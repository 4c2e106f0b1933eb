//! Decides how a copy of the whole store is made while it is in use: an
//! engine checkpoint of hard links, complete or absent.

use std::path::Path;

use rocksdb::checkpoint::Checkpoint;

use super::db::{Error, Store};

impl Store {
    /// Makes a consistent copy of the store in `to`, which must not exist.
    /// The engine flushes first and then links table files, so a checkpoint
    /// on the same file system costs little more than the log's tail.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn checkpoint(&self, to: &Path) -> Result<(), Error> {
        Ok(Checkpoint::new(&self.db)?.create_checkpoint(to)?)
    }
}
