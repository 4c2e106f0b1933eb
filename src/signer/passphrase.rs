//! Decides where a passphrase comes from: a descriptor that the caller opened,
//! a file such as a credential of systemd, or a person at the terminal. Never
//! an argument or the environment, which others can read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::base::secret::Secret;

/// Longest passphrase, in bytes.
const MAX_BYTES: usize = 1024;

/// Where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An open file descriptor: its first line.
    Descriptor(u32),
    /// A file: its first line.
    File(PathBuf),
    /// The terminal of this process.
    Terminal,
}

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read the passphrase from {from}: {source}")]
    Unreadable {
        /// Whence.
        from: String,
        /// What the system answered.
        source: io::Error,
    },
    /// Everybody can read it.
    #[error("{} can be read by everybody; run: chmod 400 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// There is no terminal.
    #[error(
        "there is no terminal to ask for the passphrase; use --passphrase-fd N or --passphrase-file FILE"
    )]
    NoTerminal,
    /// Nothing was given.
    #[error("the passphrase from {from} is empty")]
    Empty {
        /// Whence.
        from: String,
    },
    /// More than one line was given, or a very long one.
    #[error("the passphrase from {from} is longer than one line of {MAX_BYTES} bytes")]
    Long {
        /// Whence.
        from: String,
    },
    /// The two that were typed differ.
    #[error("the two passphrases are not the same; nothing was written")]
    Differ,
}

impl Source {
    /// Reads the passphrase. At a terminal, `purpose` says what for.
    ///
    /// # Errors
    /// [`Error`].
    pub fn read(&self, purpose: &str) -> Result<Secret<Vec<u8>>, Error> {
        match self {
            Self::Descriptor(number) => {
                // The kernel opens anew what the descriptor refers to; a pipe
                // or a file, as shells give.
                first_line(Path::new(&format!("/proc/self/fd/{number}")), &format!("descriptor {number}"))
            }
            Self::File(path) => {
                let shown = path.display().to_string();
                let metadata =
                    fs::metadata(path).map_err(|source| Error::Unreadable { from: shown.clone(), source })?;
                // The group's bits may be the mask of an access list, as in
                // systemd's directory of credentials.
                if metadata.permissions().mode() & 0o007 != 0 {
                    return Err(Error::Exposed { path: path.clone() });
                }
                first_line(path, &shown)
            }
            Self::Terminal => from_terminal(&format!("passphrase {purpose}: ")),
        }
    }

    /// Reads a new passphrase; at a terminal twice, so that a slip of the
    /// finger locks nothing away.
    ///
    /// # Errors
    /// [`Error`].
    pub fn read_new(&self, purpose: &str) -> Result<Secret<Vec<u8>>, Error> {
        let first = self.read(purpose)?;
        if *self == Self::Terminal && from_terminal("the same again: ")?.expose() != first.expose() {
            return Err(Error::Differ);
        }
        Ok(first)
    }
}

fn first_line(path: &Path, from: &str) -> Result<Secret<Vec<u8>>, Error> {
    let unreadable = |source| Error::Unreadable { from: from.to_owned(), source };
    // Sized at once: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 3));
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES as u64 + 3).read_to_end(&mut text).map_err(unreadable)?;
    sole_line(&text, from)
}

fn sole_line(text: &[u8], from: &str) -> Result<Secret<Vec<u8>>, Error> {
    let line = text.strip_suffix(b"\n").unwrap_or(text);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > MAX_BYTES || line.contains(&b'\n') {
        return Err(Error::Long { from: from.to_owned() });
    }
    if line.is_empty() {
        return Err(Error::Empty { from: from.to_owned() });
    }
    Ok(Secret::new(line.to_vec()))
}

fn from_terminal(prompt: &str) -> Result<Secret<Vec<u8>>, Error> {
    const FROM: &str = "the terminal";
    let failed = |source| Error::Unreadable { from: FROM.to_owned(), source };
    if !io::stdin().is_terminal() {
        return Err(Error::NoTerminal);
    }
    let mut terminal =
        OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_| Error::NoTerminal)?;
    let before = tcgetattr(&terminal).map_err(|error| failed(error.into()))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    terminal.write_all(prompt.as_bytes()).map_err(failed)?;
    tcsetattr(&terminal, OptionalActions::Flush, &silent).map_err(|error| failed(error.into()))?;
    let line = typed(&mut terminal);
    let restored = tcsetattr(&terminal, OptionalActions::Flush, &before);
    terminal.write_all(b"\n").map_err(failed)?;
    restored.map_err(|error| failed(error.into()))?;
    sole_line(&line.map_err(failed)?, FROM)
}

/// One line, as the terminal hands it over.
fn typed(terminal: &mut File) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 3));
    let mut byte = Zeroizing::new([0_u8; 1]);
    while line.len() < MAX_BYTES + 3 && terminal.read(&mut *byte)? == 1 {
        line.extend_from_slice(&*byte);
        if line.ends_with(b"\n") {
            break;
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::files;

    fn from_file(content: &[u8], mode: u32) -> Result<Vec<u8>, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        files::write_new(&path, content, mode).unwrap();
        Source::File(path).read("of a test").map(|secret| secret.expose().clone())
    }

    #[test]
    fn a_file_gives_its_one_line_without_its_end() {
        for content in [&b"correct horse"[..], b"correct horse\n", b"correct horse\r\n"] {
            assert_eq!(from_file(content, 0o400).unwrap(), b"correct horse");
        }
        assert_eq!(from_file(&[b'x'; MAX_BYTES], 0o440).unwrap().len(), MAX_BYTES);
    }

    #[test]
    fn what_is_empty_long_or_open_to_everybody_is_refused() {
        assert!(matches!(from_file(b"", 0o400), Err(Error::Empty { .. })));
        assert!(matches!(from_file(b"\n", 0o400), Err(Error::Empty { .. })));
        assert!(matches!(from_file(b"one\ntwo\n", 0o400), Err(Error::Long { .. })));
        assert!(matches!(from_file(&[b'x'; MAX_BYTES + 1], 0o400), Err(Error::Long { .. })));
        assert!(matches!(from_file(b"correct horse", 0o444), Err(Error::Exposed { .. })));
    }

    #[test]
    fn a_descriptor_that_nobody_opened_is_named() {
        let refused = Source::Descriptor(987_654).read("of a test").map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("descriptor 987654"), "{refused}");
    }
}
