//! The engine's promises, proved over a real hub on a real store, without
//! transport, against models that are too simple to be wrong.

mod apply;
mod chunks;
mod conflict;
mod cursors;
mod death;
mod idempotency;
mod masked;
mod merging;
mod model;
mod pressure;
mod queries;
mod restore;
mod sharing;
mod space;
mod streams;
mod support;
mod tampering;
mod verifying;
