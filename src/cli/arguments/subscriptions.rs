//! Decides the options of the commands that receive events.

use std::path::PathBuf;

use clap::Args;

use super::filter::Filter;
use super::values::{PlainOrJson, time};
use crate::base::clock::Timestamp;

/// `subscribe`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre subscribe --from latest                        watch what comes
  luytre subscribe --state fw.state --format plain      everything, and go on after any break
  luytre subscribe --name siem --kind domain,url        the hub keeps your place
  luytre subscribe --from earliest --count 10 | jq .    the ten oldest events

With --state, the place is stored after the output is flushed; with --name, the hub keeps it. Either
way --from counts only the first time, and later runs go on exactly after the last event. Ends at
SIGINT or SIGTERM, with everything flushed.

jsonl gives every event: new, update, withdrawn, revoked, expired, sighted. plain gives one canonical
value a line for new and updated indicators, and nothing else.")]
pub(crate) struct Subscribe {
    /// Name of a subscription whose place the hub keeps
    #[arg(long, conflicts_with = "state")]
    pub(crate) name: Option<String>,
    /// Where to start the first time: earliest, latest, or a time
    #[arg(long, value_name = "PLACE", default_value = "earliest", value_parser = from)]
    pub(crate) from: From,
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// How to write events
    #[arg(long, value_enum, default_value_t = PlainOrJson::Jsonl)]
    pub(crate) format: PlainOrJson,
    /// File that remembers the place
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// End after this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Also sightings that you may see
    #[arg(long)]
    pub(crate) sightings: bool,
}

/// Where to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// At the oldest event.
    Earliest,
    /// At what comes.
    Latest,
    /// At a time.
    Time(Timestamp),
}

fn from(text: &str) -> Result<From, String> {
    match text {
        "earliest" => Ok(From::Earliest),
        "latest" => Ok(From::Latest),
        _ => time(text).map(From::Time).map_err(|_| {
            "write earliest, latest, or a time such as 2026-11-21 or 2026-11-21T08:00:00+07:00".to_owned()
        }),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::Arguments;

    #[test]
    fn a_name_and_a_state_file_exclude_each_other() {
        assert!(Arguments::try_parse_from(["luytre", "subscribe", "--name", "a", "--state", "b"]).is_err());
    }
}
