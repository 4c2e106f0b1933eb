//! Decides the options of the commands by which operators look after
//! certificates and authorities.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::values::{TableOrJson, organisation, person};

/// Over which way an operator speaks with the hub.
#[derive(Debug, Args)]
pub(crate) struct ByWay {
    /// The hub's admin socket on this machine, instead of its address: needs no certificate, and
    /// works when all have ended
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) socket: Option<PathBuf>,
}

/// `certs`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre certs list
  luytre certs expiring --days 14
  luytre certs revoke 5f0c7a19 --reason \"laptop stolen\"
  luytre certs token issue spiffe://hub.example.vn/org/ca-hanoi/system/soc
  luytre certs --socket /run/luytre/admin.sock list

For principals with the role operator; a coordinator may read. On the hub's own machine --socket
takes the place of the certificate.")]
pub(crate) struct Certs {
    #[command(flatten)]
    pub(crate) way: ByWay,
    #[command(subcommand)]
    pub(crate) action: CertsAction,
}

/// The commands about all certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum CertsAction {
    /// List certificates, the one that ends first on top · Liệt kê chứng thư
    List(ListCertificates),
    /// List those that end soon · Sắp hết hạn
    Expiring(ExpiringCertificates),
    /// Show one certificate · Xem một chứng thư
    #[command(after_long_help = "Examples:
  luytre certs show 5f0c7a19")]
    Show {
        /// Its name or serial number, from `luytre certs list`, or how the serial begins
        certificate: String,
    },
    /// Revoke a certificate for good and end its connections · Thu hồi chứng thư
    #[command(after_long_help = "Examples:
  luytre certs revoke 5f0c7a19 --reason \"laptop stolen\"
  luytre certs revoke 5f0c7a19 --descendants --reason \"laptop stolen, and renewed by the thief\"

One operator does it alone. When this ends, nothing more is accepted from the certificate and nothing
more is sent to it. There is no way back: its holder enrols again, with a new key. What it was renewed
to and nobody has used yet is revoked with it; what was used is named, for a thief may have renewed it.")]
    Revoke {
        /// Its name or serial number, from `luytre certs list`, or how the serial begins
        certificate: String,
        /// Why, for the log
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Also revoke all that it was renewed to, used or not
        #[arg(long)]
        descendants: bool,
    },
    /// Take certificates that a restored hub found in its signer's journal · Xác nhận chứng thư
    #[command(after_long_help = "Examples:
  luytre certs confirm 5f0c7a19
  luytre certs confirm --all

A hub that was restored from a backup does not know what was issued since, but for its signer's
journal. Until an operator confirms such a certificate its system is kept out. Look at all of them
first, and revoke what should not be there: `luytre certs list` shows them as unconfirmed.")]
    Confirm {
        /// Name or serial number, from `luytre certs list`, or how the serial begins
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        certificates: Vec<String>,
        /// All that wait
        #[arg(long)]
        all: bool,
    },
    /// End connections, and revoke nothing · Ngắt kết nối
    Sever(SeverConnections),
    /// One-time tokens, by which new systems enrol · Mã đăng ký dùng một lần
    Token(Tokens),
}

/// `certs list`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre certs list
  luytre certs list --organisation ca-hanoi --all --format jsonl")]
pub(crate) struct ListCertificates {
    /// Of this organisation alone
    #[arg(long, value_name = "SLUG", value_parser = organisation)]
    pub(crate) organisation: Option<String>,
    /// Also those that were superseded, revoked or ended
    #[arg(long)]
    pub(crate) all: bool,
    /// How to write them
    #[arg(long, value_enum, default_value_t = TableOrJson::Table)]
    pub(crate) format: TableOrJson,
}

/// `certs expiring`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre certs expiring
  luytre certs expiring --days 7 --format jsonl")]
pub(crate) struct ExpiringCertificates {
    /// Within this many days
    #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u16).range(1..=730))]
    pub(crate) days: u16,
    /// How to write them
    #[arg(long, value_enum, default_value_t = TableOrJson::Table)]
    pub(crate) format: TableOrJson,
}

/// `certs sever`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre certs sever --certificate 5f0c7a19
  luytre certs sever --principal spiffe://hub.example.vn/org/ca-hanoi/system/soc
  luytre certs sever --organisation ca-hanoi --reason \"floods the hub, ticket 18\"

Their clients may come back at once; to keep one out, revoke its certificate or suspend its
organisation.")]
#[command(group(clap::ArgGroup::new("whose").required(true)))]
pub(crate) struct SeverConnections {
    /// Under this certificate: name, serial number, or how that begins
    #[arg(long, group = "whose", value_name = "SERIAL")]
    pub(crate) certificate: Option<String>,
    /// Of this SPIFFE identity
    #[arg(long, group = "whose", value_name = "SPIFFE-ID", value_parser = person)]
    pub(crate) principal: Option<String>,
    /// Of this organisation
    #[arg(long, group = "whose", value_name = "SLUG", value_parser = organisation)]
    pub(crate) organisation: Option<String>,
    /// Why, for the log
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub(crate) reason: String,
}

/// `certs token`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre certs token issue spiffe://hub.example.vn/org/ca-hanoi/system/soc --to token.txt
  luytre certs token list
  luytre --profile ~/.config/luytre/minh.toml certs token approve 6a1f")]
pub(crate) struct Tokens {
    #[command(subcommand)]
    pub(crate) action: TokenAction,
}

/// The commands about tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenAction {
    /// Make a token; another operator approves it · Tạo mã
    #[command(after_long_help = "Examples:
  luytre certs token issue spiffe://hub.example.vn/org/ca-hanoi/system/soc --to token.txt
  luytre certs token issue spiffe://hub.example.vn/org/so-y-te/user/an --hours 4 --note \"new laptop\"

The token is shown this once: hand it over on a safe way. It is of no use until another operator has
approved it, and is good for one certificate.")]
    Issue {
        /// SPIFFE identity of the system or person that will enrol
        #[arg(value_parser = person)]
        identity: String,
        /// Hours that it can be used
        #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u8).range(1..=72))]
        hours: u8,
        /// What it is for, for the log
        #[arg(long, default_value = "", value_name = "TEXT")]
        note: String,
        /// Write the token into this new file, readable for you alone, and not to the screen
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// List tokens that can be used or approved · Liệt kê mã
    #[command(after_long_help = "Examples:
  luytre certs token list
  luytre certs token list --format jsonl")]
    List {
        /// How to write them
        #[arg(long, value_enum, default_value_t = TableOrJson::Table)]
        format: TableOrJson,
    },
    /// Let a token be used that another operator made · Duyệt mã
    #[command(after_long_help = "Examples:
  luytre --profile ~/.config/luytre/minh.toml certs token approve 6a1f")]
    Approve {
        /// Its id, from `luytre certs token list`, or how that begins
        id: String,
    },
    /// Take a token back · Hủy mã
    #[command(after_long_help = "Examples:
  luytre certs token cancel 6a1f")]
    Cancel {
        /// Its id, from `luytre certs token list`, or how that begins
        id: String,
    },
}

/// `ca`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre ca status
  luytre ca prepare client authorities/0f3a5b6c7d8e9f00 --dry-run
  luytre ca --socket /run/luytre/admin.sock status

The steps of a rotation are prepare, activate, switch (server alone), taint and retire; rollback goes
back from any of them. Each is taken from the state that was looked at or not at all, and --dry-run
tells what stands in the way. docs/certificates.md walks through one.")]
pub(crate) struct Ca {
    #[command(flatten)]
    pub(crate) way: ByWay,
    #[command(subcommand)]
    pub(crate) action: CaAction,
}

/// The commands about authorities.
#[derive(Debug, Subcommand)]
pub(crate) enum CaAction {
    /// Show where both hierarchies stand · Tình trạng
    #[command(after_long_help = "Examples:
  luytre ca status
  luytre ca status --format jsonl")]
    Status {
        /// How to write it
        #[arg(long, value_enum, default_value_t = TableOrJson::Table)]
        format: TableOrJson,
    },
    /// Begin to trust the next authority, which signs nothing yet · Chuẩn bị
    #[command(after_long_help = "Examples:
  luytre ca prepare client authorities/0f3a5b6c7d8e9f00 --dry-run
  luytre ca prepare client authorities/0f3a5b6c7d8e9f00")]
    Prepare(NamedStep),
    /// Let the next authority sign · Kích hoạt
    #[command(after_long_help = "Examples:
  luytre ca activate client authorities/0f3a5b6c7d8e9f00")]
    Activate(NamedStep),
    /// Let the hub show its certificate of the next authority · Chuyển
    #[command(after_long_help = "Examples:
  luytre ca switch server --dry-run
  luytre ca switch server")]
    Switch(CuttingStep),
    /// Ask holders of certificates of the old authority to renew now · Yêu cầu gia hạn
    #[command(after_long_help = "Examples:
  luytre ca taint client")]
    Taint(Step),
    /// End the trust in the old authority · Ngừng tin cậy
    #[command(after_long_help = "Examples:
  luytre ca retire client --dry-run
  luytre ca retire client
  luytre ca retire client --accept-cutting-off spiffe://hub.example.vn/org/ca-hanoi/system/soc")]
    Retire(CuttingStep),
    /// Go back to the old authority · Quay lại
    #[command(after_long_help = "Examples:
  luytre ca rollback client")]
    Rollback(Step),
}

/// A step of a rotation.
#[derive(Debug, Args)]
pub(crate) struct Step {
    /// Of which hierarchy
    #[arg(value_enum)]
    pub(crate) hierarchy: WhichHierarchy,
    /// Only tell what stands in the way, and who would be cut off
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// A step that names the authority it is about.
#[derive(Debug, Args)]
pub(crate) struct NamedStep {
    #[command(flatten)]
    pub(crate) step: Step,
    /// The next authority, by name: nobody takes one that he did not look at
    pub(crate) authority: String,
}

/// A step that may cut systems off.
#[derive(Debug, Args)]
pub(crate) struct CuttingStep {
    #[command(flatten)]
    pub(crate) step: Step,
    /// Go on although these are cut off: exactly those that --dry-run lists; repeat or separate by
    /// commas
    #[arg(long, value_name = "SPIFFE-ID", value_delimiter = ',', value_parser = person)]
    pub(crate) accept_cutting_off: Vec<String>,
}

/// Which certificates are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhichHierarchy {
    /// Signs the hub's own certificate
    Server,
    /// Signs the certificates of systems and persons
    Client,
}
