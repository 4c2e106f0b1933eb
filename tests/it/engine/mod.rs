//! The engine's promises, proved over a real hub on a real store, without
//! transport, against models that are too simple to be wrong.

mod amending;
mod apply;
mod audiences;
mod certificates;
mod chunks;
mod collisions;
mod conflict;
mod cursors;
mod death;
mod expiry;
mod idempotency;
mod leave;
mod leave_sides;
mod markings;
mod masked;
mod membership;
mod merging;
mod model;
mod pressure;
mod queries;
mod republishing;
mod restore;
mod sharing;
mod sight;
mod sources;
mod space;
mod state;
mod streams;
pub(crate) mod support;
mod tampering;
mod verifying;
mod wider;
