//! Decides how whole values and names are found: by a keyed digest of 64 bits,
//! for lists have millions of them. Two values of one digest are told apart by
//! nothing: with ten million entries that is one look in a million million, and
//! nobody can seek such a value without the key.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState};

use super::ListNo;
use super::forms::Key;

/// Digests, and the set of lists that each is on.
#[derive(Default)]
pub(super) struct Table {
    keyed: RandomState,
    sets: Vec<Vec<ListNo>>,
    numbers: HashMap<Vec<ListNo>, u32>,
    digests: HashMap<u64, u32, BuildHasherDefault<AsItIs>>,
}

/// What is a digest already is not hashed again.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
    }

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
}

impl Table {
    fn digest(&self, key: &Key<'_>) -> u64 {
        let mut hasher = self.keyed.build_hasher();
        key.write(&mut hasher);
        hasher.finish()
    }

    /// Puts a key on a list.
    pub(super) fn add(&mut self, key: &Key<'_>, list: ListNo) {
        let digest = self.digest(key);
        let before = self.digests.get(&digest).and_then(|set| self.sets.get(*set as usize));
        let mut set = before.cloned().unwrap_or_default();
        if set.contains(&list) {
            return;
        }
        set.push(list);
        let number = match self.numbers.get(&set) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.sets.len()).unwrap_or(u32::MAX);
                self.sets.push(set.clone());
                self.numbers.insert(set, number);
                number
            }
        };
        self.digests.insert(digest, number);
    }

    /// The lists that a key is on.
    pub(super) fn get(&self, key: &Key<'_>) -> &[ListNo] {
        let set = self.digests.get(&self.digest(key)).and_then(|set| self.sets.get(*set as usize));
        set.map(Vec::as_slice).unwrap_or_default()
    }
}
