//! Decides how a line of input becomes a draft: what the line says, and the
//! options for what it leaves out.

use prost::Message as _;

use crate::base::clock::{Clock as _, SystemClock, Timestamp};
use crate::interop::jsonl::Record;
use crate::model::indicator::{Kind, RecommendedAction, Role};
use crate::model::marking::Tlp;
use crate::wire;
use crate::wire::codec::{MAX_ITEM_BYTES, MAX_ITEM_LABELS, MAX_ITEM_NAMES, MAX_ITEM_TECHNIQUES};
use crate::wire::proto::v1;

use super::arguments::{Publish, group, organisation, person, time};
use super::exit::Failure;

/// What the options say of every draft.
#[derive(Debug)]
pub(super) struct Template {
    kind: Option<Kind>,
    tlp: Option<Tlp>,
    readers: Readers,
    caveats: v1::Caveats,
    common: v1::IndicatorDraft,
}

/// Whom a marking names, as resource names and identities.
#[derive(Debug, Clone, Default)]
struct Readers {
    organisations: Vec<String>,
    groups: Vec<String>,
    principals: Vec<String>,
}

impl Readers {
    /// Whom a line names.
    fn of(record: &Record) -> Result<Self, Refused> {
        let read = |field: &str, names: &[String], one: fn(&str) -> Result<String, String>| {
            let named = names.iter().map(|name| one(name));
            named.collect::<Result<Vec<_>, _>>().map_err(|problem| invalid(field, &problem))
        };
        Ok(Self {
            organisations: read("to", &record.to, organisation)?,
            groups: read("to_groups", &record.to_groups, group)?,
            principals: read("to_persons", &record.to_persons, person)?,
        })
    }

    const fn is_empty(&self) -> bool {
        self.organisations.is_empty() && self.groups.is_empty() && self.principals.is_empty()
    }

    /// Those of them whom a label can name.
    fn fitting(&self, tlp: Tlp) -> Self {
        match tlp {
            Tlp::Clear | Tlp::Green => Self::default(),
            Tlp::Amber | Tlp::AmberStrict => Self { principals: Vec::new(), ..self.clone() },
            Tlp::Red => Self { principals: self.principals.clone(), ..Self::default() },
        }
    }
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
            kind: options.kind,
            tlp: options.tlp,
            readers: Readers {
                organisations: options.to.clone(),
                groups: options.to_group.clone(),
                principals: options.to_person.clone(),
            },
            // Only those that have a meaning come this far.
            caveats: caveats(&options.caveat).unwrap_or_default(),
            common: v1::IndicatorDraft {
                labels: options.label.clone(),
                confidence: options.confidence,
                description: options.description.clone().unwrap_or_default(),
                valid_until: options
                    .valid_until
                    .or_else(|| options.valid_days.and_then(after))
                    .map(wire_time),
                recommended_action: action.unwrap_or_default(),
                role: options.role.as_deref().and_then(role).unwrap_or_default(),
                family: options.family.clone().unwrap_or_default(),
                campaign: options.campaign.clone().unwrap_or_default(),
                attack_techniques: options.technique.clone(),
                republication_of: options.republication_of.clone().unwrap_or_default(),
                reinstate: options.reinstate.clone().map(|reason| v1::Reinstatement { reason }),
                ..v1::IndicatorDraft::default()
            },
        }
    }

    /// Checks what would refuse every line alike, however the input is written.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let usage = |text: String| Err(Failure::Usage(format!("luytre: {text}")));
        let said =
            [self.common.role, self.common.recommended_action].map(|n| u8::try_from(n).unwrap_or_default());
        if let Err(wrong) = Role::check(Role::from_number(said[0]), RecommendedAction::from_number(said[1])) {
            return usage(format!("--role and --action: {}.", wrong.problem));
        }
        let Some(tlp) = self.tlp else { return Ok(()) };
        let (label, readers) = (tlp.as_str(), &self.readers);
        if is_for_everyone(tlp) && !readers.is_empty() {
            // Readers that were named must never be widened to everyone.
            return usage(format!(
                "the options name readers, but {label} goes to everyone. For these readers alone give --tlp amber, or --tlp red for persons; for everyone name none.",
            ));
        }
        if tlp == Tlp::Red && !(readers.organisations.is_empty() && readers.groups.is_empty()) {
            return usage(format!(
                "{label} goes to persons: name them with --to-person. For whole organisations and groups give --tlp amber+strict.",
            ));
        }
        if tlp != Tlp::Red && !readers.principals.is_empty() {
            return usage(format!(
                "{label} goes to organisations and groups: name them with --to and --to-group. For persons alone give --tlp red.",
            ));
        }
        if tlp != Tlp::Amber && self.caveats.providers_may_read {
            return usage(format!(
                "providers-may-read goes with --tlp amber alone: {label} leaves no choice whether providers read.",
            ));
        }
        Ok(())
    }

    /// Checks what would refuse every line of a plain list alike.
    pub(super) fn check_for_plain(&self) -> Result<(), Failure> {
        let usage = |text: String| Err(Failure::Usage(format!("luytre: {text}")));
        let Some(tlp) = self.tlp else {
            return usage(
                "how far may these travel? Give --tlp clear, green, amber, amber+strict or red; --help says whom each reaches."
                    .to_owned(),
            );
        };
        match tlp {
            Tlp::Amber | Tlp::AmberStrict if self.readers.is_empty() => usage(format!(
                "{} names its readers: give --to ORG or --to-group GROUP for each that may read.",
                tlp.as_str()
            )),
            Tlp::Red if self.readers.is_empty() => {
                usage("TLP:RED names its readers: give --to-person SPIFFE-ID for each person.".to_owned())
            }
            _ => Ok(()),
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
        let readers = Readers::of(record)?;
        if let Some(label) = label
            && is_for_everyone(label)
            && !readers.is_empty()
        {
            return Err(invalid(
                "to",
                &format!(
                    "the line names readers, but {} goes to everyone; write \"tlp\":\"amber\" for these readers alone, or leave them out",
                    label.as_str()
                ),
            ));
        }
        // Whoever names a label has not read every line of the file: a line may
        // narrow it, and never widen it.
        let label = label.max(self.tlp);
        let added = caveats(&record.caveats).map_err(|problem| invalid("caveats", &problem))?;
        let mut draft = self.fill(observable(record, self.kind)?, label, readers, added)?;
        draft.labels.extend_from_slice(&record.labels);
        draft.attack_techniques.extend_from_slice(&record.techniques);
        if record.confidence.is_some() {
            draft.confidence = record.confidence.map(u32::from);
        }
        if let Some(description) = &record.description {
            draft.description.clone_from(description);
        }
        if let Some(name) = &record.role {
            draft.role =
                role(name).ok_or_else(|| invalid("role", "write victim, infrastructure, tool or sink"))?;
            // What is recommended for the others is not meant for a victim.
            if draft.role == i32::from(Role::Victim.number()) && record.action.is_none() {
                let meant = RecommendedAction::from_number(
                    u8::try_from(draft.recommended_action).unwrap_or_default(),
                );
                if Role::check(Some(Role::Victim), meant).is_err() {
                    draft.recommended_action = 0;
                }
            }
        }
        if let Some(family) = &record.family {
            draft.family.clone_from(family);
        }
        if let Some(campaign) = &record.campaign {
            draft.campaign.clone_from(campaign);
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
        check_size(&draft)?;
        Ok(draft)
    }

    fn fill(
        &self,
        observable: v1::Observable,
        tlp: Option<Tlp>,
        readers: Readers,
        caveats: v1::Caveats,
    ) -> Result<v1::IndicatorDraft, Refused> {
        let Some(tlp) = tlp else {
            return Err(Refused {
                reason: "MARKING_REQUIRED",
                problem: "how far may it travel? Give \"tlp\" on the line, or --tlp for all lines".to_owned(),
            });
        };
        // What a line names goes to the hub as it is, which refuses what
        // contradicts itself. The options may stand for a file whose lines say
        // for themselves how far they go: each takes what fits its label.
        let readers = if readers.is_empty() { self.readers.fitting(tlp) } else { readers };
        let marking = v1::Marking {
            tlp: i32::from(tlp.number()),
            organisations: readers.organisations,
            groups: readers.groups,
            principals: readers.principals,
            caveats: Some(v1::Caveats {
                watch_do_not_block: caveats.watch_do_not_block || self.caveats.watch_do_not_block,
                providers_may_read: caveats.providers_may_read
                    || (tlp == Tlp::Amber && self.caveats.providers_may_read),
                masked_source: caveats.masked_source || self.caveats.masked_source,
                no_onward_feed: caveats.no_onward_feed || self.caveats.no_onward_feed,
            }),
        };
        Ok(v1::IndicatorDraft { observable: Some(observable), marking: Some(marking), ..self.common.clone() })
    }
}

/// Refuses the one item for which the hub would refuse the whole request.
fn check_size(draft: &v1::IndicatorDraft) -> Result<(), Refused> {
    let names = draft
        .marking
        .as_ref()
        .map_or(0, |marking| marking.organisations.len() + marking.groups.len() + marking.principals.len());
    for (field, unit, found, most) in [
        ("labels", "labels", draft.labels.len(), MAX_ITEM_LABELS),
        ("techniques", "techniques", draft.attack_techniques.len(), MAX_ITEM_TECHNIQUES),
        ("to", "readers", names, MAX_ITEM_NAMES),
        ("line", "bytes in all", draft.encoded_len(), MAX_ITEM_BYTES),
    ] {
        if found > most {
            return Err(invalid(field, &format!("at most {most} {unit}; these are {found}")));
        }
    }
    Ok(())
}

/// Whether the label leaves no room for named readers.
const fn is_for_everyone(tlp: Tlp) -> bool {
    matches!(tlp, Tlp::Clear | Tlp::Green)
}

/// The moment so many days from now; at midnight, so that what is published
/// again within a day is the same.
fn after(days: u32) -> Option<Timestamp> {
    const DAY: u64 = 24 * 60 * 60;
    let today = SystemClock.now().as_seconds() / DAY;
    Timestamp::from_micros((today + u64::from(days) + 1) * DAY * 1_000_000)
}

/// Whether indicators may hold for so many days.
pub(super) const fn valid_days(days: u32) -> bool {
    matches!(days, 1..=3_650)
}

/// Caveats by their names.
pub(super) fn caveats(names: &[String]) -> Result<v1::Caveats, String> {
    let mut caveats = v1::Caveats::default();
    for name in names {
        let set = match name.replace('_', "-").as_str() {
            "watch-do-not-block" => &mut caveats.watch_do_not_block,
            "providers-may-read" => &mut caveats.providers_may_read,
            "masked-source" => &mut caveats.masked_source,
            "no-onward-feed" => &mut caveats.no_onward_feed,
            _ => {
                return Err("write watch-do-not-block, providers-may-read, masked-source or no-onward-feed"
                    .to_owned());
            }
        };
        *set = true;
    }
    Ok(caveats)
}

fn invalid(field: &str, problem: &str) -> Refused {
    Refused { reason: "FIELD_INVALID", problem: format!("{field}: {problem}") }
}

/// The observable of a line; a value that does not say its kind has the one of
/// the options.
fn observable(record: &Record, common: Option<Kind>) -> Result<v1::Observable, Refused> {
    use v1::observable::Value;
    let mut hashes = v1::FileHashes {
        md5: record.md5.clone().unwrap_or_default(),
        sha1: record.sha1.clone().unwrap_or_default(),
        sha256: record.sha256.clone().unwrap_or_default(),
        sha512: record.sha512.clone().unwrap_or_default(),
    };
    let hashed = hashes != v1::FileHashes::default();
    let kind = match &record.kind {
        Some(name) => Some(Kind::from_name(name).ok_or_else(|| {
            invalid("kind", &format!("the kinds are {}; leave it out to have it detected", Kind::names()))
        })?),
        None => common.filter(|_| record.value.is_some() && !hashed),
    };
    let value = match (&record.value, kind) {
        (None, None) if hashed => Value::File(hashes),
        (None, _) if hashed => {
            return Err(invalid("kind", "leave it out beside md5, sha1, sha256 and sha512"));
        }
        (None, _) => {
            return Err(invalid("value", "give the value, or md5, sha1, sha256 or sha512 of a file"));
        }
        (Some(value), Some(kind)) if kind.is_hash() => {
            // As `subscribe` writes it: the one that names it as value, others
            // beside.
            let field = match kind {
                Kind::Md5 => &mut hashes.md5,
                Kind::Sha1 => &mut hashes.sha1,
                Kind::Sha512 => &mut hashes.sha512,
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
        (Some(value), kind) => return Ok(wire::observable::of_text(kind, value.clone())),
    };
    Ok(v1::Observable { value: Some(value) })
}

fn action(name: &str) -> Option<i32> {
    RecommendedAction::from_name(name).map(|action| i32::from(action.number()))
}

fn role(name: &str) -> Option<i32> {
    Role::from_name(name).map(|role| i32::from(role.number()))
}

/// A moment as the public contract spells it.
pub(super) fn wire_time(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: i64::try_from(at.as_seconds()).unwrap_or(i64::MAX),
        nanos: i32::try_from(at.subsec_micros() * 1_000).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
