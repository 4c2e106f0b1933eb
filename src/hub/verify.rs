//! Decides whether what is stored is what the log says: the log is applied
//! again into an empty store beside it, and both must agree, byte for byte in
//! log, values, latest, sightings and directory, and by content in postings and
//! counters, as far as the store is indexed. A store of the format before has
//! no sightings beside their indicators, but postings in their place: neither
//! are compared. The audit does not follow from the log: it is held against its
//! own hashes. Nor do receipts, cursors and answers to requests: they are read,
//! so that the engine holds each of their blocks against its checksum.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::base::{digest, random};
use crate::store::keys::{Family, KeyKind};
use crate::store::{Store, Tuning, db};

use super::audit;
use super::compare::{compare, compare_counters, compare_postings};
use super::facets::Before;
use super::indexer::index_upto;

mod replay;

use replay::replay;

/// Most differences that are told.
const MAX_TOLD: usize = 20;

/// What a verification found.
#[derive(Debug, Clone, Default)]
pub struct VerifyReport {
    /// Entries applied.
    pub entries: u64,
    /// Items in them.
    pub items: u64,
    /// Multiset digest over values, latest and directory, hexadecimal.
    pub digest: String,
    /// The first differences, in words that name no value.
    pub differences: Vec<String>,
    /// How many there are.
    pub difference_count: u64,
}

impl VerifyReport {
    /// Whether state and log agree.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.difference_count == 0
    }

    pub(super) fn differ(&mut self, what: impl FnOnce() -> String) {
        self.difference_count += 1;
        if self.differences.len() < MAX_TOLD {
            self.differences.push(what());
        }
    }
}

/// A store that is removed with its directory.
struct Scratch {
    store: Option<Store>,
    path: PathBuf,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.store = None;
        // What is left behind is a copy, in a directory that says so.
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl Scratch {
    /// An empty store in a directory of its own in `place`.
    fn new(place: &Path) -> Result<Self, db::Error> {
        let path = place.join(format!(".verify-{:016x}", random::u64()));
        let failed = |source| db::Error::Scratch { path: place.to_owned(), source };
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        let mut scratch = Self { store: None, path };
        scratch.store = Some(Store::create(&scratch.path, &Tuning::default())?);
        Ok(scratch)
    }
}

/// Verifies a hub that does not run, or a backup, with a scratch copy beside
/// it: see [`verify_in`].
///
/// # Errors
/// As [`verify_in`].
pub fn verify(data_dir: &Path, progress: impl FnMut(u64)) -> Result<VerifyReport, db::Error> {
    let beside = data_dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    verify_in(data_dir, beside.unwrap_or_else(|| Path::new(".")), progress)
}

/// Verifies a hub that does not run, or a backup, of which no byte is changed.
/// `progress` is told the number of items applied so far. A copy is made in
/// `scratch` and removed; it takes as much room as the hub.
///
/// # Errors
/// If the directory holds no hub, is in use, or cannot be read; if `scratch`
/// cannot be written to, or lies in the directory.
pub fn verify_in(
    data_dir: &Path,
    scratch: &Path,
    mut progress: impl FnMut(u64),
) -> Result<VerifyReport, db::Error> {
    let store = Store::open_read_only(data_dir, &Tuning::default())?;
    refuse_inside(data_dir, scratch)?;
    let mut report = VerifyReport::default();
    let scratch = Scratch::new(scratch)?;
    if let Some(copy) = &scratch.store {
        replay(&store, copy, &mut report, &mut progress)?;
        compare(&store, copy, Family::Values, KeyKind::Value, &mut report)?;
        compare(&store, copy, Family::Latest, KeyKind::Latest, &mut report)?;
        if !store.is_of_format_before()? {
            compare(&store, copy, Family::Sightings, KeyKind::Sighting, &mut report)?;
        }
        compare(&store, copy, Family::Meta, KeyKind::Directory, &mut report)?;
        compare(&store, copy, Family::Meta, KeyKind::Leave, &mut report)?;
        compare(&store, copy, Family::Meta, KeyKind::Held, &mut report)?;
        compare(&store, copy, Family::Meta, KeyKind::Containment, &mut report)?;
        compare(&store, copy, Family::Meta, KeyKind::Asset, &mut report)?;
        compare(&store, copy, Family::Meta, KeyKind::Certificate, &mut report)?;
        let indexed = store.indexed()?;
        let before = Before { base: store.base()?.position, otherwise: store.indexed_otherwise()? };
        index_upto(copy, indexed, before)?;
        check_base(&store, copy, &mut report)?;
        compare_postings(&store, copy, indexed, &mut report)?;
        compare_counters(&store, copy, &mut report)?;
        compare_usage(&store, copy, &mut report)?;
    }
    if let Some(unsound) = audit::check::unsound(&store)? {
        report.differ(|| unsound);
    }
    for family in [Family::Meta, Family::Records, Family::Audit, Family::Cursors] {
        let mut records = store.records(family, &[])?;
        while records.next_record()?.is_some() {}
    }
    report.digest = state_digest(&store)?;
    Ok(report)
}

/// The copy must not lie in what is not to be changed.
fn refuse_inside(data_dir: &Path, scratch: &Path) -> Result<(), db::Error> {
    let failed = |source| db::Error::Scratch { path: scratch.to_owned(), source };
    let store = data_dir.canonicalize().map_err(failed)?;
    if scratch.canonicalize().map_err(failed)?.starts_with(store) {
        return Err(failed(io::Error::other("it lies in the store's directory")));
    }
    Ok(())
}

/// Multiset digest over the logical records: the sum modulo 2^256 of the
/// SHA-256 of each, so that it does not depend on their order.
///
/// # Errors
/// Whatever the store answers.
pub fn state_digest(store: &Store) -> Result<String, db::Error> {
    let mut sum = digest::Multiset::default();
    let families = [
        (Family::Values, KeyKind::Value),
        (Family::Latest, KeyKind::Latest),
        (Family::Meta, KeyKind::Directory),
        (Family::Meta, KeyKind::Leave),
        (Family::Meta, KeyKind::Held),
        (Family::Meta, KeyKind::Containment),
        (Family::Meta, KeyKind::Asset),
        (Family::Meta, KeyKind::Certificate),
    ];
    for (family, kind) in families {
        let mut records = store.records(family, &[kind.byte()])?;
        while let Some((key, value)) = records.next_record()? {
            sum.add(&key, &value);
        }
    }
    Ok(digest::hex(&sum.to_bytes()))
}

/// Whether each organisation takes what the store counts. One that is still
/// being counted says nothing, and neither does one of an earlier release.
fn compare_usage(store: &Store, copy: &Store, report: &mut VerifyReport) -> Result<(), db::Error> {
    let told = store.usage()?;
    if store.counts_usage()? && told.is_whole() && told.bytes != copy.usage()?.bytes {
        report.differ(|| "what each organisation takes is not what the log says".to_owned());
    }
    Ok(())
}

/// Whether the log says of the base what the store knows.
fn check_base(store: &Store, copy: &Store, report: &mut VerifyReport) -> Result<(), db::Error> {
    if store.base()? != copy.base()? || store.base_state()? != copy.base_state()? {
        report.differ(|| "the base is not what the log says".to_owned());
    }
    if store.truncated()?.upto > store.base()?.position {
        report.differ(|| "the log is truncated past its base".to_owned());
    }
    Ok(())
}
