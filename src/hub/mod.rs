//! Decides the engine: the only module that decides and writes.

pub mod caller;
pub mod error;

pub use caller::{Caller, PeerCertificate};
