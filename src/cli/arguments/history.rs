//! Decides the options of the commands about what was, and about one value.

use clap::Args;

use super::super::language::Language;
use super::values::{indicator, kind};
use crate::model::indicator::Kind;

/// How an answer is written.
#[derive(Debug, Args)]
pub(crate) struct Answer {
    /// Write one JSON object a line, with nothing left out
    #[arg(long)]
    pub(crate) json: bool,
    /// Language of the words [default: that of LUYTRE_LANG, LC_ALL, LC_MESSAGES or LANG]
    #[arg(long, value_enum)]
    pub(crate) lang: Option<Language>,
}

/// `show`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre show 198.51.100.7
  luytre show 'hxxp://example[.]net/a' --lang vi
  luytre show --kind phone '0912 345 678'
  luytre show example.net --json | jq '.related[] | select(.relation == \"same-campaign\")'

Shows who asserts what of a value, where they disagree, how often it was met, what it is related to
and by what, and a score from 0 to 100: the confidence of those who hold to it, less what time and
false positives took away. Times are those of Asia/Ho_Chi_Minh. What you may not see is neither shown
nor counted.")]
pub(crate) struct Show {
    /// The value, in any form that the hub can read
    #[arg(value_name = "VALUE")]
    pub(crate) value: String,
    /// Kind of the value, such as imphash or phone; detected if absent
    #[arg(long, value_parser = kind)]
    pub(crate) kind: Option<Kind>,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `versions`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre versions indicators/0b54…
  luytre versions indicators/0b54… --limit 0 --json | jq '.changes'

Newest first: what each version did, by whom, and which fields it changed from what to what, compared
with the version before that you may see.")]
pub(crate) struct Versions {
    /// Name of the indicator, `indicators/…` or its UUID alone
    #[arg(value_parser = indicator)]
    pub(crate) name: String,
    /// At most this many; 0: all
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: u64,
    #[command(flatten)]
    pub(crate) answer: Answer,
}
