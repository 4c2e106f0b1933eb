//! Decides what the audit is: one record for each call, in a Merkle log that
//! nobody can change unseen.
//!
//! * [`record`]: what is said of a call, and its canonical encoding, the leaf; [`asked`]: what was
//!   asked, as text;
//! * [`tree`]: hashes of RFC 6962, section 2.1, and the proofs of its 2.1.1 and 2.1.2;
//! * [`tile`]: the tree in tiles of 256 hashes, as C2SP `tlog-tiles` lays it out;
//! * [`note`]: what is signed, C2SP `signed-note`; [`checkpoint`]: what the hub signs, C2SP
//!   `tlog-checkpoint`;
//! * [`verify`]: whether an exported log is what a checkpoint says.

pub mod asked;
pub mod checkpoint;
pub mod note;
pub mod record;
pub mod tile;
pub mod tree;
pub mod verify;

pub use checkpoint::Checkpoint;
pub use note::{Signer, VerifierKey};
pub use record::{Group, Phase, Purpose, Record};
pub use tree::{Hash, Tree};
