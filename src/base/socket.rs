//! Decides how a Unix socket is made: closed to everybody before it listens,
//! in place of a dead one only, and removed by whoever made it.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error("cannot listen on {}: {source}", path.display())]
    System {
        /// The socket.
        path: PathBuf,
        /// What it answered.
        source: io::Error,
    },
    /// Something else stands there.
    #[error("{} is not a socket, and is left alone; move it away, or name another place", path.display())]
    NotASocket {
        /// What stands there.
        path: PathBuf,
    },
    /// Another process listens there.
    #[error("another process listens on {}; stop it, or name another place", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
}

/// A Unix socket that listens, and is removed when it is dropped.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    place: Place,
}

/// Where a socket was bound; dropped, it removes that one and no other.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    /// Device and inode of the socket.
    own: (u64, u64),
}

impl Listener {
    /// Listens on `path` with the given Unix `mode`, `backlog` connections
    /// waiting. Call it only while holding a lock that keeps others of its kind
    /// away: a socket that a killed process left there is removed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn bind(path: &Path, mode: u32, backlog: u32) -> Result<Self, Error> {
        make_way(path).await?;
        let bound = || -> io::Result<(UnixListener, (u64, u64))> {
            let socket = UnixSocket::new_stream()?;
            socket.bind(path)?;
            // Nobody can connect before `listen`, so never with another mode.
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
            let own = identity(&fs::symlink_metadata(path)?);
            Ok((socket.listen(backlog)?, own))
        };
        match bound() {
            Ok((listener, own)) => Ok(Self { listener, place: Place { path: path.to_owned(), own } }),
            Err(source) => Err(Error::System { path: path.to_owned(), source }),
        }
    }

    /// The next connection.
    ///
    /// # Errors
    /// Whatever accepting answers.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    /// The listener alone, for who accepts by other means, and its place, to be
    /// kept as long.
    #[must_use]
    pub fn into_parts(self) -> (UnixListener, Place) {
        (self.listener, self.place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Only what was bound here: another may stand in its place by now.
        if fs::symlink_metadata(&self.path)
            .is_ok_and(|found| found.file_type().is_socket() && identity(&found) == self.own)
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Removes a socket on which nobody listens any more.
async fn make_way(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::System { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Err(Error::NotASocket { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    match UnixStream::connect(path).await {
        Ok(_) => return Err(Error::InUse { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
        Err(error) => return Err(failed(error)),
    }
    fs::remove_file(path).map_err(failed)
}
