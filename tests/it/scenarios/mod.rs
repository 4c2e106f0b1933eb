//! Scenarios of the city, told from end to end: the real server on a real
//! store, every agency over mutual TLS with its own certificate, and the
//! calendar of the story. The events are invented, the values are from ranges
//! for documentation; real organisations appear as roles only.

use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use v1::EventKind;

use crate::harness::told::Event;
use crate::harness::{Builder, Served, Witness, draft};

mod s10;
mod s2;
mod s5;
mod s7;
mod s8;

/// The system of each organisation.
const SYSTEM: &str = "system/soc";
/// What it may do.
const ROLES: [Role; 3] = [Role::Publisher, Role::Subscriber, Role::Analyst];

/// These organisations with one system each.
fn with_systems(builder: Builder, organisations: &[&str]) -> Builder {
    organisations.iter().fold(builder, |builder, slug| builder.principal(slug, SYSTEM, &ROLES))
}

/// The system of an organisation.
fn system(hub: &Served, organisation: &str) -> Witness {
    person(hub, organisation, SYSTEM)
}

/// Somebody of an organisation.
fn person(hub: &Served, organisation: &str, name: &str) -> Witness {
    Witness::new(&hub.peer(organisation, name))
}

/// What `text` asserts, to these organisations and not to their clients.
fn strict(text: &str, organisations: &[&str]) -> v1::IndicatorDraft {
    let mut draft = crate::harness::amber(draft(text), organisations);
    draft.marking.as_mut().unwrap().set_tlp(v1::Tlp::AmberStrict);
    draft
}

/// What `text` asserts, to these persons.
fn red(text: &str, persons: &[&str]) -> v1::IndicatorDraft {
    let marking = v1::Marking {
        tlp: v1::Tlp::Red.into(),
        principals: persons.iter().map(|&person| person.to_owned()).collect(),
        ..v1::Marking::default()
    };
    v1::IndicatorDraft { marking: Some(marking), ..draft(text) }
}

/// Kind and indicator of each event that tells of one.
fn told(events: &[Event]) -> Vec<(EventKind, String)> {
    let of = |event: &Event| {
        let name = event.indicator.as_ref()?.name.clone();
        Some((EventKind::try_from(event.kind).unwrap(), name))
    };
    events.iter().filter_map(of).collect()
}

/// New, each of them.
fn new(names: &[&String]) -> Vec<(EventKind, String)> {
    names.iter().map(|&name| (EventKind::New, name.clone())).collect()
}
