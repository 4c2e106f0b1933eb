//! The threat model names tests; every one of them is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names of all functions below a folder of sources.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                let name = line.trim_start_matches("async ").strip_prefix("fn ");
                if let Some((name, _)) = name.and_then(|rest| rest.split_once('(')) {
                    // In `proptest!` the attribute stands alike.
                    if std::mem::take(&mut is_test) {
                        found.insert(name.to_owned());
                    }
                }
            }
        }
    }
}

/// What stands in backquotes and is written as tests are.
fn named(text: &str) -> BTreeSet<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let is_test = |word: &&str| word.matches('_').count() >= 4 && !word.starts_with("luytre_");
    quoted.filter(is_test).map(str::to_owned).collect()
}

#[test]
fn every_test_that_the_threat_model_names_is_there_and_every_attacker_has_three() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut known = BTreeSet::new();
    functions(&root.join("tests/it"), &mut known);
    functions(&root.join("src"), &mut known);
    let english = fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    let names = named(&english);
    let missing: Vec<_> = names.difference(&known).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
    assert!(names.len() > 40, "{}", names.len());
    let vietnamese = fs::read_to_string(root.join("docs/vi/threat-model.md")).unwrap();
    let strange: Vec<_> = named(&vietnamese).into_iter().filter(|name| !known.contains(name)).collect();
    assert!(strange.is_empty(), "no such tests: {strange:#?}");
    for attacker in ["outsider", "member", "publisher", "agency", "operator", "disk"] {
        let text = fs::read_to_string(root.join(format!("tests/it/attack/{attacker}.rs"))).unwrap();
        let own = text.matches("#[tokio::test").count();
        assert!(own >= 3, "{attacker}: {own}");
        assert!(english.contains(&format!("tests/it/attack/{attacker}.rs")), "{attacker}");
    }
}
