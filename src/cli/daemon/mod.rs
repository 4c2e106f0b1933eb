//! Decides the commands of `luytred`: what they read, what they print, and how
//! they end. stdout is data, stderr is talk.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use time::Date;

use super::manual::{self, Completions, Manual};
use super::output::{self, Data};
use super::passphrase::Passphrase;
use crate::model::retention::Retention;
use crate::model::warninglist::Settings;
use crate::signer::passphrase::Source;

mod backup;
mod certificates;
mod check;
mod failure;
mod forecast;
mod init;
mod roster;
mod sealed;
mod storage;
mod warninglists;

pub use failure::Failure;

/// The hub of Lũy Tre.
#[derive(Debug, Parser)]
#[command(
    name = "luytred",
    version,
    about = "Runs and looks after a Lũy Tre hub",
    max_term_width = 100,
    after_long_help = "Examples:
  luytred check-config --config /etc/luytre/hub.toml
  luytred serve --config /etc/luytre/hub.toml
  luytred backup --config /etc/luytre/hub.toml --to /var/backups/luytre/2026-11-22

docs/operating.md goes through all of it; docs/configuration.md has every key and exit code."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the store of a new hub.
    Init(Init),
    /// Run the hub until SIGTERM or SIGINT.
    Serve(Serve),
    /// Hold the issuing keys, and sign what the hub orders within bounds.
    Signer(Signer),
    /// Check a configuration and the files it names.
    CheckConfig(CheckConfig),
    /// Check the log, and the state against it.
    Verify(Verify),
    /// Mend what a crash or a failing disk left, as far as that is safe.
    Repair(Repair),
    /// Copy the store, whether the hub runs or not.
    Backup(Backup),
    /// Make a store from a backup; it begins a new epoch.
    Restore(Restore),
    /// Tell what [retention] would keep no longer, and change nothing.
    Forecast(forecast::Forecast),
    /// Tell how much of the running hub's log each organisation takes.
    Storage(storage::Storage),
    /// Take in and show lists of values that need a second thought.
    Warninglists(warninglists::Warninglists),
    /// Be the second person for changes of the running hub's roster.
    Roster(Roster),
    /// Have the running hub read its certificates anew.
    Reload(Reload),
    /// Show or settle the time by which the running hub judges certificates.
    Clock(Clock),
    /// Ask the running hub whether it is ready.
    Ready(Ready),
    /// Write a manual page for each command.
    #[command(after_long_help = "Examples:
  luytred man --to /usr/local/share/man/man8")]
    Man(Manual),
    /// Print completions for a shell.
    #[command(after_long_help = "Examples:
  luytred completions bash > /usr/share/bash-completion/completions/luytred")]
    Completions(Completions),
}

/// `luytred roster`
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytred roster pending
  luytred roster approve 6a1f

Run it as the hub's own user, on its machine. It approves what an operator proposed, and cannot propose.")]
struct Roster {
    #[command(subcommand)]
    action: RosterAction,
    /// The hub's configuration, TOML.
    #[arg(long, value_name = "FILE", global = true, default_value = "/etc/luytre/hub.toml")]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum RosterAction {
    /// List the changes that wait for a second person.
    #[command(after_long_help = "Examples:
  luytred roster pending --config /etc/luytre/hub.toml")]
    Pending,
    /// Agree to a change that an operator proposed.
    #[command(after_long_help = "Examples:
  luytred roster approve 6a1f")]
    Approve {
        /// Its id, from `luytred roster pending`, or how that begins.
        id: String,
    },
    /// Drop a change that waits.
    #[command(after_long_help = "Examples:
  luytred roster reject 6a1f")]
    Reject {
        /// Its id, from `luytred roster pending`, or how that begins.
        id: String,
    },
}

/// `luytred reload`
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytred reload
  luytred reload --config /etc/luytre/hub.toml --json

Reads the certificates anew, the lists of [guards], and of [limits] what each organisation and each principal
may ask for. What SIGHUP does, with the result. Exit code 0: what was read is in force; 65: some of it is
refused, and what was in force stays; 75: no hub answers.")]
struct Reload {
    /// The hub's configuration, TOML.
    #[arg(long, value_name = "FILE", default_value = "/etc/luytre/hub.toml")]
    config: PathBuf,
    /// Take a new certificate of the hub although it ends within a day.
    #[arg(long)]
    force: bool,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// `luytred clock`
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytred clock show
  luytred clock accept

When the machine's clock jumps by a day or more, the hub does not believe it: no certificate expires by it.
Set the clock right, and the hub goes by it again; or accept what it shows.")]
struct Clock {
    #[command(subcommand)]
    action: ClockAction,
    /// The hub's configuration, TOML.
    #[arg(long, value_name = "FILE", global = true, default_value = "/etc/luytre/hub.toml")]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum ClockAction {
    /// Show the time.
    #[command(after_long_help = "Examples:
  luytred clock show")]
    Show,
    /// Believe the machine's clock: certificates that have expired by it are cut off.
    #[command(after_long_help = "Examples:
  luytred clock accept")]
    Accept,
}

/// `luytred init`
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytred init --data /var/lib/luytre/store --roster roster.json --trust-domain hub.example.vn \\
      --operator spiffe://hub.example.vn/org/ubnd-hanoi/user/lan \\
      --operator spiffe://hub.example.vn/org/ubnd-hanoi/user/minh

The fields of the roster are in docs/roster.md. Later it is changed with luytre roster.")]
struct Init {
    /// Directory to make the store in; must not exist, or be empty.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Who takes part, JSON.
    #[arg(long, value_name = "FILE")]
    roster: PathBuf,
    /// Identity that is given the operator's role; name two persons, so that
    /// each can approve what the other asks.
    #[arg(long, value_name = "SPIFFE-ID", required = true)]
    operator: Vec<String>,
    /// Trust domain of every identity.
    #[arg(long, value_name = "DOMAIN")]
    trust_domain: String,
    /// Date on which the hub begins, YYYY-MM-DD [default: today].
    #[arg(long, value_name = "DATE", value_parser = date)]
    as_of: Option<Date>,
}

/// `luytred serve`
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytred serve --config /etc/luytre/hub.toml

SIGHUP reads the certificates, limits and lists anew, SIGTERM stops in good order.")]
struct Serve {
    /// The hub's configuration, TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// For demonstrations: the hub's calendar begins on this date, YYYY-MM-DD,
    /// and goes on from there. Certificates keep the machine's time.
    #[arg(long, value_name = "DATE", value_parser = date)]
    as_of: Option<Date>,
}

/// `luytred signer`
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytred signer --config /etc/luytre/signer.toml
  luytred signer --config /etc/luytre/signer.toml --passphrase-file /run/credentials/luytre-signer.service/passphrase
  luytred signer --config /etc/luytre/signer.toml --passphrase-fd 3 3< passphrase

Asks for the passphrase of the keys at the terminal unless told where it is. Run it as a user of its own.
SIGHUP looks for new authorities, SIGTERM stops in good order. docs/certificates.md goes through all of it.")]
struct Signer {
    /// The signer's configuration, TOML.
    #[arg(long, value_name = "FILE", default_value = "/etc/luytre/signer.toml")]
    config: PathBuf,
    #[command(flatten)]
    passphrase: Passphrase,
}

/// `luytred check-config`
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytred check-config --config /etc/luytre/hub.toml

Reports every problem at once and changes nothing. Exit code 0: the hub would start; 78: it would not.")]
struct CheckConfig {
    /// The hub's configuration, TOML.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// `luytred ready`
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytred ready
  luytred ready --config /etc/luytre/hub.toml && echo serving

Asks /readyz at http.listen, for health checks of containers. Exit code 0: a probe was really written
to the disk; 75: the hub does not answer, or says why it is not ready.")]
struct Ready {
    /// The hub's configuration, TOML.
    #[arg(long, value_name = "FILE", default_value = "/etc/luytre/hub.toml")]
    config: PathBuf,
}

/// `luytred verify`
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytred verify --data /var/backups/luytre/2026-11-22
  luytred verify --data /var/backups/luytre/2026-11-22 --scratch /var/tmp --json

Exit code 0: clean; 70: damaged.")]
struct Verify {
    /// The store's directory; no hub may be running on it.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where to make a copy, which is removed at the end, with as much room as
    /// the store takes; beside the store if not said.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// `luytred repair`
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytred repair --tail --data /var/lib/luytre/store

Run it as the hub's own user, while the hub is stopped.")]
struct Repair {
    /// Cut a torn tail off the log: what was never acknowledged.
    #[arg(long, required = true)]
    tail: bool,
    /// The store's directory; no hub may be running on it.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// `luytred backup`
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytred backup --config /etc/luytre/hub.toml --to /var/backups/luytre/2026-11-22
  luytred backup --config /etc/luytre/hub.toml --to /var/backups/luytre/2026-11-22.age --ask-passphrase
  luytred backup --data /var/lib/luytre/store --to /var/backups/luytre/2026-11-22

A directory holds the hub's keys and everything it knows, for whoever can read it. With a passphrase the backup
is one encrypted file (age, age-encryption.org); it is of no use to anybody without the passphrase, so keep that
elsewhere.")]
#[command(group(clap::ArgGroup::new("store").required(true)))]
struct Backup {
    /// The hub's configuration, TOML.
    #[arg(long, value_name = "FILE", group = "store")]
    config: Option<PathBuf>,
    /// The store's directory.
    #[arg(long, value_name = "DIR", group = "store")]
    data: Option<PathBuf>,
    /// Directory to make or, with a passphrase, file; must not exist.
    #[arg(long, value_name = "PATH")]
    to: PathBuf,
    #[command(flatten)]
    passphrase: Passphrase,
    /// With a passphrase: where to make the plain copy first, which is removed
    /// at the end; beside the store if not said, which costs little room.
    #[arg(long, value_name = "DIR", requires = "Passphrase")]
    scratch: Option<PathBuf>,
}

/// `luytred restore`
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytred restore --from /var/backups/luytre/2026-11-22 --to /var/lib/luytre/store
  luytred restore --from /var/backups/luytre/2026-11-22.age --to /var/lib/luytre/store --ask-passphrase

Stop the hub, and move its old store away first. Subscribers that are ahead of the backup are told so.")]
struct Restore {
    /// A backup that `luytred backup` made: a directory or, with a passphrase,
    /// an encrypted file.
    #[arg(long, value_name = "PATH")]
    from: PathBuf,
    /// Directory to make the store in; must not exist, or be empty.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    passphrase: Passphrase,
}

/// Where a hub keeps its store, and where it answers the machine's operator.
#[derive(Debug, Clone)]
pub struct Place {
    /// The store's directory.
    pub data_dir: PathBuf,
    /// The operator's socket.
    pub admin_socket: PathBuf,
    /// What it keeps of the past; none: all of it.
    pub retention: Option<Retention>,
    /// The lists that values are held against.
    pub guards: Settings,
}

/// What the server does for these commands; it stands on the same floor, so
/// the binary brings the two together.
pub trait Server {
    /// Runs the hub of this configuration until it is told to stop.
    ///
    /// # Errors
    /// Why it could not start, or stopped by itself.
    fn serve(&self, config: &Path, as_of: Option<Date>) -> Result<(), Failure>;

    /// Runs the signer of this configuration until it is told to stop.
    ///
    /// # Errors
    /// Why it could not start, or stopped by itself.
    fn signer(&self, config: &Path, passphrase: &Source) -> Result<(), Failure>;

    /// Checks a configuration and what it names; says what it found good.
    ///
    /// # Errors
    /// Everything that is wrong.
    fn check(&self, config: &Path) -> Result<String, Failure>;

    /// Asks the running hub of this configuration whether it is ready; says
    /// what it answered.
    ///
    /// # Errors
    /// It does not answer, or is not ready.
    fn ready(&self, config: &Path) -> Result<String, Failure>;

    /// Where the hub of this configuration is.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    fn place(&self, config: &Path) -> Result<Place, Failure>;

    /// Where the hub of this store answers unless its configuration says
    /// otherwise.
    fn usual_place(&self, data_dir: &Path) -> Place;
}

/// Runs one command; returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>, server: &impl Server) -> u8 {
    let mut data = Data::stdout();
    let ended = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => execute(arguments.command, server, &mut data),
        Err(error) if error.use_stderr() => Err(Failure::Usage(error.render().to_string())),
        Err(error) => data.line(error.render().to_string().trim_end()).map_err(Failure::from),
    };
    match ended.and_then(|()| data.flush().map_err(Failure::from)) {
        Ok(()) => 0,
        Err(failure) => {
            if let Some(text) = failure.text() {
                output::talk(&text);
            }
            failure.code()
        }
    }
}

fn execute(command: Command, server: &impl Server, data: &mut Data) -> Result<(), Failure> {
    match command {
        Command::Init(options) => init::run(&options),
        Command::Serve(options) => server.serve(&options.config, options.as_of),
        Command::Signer(options) => {
            let passphrase = options.passphrase.source().unwrap_or(Source::Terminal);
            server.signer(&options.config, &passphrase)
        }
        Command::CheckConfig(options) => {
            output::talk(&server.check(&options.config)?);
            Ok(())
        }
        Command::Verify(options) => check::verify(&options, data),
        Command::Repair(options) => check::repair(&options),
        Command::Backup(options) => {
            let place = match (&options.config, &options.data) {
                (Some(config), _) => server.place(config)?,
                (None, Some(data)) => server.usual_place(data),
                // Refused by the parser before this.
                (None, None) => return Err(Failure::Usage("name --config or --data".to_owned())),
            };
            backup::backup(&place, &options)
        }
        Command::Restore(options) => backup::restore(&options),
        Command::Forecast(options) => forecast::run(&server.place(&options.config)?, &options, data),
        Command::Storage(options) => storage::run(&server.place(&options.config)?, &options, data),
        Command::Warninglists(options) => warninglists::run(&server.place(&options.config)?, &options, data),
        Command::Roster(options) => roster::run(&server.place(&options.config)?, options.action, data),
        Command::Reload(options) => certificates::reload(&server.place(&options.config)?, &options, data),
        Command::Clock(options) => {
            certificates::clock(&server.place(&options.config)?, &options.action, data)
        }
        Command::Ready(options) => Ok(data.line(&server.ready(&options.config)?)?),
        Command::Man(options) => {
            manual::write(definition(), "8", &options).map_err(|error| Failure::Io(error.to_string()))
        }
        Command::Completions(options) => Ok(manual::completions(definition(), &options, data)?),
    }
}

/// The definition of the commands.
pub(super) fn definition() -> clap::Command {
    Arguments::command()
}

/// Reads `YYYY-MM-DD`.
fn date(text: &str) -> Result<Date, String> {
    let form = time::macros::format_description!("[year]-[month]-[day]");
    Date::parse(text, form)
        .map_err(|_| "write a date of the calendar as YYYY-MM-DD, such as 2019-12-10".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_date_that_is_not_in_the_calendar_is_refused_with_the_form() {
        assert_eq!(date("2019-12-10"), Ok(time::macros::date!(2019 - 12 - 10)));
        for text in ["2019-02-29", "10/12/2019", "2019-12-10T00:00", ""] {
            assert!(date(text).is_err_and(|problem| problem.contains("YYYY-MM-DD")), "{text:?}");
        }
    }

    #[test]
    fn a_backup_is_of_a_configuration_or_of_a_directory_not_of_both() {
        let parse = |line: &str| Arguments::try_parse_from(line.split(' '));
        assert!(parse("luytred backup --data d --to t").is_ok());
        assert!(parse("luytred backup --config c --to t").is_ok());
        assert!(parse("luytred backup --to t").is_err());
        assert!(parse("luytred backup --config c --data d --to t").is_err());
        assert!(parse("luytred backup --data d --to t --scratch s --passphrase-fd 3").is_ok());
        assert!(parse("luytred backup --data d --to t --scratch s").is_err());
        assert!(parse("luytred backup --data d --to t --passphrase-fd 3 --ask-passphrase").is_err());
    }
}
