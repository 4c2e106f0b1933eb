//! The hub: arguments and exit codes.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use luytre::base::clock::{Clock, DatedClock, SystemClock};
use luytre::base::tasks;
use luytre::cli::daemon::{self, Failure, Place, Server};
use luytre::model::warninglist::Settings;
use luytre::server::config::{self, Config, SignerConfig};
use luytre::server::signals::Signals;
use luytre::server::{Assembly, Error, Sockets, check, probe, serve, telemetry};
use luytre::signer::{self, passphrase::Source};
use time::Date;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The hub's threads free what others allocated, many times per item: the
/// system's allocator takes a sixth of the hub's time for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(daemon::run(std::env::args_os(), &Hub))
}

/// Brings the commands and the server together.
struct Hub;

impl Server for Hub {
    fn serve(&self, path: &Path, as_of: Option<Date>) -> Result<(), Failure> {
        let config = Config::load(path).map_err(|error| failure(error.into()))?;
        telemetry::init(&config.log).map_err(failure)?;
        let calendar = as_of.map(|date| -> Arc<dyn Clock> {
            tracing::warn!(%date, "the hub's calendar does not show today's date: for demonstrations only");
            Arc::new(DatedClock::starting_on(date))
        });
        run(config, calendar).map_err(failure)
    }

    fn signer(&self, path: &Path, passphrase: &Source) -> Result<(), Failure> {
        let config = SignerConfig::load(path).map_err(|error| failure(error.into()))?;
        telemetry::init(&config.log).map_err(failure)?;
        let passphrase = passphrase
            .read("of the signer's keys")
            .map_err(|error| Failure::Configuration(error.to_string()))?;
        let settings = config.settings;
        with_signals(async |shutdown, reloads| {
            signer::serve(settings, passphrase, SystemClock::shared(), shutdown, reloads).await
        })
        .map_err(signer_failure)
    }

    fn check(&self, path: &Path) -> Result<String, Failure> {
        let checked = check::check(path, &SystemClock::shared()).map_err(failure)?;
        Ok(checked.to_string())
    }

    fn ready(&self, path: &Path) -> Result<String, Failure> {
        probe::ask(path).map_err(|error| match error {
            probe::Error::Config(error) => failure(error.into()),
            probe::Error::Nowhere { .. } => Failure::Configuration(error.to_string()),
            probe::Error::Silent { .. } | probe::Error::NotReady { .. } => {
                Failure::TryLater(error.to_string())
            }
        })
    }

    fn place(&self, path: &Path) -> Result<Place, Failure> {
        let config = Config::load(path).map_err(|error| failure(error.into()))?;
        let Config { data_dir, admin_socket, retention, guards, .. } = config;
        Ok(Place { data_dir, admin_socket, retention, guards })
    }

    fn usual_place(&self, data_dir: &Path) -> Place {
        let admin_socket = config::admin_socket(data_dir);
        Place { data_dir: data_dir.to_owned(), admin_socket, retention: None, guards: Settings::default() }
    }
}

fn run(config: Config, calendar: Option<Arc<dyn Clock>>) -> Result<(), Error> {
    with_signals(async |shutdown, reloads| {
        // Bound first: a hub that cannot listen need not open its store.
        let sockets = Sockets::bind(&config).await?;
        // On a thread of its own, so that signals are heard meanwhile.
        let opened = tasks::spawn_blocking(move || Assembly::open(config, calendar));
        let assembly = opened.await.map_err(std::io::Error::other)??;
        serve(assembly, sockets, shutdown, reloads).await
    })
}

/// Runs `work` until it ends, or at once to the end at a second signal.
fn with_signals<E: From<std::io::Error>>(
    work: impl AsyncFnOnce(CancellationToken, watch::Receiver<u64>) -> Result<(), E>,
) -> Result<(), E> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let (reload, reloads) = watch::channel(0);
        let second = Signals::listen()?.watch(shutdown.clone(), reload);
        tokio::select! {
            outcome = work(shutdown, reloads) => outcome,
            code = second => end_at_once(code),
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "a second signal waits for nothing")]
fn end_at_once(code: u8) -> ! {
    std::process::exit(i32::from(code))
}

fn failure(error: Error) -> Failure {
    let text = error.to_string();
    match error {
        Error::Config(_) | Error::KeyOpen { .. } | Error::Tls(_) | Error::TrustDomain { .. } => {
            Failure::Configuration(text)
        }
        Error::Guards(_) => Failure::Configuration(text),
        Error::File { .. } => Failure::NoInput(text),
        Error::Store(error) => Failure::Store(error),
        Error::Hub(error) => Failure::Hub(error),
        Error::Listen { .. } | Error::Operator(_) | Error::Ready { .. } | Error::Start(_) => {
            Failure::Io(text)
        }
        Error::Log(_) => Failure::Configuration(text),
        Error::Authorities(_) => Failure::TryLater(text),
        Error::ListenerFailed => Failure::TryLater(text),
    }
}

fn signer_failure(error: signer::Error) -> Failure {
    let text = error.to_string();
    match error {
        signer::Error::Keys(_) => Failure::Configuration(text),
        signer::Error::Journal(_) => Failure::Corrupt(text),
        signer::Error::Running { .. } => Failure::TryLater(text),
        signer::Error::State { .. } | signer::Error::Socket(_) | signer::Error::Serve(_) => Failure::Io(text),
    }
}
