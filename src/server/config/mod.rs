//! Decides what the hub is told: one TOML file, a handful of environment
//! variables over it, every problem reported at once with its fix.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::model::Invalid;
use crate::model::principal::check_trust_domain;
use crate::model::retention::Retention;
use crate::model::warninglist;

mod audit;
mod authorities;
mod guards;
mod limits;
mod receipts;
mod retention;
mod section;
mod signer;
mod units;

pub use audit::AuditConfig;
pub use authorities::Authorities;
pub use limits::Limits;
pub use receipts::ReceiptsConfig;
use section::Section;
pub use signer::SignerConfig;
pub use units::{Size, Span};

/// Everything that an operator decides about one hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file that says so.
    pub file: PathBuf,
    /// Directory of the store.
    pub data_dir: PathBuf,
    /// Trust domain that the store must be of, if stated.
    pub trust_domain: Option<String>,
    /// File that says where the hub listens, written once it serves.
    pub ready_file: Option<PathBuf>,
    /// Socket through which the machine's operator asks for a backup.
    pub admin_socket: PathBuf,
    /// The agencies' side.
    pub grpc: Grpc,
    /// The hub's own authorities, if it has any.
    pub authorities: Option<Authorities>,
    /// Metrics and health.
    pub http: Http,
    /// What is logged, and how.
    pub log: Log,
    /// How much of everything.
    pub limits: Limits,
    /// What is kept of the past; none: all of it.
    pub retention: Option<Retention>,
    /// How the audit is kept and signed.
    pub audit: AuditConfig,
    /// For how long receipts are kept.
    pub receipts: ReceiptsConfig,
    /// The lists that values are held against.
    pub guards: warninglist::Settings,
}

/// Where agencies connect, and the files of mutual TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grpc {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// The hub's certificate and its chain, PEM; empty, as the others: none,
    /// for the hub has authorities of its own.
    pub cert: PathBuf,
    /// The hub's private key, PEM, mode 0600.
    pub key: PathBuf,
    /// The authorities that agencies' certificates must come from, PEM.
    pub client_ca: PathBuf,
    /// A revocation list of each of these authorities, PEM.
    pub client_crl: PathBuf,
}

/// Where metrics and health are read; plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Address to listen on.
    pub listen: SocketAddr,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// For eyes or for machines.
    pub format: LogFormat,
    /// Which events, in the syntax of `tracing-subscriber`'s `EnvFilter`.
    pub filter: String,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For eyes.
    Pretty,
    /// One JSON object a line.
    Json,
}

const fn seconds(count: u64) -> Span {
    Span(std::time::Duration::from_secs(count))
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}; check the path and who may read it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration {} is not TOML: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        source: Box<toml::de::Error>,
    },
    /// The file says what the hub cannot do.
    #[error("the configuration {} has {}", path.display(), Listed(problems))]
    Problems {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong, by key.
        problems: Vec<Invalid>,
    },
}

struct Listed<'a>(&'a [Invalid]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "{count} problem{}:", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// Largest configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Longest path of a Unix socket that Linux takes, in bytes.
const MAX_SOCKET_PATH_BYTES: usize = 107;

impl Config {
    /// Reads the file at `path` and the environment over it.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let (config, problems) = Self::inspect(path)?;
        sound(path, config, problems)
    }

    /// Reads the file at `path` and the environment over it as far as that is
    /// possible, and says what is wrong with the rest. Only for reports: a hub
    /// is run by [`Self::load`] alone.
    ///
    /// # Errors
    /// The file cannot be read, or is not TOML.
    pub fn inspect(path: &Path) -> Result<(Self, Vec<Invalid>), Error> {
        let (text, path) = text_of(path)?;
        Self::interpret(&text, &path, &|name| environment(name))
    }

    /// Reads `text` as if it stood in the file at `path`, with `variable` for
    /// the environment.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn read(text: &str, path: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let (config, problems) = Self::interpret(text, path, variable)?;
        sound(path, config, problems)
    }

    fn interpret(
        text: &str,
        path: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<Invalid>), Error> {
        let mut table = parse(text, path)?;
        override_from(&mut table, variable);
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        let mut problems = Vec::new();
        let config = assemble(table, base, &mut problems);
        Ok((Self { file: path.to_owned(), ..config }, problems))
    }

    /// Whether `other` differs in more than what a running hub takes up.
    #[must_use]
    pub fn needs_restart_for(&self, other: &Self) -> bool {
        let limits = self.limits.clone().with_quotas_of(&other.limits);
        let taken_up = Self { limits, guards: other.guards.clone(), ..self.clone() };
        taken_up != *other
    }
}

/// The text of the file at `path`, and where that is from the root.
fn text_of(path: &Path) -> Result<(String, PathBuf), Error> {
    let unreadable = |source| Error::Unreadable { path: path.to_owned(), source };
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if length > MAX_FILE_BYTES {
        let source = std::io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes"));
        return Err(unreadable(source));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    Ok((text, std::path::absolute(path).map_err(unreadable)?))
}

fn parse(text: &str, path: &Path) -> Result<toml::Table, Error> {
    toml::from_str(text).map_err(|source| Error::Syntax { path: path.to_owned(), source: Box::new(source) })
}

fn sound<T>(path: &Path, config: T, problems: Vec<Invalid>) -> Result<T, Error> {
    if problems.is_empty() { Ok(config) } else { Err(Error::Problems { path: path.to_owned(), problems }) }
}

/// The environment variables that stand over the file, and their keys.
const OVERRIDES: [(&str, &[&str]); 6] = [
    ("LUYTRE_DATA_DIR", &["data_dir"]),
    ("LUYTRE_READY_FILE", &["ready_file"]),
    ("LUYTRE_GRPC_LISTEN", &["grpc", "listen"]),
    ("LUYTRE_HTTP_LISTEN", &["http", "listen"]),
    ("LUYTRE_LOG_FORMAT", &["log", "format"]),
    ("LUYTRE_LOG_FILTER", &["log", "filter"]),
];

#[expect(clippy::disallowed_methods, reason = "this is the one reading of the environment")]
fn environment(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?;
    let is_path = matches!(name, "LUYTRE_DATA_DIR" | "LUYTRE_READY_FILE");
    // A path in the environment is meant from where the command is run.
    let absolute = is_path.then(|| std::path::absolute(&value).ok()).flatten();
    Some(absolute.and_then(|path| path.to_str().map(str::to_owned)).unwrap_or(value))
}

fn override_from(table: &mut toml::Table, variable: &dyn Fn(&str) -> Option<String>) {
    for (name, key) in OVERRIDES {
        let Some(value) = variable(name) else { continue };
        let value = toml::Value::String(value);
        match key {
            [key] => {
                table.insert((*key).to_owned(), value);
            }
            [section, key] => {
                let section = table.entry(*section).or_insert_with(|| toml::Table::new().into());
                if let toml::Value::Table(section) = section {
                    section.insert((*key).to_owned(), value);
                }
            }
            _ => {}
        }
    }
}

fn assemble(table: toml::Table, base: &Path, problems: &mut Vec<Invalid>) -> Config {
    let mut root = Section::root(table);
    let data_dir = root.required_path("data_dir", base, "the store's directory", problems);
    let trust_domain: Option<String> = root.optional("trust_domain", problems);
    if let Some(Err(invalid)) = trust_domain.as_deref().map(check_trust_domain) {
        problems.push(invalid.under("trust_domain"));
    }
    let ready_file = root.path("ready_file", base, problems);
    let admin_socket = root.path("admin_socket", base, problems).unwrap_or_else(|| admin_socket(&data_dir));
    if admin_socket.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
        let shown = admin_socket.display();
        problems.push(Invalid::new(
            "admin_socket",
            format!("{shown} is longer than the {MAX_SOCKET_PATH_BYTES} bytes that Linux allows a socket; name a shorter path"),
        ));
    }

    let authorities = authorities::read(root.section("authorities", problems), base, &data_dir, problems);
    let alone = authorities.is_none();
    let mut section = root.section("grpc", problems);
    let grpc = Grpc {
        listen: section.or("listen", SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7443)), problems),
        cert: section.path_if(alone, "cert", base, "the hub's certificate", problems),
        key: section.path_if(alone, "key", base, "the hub's private key", problems),
        client_ca: section.path_if(
            alone,
            "client_ca",
            base,
            "the authorities of agencies' certificates",
            problems,
        ),
        client_crl: section.path_if(
            alone,
            "client_crl",
            base,
            "these authorities' revocation lists",
            problems,
        ),
    };
    for (one, other, names) in [
        (&grpc.cert, &grpc.key, ("grpc.cert", "grpc.key")),
        (&grpc.client_ca, &grpc.client_crl, ("grpc.client_ca", "grpc.client_crl")),
    ] {
        if !alone && one.as_os_str().is_empty() != other.as_os_str().is_empty() {
            let problem = format!("goes with {}: name both, or neither", names.1);
            problems.push(Invalid::new(names.0, problem));
        }
    }
    if !alone && !grpc.cert.as_os_str().is_empty() {
        let problem =
            "is not for a hub with [authorities]: its signer gives it its certificate; leave it out";
        problems.push(Invalid::new("grpc.cert", problem));
    }
    section.finish(problems);

    let mut section = root.section("http", problems);
    let http = Http { listen: section.or("listen", SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)), problems) };
    section.finish(problems);
    if http.listen == grpc.listen && grpc.listen.port() != 0 {
        problems.push(Invalid::new("http.listen", "is the address of grpc.listen; choose another port"));
    }

    let log = read_log(root.section("log", problems), problems);
    let limits = limits::read(root.section("limits", problems), problems);
    let retention = retention::read(root.section("retention", problems), problems);
    let audit = audit::read(root.section("audit", problems), problems);
    let receipts = receipts::read(root.section("receipts", problems), problems);
    let guards = guards::read(root.section("guards", problems), base, &data_dir, problems);
    root.finish(problems);
    Config {
        file: PathBuf::new(),
        data_dir,
        trust_domain,
        ready_file,
        admin_socket,
        grpc,
        authorities,
        http,
        log,
        limits,
        retention,
        audit,
        receipts,
        guards,
    }
}

fn read_log(mut section: Section, problems: &mut Vec<Invalid>) -> Log {
    let log = Log {
        format: section.or("format", LogFormat::Pretty, problems),
        filter: section.or("filter", "info".to_owned(), problems),
    };
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&log.filter) {
        problems.push(Invalid::new(
            section.at("filter"),
            format!("{error}; write such as \"info\" or \"info,luytre::hub=debug\""),
        ));
    }
    section.finish(problems);
    log
}

/// Where the machine's operator reaches the hub of `data_dir`, unless the
/// configuration says otherwise.
#[must_use]
pub fn admin_socket(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.sock")
}

#[cfg(test)]
mod tests;
