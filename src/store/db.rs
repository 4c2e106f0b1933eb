//! Decides how RocksDB is opened, and reads single records.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rocksdb::{ColumnFamily, DB, WriteBatch, WriteOptions};
use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::io::Errno;

use crate::base::files;
use crate::model::position::Position;

use super::batch::Batch;
use super::calls::{Calls, Counters, count};
use super::keys::{self, Family};
use super::record::{self, Assertion, Latest};
use super::repair::Damage;
use super::tuning::{Families, Tuning, engine_options};

/// Version of the whole layout, in the meta record `format`.
pub const FORMAT_VERSION: u32 = 3;
/// The one before: see [`super::upgrade`].
pub(super) const FORMAT_BEFORE: u32 = 2;
/// The one of a store whose log has a base: releases before would take what is
/// cut out for damage.
pub const TRUNCATED_VERSION: u32 = 4;

/// Meta record of the format.
pub const FORMAT: &str = "format";
/// Meta record of [`Store::expiry_fence`].
pub(super) const EXPIRY_FENCE: &str = "expiry-fence";

/// Why the store could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// RocksDB, or the file system under it.
    #[error("storage engine: {0}")]
    Engine(rocksdb::Error),
    /// The file system.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What it answered.
        source: io::Error,
    },
    /// There is no place for a copy to be thrown away.
    #[error(
        "cannot make a scratch copy in {path}: {source}; name a directory with `--scratch DIR` that you may write to and that has as much room as the hub takes"
    )]
    Scratch {
        /// Where it was to be made.
        path: PathBuf,
        /// What the file system answered.
        source: io::Error,
    },
    /// Another process has the directory open.
    #[error("{0} is in use by another luytred; stop that one first, or name another directory")]
    Locked(PathBuf),
    /// There is no hub in the directory.
    #[error("{0} holds no hub; make one with `luytred init`")]
    Absent(PathBuf),
    /// Others can enter the directory.
    #[error("{0} holds the hub's keys and is open to other users; run: chmod 700 {0}")]
    OpenToOthers(PathBuf),
    /// The directory is a copy, not a hub.
    #[error(
        "{0} is a backup, and a hub on it would give out positions twice; make a hub of it with `luytred restore --from {0} --to DIR`"
    )]
    Backup(PathBuf),
    /// There is something in the directory already.
    #[error("{0} is not empty; name a new or empty directory")]
    NotEmpty(PathBuf),
    /// The log's last bytes are not what a cut-off write leaves.
    #[error(
        "the end of {path} is damaged ({detail}); if nothing valid follows, `luytred repair --tail` cuts it off"
    )]
    DamagedTail {
        /// Which file.
        path: PathBuf,
        /// What the engine says.
        detail: String,
    },
    /// Stored bytes are not what was written.
    #[error("damaged record: {what} at {at}; restore the last good backup with `luytred restore`")]
    Corrupt {
        /// What kind of record.
        what: &'static str,
        /// Where it stands.
        at: String,
    },
    /// Written by another release.
    #[error("the directory has format {found}, this release reads format {known}")]
    Format {
        /// What it has.
        found: u32,
        /// What this release reads.
        known: u32,
    },
}

impl From<rocksdb::Error> for Error {
    /// What the engine finds damaged is told as such, with the remedy.
    fn from(error: rocksdb::Error) -> Self {
        if error.kind() == rocksdb::ErrorKind::Corruption {
            Self::Corrupt { what: "table or log file", at: error.to_string() }
        } else {
            Self::Engine(error)
        }
    }
}

impl Error {
    /// A damaged record.
    pub fn corrupt(what: &'static str, at: impl fmt::Debug) -> Self {
        Self::Corrupt { what, at: format!("{at:?}") }
    }
}

/// The hub's directory, open.
pub struct Store {
    pub(super) db: DB,
    pub(super) path: PathBuf,
    pub(super) counters: Counters,
    pub(super) families: Families,
    /// Keeps others from writing where the engine does not lock.
    _lock: Option<File>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.path.display())
    }
}

impl Store {
    /// Makes a new store in a new or empty directory (mode 0700).
    ///
    /// # Errors
    /// [`Error::NotEmpty`], or whatever the file system answers.
    pub fn create(path: &Path, tuning: &Tuning) -> Result<Self, Error> {
        let file_error = |source| Error::File { path: path.to_owned(), source };
        files::create_private_dir(path).map_err(file_error)?;
        if std::fs::read_dir(path).map_err(file_error)?.next().is_some() {
            return Err(Error::NotEmpty(path.to_owned()));
        }
        Self::open_engine(path, tuning, true)
    }

    /// Opens the store in `path` and locks the directory. One of the format
    /// before stays that until it is brought to this one:
    /// [`super::upgrade`].
    ///
    /// # Errors
    /// [`Error::Absent`], [`Error::OpenToOthers`], [`Error::Locked`],
    /// [`Error::DamagedTail`], [`Error::Format`], or whatever the engine
    /// answers.
    pub fn open(path: &Path, tuning: &Tuning) -> Result<Self, Error> {
        check_directory(path)?;
        Self::open_engine(path, tuning, false)?.of_known_format()
    }

    /// Opens the store in `path` for reading: not a byte of the directory is
    /// changed, and no hub can be started on it meanwhile.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_read_only(path: &Path, tuning: &Tuning) -> Result<Self, Error> {
        check_directory(path)?;
        let lock = shared_lock(path)?;
        let (options, families) = (engine_options(tuning, false), Families::new(tuning));
        let db = DB::open_cf_descriptors_read_only(&options, path, families.of_store(path), false)
            .map_err(|e| open_error(path, e))?;
        Self { db, path: path.to_owned(), counters: Counters::default(), families, _lock: lock }
            .of_known_format()
    }

    /// The store, if its format can be read.
    fn of_known_format(self) -> Result<Self, Error> {
        match self.format()? {
            Some(FORMAT_BEFORE | FORMAT_VERSION | TRUNCATED_VERSION) => Ok(self),
            Some(found) => Err(Error::Format { found, known: TRUNCATED_VERSION }),
            None => Err(Error::Absent(self.path)),
        }
    }

    /// The format of the store; `None`: nothing says it.
    pub(super) fn format(&self) -> Result<Option<u32>, Error> {
        let found = self.meta(FORMAT)?;
        Ok(found.and_then(|found| found.try_into().ok()).map(u32::from_be_bytes))
    }

    pub(super) fn open_engine(path: &Path, tuning: &Tuning, create: bool) -> Result<Self, Error> {
        let (options, families) = (engine_options(tuning, create), Families::new(tuning));
        let descriptors = if create { families.all() } else { families.of_store(path) };
        let db = DB::open_cf_descriptors(&options, path, descriptors).map_err(|e| open_error(path, e))?;
        Ok(Self { db, path: path.to_owned(), counters: Counters::default(), families, _lock: None })
    }

    /// What was asked of the store since it was opened.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.counters.read()
    }

    /// Where the store lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn family(&self, family: Family) -> Result<&ColumnFamily, Error> {
        self.db.cf_handle(family.name()).ok_or_else(|| Error::corrupt("column family", family.name()))
    }

    /// Commits `batch`, and returns once it has reached the disk.
    ///
    /// # Errors
    /// Whatever the engine answers; the store must then be treated as
    /// read-only, as nobody knows what of the batch was written.
    pub fn commit(&self, batch: Batch<'_>) -> Result<(), Error> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        if batch.counted() > 0 {
            count(&self.counters.commits, 1);
            count(&self.counters.written, batch.counted());
        }
        #[expect(clippy::disallowed_methods, reason = "the store writes here")]
        let written = self.db.write_opt(batch.into_inner(), &options);
        Ok(written?)
    }

    /// Writes what can be made anew from the log, and does not wait for the
    /// disk.
    pub(super) fn write_again(&self, batch: WriteBatch) -> Result<(), Error> {
        #[expect(clippy::disallowed_methods, reason = "the store writes here, and one line up")]
        let written = self.db.write_opt(batch, &WriteOptions::default());
        Ok(written?)
    }

    /// Commits `batch` without waiting for the disk: for copies that are
    /// thrown away.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn commit_unsynced(&self, batch: Batch<'_>) -> Result<(), Error> {
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        #[expect(clippy::disallowed_methods, reason = "the store writes here, and one line up")]
        let written = self.db.write_opt(batch.into_inner(), &options);
        Ok(written?)
    }

    /// A record of [`Family::Meta`] under its full key.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn small(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        count(&self.counters.small, 1);
        Ok(self.db.get_cf(self.family(Family::Meta)?, key)?)
    }

    /// A meta record.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.small(&keys::meta(name))
    }

    /// The hour before which every indicator that had to has expired: 0 where
    /// none was ever looked for.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn expiry_fence(&self) -> Result<u64, Error> {
        let Some(bytes) = self.meta(EXPIRY_FENCE)? else { return Ok(0) };
        let hour = bytes.try_into().map_err(|_| Error::corrupt("meta", EXPIRY_FENCE))?;
        Ok(u64::from_be_bytes(hour))
    }

    /// The assertions about each of the values under `keys`, in their order;
    /// empty for an unknown value. Of records that were dropped there are none.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn assertions<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Vec<Assertion>>, Error> {
        let mut found = self.all_assertions(keys)?;
        found.iter_mut().for_each(|all| all.retain(|assertion| !assertion.is_dropped()));
        Ok(found)
    }

    /// The same, and what is left of those of dropped records.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn all_assertions<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Vec<Assertion>>, Error> {
        let family = self.family(Family::Values)?;
        count(&self.counters.values, keys.len());
        self.db
            .batched_multi_get_cf(family, keys.iter(), false)
            .into_iter()
            .map(|found| match found? {
                Some(bytes) => {
                    record::decode_assertions(&bytes).ok_or_else(|| Error::corrupt("assertions", "values"))
                }
                None => Ok(Vec::new()),
            })
            .collect()
    }

    /// Where the newest version of each record stands; `None` where it is
    /// still the first.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn latest(&self, handles: &[Position]) -> Result<Vec<Option<Latest>>, Error> {
        let family = self.family(Family::Latest)?;
        count(&self.counters.latest, handles.len());
        let keys: Vec<_> = handles.iter().map(|&handle| keys::latest(handle)).collect();
        self.db
            .batched_multi_get_cf(family, keys.iter(), false)
            .into_iter()
            .zip(handles)
            .map(|(found, handle)| match found? {
                Some(bytes) => {
                    record::decode_latest(&bytes).map(Some).ok_or_else(|| Error::corrupt("latest", handle))
                }
                None => Ok(None),
            })
            .collect()
    }

    /// A property of the engine, such as `rocksdb.estimate-num-keys`.
    #[must_use]
    pub fn property(&self, family: Family, name: &str) -> Option<u64> {
        self.db.property_int_value_cf(self.family(family).ok()?, name).ok()?
    }

    /// Writes what is buffered into table files.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn flush(&self) -> Result<(), Error> {
        for family in Family::ALL {
            self.db.flush_cf(self.family(family)?)?;
        }
        Ok(())
    }
}

fn check_directory(path: &Path) -> Result<(), Error> {
    let current = path.join("CURRENT");
    if !current.try_exists().map_err(|source| Error::File { path: current.clone(), source })? {
        return Err(Error::Absent(path.to_owned()));
    }
    if files::is_open_to_others(path).map_err(|source| Error::File { path: path.to_owned(), source })? {
        return Err(Error::OpenToOthers(path.to_owned()));
    }
    Ok(())
}

/// A lock that any number of readers share, and no engine that writes; `None`
/// where none has ever been opened.
fn shared_lock(path: &Path) -> Result<Option<File>, Error> {
    let place = path.join("LOCK");
    let file = match File::open(&place) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::File { path: place, source }),
    };
    match fcntl_lock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::AGAIN | Errno::ACCESS) => Err(Error::Locked(path.to_owned())),
        Err(error) => Err(Error::File { path: place, source: error.into() }),
    }
}

/// What the engine says on opening, told by what an operator must do.
fn open_error(path: &Path, error: rocksdb::Error) -> Error {
    let text = error.to_string();
    if text.contains("lock hold") || (text.contains("/LOCK") && error.kind() == rocksdb::ErrorKind::IOError) {
        return Error::Locked(path.to_owned());
    }
    if error.kind() != rocksdb::ErrorKind::Corruption {
        return error.into();
    }
    match super::repair::damaged_wal(path) {
        None => error.into(),
        // What follows was acknowledged: nothing may be cut.
        Some(Damage { path, offset, valid_after: Some(after), .. }) => {
            let at = format!("{} byte {offset}, before valid records at byte {after}", path.display());
            Error::Corrupt { what: "write-ahead log", at }
        }
        Some(Damage { path, offset, length, .. }) => {
            Error::DamagedTail { path, detail: format!("at byte {offset} of {length}: {text}") }
        }
    }
}
