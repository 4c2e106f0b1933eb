//! Decides how lines are read: one at a time, numbered, of bounded length,
//! from a file or from stdin.

use std::io;
use std::path::Path;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, BufReader};

use super::exit::Failure;

/// Longest line: a full JSON record with every character escaped.
const MAX_LINE: usize = 256 * 1024;
/// Bytes read at once.
const BUFFER: usize = 64 * 1024;

/// A line of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: u64,
    /// Its text without the end of line, or why it cannot be read.
    pub(super) text: Result<String, &'static str>,
}

/// Numbered lines.
pub(super) struct Lines {
    reader: Box<dyn AsyncBufRead + Send + Unpin>,
    /// What was read of the next line.
    gathered: Vec<u8>,
    too_long: bool,
    number: u64,
    /// Bytes read so far.
    read: u64,
    /// Bytes in all, if known.
    size: Option<u64>,
}

impl Lines {
    /// Lines of a file, or of stdin for `-`.
    pub(super) async fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::of(BufReader::with_capacity(BUFFER, tokio::io::stdin()), None));
        }
        let missing = |error: io::Error| Failure::NoInput(format!("cannot read {}: {error}", path.display()));
        let file = tokio::fs::File::open(path).await.map_err(missing)?;
        let metadata = file.metadata().await.map_err(missing)?;
        if metadata.is_dir() {
            return Err(Failure::NoInput(format!("{} is a directory; name a file, or - for stdin", path.display())));
        }
        let size = metadata.is_file().then_some(metadata.len());
        Ok(Self::of(BufReader::with_capacity(BUFFER, file), size))
    }

    fn of(reader: impl AsyncBufRead + Send + Unpin + 'static, size: Option<u64>) -> Self {
        Self { reader: Box::new(reader), gathered: Vec::new(), too_long: false, number: 0, read: 0, size }
    }

    /// Bytes in all, if known.
    pub(super) const fn size(&self) -> Option<u64> {
        self.size
    }

    /// Bytes read so far.
    pub(super) const fn read(&self) -> u64 {
        self.read
    }

    /// The next line; `None` at the end. Nothing is lost if the future is
    /// dropped.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let available = self.reader.fill_buf().await?;
            if available.is_empty() {
                let more = !self.gathered.is_empty() || self.too_long;
                return Ok(more.then(|| self.complete()));
            }
            let (part, ended) = match available.iter().position(|&byte| byte == b'\n') {
                Some(at) => (available.split_at(at).0, true),
                None => (available, false),
            };
            let used = part.len() + usize::from(ended);
            if self.gathered.len() + part.len() > MAX_LINE {
                self.too_long = true;
                self.gathered.clear();
            } else if !self.too_long {
                self.gathered.extend_from_slice(part);
            }
            self.reader.consume(used);
            self.read += u64::try_from(used).unwrap_or(0);
            if ended {
                return Ok(Some(self.complete()));
            }
        }
    }

    fn complete(&mut self) -> Line {
        self.number += 1;
        let mut bytes = std::mem::take(&mut self.gathered);
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        let text = if std::mem::take(&mut self.too_long) {
            Err("the line is longer than 256 KiB")
        } else {
            String::from_utf8(bytes).map_err(|_| "the line is not UTF-8 text; convert the file to UTF-8")
        };
        // Windows tools begin a file with a byte order mark.
        let text = match text {
            Ok(text) if self.number == 1 => Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
            other => other,
        };
        Line { number: self.number, text }
    }
}

/// The value on a line of a plain list: without surrounding space and without
/// a comment that begins with # at the start or after a space.
pub(super) fn value(line: &str) -> Option<&str> {
    let line = line.trim();
    let end = line
        .match_indices('#')
        .map(|(at, _)| at)
        .find(|&at| at == 0 || line.as_bytes().get(at - 1).is_some_and(u8::is_ascii_whitespace));
    let value = end.and_then(|at| line.get(..at)).unwrap_or(line).trim_end();
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(input: &'static [u8]) -> Vec<Line> {
        let mut lines = Lines::of(BufReader::with_capacity(3, input), None);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            all.push(line);
        }
        assert_eq!(lines.read(), input.len() as u64);
        all
    }

    fn ok(number: u64, text: &str) -> Line {
        Line { number, text: Ok(text.to_owned()) }
    }

    #[tokio::test]
    async fn lines_are_numbered_whatever_ends_them() {
        assert_eq!(
            lines("\u{feff}one\r\n\nthree".as_bytes()).await,
            [ok(1, "one"), ok(2, ""), ok(3, "three")]
        );
        assert_eq!(lines(b"").await, []);
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused_in_bounded_memory_and_the_next_is_read() {
        let mut long = vec![b'a'; MAX_LINE + 10];
        long.extend_from_slice(b"\nnext\n");
        let all = lines(Box::leak(long.into_boxed_slice())).await;
        assert!(all[0].text.is_err());
        assert_eq!(all[1], ok(2, "next"));
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_are_refused_by_line() {
        let all = lines(b"a\n\xff\xfe\nb").await;
        assert!(all[1].text.is_err());
        assert_eq!(all[2], ok(3, "b"));
    }

    #[test]
    fn comments_and_blank_lines_hold_no_value() {
        assert_eq!(value("  example.net  # seen twice"), Some("example.net"));
        assert_eq!(value("# a comment"), None);
        assert_eq!(value("   "), None);
        assert_eq!(value("http://example.net/#part"), Some("http://example.net/#part"));
    }
}
