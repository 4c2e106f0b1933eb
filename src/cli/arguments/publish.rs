//! Decides the options of `luytre publish`.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use super::values::{group, indicator, kind, organisation, person, time, tlp};
use crate::base::clock::Timestamp;
use crate::model::indicator::Kind;
use crate::model::marking::Tlp;

/// `publish`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre publish iocs.txt --tlp green --label phishing
  luytre publish - --tlp amber --to sa-ict --to pa05 --action block < list.txt
  luytre publish list.txt --tlp red --to-person spiffe://hub.example/org/sa-ict/user/an
  luytre publish report.jsonl --rejects refused.jsonl
  luytre publish hotlines.txt --tlp green --kind phone --label scam
  luytre publish loader.yar --tlp green --kind yara

How far they may travel (TLP 2.0):
  clear         anyone
  green         every member of the hub
  amber         the organisations and groups that you name, and their clients
  amber+strict  the organisations and groups that you name, and nobody else
  red           the persons that you name, and nobody else

A plain list has one value a line; blank lines and comments (# ; //) are skipped. Values may be
defanged (hxxp, [.]); the hub detects their kinds. In JSON lines each line is an object:
  {\"value\": \"example[.]net\", \"tlp\": \"green\", \"labels\": [\"phishing\"], \"confidence\": 80}
with value (or md5, sha1, sha256, sha512), kind, tlp, to, to_groups, to_persons, caveats, labels, confidence,
description, valid_from, valid_until, first_seen, last_seen, action. Options fill in what a line leaves
out: readers that a line names stand in place of all those that options name. --label and --caveat add.

Publishing the same again changes nothing, so a broken run can simply be repeated.
Exit code 0: all accepted; 65: some refused, see the report on stderr.")]
pub(crate) struct Publish {
    /// File to read, or - for stdin
    #[arg(value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// How the input is written; auto: JSON lines if the first line begins with {
    #[arg(long, value_enum, default_value_t = InputFormat::Auto)]
    pub(crate) format: InputFormat,
    /// Kind of every value that does not say its own, such as imphash or phone; detected if absent. A
    /// file of a kind of rule (yara, sigma, suricata, stix-pattern) is one value
    #[arg(long, value_parser = kind)]
    pub(crate) kind: Option<Kind>,
    /// How far they may travel: clear, green, amber, amber+strict or red
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
    /// What you recommend to do
    #[arg(long, value_parser = PossibleValuesParser::new(["monitor", "block", "hunt", "isolate"]))]
    pub(crate) action: Option<String>,
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

/// How an input is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// By the first line.
    Auto,
    /// One value a line.
    Plain,
    /// One JSON object a line.
    Jsonl,
}
