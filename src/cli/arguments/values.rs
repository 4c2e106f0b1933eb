//! Decides how single values are written at the prompt, alike in every command.

use std::time::Duration;

use clap::ValueEnum;

use crate::base::clock::{Clock as _, SystemClock, Timestamp};
use crate::model::aggregate::{Dimension, Per};
use crate::model::export::Format;
use crate::model::indicator::{Kind, RecommendedAction, Role, State, technique};
use crate::model::marking::Tlp;
use crate::model::org::OrgSlug;
use crate::model::principal::SpiffeId;
use crate::model::query::Order;
use crate::model::sighting::Outcome;

/// How an output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlainOrJson {
    /// One value a line, or words for people.
    Plain,
    /// One JSON object a line.
    Jsonl,
}

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableOrJson {
    /// Columns for people.
    Table,
    /// One JSON object a line.
    Jsonl,
}

pub(crate) fn tlp(text: &str) -> Result<Tlp, String> {
    Tlp::parse(text).ok_or_else(|| "write clear, green, amber, amber+strict or red".to_owned())
}

pub(super) fn kind(text: &str) -> Result<Kind, String> {
    Kind::from_name(text).ok_or_else(|| format!("the kinds are {}", Kind::names()))
}

pub(super) fn state(text: &str) -> Result<State, String> {
    State::from_name(text).ok_or_else(|| "the states are active, revoked, expired".to_owned())
}

pub(super) fn export_format(text: &str) -> Result<Format, String> {
    Format::from_name(text)
        .ok_or_else(|| "the formats are jsonl, csv, plain, hosts, rpz, suricata, iprep".to_owned())
}

pub(super) fn role(text: &str) -> Result<Role, String> {
    Role::from_name(text).ok_or_else(|| "the roles are victim, infrastructure, tool, sink".to_owned())
}

/// A moment as RFC 3339, or a day, which begins at midnight UTC.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    use time::format_description::well_known::Rfc3339;
    use time::macros::format_description;
    let wrong = || "write a day such as 2026-11-21, or a time such as 2026-11-21T08:00:00+07:00".to_owned();
    let at = time::OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| {
            time::Date::parse(text, format_description!("[year]-[month]-[day]"))
                .map(|day| day.midnight().assume_utc())
        })
        .map_err(|_| wrong())?;
    Timestamp::from_offset(at).ok_or_else(wrong)
}

/// The same, or a span before now, such as `7d`, or a day in words.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    moment_at(text, SystemClock.now())
}

/// Hours that Vietnam is before UTC.
const VIETNAM: Duration = Duration::from_secs(7 * 3_600);
const DAY: u64 = 86_400;

fn moment_at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let here = now.saturating_add(VIETNAM);
    let today = here.saturating_sub(Duration::from_secs(here.as_seconds() % DAY)).saturating_sub(VIETNAM);
    let today = today.saturating_sub(Duration::from_micros(now.subsec_micros().into()));
    match text.to_lowercase().as_str() {
        "now" => return Ok(now),
        "today" | "hôm nay" => return Ok(today),
        "yesterday" | "hôm qua" => return Ok(today.saturating_sub(Duration::from_secs(DAY))),
        _ => {}
    }
    let unit = |unit: char| match unit {
        'm' => Some(60),
        'h' => Some(3_600),
        'd' => Some(DAY),
        'w' => Some(7 * DAY),
        _ => None,
    };
    let span = || {
        let unit = unit(text.chars().last()?)?;
        text.get(..text.len() - 1)?.parse::<u32>().ok().map(|count| u64::from(count).saturating_mul(unit))
    };
    match span() {
        Some(seconds) => Ok(now.saturating_sub(Duration::from_secs(seconds))),
        None => {
            time(text).map_err(|wrong| format!("{wrong}, or a span before now such as 30m, 12h, 7d or 2w"))
        }
    }
}

pub(super) fn action(text: &str) -> Result<RecommendedAction, String> {
    RecommendedAction::from_name(text)
        .ok_or_else(|| "the recommended actions are monitor, block, hunt, isolate".to_owned())
}

pub(super) fn outcome(text: &str) -> Result<Outcome, String> {
    Outcome::from_name(text).ok_or_else(|| {
        "the outcomes are seen-blocked, seen-not-blocked, searched-not-found, false-positive".to_owned()
    })
}

pub(super) fn order(text: &str) -> Result<Order, String> {
    Order::from_name(text).ok_or_else(|| {
        let names: Vec<_> = Order::ALL.iter().map(|order| order.as_str()).collect();
        format!("the orders are {}", names.join(", "))
    })
}

pub(super) fn dimension(text: &str) -> Result<Dimension, String> {
    Dimension::from_name(text).ok_or_else(|| {
        let names: Vec<_> = Dimension::ALL.iter().map(|dimension| dimension.as_str()).collect();
        format!("it is counted by {}", names.join(", "))
    })
}

pub(super) fn per(text: &str) -> Result<Per, String> {
    Per::from_name(text).ok_or_else(|| "it is counted by day or by month".to_owned())
}

/// The filters that can be left out.
const EXCEPTIONS: [&str; 19] = [
    "kind",
    "owner",
    "label",
    "tlp",
    "role",
    "family",
    "campaign",
    "technique",
    "state",
    "value",
    "prefix",
    "under",
    "inside",
    "containing",
    "org-kind",
    "action",
    "sighted-by",
    "outcome",
    "text",
];

/// A filter and its value.
pub(super) fn exception(text: &str) -> Result<(String, String), String> {
    let known = |(name, _): &(&str, &str)| EXCEPTIONS.contains(name);
    let (name, value) = text.split_once('=').filter(known).ok_or_else(|| {
        format!("write a filter and its value, such as owner=ca-hanoi; of {}", EXCEPTIONS.join(", "))
    })?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A span in seconds, up to an hour.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let span = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    span.filter(|span| (Duration::from_millis(10)..=Duration::from_secs(3_600)).contains(span))
        .ok_or_else(|| "write a number of seconds from 0.01 to 3600".to_owned())
}

/// A slug or a resource name, as a resource name.
pub(crate) fn organisation(text: &str) -> Result<String, String> {
    let slug = text.strip_prefix("organisations/").unwrap_or(text);
    OrgSlug::parse(slug).map(|slug| format!("organisations/{slug}")).map_err(|invalid| invalid.problem)
}

/// The same of a group.
pub(crate) fn group(text: &str) -> Result<String, String> {
    let slug = text.strip_prefix("groups/").unwrap_or(text);
    OrgSlug::parse(slug).map(|slug| format!("groups/{slug}")).map_err(|invalid| invalid.problem)
}

/// A technique of MITRE ATT&CK, in upper or lower case.
pub(crate) fn technique(text: &str) -> Result<String, String> {
    let name = text.to_ascii_uppercase();
    technique::check(&name).map(|()| name).map_err(|invalid| invalid.problem)
}

/// The identity of a person or a system.
pub(crate) fn person(text: &str) -> Result<String, String> {
    SpiffeId::parse(text).map(|id| id.to_string()).map_err(|invalid| invalid.problem)
}

/// A UUID or a resource name, as a resource name.
pub(super) fn indicator(text: &str) -> Result<String, String> {
    let id = text.strip_prefix("indicators/").unwrap_or(text);
    uuid::Uuid::try_parse(id)
        .map(|id| format!("indicators/{id}"))
        .map_err(|_| "write the name that `luytre query` shows, such as indicators/4b3f7c1e-…".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight_utc_and_offsets_are_heeded() {
        assert_eq!(time("2026-11-21").unwrap(), time("2026-11-21T00:00:00Z").unwrap());
        assert_eq!(time("2026-11-21T07:00:00+07:00").unwrap(), time("2026-11-21").unwrap());
        assert!(time("yesterday").is_err());
    }

    #[test]
    fn a_moment_is_told_from_now_and_a_day_begins_in_vietnam() {
        let now = time("2026-11-21T20:15:30Z").unwrap();
        for (text, at) in [
            ("90m", "2026-11-21T18:45:30Z"),
            ("7d", "2026-11-14T20:15:30Z"),
            ("2w", "2026-11-07T20:15:30Z"),
            ("today", "2026-11-21T17:00:00Z"),
            ("Hôm qua", "2026-11-20T17:00:00Z"),
            ("now", "2026-11-21T20:15:30Z"),
            ("2026-11-01", "2026-11-01T00:00:00Z"),
        ] {
            assert_eq!(moment_at(text, now), time(at), "{text}");
        }
        for wrong in ["7", "d", "-1d", "7y", "soon", "ngày"] {
            assert!(moment_at(wrong, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_are_seconds_within_an_hour() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for wrong in ["0", "-1", "3601", "nan", "inf", "1s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_completed() {
        assert_eq!(organisation("sa-ict").unwrap(), "organisations/sa-ict");
        assert_eq!(organisation("organisations/sa-ict").unwrap(), "organisations/sa-ict");
        assert!(organisation("Not A Slug").is_err());
        assert_eq!(group("ung-cuu").unwrap(), "groups/ung-cuu");
        assert_eq!(group("groups/ung-cuu").unwrap(), "groups/ung-cuu");
        assert!(group("organisations/sa-ict").is_err());
        assert!(person("spiffe://hub.example/org/sa-ict/user/an").is_ok() && person("an").is_err());
        let id = "4b3f7c1e-0000-4000-8000-000000000001";
        assert_eq!(indicator(id).unwrap(), format!("indicators/{id}"));
    }
}
