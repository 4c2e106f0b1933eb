//! Decides how the hub's knowledge lies on disk: the log, and the state that
//! is a function of it. The only code that names RocksDB.
//!
//! * [`keys`]: the registry of key kinds, whose bytes never change;
//! * [`chunk`]: the log's values: item headers, then bodies as they travel;
//! * [`record`]: values and latest, the records that decide uniqueness;
//! * [`postings`]: from a term to the records that carry it; [`posting_blocks`]: how they are read; [`merge`]: how they stay few
//!   and large; [`term_range`]: in order of terms; [`counters`]: how many there are;
//!   [`term_names`]: what terms stand for; [`index`]: how these are written behind the log;
//! * [`sightings`]: what was reported of an indicator, beside it;
//! * [`requests`]: what was answered, for idempotent retries;
//! * [`roster`], [`subscription`]: organisations, principals, audience classes; named
//!   subscriptions and their cursors; [`roster_change`]: what changes the roster, or waits to;
//! * [`certificate`]: the ledger of certificates; [`leave`]: leave to republish; [`held`]: what waits for a second person; [`containment`]: what is held for a day; [`asset`]: what is whose own; [`lengths`]: of prefixes of networks;
//! * [`changed`]: which records changed since birth, in order;
//! * [`truncate`]: what is cut out of the log below a base; [`usage`]: what each organisation takes of it;
//! * [`audit`]: who called what, [`receipts`]: who was given what, beside all that and not replicated;
//! * [`batch`], [`db`], [`log`]: writing a commit group, opening, reading; [`tuning`] says how;
//!   [`upgrade`] makes this format of the one before; [`calls`] counts.

pub mod asset;
pub mod audit;
pub mod batch;
pub mod calls;
pub mod certificate;
pub mod changed;
pub mod checkpoint;
pub mod chunk;
pub mod containment;
pub mod counters;
pub mod db;
pub mod held;
pub mod index;
pub mod keys;
pub mod leave;
pub mod lengths;
pub mod log;
pub mod merge;
pub mod posting_blocks;
pub mod postings;
pub mod proto;
pub mod receipts;
mod reclassed;
pub mod record;
pub mod repair;
pub mod requests;
pub mod roster;
pub mod roster_change;
pub mod sightings;
pub mod subscription;
pub mod sums;
pub mod term_names;
pub mod term_range;
pub mod truncate;
pub mod tuning;
pub mod upgrade;
pub mod usage;
mod weight;

pub use batch::Batch;
pub use calls::Calls;
pub use db::{Error, Store};
pub use tuning::Tuning;
