//! Decides how the commands are written as manual pages and as completions:
//! both come from the same definition as `--help`, so none can fall behind.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::output::{self, Data};
use crate::base::files;

/// `man`.
#[derive(Debug, Args)]
pub(super) struct Manual {
    /// Directory that is there; pages of the same names are replaced
    #[arg(long, value_name = "DIR")]
    pub(super) to: PathBuf,
}

/// `completions`.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(super) shell: Shell,
}

/// Why a page could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}; name a directory that is there and that you may write to", path.display())]
pub(super) struct Error {
    path: PathBuf,
    source: io::Error,
}

/// How the help of a command begins that shows examples.
const EXAMPLES: &str = "Examples:\n";

/// Writes a page for `program` and one for each of its commands.
pub(super) fn write(program: Command, section: &str, options: &Manual) -> Result<(), Error> {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let count = pages(&program, section, &options.to)?;
    output::talk(&format!("wrote {count} pages to {}", options.to.display()));
    Ok(())
}

fn pages(command: &Command, section: &str, dir: &Path) -> Result<usize, Error> {
    let man = Man::new(command.clone()).section(section).manual("Lũy Tre").source(source());
    let path = dir.join(man.get_filename());
    page(&man, command)
        .and_then(|text| files::write_atomic(&path, &text, 0o644))
        .map_err(|source| Error { path, source })?;
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
    commands.map(|command| pages(command, section, dir)).try_fold(1, |sum, count| Ok(sum + count?))
}

fn source() -> String {
    format!("luytre {}", env!("CARGO_PKG_VERSION"))
}

fn page(man: &Man, command: &Command) -> io::Result<Vec<u8>> {
    let mut page = b"'\\\" -*- coding: UTF-8 -*-\n".to_vec();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let (examples, notes) = taught(command);
    verbatim("EXAMPLES", &examples, &mut page)?;
    verbatim("NOTES", &notes, &mut page)?;
    Ok(page)
}

/// A section whose lines stay as they are.
fn verbatim(heading: &str, text: &str, page: &mut Vec<u8>) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut roff = Roff::default();
    roff.control("SH", [heading]).control("nf", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []).to_writer(page)
}

/// The examples in the help of a command, and what follows them.
pub(super) fn taught(command: &Command) -> (String, String) {
    let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    match help.strip_prefix(EXAMPLES) {
        Some(examples) => match examples.split_once("\n\n") {
            Some((examples, notes)) => (examples.to_owned(), notes.to_owned()),
            None => (examples.to_owned(), String::new()),
        },
        None => (String::new(), help),
    }
}

/// Prints the completions of `program` for a shell.
pub(super) fn completions(mut program: Command, options: &Completions, data: &mut Data) -> io::Result<()> {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut program, name, &mut script);
    data.bytes(&script)
}
