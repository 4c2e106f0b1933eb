//! The command line of Lũy Tre for agencies, analysts and operators.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use luytre::cli::{self, Environment};

#[expect(clippy::disallowed_methods, reason = "a binary reads its own environment")]
fn main() -> ExitCode {
    let environment = Environment {
        profile: env::var_os("LUYTRE_PROFILE").map(PathBuf::from),
        configuration: env::var_os("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"))),
    };
    ExitCode::from(cli::run(env::args_os(), &environment))
}
