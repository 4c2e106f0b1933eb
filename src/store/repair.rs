//! Decides what of a damaged write-ahead log may be cut off: bytes at its very
//! end after which no valid record follows. Nothing acknowledged is among
//! them, as an acknowledgement waits for the record's sync.
//!
//! The file is a row of 32 KiB blocks of records: masked CRC-32C u32, length
//! u16, type u8 (all little-endian), payload; types 5 to 8 carry the file's
//! number as well (RocksDB, "Write Ahead Log File Format").

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use super::db::Error;

const BLOCK_BYTES: usize = 32 * 1024;
const HEADER_BYTES: usize = 7;
const MASK_DELTA: u32 = 0xa282_ead8;

/// Damage in a write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where its valid records end.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
    /// Where a valid record follows the damage, if one does.
    pub valid_after: Option<u64>,
}

/// Damage in the write-ahead logs under `directory`, the oldest first; `None`
/// if their records are whole to the end, or if they cannot be read. In any
/// log but the newest, what follows is the next log.
#[must_use]
pub fn damaged_wal(directory: &Path) -> Option<Damage> {
    let logs = logs(directory)?;
    let newest = logs.last()?.clone();
    logs.into_iter().find_map(|path| {
        let bytes = fs::read(&path).ok()?;
        let offset = valid_prefix(&bytes);
        let length = bytes.len();
        let follows = if path == newest { valid_record_after(&bytes, offset) } else { Some(length) };
        (offset < length).then(|| Damage {
            path,
            offset: offset as u64,
            length: length as u64,
            valid_after: follows.map(|at| at as u64),
        })
    })
}

/// Cuts the damaged end off the newest write-ahead log, after keeping a copy
/// of the whole file beside it with the ending `.damaged`.
///
/// # Errors
/// [`Error::Corrupt`] where a valid record follows the damage: then
/// acknowledged data is at stake, and only a backup helps.
pub fn cut_tail(directory: &Path) -> Result<Option<Damage>, Error> {
    let Some(damage) = damaged_wal(directory) else { return Ok(None) };
    if let Some(after) = damage.valid_after {
        return Err(Error::Corrupt {
            what: "write-ahead log",
            at: format!(
                "{} byte {}; valid records follow at byte {after}, so this is not a tail",
                damage.path.display(),
                damage.offset
            ),
        });
    }
    let file_error = |source| Error::File { path: damage.path.clone(), source };
    let mut kept = damage.path.clone().into_os_string();
    kept.push(".damaged");
    fs::copy(&damage.path, PathBuf::from(kept)).map_err(file_error)?;
    let file = OpenOptions::new().write(true).open(&damage.path).map_err(file_error)?;
    file.set_len(damage.offset).map_err(file_error)?;
    file.sync_all().map_err(file_error)?;
    Ok(Some(damage))
}

/// The logs that hold anything, oldest first.
fn logs(directory: &Path) -> Option<Vec<PathBuf>> {
    let number = |path: &PathBuf| -> Option<u64> {
        (path.extension()? == "log").then(|| path.file_stem()?.to_str()?.parse().ok())?
    };
    let mut logs: Vec<_> = fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| number(path).is_some() && fs::metadata(path).is_ok_and(|m| m.len() > 0))
        .collect();
    logs.sort_by_key(number);
    Some(logs)
}

/// Length of the valid records at the beginning.
fn valid_prefix(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < bytes.len() {
        let left_in_block = BLOCK_BYTES - at % BLOCK_BYTES;
        if left_in_block < HEADER_BYTES {
            // The trailer of a block is filled with zeros.
            let trailer = bytes.get(at..(at + left_in_block).min(bytes.len())).unwrap_or_default();
            if trailer.iter().any(|&byte| byte != 0) {
                return at;
            }
            at += trailer.len();
            continue;
        }
        match record_len(bytes, at) {
            Some(length) => at += length,
            None => return at,
        }
    }
    at
}

/// Length of the valid record at `at`, header included.
fn record_len(bytes: &[u8], at: usize) -> Option<usize> {
    let left_in_block = BLOCK_BYTES - at % BLOCK_BYTES;
    let block = bytes.get(at..(at + left_in_block).min(bytes.len()))?;
    let (crc, rest) = block.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_le_bytes(*length));
    let &kind = rest.first()?;
    let recyclable = match kind {
        1..=4 | 9 | 10 => 0,
        5..=8 | 11 => 4,
        _ => return None,
    };
    let covered = rest.get(..1 + recyclable + length)?;
    let masked = u32::from_le_bytes(*crc);
    (unmask(masked) == crc32c::crc32c(covered)).then_some(HEADER_BYTES + recyclable + length)
}

const fn unmask(masked: u32) -> u32 {
    masked.wrapping_sub(MASK_DELTA).rotate_left(15)
}

/// Where a valid record stands past `from`, at whatever offset.
fn valid_record_after(bytes: &[u8], from: usize) -> Option<usize> {
    (from + 1..bytes.len()).find(|&at| record_len(bytes, at).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(payload: &[u8]) -> Vec<u8> {
        let covered = [&[1], payload].concat();
        let masked = crc32c::crc32c(&covered).rotate_right(15).wrapping_add(MASK_DELTA);
        let length = u16::try_from(payload.len()).unwrap();
        [masked.to_le_bytes().as_slice(), &length.to_le_bytes(), &covered].concat()
    }

    fn directory(wal: &[u8]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("000007.log"), wal).unwrap();
        dir
    }

    #[test]
    fn whole_records_are_no_damage() {
        let dir = directory(&[record(b"one"), record(b"two")].concat());
        assert_eq!(damaged_wal(dir.path()), None);
        assert_eq!(cut_tail(dir.path()).unwrap(), None);
    }

    #[test]
    fn garbage_at_the_end_is_cut_and_the_whole_file_kept_beside_it() {
        let whole = record(b"acknowledged");
        let dir = directory(&[whole.clone(), vec![0xee; 500]].concat());
        let damage = cut_tail(dir.path()).unwrap().unwrap();
        assert_eq!(damage.offset, whole.len() as u64);
        assert_eq!(fs::read(dir.path().join("000007.log")).unwrap(), whole);
        assert_eq!(fs::read(dir.path().join("000007.log.damaged")).unwrap().len(), whole.len() + 500);
        assert_eq!(damaged_wal(dir.path()), None);
    }

    #[test]
    fn damage_in_a_log_that_another_follows_is_never_cut() {
        let dir = directory(&[record(b"one"), vec![0xee; 9]].concat());
        fs::write(dir.path().join("000009.log"), record(b"two")).unwrap();
        assert!(matches!(cut_tail(dir.path()), Err(Error::Corrupt { .. })));
        assert_eq!(damaged_wal(dir.path()).unwrap().path, dir.path().join("000007.log"));
    }

    #[test]
    fn damage_that_valid_records_follow_is_never_cut() {
        let mut wal = [record(b"one"), record(b"two"), record(b"three")].concat();
        wal[9] ^= 1;
        let dir = directory(&wal);
        assert!(matches!(cut_tail(dir.path()), Err(Error::Corrupt { .. })));
        assert_eq!(fs::read(dir.path().join("000007.log")).unwrap(), wal);
    }
}
