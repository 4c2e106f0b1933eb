//! The engine's promises, proved over a real hub on a real store, without
//! transport, against models that are too simple to be wrong.

mod apply;
mod chunks;
mod cursors;
mod death;
mod idempotency;
mod model;
mod queries;
mod restore;
mod sharing;
mod state;
mod streams;
mod support;
mod tampering;
