//! Decides what may not be published whoever may read it, or not at once, one module for each reason.

pub mod lists;
pub mod secrecy;
