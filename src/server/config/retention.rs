//! Decides how it is written what is kept of the past.

use serde::Deserialize;

use super::section::Section;
use super::{Span, seconds};
use crate::model::Invalid;
use crate::model::indicator::{Kind, State};
use crate::model::marking::Tlp;
use crate::model::retention::{MAX_RULES, Retention, Rule};

const HOUR: u64 = 3_600;
/// A hundred years.
const LONGEST: Span = seconds(876_000 * HOUR);
/// As long as an answered request is remembered.
const SHORTEST: Span = seconds(24 * HOUR);
const GRACE: Span = seconds(168 * HOUR);

/// A rule as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(default)]
    tlps: Vec<String>,
    #[serde(default)]
    states: Vec<String>,
    keep: String,
}

/// What the section says; `None`: it is not there, and all is kept.
pub(super) fn read(mut section: Section, problems: &mut Vec<Invalid>) -> Option<Retention> {
    if section.is_absent() {
        return None;
    }
    let history: Option<Span> = section.optional("history", problems);
    match history {
        Some(history) if (SHORTEST..=LONGEST).contains(&history) => {}
        Some(history) => {
            let problem = format!("is {history}; choose from {SHORTEST} to {LONGEST}");
            problems.push(Invalid::new(section.at("history"), problem));
        }
        None => problems.push(Invalid::new(
            section.at("history"),
            "is missing; write for how long all of the past is kept, such as \"8760h\" for a year",
        )),
    }
    let grace = section.bounded("grace", GRACE, (SHORTEST, seconds(8_760 * HOUR)), problems);
    let written: Vec<Written> = section.or("rules", Vec::new(), problems);
    if written.len() > MAX_RULES {
        problems.push(Invalid::new(section.at("rules"), format!("has more than {MAX_RULES} rules")));
    }
    let rules = written.into_iter().enumerate();
    let rules = rules.map(|(number, rule)| rule.read(&section.at(&format!("rules[{number}]")), problems));
    let rules = rules.collect();
    section.finish(problems);
    Some(Retention { history: history.unwrap_or(LONGEST).0, grace: grace.0, rules })
}

impl Written {
    fn read(self, at: &str, problems: &mut Vec<Invalid>) -> Rule {
        let Self { kinds, tlps, states, keep } = self;
        let known = names(Kind::ALL, Kind::as_str);
        let kinds = all(&kinds, &format!("{at}.kinds"), Kind::from_name, &known, problems);
        let known = names(&Tlp::ALL, Tlp::as_str);
        let tlps = all(&tlps, &format!("{at}.tlps"), Tlp::parse, &known, problems);
        let known = names(State::ALL, State::as_str);
        let states = all(&states, &format!("{at}.states"), State::from_name, &known, problems);
        if states.contains(&State::Active) {
            let problem = "names \"active\", and what holds is always kept; name revoked or expired";
            problems.push(Invalid::new(format!("{at}.states"), problem));
        }
        let keep = match keep.as_str() {
            "forever" => None,
            text => match Span::try_from(text.to_owned()) {
                Ok(keep) if (SHORTEST..=LONGEST).contains(&keep) => Some(keep.0),
                Ok(keep) => {
                    let problem = format!("is {keep}; choose from {SHORTEST} to {LONGEST}, or \"forever\"");
                    problems.push(Invalid::new(format!("{at}.keep"), problem));
                    None
                }
                Err(problem) => {
                    let problem = format!("{problem}; or \"forever\"");
                    problems.push(Invalid::new(format!("{at}.keep"), problem));
                    None
                }
            },
        };
        Rule { kinds, tlps, states, keep }
    }
}

/// The members of a set that are named; `known` are all names.
fn all<T>(
    names: &[String],
    at: &str,
    read: impl Fn(&str) -> Option<T>,
    known: &str,
    problems: &mut Vec<Invalid>,
) -> Vec<T> {
    let mut out = Vec::new();
    for name in names {
        match read(name) {
            Some(member) => out.push(member),
            None => problems.push(Invalid::new(at, format!("names {name:?}; choose among {known}"))),
        }
    }
    out
}

fn names<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> String {
    all.iter().map(|member| name(*member)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read_text(text: &str) -> (Option<Retention>, Vec<String>) {
        let mut problems = Vec::new();
        let mut root = Section::root(toml::from_str(text).unwrap());
        let read = read(root.section("retention", &mut problems), &mut problems);
        root.finish(&mut problems);
        (read, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_written_is_what_is_kept() {
        let text = "[retention]\nhistory = \"8760h\"\n[[retention.rules]]\nkinds = [\"domain\"]\n\
                    states = [\"expired\"]\nkeep = \"2160h\"\n[[retention.rules]]\ntlps = [\"red\"]\nkeep = \"forever\"\n";
        let (read, problems) = read_text(text);
        assert_eq!(problems, Vec::<String>::new());
        let hours = |count| Duration::from_secs(count * HOUR);
        let rule = Rule { kinds: vec![], tlps: vec![], states: vec![], keep: None };
        let expected = Retention {
            history: hours(8_760),
            grace: hours(168),
            rules: vec![
                Rule {
                    kinds: vec![Kind::Domain],
                    states: vec![State::Expired],
                    keep: Some(hours(2_160)),
                    ..rule.clone()
                },
                Rule { tlps: vec![Tlp::Red], ..rule },
            ],
        };
        assert_eq!(read, Some(expected));
        assert_eq!(read_text("").0, None);
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_place() {
        let (_, problems) = read_text(
            "[retention]\ngrace = \"1h\"\nkeep = 1\n[[retention.rules]]\nkinds = [\"domian\"]\nstates = [\"active\"]\nkeep = \"1d\"\n",
        );
        let all = problems.join("\n");
        for told in [
            "retention.history: is missing",
            "retention.grace: is 1h",
            "retention.rules[0].kinds: names \"domian\"; choose among ipv4",
            "retention.rules[0].states: names \"active\"",
            "retention.rules[0].keep: write a span",
            "retention.keep: is no key",
        ] {
            assert!(all.contains(told), "{told}: {all}");
        }
    }
}
