//! Decides how what a mirror holds lies on disk: one file of checksummed
//! frames, a snapshot first and then every change, cut where it is torn.
//!
//! Each frame leaves the mirror as it was after some delivery. Whatever is cut
//! off the end, by a kill or by a bad sector, therefore costs nothing but time:
//! the hub tells it again from the token that is left.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::base::files::Replacement;

/// Bytes before each frame: length and checksum.
const HEAD: usize = 8;
/// Longest frame: twice the longest message that the client takes.
const MAX_FRAME: usize = 64 * 1024 * 1024;
/// What the file begins with.
const MAGIC: &[u8; 8] = b"luytrem1";

/// The file, open for what comes.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// A write failed: what lies behind it could not be found again.
    broken: bool,
}

impl Journal {
    /// Opens the file and hands every whole frame in it to `take`; what follows
    /// the last of them, or the first that `take` refuses, is cut off.
    pub(super) fn open(path: &Path, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(0o600);
        let file = options.open(path)?;
        let size = file.metadata()?.len();
        let mut reader = BufReader::with_capacity(256 * 1024, &file);
        let mut whole = 0;
        if magic(&mut reader, size)? {
            whole = MAGIC.len() as u64;
            while let Some(frame) = frame(&mut reader)? {
                if !take(&frame) {
                    break;
                }
                whole += (HEAD + frame.len()) as u64;
            }
        }
        if whole < size {
            tracing::warn!(
                file = %path.display(),
                cut = size - whole,
                "the end of the file was not whole and is cut off; the hub tells it again"
            );
            file.set_len(whole)?;
            file.sync_all()?;
        }
        let mut journal = Self { path: path.to_owned(), file, bytes: whole, broken: false };
        if whole == 0 {
            journal.put(MAGIC)?;
        }
        Ok(journal)
    }

    /// Adds a frame, on disk for good when this returns.
    pub(super) fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(HEAD + frame.len());
        write_frame(&mut bytes, frame)?;
        self.put(&bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write failed; start again"));
        }
        self.broken = true;
        self.file.write_all(bytes)?;
        self.file.sync_data()?;
        self.broken = false;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Whether a snapshot, of about so many bytes, would be much shorter than
    /// what is there.
    pub(super) const fn is_long(&self, snapshot: u64) -> bool {
        const LEAST: u64 = 4 * 1024 * 1024;
        self.bytes > snapshot.saturating_mul(2).saturating_add(LEAST)
    }

    /// Puts a snapshot in the place of all that is there.
    pub(super) fn replace(&mut self, frames: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
        let mut new = Replacement::of(&self.path, 0o600)?;
        new.write_all(MAGIC)?;
        let mut bytes = MAGIC.len() as u64;
        for frame in frames {
            write_frame(&mut new, &frame)?;
            bytes += (HEAD + frame.len()) as u64;
        }
        new.publish()?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        (self.bytes, self.broken) = (bytes, false);
        Ok(())
    }
}

fn write_frame(out: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len())
        .ok()
        .filter(|_| (1..=MAX_FRAME).contains(&frame.len()))
        .ok_or_else(|| io::Error::other("a change is too long to be kept"))?
        .to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&checksum(length, frame).to_le_bytes())?;
    out.write_all(frame)
}

fn checksum(length: [u8; 4], frame: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), frame)
}

/// Whether the file begins as it must; not if it is empty or torn right there.
fn magic(from: &mut impl Read, size: u64) -> io::Result<bool> {
    let mut found = Vec::new();
    from.take(MAGIC.len() as u64).read_to_end(&mut found)?;
    if !MAGIC.starts_with(&found) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("its {size} bytes are not of this release; remove it to start afresh"),
        ));
    }
    Ok(found.len() == MAGIC.len())
}

/// The next frame; `None` where none is whole.
fn frame(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let (mut length, mut sum) = ([0; 4], [0; 4]);
    if !(fill(from, &mut length)? && fill(from, &mut sum)?) {
        return Ok(None);
    }
    let Ok(bytes) = usize::try_from(u32::from_le_bytes(length)) else { return Ok(None) };
    if !(1..=MAX_FRAME).contains(&bytes) {
        return Ok(None);
    }
    // As much as is there, not as much as a damaged length promises.
    let mut frame = Vec::new();
    from.take(bytes as u64).read_to_end(&mut frame)?;
    let whole = frame.len() == bytes && checksum(length, &frame) == u32::from_le_bytes(sum);
    Ok(whole.then_some(frame))
}

/// Fills `into`; `false` where the input ends before.
fn fill(from: &mut impl Read, into: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> (Journal, Vec<Vec<u8>>) {
        let mut frames = Vec::new();
        let journal = Journal::open(path, |frame| {
            frames.push(frame.to_vec());
            true
        });
        (journal.unwrap(), frames)
    }

    fn written(path: &Path, frames: &[&[u8]]) {
        let (mut journal, _) = open(path);
        for frame in frames {
            journal.append(frame).unwrap();
        }
    }

    #[test]
    fn a_tail_torn_at_any_byte_costs_the_last_frame_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        written(&path, &[b"one", b"two", b"three"]);
        let whole = std::fs::read(&path).unwrap();
        let before = whole.len() - HEAD - 5;
        for length in before..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let (mut journal, frames) = open(&path);
            assert_eq!(frames, [&b"one"[..], b"two"], "{length}");
            journal.append(b"four").unwrap();
            assert_eq!(open(&path).1, [&b"one"[..], b"two", b"four"], "{length}");
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_file_before_its_frame() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        written(&path, &[b"one", b"two", b"three"]);
        let whole = std::fs::read(&path).unwrap();
        let second = MAGIC.len() + HEAD + 3;
        for at in second..second + HEAD + 3 {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                std::fs::write(&path, &damaged).unwrap();
                let (_, frames) = open(&path);
                assert_eq!(frames, [b"one"], "byte {at}, bit {bit}");
                assert_eq!(std::fs::metadata(&path).unwrap().len(), second as u64);
            }
        }
    }

    #[test]
    fn a_tail_of_zeroes_holds_no_frame() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        written(&path, &[b"one"]);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend([0; 4096]);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(open(&path).1, [b"one"]);
    }

    #[test]
    fn a_snapshot_takes_the_place_of_all_and_what_follows_is_added_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        written(&path, &[b"one", b"two"]);
        let (mut journal, _) = open(&path);
        journal.replace([b"both".to_vec()].into_iter()).unwrap();
        journal.append(b"three").unwrap();
        assert_eq!(open(&path).1, [&b"both"[..], b"three"]);
        assert!(!crate::base::files::is_open_to_others(&path).unwrap());
    }

    #[test]
    fn a_file_of_another_kind_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, "198.51.100.7\n").unwrap();
        assert!(Journal::open(&path, |_| true).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"198.51.100.7\n");
    }

    #[test]
    fn a_frame_that_is_not_understood_ends_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        written(&path, &[b"one", b"two", b"three"]);
        drop(Journal::open(&path, |frame| frame != b"two").unwrap());
        assert_eq!(open(&path).1, [b"one"]);
    }
}
