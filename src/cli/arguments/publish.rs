//! Decides the options of `luytre publish`, and those of all that publish.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::input::{InputEncoding, InputFormat};
use super::values::{group, indicator, kind, organisation, person, technique, time, tlp};
use crate::base::clock::Timestamp;
use crate::interop::Mapping;
use crate::model::indicator::Kind;
use crate::model::marking::Tlp;

/// `publish`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre publish iocs.txt --tlp green --label phishing
  luytre publish - --tlp amber --to sa-ict --to pa05 --action block < list.txt
  luytre publish list.txt --tlp red --to-person spiffe://hub.example/org/sa-ict/user/an
  luytre publish hotlines.txt --tlp green --kind phone --label scam
  luytre publish loader.yar --tlp green --kind yara
  luytre publish report.adoc --tlp green --dry-run --rejects refused.jsonl
  luytre publish feed.csv.gz --tlp green --map \"C2 Server=value\" --map 3=description
  luytre publish urls.txt --feed chongluadao --resume urls.state

How far they may travel (TLP 2.0):
  clear         anyone
  green         every member of the hub
  amber         the organisations and groups that you name, and their clients
  amber+strict  the organisations and groups that you name, and nobody else
  red           the persons that you name, and nobody else

The format is told by the first lines; --input-format overrides: plain (one value a line, comments
# ; //), adblock, hosts, maltrail, csv, csv-semicolon, tsv, jsonl, prose (AsciiDoc, Markdown, text of
advisories). gzip and zstd are unpacked; text is UTF-8, UTF-16 or Windows-1252. Values may be defanged
(hxxp, [.]); their kinds are detected. Columns of tables are known by their headers, or by --map:
  value, description, labels, confidence, first_seen, last_seen, valid_from, valid_until, tlp, family,
  campaign, techniques, role, action, ignore
In JSON lines each line is an object:
  {\"value\": \"example[.]net\", \"tlp\": \"green\", \"labels\": [\"phishing\"], \"confidence\": 80}
with value (or md5, sha1, sha256, sha512), kind, tlp, to, to_groups, to_persons, caveats, labels, confidence,
description, valid_from, valid_until, first_seen, last_seen, action, role, family, campaign, techniques.
Options fill in what a line leaves out: readers that a line names stand in place of all those that options
name. --label, --technique and --caveat add. --action is not taken for victims.

A feed profile holds such options by name, in ~/.config/luytre/feeds.toml or --feeds FILE:
  [chongluadao]
  format = \"adblock\"
  tlp = \"green\"
  labels = [\"phishing\"]
with format, encoding, map, tlp, to, to_groups, to_persons, caveats, labels, confidence, description,
valid_days, action, role, family, campaign, techniques, on_behalf_of. Options given beside --feed come
first. Known without a file, for their format alone: urlhaus, threatfox, feodotracker, malwarebazaar, ipsum, maltrail.

Publishing the same again changes nothing, so a broken run can simply be repeated; with --resume it
goes on after the last part that the hub has answered.
Exit code 0: all accepted; 65: some refused, see the report on stderr.")]
pub(crate) struct PublishFile {
    /// File to read, or - for stdin
    #[arg(value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// Read everything and report, and publish nothing; needs no hub
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Keep the place in this file while publishing, and go on there if the file exists
    #[arg(long, value_name = "STATE", conflicts_with = "dry_run")]
    pub(crate) resume: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) how: Publish,
}

/// How indicators are read and published, from whatever source.
#[derive(Debug, Clone, Args)]
pub(crate) struct Publish {
    /// How the input is written; auto: by its first lines
    #[arg(long, value_enum, alias = "format", default_value_t = InputFormat::Auto)]
    pub(crate) input_format: InputFormat,
    /// Kind of every value that does not say its own, such as imphash or phone; detected if absent. A
    /// file of a kind of rule (yara, sigma, suricata, stix-pattern) is one value
    #[arg(long, value_parser = kind)]
    pub(crate) kind: Option<Kind>,
    /// How its text is encoded; auto: UTF-8 or UTF-16, and Windows-1252 where nothing hangs on it
    #[arg(long, value_enum, default_value_t = InputEncoding::Auto)]
    pub(crate) encoding: InputEncoding,
    /// What a column of a table is, by its header or number; repeat
    #[arg(long, value_name = "COLUMN=FIELD")]
    pub(crate) map: Vec<Mapping>,
    /// Profile of options for a feed, by its name
    #[arg(long, value_name = "NAME")]
    pub(crate) feed: Option<String>,
    /// Where feed profiles are written [default: ~/.config/luytre/feeds.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) feeds: Option<PathBuf>,
    /// How far they may travel at most: clear, green, amber, amber+strict or red; a line may narrow it
    #[arg(long, value_name = "LABEL", value_parser = tlp)]
    pub(crate) tlp: Option<Tlp>,
    /// Organisation that may read, for amber and amber+strict; repeat or separate by commas
    #[arg(long, value_name = "ORG", value_delimiter = ',', value_parser = organisation)]
    pub(crate) to: Vec<String>,
    /// Group whose members may read, likewise
    #[arg(long, value_name = "GROUP", value_delimiter = ',', value_parser = group)]
    pub(crate) to_group: Vec<String>,
    /// Person who may read, for red; repeat or separate by commas
    #[arg(long, value_name = "SPIFFE-ID", value_delimiter = ',', value_parser = person)]
    pub(crate) to_person: Vec<String>,
    /// What you add to the marking; masked-source: nobody but you and the lead unit learns whose it
    /// is; providers-may-read: those who work for a reader of amber
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(CAVEATS))]
    pub(crate) caveat: Vec<String>,
    /// Label in kebab-case; repeat or separate by commas
    #[arg(long, value_name = "LABEL", value_delimiter = ',')]
    pub(crate) label: Vec<String>,
    /// How sure you are, 0 to 100
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) confidence: Option<u32>,
    /// What a reader should know
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// When they cease to hold, as 2026-12-31 or 2026-12-31T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) valid_until: Option<Timestamp>,
    /// For how many days they hold, from now
    #[arg(long, value_name = "N", conflicts_with = "valid_until", value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub(crate) valid_days: Option<u32>,
    /// What you recommend to do
    #[arg(long, value_parser = PossibleValuesParser::new(["monitor", "block", "hunt", "isolate"]))]
    pub(crate) action: Option<String>,
    /// What the observables are in the attack; victims are never recommended to be blocked
    #[arg(long, value_parser = PossibleValuesParser::new(["victim", "infrastructure", "tool", "sink"]))]
    pub(crate) role: Option<String>,
    /// The family of malware
    #[arg(long, value_name = "NAME")]
    pub(crate) family: Option<String>,
    /// The campaign
    #[arg(long, value_name = "NAME")]
    pub(crate) campaign: Option<String>,
    /// Technique of MITRE ATT&CK, such as T1566 or T1566.001; repeat or separate by commas
    #[arg(long, value_name = "T1566", value_delimiter = ',', value_parser = technique)]
    pub(crate) technique: Vec<String>,
    /// Indicators in one request
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) batch: u16,
    /// Write refused lines with their reasons here, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub(crate) rejects: Option<PathBuf>,
    /// Bring back values that you revoked, for this reason
    #[arg(long, value_name = "REASON")]
    pub(crate) reinstate: Option<String>,
    /// Indicator of another, of the same value, that this shares further with its owner's leave; see
    /// `luytre leave`
    #[arg(long, value_name = "INDICATOR", value_parser = indicator)]
    pub(crate) republication_of: Option<String>,
    /// Organisation that yours acts for and whose indicators these shall be
    #[arg(long, value_name = "ORG", value_parser = organisation)]
    pub(crate) on_behalf_of: Option<String>,
}

/// The caveats that hubs of this release honour.
pub(super) const CAVEATS: [&str; 4] =
    ["watch-do-not-block", "providers-may-read", "masked-source", "no-onward-feed"];
