//! Decides nothing: holds what both benchmarks use.

#![allow(dead_code, reason = "each benchmark takes of this what it needs")]

pub mod load;
pub mod process;
pub mod seeded;
pub mod table;
pub mod wire;
