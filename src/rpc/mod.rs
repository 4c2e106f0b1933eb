//! Decides the gRPC face: unpack, convert, call, wrap.

mod asset;
mod audit;
mod call;
mod certificate;
mod directory;
pub mod enrolment;
mod exchange;
mod face;
mod held;
mod history;
mod layers;
mod listing;
mod lookup;
mod page;
mod receipt;
mod republication;
mod roster;
pub mod status;
mod subscribe;
mod subscription;
#[cfg(test)]
mod tests;

pub use certificate::Certificates;
pub use face::{Face, MAX_MESSAGE_BYTES};
pub use layers::metrics::Metrics;
