//! Decides the commands of `luytre`: what they read, what they print, and how
//! they end. stdout is data, stderr is talk.

mod arguments;
mod assets;
mod audit;
mod authorities;
mod bars;
mod canonical;
mod cert;
mod certs;
mod changes;
mod chart;
pub mod daemon;
mod draft;
mod exit;
mod explain;
mod export;
mod feeds;
mod guarded;
mod held;
mod hook;
mod import;
mod input;
mod language;
mod leave;
mod lookup;
mod manual;
mod notices;
mod organisations;
mod output;
mod own;
mod passphrase;
pub mod pki;
mod profile;
mod publish;
mod query;
mod recipients;
mod record;
mod refusals;
mod report;
mod roster;
mod roster_edit;
mod show;
mod single;
mod state;
mod stats;
mod stop;
mod subscribe;
mod subscriptions;
mod sync;
mod table;
mod tail;
mod terminal;
#[cfg(test)]
mod tests;
mod versions;
mod watch;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Parser as _};

use arguments::{Arguments, AuditAction, Command, Talk};
use exit::Failure;
use language::Language;
use output::Data;
use terminal::Terminal;

/// What the commands read from the environment.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `LUYTRE_PROFILE`.
    pub profile: Option<PathBuf>,
    /// The user's directory of configuration files, such as `~/.config`.
    pub configuration: Option<PathBuf>,
    /// The first that is set of `LUYTRE_LANG`, `LC_ALL`, `LC_MESSAGES` and `LANG`.
    pub locale: Option<String>,
    /// The first that is set of `LC_ALL`, `LC_CTYPE` and `LANG`.
    pub charset: Option<String>,
    /// Whether `NO_COLOR` is set to anything.
    pub no_colour: bool,
}

/// Runs one command; returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: &Environment) -> u8 {
    let mut data = Data::stdout();
    let ended = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => execute(arguments, environment, &mut data),
        Err(error) => usage(&error, &mut data),
    };
    let ended = ended.and_then(|()| data.flush().map_err(Failure::from));
    match ended {
        Ok(()) => exit::OK,
        Err(failure) => {
            if let Some(text) = failure.text() {
                output::talk(&text);
            }
            failure.code()
        }
    }
}

/// Prints help where it was asked for, and usage errors where they belong.
fn usage(error: &clap::Error, data: &mut Data) -> Result<(), Failure> {
    if error.use_stderr() {
        Err(Failure::Usage(error.render().to_string()))
    } else {
        data.line(error.render().to_string().trim_end()).map_err(Failure::from)
    }
}

fn execute(arguments: Arguments, environment: &Environment, data: &mut Data) -> Result<(), Failure> {
    output::log_to_stderr(match (arguments.talk.quiet, arguments.talk.verbose) {
        (true, _) => "error",
        (false, false) => "warn,luytre::client=info",
        (false, true) => "info,luytre=debug",
    });
    // Commands that need no hub.
    let arguments = match arguments {
        Arguments { command: Command::Completions(options), .. } => {
            return Ok(manual::completions(Arguments::command(), &options, data)?);
        }
        Arguments { command: Command::Man(options), .. } => {
            return manual::write(Arguments::command(), "1", &options)
                .map_err(|error| Failure::Io(error.to_string()));
        }
        Arguments { command: Command::Canonical(options), .. } => return canonical::run(&options, data),
        Arguments {
            command: Command::Cert(arguments::Cert { action: arguments::CertAction::Show { file } }),
            ..
        } => {
            return pki::show_file(&file, data.writer()).map_err(Failure::Pki);
        }
        Arguments {
            command: Command::Audit(arguments::Audit { action: AuditAction::Verify(options) }),
            ..
        } => {
            let language = Language::of(options.lang, environment.locale.as_deref());
            return audit::verify(&options, language, data);
        }
        Arguments { command: Command::Pki(pki), .. } => {
            return pki::run(pki, data.writer()).map_err(Failure::Pki);
        }
        arguments => arguments,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::Io(format!("cannot start: {error}")))?;
    let ended = runtime.block_on(converse(arguments, environment, data));
    // A blocked read of stdin must not hold up the end.
    runtime.shutdown_background();
    ended
}

/// The commands that speak with the hub.
async fn converse(arguments: Arguments, environment: &Environment, data: &mut Data) -> Result<(), Failure> {
    let Arguments { hub, talk, command } = arguments;
    let Talk { quiet, .. } = talk;
    let command = match command {
        Command::Publish(mut options) => {
            options.how = feeds::applied(&options.how, environment)?;
            if options.dry_run {
                return publish::try_out(&options, quiet).await;
            }
            Command::Publish(options)
        }
        Command::TailPublish(mut options) => {
            options.how = feeds::applied(&options.how, environment)?;
            Command::TailPublish(options)
        }
        Command::Cert(options) => return cert::run(&hub, environment, &options, quiet).await,
        command => command,
    };
    let client = match way(&command) {
        Some(socket) => profile::connect_to_socket(&hub, socket),
        None => profile::connect(&hub, environment)?,
    };
    match command {
        Command::Whoami(options) => single::whoami(&client, &options, data).await,
        Command::Publish(options) => publish::run(&client, &options, quiet).await,
        Command::TailPublish(options) => tail::run(&client, &options).await,
        Command::Subscribe(options) => {
            let language = Language::of(None, environment.locale.as_deref());
            subscribe::run(&client, &options, (quiet, language), data).await
        }
        Command::Sync(options) => sync::run(&client, &options, quiet).await,
        Command::Subscriptions(options) => subscriptions::run(&client, &options, quiet, data).await,
        Command::Lookup(options) => lookup::run(&client, &options, data).await,
        Command::Query(options) => {
            let language = Language::of(options.lang, environment.locale.as_deref());
            query::run(&client, &options, (language, Terminal::stdout(environment)), data).await
        }
        Command::Stats(options) => {
            let language = Language::of(options.drawn.lang, environment.locale.as_deref());
            stats::stats(&client, &options, (language, Terminal::stdout(environment)), data).await
        }
        Command::Timeline(options) => {
            let language = Language::of(options.drawn.lang, environment.locale.as_deref());
            stats::timeline(&client, &options, (language, Terminal::stdout(environment)), data).await
        }
        Command::Export(options) => export::run(&client, &options, quiet, data).await,
        Command::Organisations(options) => organisations::run(&client, &options, data).await,
        Command::Roster(options) => roster::run(&client, &options, data).await,
        Command::Show(options) => {
            let language = Language::of(options.answer.lang, environment.locale.as_deref());
            show::run(&client, &options, language, data).await
        }
        Command::Versions(options) => {
            let language = Language::of(options.answer.lang, environment.locale.as_deref());
            versions::run(&client, &options, language, data).await
        }
        Command::Get(options) => single::get(&client, &options, data).await,
        Command::Explain(options) => explain::run(&client, &options, data).await,
        Command::Revoke(options) => single::revoke(&client, &options, data).await,
        Command::Recipients(options) => {
            let language = Language::of(options.answer.lang, environment.locale.as_deref());
            recipients::run(&client, &options, language, data).await
        }
        Command::Recall(options) => {
            let arguments::RecallAction::Status(status) = &options.action;
            let language = Language::of(status.answer.lang, environment.locale.as_deref());
            recipients::recall(&client, &options, language, data).await
        }
        Command::Certs(options) => certs::run(&client, &options, data).await,
        Command::Ca(options) => authorities::run(&client, &options, data).await,
        Command::Watch(options) => {
            let language = Language::of(options.lang, environment.locale.as_deref());
            own::run(&client, &options, (language, Terminal::stdout(environment)), data).await
        }
        Command::Assets(options) => assets::run(&client, &options, data).await,
        Command::Leave(options) => leave::run(&client, &options, data).await,
        Command::Held(options) => {
            let language = Language::of(options.lang(), environment.locale.as_deref());
            held::run(&client, &options, language, data).await
        }
        Command::Sight(options) => single::sight(&client, &options, data).await,
        Command::Audit(options) => match options.action {
            AuditAction::List(options) => audit::list(&client, &options, data).await,
            AuditAction::Checkpoint(options) => {
                let language = Language::of(options.lang, environment.locale.as_deref());
                audit::checkpoint(&client, &options, language, data).await
            }
            AuditAction::Export(options) => audit::export(&client, &options, data).await,
            AuditAction::Verify(_) => Ok(()),
        },
        Command::Cert(_)
        | Command::Pki(_)
        | Command::Canonical(_)
        | Command::Man(_)
        | Command::Completions(_) => Ok(()),
    }
}

/// The admin socket, where a command takes it and it was asked for.
fn way(command: &Command) -> Option<&Path> {
    match command {
        Command::Certs(options) => options.way.socket.as_deref(),
        Command::Ca(options) => options.way.socket.as_deref(),
        _ => None,
    }
}
