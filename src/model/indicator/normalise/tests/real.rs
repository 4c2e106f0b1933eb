//! Real tables, where they are at hand: defanged values and their meaning, and
//! the names of the public suffix list.

use std::path::PathBuf;

use super::*;

/// A file of real threat data, or `None` with a message.
#[allow(clippy::print_stdout, reason = "test report")]
fn real(path: &str) -> Option<String> {
    #[allow(clippy::disallowed_methods, reason = "the one variable that tests read")]
    let named = std::env::var_os("LUYTRE_REAL_DATA").map(PathBuf::from);
    let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/threat"));
    let text = std::fs::read_to_string(folder.join(path)).ok();
    if text.is_none() {
        println!("skipped: no {path} under {} (set LUYTRE_REAL_DATA)", folder.display());
    }
    text
}

#[test]
fn every_real_defanged_value_is_read_as_expected() {
    let Some(table) = real("defang/defang_cases.tsv") else { return };
    let (mut rows, mut wrong) = (0, Vec::new());
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (defanged, expected, of) = (columns[0], columns[1], columns[2]);
        let kind = match of {
            "domain" => Kind::Domain,
            "domain-port" => Kind::Endpoint,
            "ipv4" => Kind::Ipv4,
            "email" => Kind::Email,
            "url" | "url-noscheme" | "magnet" => Kind::Url,
            "negative" => Kind::Email,
            other => panic!("a new type in the table: {other}"),
        };
        let got = observable(kind, defanged).map(|read| read.observable);
        let right = if of == "negative" {
            // Not an address by any reading, and not rewritten where it is
            // taken for something else.
            got.is_err()
                && detect(defanged).is_ok_and(|read| read.observable.to_string() == defanged.to_lowercase())
                || got.is_err() && detect(defanged).is_err()
        } else if columns.get(4).is_some_and(|note| note.contains("acceptable to reject")) {
            got.is_err() && detect(defanged).is_err()
        } else {
            got.is_ok() && got == observable(kind, expected).map(|read| read.observable)
        };
        // Without its kind a value is read alike, or refused, or plainly
        // another.
        let unnamed = detect(defanged).map(|read| read.observable);
        let alike = match (&got, &unnamed) {
            (Ok(got), Ok(unnamed)) => got == unnamed || of == "email" && unnamed.kind() == Kind::Domain,
            _ => true,
        };
        rows += 1;
        if !right || !alike {
            let shown = |read: &Result<Observable, Invalid>| match read {
                Ok(read) => read.to_string(),
                Err(invalid) => invalid.problem.clone(),
            };
            wrong.push(format!("{of} {defanged}: {} / {} not {expected}", shown(&got), shown(&unnamed)));
        }
    }
    assert!(rows >= 85, "only {rows} rows");
    assert!(wrong.is_empty(), "{} of {rows} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_names_of_the_public_suffix_tests_keep_their_suffixes() {
    let Some(table) = real("psl/tests.txt") else { return };
    let name = |text: &str| observable(Kind::Domain, text).map(|read| read.observable.to_string());
    let (mut unicode, mut ascii) = (Vec::new(), Vec::new());
    let mut names = 0;
    for line in table.lines().filter(|line| !line.starts_with("//")) {
        let Some((text, registrable)) = line.split_once(' ').filter(|(text, _)| *text != "null") else {
            continue;
        };
        let read = name(text);
        // One label names nothing, and no name starts with a dot.
        let is_name = text.contains('.') && !text.starts_with('.');
        assert_eq!(read.is_ok(), is_name, "{text}");
        let Ok(read) = read else { continue };
        names += 1;
        if registrable != "null" {
            let registrable = name(registrable).unwrap();
            assert!(read == registrable || read.ends_with(&format!(".{registrable}")), "{text}");
        }
        if !text.is_ascii() {
            unicode.push(read);
        } else if text.contains("xn--") {
            ascii.push(read);
        }
    }
    assert!(names > 50 && unicode.len() > 5, "{names} names, {} in Unicode", unicode.len());
    assert_eq!(unicode, ascii, "the table lists the same names twice");
}

#[test]
fn every_public_suffix_is_a_name_and_has_the_a_label_that_the_list_states() {
    let Some(list) = real("psl/public_suffix_list.dat") else { return };
    let (mut suffixes, mut stated, mut label) = (0, 0, None);
    for line in list.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("// ") {
            label = comment.split([' ', '.']).next().filter(|word| word.starts_with("xn--"));
            continue;
        }
        if line.is_empty() {
            continue;
        }
        let suffix = line.trim_start_matches(['*', '!', '.']);
        let read = observable(Kind::Domain, &format!("example.{suffix}")).unwrap().observable.to_string();
        assert_eq!(detect(&read).unwrap().observable.to_string(), read, "{suffix}");
        suffixes += 1;
        if let Some(label) = label.take().filter(|_| !suffix.is_ascii() && !suffix.contains('.')) {
            assert_eq!(read, format!("example.{label}"), "{suffix}");
            stated += 1;
        }
    }
    assert!(suffixes > 9_000 && stated > 20, "{suffixes} suffixes, {stated} with A-labels");
}
