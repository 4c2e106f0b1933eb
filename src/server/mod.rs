//! Decides assembly: configuration, listener, drain, telemetry.

pub mod connections;
pub mod handshake;
pub mod listener;
pub mod sever;
