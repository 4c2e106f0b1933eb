//! Decides the fields of an indicator in JSON lines: one object on a line,
//! read by `publish` and written by `subscribe`.
//!
//! What `subscribe` and `list` add of the hub's own, and `--rejects` of the
//! refusal, is read past, so that their output can be published again. Any other field is refused: a
//! misspelt `tlp` must not widen an audience without a word.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::BufRead;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::Error;
use super::found::sanitised;
use super::lines::ByteLines;

/// Longest line, in bytes: the longest description and value, escaped.
pub const MAX_LINE_BYTES: usize = 512 * 1024;

/// One indicator as text, before anything is checked. Every field is optional;
/// an absent one is not written.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// The observable; `observable` is read too.
    #[serde(alias = "observable", skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Its kind, such as `domain`; detected if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// A file's MD5, instead of or beside `value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
    /// A file's SHA-1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha1: Option<String>,
    /// A file's SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// A file's SHA-512.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha512: Option<String>,
    /// The text first supplied, where it differs from the canonical `value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// The TLP label, such as `TLP:AMBER`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tlp: Option<String>,
    /// Slugs of the organisations that an AMBER marking names.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// Slugs of the groups that it names.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub to_groups: Vec<String>,
    /// SPIFFE identities of the persons whom a RED marking names.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub to_persons: Vec<String>,
    /// What the source adds to the marking, such as `no-onward-feed`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub caveats: Vec<String>,
    /// Labels.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Confidence, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<u8>,
    /// What a reader should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When the assertion starts to hold, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<String>,
    /// When it ceases to hold, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
    /// When the observable was first seen, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<String>,
    /// When it was last seen, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<String>,
    /// What the producer recommends, such as `block`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// What the observable is in the attack, such as `victim`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The family of malware.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// The campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Techniques of MITRE ATT&CK.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub techniques: Vec<String>,
}

/// How many of [`FIELDS`] are read into a [`Record`].
const READ: usize = 25;
/// Every field that a line may have: those that are read, then the hub's own
/// and those of a reject.
const FIELDS: [&str; 44] = [
    "value",
    "observable",
    "kind",
    "md5",
    "sha1",
    "sha256",
    "sha512",
    "raw",
    "tlp",
    "to",
    "to_groups",
    "to_persons",
    "caveats",
    "labels",
    "confidence",
    "description",
    "valid_from",
    "valid_until",
    "first_seen",
    "last_seen",
    "action",
    "role",
    "family",
    "campaign",
    "techniques",
    "event_id",
    "event",
    "name",
    "owner",
    "published_by",
    "republication_of",
    "state",
    "version",
    "create_time",
    "revocation",
    "sightings",
    "collisions",
    "reinstatement",
    "file",
    "line",
    "reason",
    "problem",
    "passed_over",
    "text",
];

/// What a line tells that decides whether it may be published.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    event: Option<String>,
    state: Option<String>,
}

impl std::fmt::Debug for Record {
    /// The marking only: values do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").field("tlp", &self.tlp).finish_non_exhaustive()
    }
}

/// `null` is how many tools write an empty list.
fn or_default<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// The records of a file of JSON lines, each with the number of its line. A
/// line that cannot be read is an error of its own; blank lines are skipped.
#[derive(Debug)]
pub struct Records<R> {
    lines: ByteLines<R>,
}

impl<R: BufRead> Records<R> {
    /// The records in `input`, read as they are asked for.
    pub const fn new(input: R) -> Self {
        Self { lines: ByteLines::new(input, MAX_LINE_BYTES) }
    }
}

impl<R: BufRead> Iterator for Records<R> {
    type Item = Result<(u64, Record), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (number, line) = match self.lines.next_line()? {
                Ok(read) => read,
                Err(error) => return Some(Err(error)),
            };
            let line = line.trim_ascii();
            if !line.is_empty() {
                return Some(parse(number, line).map(|record| (number, record)));
            }
        }
    }
}

fn parse(number: u64, line: &[u8]) -> Result<Record, Error> {
    // Serde would read an array as the fields in order.
    if !line.starts_with(b"{") {
        let problem =
            "is not a JSON object: each line is one, such as {\"value\": \"example.org\"}".to_owned();
        return Err(Error::NotRecord { number, problem });
    }
    let invalid = |error: serde_json::Error| Error::NotRecord { number, problem: problem(&error) };
    let record = serde_json::from_slice(line).map_err(invalid)?;
    let names: BTreeMap<Cow<'_, str>, IgnoredAny> = serde_json::from_slice(line).map_err(invalid)?;
    if let Some(name) = names.keys().find(|name| !FIELDS.contains(&name.as_ref())) {
        let name = sanitised(name, 40);
        let problem = format!(
            "has a field `{name}` that is not known here; known are {}",
            FIELDS.iter().take(READ).copied().collect::<Vec<_>>().join(", ")
        );
        return Err(Error::NotRecord { number, problem });
    }
    let told: Told = serde_json::from_slice(line).map_err(invalid)?;
    if told.event.is_some_and(|event| event != "new" && event != "update")
        || told.state.is_some_and(|state| state != "active")
    {
        let problem =
            "tells of an indicator that is revoked, expired or withdrawn: publishing it would bring it back";
        return Err(Error::NotRecord { number, problem: problem.to_owned() });
    }
    Ok(record)
}

/// What is wrong and where; not in serde's words, which repeat values.
fn problem(error: &serde_json::Error) -> String {
    let column = error.column();
    match error.classify() {
        serde_json::error::Category::Data => format!(
            "has a field of the wrong type or given twice, before column {column}: confidence is a number from 0 to \
             100; to, to_groups, to_persons, caveats and labels are lists of texts; all else is text"
        ),
        serde_json::error::Category::Eof => {
            "is a JSON object cut short: the whole object stands on one line".to_owned()
        }
        _ => format!("is not valid JSON at column {column}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(input: &str) -> Vec<Result<(u64, Record), String>> {
        Records::new(input.as_bytes()).map(|item| item.map_err(|e| e.to_string())).collect()
    }

    fn one(input: &str) -> Record {
        read(input).pop().unwrap().unwrap().1
    }

    #[test]
    fn the_fields_of_the_hub_are_read_past_and_blank_lines_skipped() {
        let got = read(
            "\u{feff}{\"value\":\"example.org\",\"event_id\":\"x\",\"event\":\"new\",\"sightings\":[{\"a\":[1]}]}\r\n\n  {\"observable\":\"198.51.100.7\"}\n",
        );
        assert_eq!(got.len(), 2);
        assert_eq!(got[0].as_ref().unwrap().1.value.as_deref(), Some("example.org"));
        let (number, second) = got[1].as_ref().unwrap();
        assert_eq!((*number, second.value.as_deref()), (3, Some("198.51.100.7")));
    }

    #[test]
    fn a_misspelt_field_is_refused_and_named() {
        let got = read("{\"value\":\"example.org\",\"tpl\":\"amber\"}");
        assert!(got[0].as_ref().is_err_and(|why| why.contains("`tpl`") && why.contains("tlp")), "{got:?}");
    }

    #[test]
    fn the_name_of_a_field_cannot_steer_a_terminal() {
        let got = read("{\"\\u001b[31m\\u202egpj\\u009b\":1}");
        let why = got[0].as_ref().unwrap_err();
        assert!(!why.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{why:?}");
    }

    #[test]
    fn what_tells_of_a_dead_indicator_is_not_published_again() {
        for told in ["\"event\":\"revoked\"", "\"event\":\"withdrawn\"", "\"state\":\"expired\""] {
            assert!(read(&format!("{{\"value\":\"example.org\",{told}}}"))[0].is_err(), "{told}");
        }
    }

    #[test]
    fn null_is_the_same_as_absent() {
        assert_eq!(
            one("{\"value\":null,\"to\":null,\"labels\":null,\"confidence\":null}"),
            Record::default()
        );
    }

    #[test]
    fn an_absent_field_is_not_written() {
        assert_eq!(serde_json::to_string(&Record::default()).unwrap(), "{}");
    }

    #[test]
    fn a_broken_line_is_one_error_that_shows_no_value() {
        let got = read(
            "{\"value\":\"a.example\"}\n{\"value\":7777}\n{\"value\":\"secret\n[\"secret\"]\nsecret\n{\"confidence\":\"secret\"}\n{\"value\":\"b.example\"}\n",
        );
        assert_eq!(got.len(), 7);
        for (at, item) in got.iter().enumerate() {
            match item {
                Ok(_) => assert!(at == 0 || at == 6, "line {}", at + 1),
                Err(why) => {
                    assert!(why.starts_with(&format!("line {}: ", at + 1)), "{why}");
                    assert!(!why.contains("secret") && !why.contains("7777"), "{why}");
                }
            }
        }
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(&format!("{{\"sightings\":{deep}}}"))[0].is_ok());
        assert!(read(&format!("{{\"to\":{deep}}}"))[0].is_err());
        assert!(read(&deep)[0].is_err());
    }

    fn text() -> impl Strategy<Value = Option<String>> {
        proptest::option::of(".{0,12}")
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_back(
            (value, kind, raw, tlp) in (text(), text(), text(), text()),
            (md5, sha1, sha256, sha512, action) in (text(), text(), text(), text(), text()),
            (valid_from, valid_until, first_seen, last_seen) in (text(), text(), text(), text()),
            (description, role, family, campaign) in (text(), text(), text(), text()),
            to in proptest::collection::vec(".{0,5}", 0..3),
            to_groups in proptest::collection::vec(".{0,5}", 0..3),
            to_persons in proptest::collection::vec(".{0,5}", 0..3),
            caveats in proptest::collection::vec(".{0,5}", 0..3),
            labels in proptest::collection::vec(".{0,5}", 0..3),
            techniques in proptest::collection::vec(".{0,5}", 0..3),
            confidence in proptest::option::of(any::<u8>()),
        ) {
            let record = Record {
                value, kind, md5, sha1, sha256, sha512, raw, tlp, to, to_groups, to_persons, caveats, labels, confidence, description,
                valid_from, valid_until, first_seen, last_seen, action, role, family, campaign, techniques,
            };
            let line = serde_json::to_string(&record).unwrap();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(one(&line), record);
        }
    }
}
