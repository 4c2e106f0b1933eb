//! Decides what may not be published whoever may read it, one module for each reason.

pub mod secrecy;
