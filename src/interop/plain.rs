//! Decides what the values of a plain list are: one on a line, comments and
//! blank lines skipped.
//!
//! A comment is a line that starts with `#`, `;` or `//`, and whatever follows
//! white space and a `#`. Lines end in LF, CR LF or CR; a byte-order mark and white
//! space around a value, the no-break space of Latin-1 included, are dropped.

use std::io::BufRead;

use crate::model::indicator::Kind;

use super::Error;
use super::encoding::Text;
use super::found::{Reason, What};
use super::lines::ByteLines;
use super::value as list_value;

/// Longest line, in bytes.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// One value of a list, as written.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// Number of its line, from 1.
    pub number: u64,
    /// The value, without white space around it; never empty.
    pub text: String,
}

impl std::fmt::Debug for Line {
    /// The number only: values do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Line({})", self.number)
    }
}

/// The values of a plain list. A line that cannot be read is an error of its
/// own; the lines around it are read.
#[derive(Debug)]
pub struct Lines<R> {
    lines: ByteLines<R>,
}

impl<R: BufRead> Lines<R> {
    /// The values in `input`, read as they are asked for.
    pub const fn new(input: R) -> Self {
        Self { lines: ByteLines::new(input, MAX_LINE_BYTES) }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Line, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (number, line) = match self.lines.next_line()? {
                Ok(read) => read,
                Err(error) => return Some(Err(error)),
            };
            match value(line) {
                Ok("") => {}
                Ok(text) => return Some(Ok(Line { number, text: text.to_owned() })),
                Err(NotText) => return Some(Err(Error::NotText { number })),
            }
        }
    }
}

/// Reads one line for publishing; `None` for a comment or a blank line.
pub(super) fn read(line: &Text) -> Option<What> {
    let text = value(line.text.as_bytes()).unwrap_or_default();
    (!text.is_empty()).then(|| list_value::of_list(&Text { text: text.to_owned(), sure: line.sure }))
}

/// Reads one line whose kind is named beside the list, as it is written. Where
/// values may hold blanks, a remark cannot be told from a part of one.
pub(super) fn as_it_is(line: &Text, kind: Kind) -> Option<What> {
    let text = if kind.may_hold_blanks() {
        Some(line.text.trim()).filter(|text| !text.starts_with('#')).unwrap_or_default()
    } else {
        value(line.text.as_bytes()).unwrap_or_default()
    };
    let sure = || list_value::unsure(line.sure, text).unwrap_or_else(|| list_value::record(text));
    (!text.is_empty()).then(sure)
}

/// What the names in a list have turned out to be so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    hosts: u64,
    others: u64,
}

/// Names that are looked at before a list is judged by them.
const ENOUGH: u64 = 20;

impl Names {
    /// Lets nothing pass as a host name for its ending alone, where most names
    /// of the list are those of packages, files or processes.
    pub(super) fn judge(&mut self, what: What) -> What {
        match what {
            What::Refused(reject) => {
                let named = matches!(reject.reason, Reason::UnknownTld | Reason::Lookalike);
                self.others += u64::from(named);
                What::Refused(reject)
            }
            What::Record(record) => {
                let text = record.value.as_deref().unwrap_or_default();
                if text.contains(['/', ':'])
                    || !text.ends_with(|c: char| c.is_alphabetic())
                    || !text.contains('.')
                {
                    return What::Record(record);
                }
                if self.others >= ENOUGH && self.others > self.hosts && !list_value::is_defanged(text) {
                    let problem =
                        "stands in a list of which most names are no host names: defang it if it is one";
                    return What::refused(Reason::Lookalike, problem, text);
                }
                self.hosts += 1;
                What::Record(record)
            }
            other @ What::PassedOver(_) => other,
        }
    }
}

/// A line without its comment.
pub(super) fn uncommented(line: &str) -> &str {
    value(line.as_bytes()).unwrap_or_default()
}

#[derive(Debug)]
struct NotText;

/// The value on a line; empty for a comment. Comments are cut before the
/// encoding is looked at, so that only the value's own matters.
fn value(line: &[u8]) -> Result<&str, NotText> {
    let line = trim_ascii_and_nbsp(line, false);
    if line.starts_with(b"#") || line.starts_with(b";") || line.starts_with(b"//") {
        return Ok("");
    }
    let line = line.get(..comment_start(line)).unwrap_or(line);
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(_) => std::str::from_utf8(trim_ascii_and_nbsp(line, true)).map_err(|_| NotText)?,
    };
    Ok(text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}'))
}

/// Where white space and a `#` begin, or the end.
fn comment_start(line: &[u8]) -> usize {
    let blank_before = |at: usize| {
        let before = line.get(..at).unwrap_or_default();
        before.ends_with(b" ") || before.ends_with(b"\t") || before.ends_with(b"\xc2\xa0")
    };
    let mut marks = line.iter().enumerate().filter(|&(_, &byte)| byte == b'#').map(|(at, _)| at);
    marks.find(|&at| blank_before(at)).unwrap_or(line.len())
}

/// Without white space at both ends; with `latin1`, also without the bytes
/// that are a no-break space in Latin-1 and nothing in UTF-8.
fn trim_ascii_and_nbsp(mut line: &[u8], latin1: bool) -> &[u8] {
    loop {
        let before = line.len();
        line = line.trim_ascii();
        for mark in [b"\xc2\xa0".as_slice(), b"\xef\xbb\xbf"] {
            line = line.strip_prefix(mark).unwrap_or(line);
            line = line.strip_suffix(mark).unwrap_or(line);
        }
        if latin1 {
            line = line.strip_prefix(b"\xa0").unwrap_or(line);
            line = line.strip_suffix(b"\xa0").unwrap_or(line);
        }
        if line.len() == before {
            return line;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufReader, Read};

    use proptest::prelude::*;

    use super::*;

    fn values(input: &[u8]) -> Vec<(u64, Result<String, String>)> {
        // A tiny buffer, so that lines span several reads.
        Lines::new(BufReader::with_capacity(7, input))
            .map(|item| match item {
                Ok(line) => (line.number, Ok(line.text)),
                Err(e) => (e.number(), Err(e.to_string())),
            })
            .collect()
    }

    fn taken(input: &[u8]) -> Vec<(u64, String)> {
        values(input).into_iter().map(|(n, v)| (n, v.expect("a value"))).collect()
    }

    #[test]
    fn comments_blank_lines_marks_and_line_ends_are_not_values() {
        let list = "\u{feff}# head\r\nexample.org\r\n\r\n; note\n// note\n\t 198.51.100.7 \u{a0}# why\nhttp://example.org/#top\n\u{a0}\n\u{a0}# x\nlast.example.org";
        assert_eq!(
            taken(list.as_bytes()),
            [
                (2, "example.org".to_owned()),
                (6, "198.51.100.7".to_owned()),
                (7, "http://example.org/#top".to_owned()),
                (10, "last.example.org".to_owned()),
            ]
        );
    }

    #[test]
    fn a_byte_order_mark_before_the_first_value_is_no_part_of_it() {
        assert_eq!(taken(b"\xef\xbb\xbfexample.org\n"), [(1, "example.org".to_owned())]);
    }

    #[test]
    fn one_bad_byte_rejects_its_own_line_only() {
        let got = values(
            b"a.example\n\xff\xfe.example\nb.example \xa0\r\nc.example # caf\xe9\n# \xff\nd.example\n",
        );
        assert_eq!(got.len(), 5);
        assert_eq!(got[0], (1, Ok("a.example".to_owned())));
        assert!(matches!(&got[1], (2, Err(why)) if why.contains("line 2") && why.contains("UTF-8")));
        assert_eq!(got[2], (3, Ok("b.example".to_owned())));
        assert_eq!(got[3], (4, Ok("c.example".to_owned())));
        assert_eq!(got[4], (6, Ok("d.example".to_owned())));
    }

    #[test]
    fn a_letter_that_ends_like_a_latin_1_space_is_kept() {
        // U+00E0 is C3 A0 in UTF-8.
        assert_eq!(taken("hà\n".as_bytes()), [(1, "hà".to_owned())]);
    }

    #[test]
    fn an_endless_line_is_one_error_and_the_next_line_is_read() {
        let endless = io::repeat(b'x').take(50 * 1024 * 1024).chain(&b"\nnext.example\n"[..]);
        let mut lines = Lines::new(BufReader::new(endless));
        assert!(matches!(lines.next(), Some(Err(Error::TooLong { number: 1, limit: MAX_LINE_BYTES }))));
        assert!(lines.lines.line.capacity() <= 2 * MAX_LINE_BYTES + 64);
        assert_eq!(lines.next().unwrap().unwrap().text, "next.example");
        assert!(lines.next().is_none());
    }

    #[test]
    fn a_line_at_the_limit_is_read_and_one_byte_more_is_not() {
        let line = |len: usize| [vec![b'x'; len], b"\r\n".to_vec()].concat();
        assert!(values(&line(MAX_LINE_BYTES))[0].1.is_ok());
        assert!(values(&line(MAX_LINE_BYTES + 1))[0].1.is_err());
    }

    #[test]
    fn a_failing_reader_is_one_error_and_the_end() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        let mut lines = Lines::new(BufReader::new((&b"one.example\n"[..]).chain(Broken)));
        assert!(lines.next().unwrap().is_ok());
        assert!(matches!(lines.next(), Some(Err(Error::Read { number: 1, .. }))));
        assert!(lines.next().is_none());
    }

    #[test]
    fn among_names_of_packages_nothing_passes_for_its_ending_alone() {
        let mut names = Names::default();
        let mut told = |text: &str| {
            let line = Text { text: text.to_owned(), sure: true };
            matches!(names.judge(read(&line).unwrap()), What::Record(_))
        };
        assert!(told("tut.finance.bank"));
        for n in 0..ENOUGH {
            assert!(!told(&format!("by.tut{n}.nosuch")));
        }
        assert!(!told("by.tut.bank"));
        assert!(told("by.tut[.]bank") && told("198.51.100.7") && told("http://by.tut.bank/"));
    }

    #[test]
    fn a_value_that_may_hold_blanks_is_never_cut_at_a_sign() {
        let told = |line: &str, kind, sure| match as_it_is(&Text { text: line.to_owned(), sure }, kind) {
            Some(What::Record(record)) => record.value.unwrap(),
            Some(What::Refused(reject) | What::PassedOver(reject)) => reject.reason.as_str().to_owned(),
            None => "-".to_owned(),
        };
        assert_eq!(told(" Global\\run #1 ", Kind::Mutex, true), "Global\\run #1");
        assert_eq!(told("; x", Kind::FileName, true), "; x");
        assert_eq!(told("# remark", Kind::FileName, true), "-");
        assert_eq!(told("0912345678 # hotline", Kind::Phone, true), "0912345678");
        assert_eq!(told("b\u{e1}o c\u{e1}o.doc", Kind::FileName, false), "NOT_TEXT");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_read_to_the_end_with_rising_numbers(input in proptest::collection::vec(any::<u8>(), 0..300)) {
            let ends = input.iter().filter(|&&b| b == b'\n' || b == b'\r').count() as u64;
            let numbers: Vec<u64> = values(&input).into_iter().map(|(n, _)| n).collect();
            prop_assert!(numbers.is_sorted_by(|a, b| a < b));
            prop_assert!(numbers.last().is_none_or(|&last| last <= ends + 1));
        }
    }
}
