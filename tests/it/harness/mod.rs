//! What tests share.
pub(crate) mod disk;
pub(crate) mod seed;
pub(crate) use self::{disk::Disk, seed::Seed};
