//! The command line of Lũy Tre for agencies, analysts and operators.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use luytre::cli::{self, Environment};

/// The first of these that is set, and to something.
#[expect(clippy::disallowed_methods, reason = "a binary reads its own environment")]
fn first(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))
}

#[expect(clippy::disallowed_methods, reason = "a binary reads its own environment")]
fn main() -> ExitCode {
    let environment = Environment {
        profile: env::var_os("LUYTRE_PROFILE").map(PathBuf::from),
        configuration: env::var_os("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"))),
        locale: first(&["LUYTRE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"]),
        charset: first(&["LC_ALL", "LC_CTYPE", "LANG"]),
        no_colour: first(&["NO_COLOR"]).is_some(),
    };
    ExitCode::from(cli::run(env::args_os(), &environment))
}
