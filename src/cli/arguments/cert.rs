//! Decides the options of the commands that get, renew and show one's own
//! certificate.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::values::seconds;

/// `cert`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre cert enrol --enrol-at hub.example:7444 --token-file token.txt   # the first certificate
  luytre cert agent --hook 'systemctl reload siem'                       # and from then on
  luytre cert show me.pem

The certificate, the key and the hub's authorities are the files of the profile, or of --cert, --key
and --ca; the commands write them. What each error means is in docs/certificates.md.")]
pub(crate) struct Cert {
    #[command(subcommand)]
    pub(crate) action: CertAction,
}

/// The commands about one's own certificate.
#[derive(Debug, Subcommand)]
pub(crate) enum CertAction {
    /// Keep the certificate renewed, for programs in any language · Tự động gia hạn
    Agent(CertAgent),
    /// Trade a one-time token for the first certificate · Đăng ký lần đầu
    Enrol(CertEnrol),
    /// Trade the certificate for a new one with a new key, now · Gia hạn ngay
    #[command(after_long_help = "Examples:
  luytre cert renew

The hub takes it from a third of the certificate's life on. Programs that use the files go on with
the new ones: see docs/certificates.md. Leave it to `luytre cert agent` where that runs.")]
    Renew,
    /// Show what the hub would read in a certificate · Xem chứng thư
    #[command(after_long_help = "Examples:
  luytre cert show me.pem")]
    Show {
        /// A PEM file with certificates, or with revocation lists
        file: PathBuf,
    },
}

/// How a system enrols.
#[derive(Debug, Clone, Args)]
pub(crate) struct FirstContact {
    /// The hub's enrolment address, which is another than that of its calls
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) enrol_at: Option<String>,
    /// File with the token that the operator gave; - is stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Know the hub by the authorities in the ca file, rather than by the root in the token
    #[arg(long)]
    pub(crate) trust_ca: bool,
}

/// `cert enrol`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre cert enrol --enrol-at hub.example:7444 --token-file token.txt
  luytre --cert soc.pem --key soc.key --ca hub-ca.pem cert enrol --enrol-at hub.example:7444 --token-file -

The key is made here and never leaves this machine. The token names the hub's root, so that nobody
else can pass for the hub; it is good once, for one identity, for a day or as the operator said. If
the answer is lost, run the same again within some minutes.")]
pub(crate) struct CertEnrol {
    #[command(flatten)]
    pub(crate) first: FirstContact,
}

/// `cert agent`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre cert agent --hook 'systemctl reload siem'
  luytre cert agent --enrol-at hub.example:7444 --token-file /etc/luytre/token --hook 'systemctl restart feed'
  luytre cert agent --once                                     # from cron: renew if it is due, then the end

Renews at two thirds of the certificate's life, with some jitter, and at once when the hub asks for
it; keeps the hub's authorities as the hub says them, old and new, until it says otherwise. If there
is no certificate yet, or it has ended, it enrols, given a token.

Each file is replaced as a whole, the key first, then the chain, and keeps its mode, owner and group;
new ones are readable for you alone (0600), the authorities for all. A kill at any moment loses
nothing: the next start goes on where this one ended. One agent keeps a certificate at a time.

The hook runs after files changed, through `sh -c`, one at a time. What it prints goes to stderr. If
it fails it runs again with the next change, in a minute, or with the next start, whichever is first.

Exit codes: 0 asked to end, or --once is done; 74 a file could not be written, or with --once the hook
failed; 75 another process keeps these files, or with --once the hub is away; 77 the hub does not take
the certificate or the token.")]
pub(crate) struct CertAgent {
    #[command(flatten)]
    pub(crate) first: FirstContact,
    /// Command to run after files changed
    #[arg(long, value_name = "COMMAND")]
    pub(crate) hook: Option<String>,
    /// End the hook after this many seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds, requires = "hook")]
    pub(crate) hook_timeout: Duration,
    /// Enrol or renew if that is due, then end
    #[arg(long)]
    pub(crate) once: bool,
}
