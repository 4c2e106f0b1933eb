//! Decides how text is cut into lines: in bounded memory, whatever comes.

use std::io::{self, BufRead};

/// What is wrong with a line of input. None of these shows the line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The line is longer than the reader takes; it was skipped.
    #[error(
        "line {number}: is longer than {limit} bytes and was skipped: one value or record stands on a line"
    )]
    TooLong {
        /// Number of the line, from 1.
        number: u64,
        /// Most bytes on a line.
        limit: usize,
    },
    /// The line is not UTF-8; it was skipped.
    #[error("line {number}: is not UTF-8 text and was skipped: convert the file to UTF-8")]
    NotText {
        /// Number of the line, from 1.
        number: u64,
    },
    /// The line is not a record; it was skipped.
    #[error("line {number}: {problem}")]
    NotRecord {
        /// Number of the line, from 1.
        number: u64,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// Reading failed; nothing follows.
    #[error("cannot read after line {number}: {source}")]
    Read {
        /// Number of the last line that was read.
        number: u64,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Number of the line that this is about, from 1.
    #[must_use]
    pub const fn number(&self) -> u64 {
        match self {
            Self::TooLong { number, .. }
            | Self::NotText { number }
            | Self::NotRecord { number, .. }
            | Self::Read { number, .. } => *number,
        }
    }
}

/// Lines of bytes without their ends (LF, CR LF or CR, mixed as they come), each
/// at most `limit` bytes.
pub(super) struct ByteLines<R> {
    input: R,
    limit: usize,
    number: u64,
    pub(super) line: Vec<u8>,
    /// The line before ended in CR: an LF right after it is part of that end.
    after_cr: bool,
    ended: bool,
}

impl<R> std::fmt::Debug for ByteLines<R> {
    /// The position only: values do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ByteLines(line {})", self.number)
    }
}

/// A byte-order mark in UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

impl<R: BufRead> ByteLines<R> {
    pub(super) const fn new(input: R, limit: usize) -> Self {
        Self { input, limit, number: 0, line: Vec::new(), after_cr: false, ended: false }
    }

    /// The next line and its number; `None` at the end, and for good after a
    /// failure to read.
    pub(super) fn next_line(&mut self) -> Option<Result<(u64, &[u8]), Error>> {
        if self.ended {
            return None;
        }
        self.line.clear();
        let mut too_long = false;
        let mut any = false;
        loop {
            let buffer = match self.input.fill_buf() {
                Ok(buffer) => buffer,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    self.ended = true;
                    return Some(Err(Error::Read { number: self.number, source }));
                }
            };
            if buffer.is_empty() {
                self.ended = true;
                if !any {
                    return None;
                }
                break;
            }
            if std::mem::take(&mut self.after_cr) && buffer.starts_with(b"\n") {
                self.input.consume(1);
                continue;
            }
            any = true;
            let end = buffer.iter().position(|&byte| matches!(byte, b'\n' | b'\r'));
            self.after_cr = end.is_some_and(|end| buffer.get(end) == Some(&b'\r'));
            let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            // A mark before the first line does not count.
            too_long = too_long || self.line.len() + part.len() > self.limit + BOM.len();
            if !too_long {
                self.line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.number += 1;
        let mut line = self.line.as_slice();
        if self.number == 1 {
            line = line.strip_prefix(BOM).unwrap_or(line);
        }
        if too_long || line.len() > self.limit {
            return Some(Err(Error::TooLong { number: self.number, limit: self.limit }));
        }
        Some(Ok((self.number, line)))
    }
}
