//! Decides the options of the commands that say who is who.

use clap::Args;

use super::values::{PlainOrJson, TableOrJson};

/// `whoami`.
#[derive(Debug, Args)]
pub(crate) struct Whoami {
    /// `plain` for people, `jsonl` for programs
    #[arg(long, value_enum, default_value_t = PlainOrJson::Plain)]
    pub(crate) format: PlainOrJson,
}

/// `organisations`.
#[derive(Debug, Args)]
pub(crate) struct Organisations {
    /// Also those that are suspended, ended or planned
    #[arg(long)]
    pub(crate) all: bool,
    /// How to write them
    #[arg(long, value_enum, default_value_t = TableOrJson::Table)]
    pub(crate) format: TableOrJson,
}
