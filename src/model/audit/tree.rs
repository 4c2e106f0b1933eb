//! Decides the hashes of the log: the Merkle tree of RFC 6962, section 2.1,
//! kept in tiles, and the proofs that one record is in it and that one tree
//! goes on from another.

use crate::base::digest::Sha256;

use super::tile::{self, HEIGHT, WIDTH};

/// Bytes of a hash.
pub const HASH_BYTES: usize = 32;
/// A hash of the tree: SHA-256.
pub type Hash = [u8; HASH_BYTES];

/// The hash of a leaf: SHA-256(0x00 || data).
#[must_use]
pub fn leaf(data: &[u8]) -> Hash {
    let mut hash = Sha256::default();
    hash.update(&[0]);
    hash.update(data);
    hash.finish()
}

/// The hash of an inner node: SHA-256(0x01 || left || right).
#[must_use]
pub fn node(left: &Hash, right: &Hash) -> Hash {
    let mut joined = [1; 1 + 2 * HASH_BYTES];
    let (_, rest) = joined.split_at_mut(1);
    let (to_left, to_right) = rest.split_at_mut(HASH_BYTES);
    to_left.copy_from_slice(left);
    to_right.copy_from_slice(right);
    crate::base::digest::sha256(&joined)
}

/// The root of the empty tree: SHA-256 of nothing.
#[must_use]
pub fn empty() -> Hash {
    crate::base::digest::sha256(&[])
}

/// The root over `hashes`, which are roots of whole subtrees of one size.
#[must_use]
pub fn root_over(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => empty(),
        [one] => *one,
        more => {
            let (left, right) = more.split_at(split(more.len() as u64));
            node(&root_over(left), &root_over(right))
        }
    }
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: u64) -> usize {
    let split = 1_u64 << (63 - (count.max(2) - 1).leading_zeros());
    usize::try_from(split).unwrap_or(usize::MAX)
}

/// A tile that has become full, or one above the leaves that has grown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    /// Level of the tile, 0 at the leaves.
    pub level: u8,
    /// Its number in the level.
    pub index: u64,
    /// Its hashes so far.
    pub hashes: Vec<Hash>,
}

/// A tree that grows at its right end; holds its unfinished tiles only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    size: u64,
    /// The unfinished tile of each level, from the leaves up.
    edge: Vec<Vec<Hash>>,
}

impl Tree {
    /// A tree of `size` leaves, whose unfinished tiles `tile` gives by level,
    /// number and width; `None` if it does not have one.
    pub fn resume<E>(
        size: u64,
        mut tile: impl FnMut(u8, u64, usize) -> Result<Vec<Hash>, E>,
    ) -> Result<Self, E> {
        let mut edge = Vec::new();
        for (level, index, width) in tile::unfinished(size) {
            while edge.len() < usize::from(level) {
                edge.push(Vec::new());
            }
            edge.push(tile(level, index, width)?);
        }
        Ok(Self { size, edge })
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the unfinished tile of a level.
    #[must_use]
    pub fn unfinished(&self, level: u8) -> &[Hash] {
        self.edge.get(usize::from(level)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Adds a leaf by its hash. What has become full, and what has grown above
    /// it, goes to `grown`.
    pub fn push(&mut self, leaf: Hash, grown: &mut Vec<Grown>) {
        let (mut hash, mut level) = (leaf, 0_u8);
        let mut index = self.size >> HEIGHT;
        self.size += 1;
        loop {
            let place = usize::from(level);
            if self.edge.len() <= place {
                self.edge.push(Vec::with_capacity(WIDTH));
            }
            let Some(edge) = self.edge.get_mut(place) else { return };
            edge.push(hash);
            if edge.len() < WIDTH {
                if level > 0 {
                    grown.push(Grown { level, index, hashes: edge.clone() });
                }
                return;
            }
            let full = std::mem::take(edge);
            hash = root_over(&full);
            grown.push(Grown { level, index, hashes: full });
            level += 1;
            index >>= HEIGHT;
        }
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut root: Option<Hash> = None;
        for edge in &self.edge {
            let mut rest = edge.as_slice();
            let mut whole = Vec::new();
            while !rest.is_empty() {
                let (left, right) = rest.split_at(1 << rest.len().ilog2());
                whole.push(root_over(left));
                rest = right;
            }
            for left in whole.iter().rev() {
                root = Some(root.map_or(*left, |right| node(left, &right)));
            }
        }
        root.unwrap_or_else(empty)
    }
}

/// Where hashes of a tree are read from.
pub trait Hashes {
    /// Why a hash cannot be read.
    type Error;

    /// The first `width` hashes of a tile.
    ///
    /// # Errors
    /// It is not there, or shorter.
    fn tile(&self, level: u8, index: u64, width: usize) -> Result<Vec<Hash>, Self::Error>;
}

/// The root of the first `size` leaves.
///
/// # Errors
/// A tile cannot be read.
pub fn root<H: Hashes>(hashes: &H, size: u64) -> Result<Hash, H::Error> {
    range(hashes, 0, size)
}

/// That leaf `index` is in the tree of the first `size` leaves: hashes from the
/// leaf up (RFC 6962, section 2.1.1). `index` is below `size`.
///
/// # Errors
/// A tile cannot be read.
pub fn inclusion<H: Hashes>(hashes: &H, index: u64, size: u64) -> Result<Vec<Hash>, H::Error> {
    let (mut from, mut to, mut path) = (0, size, Vec::new());
    while to - from > 1 {
        let middle = from + split(to - from) as u64;
        if index < middle {
            path.push(range(hashes, middle, to)?);
            to = middle;
        } else {
            path.push(range(hashes, from, middle)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// That the tree of `new` leaves begins with that of `old` (RFC 6962, section
/// 2.1.2); empty where they are one, or the old one is empty.
///
/// # Errors
/// A tile cannot be read.
pub fn consistency<H: Hashes>(hashes: &H, old: u64, new: u64) -> Result<Vec<Hash>, H::Error> {
    if old == 0 || old >= new {
        return Ok(Vec::new());
    }
    let (mut from, mut to, mut whole, mut path) = (0, new, true, Vec::new());
    while old != to {
        let middle = from + split(to - from) as u64;
        if old <= middle {
            path.push(range(hashes, middle, to)?);
            to = middle;
        } else {
            path.push(range(hashes, from, middle)?);
            from = middle;
            whole = false;
        }
    }
    if !whole {
        path.push(range(hashes, from, to)?);
    }
    path.reverse();
    Ok(path)
}

/// The hash over the leaves from `from` to before `to`; a range that a split of
/// the tree makes, so `from` is a multiple of the size of its first subtree.
fn range<H: Hashes>(hashes: &H, mut from: u64, to: u64) -> Result<Hash, H::Error> {
    let mut whole = Vec::new();
    while from < to {
        // The largest whole subtree that begins here and ends before `to`.
        let fits = 63 - (to - from).leading_zeros();
        let rank = fits.min(from.trailing_zeros());
        whole.push(subtree(hashes, rank, from >> rank)?);
        from += 1 << rank;
    }
    let mut whole = whole.into_iter().rev();
    let Some(last) = whole.next() else { return Ok(empty()) };
    Ok(whole.fold(last, |right, left| node(&left, &right)))
}

/// The hash of the whole subtree of 2^`rank` leaves that is number `index`.
fn subtree<H: Hashes>(hashes: &H, rank: u32, index: u64) -> Result<Hash, H::Error> {
    let (level, within) = (rank / HEIGHT, rank % HEIGHT);
    let count = 1_u64 << within;
    let first = index << within;
    let (tile, place) = (first >> HEIGHT, first % WIDTH as u64);
    let width = usize::try_from(place + count).unwrap_or(WIDTH);
    let found = hashes.tile(u8::try_from(level).unwrap_or(u8::MAX), tile, width)?;
    let place = usize::try_from(place).unwrap_or(WIDTH);
    Ok(root_over(found.get(place..width).unwrap_or_default()))
}

/// The root that a leaf and its path lead to; `None` if the path cannot be one
/// of a tree of that size (RFC 9162, section 2.1.3.2).
#[must_use]
pub fn root_of_inclusion(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut first, mut last, mut hash) = (index, size - 1, leaf);
    for next in path {
        if last == 0 {
            return None;
        }
        if first & 1 == 1 || first == last {
            hash = node(next, &hash);
            while first & 1 == 0 && first != 0 {
                first >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, next);
        }
        first >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

/// Whether `path` shows that a tree of `new` leaves and this root begins with
/// one of `old` leaves and that root (RFC 9162, section 2.1.4.2).
#[must_use]
pub fn is_consistent(old: (u64, Hash), new: (u64, Hash), path: &[Hash]) -> bool {
    let ((old, old_root), (new, new_root)) = (old, new);
    if old > new {
        return false;
    }
    if old == new {
        return path.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return path.is_empty() && old_root == empty();
    }
    let (mut first, mut last) = (old - 1, new - 1);
    while first & 1 == 1 {
        first >>= 1;
        last >>= 1;
    }
    let mut path = path.iter();
    let seed = if old.is_power_of_two() { Some(&old_root) } else { path.next() };
    let Some(&seed) = seed else { return false };
    let (mut from_old, mut from_new) = (seed, seed);
    for next in path {
        if last == 0 {
            return false;
        }
        if first & 1 == 1 || first == last {
            from_old = node(next, &from_old);
            from_new = node(next, &from_new);
            while first & 1 == 0 && first != 0 {
                first >>= 1;
                last >>= 1;
            }
        } else {
            from_new = node(&from_new, next);
        }
        first >>= 1;
        last >>= 1;
    }
    last == 0 && from_old == old_root && from_new == new_root
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn place(number: u64) -> usize {
        usize::try_from(number).unwrap()
    }

    /// All tiles of a tree in memory.
    #[derive(Default)]
    struct Kept {
        tiles: BTreeMap<(u8, u64), Vec<Hash>>,
        leaves: Vec<Hash>,
        tree: Tree,
    }

    impl Kept {
        fn of(size: u64) -> Self {
            let mut kept = Self::default();
            for number in 0..size {
                let hash = leaf(&number.to_be_bytes());
                let mut grown = Vec::new();
                kept.tree.push(hash, &mut grown);
                kept.leaves.push(hash);
                kept.tiles.extend(grown.into_iter().map(|tile| ((tile.level, tile.index), tile.hashes)));
            }
            kept
        }
    }

    impl Hashes for Kept {
        type Error = Infallible;

        fn tile(&self, level: u8, index: u64, width: usize) -> Result<Vec<Hash>, Infallible> {
            let known = self.tiles.get(&(level, index)).cloned();
            let known = known.filter(|known| known.len() >= width).unwrap_or_else(|| {
                assert_eq!(level, 0, "tiles above the leaves are kept as they grow");
                let from = place(index) * WIDTH;
                self.leaves[from..from + width].to_vec()
            });
            Ok(known[..width].to_vec())
        }
    }

    #[test]
    fn hashes_are_those_of_the_rfcs_own_test_vectors() {
        // Of certificate-transparency-go, merkletree: the reference tree of eight leaves.
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Tree::default();
        assert_eq!(
            crate::base::digest::hex(&tree.root()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for (data, root) in leaves.into_iter().zip(roots) {
            tree.push(leaf(data), &mut Vec::new());
            assert_eq!(crate::base::digest::hex(&tree.root()), root, "of {} leaves", tree.size());
        }
    }

    #[test]
    fn a_tree_goes_on_from_its_unfinished_tiles() {
        for size in [0, 1, 255, 256, 257, 511, 512, 1_000, 65_535, 65_536, 65_537, 66_000] {
            let kept = Kept::of(size);
            let resumed = Tree::resume(size, |level, index, width| kept.tile(level, index, width)).unwrap();
            assert_eq!(resumed.size(), size);
            let (mut one, mut other) = (kept.tree.clone(), resumed);
            for number in 0..300_u64 {
                assert_eq!(one.root(), other.root(), "{size} and {number}");
                one.push(leaf(&number.to_be_bytes()), &mut Vec::new());
                other.push(leaf(&number.to_be_bytes()), &mut Vec::new());
            }
        }
    }

    #[test]
    fn every_proof_of_small_trees_holds_and_of_no_other_leaf_or_tree() {
        let kept = Kept::of(40);
        let root_at = |size| root_over(&kept.leaves[..place(size)]);
        for size in 1..=40 {
            assert_eq!(root(&kept, size).unwrap(), root_at(size));
            for index in 0..size {
                let path = inclusion(&kept, index, size).unwrap();
                let leads = |leaf, at| root_of_inclusion(leaf, at, size, &path);
                assert_eq!(leads(kept.leaves[place(index)], index), Some(root_at(size)));
                assert_ne!(leads(leaf(b"other"), index), Some(root_at(size)));
                for other in (0..size + 1).filter(|other| *other != index) {
                    assert_ne!(leads(kept.leaves[place(index)], other), Some(root_at(size)));
                }
            }
            for old in 0..=size {
                let path = consistency(&kept, old, size).unwrap();
                let before = if old == 0 { empty() } else { root_at(old) };
                assert!(is_consistent((old, before), (size, root_at(size)), &path), "{old} {size}");
                assert!(!is_consistent((old, leaf(b"other")), (size, root_at(size)), &path));
                if old > 0 && old < size {
                    assert!(!is_consistent((old, before), (size, leaf(b"other")), &path));
                    assert!(!is_consistent((old, before), (size, root_at(size)), &path[1..]));
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn proofs_of_larger_trees_hold(size in 1..3_000_u64, part in 0..1_000_u64) {
            let kept = Kept::of(size);
            let index = size * part / 1_000;
            let whole = root_over(&kept.leaves);
            prop_assert_eq!(kept.tree.root(), whole);
            let path = inclusion(&kept, index, size).unwrap();
            prop_assert_eq!(root_of_inclusion(kept.leaves[place(index)], index, size, &path), Some(whole));
            let before = root(&kept, index).unwrap();
            let path = consistency(&kept, index, size).unwrap();
            prop_assert!(is_consistent((index, before), (size, whole), &path));
        }
    }
}
