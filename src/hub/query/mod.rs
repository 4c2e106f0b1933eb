//! Decides how a question about what the hub knows is answered: from which
//! index, in which order, and which version of each record at which moment.
//!
//! Every walk is as of an *origin*, the newest position that it may know of.
//! The version of a record that stands there is the newest one at or before
//! it; all versions are kept, so that what a walk shows does not move while it
//! is gone through page by page, in whatever order, and nothing is pinned.
//! Postings name versions, and those of an old one stay: a candidate counts if
//! it stands at the origin.
//!
//! * [`plan`] chooses among [`source`]s: [`lists`] of postings, walked as [`stream`]s, the log,
//!   [`value`]s, records that were [`sighted_by`] somebody; and [`ways`] how they are come by,
//!   first and, if that meets little, [`later`];
//! * [`walk`] holds each candidate against what is [`standing`], what is in [`sight`], and what
//!   was asked, which [`check`] and [`sighted`] know;
//! * [`chunks`] reads what lies in the log; [`order`] says what comes first;
//! * [`places`] keeps one organisation from asking all at once.

use crate::model::query::{IndicatorFilter, Question};

mod among;
mod beside;
mod check;
mod chunks;
mod held;
mod later;
mod lists;
mod order;
mod places;
mod plan;
mod ranges;
mod record;
mod said;
mod sieve;
mod sight;
mod sighted;
mod sighted_by;
mod source;
mod standing;
mod stream;
#[cfg(test)]
mod tests;
mod value;
mod walk;
mod ways;

pub use later::AT_ONCE as GATHERING;
pub use places::Questions;
pub(super) use places::Turn;
pub use plan::Step;
pub use standing::stood;
pub use walk::{Past, Place, Row, Walk};

/// Whether a question is answered by what is indexed behind the log, or by a
/// way that is chosen by what is counted there: all but the plain list are.
#[must_use]
pub fn asks_index(question: &Question) -> bool {
    question.explain
        || order::dimension(question.order).is_some()
        || question.filter != IndicatorFilter::default()
}
