//! Decides how content is digested: SHA-256 (FIPS 180-4) everywhere.

use std::fmt;

use aws_lc_rs::{digest, hmac};

/// SHA-256 of `data`.
#[must_use]
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    out
}

/// The first eight bytes of the SHA-256 of `data`, as a big-endian number.
#[must_use]
pub fn sha256_u64(data: &[u8]) -> u64 {
    let full = sha256(data);
    let mut first = [0; 8];
    first.copy_from_slice(full.split_at(8).0);
    u64::from_be_bytes(first)
}

/// A running SHA-256.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256")
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl Sha256 {
    /// Adds `data`.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The digest of all that was added.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        out
    }
}

/// HMAC-SHA256 (RFC 2104) under one key: says whether two contents are the
/// same to whoever has the key, and nothing to anybody else.
pub struct Keyed(hmac::Key);

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyed")
    }
}

impl Keyed {
    /// Under a key that `key` gives for this purpose alone.
    #[must_use]
    pub fn new(key: &[u8], purpose: &str) -> Self {
        let of_purpose = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), purpose.as_bytes());
        Self(hmac::Key::new(hmac::HMAC_SHA256, of_purpose.as_ref()))
    }

    /// The digest of these parts, each with its length.
    #[must_use]
    pub fn of<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
        let mut signing = hmac::Context::with_key(&self.0);
        for part in parts {
            signing.update(&(part.len() as u64).to_be_bytes());
            signing.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(signing.sign().as_ref());
        out
    }
}

/// Lower-case hexadecimal of `data`.
#[must_use]
pub fn hex(data: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    data.iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| DIGITS.get(usize::from(digit)).map(|&d| char::from(d)))
        .collect()
}

/// A digest of many records that does not depend on their order: the sum
/// modulo 2^256 of the SHA-256 of each. What was added can be taken out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Multiset([u64; 4]);

impl Multiset {
    /// Adds a record.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        self.merge(key, value, u64::overflowing_add);
    }

    /// Takes a record out.
    pub fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.merge(key, value, u64::overflowing_sub);
    }

    fn merge(&mut self, key: &[u8], value: &[u8], step: fn(u64, u64) -> (u64, bool)) {
        let mut hash = Sha256::default();
        hash.update(&(key.len() as u64).to_be_bytes());
        hash.update(key);
        hash.update(value);
        let mut carry = false;
        for (word, part) in self.0.iter_mut().zip(hash.finish().as_chunks::<8>().0) {
            let (stepped, over) = step(*word, u64::from_le_bytes(*part));
            let (stepped, over_again) = step(stepped, u64::from(carry));
            *word = stepped;
            carry = over || over_again;
        }
    }

    /// As it is stored, 32 bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut out = [0; 32];
        for (place, word) in out.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *place = word.to_le_bytes();
        }
        out
    }

    /// From what is stored.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut out = [0; 4];
        for (word, place) in out.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*place);
        }
        Self(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyed_digest_depends_on_its_key_its_purpose_and_each_part() {
        let keyed = |key: &[u8], purpose, parts: &[&[u8]]| Keyed::new(key, purpose).of(parts.iter().copied());
        let one = keyed(b"k", "p", &[b"a", b"b"]);
        assert_eq!(keyed(b"k", "p", &[b"a", b"b"]), one);
        for other in [
            keyed(b"l", "p", &[b"a", b"b"]),
            keyed(b"k", "q", &[b"a", b"b"]),
            keyed(b"k", "p", &[b"ab"]),
            keyed(b"k", "p", &[b"ab", b""]),
        ] {
            assert_ne!(other, one);
        }
    }

    #[test]
    fn a_multiset_forgets_what_is_taken_out_whatever_the_order() {
        let mut all = Multiset::default();
        for n in 0..100_u8 {
            all.add(&[n], b"value");
        }
        let mut some = Multiset::default();
        some.add(&[7], b"value");
        for n in (0..100).rev().filter(|n| *n != 7) {
            all.remove(&[n], b"value");
        }
        assert_eq!(all, some);
        assert_eq!(Multiset::from_bytes(&some.to_bytes()), some);
        some.remove(&[7], b"value");
        assert_eq!(some, Multiset::default());
    }
}
