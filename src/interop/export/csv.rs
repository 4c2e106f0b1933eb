//! Decides how indicators read as comma-separated values: RFC 4180 with a
//! header, CRLF and UTF-8. A cell that a spreadsheet would take for a formula
//! begins with an apostrophe instead (OWASP, CSV injection): who reads the
//! file with a program takes it off again.

use crate::interop::jsonl;
use crate::interop::row::{Revocation, Row};

/// Between the members of a list in one cell; no member holds one.
const BETWEEN: &str = " ";

const COLUMNS: [&str; 34] = [
    "name",
    "kind",
    "value",
    "tlp",
    "state",
    "owner",
    "action",
    "role",
    "confidence",
    "labels",
    "family",
    "campaign",
    "techniques",
    "description",
    "valid_from",
    "valid_until",
    "first_seen",
    "last_seen",
    "create_time",
    "version",
    "md5",
    "sha1",
    "sha256",
    "sha512",
    "raw",
    "to",
    "to_groups",
    "to_persons",
    "caveats",
    "published_by",
    "republication_of",
    "revocation_reason",
    "revocation_note",
    "revocation_time",
];

/// Writes the header.
pub(super) fn head(out: &mut Vec<u8>) {
    out.extend_from_slice(COLUMNS.join(",").as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes one indicator; how many cells were kept from reading as formulas.
pub(super) fn row(row: Row, out: &mut Vec<u8>) -> u64 {
    let Row { name, said, owner, published_by, republication_of, state, version, create_time, revocation } =
        row;
    let jsonl::Record {
        value,
        kind,
        md5,
        sha1,
        sha256,
        sha512,
        raw,
        tlp,
        to,
        to_groups,
        to_persons,
        caveats,
        labels,
        confidence,
        description,
        valid_from,
        valid_until,
        first_seen,
        last_seen,
        action,
        role,
        family,
        campaign,
        techniques,
    } = said;
    let (reason, note, time) = match revocation {
        Some(Revocation { reason, note, time }) => (reason, note, time),
        None => ("", String::new(), None),
    };
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let text = |text: Option<String>| text.unwrap_or_default();
    let cells: [String; COLUMNS.len()] = [
        name,
        text(kind),
        text(value),
        text(tlp),
        state.to_owned(),
        owner,
        text(action),
        text(role),
        number(confidence.map(u64::from)),
        labels.join(BETWEEN),
        text(family),
        text(campaign),
        techniques.join(BETWEEN),
        text(description),
        text(valid_from),
        text(valid_until),
        text(first_seen),
        text(last_seen),
        text(create_time),
        number(version),
        text(md5),
        text(sha1),
        text(sha256),
        text(sha512),
        text(raw),
        to.join(BETWEEN),
        to_groups.join(BETWEEN),
        to_persons.join(BETWEEN),
        caveats.join(BETWEEN),
        published_by,
        republication_of,
        reason.to_owned(),
        note,
        text(time),
    ];
    let mut defused = 0;
    for (at, text) in cells.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        defused += u64::from(cell(text, out));
    }
    out.extend_from_slice(b"\r\n");
    defused
}

/// Writes one cell of a table; whether it was kept from reading as a formula.
pub fn cell(text: &str, out: &mut Vec<u8>) -> bool {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    // Some spreadsheets cut at these as well, and take blanks off the ends.
    let quoted = text.contains([',', ';', '"', '\r', '\n', '\t']) || text.trim() != text;
    let apostrophe = if formula { "'" } else { "" };
    if quoted {
        out.push(b'"');
        out.extend_from_slice(apostrophe.as_bytes());
        out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(apostrophe.as_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    formula
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (String, bool) {
        let mut out = Vec::new();
        let defused = cell(text, &mut out);
        (String::from_utf8(out).unwrap(), defused)
    }

    #[test]
    fn no_cell_begins_as_a_formula_does() {
        for (text, expected) in [
            ("=1+1", "'=1+1"),
            ("+84912345678", "'+84912345678"),
            ("-2", "'-2"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            ("=HYPERLINK(\"http://x\",\"y\")", "\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\""),
        ] {
            assert_eq!(written(text), (expected.to_owned(), true), "{text:?}");
        }
    }

    #[test]
    fn a_cell_reads_back_as_what_was_written() {
        for (text, expected) in [
            ("", ""),
            ("evil.example", "evil.example"),
            ("a,b", "\"a,b\""),
            ("a;b", "\"a;b\""),
            ("a\"b", "\"a\"\"b\""),
            ("hai\r\ndòng", "\"hai\r\ndòng\""),
            (" a", "\" a\""),
        ] {
            assert_eq!(written(text), (expected.to_owned(), false), "{text:?}");
        }
    }

    #[test]
    fn every_row_has_the_cells_of_the_header() {
        let mut out = Vec::new();
        head(&mut out);
        assert_eq!(row(Row { name: "indicators/x".into(), ..Row::default() }, &mut out), 0);
        let text = String::from_utf8(out).unwrap();
        let counts: Vec<_> = text.lines().map(|line| line.split(',').count()).collect();
        assert_eq!(counts, [COLUMNS.len(); 2]);
        assert_eq!(text.matches("\r\n").count(), 2);
    }
}
