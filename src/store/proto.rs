//! The generated types of `proto/luytre/storage/v1`: records on disk.

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated; the comments of the proto file are its documentation"
)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/luytre.storage.v1.rs"));
}

pub use generated::*;
