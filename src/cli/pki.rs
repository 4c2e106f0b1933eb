//! Decides `luytre pki`: making authorities, issuing and revoking
//! certificates, and showing what the hub would read in one.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::clock::{Clock as _, SystemClock, Timestamp};
use crate::model::Invalid;
use crate::model::principal::SpiffeId;
use crate::pki::directory::{self, Directory, Written};
use crate::pki::issue::{DAY, Leaf, lifetime};
use crate::pki::{identity, pem, revocation};

mod show;

/// Certificates longer-lived than this are refused; renewal is the rule.
const MAX_LEAF_DAYS: u16 = 397;

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// In the directory of authorities.
    #[error(transparent)]
    Directory(#[from] directory::Error),
    /// The identity is not one.
    #[error("--id: {0}")]
    Identity(Invalid),
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the file system answered.
        source: io::Error,
    },
    /// The file holds no certificate.
    #[error("{}: {source}", path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The certificate cannot be read.
    #[error(transparent)]
    Certificate(#[from] identity::Error),
    /// The revocation list cannot be read.
    #[error(transparent)]
    List(#[from] revocation::Error),
    /// Nothing could be said.
    #[error("cannot write what is to be told: {0}")]
    Talk(#[from] io::Error),
}

/// Makes and keeps the certificates of a hub.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  luytre pki init --dir pki --trust-domain hub.example.vn
  luytre pki issue --dir pki server --dns hub.example.vn
  luytre pki issue --dir pki client --id spiffe://hub.example.vn/org/ca-hanoi/system/soc
  luytre pki crl --dir pki

Needs no hub: run it on a machine that is not the hub, and keep private/*-root.key offline. How long
each certificate lives, and what to do before its end, is in docs/operating.md.")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Makes both hierarchies of authorities in an empty directory
    #[command(after_long_help = "Examples:
  luytre pki init --dir pki --trust-domain hub.example.vn")]
    Init {
        #[command(flatten)]
        place: Place,
        /// The trust domain of every identity, such as hub.example.vn
        #[arg(long)]
        trust_domain: String,
        /// Days until the next revocation list is due
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=365))]
        crl_days: u16,
    },
    /// Issues a certificate with a new key
    #[command(after_long_help = "Examples:
  luytre pki issue --dir pki server --dns hub.example.vn
  luytre pki issue --dir pki client --id spiffe://hub.example.vn/org/so-y-te/user/an")]
    Issue {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        leaf: LeafCommand,
    },
    /// Revokes a client certificate and signs the revocation list
    #[command(after_long_help = "Examples:
  luytre pki revoke --dir pki --serial 5f0c7a

Copy the list to the hub and reload it: the connections of the certificate end at once.")]
    Revoke {
        #[command(flatten)]
        place: Place,
        /// Serial number as `luytre pki show` and the hub's log print it
        #[arg(long)]
        serial: String,
        /// Days until the next revocation list is due
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=365))]
        crl_days: u16,
    },
    /// Signs the revocation list afresh, before it runs out
    #[command(after_long_help = "Examples:
  luytre pki crl --dir pki
  luytre pki crl --dir pki --crl-days 14

Copy the list to the hub and reload it. Once the list has run out, nobody can connect.")]
    Crl {
        #[command(flatten)]
        place: Place,
        /// Days until the next revocation list is due
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=365))]
        crl_days: u16,
    },
    /// Shows what the hub would read in a certificate or a revocation list
    #[command(after_long_help = "Examples:
  luytre pki show pki/ca-hanoi-soc.pem
  luytre pki show pki/client-crl.pem")]
    Show {
        /// A PEM file with certificates, or with revocation lists
        file: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Place {
    /// The directory of the authorities
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Debug, clap::Subcommand)]
enum LeafCommand {
    /// A certificate for the hub
    #[command(after_long_help = "Examples:
  luytre pki issue --dir pki server --dns hub.example.vn --ip 192.0.2.10
  luytre pki issue --dir pki server --dns hub.example.vn --name server-2027")]
    Server {
        /// A DNS name of the hub; may be repeated
        #[arg(long, value_name = "NAME", num_args = 1..)]
        dns: Vec<String>,
        /// An IP address of the hub; may be repeated
        #[arg(long, value_name = "ADDRESS", num_args = 1..)]
        ip: Vec<IpAddr>,
        /// Days until it expires
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_LEAF_DAYS)))]
        days: u16,
        /// Name of the files, without ending
        #[arg(long, default_value = "server")]
        name: String,
    },
    /// A certificate for a system or a person
    #[command(after_long_help = "Examples:
  luytre pki issue --dir pki client --id spiffe://hub.example.vn/org/ca-hanoi/system/soc
  luytre pki issue --dir pki client --id spiffe://hub.example.vn/org/so-y-te/user/an --days 90")]
    Client {
        /// `spiffe://<trust-domain>/org/<organisation>/(system|user)/<name>`
        #[arg(long, value_name = "SPIFFE-ID")]
        id: String,
        /// Days until it expires
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_LEAF_DAYS)))]
        days: u16,
        /// Name of the files, without ending; `<organisation>-<name>` if absent
        #[arg(long)]
        name: Option<String>,
    },
}

/// Runs the command: what was asked for goes to `data`, and a person is told
/// on standard error what was done.
///
/// # Errors
/// With what went wrong and what to do; nothing is then half-written that a
/// hub would take.
pub fn run(args: Args, data: &mut dyn Write) -> Result<(), Error> {
    run_to(args, data, &mut io::stderr().lock(), SystemClock.now())
}

/// The same, telling `talk`, at the moment `now`.
///
/// # Errors
/// As [`run`].
pub fn run_to(args: Args, data: &mut dyn Write, talk: &mut dyn Write, now: Timestamp) -> Result<(), Error> {
    match args.command {
        Command::Init { place, trust_domain, crl_days } => {
            init(&place.dir, &trust_domain, days(crl_days), talk, now)
        }
        Command::Issue { place, leaf } => issue_leaf(&place.dir, leaf, talk, now),
        Command::Revoke { place, serial, crl_days } => {
            let list =
                Directory::open(&place.dir)?.sign_revocation_list(Some(&serial), now, days(crl_days))?;
            writeln!(talk, "revoked {serial}; {} certificates are revoked in all", list.revoked.len())?;
            tell_list(&place.dir, list.next_update, talk)
        }
        Command::Crl { place, crl_days } => {
            let list = Directory::open(&place.dir)?.sign_revocation_list(None, now, days(crl_days))?;
            tell_list(&place.dir, list.next_update, talk)
        }
        Command::Show { file } => show::show(&file, data, now),
    }
}

/// Shows a file as `show` does.
pub(super) fn show_file(file: &Path, data: &mut dyn Write) -> Result<(), Error> {
    show::show(file, data, SystemClock.now())
}

fn days(count: u16) -> Duration {
    DAY.saturating_mul(u32::from(count))
}

fn init(
    dir: &Path,
    trust_domain: &str,
    list_lifetime: Duration,
    talk: &mut dyn Write,
    now: Timestamp,
) -> Result<(), Error> {
    Directory::init(dir, trust_domain, now, list_lifetime)?;
    let at = dir.display();
    writeln!(talk, "made the authorities of trust domain {trust_domain} in {at}")?;
    writeln!(talk, "  {at}/{}  give this to every client", directory::SERVER_CA)?;
    writeln!(talk, "  {at}/{}  the hub trusts this", directory::CLIENT_CA)?;
    writeln!(
        talk,
        "  {at}/{} the hub reads this; due again {}",
        directory::CLIENT_CRL,
        now.saturating_add(list_lifetime)
    )?;
    writeln!(talk, "next: move {at}/private/*-root.key offline; they sign nothing from day to day")?;
    Ok(())
}

fn issue_leaf(dir: &Path, leaf: LeafCommand, talk: &mut dyn Write, now: Timestamp) -> Result<(), Error> {
    let directory = Directory::open(dir)?;
    let (leaf, name, asked) = match leaf {
        LeafCommand::Server { dns, ip, days: count, name } => (Leaf::Server { dns, ip }, name, days(count)),
        LeafCommand::Client { id, days: count, name } => {
            let id = SpiffeId::parse(&id).map_err(Error::Identity)?;
            let name = name.unwrap_or_else(|| default_name(&id));
            (Leaf::Client(id), name, days(count))
        }
    };
    let written = directory.issue(&leaf, &name, now, asked)?;
    tell_written(&written, talk)?;
    if written.not_after < now.saturating_add(asked) {
        writeln!(talk, "note: cut to the end of the issuing authority; make the next generation soon")?;
    }
    let usual = if matches!(leaf, Leaf::Server { .. }) { lifetime::SERVER } else { lifetime::CLIENT };
    if asked > usual {
        writeln!(
            talk,
            "note: longer than the usual {} days; renewing often is safer",
            usual.as_secs() / DAY.as_secs()
        )?;
    }
    Ok(())
}

fn default_name(id: &SpiffeId) -> String {
    let name = id.as_str().rsplit('/').next().unwrap_or_default();
    format!("{}-{name}", id.org())
}

fn tell_written(written: &Written, talk: &mut dyn Write) -> io::Result<()> {
    writeln!(talk, "certificate {}", written.certificate.display())?;
    writeln!(talk, "key         {}", written.key.display())?;
    writeln!(talk, "serial      {}", written.serial)?;
    writeln!(talk, "expires     {}", written.not_after)
}

fn tell_list(dir: &Path, next_update: Timestamp, talk: &mut dyn Write) -> Result<(), Error> {
    writeln!(talk, "signed {}/{}; due again {next_update}", dir.display(), directory::CLIENT_CRL)?;
    writeln!(talk, "next: copy it to the hub and reload; handshakes fail once it is overdue")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::super::exit::Failure;
    use super::*;
    use crate::base::files;
    use crate::pki::tls::{Material, Snapshot, Standing};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    /// Runs one line at `now`, and returns what was told.
    fn at(line: &str, now: Timestamp) -> Result<String, Error> {
        let words_show = line.starts_with("show");
        let words = std::iter::once("pki").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).unwrap();
        let (mut data, mut talk) = (Vec::new(), Vec::new());
        run_to(line.args, &mut data, &mut talk, now)?;
        assert!(data.is_empty() || talk.is_empty(), "a command either shows or does");
        assert_eq!(data.is_empty(), !words_show, "what was asked for is data, all else is talk");
        data.append(&mut talk);
        Ok(String::from_utf8(data).unwrap())
    }

    fn code(error: Error) -> u8 {
        Failure::Pki(error).code()
    }

    fn told(line: &str) -> String {
        at(line, SystemClock.now()).unwrap()
    }

    fn place() -> (tempfile::TempDir, String) {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("pki").display().to_string();
        told(&format!("init --dir {dir} --trust-domain hub.example"));
        (place, dir)
    }

    fn snapshot(dir: &str) -> Snapshot {
        build(dir).unwrap()
    }

    fn build(dir: &str) -> Result<Snapshot, crate::pki::tls::Error> {
        let read = |name: &str| fs::read(format!("{dir}/{name}")).unwrap();
        let material = Material::from_pem(
            &read(directory::CLIENT_CA),
            &read(directory::CLIENT_CRL),
            &read("server.pem"),
            &read("server.key"),
        );
        Snapshot::build(material?, "hub.example", 1, &SystemClock::shared(), None)
    }

    #[test]
    fn a_hub_starts_with_what_the_commands_write_and_takes_a_revocation() {
        let (_place, dir) = place();
        told(&format!("issue --dir {dir} server --dns hub.example www.hub.example --ip 127.0.0.1 ::1"));
        told(&format!("issue --dir {dir} client --id spiffe://hub.example/org/soc/system/feed"));
        let text = fs::read(format!("{dir}/soc-feed.pem")).unwrap();
        let certificates = pem::certificates(&text).unwrap();
        let identity = identity::read(&certificates[0], "hub.example").unwrap();
        let standing = |snapshot: &Snapshot| snapshot.standing(&identity, SystemClock.now());
        let before = snapshot(&dir);
        assert_eq!(standing(&before), Standing::Good);
        told(&format!("revoke --dir {dir} --serial {}", identity.serial));
        assert_eq!(standing(&snapshot(&dir)), Standing::Revoked);
        told(&format!("crl --dir {dir}"));
        assert_eq!(standing(&snapshot(&dir)), Standing::Revoked);
    }

    #[test]
    fn a_list_that_ran_out_is_signed_again() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("pki").display().to_string();
        let long_ago = SystemClock.now().saturating_sub(DAY * 8);
        at(&format!("init --dir {dir} --trust-domain hub.example"), long_ago).unwrap();
        told(&format!("issue --dir {dir} server --dns hub.example"));
        assert!(build(&dir).is_err());
        told(&format!("crl --dir {dir} --crl-days 9"));
        let next = snapshot(&dir).revocation_next_update().unwrap();
        assert!(next > SystemClock.now().saturating_add(DAY * 8));
    }

    #[test]
    fn show_tells_what_the_hub_would_read_or_why_it_would_refuse() {
        let (_place, dir) = place();
        told(&format!("issue --dir {dir} server --dns hub.example --ip 192.0.2.7"));
        told(&format!("issue --dir {dir} client --id spiffe://hub.example/org/soc/user/an --days 3"));
        let client = told(&format!("show {dir}/soc-an.pem"));
        assert!(client.contains("spiffe://hub.example/org/soc/user/an"), "{client}");
        assert!(client.contains("clientAuth") && client.contains("2 days left"), "{client}");
        let server = told(&format!("show {dir}/server.pem"));
        assert!(server.contains("hub.example, 192.0.2.7") && server.contains("authority"), "{server}");
        let expired =
            at(&format!("show {dir}/soc-an.pem"), SystemClock.now().saturating_add(DAY * 4)).unwrap();
        assert!(expired.contains("EXPIRED"), "{expired}");
        assert!(at(&format!("show {dir}/soc-an.key"), SystemClock.now()).is_err());
    }

    #[test]
    fn show_tells_what_a_revocation_list_revokes_and_when_the_next_is_due() {
        let (_place, dir) = place();
        told(&format!("issue --dir {dir} client --id spiffe://hub.example/org/soc/user/an"));
        let serial = told(&format!("show {dir}/soc-an.pem"));
        let serial = serial.lines().find_map(|line| line.strip_prefix("serial      ")).unwrap();
        assert!(told(&format!("show {dir}/client-crl.pem")).contains("revoked     0"));
        told(&format!("revoke --dir {dir} --serial {serial}"));
        let list = told(&format!("show {dir}/client-crl.pem"));
        assert!(
            list.contains("revoked     1") && list.contains(serial) && !list.contains("OVERDUE"),
            "{list}"
        );
        let later = SystemClock.now().saturating_add(DAY * 8);
        assert!(at(&format!("show {dir}/client-crl.pem"), later).unwrap().contains("OVERDUE"));
    }

    #[test]
    fn a_hostile_name_cannot_write_to_the_terminal() {
        let (place, _) = place();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "a\u{1b}[2Jb");
        let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let path = place.path().join("odd.pem");
        files::write_new(&path, certificate.pem().as_bytes(), 0o600).unwrap();
        let shown = told(&format!("show {}", path.display()));
        assert!(shown.contains("[2Jb") && !shown.contains('\u{1b}'), "{shown:?}");
    }

    #[test]
    fn an_error_says_what_to_do() {
        let (_place, dir) = place();
        let now = SystemClock.now();
        let again = at(&format!("init --dir {dir} --trust-domain hub.example"), now).unwrap_err();
        assert!(again.to_string().contains("not overwritten"), "{again}");
        assert_eq!(code(again), 73);
        let nowhere = at("crl --dir /nonexistent/pki", now).unwrap_err();
        assert!(nowhere.to_string().contains("luytre pki init"), "{nowhere}");
        assert_eq!(code(nowhere), 66);
        let no_file = at(&format!("show {dir}/none.pem"), now).unwrap_err();
        assert_eq!(code(no_file), 66);
        let no_certificate = at(&format!("show {dir}/private/client-root.key"), now).unwrap_err();
        assert_eq!(code(no_certificate), 65);
        let name = at(&format!("issue --dir {dir} client --id spiffe://hub.example/org/SOC/user/an"), now)
            .unwrap_err();
        assert!(name.to_string().contains("--id"), "{name}");
        assert_eq!(code(name), 64);
        let serial = at(&format!("revoke --dir {dir} --serial 0102"), now).unwrap_err();
        assert_eq!(code(serial), 64);
        let nameless = at(&format!("issue --dir {dir} server"), now).unwrap_err();
        assert!(nameless.to_string().contains("DNS name"), "{nameless}");
    }
}
