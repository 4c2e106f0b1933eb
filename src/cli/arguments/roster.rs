//! Decides the options of the commands that change who takes part.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use time::Date;

use crate::model::org::OrgSlug;
use crate::model::principal::{Role, SpiffeId};

/// `roster`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre roster export > roster.json
  luytre roster diff roster.json
  luytre roster apply roster.json
  luytre roster grant spiffe://hub.example.vn/org/ca-hanoi/system/soc --role publisher

For principals with the role operator; a coordinator may read. Some changes wait for a second operator:
luytre roster pending. The fields of the file are in docs/roster.md.")]
pub(crate) struct RosterArguments {
    #[command(subcommand)]
    pub(crate) action: RosterAction,
}

/// The commands about the roster.
#[derive(Debug, Subcommand)]
pub(crate) enum RosterAction {
    /// Print the whole roster as a file to change · Xuất danh bạ
    #[command(after_long_help = "Examples:
  luytre roster export > roster.json")]
    Export,
    /// Tell what a changed file would change · So sánh
    #[command(after_long_help = "Examples:
  luytre roster diff roster.json")]
    Diff {
        /// The file, from `luytre roster export`; - is stdin
        file: PathBuf,
    },
    /// Put a changed file in the place of the roster · Áp dụng
    #[command(after_long_help = "Examples:
  luytre roster apply roster.json --dry-run
  luytre roster apply roster.json

The file is taken whole or not at all. If somebody else was faster (ETAG_MISMATCH), export again.")]
    Apply {
        /// The file, from `luytre roster export`; - is stdin
        file: PathBuf,
        /// Only tell what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// List the changes that wait for a second person · Các thay đổi chờ duyệt
    #[command(after_long_help = "Examples:
  luytre roster pending")]
    Pending,
    /// Agree to a change that another operator proposed · Duyệt
    #[command(after_long_help = "Examples:
  luytre --profile ~/.config/luytre/minh.toml roster approve 6a1f")]
    Approve {
        /// Its id, from `luytre roster pending`, or how that begins
        id: String,
    },
    /// Drop a change that waits · Bác bỏ
    #[command(after_long_help = "Examples:
  luytre roster reject 6a1f --reason \"asked twice\"")]
    Reject {
        /// Its id, from `luytre roster pending`, or how that begins
        id: String,
        /// Why, for the log
        #[arg(long, default_value = "", value_name = "TEXT")]
        reason: String,
    },
    /// End an organisation; say who follows it · Kết thúc, sáp nhập, chia tách
    End(EndOrganisation),
    /// Give an organisation another name from a day on · Đổi tên
    Rename(RenameOrganisation),
    /// Let an organisation take part no longer, for now · Đình chỉ
    #[command(after_long_help = "Examples:
  luytre roster suspend dv-a --on 2026-12-01 --basis \"Letter 9\"")]
    Suspend(OneOrganisation),
    /// Let a suspended organisation take part again · Cho tham gia lại
    #[command(after_long_help = "Examples:
  luytre roster resume dv-a --on 2027-01-15 --basis \"Letter 12\"")]
    Resume(OneOrganisation),
    /// Give a principal roles beside those that it has · Cấp quyền
    Grant(GrantRoles),
    /// Take roles of a principal away · Thu quyền
    Withdraw(WithdrawRoles),
}

/// From when on a change holds, and where it is laid down.
#[derive(Debug, Args)]
pub(crate) struct Effect {
    /// First day on which it holds, YYYY-MM-DD: today or later
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub(crate) on: Date,
    /// Where it is laid down
    #[arg(long, value_name = "TEXT")]
    pub(crate) basis: String,
    /// Only tell what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `roster end`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre roster end so-tttt --on 2027-03-01 --basis \"Decision 7\" --into so-khcn-2027
  luytre roster end dv-a --on 2027-03-01 --basis \"Decision 8\" --dry-run

The successor stands in the roster first: export, add it, apply. A slug is for ever.")]
pub(crate) struct EndOrganisation {
    /// Its slug
    #[arg(value_parser = slug)]
    pub(crate) organisation: OrgSlug,
    /// Who follows it: nobody (it ended), a body that begins on this day (it merged), one that
    /// stands (it is absorbed), or several (it splits); repeat
    #[arg(long, value_name = "SLUG", value_parser = slug)]
    pub(crate) into: Vec<OrgSlug>,
    #[command(flatten)]
    pub(crate) effect: Effect,
}

/// `roster rename`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre roster rename so-cntt --vi \"Sở Chuyển đổi số\" --on 2027-01-01 --basis \"Decision 8\"")]
pub(crate) struct RenameOrganisation {
    /// Its slug, which stays
    #[arg(value_parser = slug)]
    pub(crate) organisation: OrgSlug,
    /// The name in Vietnamese
    #[arg(long, value_name = "NAME")]
    pub(crate) vi: String,
    /// The name in English
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) en: String,
    /// The short name
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) short: String,
    #[command(flatten)]
    pub(crate) effect: Effect,
}

/// `roster suspend` and `roster resume`.
#[derive(Debug, Args)]
pub(crate) struct OneOrganisation {
    /// Its slug
    #[arg(value_parser = slug)]
    pub(crate) organisation: OrgSlug,
    #[command(flatten)]
    pub(crate) effect: Effect,
}

/// `roster grant`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre roster grant spiffe://hub.example.vn/org/ca-hanoi/system/soc --role publisher,subscriber
  luytre roster grant spiffe://hub.example.vn/org/ca-hanoi/user/an --role analyst --only

What the principal has already it keeps, unless --only is given. Who becomes operator or coordinator
needs a second operator: luytre roster approve. So does any role of your own, and the role subscriber
or analyst for another identity of your own organisation.")]
pub(crate) struct GrantRoles {
    /// Its SPIFFE identity
    #[arg(value_parser = principal)]
    pub(crate) principal: SpiffeId,
    /// A role: publisher, subscriber, analyst, coordinator, operator or auditor; repeat or separate
    /// by commas
    #[arg(long = "role", value_name = "ROLE", value_delimiter = ',', required = true, value_parser = role)]
    pub(crate) roles: Vec<Role>,
    /// Exactly these roles and days, in the place of what it has
    #[arg(long)]
    pub(crate) only: bool,
    /// First day of all its roles, YYYY-MM-DD
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub(crate) from: Option<Date>,
    /// First day without any, YYYY-MM-DD
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub(crate) to: Option<Date>,
    /// Only tell what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `roster withdraw`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre roster withdraw spiffe://hub.example.vn/org/ca-hanoi/system/soc --role publisher
  luytre roster withdraw spiffe://hub.example.vn/org/so-y-te/user/an --all

One operator does it alone, and at once.")]
#[command(group(clap::ArgGroup::new("which").required(true)))]
pub(crate) struct WithdrawRoles {
    /// Its SPIFFE identity
    #[arg(value_parser = principal)]
    pub(crate) principal: SpiffeId,
    /// A role that it has; repeat or separate by commas
    #[arg(long = "role", value_name = "ROLE", value_delimiter = ',', group = "which", value_parser = role)]
    pub(crate) roles: Vec<Role>,
    /// All that it has
    #[arg(long, group = "which")]
    pub(crate) all: bool,
    /// Only tell what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
}

fn principal(text: &str) -> Result<SpiffeId, String> {
    SpiffeId::parse(text).map_err(|invalid| invalid.problem)
}

fn role(text: &str) -> Result<Role, String> {
    let names: Vec<_> = Role::ALL.into_iter().map(Role::as_str).collect();
    Role::from_name(text).ok_or_else(|| format!("there are {}", names.join(", ")))
}

fn slug(text: &str) -> Result<OrgSlug, String> {
    OrgSlug::parse(text).map_err(|invalid| invalid.problem)
}

fn day(text: &str) -> Result<Date, String> {
    let form = time::macros::format_description!("[year]-[month]-[day]");
    Date::parse(text, form).map_err(|_| "write a date of the calendar as YYYY-MM-DD".to_owned())
}
