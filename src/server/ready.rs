//! Decides how a started hub says where it listens: a small JSON file, written
//! whole and only once it serves.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::files;

/// What the ready file holds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Ready {
    /// Process id of the hub.
    pub pid: u32,
    /// Where agencies connect.
    pub grpc: SocketAddr,
    /// Where metrics and health are read.
    pub http: SocketAddr,
    /// Where new systems enrol, if they can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrolment: Option<SocketAddr>,
}

impl Ready {
    /// Writes the file.
    ///
    /// # Errors
    /// Whatever the file system answers.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        files::write_atomic(path, &text, 0o644)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// Whatever the file system answers, or that the file is none of these.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }

    /// Removes the file, if there is one.
    pub fn withdraw(path: &Path) {
        match std::fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, path = %path.display(), "cannot remove the ready file"),
        }
    }
}
