//! Decides how files are written: beside their place, synced, then renamed,
//! so that a reader sees the old or the new content and nothing between.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

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
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    file.sync_all()
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
