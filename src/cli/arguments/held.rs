//! Decides the options of `luytre held`.

use clap::{Args, Subcommand};

use super::values::{TableOrJson, indicator};
use crate::cli::language::Language;

/// `held`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre held list --waiting
  luytre get indicators/4b3f…
  luytre held approve indicators/4b3f… --etag 1780000000000123 --note \"checked: not shared any more\"
  luytre held reject indicators/4b3f… --etag 1780000000000123 --note \"this is the city's resolver\"
  luytre held hold indicators/4b3f… --reason \"an annex that must not be shared\"

What everybody needs is not blocked by a slip. Where a list of the hub names a value, a recommendation to
block it goes out as monitor at once, and the block waits for a second person: somebody of the organisation
that leads, where it may see the indicator, else a colleague of the publisher. Nobody lets out what he
published himself. `luytre subscribe --notices` tells of what waits and of answers. The unit that leads can
also hold an indicator that it may see: for 24 hours nobody but its owner and that unit sees it.")]
pub(crate) struct Held {
    #[command(subcommand)]
    pub(crate) action: HeldAction,
}

impl Held {
    /// The language that was chosen.
    pub(crate) const fn lang(&self) -> Option<Language> {
        match &self.action {
            HeldAction::List(list) => list.lang,
            HeldAction::Approve(_) | HeldAction::Reject(_) | HeldAction::Hold(_) | HeldAction::Release(_) => {
                None
            }
        }
    }
}

/// What to do about held publications.
#[derive(Debug, Subcommand)]
pub(crate) enum HeldAction {
    /// List what waits for you, what waits of yours, and what was answered · Liệt kê
    List(ListHeld),
    /// Let a block out, as the second person · Duyệt
    Approve(AnswerHeld),
    /// Refuse it: it stays at monitor · Từ chối
    Reject(AnswerHeld),
    /// As the unit that leads, keep an indicator from everyone for 24 hours · Tạm giữ
    Hold(HoldIndicator),
    /// End that before its time · Bỏ tạm giữ
    Release(ReleaseIndicator),
}

/// `held approve` and `held reject`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre held list --waiting
  luytre held approve indicators/4b3f… --etag 1780000000000123 --note \"checked: not shared any more\"
  luytre held reject indicators/4b3f… --etag 1780000000000123 --note \"this is the city's resolver\"

The etag is the version that `luytre held list` shows: what has changed since you looked is not answered.")]
pub(crate) struct AnswerHeld {
    /// The indicator
    #[arg(value_name = "INDICATOR", value_parser = indicator)]
    pub(crate) name: String,
    /// The version that you looked at, as `luytre held list` shows it
    #[arg(long, value_name = "ETAG")]
    pub(crate) etag: String,
    /// Why; the publisher reads it
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: String,
}

/// `held hold`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre held hold indicators/4b3f… --reason \"an annex that must not be shared\"
  luytre held release indicators/4b3f… --note \"checked: nothing in it\"

Everyone but its owner and your organisation is told to drop it, and finds it no more. After 24 hours it
stands as before, unless its owner revoked it. The same version is not held twice.")]
pub(crate) struct HoldIndicator {
    /// The indicator
    #[arg(value_name = "INDICATOR", value_parser = indicator)]
    pub(crate) name: String,
    /// Why; its owner reads it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// `held release`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre held release indicators/4b3f… --note \"checked: nothing in it\"")]
pub(crate) struct ReleaseIndicator {
    /// The indicator
    #[arg(value_name = "INDICATOR", value_parser = indicator)]
    pub(crate) name: String,
    /// Why; its owner reads it
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: String,
}

/// `held list`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre held list
  luytre held list --waiting --format jsonl
  luytre held list --lang vi")]
pub(crate) struct ListHeld {
    /// Only what waits for an answer
    #[arg(long)]
    pub(crate) waiting: bool,
    /// How to write them
    #[arg(long, value_enum, default_value_t = TableOrJson::Table)]
    pub(crate) format: TableOrJson,
    /// Language of the words [default: that of LUYTRE_LANG, LC_ALL, LC_MESSAGES or LANG]
    #[arg(long, value_enum)]
    pub(crate) lang: Option<Language>,
}
