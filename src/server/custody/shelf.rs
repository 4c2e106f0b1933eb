//! Decides how what was signed is kept in files: tried beforehand, and written
//! again and again where it fails, so that nothing is signed twice for want of
//! room on a disk.

use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use super::{Custodian, Error, RETRY};
use crate::base::files;

/// More than any of the files has.
const PROBE_BYTES: usize = 16 << 10;
/// The longest pause between two tries while files cannot be written.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// A file and its content.
pub(super) type Content = (PathBuf, Zeroizing<Vec<u8>>);

/// How long to wait between tries.
#[derive(Debug)]
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(RETRY)
    }
}

impl Pauses {
    /// How long after this failure: ever longer while it is a file that cannot
    /// be written, which takes a person to mend.
    pub(super) fn after(&mut self, failure: &Error) -> Duration {
        if !matches!(failure, Error::File { .. }) {
            return RETRY;
        }
        let pause = self.0;
        self.0 = pause.saturating_mul(2).min(LONGEST);
        pause
    }
}

impl Custodian {
    /// Whether something can be written now.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(super) fn probe(&self) -> Result<(), Error> {
        let path = self.config.directory.join("probe");
        files::create_private_dir(&self.config.directory)
            .and_then(|()| files::write_atomic(&path, &[0; PROBE_BYTES], 0o600))
            .and_then(|()| std::fs::remove_file(&path))
            .map_err(|source| Error::File { path, source })
    }

    /// Has files written at the end of the round.
    pub(super) fn file(&self, contents: impl IntoIterator<Item = Content>) {
        self.held.lock().unwritten.extend(contents);
    }

    /// Writes what waits, in the order of the paths: a key before its
    /// certificate. Whoever reads a new key beside an old certificate has
    /// neither, and has both signed anew. What cannot be written waits on.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(super) fn write_what_waits(&self) -> Result<(), Error> {
        loop {
            let Some((path, content)) = self.held.lock().unwritten.pop_first() else { return Ok(()) };
            let written = files::create_private_dir(&self.config.directory)
                .and_then(|()| files::write_atomic(&path, &content, 0o600));
            if let Err(source) = written {
                self.held.lock().unwritten.entry(path.clone()).or_insert(content);
                return Err(Error::File { path, source });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_is_tried_ever_less_often_and_the_signer_is_not() {
        let mut pauses = Pauses::default();
        let file = || Error::File { path: PathBuf::from("f"), source: std::io::Error::other("full") };
        let signer = Error::Authorities("the signer does not answer".to_owned());
        let waits: Vec<_> = (0..10).map(|_| pauses.after(&file()).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(pauses.after(&signer), RETRY);
        assert_eq!(pauses.after(&file()), LONGEST, "nobody has mended it");
        assert_eq!(Pauses::default().after(&file()), RETRY);
    }
}
