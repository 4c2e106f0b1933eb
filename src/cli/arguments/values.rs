//! Decides how single values are written at the prompt, alike in every command.

use std::time::Duration;

use clap::ValueEnum;

use crate::base::clock::Timestamp;
use crate::model::indicator::{Kind, Role, State};
use crate::model::marking::Tlp;
use crate::model::org::OrgSlug;
use crate::model::principal::SpiffeId;

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

/// The identity of a person or a system.
pub(crate) fn person(text: &str) -> Result<String, String> {
    SpiffeId::parse(text).map(|id| id.to_string()).map_err(|invalid| invalid.problem)
}

/// A UUID or a resource name, as a resource name.
pub(super) fn indicator(text: &str) -> Result<String, String> {
    let id = text.strip_prefix("indicators/").unwrap_or(text);
    uuid::Uuid::try_parse(id)
        .map(|id| format!("indicators/{id}"))
        .map_err(|_| "write the name that `luytre list` shows, such as indicators/4b3f7c1e-…".to_owned())
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
