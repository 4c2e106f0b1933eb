//! Decides the options of the commands that count: `luytre stats` and
//! `luytre timeline`.

use std::path::PathBuf;

use clap::Args;

use super::super::language::Language;
use super::query::Asked;
use super::values::{dimension, moment, per};
use crate::base::clock::Timestamp;
use crate::model::aggregate::{Dimension, Per};

/// How counts are written.
#[derive(Debug, Args)]
pub(crate) struct Drawn {
    /// Write one JSON object, with nothing left out
    #[arg(long)]
    pub(crate) json: bool,
    /// Write comma-separated values, safe from formulas
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    /// Draw the same into this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Language of the words [default: that of LUYTRE_LANG, LC_ALL, LC_MESSAGES or LANG]
    #[arg(long, value_enum)]
    pub(crate) lang: Option<Language>,
}

/// `stats`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre stats
  luytre stats --by owner --kind domain,url
  luytre stats --by label --top 50 --csv > labels.csv
  luytre stats --by tlp --published-since 2026-11-01 --svg tlp.svg
  luytre stats --by outcome --owner ca-hanoi --json
  luytre stats --by family --text '\"lừa đảo\"' --not owner=ca-hanoi

Counts the indicators that stand, the greatest rows first; by outcome it counts the sightings of them that
you may see. What is asked for is told as in luytre query, whose help describes TIME, --text and --not.
What you may not see counts nowhere.

What went into the count goes to stderr: whether the hub's counters answered or it went through what
matches, as of when, and whether that was all of it. It goes through a million at most.")]
pub(crate) struct Stats {
    /// By what they are counted: kind, owner, label, family, campaign, technique, tlp, org-kind, outcome
    #[arg(long, value_name = "WHAT", value_parser = dimension, default_value = "kind")]
    pub(crate) by: Dimension,
    /// At most so many rows
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(i32).range(1..=1_000))]
    pub(crate) top: i32,
    #[command(flatten)]
    pub(crate) drawn: Drawn,
    #[command(flatten)]
    pub(crate) asked: Asked,
}

/// `timeline`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre timeline
  luytre timeline --per month --utc
  luytre timeline --by kind --from 2026-11-01 --to 2026-11-15
  luytre timeline --by outcome --from 14d
  luytre timeline --label phishing --svg phishing.svg
  luytre timeline --per month --by owner --csv > owners.csv

Counts indicators by the day or the month in which they were first published, by outcome sightings by that
in which they were recorded; whole days and months, also those in which --from and --to lie. Without --from
it shows 30 days, or 12 months. What is asked for is told as in luytre query.

Days begin at midnight in Vietnam, with --utc in UTC. The hub keeps count of the days and months of Vietnam,
and goes through what matches for those of UTC, a million at most.")]
pub(crate) struct Timeline {
    /// By what they are counted apart, as in luytre stats
    #[arg(long, value_name = "WHAT", value_parser = dimension)]
    pub(crate) by: Option<Dimension>,
    /// By day or month
    #[arg(long, value_name = "SPAN", value_parser = per, default_value = "day")]
    pub(crate) per: Per,
    /// From this time on
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) from: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) to: Option<Timestamp>,
    /// Days and months of UTC, not of Vietnam
    #[arg(long)]
    pub(crate) utc: bool,
    /// With --by, at most so many rows
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..=100))]
    pub(crate) top: i32,
    #[command(flatten)]
    pub(crate) drawn: Drawn,
    #[command(flatten)]
    pub(crate) asked: Asked,
}
