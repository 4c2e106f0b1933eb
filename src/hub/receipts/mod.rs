//! Decides what is kept of who was given what: [`stream`] gathers what a stream
//! delivers, [`journal`] holds what waits for a commit, [`book`] lays it down,
//! [`trace`] finds again who received a record, [`recipients`] says who may
//! ask, and [`cut`] keeps none for longer than it is to be kept.
//!
//! Receipts are beside the log: neither verified nor replicated. What is not
//! written when the hub dies is what was handed over in its last moments, at
//! most [`journal::DELAY`] and the commit under way.

pub mod book;
pub mod cut;
pub mod journal;
pub mod recipients;
pub mod stream;
mod trace;

use std::time::Duration;

pub use journal::Receipts;
pub use recipients::{Holder, Recall, Received, Recipient, RecipientPage};

/// How long receipts are kept unless it is said otherwise: as long as the audit.
pub const KEEP: Duration = Duration::from_secs(17_544 * 3_600);
