//! Decides the options of `luytre canonical`.

use clap::Args;

use super::values::{TableOrJson, kind};
use crate::model::indicator::Kind;

/// `canonical`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre canonical 'hxxp://EVIL[.]example/a' 198.51.100.77/24
  luytre canonical --kind phone '0912 345 678'
  luytre canonical --format jsonl < list.txt
  luytre canonical --kind yara - < loader.yar

Needs no hub and no profile. Without --kind it shows which kind the hub would detect. Some kinds are
never detected, since their values look like others or like any text: name them. The rules are in
docs/canonical-forms.md.
Exit code 0: all are taken; 65: some would be refused.")]
pub(crate) struct Canonical {
    /// Values; - or none: one value a line on stdin, or all of stdin for a kind of rule
    #[arg(value_name = "VALUE")]
    pub(crate) values: Vec<String>,
    /// Kind of the values, such as domain or phone; any other word lists them all
    #[arg(long, value_parser = kind)]
    pub(crate) kind: Option<Kind>,
    /// How to write them
    #[arg(long, value_enum, default_value_t = TableOrJson::Table)]
    pub(crate) format: TableOrJson,
}
