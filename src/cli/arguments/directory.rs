//! Decides the options of the commands that say who is who.

use clap::Args;

use super::values::{PlainOrJson, TableOrJson};

/// `whoami`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre whoami
  luytre --profile ~/.config/luytre/lan.toml whoami
  luytre whoami --format jsonl

Tells the identity in your certificate, your organisation, your roles, and when the certificate ends.")]
pub(crate) struct Whoami {
    /// `plain` for people, `jsonl` for programs
    #[arg(long, value_enum, default_value_t = PlainOrJson::Plain)]
    pub(crate) format: PlainOrJson,
}

/// `organisations`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre organisations
  luytre organisations --all --format jsonl

Who is shown as active may be named as a reader: luytre publish --to.")]
pub(crate) struct Organisations {
    /// Also those that are suspended, ended or planned
    #[arg(long)]
    pub(crate) all: bool,
    /// How to write them
    #[arg(long, value_enum, default_value_t = TableOrJson::Table)]
    pub(crate) format: TableOrJson,
}
