//! Decides how what was signed is written down: one line for each signature,
//! on disk before the signature leaves, and never changed again.
//!
//! A line is the CRC-32C of its content in hexadecimal, a space, and the
//! content: a record in JSON. What a crash leaves of a line was never
//! answered; it is cut off. Any other damage ends the reading, because a
//! signer that forgets would sign a serial number twice.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::frames::{MAX_LIST_BYTES, RecordFrame};
use crate::base::clock::Timestamp;
use crate::base::files;
use crate::pki::signing::{Record, Signed};

/// Most records of one page.
const PAGE_RECORDS: usize = 1_000;
/// Length of the lines at which a page ends.
const PAGE_BYTES: usize = 8 << 20;
/// Longest line: a record of a list that fills its request.
const MAX_LINE_BYTES: u64 = MAX_LIST_BYTES as u64;

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The file system refused.
    #[error("the journal {}: {source}", path.display())]
    File {
        /// The journal.
        path: PathBuf,
        /// What it answered.
        source: io::Error,
    },
    /// What was written once cannot be read.
    #[error(
        "the journal {} is damaged at record {number}, byte {offset}; restore it from a copy, and never start it empty: serial numbers and list numbers would be given twice",
        path.display()
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The record that should stand there.
        number: u64,
        /// Where the line begins.
        offset: u64,
    },
    /// A record was lost on its way to the disk.
    #[error("the journal {} could not be written; see the disk, then start the signer again", path.display())]
    Broken {
        /// The journal.
        path: PathBuf,
    },
}

/// The journal of a signer, open for adding.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
    /// Number of the last record.
    last: u64,
    /// Where the next line begins.
    end: u64,
    /// Where the lines of records 1, 1,001, 2,001 … begin.
    pages: Vec<u64>,
    /// After a failed write nobody knows what is on disk.
    broken: bool,
}

/// How reading one line ended.
enum Line {
    Whole {
        record: Record,
        length: u64,
    },
    /// Cut short by a crash.
    Torn,
    Damaged,
    End,
}

impl Journal {
    /// Opens the journal at `path`, made where there is none, and shows every
    /// record of it to `each`. A torn tail is cut off.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Damaged`].
    pub(super) fn open(path: &Path, mut each: impl FnMut(&Record)) -> Result<Self, Error> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let file = files::open_journal(path, 0o600).map_err(failed)?;
        let mut journal =
            Self { file, path: path.to_owned(), last: 0, end: 0, pages: Vec::new(), broken: false };
        let mut reader = BufReader::new(journal.file.try_clone().map_err(failed)?);
        loop {
            match read_line(&mut reader).map_err(failed)? {
                Line::Whole { record, length } if record.number == journal.last + 1 => {
                    journal.note(length);
                    each(&record);
                }
                Line::Torn => {
                    tracing::warn!(
                        path = %path.display(),
                        after_record = journal.last,
                        "the journal's last line was torn by a crash and is cut off; it was never answered"
                    );
                    journal.file.set_len(journal.end).map_err(failed)?;
                    journal.file.sync_all().map_err(failed)?;
                    break;
                }
                Line::Whole { .. } | Line::Damaged => return Err(journal.damaged(journal.last, journal.end)),
                Line::End => break,
            }
        }
        Ok(journal)
    }

    /// Number of the last record; 0 if there is none.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// Writes down what was signed. It is on disk when this returns.
    ///
    /// # Errors
    /// [`Error::Broken`], from then on for every record.
    pub(super) fn append(&mut self, time: Timestamp, signed: Signed) -> Result<Record, Error> {
        let broken = || Error::Broken { path: self.path.clone() };
        if self.broken {
            return Err(broken());
        }
        let record = Record { number: self.last + 1, time, signed };
        let line = encode(&record).ok_or_else(broken)?;
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            tracing::error!(path = %self.path.display(), %error, "the journal cannot be written; nothing more is signed");
            self.broken = true;
            return Err(Error::Broken { path: self.path.clone() });
        }
        self.note(line.len() as u64);
        Ok(record)
    }

    /// The records after number `after`, oldest first, a page of them.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Damaged`].
    pub(super) fn after(&self, after: u64) -> Result<Vec<Record>, Error> {
        let failed = |source| Error::File { path: self.path.clone(), source };
        let page = usize::try_from(after).map_or(usize::MAX, |after| after / PAGE_RECORDS);
        let Some(&start) = self.pages.get(page).filter(|_| after < self.last) else { return Ok(Vec::new()) };
        let mut file = File::open(&self.path).map_err(failed)?;
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
        let mut reader = BufReader::new(file.take(self.end - start));
        let (mut records, mut offset, mut bytes) = (Vec::new(), start, 0);
        while records.len() < PAGE_RECORDS && bytes < PAGE_BYTES as u64 {
            match read_line(&mut reader).map_err(failed)? {
                Line::Whole { record, length } => {
                    offset += length;
                    if record.number > after {
                        bytes += length;
                        records.push(record);
                    }
                }
                Line::End => break,
                Line::Torn | Line::Damaged => {
                    return Err(self.damaged(after + records.len() as u64, offset));
                }
            }
        }
        Ok(records)
    }

    fn note(&mut self, length: u64) {
        if self.last.is_multiple_of(PAGE_RECORDS as u64) {
            self.pages.push(self.end);
        }
        self.last += 1;
        self.end += length;
    }

    fn damaged(&self, last: u64, offset: u64) -> Error {
        Error::Damaged { path: self.path.clone(), number: last + 1, offset }
    }
}

fn encode(record: &Record) -> Option<Vec<u8>> {
    let content = serde_json::to_vec(&RecordFrame::from(record)).ok()?;
    let mut line = format!("{:08x} ", crc32c::crc32c(&content)).into_bytes();
    line.extend(content);
    line.push(b'\n');
    (line.len() as u64 <= MAX_LINE_BYTES).then_some(line)
}

fn read_line(reader: &mut impl io::BufRead) -> io::Result<Line> {
    let mut line = Vec::new();
    let length = reader.take(MAX_LINE_BYTES).read_until(b'\n', &mut line)? as u64;
    if length == 0 {
        return Ok(Line::End);
    }
    let at_end = reader.fill_buf()?.is_empty();
    match decode(&line) {
        Some(record) => Ok(Line::Whole { record, length }),
        // A crash leaves a line without its end, or with holes of zeros where
        // the disk was not reached; a line that is neither was whole once.
        None if at_end && (!line.ends_with(b"\n") || line.contains(&0)) => Ok(Line::Torn),
        None => Ok(Line::Damaged),
    }
}

fn decode(line: &[u8]) -> Option<Record> {
    let (sum, content) = line.strip_suffix(b"\n")?.split_at_checked(9)?;
    let sum = std::str::from_utf8(sum.strip_suffix(b" ")?).ok()?;
    if u32::from_str_radix(sum, 16).ok()? != crc32c::crc32c(content) {
        return None;
    }
    serde_json::from_slice::<RecordFrame>(content).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn leaf(content: u64) -> Signed {
        Signed::Leaf { certificate: content.to_be_bytes().to_vec().into() }
    }

    fn open(path: &Path) -> Result<(Journal, Vec<Record>), Error> {
        let mut seen = Vec::new();
        let journal = Journal::open(path, |record| seen.push(record.clone()))?;
        Ok((journal, seen))
    }

    fn with(records: u64) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = open(&path).unwrap();
        for number in 1..=records {
            assert_eq!(journal.append(Timestamp::EPOCH, leaf(number)).unwrap().number, number);
        }
        (dir, path)
    }

    #[test]
    fn what_was_written_is_there_after_a_restart_and_numbers_go_on() {
        let (_dir, path) = with(3);
        let (mut journal, seen) = open(&path).unwrap();
        assert_eq!(seen.iter().map(|record| record.number).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(seen[2].signed, leaf(3));
        assert_eq!(journal.append(Timestamp::EPOCH, leaf(4)).unwrap().number, 4);
    }

    #[test]
    fn a_tail_torn_anywhere_is_cut_and_what_stands_before_it_stays() {
        let (_dir, path) = with(3);
        let whole = fs::read(&path).unwrap();
        let third = whole.len() - whole.len() / 3;
        for length in third + 1..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let (mut journal, seen) = open(&path).unwrap();
            assert_eq!(seen.len(), 2, "cut at {length}");
            assert_eq!(fs::metadata(&path).unwrap().len(), third as u64);
            assert_eq!(journal.append(Timestamp::EPOCH, leaf(3)).unwrap().number, 3);
        }
        let mut holed = whole;
        holed[third + 20..third + 30].fill(0);
        fs::write(&path, &holed).unwrap();
        assert_eq!(open(&path).unwrap().1.len(), 2);
    }

    #[test]
    fn damage_before_the_tail_ends_the_reading() {
        let (_dir, path) = with(3);
        let whole = fs::read(&path).unwrap();
        let line = whole.len() / 3;
        let mut flipped = whole.clone();
        flipped[line + 30] ^= 1;
        let removed = [&whole[..line], &whole[2 * line..]].concat();
        let twice = [&whole[..2 * line], &whole[line..]].concat();
        let mut last = whole;
        last[2 * line + 30] ^= 1;
        for (broken, number) in [(flipped, 2), (removed, 2), (twice, 3), (last, 3)] {
            fs::write(&path, &broken).unwrap();
            let refused = open(&path).map(|_| ());
            assert!(matches!(refused, Err(Error::Damaged { number: at, .. }) if at == number), "{refused:?}");
            assert_eq!(fs::read(&path).unwrap(), broken, "nothing was cut");
        }
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let (_dir, path) = with(2_345);
        let (journal, seen) = open(&path).unwrap();
        for start in [0, 1, 999, 1_000, 1_001, 2_344, 2_345, 9_999, u64::MAX] {
            let (mut read, mut after) = (Vec::new(), start);
            loop {
                let page = journal.after(after).unwrap();
                assert!(page.len() <= PAGE_RECORDS);
                let Some(last) = page.last() else { break };
                after = last.number;
                read.extend(page);
            }
            let from = usize::try_from(start).unwrap().min(seen.len());
            assert_eq!(read, seen[from..], "after {start}");
        }
    }

    #[test]
    fn after_a_failed_write_nothing_more_is_written() {
        let (_dir, path) = with(1);
        let (mut journal, _) = open(&path).unwrap();
        journal.file = File::open(&path).unwrap();
        assert!(matches!(journal.append(Timestamp::EPOCH, leaf(2)), Err(Error::Broken { .. })));
        journal.file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        assert!(matches!(journal.append(Timestamp::EPOCH, leaf(2)), Err(Error::Broken { .. })));
        assert_eq!(open(&path).unwrap().1.len(), 1);
    }
}
