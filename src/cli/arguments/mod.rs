//! Decides the words of `luytre` at the prompt: the commands here, the options
//! of each group of commands in a file of their own.

mod assets;
mod audit;
mod canonical;
mod cert;
mod certs;
mod directory;
mod export;
mod filter;
mod held;
mod history;
mod indicators;
mod input;
mod leave;
mod publish;
mod query;
mod receipts;
mod roster;
mod stats;
mod subscriptions;
mod sync;
mod tail;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::manual;

pub(super) use assets::{Assets, AssetsAction, ImportAssets, Watch};
pub(super) use audit::{Audit, AuditAction, AuditCheckpoint, ExportAudit, ListAudit, VerifyAudit};
pub(super) use canonical::Canonical;
pub(super) use cert::{Cert, CertAction, CertAgent, FirstContact};
pub(super) use certs::{
    Ca, CaAction, Certs, CertsAction, ListCertificates, SeverConnections, Step, TokenAction, WhichHierarchy,
};
pub(super) use directory::{Organisations, Whoami};
pub(super) use export::Export;
pub(super) use held::{Held, HeldAction, ListHeld};
pub(super) use history::{Show, Versions};
pub(super) use indicators::{Explain, Get, Lookup, Revoke, Sight};
pub(super) use input::{InputEncoding, InputFormat};
pub(super) use leave::{Leave, LeaveAction, ListLeave, Reach};
pub(super) use publish::{Publish, PublishFile};
pub(super) use query::{ListFormat, Query};
pub(super) use receipts::{RecallAction, RecallArguments, RecallStatus, Recipients};
pub(super) use roster::{
    Effect, EndOrganisation, GrantRoles, RenameOrganisation, RosterAction, RosterArguments, WithdrawRoles,
};
pub(super) use stats::{Drawn, Stats, Timeline};
pub(super) use subscriptions::{
    DeleteSubscription, From, ListSubscriptions, Subscribe, Subscriptions, SubscriptionsAction,
};
pub(super) use sync::Sync;
pub(super) use tail::TailPublish;
pub(super) use values::{PlainOrJson, TableOrJson, group, organisation, person, technique, time, tlp};

/// Share and receive cyber-threat indicators through a Lũy Tre hub.
///
/// Chia sẻ và nhận chỉ báo tấn công (IoC) qua trung tâm Lũy Tre.
#[derive(Debug, Parser)]
#[command(
    name = "luytre",
    version,
    max_term_width = 100,
    after_long_help = "Examples:
  luytre whoami                                     # who am I for the hub?
  luytre publish iocs.txt --tlp green               # share a list, one value a line
  luytre subscribe --state siem.state               # follow everything, go on after any break
  luytre assets add 198.51.100.0/24 example.gov.vn  # what is yours?
  luytre watch                                      # whatever is said about it
  luytre sync --state DIR --plain blocked.txt       # keep a block list up to date
  luytre lookup 198.51.100.7 example.net            # is this known?
  luytre show example.net                           # what do we know of it, from whom, since when?
  luytre query --kind domain --since 7d             # what is there?
  luytre stats --by owner                           # how much of it, from whom?
  luytre export --format csv --output all.csv       # as a file for another program
  luytre canonical 'hxxp://EVIL[.]example'          # what does the hub make of it?
  luytre subscriptions list                         # where does the hub keep our place?

The hub and your certificate are named in a profile, ~/.config/luytre/profile.toml:
  hub  = \"hub.example:7443\"
  ca   = \"hub-ca.pem\"        # relative to the profile
  cert = \"me.pem\"
  key  = \"me.key\"

stdout is data, stderr is talk. Exit codes: 0 done; 64 wrong arguments; 65 some items refused;
66 no such thing; 70 a fault of the hub or of this program; 73 it exists already; 74 input or output
failed; 75 try again later; 77 not allowed; 78 wrong profile; 79 not all have acknowledged
yet, or nobody can know."
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) hub: Hub,
    #[command(flatten)]
    pub(super) talk: Talk,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Which hub, and as whom.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Hub")]
pub(super) struct Hub {
    /// Profile with the hub's address and your certificate [default:
    /// $LUYTRE_PROFILE or ~/.config/luytre/profile.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) profile: Option<PathBuf>,
    /// Address of the hub, instead of the profile's
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub(super) hub: Option<String>,
    /// Certificates of the authorities that the hub's certificate comes from
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// Your certificate chain
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) cert: Option<PathBuf>,
    /// Your private key
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
    /// Name in the hub's certificate, if not the host of its address
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) server_name: Option<String>,
    /// Longest wait for an answer, of a stream for the first one, retries included, in seconds
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(super) timeout: u64,
}

/// How much to say on stderr.
#[derive(Debug, Args)]
#[command(next_help_heading = "Talk")]
pub(super) struct Talk {
    /// Only errors on stderr
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Say more on stderr
    #[arg(long, short, global = true)]
    pub(super) verbose: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what the hub makes of your certificate · Trung tâm nhận ra bạn là ai
    Whoami(Whoami),
    /// Publish indicators from a list or JSON lines · Phát hành chỉ báo
    Publish(Box<PublishFile>),
    /// Publish what appears in a directory or a log file · Theo dõi và phát hành
    TailPublish(Box<TailPublish>),
    /// Receive indicators as they are published · Đăng ký nhận liên tục
    Subscribe(Subscribe),
    /// Hear of whatever is about your own networks and domains · Theo dõi tài sản của mình
    Watch(Watch),
    /// Say which networks, domains and systems are yours · Tài sản của đơn vị
    Assets(Assets),
    /// Keep files up to date for a firewall, a resolver or a SIEM · Giữ tệp luôn mới
    Sync(Box<Sync>),
    /// List or delete your own named subscriptions · Các đăng ký có tên của bạn
    Subscriptions(Subscriptions),
    /// Ask what is known of values and of what contains them · Tra cứu giá trị
    Lookup(Lookup),
    /// Ask about indicators, as they stand or stood · Hỏi về chỉ báo
    #[command(visible_alias = "list")]
    Query(Box<Query>),
    /// Count indicators by what they are · Thống kê chỉ báo
    Stats(Box<Stats>),
    /// Count indicators by days or months · Biểu đồ theo thời gian
    Timeline(Box<Timeline>),
    /// Write indicators as a file for another program · Xuất tệp
    Export(Box<Export>),
    /// Show one indicator, its sightings and collisions · Xem một chỉ báo
    Get(Get),
    /// Show all that is known of one value · Hồ sơ của một giá trị
    Show(Show),
    /// Show what each version of an indicator changed · Lịch sử của một chỉ báo
    Versions(Versions),
    /// Tell why an organisation sees an indicator of yours, or does not · Vì sao được xem
    Explain(Explain),
    /// Take back an indicator that you published · Thu hồi chỉ báo
    Revoke(Revoke),
    /// Show who received an indicator of yours · Ai đã nhận chỉ báo
    Recipients(Recipients),
    /// Follow a recall until all have acknowledged · Theo dõi việc thu hồi
    Recall(RecallArguments),
    /// Report that you met an indicator, or did not · Ghi nhận phát hiện
    Sight(Sight),
    /// Ask for leave to share another's indicator further, or give it · Xin phép chia sẻ lại
    Leave(Leave),
    /// Answer, as the second person, what lists keep from being blocked · Duyệt chặn
    Held(Held),
    /// List who takes part and may be named as reader · Các đơn vị tham gia
    Organisations(Organisations),
    /// Read and change who takes part, as an operator · Danh bạ đơn vị
    Roster(RosterArguments),
    /// Get your own certificate and keep it renewed · Chứng thư của bạn
    Cert(Cert),
    /// Look after everyone's certificates, as an operator · Quản lý chứng thư
    Certs(Certs),
    /// Rotate the hub's authorities, as an operator · Quản lý CA
    Ca(Ca),
    /// Read and verify who called what, as an auditor · Nhật ký kiểm toán
    Audit(Audit),
    /// Make authorities, issue and revoke certificates · Chứng thư số
    Pki(super::pki::Args),
    /// Show what the hub makes of a value, and why, without a hub · Dạng chuẩn của giá trị
    Canonical(Canonical),
    /// Write a manual page for each command
    #[command(after_long_help = "Examples:
  luytre man --to /usr/local/share/man/man1")]
    Man(manual::Manual),
    /// Print completions for a shell
    #[command(after_long_help = "Examples:
  luytre completions bash > /usr/share/bash-completion/completions/luytre
  luytre completions zsh > /usr/share/zsh/vendor-completions/_luytre")]
    Completions(manual::Completions),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_of_the_commands_holds_together() {
        Arguments::command().debug_assert();
    }
}
