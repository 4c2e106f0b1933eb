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
use crate::signer::passphrase;

use super::passphrase::Passphrase;

mod ceremony;
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
    /// There is no passphrase.
    #[error(transparent)]
    Passphrase(#[from] passphrase::Error),
    /// A signer would take none of its keys.
    #[error(
        "name --ask-passphrase, --passphrase-fd N or --passphrase-file FILE: a key is encrypted with a passphrase"
    )]
    PassphraseMissing,
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
  luytre pki issuing --dir pki --hierarchy client --ask-passphrase

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
  luytre pki init --dir pki --trust-domain hub.example.vn
  luytre pki init --dir pki --trust-domain hub.example.vn --ask-passphrase
  luytre pki init --dir pki --trust-domain hub.example.vn --passphrase-fd 3 3< passphrase

With a passphrase the keys of the authorities are encrypted; a signer takes no others.")]
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
    /// Makes the next generation of an issuing authority, under its root
    #[command(after_long_help = "Examples:
  luytre pki issuing --dir pki --hierarchy client --ask-passphrase

The root's key must be in private/. What luytre pki issue signs goes on under the first generation: the
next one is for the signer (luytre pki export-signer), and is put to use by luytre ca.")]
    Issuing {
        #[command(flatten)]
        place: Place,
        /// Whose next generation
        #[arg(long, value_enum)]
        hierarchy: ceremony::HierarchyName,
    },
    /// Copies the issuing authorities to where a signer reads them
    #[command(after_long_help = "Examples:
  luytre pki export-signer --dir pki --to /media/usb/signer

Copies no root and no key in the clear. Give what is there to the signer's user, mode 0600.")]
    ExportSigner {
        #[command(flatten)]
        place: Place,
        /// The signer's directory of keys, or one to carry it in
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Encrypts a key that lies in the clear, in its place
    #[command(after_long_help = "Examples:
  luytre pki encrypt pki/private/client-issuing.key --ask-passphrase

Use one passphrase for all keys of a signer. What the disk kept of the old content is beyond this.")]
    Encrypt {
        /// The key, PKCS #8 in PEM
        key: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
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
    #[command(flatten)]
    passphrase: Passphrase,
}

impl Place {
    fn open(&self) -> Result<Directory, Error> {
        Ok(Directory::open(&self.dir)?.unlocked(self.passphrase.read()?))
    }
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
            init(&place, &trust_domain, days(crl_days), talk, now)
        }
        Command::Issue { place, leaf } => issue_leaf(&place.open()?, leaf, talk, now),
        Command::Revoke { place, serial, crl_days } => {
            let list = place.open()?.sign_revocation_list(Some(&serial), now, days(crl_days))?;
            writeln!(talk, "revoked {serial}; {} certificates are revoked in all", list.revoked.len())?;
            tell_list(&place.dir, list.next_update, talk)
        }
        Command::Crl { place, crl_days } => {
            let list = place.open()?.sign_revocation_list(None, now, days(crl_days))?;
            tell_list(&place.dir, list.next_update, talk)
        }
        Command::Issuing { place, hierarchy } => ceremony::issuing(&place.open()?, hierarchy, talk, now),
        Command::ExportSigner { place, to } => ceremony::export(&place.open()?, &to, talk),
        Command::Encrypt { key, passphrase } => ceremony::encrypt(&key, &passphrase, talk),
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
    place: &Place,
    trust_domain: &str,
    list_lifetime: Duration,
    talk: &mut dyn Write,
    now: Timestamp,
) -> Result<(), Error> {
    let passphrase = place.passphrase.read_new()?;
    let encrypted = passphrase.is_some();
    Directory::init_under(&place.dir, trust_domain, now, list_lifetime, passphrase)?;
    let at = place.dir.display();
    writeln!(talk, "made the authorities of trust domain {trust_domain} in {at}")?;
    writeln!(talk, "  {at}/{}  give this to every client", directory::SERVER_CA)?;
    writeln!(talk, "  {at}/{}  the hub trusts this", directory::CLIENT_CA)?;
    writeln!(
        talk,
        "  {at}/{} the hub reads this; due again {}",
        directory::CLIENT_CRL,
        now.saturating_add(list_lifetime)
    )?;
    if encrypted {
        writeln!(talk, "the keys in {at}/private are encrypted; nothing opens them without the passphrase")?;
    } else {
        writeln!(talk, "the keys in {at}/private are NOT encrypted: whoever copies them can sign;")?;
        writeln!(
            talk,
            "  for a signer, encrypt them: luytre pki encrypt {at}/private/client-issuing.key --ask-passphrase"
        )?;
    }
    writeln!(talk, "next: move {at}/private/*-root.key offline; they sign nothing from day to day")?;
    Ok(())
}

fn issue_leaf(
    directory: &Directory,
    leaf: LeafCommand,
    talk: &mut dyn Write,
    now: Timestamp,
) -> Result<(), Error> {
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
mod tests;
