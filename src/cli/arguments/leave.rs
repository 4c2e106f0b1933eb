//! Decides the options of `luytre leave`.

use clap::{Args, Subcommand};

use super::publish::CAVEATS;
use super::values::{TableOrJson, group, indicator, organisation, person, time, tlp};
use crate::base::clock::Timestamp;
use crate::model::marking::Tlp;
use clap::builder::PossibleValuesParser;

/// `leave`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre leave ask indicators/4b3f… --tlp green --reason \"to warn every unit of the city\"
  luytre leave list --waiting
  luytre leave grant indicators/4b3f… --for so-tttt --tlp green --until 2026-12-31
  luytre leave withdraw indicators/4b3f… --for so-tttt --note \"not before the raid\"
  echo 203.0.113.77 | luytre publish - --tlp green --republication-of indicators/4b3f…

How far an indicator travels is its owner's to say. Who would share it further asks. The owner is told
by `luytre subscribe --notices`, or looks with `list --waiting`, and answers. Then the value can be
published under one's own name. Who may read the first indicator sees that the second republishes it;
nobody else learns that there is another.")]
pub(crate) struct Leave {
    #[command(subcommand)]
    pub(crate) action: LeaveAction,
}

/// What to do about leave to republish.
#[derive(Debug, Subcommand)]
pub(crate) enum LeaveAction {
    /// Ask the owner of an indicator for leave · Xin phép
    Ask(AskLeave),
    /// Give an organisation leave, asked for or not · Cho phép
    Grant(GrantLeave),
    /// Refuse, take back what you gave, or give up what you asked for · Rút phép
    Withdraw(WithdrawLeave),
    /// List what is asked of you and of others, and what is given · Liệt kê
    List(ListLeave),
}

/// How far.
#[derive(Debug, Args)]
pub(crate) struct Reach {
    /// How far: clear, green, amber, amber+strict or red
    #[arg(long, value_name = "LABEL", value_parser = tlp)]
    pub(crate) tlp: Tlp,
    /// Organisation that may read, for amber and amber+strict; repeat or separate by commas
    #[arg(long, value_name = "ORG", value_delimiter = ',', value_parser = organisation)]
    pub(crate) to: Vec<String>,
    /// Group whose members may read, likewise
    #[arg(long, value_name = "GROUP", value_delimiter = ',', value_parser = group)]
    pub(crate) to_group: Vec<String>,
    /// Person who may read, for red; repeat or separate by commas
    #[arg(long, value_name = "SPIFFE-ID", value_delimiter = ',', value_parser = person)]
    pub(crate) to_person: Vec<String>,
    /// What is added to the marking; of a grant: what the republication must add
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(CAVEATS))]
    pub(crate) caveat: Vec<String>,
}

/// `leave ask`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre leave ask indicators/4b3f… --tlp green --reason \"to warn every unit of the city\"
  luytre leave ask indicators/4b3f… --tlp amber --to so-y-te --reason \"it hit their mail too\"")]
pub(crate) struct AskLeave {
    /// The indicator, as `luytre query` shows it
    #[arg(value_name = "INDICATOR", value_parser = indicator)]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// What for; the owner reads it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// `leave grant`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre leave grant indicators/4b3f… --for so-tttt --tlp green --until 2026-12-31
  luytre leave grant indicators/4b3f… --for so-tttt --tlp amber --to so-y-te --caveat masked-source")]
pub(crate) struct GrantLeave {
    /// Your indicator
    #[arg(value_name = "INDICATOR", value_parser = indicator)]
    pub(crate) name: String,
    /// Organisation that may republish it; it must be one that sees it
    #[arg(long = "for", value_name = "ORG", value_parser = organisation)]
    pub(crate) organisation: String,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// When the leave ends, as 2026-12-31 or 2026-12-31T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) until: Option<Timestamp>,
    /// What the organisation should know
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) note: String,
    /// Organisation that yours acts for and whose indicator it is
    #[arg(long, value_name = "ORG", value_parser = organisation)]
    pub(crate) on_behalf_of: Option<String>,
}

/// `leave withdraw`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre leave withdraw indicators/4b3f… --for so-tttt --note \"not before the raid\"
  luytre leave withdraw indicators/4b3f…

What was published with the leave stays until its publisher revokes it.")]
pub(crate) struct WithdrawLeave {
    /// The indicator
    #[arg(value_name = "INDICATOR", value_parser = indicator)]
    pub(crate) name: String,
    /// Organisation that asked you or has your leave; without it, you give up what yours asked for
    #[arg(long = "for", value_name = "ORG", value_parser = organisation)]
    pub(crate) organisation: Option<String>,
    /// What the other side should know
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) note: String,
    /// Organisation that yours acts for and whose indicator it is
    #[arg(long, value_name = "ORG", value_parser = organisation)]
    pub(crate) on_behalf_of: Option<String>,
}

/// `leave list`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre leave list
  luytre leave list --waiting --format jsonl")]
pub(crate) struct ListLeave {
    /// Only what waits for an answer
    #[arg(long)]
    pub(crate) waiting: bool,
    /// How to write them
    #[arg(long, value_enum, default_value_t = TableOrJson::Table)]
    pub(crate) format: TableOrJson,
}
