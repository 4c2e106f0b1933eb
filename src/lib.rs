//! **Lũy Tre**: a hub through which the units of a city and the ministries it
//! works with publish and subscribe to cyber-threat indicators.
//!
//! The crate is a stack of floors; a module may use only lower floors, and
//! modules of one floor never use each other (`tests/it/floors.rs` proves it):
//!
//! | floor | modules | what it is |
//! |---|---|---|
//! | 6 | [`server`], [`cli`] | assembly; commands |
//! | 5 | [`rpc`], [`admin`], [`client`], [`signer`] | faces inward; our own client outward; the process that holds the authorities' keys |
//! | 4 | [`hub`] | the engine: the only module that decides and writes |
//! | 3 | [`store`] | RocksDB, and the log |
//! | 2 | [`policy`], [`interop`], [`wire`], [`pki`] | pure decisions; foreign formats; protobuf; X.509 and TLS |
//! | 1 | [`model`] | the domain: pure, no async, no I/O, no clock |
//! | 0 | [`base`] | clock, randomness, digests, tasks, files, volumes, redaction |

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "the bans guard the hub, not its tests"))]

#[cfg(feature = "hub")]
pub mod admin;
pub mod base;
#[cfg(feature = "hub")]
pub mod cli;
pub mod client;
#[cfg(feature = "hub")]
pub mod hub;
pub mod interop;
pub mod model;
pub mod pki;
pub mod policy;
#[cfg(feature = "hub")]
pub mod rpc;
#[cfg(feature = "hub")]
pub mod server;
#[cfg(feature = "hub")]
pub mod signer;
#[cfg(feature = "hub")]
pub mod store;
pub mod wire;
