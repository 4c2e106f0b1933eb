//! Decides the options of the commands about who received what.

use clap::{Args, Subcommand};

use super::history::Answer;
use super::values::indicator;

/// `recipients`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre recipients indicators/0b54…
  luytre recipients indicators/0b54… --json | jq .organisation

Shows which organisations received an indicator of yours, when first and last, which version they have,
in which way, and whether they acknowledged it; of your own organisation each principal as well. Who
leads asks about what it may see, an auditor of the hub about any indicator. Receipts are kept for as
long as the hub's operator says.")]
pub(crate) struct Recipients {
    /// Name of the indicator, `indicators/…` or its UUID alone
    #[arg(value_parser = indicator)]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) answer: Answer,
}

/// `recall`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre recall status indicators/0b54…

An indicator is taken back with `luytre revoke`.")]
pub(crate) struct RecallArguments {
    #[command(subcommand)]
    pub(crate) action: RecallAction,
}

/// What is asked of a recall. `revoke` begins one.
#[derive(Debug, Subcommand)]
pub(crate) enum RecallAction {
    /// Show who was told to stop using an indicator, and who acknowledged · Thu hồi đến đâu rồi
    Status(RecallStatus),
}

/// `recall status`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre recall status indicators/0b54…
  luytre recall status indicators/0b54… --json | jq 'select(.recall != \"acknowledged\").organisation'

Of an indicator that was revoked, that expired, or that some may no longer see: whom the recall has not
reached yet, who has it and has not acknowledged, who has. Those not reached come first. A subscription
without a name cannot acknowledge. Exit code 0: all have acknowledged, or there is nothing to recall;
79: not all have yet, or the indicator is older than the hub's receipts and nobody can know.")]
pub(crate) struct RecallStatus {
    /// Name of the indicator, `indicators/…` or its UUID alone
    #[arg(value_parser = indicator)]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) answer: Answer,
}
