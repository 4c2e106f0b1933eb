//! Decides the options of the commands about indicators that are there.

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::values::{PlainOrJson, indicator, kind, organisation, time};
use crate::base::clock::Timestamp;
use crate::model::indicator::Kind;

/// `lookup`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre lookup 198.51.100.7 'hxxp://example[.]net/'
  cut -f3 proxy.log | sort -u | luytre lookup - --format plain
  luytre lookup --kind phone '0912 345 678'
  luytre lookup --exact example.net

Found is also what contains a value: the networks that hold an address, the domains above a name as
far as its public suffix, the host of a URL, of an address with a port or of an e-mail address.
--exact finds the values themselves alone.

jsonl gives a line for each value, in order, and for each match says in \"how\" how it is about the
value and in \"matched\" what it is about, with \"masked\": true in the place of an owner whom you
are not told; plain gives only the values of which a match is active.")]
pub(crate) struct Lookup {
    /// Values, or - for one value a line on stdin
    #[arg(required = true, value_name = "VALUE")]
    pub(crate) values: Vec<String>,
    /// Kind of the values, such as imphash or phone; detected if absent
    #[arg(long, value_parser = kind)]
    pub(crate) kind: Option<Kind>,
    /// Find the values themselves alone, not what contains them
    #[arg(long)]
    pub(crate) exact: bool,
    /// How to write what is found
    #[arg(long, value_enum, default_value_t = PlainOrJson::Jsonl)]
    pub(crate) format: PlainOrJson,
}

/// `get`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre get indicators/0b54…
  luytre get indicators/0b54… | jq .sightings
  luytre get indicators/0b54… --as-of 2026-11-20T08:00:00+07:00

As of a moment it is shown if you could see it then and can today.")]
pub(crate) struct Get {
    /// Name of the indicator, `indicators/…` or its UUID alone
    #[arg(value_parser = indicator)]
    pub(crate) name: String,
    /// As it stood at this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) as_of: Option<Timestamp>,
}

/// `explain`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre explain indicators/0b54… so-y-te
  luytre explain indicators/0b54… so-y-te --person spiffe://hub.example.vn/org/so-y-te/user/an

Only the organisation that published the indicator is answered.")]
pub(crate) struct Explain {
    /// Name of the indicator, `indicators/…` or its UUID alone
    #[arg(value_parser = indicator)]
    pub(crate) name: String,
    /// The organisation, by its slug
    #[arg(value_name = "ORG", value_parser = organisation)]
    pub(crate) organisation: String,
    /// One person or system of it, for what is addressed to persons
    #[arg(long, value_name = "SPIFFE-ID")]
    pub(crate) person: Option<String>,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t = PlainOrJson::Plain)]
    pub(crate) format: PlainOrJson,
}

/// `revoke`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre revoke indicators/0b54… --reason false-positive --note \"our own mail server\"
  luytre revoke indicators/0b54… --reason withdrawn --on-behalf-of phuong-lang

Everyone who received the indicator is told to stop using it. Publishing the value again is refused
unless it is done with --reinstate.")]
pub(crate) struct Revoke {
    /// Name of the indicator, `indicators/…` or its UUID alone
    #[arg(value_parser = indicator)]
    pub(crate) name: String,
    /// Why
    #[arg(long, value_parser = PossibleValuesParser::new(["false-positive", "withdrawn", "superseded"]))]
    pub(crate) reason: String,
    /// Explanation for the readers
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) note: String,
    /// Only if this version still stands
    #[arg(long, value_name = "VERSION", default_value = "")]
    pub(crate) etag: String,
    /// Organisation that yours acts for and whose indicator it is
    #[arg(long, value_name = "ORG", value_parser = organisation)]
    pub(crate) on_behalf_of: Option<String>,
}

/// `sight`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre sight indicators/0b54… --outcome seen-blocked --count 12
  luytre sight indicators/0b54… --outcome searched-not-found --note \"proxy logs of 30 days\"
  luytre sight indicators/0b54… --outcome false-positive

That it was searched and not found is worth reporting too.")]
pub(crate) struct Sight {
    /// Name of the indicator, `indicators/…` or its UUID alone
    #[arg(value_parser = indicator)]
    pub(crate) name: String,
    /// What happened
    #[arg(long, value_parser = PossibleValuesParser::new(["seen-blocked", "seen-not-blocked", "searched-not-found", "false-positive"]))]
    pub(crate) outcome: String,
    /// How often it was met
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) count: u64,
    /// Remark for the owner
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) note: String,
}
