//! Decides how it is told what lists say of a value.

use crate::model::warninglist::{Finding, ListName, Outcome};
use crate::wire::proto::v1;

/// What lists say of a value that was taken.
#[must_use]
pub fn finding(found: Finding) -> v1::GuardFinding {
    let outcome = match found.outcome {
        Outcome::Held => v1::GuardOutcome::Held,
        // What is refused has no finding.
        Outcome::Informed | Outcome::Refused => v1::GuardOutcome::Informed,
    };
    v1::GuardFinding { outcome: outcome.into(), lists: found.lists.into_iter().map(list).collect() }
}

/// A list.
#[must_use]
pub fn list(name: ListName) -> v1::GuardList {
    let ListName { slug, name, version } = name;
    v1::GuardList { list: slug, title: name, version }
}
