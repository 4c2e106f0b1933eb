//! Decides how input is read: by the readers of `interop`, on a thread of
//! their own, a bounded number of records ahead.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::base::tasks;
use crate::interop::jsonl::Record;
use crate::interop::{self, Format, Found, Items, What, plain};
use crate::model::indicator::Kind;
use crate::model::indicator::draft::MAX_RULE_BYTES;

use super::arguments::PublishFile;
use super::exit::Failure;

/// Records read ahead.
const AHEAD: usize = 64;

/// Something on a line, or that nothing more can be read.
pub(super) type Item = Result<Found, interop::Error>;

/// What stands in a file or on stdin.
pub(super) struct Input {
    items: mpsc::Receiver<Item>,
    format: Format,
    read: Arc<AtomicU64>,
    size: Option<u64>,
}

impl Input {
    /// Opens a file, or stdin for `-`. Waits for the first bytes where these
    /// tell the format.
    pub(super) async fn open(options: &PublishFile) -> Result<Self, Failure> {
        Self::read_from(options, None).await
    }

    /// As [`Self::open`], of a file that is open already; its name is only told.
    pub(super) async fn of(options: &PublishFile, file: File) -> Result<Self, Failure> {
        Self::read_from(options, Some(file)).await
    }

    async fn read_from(options: &PublishFile, file: Option<File>) -> Result<Self, Failure> {
        // A rule is one value as a whole.
        let asked = options.how.input_format.format();
        if options.how.kind.is_some_and(Kind::is_rule) && asked != Some(Format::Jsonl) {
            return Self::whole(&options.input, file).await;
        }
        let path = options.input.clone();
        let how = interop::Options {
            format: asked,
            kind: options.how.kind,
            encoding: options.how.encoding.into(),
            map: options.how.map.clone(),
            is_file: false,
            stamp: None,
        };
        let opened = tasks::spawn_blocking(move || open(&path, file, how)).await;
        let (items, read, size) =
            opened.map_err(|error| Failure::Io(format!("cannot read the input: {error}")))??;
        let format = items.format();
        let (out, ahead) = mpsc::channel(AHEAD);
        // Ends with the input, or with the first record that nobody takes.
        drop(tasks::spawn_blocking(move || hand_on(items, &out)));
        Ok(Self { items: ahead, format, read, size })
    }

    /// Opens a file, or stdin for `-`, that is one value as a whole: a rule.
    async fn whole(path: &Path, file: Option<File>) -> Result<Self, Failure> {
        let path = path.to_owned();
        let opened = tasks::spawn_blocking(move || whole(&path, file)).await;
        let (item, read, size) =
            opened.map_err(|error| Failure::Io(format!("cannot read the input: {error}")))??;
        let (out, items) = mpsc::channel(1);
        // The channel has room for the one item.
        drop(out.try_send(item));
        Ok(Self { items, format: Format::Plain, read, size })
    }

    /// What comes next; `None` at the end. Nothing is lost if the future is
    /// dropped.
    pub(super) async fn next(&mut self) -> Option<Item> {
        self.items.recv().await
    }

    /// How it is written.
    pub(super) const fn format(&self) -> Format {
        self.format
    }

    /// Bytes read so far, as they lie in the file.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes in all, if known.
    pub(super) const fn size(&self) -> Option<u64> {
        self.size
    }
}

type Source = Counted<Box<dyn Read + Send>>;
/// What stands in an input, how much of it was read, and its size if known.
type Opened = (Items<Source>, Arc<AtomicU64>, Option<u64>);

fn open(path: &Path, file: Option<File>, mut how: interop::Options) -> Result<Opened, Failure> {
    let (source, size) = source(path, file)?;
    how.is_file = size.is_some();
    let read = Arc::clone(&source.read);
    let items = Items::new(source, how).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => Failure::NoInput(format!("{} {error}", path.display())),
        _ => missing(path, &error),
    })?;
    Ok((items, read, size))
}

fn missing(path: &Path, error: &io::Error) -> Failure {
    Failure::NoInput(format!("cannot read {}: {error}", path.display()))
}

/// A file, opened unless it is already, or stdin for `-`, and its size if it
/// has one.
fn source(path: &Path, file: Option<File>) -> Result<(Source, Option<u64>), Failure> {
    let (source, size): (Box<dyn Read + Send>, _) = if file.is_none() && path == Path::new("-") {
        (Box::new(io::stdin()), None)
    } else {
        let file = file.map_or_else(|| File::open(path), Ok).map_err(|error| missing(path, &error))?;
        let metadata = file.metadata().map_err(|error| missing(path, &error))?;
        if metadata.is_dir() {
            return Err(Failure::NoInput(format!(
                "{} is a directory; name a file, or - for stdin",
                path.display()
            )));
        }
        (Box::new(file), metadata.is_file().then_some(metadata.len()))
    };
    Ok((Counted { source, read: Arc::new(AtomicU64::new(0)) }, size))
}

fn whole(path: &Path, file: Option<File>) -> Result<(Item, Arc<AtomicU64>, Option<u64>), Failure> {
    let (source, size) = source(path, file)?;
    let mut bytes = Vec::new();
    // One byte more than a rule may have: the hub's own refusal says how many.
    let most = u64::try_from(MAX_RULE_BYTES + 1).unwrap_or(u64::MAX);
    let read = Arc::clone(&source.read);
    source
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::Io(format!("cannot read {}: {error}", path.display())))?;
    let item = match String::from_utf8(bytes) {
        Ok(text) => {
            let record = Record { value: Some(text), ..Record::default() };
            Ok(Found { line: 1, what: What::Record(Box::new(record)) })
        }
        Err(_) => Err(interop::Error::NotText { number: 1 }),
    };
    Ok((item, read, size))
}

/// The values on stdin, one on a line.
pub(super) fn stdin_lines() -> mpsc::Receiver<Result<plain::Line, interop::Error>> {
    let (out, ahead) = mpsc::channel(AHEAD);
    drop(tasks::spawn_blocking(move || hand_on(plain::Lines::new(io::stdin().lock()), &out)));
    ahead
}

fn hand_on<T>(items: impl Iterator<Item = T>, out: &mpsc::Sender<T>) {
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
    use clap::Parser as _;

    use super::super::arguments::{Arguments, Command};
    use super::*;
    use crate::interop::What;

    async fn open(path: &Path) -> Result<Input, Failure> {
        match Arguments::try_parse_from(["luytre", "publish", path.to_str().unwrap()]).unwrap().command {
            Command::Publish(options) => Input::open(&options).await,
            other => panic!("{other:?}"),
        }
    }

    async fn read(content: &[u8]) -> (Format, Vec<(u64, Option<String>)>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("input");
        std::fs::write(&path, content).unwrap();
        let mut input = open(&path).await.unwrap();
        let mut all = Vec::new();
        while let Some(item) = input.next().await {
            let found = item.unwrap();
            let What::Record(record) = found.what else { panic!("{found:?}") };
            all.push((found.line, record.value));
        }
        assert_eq!((input.read(), input.size()), (content.len() as u64, Some(content.len() as u64)));
        (input.format(), all)
    }

    #[tokio::test]
    async fn the_first_line_tells_json_lines_from_a_list() {
        let value = |number, text: &str| (number, Some(text.to_owned()));
        assert_eq!(
            read(b"\xef\xbb\xbf\n {\"value\":\"a.example\"}\n").await,
            (Format::Jsonl, vec![value(2, "a.example")])
        );
        assert_eq!(read(b"# list\na.example\n").await, (Format::Plain, vec![value(2, "a.example")]));
        assert_eq!(read(b"").await, (Format::Plain, vec![]));
    }

    #[tokio::test]
    async fn a_rule_is_one_record_to_the_last_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rule.yar");
        let rule = " rule a {\r\n\tcondition: true # x\n}\n\n";
        std::fs::write(&path, rule).unwrap();
        let value = |found: Found| match found.what {
            What::Record(record) => record.value.unwrap(),
            other => panic!("{other:?}"),
        };
        let mut input = Input::whole(&path, None).await.unwrap();
        let found = input.next().await.unwrap().unwrap();
        assert_eq!((found.line, value(found).as_str()), (1, rule));
        assert!(input.next().await.is_none());
        // Of a file without end no more is read than it takes to refuse it.
        std::fs::write(&path, vec![b'a'; 3 * MAX_RULE_BYTES]).unwrap();
        let found = Input::whole(&path, None).await.unwrap().next().await.unwrap().unwrap();
        assert_eq!(value(found).len(), MAX_RULE_BYTES + 1);
    }

    #[tokio::test]
    async fn a_missing_file_a_directory_and_what_is_no_text_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let pdf = dir.path().join("report.pdf");
        std::fs::write(&pdf, b"%PDF-1.7\n").unwrap();
        for path in [dir.path().join("none"), dir.path().to_owned(), pdf] {
            let Err(failure) = open(&path).await else { panic!("opened") };
            assert_eq!(failure.code(), 66);
            assert!(failure.text().unwrap().contains(path.to_str().unwrap()));
        }
    }
}
