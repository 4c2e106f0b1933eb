//! Decides what a column is by its header.

use time::format_description::FormatItem;
use time::macros::format_description;

use crate::interop::jsonl::Record;
use crate::interop::value;
use crate::model::indicator::technique;

/// What a column says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// An observable, of whatever kind it is.
    Value,
    /// What a reader should know.
    Description,
    /// Labels, apart by commas or blanks.
    Labels,
    /// Confidence, 0 to 100.
    Confidence,
    /// When it was first seen.
    FirstSeen,
    /// When it was last seen.
    LastSeen,
    /// Since when it holds.
    ValidFrom,
    /// Until when it holds.
    ValidUntil,
    /// The TLP label.
    Tlp,
    /// The family of malware.
    Family,
    /// The campaign.
    Campaign,
    /// Techniques of ATT&CK, apart by commas or blanks.
    Techniques,
    /// Its role in the attack.
    Role,
    /// What is recommended.
    Action,
    /// Nothing that is published.
    Ignore,
}

const FIELDS: [(&str, Field); 15] = [
    ("value", Field::Value),
    ("description", Field::Description),
    ("labels", Field::Labels),
    ("confidence", Field::Confidence),
    ("first_seen", Field::FirstSeen),
    ("last_seen", Field::LastSeen),
    ("valid_from", Field::ValidFrom),
    ("valid_until", Field::ValidUntil),
    ("tlp", Field::Tlp),
    ("family", Field::Family),
    ("campaign", Field::Campaign),
    ("techniques", Field::Techniques),
    ("role", Field::Role),
    ("action", Field::Action),
    ("ignore", Field::Ignore),
];

/// Headers as feeds and reports write them, letters and digits alone.
const HEADERS: [(Field, &[&str]); 14] = [
    (
        Field::Value,
        &[
            "value",
            "indicator",
            "indicators",
            "ioc",
            "iocs",
            "iocvalue",
            "observable",
            "domain",
            "domains",
            "domainname",
            "host",
            "hostname",
            "fqdn",
            "ip",
            "ips",
            "ipaddress",
            "ipv4",
            "ipv6",
            "srcip",
            "dstip",
            "dstaddress",
            "url",
            "urls",
            "uri",
            "weburi",
            "c2",
            "c2server",
            "c2servers",
            "c2url",
            "cc",
            "cncserver",
            "server",
            "md5",
            "md5hash",
            "sha1",
            "sha1hash",
            "sha256",
            "sha256hash",
            "hash",
            "filehash",
            "address",
            "tênmiền",
            "địachỉip",
            "mãbăm",
        ],
    ),
    (
        Field::Description,
        &[
            "description",
            "comment",
            "comments",
            "note",
            "notes",
            "context",
            "desc",
            "title",
            "môtả",
            "ghichú",
        ],
    ),
    (Field::Labels, &["labels", "tags", "tag", "label"]),
    (Field::Confidence, &["confidence", "confidencelevel"]),
    (Field::FirstSeen, &["firstseen", "firstseenutc", "dateadded", "firstsubmission", "seenfirst"]),
    (Field::LastSeen, &["lastseen", "lastseenutc", "lastonline", "seenlast"]),
    (Field::Tlp, &["tlp", "marking"]),
    (Field::Family, &["family", "malware", "malwarefamily", "malwareprintable", "signature"]),
    (Field::Campaign, &["campaign"]),
    (Field::Techniques, &["techniques", "technique", "attacktechniques", "mitreattack", "ttps"]),
    // These narrow what is said of a value: a column that bears the name of
    // the field is never passed over.
    (Field::ValidFrom, &["validfrom"]),
    (Field::ValidUntil, &["validuntil"]),
    (Field::Role, &["role"]),
    (Field::Action, &["action", "recommendedaction"]),
];

/// Words in headers of columns about those who were attacked.
const VICTIM: [&str; 4] = ["victim", "target", "compromised", "nạn nhân"];

/// Words in headers of columns that are about other things than observables,
/// or hold what looks like the hash of a file and is another.
const OTHER: [&str; 53] = [
    "file name",
    "filename",
    "file type",
    "file size",
    "filetype",
    "filesize",
    "pdb",
    "path",
    "version",
    "reporter",
    "reference",
    "link",
    "source",
    "count",
    "number",
    "timestamp",
    "time",
    "date",
    "size",
    "extension",
    "key",
    "salt",
    "price",
    "payment",
    "received",
    "cluster",
    "directory",
    "status",
    "asn",
    "country",
    "malpedia",
    "alias",
    "decoy",
    "subject",
    "imphash",
    "import hash",
    "pehash",
    "authentihash",
    "vhash",
    "telfhash",
    "dhash",
    "tlsh",
    "ssdeep",
    "ja3",
    "ja4",
    "certificate",
    "thumbprint",
    "fingerprint",
    "parent",
    "internal",
    "whitelist",
    "allowlist",
    "benign",
];

/// Words of which the names of fields are made that have dots between them, as
/// those of ECS and of packet captures.
const FIELD_WORDS: [&str; 33] = [
    "address",
    "agent",
    "client",
    "destination",
    "dns",
    "domain",
    "dst",
    "event",
    "file",
    "full",
    "hash",
    "host",
    "http",
    "id",
    "indicator",
    "ip",
    "md5",
    "name",
    "network",
    "port",
    "process",
    "query",
    "question",
    "request",
    "server",
    "sha1",
    "sha256",
    "source",
    "src",
    "threat",
    "type",
    "url",
    "user",
];

/// What is known of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Known(Field),
    Unknown,
    /// What it holds belongs to those who were attacked.
    Victim,
    Ignored,
}

impl Field {
    /// The field of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        FIELDS.iter().find(|(known, _)| *known == name).map(|(_, field)| *field)
    }

    /// The names of all.
    #[must_use]
    pub fn names() -> String {
        FIELDS.map(|(name, _)| name).join(", ")
    }

    pub(super) fn is_value(self) -> bool {
        self == Self::Value
    }

    /// Sets what the cell says. A cell that does not say it says nothing: no
    /// row is lost for a date of an odd form.
    pub(super) fn set(self, record: &mut Record, cell: &str) {
        let text = Some(cell.to_owned());
        match self {
            Self::Value | Self::Ignore => {}
            Self::Description => {
                record.description = Some(match record.description.take() {
                    Some(before) => format!("{before}; {cell}"),
                    None => cell.to_owned(),
                });
            }
            Self::Labels => record.labels.extend(labels(cell)),
            Self::Techniques => record.techniques.extend(techniques(cell)),
            Self::Confidence => {
                record.confidence = cell.trim_end_matches('%').parse().ok().filter(|&n: &u8| n <= 100)
            }
            Self::FirstSeen => record.first_seen = moment(cell),
            Self::LastSeen => record.last_seen = moment(cell),
            // These decide who reads, what is done and how long: a wrong one is
            // refused.
            Self::ValidFrom => record.valid_from = moment(cell).or(text),
            Self::ValidUntil => record.valid_until = moment(cell).or(text),
            Self::Tlp => record.tlp = text,
            Self::Role => record.role = text,
            Self::Action => record.action = text,
            Self::Family => record.family = text,
            Self::Campaign => record.campaign = text,
        }
    }
}

impl Column {
    pub(super) fn of(header: &str) -> Self {
        let lower = header.to_lowercase();
        let bare: String = lower.chars().filter(|c| c.is_alphanumeric()).collect();
        if let Some((field, _)) = HEADERS.iter().find(|(_, names)| names.contains(&bare.as_str())) {
            return Self::Known(*field);
        }
        let spaced = lower.replace(['_', '-', '.'], " ");
        let says = |words: &[&str]| words.iter().any(|word| spaced.contains(word));
        if says(&VICTIM) {
            Self::Victim
        } else if says(&OTHER) {
            Self::Ignored
        } else {
            Self::Unknown
        }
    }
}

/// Whether the first row names columns: none of its cells is a value, and one
/// has a name that is known.
pub(in super::super) fn is_header(cells: &[String]) -> bool {
    let named = |cell: &&String| !cell.is_empty();
    holds_no_value(cells)
        && cells.iter().filter(named).any(|cell| {
            matches!(Column::of(cell), Column::Known(_)) || FIELDS.iter().any(|(name, _)| name == cell)
        })
}

/// The same of what is known to be a table: here a name is enough that speaks
/// of those who were attacked, or ends as those of columns do (`c2_ip`).
pub(super) fn may_be_header(cells: &[String]) -> bool {
    const ENDS: [&str; 10] =
        ["ip", "ips", "address", "domain", "host", "hostname", "url", "hash", "md5", "sha256"];
    let names = |cell: &String| {
        let lower = cell.to_lowercase();
        let end = lower.rsplit(['_', '-', '.', ' ']).next().unwrap_or_default();
        Column::of(cell) == Column::Victim || ENDS.contains(&end)
    };
    is_header(cells) || (holds_no_value(cells) && cells.iter().any(names))
}

fn holds_no_value(cells: &[String]) -> bool {
    !cells.iter().any(|cell| !cell.is_empty() && !is_field_name(cell) && value::kind(cell).is_some())
}

/// Whether the cell is a name such as `host.name`, which reads as a host name.
fn is_field_name(cell: &str) -> bool {
    cell.contains('.') && cell.to_ascii_lowercase().split(['.', '_']).all(|word| FIELD_WORDS.contains(&word))
}

/// What stands for nothing.
pub(super) fn is_blank(cell: &str) -> bool {
    let nothing = ["", "-", "--", "n/a", "na", "none", "null", "unknown", "?", "nil"];
    nothing.contains(&cell.to_ascii_lowercase().as_str())
}

/// Labels in the form that the hub takes.
fn labels(cell: &str) -> impl Iterator<Item = String> {
    let apart = |c: char| matches!(c, ',' | ';' | '|') || c.is_whitespace();
    cell.split(apart).map(|word| word.trim_matches('"').to_lowercase()).filter(|word| !word.is_empty())
}

/// What a cell names by their numbers; it may say more beside them.
fn techniques(cell: &str) -> impl Iterator<Item = String> {
    let names = cell.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').map(str::to_ascii_uppercase);
    names.filter(|name| technique::check(name).is_ok())
}

/// A moment of one of the two forms that cannot be misread, as RFC 3339.
fn moment(cell: &str) -> Option<String> {
    const PLAIN: &[FormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    let cell = cell.trim().trim_end_matches("UTC").trim_end_matches('Z').trim();
    let spaced = cell.replace('T', " ");
    let spaced = spaced.split('.').next().unwrap_or_default();
    let whole = if spaced.len() == 10 { format!("{spaced} 00:00:00") } else { spaced.to_owned() };
    let at = time::PrimitiveDateTime::parse(&whole, PLAIN).ok()?;
    at.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_moments_that_cannot_be_misread_are_read() {
        for (cell, expected) in [
            ("2019-01-07 07:13:47 UTC", Some("2019-01-07T07:13:47Z")),
            ("2019-01-07T07:13:47.123Z", Some("2019-01-07T07:13:47Z")),
            ("2019-01-07", Some("2019-01-07T00:00:00Z")),
            ("12/31/2018 9:30:26pm", None),
            ("2019-02-30", None),
            ("", None),
        ] {
            assert_eq!(moment(cell).as_deref(), expected, "{cell}");
        }
    }

    #[test]
    fn techniques_are_read_by_their_numbers() {
        let read = |cell| techniques(cell).collect::<Vec<_>>();
        assert_eq!(read("T1566.001, t1059 (Scripting); TA0001"), ["T1566.001", "T1059"]);
        assert!(read("phishing").is_empty());
    }

    #[test]
    fn headers_are_known_in_any_writing() {
        for (header, column) in [
            ("C2 Server", Column::Known(Field::Value)),
            ("domain_name", Column::Known(Field::Value)),
            ("Tên miền", Column::Known(Field::Value)),
            ("SHA-256", Column::Known(Field::Value)),
            ("ITW Filename", Column::Ignored),
            ("PDB String", Column::Ignored),
            ("Cell", Column::Unknown),
        ] {
            assert_eq!(Column::of(header), column, "{header}");
        }
    }
}
