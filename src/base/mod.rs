//! Decides nothing about the domain: clock, randomness, digests, tasks, files,
//! sockets, volumes and redaction, through which every effect enters.

pub mod clock;
pub mod digest;
pub mod files;
pub mod random;
#[cfg(feature = "hub")]
pub mod scratch;
pub mod secret;
pub mod sheets;
#[cfg(feature = "hub")]
pub mod socket;
pub mod steady;
pub mod tasks;
pub mod volume;
