//! What the verification of an exported log finds out.

use std::collections::BTreeMap;

use super::*;
use crate::base::clock::Timestamp;
use crate::base::secret::Secret;
use crate::model::audit::checkpoint;
use crate::model::audit::note::Signer;
use crate::model::audit::record::tests::numbered;

const SIZE: u64 = 1_000;

fn place(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

/// An exported log in memory.
#[derive(Clone, Default)]
struct Exported {
    files: BTreeMap<String, Vec<u8>>,
}

impl Files for Exported {
    fn read(&self, path: &str) -> std::io::Result<Option<Vec<u8>>> {
        Ok(self.files.get(path).cloned())
    }
}

fn signer(epoch: u16) -> Signer {
    Signer::new(&checkpoint::origin("hub.example", epoch), &Secret::new(vec![7; 32])).unwrap()
}

fn records(size: u64) -> Vec<Vec<u8>> {
    (0..size).map(|number| numbered(number).encode()).collect()
}

/// Lays `kept` out as an export does; what is empty in it is cut, and leaves
/// are those of `whole`.
fn lay_out(kept: &[Vec<u8>], whole: &[Vec<u8>], epoch: u16) -> (Exported, String) {
    let (mut tree, mut grown) = (Tree::default(), Vec::new());
    let mut files = BTreeMap::new();
    let leaves: Vec<_> = whole.iter().map(|record| leaf(record)).collect();
    leaves.iter().for_each(|leaf| tree.push(*leaf, &mut grown));
    let size = leaves.len() as u64;
    for (index, width) in tile::bundles(size) {
        let from = place(index) * WIDTH;
        let mut bundle = Vec::new();
        kept[from..from + width].iter().for_each(|record| tile::push_entry(&mut bundle, record));
        files.insert(tile::entries_path(index, width), bundle);
        files.insert(tile::path(0, index, width), tile::encode(&leaves[from..from + width]));
    }
    for Grown { level, index, hashes } in grown.into_iter().filter(|tile| tile.level > 0) {
        files.insert(tile::path(level, index, hashes.len()), tile::encode(&hashes));
    }
    let origin = checkpoint::origin("hub.example", epoch);
    let note = Checkpoint { origin, size, root: tree.root() }.sign(&signer(epoch));
    files.insert(tile::CHECKPOINT.to_owned(), note.clone().into_bytes());
    (Exported { files }, note)
}

fn whole(size: u64) -> (Exported, String) {
    lay_out(&records(size), &records(size), 1)
}

fn told(log: &Exported, seen: &[&str]) -> Result<Verified, Problem> {
    let seen: Vec<_> = seen.iter().map(|note| ("an old checkpoint", *note)).collect();
    verify(log, signer(1).verifier(), &seen)
}

#[test]
fn a_log_of_any_size_verifies_against_every_checkpoint_before() {
    for size in [0, 1, 2, 255, 256, 257, SIZE, 65_537] {
        let (log, note) = whole(size);
        let before = whole(size / 2).1;
        let verified = told(&log, &[&before, &note, &whole(0).1]).unwrap();
        assert_eq!((verified.checkpoint.size, verified.cut, verified.lost), (size, 0, None));
    }
}

#[test]
fn a_changed_record_is_found_with_its_number() {
    let (log, _) = whole(SIZE);
    let mut changed = records(SIZE);
    changed[700] = numbered(7_000).encode();
    let (mut other, _) = lay_out(&changed, &records(SIZE), 1);
    assert!(matches!(told(&other, &[]), Err(Problem::Changed(700))));
    // The hash beside it changed as well.
    other = lay_out(&changed, &changed, 1).0;
    other.files.insert(tile::CHECKPOINT.into(), log.files[tile::CHECKPOINT].clone());
    assert!(matches!(told(&other, &[]), Err(Problem::Root(SIZE))));
    other.files.insert(tile::path(1, 0, 3), log.files[&tile::path(1, 0, 3)].clone());
    assert!(matches!(told(&other, &[]), Err(Problem::Tile(_))));
}

#[test]
fn a_changed_tile_is_found() {
    let (log, _) = whole(SIZE);
    let above = tile::path(1, 0, 3);
    let mut other = log.clone();
    other.files.get_mut(&above).unwrap()[40] ^= 1;
    assert!(matches!(told(&other, &[]), Err(Problem::Tile(path)) if path == above));
    let mut other = log;
    other.files.get_mut(&tile::path(0, 1, WIDTH)).unwrap()[40] ^= 1;
    assert!(matches!(told(&other, &[]), Err(Problem::Changed(257))));
}

#[test]
fn a_removed_record_is_found() {
    let mut fewer = records(SIZE);
    fewer.remove(300);
    fewer.push(Vec::new());
    let (log, _) = lay_out(&fewer, &records(SIZE), 1);
    assert!(matches!(told(&log, &[]), Err(Problem::Changed(300))));
    let mut blank = records(SIZE);
    blank[300].clear();
    let (log, _) = lay_out(&blank, &records(SIZE), 1);
    assert!(matches!(told(&log, &[]), Err(Problem::Uncut(300))));
    let (mut log, _) = whole(SIZE);
    let bundle = tile::entries_path(1, WIDTH);
    let length = usize::from(u16::from_be_bytes([log.files[&bundle][0], log.files[&bundle][1]])) + 2;
    log.files.get_mut(&bundle).unwrap().drain(..length);
    assert!(matches!(told(&log, &[]), Err(Problem::Count { expected: 256, found: 255, .. })));
    log.files.remove(&bundle);
    assert!(matches!(told(&log, &[]), Err(Problem::Missing(_))));
}

#[test]
fn reordered_records_are_found() {
    let mut swapped = records(SIZE);
    swapped.swap(100, 900);
    let (log, _) = lay_out(&swapped, &records(SIZE), 1);
    assert!(matches!(told(&log, &[]), Err(Problem::Changed(100))));
}

#[test]
fn a_truncated_log_is_found_by_its_checkpoint_or_by_one_seen_before() {
    let (mut log, note) = whole(SIZE);
    log.files.remove(&tile::entries_path(3, 232));
    assert!(matches!(told(&log, &[]), Err(Problem::Missing(_))));
    // The hub itself signs a shorter one.
    let (shorter, _) = whole(SIZE - 1);
    assert!(told(&shorter, &[]).is_ok());
    assert!(matches!(told(&shorter, &[&note]), Err(Problem::Truncated { size: 999, seen: SIZE })));
}

#[test]
fn a_forked_history_is_found_by_a_checkpoint_seen_before() {
    let (_, note) = whole(SIZE);
    let mut other = records(SIZE + 50);
    other[500] = numbered(9_999).encode();
    let (forked, _) = lay_out(&other, &other, 1);
    assert!(told(&forked, &[]).is_ok());
    assert!(matches!(told(&forked, &[&note]), Err(Problem::Forked(SIZE))));
    assert!(told(&forked, &[&whole(500).1]).is_ok(), "up to there they are one");
}

#[test]
fn a_checkpoint_of_another_key_or_another_hub_is_refused() {
    let (mut log, note) = whole(9);
    let other = Signer::new("hub.example/audit/1", &Secret::new(vec![8; 32])).unwrap();
    let read = Checkpoint::read_unverified(&note).unwrap();
    assert!(matches!(told(&log, &[&read.sign(&other)]), Err(Problem::Note { .. })));
    let elsewhere = Signer::new("other.example/audit/1", &Secret::new(vec![7; 32])).unwrap();
    let foreign = Checkpoint { origin: "other.example/audit/1".into(), ..read }.sign(&elsewhere);
    assert!(matches!(told(&log, &[&foreign]), Err(Problem::Foreign { .. })));
    log.files.insert(tile::CHECKPOINT.into(), read.sign(&other).into_bytes());
    assert!(matches!(told(&log, &[]), Err(Problem::Note { .. })));
}

#[test]
fn what_a_note_says_was_cut_may_be_missing_and_nothing_after_it() {
    let mut all = records(SIZE);
    all.push(Record::cut(512, "reads".into(), Timestamp::EPOCH).encode());
    let mut kept = all.clone();
    kept[3].clear();
    kept[511].clear();
    let (log, _) = lay_out(&kept, &all, 1);
    assert_eq!(told(&log, &[&whole(400).1]).unwrap().cut, 2);
    kept[512].clear();
    assert!(matches!(told(&lay_out(&kept, &all, 1).0, &[]), Err(Problem::Uncut(512))));
}

#[test]
fn a_restore_is_told_as_such_and_what_it_lost_with_it() {
    let before = whole(600).1;
    let mut all = records(500);
    all.push(Record { asked: 5, ..Record::note(record::RESTORED, Timestamp::EPOCH) }.encode());
    all.extend(records(200).split_off(100));
    let (log, _) = lay_out(&all, &all, 5);
    let told = |seen: &[(&str, &str)]| verify(&log, signer(5).verifier(), seen);
    assert_eq!(told(&[("old", &before)]).unwrap().lost, Some((500, 600)));
    assert_eq!(told(&[("old", &whole(500).1)]).unwrap().lost, None);
    let mut twin = records(300);
    twin[7] = numbered(77).encode();
    assert!(matches!(told(&[("old", &lay_out(&twin, &twin, 1).1)]), Err(Problem::Forked(300))));
    let later = lay_out(&records(10), &records(10), 6).1;
    assert!(matches!(told(&[("old", &later)]), Err(Problem::Truncated { .. })));
}
