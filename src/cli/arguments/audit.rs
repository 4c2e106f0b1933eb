//! Decides the options of the commands on the hub's audit.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::base::clock::Timestamp;

use super::super::language::Language;
use super::values::{TableOrJson, organisation, person, time};

/// `audit`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre audit list --since 2026-11-01
  luytre audit checkpoint > seen.txt
  luytre audit export --to audit/
  luytre audit verify audit/ --audit-key hub-audit.key --against seen.txt

Reading records is for principals with the role auditor: those of an organisation that runs the
hub see every call, others those of their own organisation. Checkpoints are for everybody.")]
pub(crate) struct Audit {
    #[command(subcommand)]
    pub(crate) action: AuditAction,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditAction {
    /// List who called what, newest first · Ai đã gọi gì
    List(ListAudit),
    /// Get what the hub signs of its audit, and prove it · Điểm kiểm tra có chữ ký
    Checkpoint(AuditCheckpoint),
    /// Write the whole audit as files that anybody can verify · Xuất nhật ký kiểm toán
    Export(ExportAudit),
    /// Verify an exported audit, without a hub · Kiểm chứng nhật ký đã xuất
    Verify(VerifyAudit),
}

/// `audit list`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre audit list
  luytre audit list --organisation so-tttt --method ListIndicators --format jsonl
  luytre audit list --outcome ROLE_INSUFFICIENT --since 2026-11-01T00:00:00+07:00")]
pub(crate) struct ListAudit {
    /// Only calls of this principal
    #[arg(long, value_name = "SPIFFE-ID", value_parser = person)]
    pub(crate) principal: Option<String>,
    /// Only calls of this organisation
    #[arg(long, value_name = "ORG", value_parser = organisation)]
    pub(crate) organisation: Option<String>,
    /// Only calls of this method, such as PublishIndicators
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) method: String,
    /// Only calls that ended so: OK, ABANDONED, or the reason of an error
    #[arg(long, value_name = "OUTCOME", default_value = "")]
    pub(crate) outcome: String,
    /// Only calls that began at or after this moment
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) since: Option<Timestamp>,
    /// Most records
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub(crate) limit: usize,
    /// How to write them
    #[arg(long, value_enum, default_value_t = TableOrJson::Table)]
    pub(crate) format: TableOrJson,
}

/// `audit checkpoint`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre audit checkpoint > seen.txt
  luytre audit checkpoint --show-key > hub-audit.key
  luytre audit checkpoint --against seen.txt --audit-key hub-audit.key

Keep a checkpoint from time to time, away from the hub: it fixes all that came before. With
--against the hub has to prove that its audit still begins with what was signed then.")]
pub(crate) struct AuditCheckpoint {
    /// Print the key that verifies checkpoints instead
    #[arg(long, conflicts_with = "against")]
    pub(crate) show_key: bool,
    /// A checkpoint that was kept, which this one must go on from
    #[arg(long, value_name = "FILE", requires = "audit_key")]
    pub(crate) against: Option<PathBuf>,
    /// File with the key that the kept one is verified with
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_key: Option<PathBuf>,
    /// Language of what is told · Ngôn ngữ
    #[arg(long, value_enum)]
    pub(crate) lang: Option<Language>,
}

/// `audit export`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre audit export --to audit/

The directory is one of C2SP tlog-tiles: checkpoint, tile/0/…, tile/entries/…. It tells who asked
for what; keep it as you keep personnel files.")]
pub(crate) struct ExportAudit {
    /// New or empty directory
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
}

/// `audit verify`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre audit verify audit/ --audit-key hub-audit.key
  luytre audit verify audit/ --audit-key hub-audit.key --against seen.txt --against older.txt --lang vi

Needs no hub. Says which record was changed, removed or moved, and with checkpoints that were
kept whether the log was cut short or has two histories. Exit code 65: it is not sound.")]
pub(crate) struct VerifyAudit {
    /// Directory of an export
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// File with the hub's key, from `luytre audit checkpoint --show-key`
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_key: PathBuf,
    /// Checkpoints that were kept
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Vec<PathBuf>,
    /// Language of what is told · Ngôn ngữ
    #[arg(long, value_enum)]
    pub(crate) lang: Option<Language>,
}
