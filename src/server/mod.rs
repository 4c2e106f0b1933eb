//! Decides assembly: configuration, listener, drain, telemetry.
//!
//! | module | decides |
//! |---|---|
//! | [`config`] | what an operator may say, and what holds when nothing is said |
//! | [`mod@check`] | what keeps a hub from starting with a configuration |
//! | [`telemetry`] | how events are logged |
//! | [`metrics`] | what is counted and where it is read |
//! | [`tls`] | which certificates are in force |
//! | [`settings`] | which lines of the configuration a running hub takes up |
//! | [`keeper`] | what the machine's operator is told of them |
//! | [`listener`] | how connections are taken and served, within its [`limits`] |
//! | [`connections`] | which connections may exist |
//! | [`handshake`] | which of them are let in |
//! | [`sever`] | how one ends that the hub ends |
//! | [`signals`] | what signals mean |
//! | [`probe`] | how a running hub is asked whether it is ready |
//!
//! [`Assembly`] and [`serve`] put them together, and take them down again.

mod calendar;
pub mod check;
pub mod config;
pub mod connections;
mod custody;
mod enrolment;
mod error;
mod expiry;
pub mod handshake;
mod health;
pub mod keeper;
pub mod limits;
pub mod listener;
pub mod metrics;
pub mod probe;
mod process;
mod ready;
mod retention;
mod run;
pub mod settings;
pub mod sever;
pub mod signals;
mod switchboard;
pub mod telemetry;
pub mod tls;

pub use error::Error;
pub use ready::Ready;
pub use run::{Assembly, Sockets, serve};
