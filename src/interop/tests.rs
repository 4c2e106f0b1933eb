//! The promises of reading real lists, where they are at hand: from bytes to
//! canonical observables.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::model::indicator::{Kind, normalise};

use super::plain;

/// The folder of real threat data, or `None` with a message.
fn real_data() -> Option<PathBuf> {
    #[allow(clippy::disallowed_methods, reason = "the one variable that tests read")]
    let named = std::env::var_os("LUYTRE_REAL_DATA").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/threat"));
    if folder.is_dir() {
        return Some(folder);
    }
    report(&format!("skipped: no real threat data at {} (set LUYTRE_REAL_DATA)", folder.display()));
    None
}

#[allow(clippy::print_stdout, reason = "test report")]
fn report(line: &str) {
    println!("{line}");
}

fn files_under(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_under(&path, out);
        } else if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("LICENSE")) {
            out.push(path);
        }
    }
}

#[test]
fn real_feeds_are_read_without_panic_and_stay_canonical() {
    let Some(folder) = real_data() else { return };
    let mut files = Vec::new();
    for part in ["csv", "feeds", "lists", "text"] {
        files_under(&folder.join(part), &mut files);
    }
    files.sort();
    let (mut taken, mut refused) = (0_usize, 0_usize);
    for path in &files {
        let (mut kinds, mut reasons) = (BTreeMap::<Kind, usize>::new(), BTreeMap::<String, usize>::new());
        for line in plain::Lines::new(BufReader::new(File::open(path).unwrap())) {
            let value = match line {
                Ok(line) => line.text,
                Err(error) => {
                    report(&format!("{}: {error}", path.display()));
                    continue;
                }
            };
            match normalise::detect(&value) {
                Ok(first) => {
                    let canonical = first.observable.to_string();
                    let again = normalise::detect(&canonical).unwrap();
                    assert_eq!((&again.observable, again.raw), (&first.observable, None), "{canonical}");
                    *kinds.entry(first.observable.kind()).or_default() += 1;
                    taken += 1;
                }
                Err(invalid) => {
                    *reasons.entry(invalid.problem).or_default() += 1;
                    refused += 1;
                }
            }
        }
        let name = path.strip_prefix(&folder).unwrap_or(path).display();
        report(&format!("{name}: taken {kinds:?}, refused {reasons:?}"));
    }
    report(&format!("{} files, {taken} taken, {refused} refused", files.len()));
    assert!(taken > 50_000, "far too few values were taken: {taken}");
}

#[test]
fn a_real_list_with_one_latin_1_byte_loses_no_row() {
    let Some(folder) = real_data() else { return };
    let Ok(file) = File::open(folder.join("csv/unit42/prince_of_persia__hashes.csv")) else { return };
    let values: Vec<_> = plain::Lines::new(BufReader::new(file)).collect();
    let hashes = values.iter().flatten().filter(|line| normalise::detect(&line.text).is_ok()).count();
    assert!(values.iter().all(Result::is_ok));
    assert!(hashes >= 240, "only {hashes} hashes of {} lines", values.len());
}
