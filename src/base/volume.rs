//! Decides how much room a file system is said to have.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Measures the room of file systems.
pub trait Volume: fmt::Debug + Send + Sync {
    /// Bytes that this user can still write to the file system of `path`.
    ///
    /// # Errors
    /// Whatever the file system answers.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// The machine's own file systems.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemVolume;

impl SystemVolume {
    /// Shared, as the hub takes it.
    #[must_use]
    pub fn shared() -> Arc<dyn Volume> {
        Arc::new(Self)
    }
}

impl Volume for SystemVolume {
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let told = rustix::fs::statvfs(path)?;
        Ok(told.f_bavail.saturating_mul(told.f_frsize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_room_and_an_absent_one_has_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(SystemVolume.free_bytes(dir.path()).unwrap() > 0);
        assert!(SystemVolume.free_bytes(&dir.path().join("absent")).is_err());
    }
}
