//! Decides where plain copies lie for a while: in one private directory with a
//! known name, which one process at a time has, and which is gone at its end.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::files;

/// What says that a process is at work in the directory.
const LOCK: &str = "lock";

/// A directory to work in, removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    swept: bool,
    _lock: File,
}

impl Scratch {
    /// Makes the directory `path`, mode 0700. What a process that was killed
    /// left in it is removed; `None` if another process is at work in it.
    ///
    /// # Errors
    /// If something else stands there; else whatever the file system answers.
    pub fn enter(path: &Path) -> io::Result<Option<Self>> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // Not through a link, and not where others can look.
        if !fs::symlink_metadata(path)?.is_dir() || files::is_open_to_others(path)? {
            return Err(io::Error::other(
                "something stands there that is no private directory; move it away",
            ));
        }
        let Some(lock) = files::lock(&path.join(LOCK))? else { return Ok(None) };
        let mut scratch = Self { path: path.to_owned(), swept: false, _lock: lock };
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_name() == OsStr::new(LOCK) {
                continue;
            }
            scratch.swept = true;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Some(scratch))
    }

    /// Whether something was left there, and removed.
    #[must_use]
    pub const fn was_swept(&self) -> bool {
        self.swept
    }

    /// A new name in the directory.
    #[must_use]
    pub fn place(&self) -> PathBuf {
        self.path.join(format!("{:016x}", super::random::u64()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now, the next process to enter removes.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_scratch_directory_is_private_one_processs_at_a_time_and_gone_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scratch");
        let first = Scratch::enter(&path).unwrap().unwrap();
        assert!(!first.was_swept());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        fs::create_dir(first.place()).unwrap();
        assert!(Scratch::enter(&path).unwrap().is_none());
        drop(first);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("scratch");
        files::create_private_dir(&path.join("copy")).unwrap();
        fs::write(path.join("copy/secret"), "secret").unwrap();
        fs::write(path.join(LOCK), "").unwrap();
        let scratch = Scratch::enter(&path).unwrap().unwrap();
        assert!(scratch.was_swept());
        assert!(!path.join("copy").try_exists().unwrap());
    }

    #[test]
    fn a_link_or_a_directory_that_others_can_enter_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (there, link) = (dir.path().join("there"), dir.path().join("link"));
        fs::create_dir(&there).unwrap();
        fs::write(there.join("kept"), "").unwrap();
        fs::set_permissions(&there, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&there, &link).unwrap();
        Scratch::enter(&there).unwrap_err();
        fs::set_permissions(&there, fs::Permissions::from_mode(0o700)).unwrap();
        Scratch::enter(&link).unwrap_err();
        assert!(there.join("kept").try_exists().unwrap());
    }
}
