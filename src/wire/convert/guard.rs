//! Decides how it is told what lists say of a value.

use prost::Message as _;

use crate::model::warninglist::{Finding, ListName, Outcome};
use crate::wire::proto::v1;

/// What lists say of a value that was taken; `held` is what was told of what
/// they hold back, an encoded `luytre.v1.HeldPublication`.
#[must_use]
pub fn finding(found: Finding, held: Option<&[u8]>) -> v1::GuardFinding {
    let told = held.and_then(|held| v1::HeldPublication::decode(held).ok()).unwrap_or_default();
    let approved = told.state() == v1::HeldState::Approved;
    let outcome = match found.outcome {
        Outcome::Held if approved => v1::GuardOutcome::Approved,
        Outcome::Held => v1::GuardOutcome::Held,
        // What is refused has no finding.
        Outcome::Informed | Outcome::Refused => v1::GuardOutcome::Informed,
    };
    // Who asked and who answered is not for everyone who may publish.
    let v1::HeldPublication { name: held_publication, state: held_state, deciders, .. } = told;
    let lists = found.lists.into_iter().map(list).collect();
    v1::GuardFinding { outcome: outcome.into(), lists, held_state, held_publication, deciders }
}

/// A list.
#[must_use]
pub fn list(name: ListName) -> v1::GuardList {
    let ListName { slug, name, version } = name;
    v1::GuardList { list: slug, title: name, version }
}
