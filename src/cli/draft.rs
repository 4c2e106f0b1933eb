//! Decides how a line of input becomes a draft: what the line says, and the
//! options for what it leaves out.

use crate::base::clock::Timestamp;
use crate::interop::jsonl::Record;
use crate::model::indicator::{Kind, RecommendedAction};
use crate::model::marking::Tlp;
use crate::wire::proto::v1;

use super::arguments::{Publish, organisation, time};
use super::exit::Failure;

/// What the options say of every draft.
#[derive(Debug)]
pub(super) struct Template {
    tlp: Option<Tlp>,
    to: Vec<String>,
    common: v1::IndicatorDraft,
}

/// Why a line is refused before the hub sees it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The stable cause.
    pub(super) reason: &'static str,
    /// What is wrong, without the value.
    pub(super) problem: String,
}

impl Template {
    /// From the options of `publish`.
    pub(super) fn new(options: &Publish) -> Self {
        let action = options.action.as_deref().and_then(action);
        Self {
            tlp: options.tlp,
            to: options.to.clone(),
            common: v1::IndicatorDraft {
                labels: options.label.clone(),
                confidence: options.confidence,
                description: options.description.clone().unwrap_or_default(),
                valid_until: options.valid_until.map(wire_time),
                recommended_action: action.unwrap_or_default(),
                reinstate: options.reinstate.clone().map(|reason| v1::Reinstatement { reason }),
                ..v1::IndicatorDraft::default()
            },
        }
    }

    /// Checks what would refuse every line alike, however the input is written.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let usage = |text: String| Err(Failure::Usage(format!("luytre: {text}")));
        let Some(tlp) = self.tlp else { return Ok(()) };
        if matches!(tlp, Tlp::AmberStrict | Tlp::Red) {
            return usage(format!(
                "this release does not take {}; share it by other means, or give --tlp amber with --to ORG if its rules allow that.",
                tlp.as_str()
            ));
        }
        if is_for_everyone(tlp) && !self.to.is_empty() {
            // Readers that were named must never be widened to everyone.
            return usage(format!(
                "--to names readers, but {} goes to everyone. For these readers alone give --tlp amber; for everyone leave out --to.",
                tlp.as_str()
            ));
        }
        Ok(())
    }

    /// Checks what would refuse every line of a plain list alike.
    pub(super) fn check_for_plain(&self) -> Result<(), Failure> {
        let usage = |text: &str| Err(Failure::Usage(format!("luytre: {text}")));
        match self.tlp {
            None => usage("how far may these travel? Give --tlp clear, green or amber."),
            Some(Tlp::Amber | Tlp::AmberStrict) if self.to.is_empty() => {
                usage("TLP:AMBER names its readers: give --to ORG for each organisation that may read.")
            }
            Some(_) => Ok(()),
        }
    }

    /// What a record and the options say together.
    pub(super) fn draft(&self, record: &Record) -> Result<v1::IndicatorDraft, Refused> {
        let label = match &record.tlp {
            Some(label) => Some(
                Tlp::parse(label)
                    .ok_or_else(|| invalid("tlp", "write clear, green, amber, amber+strict or red"))?,
            ),
            None => self.tlp,
        };
        let to = if record.to.is_empty() {
            self.to.clone()
        } else {
            let named = record.to.iter().map(|name| organisation(name));
            named.collect::<Result<_, _>>().map_err(|problem| invalid("to", &problem))?
        };
        if let Some(label) = label
            && is_for_everyone(label)
            && !record.to.is_empty()
        {
            return Err(invalid(
                "to",
                &format!(
                    "the line names readers, but {} goes to everyone; write \"tlp\":\"amber\" for these readers alone, or leave out \"to\"",
                    label.as_str()
                ),
            ));
        }
        let mut draft = self.fill(observable(record)?, label, to)?;
        draft.labels.extend_from_slice(&record.labels);
        if record.confidence.is_some() {
            draft.confidence = record.confidence.map(u32::from);
        }
        if let Some(description) = &record.description {
            draft.description.clone_from(description);
        }
        if let Some(name) = &record.action {
            draft.recommended_action =
                action(name).ok_or_else(|| invalid("action", "write monitor, block, hunt or isolate"))?;
        }
        let moment = |field: &str, text: &Option<String>| match text {
            Some(text) => {
                time(text).map(|at| Some(wire_time(at))).map_err(|problem| invalid(field, &problem))
            }
            None => Ok(None),
        };
        draft.valid_from = moment("valid_from", &record.valid_from)?;
        if let Some(until) = moment("valid_until", &record.valid_until)? {
            draft.valid_until = Some(until);
        }
        draft.first_seen = moment("first_seen", &record.first_seen)?;
        draft.last_seen = moment("last_seen", &record.last_seen)?;
        Ok(draft)
    }

    fn fill(
        &self,
        observable: v1::Observable,
        tlp: Option<Tlp>,
        to: Vec<String>,
    ) -> Result<v1::IndicatorDraft, Refused> {
        let Some(tlp) = tlp else {
            return Err(Refused {
                reason: "MARKING_REQUIRED",
                problem: "how far may it travel? Give \"tlp\" on the line, or --tlp for all lines".to_owned(),
            });
        };
        // Readers are named for AMBER only; --to may stand for a file whose
        // lines say for themselves which of them go to everyone.
        let organisations = match tlp {
            Tlp::Amber | Tlp::AmberStrict => to,
            Tlp::Clear | Tlp::Green | Tlp::Red => Vec::new(),
        };
        let marking = v1::Marking { tlp: i32::from(tlp.number()), organisations, ..v1::Marking::default() };
        Ok(v1::IndicatorDraft { observable: Some(observable), marking: Some(marking), ..self.common.clone() })
    }
}

/// Whether the label leaves no room for named readers.
const fn is_for_everyone(tlp: Tlp) -> bool {
    matches!(tlp, Tlp::Clear | Tlp::Green)
}

fn invalid(field: &str, problem: &str) -> Refused {
    Refused { reason: "FIELD_INVALID", problem: format!("{field}: {problem}") }
}

fn observable(record: &Record) -> Result<v1::Observable, Refused> {
    use v1::observable::Value;
    let mut hashes = v1::FileHashes {
        md5: record.md5.clone().unwrap_or_default(),
        sha1: record.sha1.clone().unwrap_or_default(),
        sha256: record.sha256.clone().unwrap_or_default(),
    };
    let hashed = hashes != v1::FileHashes::default();
    let kind = match &record.kind {
        Some(name) => Some(Kind::from_name(name).ok_or_else(|| {
            invalid(
                "kind",
                &format!(
                    "the kinds are {}; leave it out to have it detected",
                    Kind::ALL.map(Kind::as_str).join(", ")
                ),
            )
        })?),
        None => None,
    };
    let value = match (&record.value, kind) {
        (None, None) if hashed => Value::File(hashes),
        (None, _) if hashed => return Err(invalid("kind", "leave it out beside md5, sha1 and sha256")),
        (None, _) => return Err(invalid("value", "give the value, or md5, sha1 or sha256 of a file")),
        (Some(value), Some(kind)) if kind.is_hash() => {
            // As `subscribe` writes it: the strongest as value, others beside.
            let field = match kind {
                Kind::Md5 => &mut hashes.md5,
                Kind::Sha1 => &mut hashes.sha1,
                _ => &mut hashes.sha256,
            };
            if !field.is_empty() {
                return Err(invalid("value", "the same hash is given twice"));
            }
            value.clone_into(field);
            Value::File(hashes)
        }
        (Some(_), _) if hashed => {
            return Err(invalid("value", "give either a value or the hashes of a file"));
        }
        (Some(value), None) => Value::Text(value.clone()),
        (Some(value), Some(kind)) => match kind {
            Kind::Ipv4 => Value::Ipv4(value.clone()),
            Kind::Ipv6 => Value::Ipv6(value.clone()),
            Kind::Cidr => Value::Cidr(value.clone()),
            Kind::Endpoint => Value::Endpoint(value.clone()),
            Kind::Domain => Value::Domain(value.clone()),
            Kind::Url => Value::Url(value.clone()),
            Kind::Md5 | Kind::Sha1 | Kind::Sha256 => Value::Text(value.clone()),
        },
    };
    Ok(v1::Observable { value: Some(value) })
}

fn action(name: &str) -> Option<i32> {
    RecommendedAction::from_name(name).map(|action| i32::from(action.number()))
}

/// A moment as the public contract spells it.
pub(super) fn wire_time(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: i64::try_from(at.as_seconds()).unwrap_or(i64::MAX),
        nanos: i32::try_from(at.subsec_micros() * 1_000).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::arguments::{Arguments, Command};
    use super::*;

    fn template(options: &[&str]) -> Template {
        let arguments = [&["luytre", "publish", "-"], options].concat();
        match Arguments::try_parse_from(arguments).unwrap().command {
            Command::Publish(options) => Template::new(&options),
            other => panic!("{other:?}"),
        }
    }

    fn record(line: &str) -> Record {
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn a_line_overrides_the_options_and_adds_to_the_labels() {
        let template = template(&["--tlp", "amber", "--to", "sa-ict", "--label", "c2", "--confidence", "10"]);
        let draft = template
            .draft(&record(
                r#"{"value":"example[.]net","labels":["phishing"],"confidence":90,"valid_until":"2027-01-01"}"#,
            ))
            .unwrap();
        assert_eq!(draft.labels, ["c2", "phishing"]);
        assert_eq!(draft.confidence, Some(90));
        assert_eq!(draft.valid_until.unwrap().seconds, 1_798_761_600);
        let marking = draft.marking.unwrap();
        assert_eq!((marking.tlp, marking.organisations), (3, vec!["organisations/sa-ict".to_owned()]));
    }

    #[test]
    fn readers_named_by_option_do_not_cling_to_a_line_for_everyone() {
        let draft =
            template(&["--to", "sa-ict"]).draft(&record(r#"{"value":"a.example","tlp":"GREEN"}"#)).unwrap();
        assert_eq!(draft.marking.unwrap().organisations, Vec::<String>::new());
    }

    #[test]
    fn readers_that_a_line_names_are_never_widened_to_everyone() {
        for (options, line) in [
            (&[][..], r#"{"value":"secret.example","tlp":"green","to":["sa-ict"]}"#),
            (&[], r#"{"value":"secret.example","tlp":"clear","to":["sa-ict"]}"#),
            (&["--tlp", "green"], r#"{"value":"secret.example","to":["sa-ict"]}"#),
            (&["--to", "pa05"], r#"{"value":"secret.example","tlp":"green","to":["sa-ict"]}"#),
        ] {
            let refused = template(options).draft(&record(line)).unwrap_err();
            assert!(refused.problem.starts_with("to: the line names readers"), "{refused:?}");
        }
    }

    #[test]
    fn readers_named_beside_a_marking_for_everyone_are_refused_before_any_line() {
        for label in ["clear", "green"] {
            let text = template(&["--tlp", label, "--to", "sa-ict"]).check().unwrap_err().text().unwrap();
            assert!(text.contains("--tlp amber"), "{text}");
            template(&["--tlp", label]).check().unwrap();
        }
        template(&["--tlp", "amber", "--to", "sa-ict"]).check().unwrap();
        template(&["--to", "sa-ict"]).check().unwrap();
    }

    #[test]
    fn markings_that_this_release_does_not_take_are_refused_before_any_line() {
        for label in ["red", "amber+strict"] {
            let failure = template(&["--tlp", label, "--to", "sa-ict"]).check().unwrap_err();
            assert_eq!(failure.code(), 64);
            assert!(failure.text().unwrap().contains("does not take TLP:"));
        }
    }

    #[test]
    fn a_line_without_marking_is_refused_never_open() {
        let refused = template(&[]).draft(&record(r#"{"value":"a.example"}"#)).unwrap_err();
        assert_eq!(refused.reason, "MARKING_REQUIRED");
        assert!(template(&[]).check_for_plain().is_err());
        assert!(template(&["--tlp", "amber"]).check_for_plain().is_err());
    }

    #[test]
    fn a_mistake_is_named_without_repeating_the_value() {
        let template = template(&["--tlp", "green"]);
        for (line, says) in [
            (r#"{"labels":[]}"#, "give the value"),
            (r#"{"value":"secret.example","kind":"host"}"#, "the kinds are"),
            (r#"{"value":"secret.example","tlp":"orange"}"#, "write clear"),
        ] {
            let refused = template.draft(&record(line)).unwrap_err();
            assert!(refused.problem.contains(says), "{refused:?}");
            assert!(!refused.problem.contains("secret"), "{refused:?}");
        }
    }

    #[test]
    fn the_hashes_of_one_file_stay_together() {
        use v1::observable::Value;
        let template = template(&["--tlp", "green"]);
        let both = |line| match template.draft(&record(line)).unwrap().observable.unwrap().value.unwrap() {
            Value::File(hashes) => (hashes.md5, hashes.sha256),
            other => panic!("{other:?}"),
        };
        assert_eq!(both(r#"{"md5":"a","sha256":"b"}"#), ("a".into(), "b".into()));
        assert_eq!(both(r#"{"kind":"sha256","value":"b","md5":"a"}"#), ("a".into(), "b".into()));
    }
}
