//! Decides where hashes and records lie in an exported log: the paths and
//! encodings of C2SP `tlog-tiles`.

use std::fmt::Write as _;

use super::tree::{HASH_BYTES, Hash};

/// Levels of the tree in one level of tiles.
pub const HEIGHT: u32 = 8;
/// Hashes in a full tile, and records in a full bundle.
pub const WIDTH: usize = 256;
/// Name of the checkpoint beside the tiles.
pub const CHECKPOINT: &str = "checkpoint";
/// Levels that a log can have.
const LEVELS: u8 = 8;

/// The tiles of a tree of `size` leaves that are not full: level, number and
/// width, from the leaves up; none that is empty.
pub fn unfinished(size: u64) -> impl Iterator<Item = (u8, u64, usize)> {
    all_ends(size).filter(|(_, _, width)| *width > 0)
}

fn all_ends(size: u64) -> impl Iterator<Item = (u8, u64, usize)> {
    (0..LEVELS).map(move |level| {
        let hashes = size >> (HEIGHT * u32::from(level));
        (level, hashes >> HEIGHT, usize::try_from(hashes % WIDTH as u64).unwrap_or_default())
    })
}

/// Every tile of a tree of `size` leaves, level by level: level, number and
/// width.
pub fn all(size: u64) -> impl Iterator<Item = (u8, u64, usize)> {
    all_ends(size).flat_map(|(level, full, rest)| {
        let last = (rest > 0).then_some((level, full, rest));
        (0..full).map(move |index| (level, index, WIDTH)).chain(last)
    })
}

/// Every bundle of records of a tree of `size` leaves: number and width.
pub fn bundles(size: u64) -> impl Iterator<Item = (u64, usize)> {
    all(size).take_while(|(level, _, _)| *level == 0).map(|(_, index, width)| (index, width))
}

/// Path of a tile, such as `tile/0/x001/067` or `tile/1/000.p/7`.
#[must_use]
pub fn path(level: u8, index: u64, width: usize) -> String {
    format!("tile/{level}/{}", number(index, width))
}

/// Path of a bundle of records, such as `tile/entries/x001/067`.
#[must_use]
pub fn entries_path(index: u64, width: usize) -> String {
    format!("tile/entries/{}", number(index, width))
}

/// A number in groups of three digits, all but the last with an `x`.
fn number(index: u64, width: usize) -> String {
    let mut groups = vec![format!("{:03}", index % 1_000)];
    let mut rest = index / 1_000;
    while rest > 0 {
        groups.push(format!("x{:03}", rest % 1_000));
        rest /= 1_000;
    }
    groups.reverse();
    let mut text = groups.join("/");
    if width < WIDTH {
        // Writing to a string cannot fail.
        let _ = write!(text, ".p/{width}");
    }
    text
}

/// Hashes one behind the other.
#[must_use]
pub fn encode(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// The hashes in a tile; `None` if it holds no whole number of them.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
    rest.is_empty().then(|| hashes.to_vec())
}

/// Adds a record to a bundle: its length, 16 bits, big-endian, and itself. One
/// that is kept no longer has no bytes.
pub fn push_entry(bundle: &mut Vec<u8>, record: &[u8]) {
    // A record is at most 4 KiB long.
    let length = u16::try_from(record.len()).unwrap_or_default();
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(record);
}

/// The records of a bundle; `None` if it is cut off.
#[must_use]
pub fn decode_entries(mut bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while !bundle.is_empty() {
        let (length, rest) = bundle.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        bundle = rest;
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(path(0, 0, WIDTH), "tile/0/000");
        assert_eq!(path(0, 1_234_067, WIDTH), "tile/0/x001/x234/067");
        assert_eq!(path(1, 273, 112), "tile/1/273.p/112");
        assert_eq!(entries_path(273_000, 5), "tile/entries/x273/000.p/5");
    }

    #[test]
    fn a_log_has_the_tiles_that_the_specification_counts() {
        // The example of the specification: 70,000 leaves.
        let all: Vec<_> = all(70_000).collect();
        let of =
            |wanted| all.iter().filter(move |(level, _, _)| *level == wanted).copied().collect::<Vec<_>>();
        assert_eq!((of(0).len(), of(0)[273]), (274, (0, 273, 112)));
        assert_eq!(of(1), [(1, 0, 256), (1, 1, 17)]);
        assert_eq!(of(2), [(2, 0, 1)]);
        assert_eq!(of(3), []);
        assert_eq!(bundles(70_000).count(), 274);
        assert_eq!(super::all(0).count(), 0);
    }

    #[test]
    fn a_bundle_reads_back_and_one_cut_off_does_not() {
        let mut bundle = Vec::new();
        for record in [&b"one"[..], b"", b"three"] {
            push_entry(&mut bundle, record);
        }
        assert_eq!(decode_entries(&bundle).unwrap(), [&b"one"[..], b"", b"three"]);
        assert_eq!(decode_entries(&bundle[..bundle.len() - 1]), None);
    }
}
