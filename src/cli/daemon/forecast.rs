//! Decides how it is told what a policy would keep no longer.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::super::output::{self, Data};
use super::{Failure, Place};
use crate::base::clock::{Clock as _, SystemClock};
use crate::hub;

/// `luytred forecast`
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytred forecast --config /etc/luytre/hub.toml --data /var/backups/luytre/2026-11-22
  luytred forecast --config /etc/luytre/hub.toml --json

Reads a store that no hub runs on, such as a backup, and changes nothing.")]
pub(super) struct Forecast {
    /// The configuration whose [retention] is meant, TOML.
    #[arg(long, value_name = "FILE", default_value = "/etc/luytre/hub.toml")]
    pub(super) config: PathBuf,
    /// The store's directory, or a backup's; that of the configuration if not
    /// said.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// The result as `--json` prints it.
#[derive(Debug, Serialize)]
struct Told {
    history_begins: String,
    versions: u64,
    version_bytes: u64,
    records: u64,
    record_bytes: u64,
    organisations: BTreeMap<String, u64>,
}

pub(super) fn run(place: &Place, options: &Forecast, data: &mut Data) -> Result<(), Failure> {
    let Some(policy) = &place.retention else {
        output::talk("the configuration has no [retention]: everything is kept");
        return Ok(());
    };
    let store = options.data.as_ref().unwrap_or(&place.data_dir);
    let found = hub::forecast(store, policy, SystemClock.now())?;
    let told = Told {
        history_begins: found.horizon.to_string(),
        versions: found.versions,
        version_bytes: found.version_bytes,
        records: found.records,
        record_bytes: found.record_bytes,
        organisations: found.organisations.iter().map(|(slug, bytes)| (slug.to_string(), *bytes)).collect(),
    };
    if options.json {
        data.json(&told)?;
    } else {
        data.line(&summary(&told))?;
        for (organisation, bytes) in &told.organisations {
            data.line(&format!("{organisation}: {} bytes in the log", output::count(*bytes)))?;
        }
    }
    Ok(())
}

fn summary(told: &Told) -> String {
    format!(
        "history would begin at {}: {} replaced versions ({} bytes) and {} ended indicators ({} bytes) would go",
        told.history_begins,
        output::count(told.versions),
        output::count(told.version_bytes),
        output::count(told.records),
        output::count(told.record_bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forecast_is_told_in_one_line() {
        let told = Told {
            history_begins: "2026-01-01T00:00:00Z".to_owned(),
            versions: 1_200,
            version_bytes: 5,
            records: 2,
            record_bytes: 7,
            organisations: BTreeMap::new(),
        };
        let expected = "history would begin at 2026-01-01T00:00:00Z: 1,200 replaced versions (5 bytes) and 2 ended indicators (7 bytes) would go";
        assert_eq!(summary(&told), expected);
    }
}
