//! The promises of the hub, tested from outside: one file per promise, the
//! real binaries, real certificates, real disks and broken ones.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_lossless,
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "in a test a panic is the report, and the bans guard the hub"
)]

mod assets;
mod attack;
mod audit;
mod authz_matrix;
mod backup_encrypted;
mod cert_agent;
mod certificates;
mod check_config;
mod client;
mod commands;
mod crash;
mod custody;
mod ended;
mod engine;
mod enrolment;
mod expiry;
mod export;
mod faults;
mod floors;
mod guards;
mod guards_data;
mod harness;
mod held;
mod hidden;
mod hidden_plans;
mod hidden_wire;
mod history_prompt;
mod intake;
mod issuance;
mod kinds;
mod leave;
mod lifecycle;
mod lookup;
mod masked;
mod operating;
mod proto_contract;
mod quick_start;
mod receipts;
mod reload;
mod resume;
mod retention;
mod revoking;
mod roster;
mod rotation;
mod scenarios;
mod secrets;
mod sharing;
mod shim;
mod signer;
mod slow_reader;
mod state;
mod state_secrets;
mod streams;
mod sync;
mod tail_publish;
mod tls;
