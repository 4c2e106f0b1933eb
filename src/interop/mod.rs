//! Decides foreign formats to model and back: total, bounded.

pub mod roster;
