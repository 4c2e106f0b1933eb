//! Decides foreign formats to model and back: total, bounded.
//!
//! Readers take bytes from anyone: they hold one line at a time, report what
//! is wrong by line number, and go on with the next line.

mod adblock;
pub mod assets;
pub mod blocklist;
mod encoding;
pub mod export;
mod found;
mod guess;
mod hosts;
mod items;
pub mod jsonl;
mod lines;
mod maltrail;
pub mod plain;
mod prose;
pub mod roster;
pub mod row;
mod stamp;
mod table;
mod unpack;
mod value;
pub mod warninglist;

#[cfg(test)]
mod tests;

pub use encoding::Encoding;
pub use found::{Found, Reason, Reject, What};
pub use items::{Format, Items, Options};
pub use lines::Error;
pub use table::{Field, Mapping};
