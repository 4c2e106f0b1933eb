//! Promises that hold across modules, in one binary because linking is slow.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that fails should say where, and helpers here are not covered by the keys in clippy.toml"
)]
#![allow(unreachable_pub, missing_debug_implementations, reason = "nothing outside this binary uses it")]

mod tls;
