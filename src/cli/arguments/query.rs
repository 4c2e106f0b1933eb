//! Decides the options of `luytre query`: everything that can be asked about
//! what the hub knows, here and in exports.

use clap::{Args, ValueEnum};

use super::super::language::Language;
use super::filter::Filter;
use super::values::{action, exception, moment, order, organisation, outcome, state};
use crate::base::clock::Timestamp;
use crate::cli::draft::wire_time;
use crate::model::indicator::{RecommendedAction, State};
use crate::model::query::Order;
use crate::model::sighting::Outcome;
use crate::wire::observable;
use crate::wire::proto::v1;

/// `query`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  luytre query
  luytre query --kind domain,url --label phishing --since 7d
  luytre query --under example.vn --order first-seen
  luytre query --containing 198.51.100.7 --explain
  luytre query --text '\"lừa đảo\" ngan*' --not owner=ca-hanoi
  luytre query --outcome false-positive --sighted-since yesterday
  luytre query --as-of 2026-11-01T08:00:00+07:00 --family emotet
  luytre query --owner ca-hanoi --state revoked --all --json
  luytre query --kind ipv4 --all --format plain > addresses.txt
  luytre query --label phishing --all --csv > phishing.csv
  luytre query --family emotet --watch --lang vi

A TIME is a day such as 2026-11-21, a time such as 2026-11-21T08:00:00+07:00, a span before now such
as 30m, 12h, 7d or 2w, or now, today or yesterday in Vietnam (hôm nay, hôm qua).

Any value of an option, all options together. A word of --text with diacritics is found as it is
spelt, one without in any spelling; a star ends a word of which only the beginning is given; words in
quotation marks stand side by side.

--not leaves out what a filter finds: kind=, owner=, label=, tlp=, role=, family=, campaign=,
technique=, state=, value=, prefix=, under=, inside=, containing=, org-kind=, action=, sighted-by=,
outcome= or text=, each repeatable.

At a terminal the table tells how long ago each indicator changed, and labels have their colours, unless
NO_COLOR is set; elsewhere it tells when, in Vietnam. --watch goes on with what newly matches: by a
subscription where that can ask the same and you have the role subscriber, else by asking again every few
seconds. For a copy that stays up to date use luytre sync or luytre
subscribe.")]
pub(crate) struct Query {
    /// Order: modified, published, first-seen, last-seen, confidence, or one of them the other way
    /// round: modified-oldest, …, confidence-lowest
    #[arg(long, value_parser = order, default_value = "modified")]
    pub(crate) order: Order,
    /// What was known at this time, of what you may see today
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) as_of: Option<Timestamp>,
    /// Tell how the answer was found, on stderr
    #[arg(long)]
    pub(crate) explain: bool,
    /// At most this many; 0: all
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: u64,
    /// All of them, as --limit 0
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
    /// How to write them
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,
    /// One JSON object a line, as --format jsonl
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
    /// Comma-separated values as luytre export writes them, safe from formulas, as --format csv
    #[arg(long, conflicts_with_all = ["format", "json"])]
    pub(crate) csv: bool,
    /// Go on with what newly matches, until Ctrl-C
    #[arg(long, conflicts_with = "as_of")]
    pub(crate) watch: bool,
    /// Tell times by their date also at a terminal, not as the span until now
    #[arg(long)]
    pub(crate) absolute: bool,
    /// Tell times by their date in UTC, not in Vietnam
    #[arg(long)]
    pub(crate) utc: bool,
    /// Language of the words [default: that of LUYTRE_LANG, LC_ALL, LC_MESSAGES or LANG]
    #[arg(long, value_enum)]
    pub(crate) lang: Option<Language>,
    #[command(flatten)]
    pub(crate) asked: Asked,
}

/// What is asked for, in every command that asks about history. Flattened last.
#[derive(Debug, Args)]
pub(crate) struct Asked {
    /// Value, in any form; of a file, any of its hashes
    #[arg(long)]
    pub(crate) value: Vec<String>,
    /// Values that begin so
    #[arg(long, value_name = "TEXT")]
    pub(crate) prefix: Vec<String>,
    /// A domain, what is below it, and what has it for its host
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) under: Vec<String>,
    /// Addresses, networks and endpoints inside this network
    #[arg(long, value_name = "NETWORK")]
    pub(crate) inside: Vec<String>,
    /// Networks that hold this address or network
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) containing: Vec<String>,
    /// Words in description, labels, family and campaign
    #[arg(long, value_name = "WORDS")]
    pub(crate) text: Option<String>,
    /// State: active, revoked, expired [default: active]
    #[arg(long, value_delimiter = ',', value_parser = state)]
    pub(crate) state: Vec<State>,
    /// Kind of organisation that published them, such as ward
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    pub(crate) org_kind: Vec<String>,
    /// Confidence at least
    #[arg(long, value_name = "0-100", value_parser = clap::value_parser!(u32).range(..=100))]
    pub(crate) min_confidence: Option<u32>,
    /// Confidence at most
    #[arg(long, value_name = "0-100", value_parser = clap::value_parser!(u32).range(..=100))]
    pub(crate) max_confidence: Option<u32>,
    /// Recommended action: monitor, block, hunt, isolate
    #[arg(long, value_delimiter = ',', value_parser = action)]
    pub(crate) action: Vec<RecommendedAction>,
    /// Only versions added at or after this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) since: Option<Timestamp>,
    /// Only versions added before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) until: Option<Timestamp>,
    /// First published at or after this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) published_since: Option<Timestamp>,
    /// First published before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) published_until: Option<Timestamp>,
    /// First seen at or after this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) first_seen_since: Option<Timestamp>,
    /// First seen before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) first_seen_until: Option<Timestamp>,
    /// Last seen at or after this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) last_seen_since: Option<Timestamp>,
    /// Last seen before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) last_seen_until: Option<Timestamp>,
    /// Those that hold at this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) valid_at: Option<Timestamp>,
    /// Sighted by this organisation
    #[arg(long, value_name = "ORG", value_delimiter = ',', value_parser = organisation)]
    pub(crate) sighted_by: Vec<String>,
    /// Sighted at or after this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) sighted_since: Option<Timestamp>,
    /// What a sighting says: seen-blocked, seen-not-blocked, searched-not-found, false-positive
    #[arg(long, value_delimiter = ',', value_parser = outcome)]
    pub(crate) outcome: Vec<Outcome>,
    /// Leave out what this filter finds
    #[arg(long, value_name = "FILTER=VALUE", value_parser = exception)]
    pub(crate) not: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// Columns for people.
    Table,
    /// One value a line, without those of victims.
    Plain,
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values.
    Csv,
}

impl Query {
    /// How to write what is found.
    pub(crate) const fn written(&self) -> ListFormat {
        match (self.json, self.csv) {
            (true, _) => ListFormat::Jsonl,
            (_, true) => ListFormat::Csv,
            _ => self.format,
        }
    }
}

impl Asked {
    /// Whether a subscription can ask the same.
    pub(crate) fn is_for_subscriptions(&self) -> bool {
        self.to_wire().is_ok_and(|filter| filter == self.filter.to_wire())
    }

    /// The filter as the public contract spells it.
    pub(crate) fn to_wire(&self) -> Result<v1::IndicatorFilter, String> {
        use v1::value_match::Match;
        let texts = [
            (&self.prefix, Match::Prefix as fn(String) -> Match),
            (&self.under, Match::DomainSuffix),
            (&self.inside, Match::InsideNetwork),
            (&self.containing, Match::Containing),
        ];
        let exact = |text: &String| Match::Exact(observable::of_text(None, text.clone()));
        let mut values: Vec<Match> = self.value.iter().map(exact).collect();
        for (given, of) in texts {
            values.extend(given.iter().cloned().map(of));
        }
        let (min, max) = (self.min_confidence, self.max_confidence);
        let (sighted_since, outcomes) = (self.sighted_since.map(wire_time), &self.outcome);
        Ok(v1::IndicatorFilter {
            states: self.state.iter().map(|state| i32::from(state.number())).collect(),
            added: span(self.since, self.until),
            values: values.into_iter().map(|found| v1::ValueMatch { r#match: Some(found) }).collect(),
            organisation_kinds: self.org_kind.clone(),
            confidence: (min.is_some() || max.is_some()).then_some(v1::ConfidenceRange { min, max }),
            recommended_actions: self.action.iter().map(|action| i32::from(action.number())).collect(),
            published: span(self.published_since, self.published_until),
            first_seen: span(self.first_seen_since, self.first_seen_until),
            last_seen: span(self.last_seen_since, self.last_seen_until),
            valid_at: self.valid_at.map(wire_time),
            sighted_by: self.sighted_by.clone(),
            sighted_since,
            sighting_outcomes: outcomes.iter().map(|outcome| i32::from(outcome.number())).collect(),
            text: self.text.clone().unwrap_or_default(),
            except: self.exceptions()?.map(Box::new),
            ..self.filter.to_wire()
        })
    }

    /// What is to be left out: each exception is read as the option of its name.
    fn exceptions(&self) -> Result<Option<v1::IndicatorFilter>, String> {
        use clap::Parser as _;
        if self.not.is_empty() {
            return Ok(None);
        }
        let options = self.not.iter().map(|(name, value)| format!("--{name}={value}"));
        let read = Exceptions::try_parse_from(std::iter::once("--not".to_owned()).chain(options));
        let Exceptions { asked } = read.map_err(|error| format!("luytre: --not: {}", error.kind()))?;
        asked.to_wire().map(Some)
    }
}

/// What is asked for by itself.
#[derive(Debug, clap::Parser)]
struct Exceptions {
    #[command(flatten)]
    asked: Asked,
}

fn span(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<v1::TimeRange> {
    (from.is_some() || to.is_some())
        .then(|| v1::TimeRange { start_time: from.map(wire_time), end_time: to.map(wire_time) })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn asked(options: &[&str]) -> Result<v1::IndicatorFilter, String> {
        let options = std::iter::once("query").chain(options.iter().copied());
        Exceptions::try_parse_from(options).map_err(|error| error.to_string())?.asked.to_wire()
    }

    #[test]
    fn each_exception_is_read_as_the_option_of_its_name() {
        let filter = asked(&[
            "--kind",
            "url",
            "--not",
            "owner=ca-hanoi",
            "--not",
            "under=a.vn",
            "--not",
            "under=b.vn",
        ]);
        let except = filter.unwrap().except.unwrap();
        assert_eq!((except.owners.len(), except.values.len(), except.kinds.len()), (1, 2, 0));
        for wrong in ["owner=Not A Slug", "tlp=blue"] {
            assert!(asked(&["--not", wrong]).is_err(), "{wrong}");
        }
        for wrong in ["owner", "not=kind=url", "limit=0", "=x"] {
            assert!(asked(&["--not", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_subscription_asks_by_what_headers_tell_and_nothing_else() {
        let asked = |options: &[&str]| {
            let options = std::iter::once("query").chain(options.iter().copied());
            Exceptions::try_parse_from(options).unwrap().asked.is_for_subscriptions()
        };
        assert!(asked(&[]) && asked(&["--kind", "url", "--label", "c2", "--technique", "T1566"]));
        for options in [["--text", "a"], ["--not", "kind=url"], ["--state", "active"], ["--since", "7d"]] {
            assert!(!asked(&options), "{options:?}");
        }
    }

    #[test]
    fn what_is_asked_of_values_and_confidence_is_in_the_filter() {
        let filter =
            asked(&["--value", "hxxp://a[.]vn/", "--inside", "10.0.0.0/8", "--min-confidence", "50"]);
        let filter = filter.unwrap();
        assert_eq!(filter.values.len(), 2);
        assert_eq!(filter.confidence, Some(v1::ConfidenceRange { min: Some(50), max: None }));
        assert!(asked(&["--min-confidence", "101"]).is_err() && asked(&["--all", "--limit", "1"]).is_err());
    }
}
