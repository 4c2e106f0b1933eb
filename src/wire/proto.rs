//! The generated types of `proto/luytre/v1`, the public contract. Inside the
//! hub only [`super::convert`] and the faces name them.

/// Package `luytre.v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::large_futures,
    clippy::use_self,
    reason = "generated; the comments of the proto files are its documentation"
)]
pub mod v1 {
    tonic::include_proto!("luytre.v1");
}

/// The encoded `FileDescriptorSet` of `luytre.v1` and what it imports.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/luytre_v1.binpb"));
