//! Decides how a backup becomes one encrypted file and comes out of it again:
//! a tar stream in the `age` format, opened by a passphrase. What comes out is
//! believed only once the whole of it has proved whole.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::iter;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use age::{DecryptError, scrypt};

use crate::base::clock::Clock;
use crate::base::files::{self, Replacement};
use crate::base::secret::Secret;
use crate::store::{checkpoint, db};

use super::backup::{RestoreReport, restore_with};

/// How every file of the format begins.
const BEGINNING: &[u8] = b"age-encryption.org/v1\n";
/// Work of the key's derivation, as a power of two: 256 MiB and about a second.
const WORK: u8 = 18;
/// Most work that a file may ask for: 1 GiB.
const MAX_WORK: u8 = 20;
/// Most files that a backup has.
const MAX_FILES: usize = 100_000;
/// Longest name of a file in it, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// Most bytes of the mark, and of what follows the last file.
const MAX_SMALL_BYTES: u64 = 64 * 1024;
/// Bytes that are copied at once.
const BUFFER: usize = 128 * 1024;

/// Why there is no encrypted backup, or nothing came out of one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was never a backup, or not an encrypted one.
    #[error("{} is no encrypted backup of a hub: {problem}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What tells so.
        problem: String,
    },
    /// Another passphrase was used.
    #[error("the passphrase does not open {}; is it that of this backup?", path.display())]
    Passphrase {
        /// The file.
        path: PathBuf,
    },
    /// The passphrase is no text.
    #[error("the passphrase of a backup must be UTF-8 text")]
    NotText,
    /// It was changed, or cut off.
    #[error("{} is damaged ({problem}); use another copy of it, or another backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// It was to end.
    #[error("interrupted; nothing was made")]
    Interrupted,
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the file system answered.
        source: io::Error,
    },
    /// The store that came out of it, or is to go into it.
    #[error(transparent)]
    Store(#[from] db::Error),
}

/// Told the bytes done so far; says whether to go on.
pub type Progress<'a> = &'a mut dyn FnMut(u64) -> ControlFlow<()>;

/// Whether `path` is a file that begins as encrypted backups do.
///
/// # Errors
/// Whatever the file system answers.
pub fn is_encrypted(path: &Path) -> io::Result<bool> {
    if !fs::metadata(path)?.is_file() {
        return Ok(false);
    }
    let mut beginning = Vec::with_capacity(BEGINNING.len());
    File::open(path)?.take(BEGINNING.len() as u64).read_to_end(&mut beginning)?;
    Ok(beginning == BEGINNING)
}

/// Puts the backup in the directory `from` into the new file `to`, mode 0600,
/// encrypted with `passphrase`; its size. It is there whole or not at all.
/// Blocking.
///
/// # Errors
/// [`Error`].
pub fn seal(
    from: &Path,
    to: &Path,
    passphrase: &Secret<Vec<u8>>,
    progress: Progress<'_>,
) -> Result<u64, Error> {
    let failed = |source| Error::File { path: to.to_owned(), source };
    let names = names(from)?;
    let mut recipient = scrypt::Recipient::new(text(passphrase)?);
    recipient.set_work_factor(WORK);
    let encryptor = age::Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient))
        .map_err(|error| failed(io::Error::other(error)))?;
    let file = Replacement::of(to, 0o600).map_err(failed)?;
    let sealed = encryptor.wrap_output(file).map_err(failed)?;
    let mut archive = tar::Builder::new(sealed);
    let mut done = 0;
    for name in names {
        let path = from.join(&name);
        let unread = |source| Error::File { path: path.clone(), source };
        let mut file = File::open(&path).map_err(unread)?;
        let length = file.metadata().map_err(unread)?.len();
        archive.get_mut().write_all(header(&name, length).map_err(failed)?.as_bytes()).map_err(failed)?;
        // No more than was said; that it was no less is looked at.
        let copied = copy(&mut (&mut file).take(length), archive.get_mut(), &mut done, progress);
        match copied {
            Ok(copied) if copied == length => {}
            Ok(_) => return Err(unread(io::Error::other("it became shorter while it was read"))),
            Err(Copy::Read(source)) => return Err(unread(source)),
            Err(Copy::Write(source)) => return Err(failed(source)),
            Err(Copy::Interrupted) => return Err(Error::Interrupted),
        }
        archive.get_mut().write_all(padding(length)).map_err(failed)?;
    }
    let sealed = archive.into_inner().map_err(failed)?;
    sealed.finish().and_then(Replacement::publish_new).map_err(failed)?;
    Ok(fs::metadata(to).map_err(failed)?.len())
}

/// Makes a hub in `to`, a new or empty directory, from the encrypted backup
/// `from`, as [`super::restore`] does from a directory. Blocking.
///
/// # Errors
/// [`Error`]; nothing is left in `to` or beside it then.
pub fn restore_sealed(
    from: &Path,
    to: &Path,
    passphrase: &Secret<Vec<u8>>,
    clock: &dyn Clock,
    progress: Progress<'_>,
) -> Result<RestoreReport, Error> {
    restore_with(to, clock, |copy| open(from, copy, passphrase, progress))
}

/// Takes the files of the encrypted backup `from` out into the directory
/// `into`, where the mark of a backup lies already.
fn open(from: &Path, into: &Path, passphrase: &Secret<Vec<u8>>, progress: Progress<'_>) -> Result<(), Error> {
    let foreign = |problem: &str| Error::Foreign { path: from.to_owned(), problem: problem.to_owned() };
    let mut plain = decrypted(from, passphrase)?;
    let (mut names, mut done) = (HashSet::new(), 0);
    let mut archive = tar::Archive::new(&mut plain);
    // Raw: nothing of a header is followed but name, kind and length.
    for entry in archive.entries().map_err(|error| unreadable(from, error))?.raw(true) {
        let mut entry = entry.map_err(|error| unreadable(from, error))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !entry.header().entry_type().is_file() || !is_plain(&name) {
            return Err(foreign("it holds more than plain files"));
        }
        if names.is_empty() && name != checkpoint::MARK {
            return Err(foreign("it does not begin as one"));
        }
        if names.len() >= MAX_FILES || !names.insert(name.clone()) {
            return Err(foreign("it holds too many files, or one twice"));
        }
        let length = entry.size();
        let path = into.join(&name);
        let unwritten = |source| Error::File { path: path.clone(), source };
        let copied = if name == checkpoint::MARK {
            if length > MAX_SMALL_BYTES {
                return Err(foreign("it does not begin as one"));
            }
            copy(&mut entry, &mut io::sink(), &mut done, progress)
        } else {
            let mut file = files::create_new(&path, 0o600).map_err(unwritten)?;
            copy(&mut entry, &mut file, &mut done, progress)
        };
        match copied {
            Ok(copied) if copied == length => {}
            Ok(_) => return Err(unreadable(from, io::ErrorKind::UnexpectedEof.into())),
            Err(Copy::Read(source)) => return Err(unreadable(from, source)),
            Err(Copy::Write(source)) => return Err(unwritten(source)),
            Err(Copy::Interrupted) => return Err(Error::Interrupted),
        }
    }
    // Only at its very end does the file prove that nothing is missing.
    let mut rest = Vec::new();
    plain.take(MAX_SMALL_BYTES).read_to_end(&mut rest).map_err(|error| unreadable(from, error))?;
    if rest.len() as u64 == MAX_SMALL_BYTES || rest.iter().any(|&byte| byte != 0) {
        return Err(foreign("something follows its last file"));
    }
    if !names.contains("CURRENT") {
        return Err(foreign("it holds no store"));
    }
    Ok(())
}

/// What is in an encrypted file; reading it fails where it was changed.
fn decrypted(from: &Path, passphrase: &Secret<Vec<u8>>) -> Result<impl Read + use<>, Error> {
    let foreign = |problem: &str| Error::Foreign { path: from.to_owned(), problem: problem.to_owned() };
    let failed = |source| Error::File { path: from.to_owned(), source };
    if !is_encrypted(from).map_err(failed)? {
        return Err(foreign("it begins another way"));
    }
    let file = File::open(from).map_err(failed)?;
    let mut identity = scrypt::Identity::new(text(passphrase)?);
    identity.set_max_work_factor(MAX_WORK);
    let told = |error| match error {
        DecryptError::DecryptionFailed => Error::Passphrase { path: from.to_owned() },
        DecryptError::Io(source) => unreadable(from, source),
        DecryptError::InvalidMac => unreadable(from, io::Error::other("its header was changed")),
        DecryptError::ExcessiveWork { .. } => foreign("it asks for more work than any does"),
        DecryptError::NoMatchingKeys => foreign("it is not encrypted with a passphrase"),
        _ => foreign("its header is not one of age"),
    };
    let decryptor = age::Decryptor::new_buffered(BufReader::with_capacity(BUFFER, file)).map_err(told)?;
    if !decryptor.is_scrypt() {
        return Err(foreign("it is not encrypted with a passphrase"));
    }
    decryptor.decrypt(iter::once(&identity as &dyn age::Identity)).map_err(told)
}

fn unreadable(path: &Path, source: io::Error) -> Error {
    let path = path.to_owned();
    if source.raw_os_error().is_some() {
        return Error::File { path, source };
    }
    let problem = match source.kind() {
        io::ErrorKind::UnexpectedEof => "its end is missing".to_owned(),
        io::ErrorKind::InvalidData => "it was changed".to_owned(),
        _ => source.to_string(),
    };
    Error::Damaged { path, problem }
}

fn text(passphrase: &Secret<Vec<u8>>) -> Result<SecretString, Error> {
    str::from_utf8(passphrase.expose()).map(SecretString::from).map_err(|_| Error::NotText)
}

/// Names of the files of a backup; that of the mark first.
fn names(from: &Path) -> Result<Vec<String>, Error> {
    let failed = |source| Error::File { path: from.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_file() {
            let name = entry.file_name().into_string().unwrap_or_default();
            if !is_plain(&name) || names.len() >= MAX_FILES {
                return Err(failed(io::Error::other("it holds files that no backup has")));
            }
            names.push(name);
        }
    }
    names.sort_by_key(|name| (name != checkpoint::MARK, name.clone()));
    if names.first().is_none_or(|name| name != checkpoint::MARK) {
        return Err(failed(io::Error::other("it is no backup")));
    }
    Ok(names)
}

/// Whether a name is one of a file in this very directory.
fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.starts_with('.') && (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(allowed)
}

fn header(name: &str, length: u64) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_path(name)?;
    header.set_size(length);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}

/// What fills the last block of a file of this length.
fn padding(length: u64) -> &'static [u8] {
    static ZEROS: [u8; 512] = [0; 512];
    let over = usize::try_from(length % 512).unwrap_or_default();
    ZEROS.get(..(512 - over) % 512).unwrap_or_default()
}

/// Why something was not copied.
enum Copy {
    Read(io::Error),
    Write(io::Error),
    Interrupted,
}

fn copy(
    from: &mut impl Read,
    to: &mut impl Write,
    done: &mut u64,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<u64, Copy> {
    let mut buffer = vec![0; BUFFER];
    let mut copied = 0;
    loop {
        if progress(*done).is_break() {
            return Err(Copy::Interrupted);
        }
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Copy::Read(error)),
        };
        to.write_all(buffer.get(..read).unwrap_or_default()).map_err(Copy::Write)?;
        copied += read as u64;
        *done += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn passphrase() -> Secret<Vec<u8>> {
        Secret::new(b"six zebras".to_vec())
    }

    /// An encrypted file that costs a reader nothing.
    fn encrypted(path: &Path, plain: &[u8]) {
        let mut recipient = scrypt::Recipient::new(text(&passphrase()).unwrap());
        recipient.set_work_factor(1);
        let encryptor =
            age::Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient)).unwrap();
        let mut sealed = encryptor.wrap_output(Vec::new()).unwrap();
        sealed.write_all(plain).unwrap();
        fs::write(path, sealed.finish().unwrap()).unwrap();
    }

    /// A file in an archive, under any name whatever.
    fn file(name: &[u8], kind: tar::EntryType, content: &[u8]) -> Vec<u8> {
        let mut header = header("name", content.len() as u64).unwrap();
        header.set_entry_type(kind);
        header.as_old_mut().name = [0; 100];
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        if kind.is_symlink() || kind.is_hard_link() {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        [header.as_bytes(), content, padding(content.len() as u64)].concat()
    }

    fn plain(name: &[u8]) -> Vec<u8> {
        file(name, tar::EntryType::Regular, b"content")
    }

    fn opened(archive: &[Vec<u8>], end: &[u8]) -> (Result<(), Error>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let (from, into) = (dir.path().join("from"), dir.path().join("into"));
        fs::create_dir(&into).unwrap();
        encrypted(&from, &[&archive.concat(), end].concat());
        let opened = open(&from, &into, &passphrase(), &mut |_| ControlFlow::Continue(()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is made outside");
        let mut names: Vec<_> =
            fs::read_dir(into).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        (opened, names)
    }

    #[test]
    fn only_plain_files_of_one_directory_come_out() {
        let (mark, current, end) = (plain(b"BACKUP"), plain(b"CURRENT"), [0; 1024]);
        let (good, names) = opened(&[mark.clone(), current.clone(), plain(b"000007.sst")], &end);
        good.unwrap();
        assert_eq!(names, ["000007.sst", "CURRENT"]);
        for name in [
            &b"../out"[..],
            b"/tmp/out",
            b"a/b",
            b"..",
            b".",
            b"",
            b".hidden",
            b"a\nb",
            b"CURRENT",
            &[b'x'; 65],
        ] {
            let (refused, _) = opened(&[mark.clone(), current.clone(), plain(name)], &end);
            assert!(matches!(refused, Err(Error::Foreign { .. })), "{:?}", String::from_utf8_lossy(name));
        }
        use tar::EntryType as Kind;
        for kind in [
            Kind::Symlink,
            Kind::Link,
            Kind::Directory,
            Kind::Fifo,
            Kind::Char,
            Kind::GNULongName,
            Kind::XHeader,
            Kind::GNUSparse,
        ] {
            let (refused, names) = opened(&[mark.clone(), current.clone(), file(b"link", kind, b"")], &end);
            assert!(matches!(refused, Err(Error::Foreign { .. })), "{kind:?}");
            assert_eq!(names, ["CURRENT"]);
        }
    }

    #[test]
    fn an_archive_of_something_else_is_told_from_a_backup() {
        let (mark, current, end) = (plain(b"BACKUP"), plain(b"CURRENT"), [0; 1024]);
        for (archive, end) in [
            (vec![current.clone()], &end[..]),
            (vec![mark.clone()], &end),
            (vec![], &end),
            (vec![mark.clone(), current.clone()], &[&end[..], b"more"].concat()),
            (vec![mark.clone(), current.clone()], &[0; 70_000]),
            (vec![file(b"BACKUP", tar::EntryType::Regular, &[0; 70_000]), current.clone()], &end),
        ] {
            let (refused, _) = opened(&archive, end);
            assert!(matches!(refused, Err(Error::Foreign { .. })), "{refused:?}");
        }
        let cut = &current[..600];
        let (refused, _) = opened(&[mark, cut.to_vec()], &[]);
        assert!(matches!(refused, Err(Error::Damaged { .. })), "{refused:?}");
    }

    #[test]
    fn what_is_interrupted_or_no_backup_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to.age"));
        fs::create_dir(&from).unwrap();
        let sealed = |go_on: ControlFlow<()>| seal(&from, &to, &passphrase(), &mut |_| go_on);
        assert!(matches!(sealed(ControlFlow::Continue(())), Err(Error::File { .. })));
        checkpoint::mark(&from).unwrap();
        assert!(matches!(sealed(ControlFlow::Break(())), Err(Error::Interrupted)));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        symlink("/etc/passwd", from.join("link")).unwrap();
        sealed(ControlFlow::Continue(())).unwrap();
        assert!(is_encrypted(&to).unwrap());
        let into = dir.path().join("into");
        fs::create_dir(&into).unwrap();
        let interrupted = open(&to, &into, &passphrase(), &mut |_| ControlFlow::Break(()));
        assert!(matches!(interrupted, Err(Error::Interrupted)));
        assert!(matches!(sealed(ControlFlow::Continue(())), Err(Error::File { .. })), "it replaces nothing");
    }
}
