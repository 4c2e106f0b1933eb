//! Decides the options of the commands that change who takes part.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `roster`.
#[derive(Debug, Args)]
pub(crate) struct RosterArguments {
    #[command(subcommand)]
    pub(crate) action: RosterAction,
}

/// The commands about the roster.
#[derive(Debug, Subcommand)]
pub(crate) enum RosterAction {
    /// Print the whole roster as a file to change · Xuất danh bạ
    Export,
    /// Tell what a changed file would change · So sánh
    Diff {
        /// The file, from `luytre roster export`; - is stdin
        file: PathBuf,
    },
    /// Put a changed file in the place of the roster · Áp dụng
    Apply {
        /// The file, from `luytre roster export`; - is stdin
        file: PathBuf,
        /// Only tell what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// List the changes that wait for a second person · Các thay đổi chờ duyệt
    Pending,
    /// Agree to a change that another operator proposed · Duyệt
    Approve {
        /// Its id, from `luytre roster pending`
        id: String,
    },
    /// Drop a change that waits · Bác bỏ
    Reject {
        /// Its id, from `luytre roster pending`
        id: String,
        /// Why, for the log
        #[arg(long, default_value = "", value_name = "TEXT")]
        reason: String,
    },
}
