//! Decides the options of `luytre export`.

use std::path::PathBuf;

use clap::Args;

use super::query::Asked;
use super::values::export_format;
use crate::model::export::Format;

/// `export`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre export --format jsonl --output all.jsonl
  luytre export --format csv --label phishing --since 2026-11-01 --output phishing.csv
  luytre export --format csv --text '\"lừa đảo\"' --min-confidence 80 --not owner=ca-hanoi --output vn.csv
  luytre export --format rpz --output /var/cache/bind/luytre.zone
  luytre export --format suricata > luytre.rules
  luytre export --format iprep --output luytre.list --categories categories.txt
  luytre export --format hosts --output hosts --if-none-match 5f2a…     # the etag of the last time

Formats:
  jsonl     every indicator, one JSON object a line, as `luytre query --format jsonl` writes it
  csv       every indicator, comma-separated; cells that a spreadsheet would take for a formula begin
            with an apostrophe
  plain     values to block, one a line
  hosts     domains to block, as `0.0.0.0 name`
  rpz       domains, addresses and networks to block, as a response policy zone of BIND
  suricata  the same, as rules of Suricata
  iprep     addresses and networks to block, as a reputation list of Suricata
docs/exports.md describes each of them.

What is asked for is told as in luytre query, whose help describes TIME, --text and --not.

All but jsonl and csv are for blocking: they hold a value, once, if an indicator that is asked for
recommends to block it, and leave it out if any that you may see says that it is a victim's or must be
watched and not blocked, also one that the filters leave out. What everyone has or needs is never in
them. TLP:RED is in no file.

What the file is marked as, its etag, and what is not within, and why, goes to stderr. With --output
the file is put in its place as a whole, and only when its digest is the one that the hub tells;
without it, a command that fails has printed a part. `luytre sync` keeps such files up to date.

Exit codes: 0 the file is written, or is as it would be (--if-none-match); 74 it cannot be written;
75 the hub is away, or it was interrupted; 77 the role analyst is missing.")]
pub(crate) struct Export {
    /// Format: jsonl, csv, plain, hosts, rpz, suricata, iprep
    #[arg(long, value_parser = export_format)]
    pub(crate) format: Format,
    /// Write to this file, as a whole [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write nothing if the file with this etag is as it would be
    #[arg(long, value_name = "ETAG", default_value = "")]
    pub(crate) if_none_match: String,
    /// With --format iprep, write the file of categories here
    #[arg(long, value_name = "FILE")]
    pub(crate) categories: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) asked: Asked,
}
