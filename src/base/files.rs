//! Decides how files are written: beside their place, synced, then renamed,
//! so that a reader sees the old or the new content and nothing between.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Writes `content` to `path` atomically with the given Unix `mode`.
///
/// # Errors
/// Whatever the file system answers; the old content then stands.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let parent = parent(path);
    let temporary = beside(path, "")?;
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync(parent)
    })();
    if written.is_err() {
        // The write failed already; what is left of it is of no use to anyone.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Writes a new file that must not exist yet, with the given Unix `mode`.
///
/// # Errors
/// `AlreadyExists` if it does; else whatever the file system answers.
pub fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = create_new(path, mode)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Makes a new file to be written to, with the given Unix `mode`. Whoever
/// publishes the directory that it lies in syncs it.
///
/// # Errors
/// `AlreadyExists` if there is one; else whatever the file system answers.
pub fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

/// Opens a file to be read and added to at its end, made with the given Unix
/// `mode` where there is none; that there is one is then on disk.
///
/// # Errors
/// Whatever the file system answers.
pub fn open_journal(path: &Path, mode: u32) -> io::Result<File> {
    let file = OpenOptions::new().read(true).append(true).create(true).mode(mode).open(path)?;
    sync(parent(path))?;
    Ok(file)
}

/// Creates a directory that only this user can enter (mode 0700), parents
/// included. One that is there already and empty becomes so.
///
/// # Errors
/// Whatever the file system answers.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    if is_open_to_others(path)? && fs::read_dir(path)?.next().is_none() {
        make_private(path)?;
    }
    Ok(())
}

/// Lets only this user enter a directory (mode 0700).
///
/// # Errors
/// Whatever the file system answers.
pub fn make_private(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Takes the lock file `path`, made where there is none (mode 0600); `None` if
/// another process has it. The lock ends with the file handle, and with the
/// process however that ends; the file stays.
///
/// # Errors
/// Whatever the file system answers.
pub fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// New content of a file, written beside it and put in its place as a whole.
/// It is dropped unless it is published.
#[derive(Debug)]
pub struct Replacement {
    file: BufWriter<File>,
    temporary: PathBuf,
    target: PathBuf,
}

impl Replacement {
    /// For the file `path`, or for what it links to. A file that is there
    /// already hands its mode, owner and group on; a new one has `mode`. One
    /// process at a time may replace a file: what another has left of an
    /// attempt is removed.
    ///
    /// # Errors
    /// If the group cannot be kept; else whatever the file system answers.
    pub fn of(path: &Path, mode: u32) -> io::Result<Self> {
        let target = match path.canonicalize() {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(error),
        };
        let name = target
            .file_name()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "path names no file"))?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".new");
        let temporary = parent(&target).join(hidden);
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let replacement = Self { file: BufWriter::with_capacity(64 * 1024, file), temporary, target };
        take_over(replacement.file.get_ref(), &replacement.target, mode)?;
        Ok(replacement)
    }

    /// Puts the content in its place, on disk for good.
    ///
    /// # Errors
    /// Whatever the file system answers; the old content then stands.
    pub fn publish(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        fs::rename(&self.temporary, &self.target)?;
        sync(parent(&self.target))
    }

    /// Puts the content where nothing stands, on disk for good.
    ///
    /// # Errors
    /// `AlreadyExists` if something stands there, which is left as it is; else
    /// whatever the file system answers.
    pub fn publish_new(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        match renameat_with(CWD, &self.temporary, CWD, &self.target, RenameFlags::NOREPLACE) {
            // Not every file system knows how; those know links.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                fs::hard_link(&self.temporary, &self.target)?;
            }
            renamed => renamed?,
        }
        sync(parent(&self.target))
    }
}

impl io::Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // Published, it is not there any more; else it is of no use to anyone.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Gives a new file what the old one in its place has beside its content, and
/// `mode` where there is none.
fn take_over(file: &File, target: &Path, mode: u32) -> io::Result<()> {
    let mode = match fs::metadata(target) {
        Ok(old) => {
            let new = file.metadata()?;
            if new.uid() != old.uid() {
                // Only root can give a file away; for others it becomes theirs.
                let _ = std::os::unix::fs::fchown(file, Some(old.uid()), None);
            }
            if new.gid() != old.gid() {
                std::os::unix::fs::fchown(file, None, Some(old.gid())).map_err(|error| {
                    io::Error::new(error.kind(), format!("its group cannot be kept ({error}); let this user be a member of it, or change the file's group"))
                })?;
            }
            old.permissions().mode() & 0o7777
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => mode,
        Err(error) => return Err(error),
    };
    file.set_permissions(fs::Permissions::from_mode(mode))
}

/// Renames a whole new file to the place of the old one, whose mode, owner and
/// group it takes over, on disk for good.
///
/// # Errors
/// Whatever the file system answers; the old content then stands.
pub fn put_in_place(new: &Path, target: &Path) -> io::Result<()> {
    let file = File::open(new)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    take_over(&file, target, mode)?;
    file.sync_all()?;
    fs::rename(new, target)?;
    sync(parent(target))
}

/// A directory that is made in a private one beside its place, and stands in
/// its place whole or not at all.
#[derive(Debug)]
pub struct Staging {
    root: PathBuf,
    place: PathBuf,
    target: PathBuf,
}

impl Staging {
    /// For the directory `target`, which does not exist or is empty.
    ///
    /// # Errors
    /// If `target` is a mount point; else whatever the file system answers.
    pub fn beside(target: &Path) -> io::Result<Self> {
        let target = if target.try_exists()? { target.canonicalize()? } else { target.to_owned() };
        DirBuilder::new().recursive(true).mode(0o700).create(parent(&target))?;
        if target.try_exists()? && fs::metadata(&target)?.dev() != fs::metadata(parent(&target))?.dev() {
            return Err(io::Error::other("a mount point cannot be replaced; name a directory inside it"));
        }
        let root = beside(&target, ".partial")?;
        DirBuilder::new().mode(0o700).create(&root)?;
        Ok(Self { place: root.join("copy"), root, target })
    }

    /// Where to make it. Does not exist yet.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Syncs the directory and the files in it, then moves it to its place.
    ///
    /// # Errors
    /// Whatever the file system answers; the place is then as it was.
    pub fn publish(self) -> io::Result<()> {
        for entry in fs::read_dir(&self.place)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                sync(&entry.path())?;
            }
        }
        sync(&self.place)?;
        fs::rename(&self.place, &self.target)?;
        sync(parent(&self.target))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What is left of it is of no use to anyone, and its name says so.
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// A new hidden name in the same directory.
fn beside(path: &Path, kind: &str) -> io::Result<PathBuf> {
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "path names no file"))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!("{kind}.{:016x}", super::random::u64()));
    Ok(parent(path).join(hidden))
}

/// Whether others than the owner can read, write or enter `path`.
///
/// # Errors
/// Whatever the file system answers.
pub fn is_open_to_others(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_a_new_one_has_the_one_given() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        for (content, set) in [("one", None), ("two", Some(0o644))] {
            let mut new = Replacement::of(&path, 0o600).unwrap();
            new.write_all(content.as_bytes()).unwrap();
            new.publish().unwrap();
            assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), (content, 0o600));
            if let Some(set) = set {
                fs::set_permissions(&path, fs::Permissions::from_mode(set)).unwrap();
            }
        }
        Replacement::of(&path, 0o600).unwrap().publish().unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("", 0o644));
    }

    #[test]
    fn what_is_published_as_new_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup");
        let replacement = |content: &[u8]| {
            let mut new = Replacement::of(&path, 0o600).unwrap();
            new.write_all(content).unwrap();
            new
        };
        let late = replacement(b"late");
        fs::write(&path, "first").unwrap();
        assert_eq!(late.publish_new().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        fs::remove_file(&path).unwrap();
        replacement(b"new").publish_new().unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), mode(&path)), ("new", 0o600));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_not_published_leaves_the_file_as_it_was_and_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        fs::write(&path, "old").unwrap();
        fs::write(dir.path().join(".list.new"), "left by a process that was killed").unwrap();
        let mut new = Replacement::of(&path, 0o600).unwrap();
        new.write_all(b"new").unwrap();
        drop(new);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_and_what_it_names_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("list"), dir.path().join("link"));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut new = Replacement::of(&link, 0o600).unwrap();
        new.write_all(b"new").unwrap();
        new.publish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_lock_is_one_holders_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = lock(&path).unwrap().unwrap();
        assert!(lock(&path).unwrap().is_none());
        drop(first);
        assert!(lock(&path).unwrap().is_some());
    }
}
