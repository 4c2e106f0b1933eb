//! Decides how events are logged: on stderr, for eyes or for machines.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use super::Error;
use super::config::{Log, LogFormat};

/// Sets up the log of this process; once.
///
/// # Errors
/// [`Error::Log`] if it is set up already, or the filter is wrong.
pub fn init(log: &Log) -> Result<(), Error> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| Error::Log(error.to_string()))?;
    let to_stderr = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let to_stderr = to_stderr.with_ansi(io::stderr().is_terminal());
    match log.format {
        LogFormat::Pretty => to_stderr.try_init(),
        LogFormat::Json => to_stderr.json().flatten_event(true).try_init(),
    }
    .map_err(|error| Error::Log(error.to_string()))
}
