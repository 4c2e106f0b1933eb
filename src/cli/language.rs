//! Decides in which language people are told things, and how moments are told:
//! at the hub's place, with the distance from UTC. TLP labels, names and
//! identifiers are never translated.

use clap::ValueEnum;
use time::UtcOffset;
use time::macros::{format_description, offset};

use crate::base::clock::Timestamp;
use crate::wire::event;

/// A language that people are told things in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// English.
    En,
    /// Vietnamese.
    Vi,
}

impl Language {
    /// The one that was chosen, else that of the locale, such as `vi_VN.UTF-8`;
    /// English if neither says.
    pub(super) fn of(chosen: Option<Self>, locale: Option<&str>) -> Self {
        let vietnamese = locale.is_some_and(|locale| {
            let language = locale.split(['_', '.', '@', '-']).next().unwrap_or_default();
            language.eq_ignore_ascii_case("vi")
        });
        chosen.unwrap_or(if vietnamese { Self::Vi } else { Self::En })
    }

    /// What is said in this one.
    pub(super) const fn say(self, en: &'static str, vi: &'static str) -> &'static str {
        match self {
            Self::En => en,
            Self::Vi => vi,
        }
    }
}

/// Minutes that the time at the hub's place is ahead of UTC.
pub(super) const VIETNAM: i16 = 420;

/// A moment at the hub's place, such as `2026-11-22 20:15:00 +07:00`; a dash
/// for none.
pub(super) fn moment(at: Option<prost_types::Timestamp>) -> String {
    let at = at.as_ref().and_then(event::timestamp);
    at.map_or_else(|| "-".to_owned(), |at| Times { utc: false, now: None }.absolute(at))
}

/// How moments are told in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// In UTC, and not at the hub's place.
    pub(super) utc: bool,
    /// The present from which they are told; `None`: they are told by date.
    pub(super) now: Option<Timestamp>,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Days after which a date says more than their number.
const DAYS: u64 = 30;

impl Times {
    /// A moment: some time ago, where that was asked, else when it was.
    pub(super) fn tell(self, at: Timestamp, language: Language) -> String {
        self.ago(at, language).unwrap_or_else(|| self.absolute(at))
    }

    /// `None` long ago, or in the time to come, as clocks may have it that do
    /// not agree.
    fn ago(self, at: Timestamp, language: Language) -> Option<String> {
        let now = self.now?;
        if at.since(now).as_secs() > MINUTE {
            return None;
        }
        let seconds = now.since(at).as_secs();
        let (count, unit) = match seconds {
            0..MINUTE => return Some(language.say("just now", "vừa xong").to_owned()),
            MINUTE..HOUR => (seconds / MINUTE, ["minute", "phút"]),
            HOUR..DAY => (seconds / HOUR, ["hour", "giờ"]),
            _ if seconds < DAYS * DAY => (seconds / DAY, ["day", "ngày"]),
            _ => return None,
        };
        let [en, vi] = unit;
        let plural = if count == 1 { "" } else { "s" };
        Some(match language {
            Language::En => format!("{count} {en}{plural} ago"),
            Language::Vi => format!("{count} {vi} trước"),
        })
    }

    /// When it was, with the distance from UTC.
    fn absolute(self, at: Timestamp) -> String {
        let shape = format_description!(
            "[year]-[month]-[day] [hour]:[minute]:[second] [offset_hour sign:mandatory]:[offset_minute]"
        );
        let place = if self.utc { UtcOffset::UTC } else { offset!(+7) };
        at.to_offset().to_offset(place).format(shape).unwrap_or_else(|_| at.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_chosen_one_or_that_of_the_locale() {
        for (chosen, locale, language) in [
            (None, None, Language::En),
            (None, Some("vi_VN.UTF-8"), Language::Vi),
            (None, Some("vi"), Language::Vi),
            (None, Some("C.UTF-8"), Language::En),
            (None, Some("vie"), Language::En),
            (Some(Language::En), Some("vi_VN"), Language::En),
            (Some(Language::Vi), Some("en_GB.UTF-8"), Language::Vi),
        ] {
            assert_eq!(Language::of(chosen, locale), language, "{chosen:?} {locale:?}");
        }
    }

    #[test]
    fn what_was_just_now_is_told_from_now_and_what_was_long_ago_by_its_date() {
        let now = Timestamp::from_micros_clamped(1_767_225_600_000_000);
        let told = |seconds: u64, language| {
            let at = now.saturating_sub(std::time::Duration::from_secs(seconds));
            Times { utc: false, now: Some(now) }.tell(at, language)
        };
        for (seconds, en, vi) in [
            (0, "just now", "vừa xong"),
            (59, "just now", "vừa xong"),
            (60, "1 minute ago", "1 phút trước"),
            (3 * 3_600 + 5, "3 hours ago", "3 giờ trước"),
            (86_400, "1 day ago", "1 ngày trước"),
            (29 * 86_400, "29 days ago", "29 ngày trước"),
            (31 * 86_400, "2025-12-01 07:00:00 +07:00", "2025-12-01 07:00:00 +07:00"),
        ] {
            assert_eq!((told(seconds, Language::En), told(seconds, Language::Vi)), (en.into(), vi.into()));
        }
        let times = Times { utc: true, now: None };
        assert_eq!(times.tell(now, Language::Vi), "2026-01-01 00:00:00 +00:00");
        let later = now.saturating_add(std::time::Duration::from_secs(3_600));
        let times = Times { utc: false, now: Some(now) };
        assert_eq!(times.tell(later, Language::En), "2026-01-01 08:00:00 +07:00");
    }

    #[test]
    fn moments_are_told_at_the_hubs_place_with_the_distance_from_utc() {
        let at = prost_types::Timestamp { seconds: 1_767_225_600, nanos: 5_000 };
        assert_eq!(moment(Some(at)), "2026-01-01 07:00:00 +07:00");
        assert_eq!(moment(None), "-");
    }
}
