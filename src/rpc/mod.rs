//! Decides the gRPC face: unpack, convert, call, wrap.

mod call;
pub mod certificate;
mod directory;
mod exchange;
mod face;
mod layers;
mod lookup;
mod page;
mod republication;
mod roster;
pub mod status;
mod subscribe;
mod subscription;
#[cfg(test)]
mod tests;

pub use face::{Face, MAX_MESSAGE_BYTES};
pub use layers::metrics::Metrics;
