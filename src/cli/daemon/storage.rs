//! Decides how it is told how much of the log each organisation takes.

use std::cmp::Reverse;
use std::path::PathBuf;

use clap::Args;

use super::super::output::{self, Data};
use super::certificates::ask;
use super::{Failure, Place};
use crate::admin::{self, StorageAnswer};

/// `luytred storage`
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytred storage
  luytred storage --config /etc/luytre/hub.toml --json

Run it as the hub's own user, on its machine. Of a store that no hub runs on, luytred forecast tells it.")]
pub(super) struct Storage {
    /// The hub's configuration, TOML.
    #[arg(long, value_name = "FILE", default_value = "/etc/luytre/hub.toml")]
    pub(super) config: PathBuf,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(place: &Place, options: &Storage, data: &mut Data) -> Result<(), Failure> {
    let answer = ask(admin::ask_storage(&place.admin_socket))?;
    let (organisations, uncounted) = match &answer {
        StorageAnswer::Refused { problem } => return Err(Failure::TryLater(problem.clone())),
        StorageAnswer::Counted { organisations, uncounted_entries } => (organisations, *uncounted_entries),
    };
    if options.json {
        return Ok(data.json(&answer)?);
    }
    let mut organisations: Vec<_> = organisations.iter().collect();
    organisations.sort_by_key(|(slug, bytes)| (Reverse(**bytes), slug.as_str()));
    for (organisation, bytes) in organisations {
        data.line(&format!("{organisation}: {} bytes in the log", output::count(*bytes)))?;
    }
    if uncounted > 0 {
        output::talk(&format!(
            "the hub is still counting: up to {} entries of its log are not in this yet",
            output::count(uncounted)
        ));
    }
    Ok(())
}
