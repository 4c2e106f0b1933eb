//! Decides how files are written: beside their place, synced, then renamed,
//! so that a reader sees the old or the new content and nothing between.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Writes `content` to `path` atomically with the given Unix `mode`.
///
/// # Errors
/// Whatever the file system answers; the old content then stands.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let name =
        path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "path names no file"))?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{:016x}", super::random::u64()));
    let temporary = parent.join(temporary);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(parent)?.sync_all()
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
/// included.
///
/// # Errors
/// Whatever the file system answers.
pub fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whether others than the owner can read, write or enter `path`.
///
/// # Errors
/// Whatever the file system answers.
pub fn is_open_to_others(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}
