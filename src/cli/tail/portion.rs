//! Decides how a file that grows is cut: into whole lines, read by the readers
//! of `interop` as if they had come at once.

use std::fs::File;
use std::io::{self, Cursor, Read as _, Seek as _, SeekFrom};

use crate::cli::arguments::Publish;
use crate::interop::{self, Encoding, Format, Found, Items, Mapping, Reason, Reject, What};
use crate::model::indicator::Kind;
use crate::model::marking::Tlp;

use super::place::Place;

/// Most bytes of a file that are read at once: more than the longest line.
pub(super) const MAX_BYTES: u64 = 1024 * 1024;
/// Bytes from which the format is guessed.
const HEAD: u64 = 64 * 1024;
/// What a place says of a file that is read as a whole.
const WHOLE: &str = "whole";

/// The formats that a place may name.
const FORMATS: [Format; 9] = [
    Format::Plain,
    Format::Adblock,
    Format::Hosts,
    Format::Maltrail,
    Format::Csv,
    Format::Semicolons,
    Format::Tsv,
    Format::Jsonl,
    Format::Prose,
];

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Line by line, as it grows.
    Lines(Format),
    /// As a whole, once it is complete.
    Whole,
}

impl Form {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Lines(format) => format.as_str(),
            Self::Whole => WHOLE,
        }
    }
}

/// What the options say of how files are written.
#[derive(Debug)]
pub(super) struct Wanted {
    format: Option<Format>,
    kind: Option<Kind>,
    encoding: Encoding,
    map: Vec<Mapping>,
    /// Every file is one value.
    rules: bool,
}

impl Wanted {
    pub(super) fn of(options: &Publish) -> Self {
        let format = options.input_format.format();
        Self {
            format,
            kind: options.kind,
            encoding: options.encoding.into(),
            map: options.map.clone(),
            rules: options.kind.is_some_and(Kind::is_rule) && format != Some(Format::Jsonl),
        }
    }

    fn options(&self, format: Option<Format>) -> interop::Options {
        interop::Options {
            format,
            encoding: self.encoding,
            kind: self.kind,
            map: self.map.clone(),
            is_file: true,
            stamp: None,
        }
    }
}

/// How a file is to be read; none while too little of it is there to tell.
/// What is in a log is lines.
pub(super) fn form(
    place: &Place,
    wanted: &Wanted,
    file: &mut File,
    is_log: bool,
    is_settled: bool,
) -> io::Result<Option<Form>> {
    if let Some(name) = &place.format {
        let format = FORMATS.into_iter().find(|format| format.as_str() == name);
        return Ok(Some(format.map_or(Form::Whole, Form::Lines)));
    }
    if wanted.rules || matches!(wanted.encoding, Encoding::Utf16Le | Encoding::Utf16Be) {
        return Ok(Some(Form::Whole));
    }
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(HEAD).read_to_end(&mut head)?;
    if is_packed(&head) {
        return Ok(Some(Form::Whole));
    }
    let format = match wanted.format {
        Some(format) => format,
        None if head.is_empty() || !(head.contains(&b'\n') || is_settled && !is_log) => return Ok(None),
        None => match Items::new(Cursor::new(head), wanted.options(None)) {
            Ok(items) => items.format(),
            // Whoever reads it as a whole says what is wrong with it.
            Err(_) => return Ok(Some(Form::Whole)),
        },
    };
    // What prose says of a value may stand far from it.
    Ok(Some(if format == Format::Prose && !is_log { Form::Whole } else { Form::Lines(format) }))
}

/// Whether its lines are not to be seen from outside: gzip, zstd, UTF-16.
fn is_packed(head: &[u8]) -> bool {
    [&[0x1f, 0x8b][..], &[0x28, 0xb5, 0x2f, 0xfd], &[0xff, 0xfe], &[0xfe, 0xff]]
        .iter()
        .any(|magic| head.starts_with(magic))
}

/// What the reader must have seen before lines from the middle of a file: the
/// beginning of a table up to its first row.
pub(super) fn header(place: &Place, format: Format, file: &mut File) -> io::Result<Vec<u8>> {
    if place.offset == 0 || !matches!(format, Format::Csv | Format::Semicolons | Format::Tsv) {
        return Ok(Vec::new());
    }
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(HEAD.min(place.offset)).read_to_end(&mut head)?;
    let mut length = 0;
    for line in head.split_inclusive(|&byte| byte == b'\n') {
        length += line.len();
        let text = line.trim_ascii();
        if !text.is_empty() && !text.starts_with(b"#") {
            break;
        }
    }
    head.truncate(length);
    Ok(head)
}

/// Whole lines, and where they lie.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) text: Vec<u8>,
    /// Lines before them.
    before: u64,
    /// What follows them is a line that is too long.
    too_long: bool,
    /// It is the last line, without its end.
    pub(super) is_tail: bool,
}

/// Cuts whole lines off `text`, which follows the place, and moves the place
/// behind them. With `tail` a last line without its end is taken too, and the
/// place stays before it. None if nothing is complete.
pub(super) fn cut(place: &mut Place, mut text: Vec<u8>, tail: bool) -> Option<Lines> {
    let newline = |byte: &u8| *byte == b'\n';
    let mut moved = false;
    if place.skipping {
        let end = text.iter().position(newline);
        let skipped = end.map_or(text.len(), |end| end + 1);
        text.drain(..skipped);
        place.offset += skipped as u64;
        place.lines += u64::from(end.is_some());
        place.skipping = end.is_none();
        moved = skipped > 0;
    }
    let mut lines = Lines { text, before: place.lines, too_long: false, is_tail: false };
    match lines.text.iter().rposition(newline) {
        Some(last) => {
            lines.text.truncate(last + 1);
            place.offset += lines.text.len() as u64;
            place.lines += lines.text.iter().filter(|byte| newline(byte)).count() as u64;
            return Some(lines);
        }
        None if lines.text.len() as u64 >= MAX_BYTES => {
            place.offset += lines.text.len() as u64;
            place.skipping = true;
            lines.text.clear();
            lines.too_long = true;
            return Some(lines);
        }
        None if tail && !lines.text.is_empty() => {
            lines.is_tail = true;
            return Some(lines);
        }
        None => lines.text.clear(),
    }
    moved.then_some(lines)
}

impl Lines {
    /// What stands in them, after a header that is not counted again. A label
    /// that the file put on itself earlier holds on, and one in them is noted
    /// in the place.
    pub(super) fn read(
        self,
        wanted: &Wanted,
        format: Format,
        header: &[u8],
        place: &mut Place,
    ) -> io::Result<Vec<Found>> {
        let Self { text, before, too_long, .. } = self;
        let mut all = Vec::new();
        if too_long {
            let problem = format!("is longer than {MAX_BYTES} bytes and was skipped");
            let what = What::Refused(Reject::new(Reason::LineTooLong, problem, ""));
            all.push(Found { line: before + 1, what });
        }
        if text.is_empty() {
            return Ok(all);
        }
        let header_lines = header.iter().filter(|byte| **byte == b'\n').count() as u64;
        let stamp = place.stamp.as_deref().and_then(Tlp::parse);
        let options = interop::Options { stamp, ..wanted.options(Some(format)) };
        let mut items = Items::new(Cursor::new([header, &text].concat()), options)?;
        for found in &mut items {
            let Found { line, what } = found.map_err(io::Error::other)?;
            if line > header_lines {
                all.push(Found { line: line - header_lines + before, what });
            }
        }
        place.stamp = items.stamp().map(|stamp| stamp.as_str().to_owned());
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(found: Vec<Found>) -> Vec<(u64, String)> {
        let value = |found: Found| match found.what {
            What::Record(record) => (found.line, record.value.unwrap_or_default()),
            What::Refused(reject) | What::PassedOver(reject) => {
                (found.line, reject.reason.as_str().to_owned())
            }
        };
        found.into_iter().map(value).collect()
    }

    fn at(place: &Place) -> usize {
        usize::try_from(place.offset).unwrap()
    }

    fn wanted() -> Wanted {
        Wanted { format: None, kind: None, encoding: Encoding::Auto, map: Vec::new(), rules: false }
    }

    #[test]
    fn a_label_that_a_list_puts_on_itself_holds_for_what_is_added_later() {
        let mut place = Place::default();
        let mut labels = Vec::new();
        for text in
            [&b"# TLP:AMBER\na.example.com\n"[..], b"b.example.com\n", b"# TLP:GREEN\nc.example.com\n"]
        {
            let lines = cut(&mut place, text.to_vec(), false).unwrap();
            for found in lines.read(&wanted(), Format::Plain, b"", &mut place).unwrap() {
                let What::Record(record) = found.what else { panic!("a value") };
                labels.push(record.tlp);
            }
        }
        assert_eq!(labels, vec![Some("TLP:AMBER".to_owned()); 3]);
    }

    #[test]
    fn however_a_file_grows_its_lines_are_read_once_and_under_their_numbers() {
        let whole = b"# list\na.example.com\r\n\nb.example.com\nhalf.exa";
        for step in 1..whole.len() {
            let (mut place, mut all) = (Place::default(), Vec::new());
            for end in (step..whole.len() + step).step_by(step) {
                let there = whole[at(&place)..end.min(whole.len())].to_vec();
                if let Some(lines) = cut(&mut place, there, false) {
                    all.extend(values(lines.read(&wanted(), Format::Plain, b"", &mut place).unwrap()));
                }
            }
            assert_eq!(all, [(2, "a.example.com".to_owned()), (4, "b.example.com".to_owned())], "{step}");
            assert_eq!((place.offset, place.lines), (37, 4));
        }
    }

    #[test]
    fn a_last_line_without_its_end_is_taken_only_when_asked_and_the_place_stays_before_it() {
        let mut place = Place::default();
        assert_eq!(cut(&mut place, b"a.example.co".to_vec(), false), None);
        let lines = cut(&mut place, b"a.example.com".to_vec(), true).unwrap();
        assert!(lines.is_tail);
        assert_eq!(
            values(lines.read(&wanted(), Format::Plain, b"", &mut place).unwrap()),
            [(1, "a.example.com".into())]
        );
        assert_eq!(place.offset, 0);
    }

    #[test]
    fn rows_that_come_later_are_read_by_the_header_of_the_table() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        let first = "# of today\nnote,indicator\nx,a.example.com\n";
        std::fs::write(&path, format!("{first}y,b.example.com\n")).unwrap();
        let mut file = File::open(&path).unwrap();
        let form = form(&Place::default(), &wanted(), &mut file, true, false).unwrap();
        assert_eq!(form, Some(Form::Lines(Format::Csv)));
        let mut place = Place { offset: first.len() as u64, lines: 3, ..Place::default() };
        let header = header(&place, Format::Csv, &mut file).unwrap();
        let lines = cut(&mut place, b"y,b.example.com\n".to_vec(), false).unwrap();
        assert_eq!(
            values(lines.read(&wanted(), Format::Csv, &header, &mut place).unwrap()),
            [(4, "b.example.com".into())]
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_one_reject_and_what_follows_is_read() {
        let mut whole = b"a.example.com\n".to_vec();
        whole.extend(vec![b'x'; 3 << 19]);
        whole.extend(b"\nb.example.com\n");
        let (mut place, mut all) = (Place::default(), Vec::new());
        loop {
            let there = &whole[at(&place)..];
            let there = there[..there.len().min(1 << 20)].to_vec();
            let Some(lines) = cut(&mut place, there, false) else { break };
            all.extend(values(lines.read(&wanted(), Format::Plain, b"", &mut place).unwrap()));
        }
        let expected = [(1, "a.example.com"), (2, "LINE_TOO_LONG"), (3, "b.example.com")];
        assert_eq!(all, expected.map(|(line, text)| (line, text.to_owned())));
        assert_eq!(place.offset, whole.len() as u64);
    }
}
