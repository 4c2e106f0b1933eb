//! Decides how lists of values that need a second thought are taken in and
//! shown.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::super::output::{self, Data};
use super::{Failure, Place};
use crate::hub::lists::{self, Candidate};
use crate::policy::guard::lists::{Guard, Listed};

/// `luytred warninglists`
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytred warninglists import misp-warninglists/lists
  luytred warninglists list

Run it as the hub's own user, on its machine. docs/guards.md goes through all of it.")]
pub(super) struct Warninglists {
    #[command(subcommand)]
    action: Action,
    /// The hub's configuration, TOML.
    #[arg(long, value_name = "FILE", global = true, default_value = "/etc/luytre/hub.toml")]
    pub(super) config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Take in every list of MISP's format under a directory.
    #[command(after_long_help = "Examples:
  luytred warninglists import misp-warninglists/lists
  luytred warninglists import own-lists --config /etc/luytre/hub.toml

NAME/list.json and, in the directory itself, NAME.json are lists. Each is taken as a whole in place of the one
of its name; a hub that runs holds values against them once it is told to: luytred reload. Exit code 65: not all
were lists.")]
    Import {
        /// The directory.
        #[arg(value_name = "DIR")]
        from: PathBuf,
    },
    /// Show the lists that the hub would load, and their modes.
    #[command(after_long_help = "Examples:
  luytred warninglists list
  luytred warninglists list --json")]
    List {
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A list, as it is printed.
#[derive(Serialize)]
struct Shown<'a> {
    list: &'a str,
    title: &'a str,
    version: u64,
    mode: &'static str,
    entries: usize,
    passed_over: usize,
}

impl<'a> From<&'a Listed> for Shown<'a> {
    fn from(Listed { name, mode, entries, passed_over }: &'a Listed) -> Self {
        let (list, title, version) = (name.slug.as_str(), name.name.as_str(), name.version);
        Self { list, title, version, mode: mode.as_str(), entries: *entries, passed_over: *passed_over }
    }
}

pub(super) fn run(place: &Place, options: &Warninglists, data: &mut Data) -> Result<(), Failure> {
    match &options.action {
        Action::Import { from } => {
            let found = lists::candidates(from).map_err(failure)?;
            lists::put(&place.guards.directory, &found).map_err(failure)?;
            told(&found, data)
        }
        Action::List { json } => {
            let guard = lists::load(&place.guards).map_err(failure)?;
            show(&guard, *json, data)
        }
    }
}

fn told(found: &[Candidate], data: &mut Data) -> Result<(), Failure> {
    let mut refused = 0_usize;
    for candidate in found {
        match &candidate.list {
            Ok(list) => {
                let (slug, entries) = (&list.slug, output::count(list.entries.len() as u64));
                data.line(&format!("{slug}: taken, version {}, {entries} entries", list.version))?;
            }
            Err(problem) => {
                refused += 1;
                output::talk(&format!("{}: refused: {problem}", candidate.path.display()));
            }
        }
    }
    let taken = found.len() - refused;
    output::talk(&format!(
        "{taken} lists taken, {refused} refused; a hub that runs takes them up with: luytred reload"
    ));
    match (taken, refused) {
        (0, 0) => Err(Failure::NoInput("there is no list in this directory".to_owned())),
        (_, 0) => Ok(()),
        _ => Err(Failure::Input(format!("{refused} files are no lists"))),
    }
}

fn show(guard: &Guard, json: bool, data: &mut Data) -> Result<(), Failure> {
    let shown: Vec<_> = guard.lists().iter().map(Shown::from).collect();
    if json {
        return Ok(data.json(&shown)?);
    }
    for Shown { list, title, version, mode, entries, passed_over } in shown {
        let counted = match (entries, passed_over) {
            (0, 0) => "built in".to_owned(),
            (_, 0) => format!("{} entries", output::count(entries as u64)),
            _ => format!("{} entries, {passed_over} passed over", output::count(entries as u64)),
        };
        data.line(&format!("{list}: {mode}, version {version}, {counted}: {title}"))?;
    }
    Ok(())
}

fn failure(error: lists::Error) -> Failure {
    let text = error.to_string();
    match error {
        lists::Error::Unreadable { .. } => Failure::NoInput(text),
        lists::Error::Unsound { .. } | lists::Error::TooMany(_) | lists::Error::TooLarge { .. } => {
            Failure::Input(text)
        }
        lists::Error::Unwritable { .. } => Failure::Io(text),
    }
}
