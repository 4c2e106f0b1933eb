//! Decides pure decisions: may this role call this method; may this viewer see this record.

pub mod access;
