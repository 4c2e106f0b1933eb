//! Decides what `--feed` stands for: a profile of options, from a file of the
//! user's, or one that is built in and tells the format alone.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::interop::Mapping;

use super::Environment;
use super::arguments::{InputEncoding, InputFormat, Publish, group, organisation, person, technique, tlp};
use super::draft::{caveats, valid_days};
use super::exit::Failure;

/// Largest file of profiles.
const MAX_BYTES: u64 = 1024 * 1024;
/// What is known without a file: how well-known feeds are written.
const BUILT_IN: &str = include_str!("feeds/built_in.toml");

/// A profile as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Feed {
    format: InputFormat,
    encoding: InputEncoding,
    /// Columns and what they are.
    map: BTreeMap<String, String>,
    tlp: Option<String>,
    to: Vec<String>,
    to_groups: Vec<String>,
    to_persons: Vec<String>,
    caveats: Vec<String>,
    labels: Vec<String>,
    confidence: Option<u32>,
    description: Option<String>,
    valid_days: Option<u32>,
    action: Option<String>,
    role: Option<String>,
    family: Option<String>,
    campaign: Option<String>,
    techniques: Vec<String>,
    on_behalf_of: Option<String>,
}

type Feeds = BTreeMap<String, Feed>;

/// The options with what the feed's profile says where they say nothing.
pub(super) fn applied(options: &Publish, environment: &Environment) -> Result<Publish, Failure> {
    let mut options = options.clone();
    let Some(name) = options.feed.clone() else { return Ok(options) };
    let default = environment.configuration.as_ref().map(|dir| dir.join("luytre").join("feeds.toml"));
    let mut feeds = parse(BUILT_IN, Path::new("the built-in feeds"))?;
    match (&options.feeds, default) {
        (Some(path), _) => feeds.extend(read(path)?),
        (None, Some(path)) if path.try_exists().unwrap_or(false) => feeds.extend(read(&path)?),
        (None, _) => {}
    }
    let Some(feed) = feeds.remove(&name) else {
        let known: Vec<_> = feeds.into_keys().collect();
        return Err(Failure::Usage(format!(
            "luytre: there is no feed `{name}`; known are {}",
            known.join(", ")
        )));
    };
    fill(&mut options, feed)
        .map_err(|problem| Failure::Configuration(format!("feed `{name}`: {problem}")))?;
    Ok(options)
}

fn read(path: &Path) -> Result<Feeds, Failure> {
    let wrong =
        |problem: String| Failure::Configuration(format!("cannot read {}: {problem}", path.display()));
    let metadata = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if metadata.len() > MAX_BYTES {
        return Err(wrong("it is too large for a file of feed profiles".to_owned()));
    }
    parse(&std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?, path)
}

fn parse(text: &str, path: &Path) -> Result<Feeds, Failure> {
    toml::from_str(text).map_err(|error| Failure::Configuration(format!("{}: {error}", path.display())))
}

fn fill(options: &mut Publish, feed: Feed) -> Result<(), String> {
    if options.input_format == InputFormat::Auto {
        options.input_format = feed.format;
    }
    if options.encoding == InputEncoding::Auto {
        options.encoding = feed.encoding;
    }
    for (column, field) in feed.map {
        let named = options.map.iter().any(|mapping| mapping.column.eq_ignore_ascii_case(&column));
        if !named {
            let mapping = format!("{column}={field}").parse::<Mapping>();
            options.map.push(mapping.map_err(|problem| format!("map: {problem}"))?);
        }
    }
    let names = |field: &str, names: Vec<String>, one: fn(&str) -> Result<String, String>| {
        let read: Result<Vec<_>, _> = names.iter().map(|name| one(name)).collect();
        read.map_err(|problem| format!("{field}: {problem}"))
    };
    // Who names a label or readers decides whom it reaches: never half of each.
    if options.tlp.is_none()
        && options.to.is_empty()
        && options.to_group.is_empty()
        && options.to_person.is_empty()
    {
        options.tlp =
            feed.tlp.map(|label| tlp(&label)).transpose().map_err(|problem| format!("tlp: {problem}"))?;
        options.to = names("to", feed.to, organisation)?;
        options.to_group = names("to_groups", feed.to_groups, group)?;
        options.to_person = names("to_persons", feed.to_persons, person)?;
    }
    caveats(&feed.caveats).map_err(|problem| format!("caveats: {problem}"))?;
    options.caveat.extend(feed.caveats);
    options.label.extend(feed.labels);
    options.technique.extend(names("techniques", feed.techniques, technique)?);
    if feed.confidence.is_some_and(|confidence| confidence > 100) {
        return Err("confidence: 0 to 100".to_owned());
    }
    options.confidence = options.confidence.or(feed.confidence);
    options.valid_days =
        options.valid_days.or_else(|| feed.valid_days.filter(|_| options.valid_until.is_none()));
    let word = |given: &mut Option<String>, said: Option<String>, field: &str, of: &[&str]| match said {
        Some(said) if !of.is_empty() && !of.contains(&said.as_str()) => {
            Err(format!("{field}: write one of {}", of.join(", ")))
        }
        said => {
            *given = given.take().or(said);
            Ok(())
        }
    };
    word(&mut options.action, feed.action, "action", &["monitor", "block", "hunt", "isolate"])?;
    word(&mut options.role, feed.role, "role", &["victim", "infrastructure", "tool", "sink"])?;
    word(&mut options.family, feed.family, "family", &[])?;
    word(&mut options.campaign, feed.campaign, "campaign", &[])?;
    word(&mut options.description, feed.description, "description", &[])?;
    if options.on_behalf_of.is_none() {
        options.on_behalf_of = feed
            .on_behalf_of
            .map(|name| organisation(&name))
            .transpose()
            .map_err(|p| format!("on_behalf_of: {p}"))?;
    }
    if options.valid_days.is_some_and(|days| !valid_days(days)) {
        return Err("valid_days: 1 to 3650".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::arguments::{Arguments, Command};
    use super::*;
    use crate::model::marking::Tlp;

    fn applied(file: &str, words: &[&str]) -> Result<Publish, Failure> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("feeds.toml");
        std::fs::write(&path, file).unwrap();
        let words = [&["luytre", "publish", "-", "--feeds", path.to_str().unwrap()], words].concat();
        match Arguments::try_parse_from(words).unwrap().command {
            Command::Publish(options) => super::applied(&options.how, &Environment::default()),
            other => panic!("{other:?}"),
        }
    }

    const FILE: &str = "[clone]\nformat = \"adblock\"\ntlp = \"amber\"\nto = [\"sa-ict\"]\nlabels = [\"phishing\"]\n\
                        confidence = 60\ntechniques = [\"T1566\"]\naction = \"block\"\nrole = \"infrastructure\"\nfamily = \"A\"\nvalid_days = 30\n\
                        map = { \"C2 Server\" = \"value\" }\n";

    #[test]
    fn a_profile_fills_in_what_the_options_leave_out() {
        let options = applied(FILE, &["--feed", "clone", "--label", "vn", "--family", "B"]).unwrap();
        assert_eq!((options.input_format, options.tlp), (InputFormat::Adblock, Some(Tlp::Amber)));
        assert_eq!(
            (options.to, options.label),
            (vec!["organisations/sa-ict".into()], vec!["vn".into(), "phishing".into()])
        );
        assert_eq!((options.action.as_deref(), options.family.as_deref()), (Some("block"), Some("B")));
        assert_eq!((options.confidence, options.valid_days, options.map.len()), (Some(60), Some(30), 1));
        assert_eq!(options.technique, ["T1566"]);
    }

    #[test]
    fn a_label_at_the_prompt_is_never_mixed_with_readers_of_a_profile() {
        let options = applied(FILE, &["--feed", "clone", "--tlp", "green"]).unwrap();
        assert_eq!((options.tlp, options.to.len()), (Some(Tlp::Green), 0));
    }

    #[test]
    fn what_is_wrong_with_a_profile_is_named() {
        for (file, says) in [
            ("[clone]\ntpl = \"green\"\n", "tpl"),
            ("[clone]\ntlp = \"orange\"\n", "tlp: write"),
            ("[clone]\nrole = \"x\"\n", "role: write"),
            ("[clone]\nmap = { a = \"b\" }\n", "map: the fields"),
            ("[clone]\nconfidence = 101\n", "confidence"),
            ("[clone]\ntechniques = [\"phishing\"]\n", "techniques: "),
            ("[clone]\ncaveats = [\"hush\"]\n", "caveats: write"),
            ("[other]\n", "there is no feed `clone`; known are"),
        ] {
            let text = applied(file, &["--feed", "clone"]).unwrap_err().text().unwrap();
            assert!(text.contains(says), "{text}");
        }
    }

    #[test]
    fn the_built_in_profiles_are_well_formed_and_name_no_audience() {
        for (name, feed) in parse(BUILT_IN, Path::new("built in")).unwrap() {
            assert!(feed.tlp.is_none() && feed.to.is_empty(), "{name}");
            let options = applied("", &["--feed", &name]).unwrap();
            assert_eq!(options.tlp, None);
        }
    }
}
