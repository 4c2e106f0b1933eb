//! Decides in which format an input is written, by its first lines.

use super::encoding::{Encoding, Text};
use super::found::What;
use super::{Format, adblock, hosts, plain, table};

/// Lines that are looked at.
const LINES: usize = 400;

/// The format of an input that begins with `start`, already unpacked and in
/// UTF-8. A last line that may be cut short does not count.
#[must_use]
pub(super) fn format(start: &[u8], is_whole: bool) -> Format {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    if start.trim_ascii_start().starts_with(b"{") {
        return Format::Jsonl;
    }
    let mut raw: Vec<&[u8]> = start.split(|&b| b == b'\n' || b == b'\r').collect();
    if !is_whole && raw.len() > 1 {
        raw.pop();
    }
    let text = |line: &[u8]| Encoding::Auto.text(line);
    let lines: Vec<Text> = raw.into_iter().filter(|l| !l.is_empty()).take(LINES).filter_map(text).collect();
    let comments = lines.iter().filter(|line| line.text.trim_start().starts_with('#'));
    if comments.take(12).any(|line| line.text.contains("Maltrail") || line.text.starts_with("# Reference:")) {
        return Format::Maltrail;
    }
    let is_text = |line: &&Text| {
        let line = line.text.trim();
        let is_comment = line.starts_with('#') && !line.starts_with("##");
        !(line.is_empty() || is_comment || line.starts_with(';') || line.starts_with("//"))
    };
    let said: Vec<&str> = lines.iter().filter(is_text).map(|line| line.text.as_str()).collect();
    if is_adblock(&said) {
        Format::Adblock
    } else if most(&said, 60, is_hosts) {
        Format::Hosts
    } else if is_document(&lines) {
        Format::Prose
    } else if let Some(format) = delimited(&said) {
        format
    } else if is_plain(&lines) {
        Format::Plain
    } else {
        Format::Prose
    }
}

/// Whether so many of a hundred lines are such.
fn most(lines: &[&str], percent: usize, is: impl Fn(&str) -> bool) -> bool {
    !lines.is_empty() && lines.iter().filter(|line| is(line)).count() * 100 >= lines.len() * percent
}

fn is_adblock(lines: &[&str]) -> bool {
    lines.first().is_some_and(|first| first.starts_with("[Adblock"))
        || most(lines, 50, |line| {
            ["||", "@@||", "*://", "|http", "! "].iter().any(|mark| line.starts_with(mark))
        }) && lines.iter().any(|line| matches!(adblock::read(&owned(line)), Some(What::Record(_))))
}

fn owned(line: &str) -> Text {
    Text { text: line.to_owned(), sure: true }
}

fn is_hosts(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next().is_some_and(hosts::is_nowhere) && words.next().is_some()
}

/// AsciiDoc and Markdown, by their headings, blocks and lists.
fn is_document(lines: &[Text]) -> bool {
    let marks = ["= ", "== ", "=== ", "## ", "### ", "----", "|===", "[options=", ":toc", "```", "- ", "* "];
    let marked = |line: &&Text| marks.iter().any(|mark| line.text.starts_with(mark));
    let found = lines.iter().filter(marked).count();
    found >= 2 && found * 12 >= lines.len()
}

/// CSV or TSV: almost every line has the same number of cells, two or more.
fn delimited(lines: &[&str]) -> Option<Format> {
    let steady = |delimiter: char| {
        let header = table::cells(lines.first()?, delimiter);
        if header.len() >= 2 && table::is_header(&header) {
            return Some(header.len());
        }
        let counts: Vec<usize> =
            lines.iter().take(100).map(|line| table::cells(line, delimiter).len()).collect();
        let usual = most_common(&counts)?;
        let like = counts.iter().filter(|&&count| count == usual).count();
        (usual >= 2 && like * 100 >= counts.len() * 80 && counts.first().is_some_and(|&first| first >= 2))
            .then_some(usual)
    };
    let best = ['\t', ',', ';'].into_iter().filter_map(|delimiter| Some((steady(delimiter)?, delimiter)));
    match best.max_by_key(|(cells, _)| *cells) {
        Some((_, '\t')) => Some(Format::Tsv),
        Some((_, ';')) => Some(Format::Semicolons),
        Some(_) => Some(Format::Csv),
        None => None,
    }
}

fn most_common(counts: &[usize]) -> Option<usize> {
    counts.iter().copied().max_by_key(|count| counts.iter().filter(|other| *other == count).count())
}

/// One value on a line: no line has several words.
fn is_plain(lines: &[Text]) -> bool {
    lines.iter().all(|line| {
        let value = plain::uncommented(&line.text);
        value.split_whitespace().count() <= 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_tell_the_format() {
        for (start, expected) in [
            ("", Format::Plain),
            ("\u{feff}\n {\"value\":\"a.example\"}", Format::Jsonl),
            ("# list\na.example\n198.51.100.7 # why\n", Format::Plain),
            ("! Title\n||a.example^\n||b.example^$all\n@@||c.example^\n", Format::Adblock),
            ("# hosts\n127.0.0.1 localhost\n0.0.0.0 a.example\n0.0.0.0 b.example\n", Format::Hosts),
            ("# Maltrail\n\na.example\n", Format::Maltrail),
            ("# IP\tcount\n198.51.100.7\t10\n198.51.100.8\t9\n", Format::Tsv),
            ("sha1,c2\n,a.example\n", Format::Csv),
            ("a;b\nc;d\n", Format::Semicolons),
            ("domain;note\na.example;\"two\nlines\"\n", Format::Semicolons),
            ("= Report\n\n== C2\n\n- a.example, b.example\n", Format::Prose),
            ("APPENDIX B: SITES\n\na[.]example\nb[.]example\n", Format::Prose),
            ("a[.]example - 198.51.100[.]7\n", Format::Prose),
        ] {
            assert_eq!(format(start.as_bytes(), true), expected, "{start}");
        }
    }

    #[test]
    fn a_last_line_cut_short_does_not_count() {
        assert_eq!(format(b"a.example\nsome wo", false), Format::Plain);
    }
}
