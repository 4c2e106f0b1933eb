//! Decides foreign formats to model and back: total, bounded.
//!
//! Readers take bytes from anyone: they hold one line at a time, report what
//! is wrong by line number, and go on with the next line.

pub mod jsonl;
mod lines;
pub mod plain;
pub mod roster;

#[cfg(test)]
mod tests;

pub use lines::Error;
