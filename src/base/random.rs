//! Decides where randomness comes from: the operating system's generator, by
//! way of aws-lc.

use aws_lc_rs::rand;

/// `N` random bytes.
///
/// # Panics
/// If the operating system has no randomness to give, which leaves no safe way
/// to go on.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    #[expect(clippy::expect_used, reason = "without randomness no id, key or nonce is safe")]
    rand::fill(&mut out).expect("the operating system's random generator answers");
    out
}

/// A random number over the whole range of `u64`.
#[must_use]
pub fn u64() -> u64 {
    u64::from_le_bytes(bytes())
}
