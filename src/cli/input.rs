//! Decides how input is read: by the readers of `interop`, on a thread of
//! their own, a bounded number of records ahead.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::base::tasks;
use crate::interop::jsonl::{Record, Records};
use crate::interop::{self, plain};
use crate::model::indicator::draft::MAX_RULE_BYTES;

use super::arguments::InputFormat;
use super::exit::Failure;

/// Bytes read at once.
const BUFFER: usize = 64 * 1024;
/// Records read ahead.
const AHEAD: usize = 64;

/// A record and the number of its line, or why the line cannot be read.
pub(super) type Item = Result<(u64, Record), interop::Error>;

/// The records of a file or of stdin.
pub(super) struct Input {
    items: mpsc::Receiver<Item>,
    format: InputFormat,
    read: Arc<AtomicU64>,
    size: Option<u64>,
}

impl Input {
    /// Opens a file, or stdin for `-`. Waits for the first bytes where these
    /// tell the format.
    pub(super) async fn open(path: &Path, format: InputFormat) -> Result<Self, Failure> {
        let path = path.to_owned();
        let opened = tasks::spawn_blocking(move || open(&path, format)).await;
        let (reader, format, read, size) =
            opened.map_err(|error| Failure::Io(format!("cannot read the input: {error}")))??;
        let (out, items) = mpsc::channel(AHEAD);
        // Ends with the input, or with the first record that nobody takes.
        drop(tasks::spawn_blocking(move || match format {
            InputFormat::Jsonl => hand_on(Records::new(reader), &out),
            InputFormat::Auto | InputFormat::Plain => hand_on(plain::Lines::new(reader).map(value), &out),
        }));
        Ok(Self { items, format, read, size })
    }

    /// Opens a file, or stdin for `-`, that is one value as a whole: a rule.
    pub(super) async fn whole(path: &Path) -> Result<Self, Failure> {
        let path = path.to_owned();
        let opened = tasks::spawn_blocking(move || whole(&path)).await;
        let (item, read, size) =
            opened.map_err(|error| Failure::Io(format!("cannot read the input: {error}")))??;
        let (out, items) = mpsc::channel(1);
        // The channel has room for the one item.
        drop(out.try_send(item));
        Ok(Self { items, format: InputFormat::Plain, read, size })
    }

    /// The next record; `None` at the end. Nothing is lost if the future is
    /// dropped.
    pub(super) async fn next(&mut self) -> Option<Item> {
        self.items.recv().await
    }

    /// How it is written; never [`InputFormat::Auto`].
    pub(super) const fn format(&self) -> InputFormat {
        self.format
    }

    /// Bytes read so far.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes in all, if known.
    pub(super) const fn size(&self) -> Option<u64> {
        self.size
    }
}

type Reader = BufReader<Counted<Box<dyn Read + Send>>>;

fn open(
    path: &PathBuf,
    format: InputFormat,
) -> Result<(Reader, InputFormat, Arc<AtomicU64>, Option<u64>), Failure> {
    let missing = |error: io::Error| Failure::NoInput(format!("cannot read {}: {error}", path.display()));
    let (source, size): (Box<dyn Read + Send>, _) = if path == Path::new("-") {
        (Box::new(io::stdin()), None)
    } else {
        let file = File::open(path).map_err(missing)?;
        let metadata = file.metadata().map_err(missing)?;
        if metadata.is_dir() {
            return Err(Failure::NoInput(format!(
                "{} is a directory; name a file, or - for stdin",
                path.display()
            )));
        }
        (Box::new(file), metadata.is_file().then_some(metadata.len()))
    };
    let read = Arc::new(AtomicU64::new(0));
    let mut reader = BufReader::with_capacity(BUFFER, Counted { source, read: Arc::clone(&read) });
    let format = match format {
        InputFormat::Auto => detect(reader.fill_buf().map_err(missing)?),
        known => known,
    };
    Ok((reader, format, read, size))
}

fn whole(path: &PathBuf) -> Result<(Item, Arc<AtomicU64>, Option<u64>), Failure> {
    let (reader, _, read, size) = open(path, InputFormat::Plain)?;
    let mut bytes = Vec::new();
    // One byte more than a rule may have: the hub's own refusal says how many.
    let most = u64::try_from(MAX_RULE_BYTES + 1).unwrap_or(u64::MAX);
    reader
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::Io(format!("cannot read {}: {error}", path.display())))?;
    let item = match String::from_utf8(bytes) {
        Ok(text) => Ok((1, Record { value: Some(text), ..Record::default() })),
        Err(_) => Err(interop::Error::NotText { number: 1 }),
    };
    Ok((item, read, size))
}

/// JSON lines if the first line that holds anything begins an object.
fn detect(start: &[u8]) -> InputFormat {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    if start.trim_ascii_start().starts_with(b"{") { InputFormat::Jsonl } else { InputFormat::Plain }
}

/// A line of a plain list as a record that says nothing but its value.
fn value(line: Result<plain::Line, interop::Error>) -> Item {
    line.map(|line| (line.number, Record { value: Some(line.text), ..Record::default() }))
}

fn hand_on(items: impl Iterator<Item = Item>, out: &mpsc::Sender<Item>) {
    for item in items {
        if out.blocking_send(item).is_err() {
            return;
        }
    }
}

/// A reader that counts what was read.
struct Counted<R> {
    source: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(into)?;
        self.read.fetch_add(u64::try_from(n).unwrap_or(0), Ordering::Relaxed);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(content: &[u8]) -> (InputFormat, Vec<(u64, Option<String>)>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("input");
        std::fs::write(&path, content).unwrap();
        let mut input = Input::open(&path, InputFormat::Auto).await.unwrap();
        let mut all = Vec::new();
        while let Some(item) = input.next().await {
            let (number, record) = item.unwrap();
            all.push((number, record.value));
        }
        assert_eq!((input.read(), input.size()), (content.len() as u64, Some(content.len() as u64)));
        (input.format(), all)
    }

    #[tokio::test]
    async fn the_first_line_tells_json_lines_from_a_list() {
        let value = |number, text: &str| (number, Some(text.to_owned()));
        assert_eq!(
            read(b"\xef\xbb\xbf\n {\"value\":\"a.example\"}\n").await,
            (InputFormat::Jsonl, vec![value(2, "a.example")])
        );
        assert_eq!(read(b"# list\na.example\n").await, (InputFormat::Plain, vec![value(2, "a.example")]));
        assert_eq!(read(b"").await, (InputFormat::Plain, vec![]));
    }

    #[tokio::test]
    async fn a_rule_is_one_record_to_the_last_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rule.yar");
        let rule = " rule a {\r\n\tcondition: true # x\n}\n\n";
        std::fs::write(&path, rule).unwrap();
        let mut input = Input::whole(&path).await.unwrap();
        let (number, record) = input.next().await.unwrap().unwrap();
        assert_eq!((number, record.value.as_deref()), (1, Some(rule)));
        assert!(input.next().await.is_none());
        // Of a file without end no more is read than it takes to refuse it.
        std::fs::write(&path, vec![b'a'; 3 * MAX_RULE_BYTES]).unwrap();
        let (_, record) = Input::whole(&path).await.unwrap().next().await.unwrap().unwrap();
        assert_eq!(record.value.unwrap().len(), MAX_RULE_BYTES + 1);
    }

    #[tokio::test]
    async fn a_missing_file_and_a_directory_are_named() {
        let dir = tempfile::tempdir().unwrap();
        for path in [dir.path().join("none"), dir.path().to_owned()] {
            let Err(failure) = Input::open(&path, InputFormat::Auto).await else { panic!("opened") };
            assert_eq!(failure.code(), 66);
            assert!(failure.text().unwrap().contains(path.to_str().unwrap()));
        }
    }
}
