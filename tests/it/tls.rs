//! What the listener promises about certificates and TLS, each promise shown
//! against the real listener on loopback.

mod abuse;
mod canary;
mod handshake;
mod identity;
mod ledger;
mod limits;
mod log;
mod revocation;
mod snapshot;
mod support;
