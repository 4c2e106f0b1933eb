//! Decides how a subscriber remembers where it stands: one small file,
//! replaced as a whole after the output is flushed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::base::files;

use super::exit::Failure;

/// Form of the file.
const FORM: u32 = 1;
/// Largest file that is read.
const MAX_BYTES: u64 = 64 * 1024;

/// A state file and what its token is good for.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    /// Digest of what was asked for; a token is good for nothing else.
    asked: String,
    hub: String,
    /// Held until the subscriber ends.
    lock: Option<File>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    form: u32,
    hub: String,
    asked: String,
    token: String,
}

impl StateFile {
    /// The state kept at `path` of what `asked` stands for.
    pub(super) fn new(path: &Path, hub: &str, asked: String) -> Self {
        Self { path: path.to_owned(), asked, hub: hub.to_owned(), lock: None }
    }

    /// Keeps other processes from the same state: two would each move the
    /// place past what the other has not written. The lock ends with this
    /// process, however it ends; its file stays.
    pub(super) fn lock(&mut self) -> Result<(), Failure> {
        let mut name = self.path.clone().into_os_string();
        name.push(".lock");
        let path = PathBuf::from(name);
        let wrong = |error: io::Error| Failure::Io(format!("cannot lock {}: {error}", path.display()));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(wrong)?;
        match file.try_lock() {
            Ok(()) => self.lock = Some(file),
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::Busy(format!(
                    "another process uses the state file {}; end that one, or name another with --state",
                    self.path.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(wrong(error)),
        }
        Ok(())
    }

    /// The token to go on after; `None`: the first time.
    pub(super) fn load(&self) -> Result<Option<Bytes>, Failure> {
        let wrong = |problem: &str| {
            Failure::Configuration(format!(
                "the state file {} {problem}; to start afresh remove it, or name another with --state",
                self.path.display()
            ))
        };
        match std::fs::metadata(&self.path) {
            Ok(metadata) if metadata.len() > MAX_BYTES => return Err(wrong("is not one that luytre wrote")),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(&format!("cannot be read ({error})"))),
        }
        let text = std::fs::read(&self.path).map_err(|error| wrong(&format!("cannot be read ({error})")))?;
        let content: Content =
            serde_json::from_slice(&text).map_err(|_| wrong("is not one that luytre wrote"))?;
        if content.form != FORM {
            return Err(wrong("was written by another release"));
        }
        if content.asked != self.asked {
            return Err(wrong("belongs to a subscription with another name or other filters"));
        }
        let token = STANDARD.decode(&content.token).map_err(|_| wrong("is damaged"))?;
        Ok(Some(token.into()))
    }

    /// Replaces the token. The file then holds the old one or the new one.
    pub(super) fn store(&self, token: &Bytes) -> Result<(), Failure> {
        let content = Content {
            form: FORM,
            hub: self.hub.clone(),
            asked: self.asked.clone(),
            token: STANDARD.encode(token),
        };
        let mut text = serde_json::to_vec(&content).map_err(|error| Failure::Io(error.to_string()))?;
        text.push(b'\n');
        files::write_atomic(&self.path, &text, 0o600).map_err(|error| {
            Failure::Io(format!("cannot write the state file {}: {error}", self.path.display()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &Path, asked: &str) -> StateFile {
        StateFile::new(&dir.join("state.json"), "hub:1", asked.to_owned())
    }

    #[test]
    fn a_stored_token_comes_back_and_the_newest_one_stands() {
        let dir = tempfile::tempdir().unwrap();
        let state = file(dir.path(), "all");
        assert_eq!(state.load().unwrap(), None);
        state.store(&Bytes::from_static(b"one")).unwrap();
        state.store(&Bytes::from_static(b"two")).unwrap();
        assert_eq!(state.load().unwrap(), Some(Bytes::from_static(b"two")));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_token_for_other_filters_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        file(dir.path(), "domains").store(&Bytes::from_static(b"one")).unwrap();
        let text = file(dir.path(), "urls").load().unwrap_err().text().unwrap();
        assert!(text.contains("other filters"), "{text}");
    }

    #[test]
    fn a_state_that_cannot_be_replaced_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let state = file(dir.path(), "all");
        state.store(&Bytes::from_static(b"one")).unwrap();
        let gone = StateFile::new(&dir.path().join("no/such/dir/state.json"), "hub:1", "all".into());
        assert!(gone.store(&Bytes::from_static(b"two")).is_err());
        assert_eq!(state.load().unwrap(), Some(Bytes::from_static(b"one")));
    }

    #[test]
    fn a_state_serves_one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = file(dir.path(), "all");
        first.lock().unwrap();
        let failure = file(dir.path(), "all").lock().unwrap_err();
        assert_eq!(failure.code(), 75);
        assert!(failure.text().unwrap().contains("state.json"), "{failure:?}");
        drop(first);
        file(dir.path(), "all").lock().unwrap();
    }

    #[test]
    fn a_damaged_state_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("state.json"), b"{}").unwrap();
        let text = file(dir.path(), "all").load().unwrap_err().text().unwrap();
        assert!(text.contains("remove it"), "{text}");
    }
}
