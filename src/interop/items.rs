//! Decides how an input of any format is read: unpacked, in its encoding, one
//! line at a time, in bounded memory.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read};

use crate::model::indicator::Kind;
use crate::model::marking::Tlp;

use super::encoding::{Encoding, Text, Utf8};
use super::found::{Found, Reason, What};
use super::jsonl::Records;
use super::lines::{ByteLines, Error};
use super::prose::Prose;
use super::table::{Mapping, Table};
use super::unpack::Unpacked;
use super::{adblock, guess, hosts, jsonl, maltrail, plain, stamp};

/// Longest line of a list, a table or a text, in bytes.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Bytes read at once; the format is guessed from no more.
const BUFFER: usize = 64 * 1024;

/// How an input is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One value on a line.
    Plain,
    /// AdBlock rules.
    Adblock,
    /// A hosts file.
    Hosts,
    /// Trails of maltrail.
    Maltrail,
    /// Cells apart by commas.
    Csv,
    /// Cells apart by semicolons, as spreadsheets here write CSV.
    Semicolons,
    /// Cells apart by tabs.
    Tsv,
    /// A JSON object on a line.
    Jsonl,
    /// Text for people.
    Prose,
}

impl Format {
    /// The name at the prompt.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Adblock => "adblock",
            Self::Hosts => "hosts",
            Self::Maltrail => "maltrail",
            Self::Csv => "csv",
            Self::Semicolons => "csv-semicolon",
            Self::Tsv => "tsv",
            Self::Jsonl => "jsonl",
            Self::Prose => "prose",
        }
    }
}

/// How to read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The format; guessed if absent.
    pub format: Option<Format>,
    /// The encoding.
    pub encoding: Encoding,
    /// The kind of the values, where it is named beside them: then a list holds
    /// them as they are, and nothing is made of their looks.
    pub kind: Option<Kind>,
    /// What columns of tables are.
    pub map: Vec<Mapping>,
    /// Whether the input ends, as files do: then as much as is needed is read
    /// for the guess. Of a pipe only what is there first is looked at.
    pub is_file: bool,
    /// The narrowest label that the document put on itself before what is read.
    pub stamp: Option<Tlp>,
}

type Source<R> = BufReader<Prefixed<Utf8<Unpacked<R>>>>;

/// What stands in an input.
pub struct Items<R: Read> {
    reader: Reader<Source<R>>,
    format: Format,
    encoding: Encoding,
    queue: VecDeque<Found>,
    /// The narrowest label that the document puts on itself so far.
    stamp: Option<Tlp>,
    ended: bool,
}

impl<R: Read> std::fmt::Debug for Items<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Items({})", self.format.as_str())
    }
}

enum Reader<S> {
    Json(Records<S>),
    Lines(Box<ByteLines<S>>, Parser),
}

enum Parser {
    Plain(plain::Names),
    Typed(Kind),
    Adblock,
    Hosts,
    Maltrail,
    Table(Table),
    Prose(Prose),
}

impl<R: Read> Items<R> {
    /// Opens an input; waits for its first bytes unless options tell all.
    ///
    /// # Errors
    /// As reading; input that is no text.
    pub fn new(input: R, options: Options) -> io::Result<Self> {
        let mut source = Utf8::new(Unpacked::new(input)?, options.encoding)?;
        let encoding = match source.encoding() {
            // Turned already.
            Encoding::Utf16Le | Encoding::Utf16Be => Encoding::Utf8,
            other => other,
        };
        let mut start = Vec::new();
        let mut is_whole = false;
        if options.format.is_none() {
            (start, is_whole) = beginning(&mut source, options.is_file)?;
            if let Some(what) = no_text(&start) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
        let format =
            options.format.unwrap_or_else(|| match options.kind.is_some() && options.map.is_empty() {
                true if start.trim_ascii_start().starts_with(b"{") => Format::Jsonl,
                true => Format::Plain,
                false => guess::format(&start, is_whole),
            });
        let source = BufReader::with_capacity(BUFFER, Prefixed { start, at: 0, source });
        let parser = match format {
            Format::Jsonl => {
                let reader = Reader::Json(Records::new(source));
                let queue = VecDeque::new();
                return Ok(Self { reader, format, encoding, queue, stamp: options.stamp, ended: false });
            }
            Format::Plain => {
                options.kind.map_or_else(|| Parser::Plain(plain::Names::default()), Parser::Typed)
            }
            Format::Adblock => Parser::Adblock,
            Format::Hosts => Parser::Hosts,
            Format::Maltrail => Parser::Maltrail,
            Format::Csv => Parser::Table(Table::new(',', options.map, options.kind)),
            Format::Semicolons => Parser::Table(Table::new(';', options.map, options.kind)),
            Format::Tsv => Parser::Table(Table::new('\t', options.map, options.kind)),
            Format::Prose => Parser::Prose(Prose::default()),
        };
        let lines = Box::new(ByteLines::new(source, MAX_LINE_BYTES));
        Ok(Self {
            reader: Reader::Lines(lines, parser),
            format,
            encoding,
            queue: VecDeque::new(),
            stamp: options.stamp,
            ended: false,
        })
    }

    /// How the input is written.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The narrowest label that the document has put on itself so far.
    #[must_use]
    pub const fn stamp(&self) -> Option<Tlp> {
        self.stamp
    }

    fn fill(&mut self) -> Result<(), Error> {
        let mut found = Vec::new();
        match &mut self.reader {
            Reader::Json(records) => match records.next() {
                None => self.ended = true,
                Some(Ok((line, record))) => found.push(Found { line, what: What::Record(Box::new(record)) }),
                Some(Err(error)) => found.push(of_error(error)?),
            },
            Reader::Lines(lines, parser) => match lines.next_line() {
                None => {
                    self.ended = true;
                    if let Parser::Table(table) = parser {
                        table.end(&mut found);
                    }
                }
                Some(Ok((number, line))) => match self.encoding.text(line) {
                    Some(text) => {
                        if matches!(parser, Parser::Prose(_)) || stamp::is_comment(&text.text) {
                            self.stamp = self.stamp.max(stamp::label(&text.text));
                        }
                        parser.take(number, text, &mut found);
                    }
                    None => found.push(of_error(Error::NotText { number })?),
                },
                Some(Err(error)) => found.push(of_error(error)?),
            },
        }
        if let Some(stamp) = self.stamp {
            for found in &mut found {
                if let What::Record(record) = &mut found.what {
                    record.tlp.get_or_insert_with(|| stamp.as_str().to_owned());
                }
            }
        }
        self.queue.extend(found);
        Ok(())
    }
}

impl<R: Read> Iterator for Items<R> {
    /// An error is a failure to read, after which nothing follows.
    type Item = Result<Found, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(found) = self.queue.pop_front() {
                return Some(Ok(found));
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.fill() {
                self.ended = true;
                return Some(Err(error));
            }
        }
    }
}

impl Parser {
    fn take(&mut self, line: u64, mut text: Text, out: &mut Vec<Found>) {
        if line == 1 && text.text.starts_with('\u{feff}') {
            text.text.remove(0);
        }
        let mut found = |what| out.push(Found { line, what });
        match self {
            Self::Plain(names) => {
                plain::read(&text).map(|what| names.judge(what)).into_iter().for_each(found)
            }
            Self::Typed(kind) => plain::as_it_is(&text, *kind).into_iter().for_each(found),
            Self::Adblock => adblock::read(&text).into_iter().for_each(found),
            Self::Hosts => hosts::read(&text).into_iter().for_each(&mut found),
            Self::Maltrail => maltrail::read(&text).into_iter().for_each(found),
            Self::Table(table) => table.take(line, text, out),
            Self::Prose(prose) => prose.take(line, &text, out),
        }
    }
}

/// A line that cannot be read, as a reject; a failure to read stays an error.
fn of_error(error: Error) -> Result<Found, Error> {
    let line = error.number();
    let (reason, problem) = match error {
        Error::TooLong { limit, .. } => (
            Reason::LineTooLong,
            format!("is longer than {limit} bytes and was skipped: one value or record stands on a line"),
        ),
        Error::NotText { .. } => (
            Reason::NotText,
            "is not text of this encoding: convert the file, or say how it is written with --encoding"
                .to_owned(),
        ),
        Error::NotRecord { problem, .. } => (Reason::NotRecord, problem),
        Error::Read { .. } => return Err(error),
    };
    Ok(Found { line, what: What::refused(reason, problem, "") })
}

/// The first bytes, and whether they are all.
fn beginning(source: &mut impl Read, is_file: bool) -> io::Result<(Vec<u8>, bool)> {
    let mut start = vec![0; BUFFER];
    let mut len = 0;
    while let Some(room) = start.get_mut(len..).filter(|room| !room.is_empty()) {
        match source.read(room) {
            Ok(0) => {
                start.truncate(len);
                return Ok((start, true));
            }
            Ok(n) => len += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        // The first bytes may be four that told the encoding.
        if !is_file && len > 4 {
            break;
        }
    }
    start.truncate(len);
    Ok((start, false))
}

/// What the input is, if it is no text.
fn no_text(start: &[u8]) -> Option<&'static str> {
    match start {
        [b'P', b'K', 3 | 5, ..] => {
            Some("is a ZIP archive, or an office document: unpack it, or save it as CSV or text")
        }
        [b'%', b'P', b'D', b'F', ..] => {
            Some("is a PDF: save its text, such as with pdftotext, and publish that")
        }
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("is packed twice: unpack it once first"),
        _ if start.iter().take(4096).any(|&b| b == 0) => Some("is not text: it holds zero bytes"),
        _ => None,
    }
}

/// Bytes that were looked at, then the rest.
struct Prefixed<R> {
    start: Vec<u8>,
    at: usize,
    source: R,
}

impl<R: Read> Read for Prefixed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut start = self.start.get(self.at..).unwrap_or_default();
        if start.fill_buf()?.is_empty() {
            self.start = Vec::new();
            self.at = 0;
            return self.source.read(into);
        }
        let n = start.read(into)?;
        self.at += n;
        Ok(n)
    }
}

const _: () = assert!(jsonl::MAX_LINE_BYTES >= MAX_LINE_BYTES, "a record has room for every value");
