//! Real threat data through the guards: what of it would be refused, held or
//! told, by list, in `tests/golden/guards.tsv`; and that lists of others' making
//! are all read.
//!
//! `LUYTRE_BLESS=1 cargo test --test it guards_data::` writes the counts anew.
//! The data are read where they are at hand (`../shared/data/threat`, or
//! `LUYTRE_REAL_DATA`), the lists of `pymispwarninglists` where
//! `make test-warninglists` or `LUYTRE_WARNINGLISTS` says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use luytre::hub::lists;
use luytre::interop::{Items, Options, What};
use luytre::model::asset::Matcher;
use luytre::model::indicator::{Draft, Observable, RecommendedAction, Role, normalise};
use luytre::model::marking::{Marking, Tlp};
use luytre::model::warninglist::{Mode, Outcome, Settings};
use luytre::policy::guard::lists::Guard;
use serde_json::Value;

use crate::intake::{compare, files_under, real_data};

/// The event that lists those who were attacked beside those who attacked.
const VICTIMS: &str = "misp/eset/oceanlotus/oceanlotus-wateringhole-2018.misp.event.json";

/// The canonical values in a file of one of our formats.
fn values_in(path: &Path) -> Vec<Observable> {
    if path.extension().is_some_and(|ends| ends == "json") {
        let read: Result<Value, _> = serde_json::from_slice(&fs::read(path).unwrap());
        let mut out = Vec::new();
        read.iter().for_each(|json| attributes(json, &mut |value, _| out.extend(value)));
        return out;
    }
    let options = Options { is_file: true, ..Options::default() };
    let items = Items::new(File::open(path).unwrap(), options).into_iter().flatten();
    let records = items.filter_map(|item| match item.ok()?.what {
        What::Record(record) => record.value,
        What::Refused(_) | What::PassedOver(_) => None,
    });
    records.filter_map(|value| Some(normalise::detect(&value).ok()?.observable)).collect()
}

/// Calls `told` with the values of each attribute of MISP, and with its comment.
fn attributes(json: &Value, told: &mut impl FnMut(Vec<Observable>, &str)) {
    match json {
        Value::Array(all) => all.iter().for_each(|one| attributes(one, told)),
        Value::Object(fields) => {
            if let (Some(Value::String(kind)), Some(Value::String(value))) =
                (fields.get("type"), fields.get("value"))
                && !matches!(kind.as_str(), "comment" | "text" | "filename" | "datetime")
            {
                let parts =
                    value.split('|').filter_map(|part| Some(normalise::detect(part).ok()?.observable));
                told(parts.collect(), fields.get("comment").and_then(Value::as_str).unwrap_or_default());
            }
            fields.values().for_each(|one| attributes(one, told));
        }
        _ => {}
    }
}

/// Our lists, with one of those who were attacked.
fn guard(victims: &[Observable]) -> Guard {
    let dir = tempfile::tempdir().unwrap();
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/guards");
    lists::put(dir.path(), &lists::candidates(&ours).unwrap()).unwrap();
    let names: Vec<_> = victims.iter().map(ToString::to_string).collect();
    let list = serde_json::json!({
        "name": "Sites of others that an attacker used", "version": 1, "description": "d", "type": "string",
        "list": names,
    });
    fs::write(dir.path().join("protect-victims.json"), list.to_string()).unwrap();
    let modes = BTreeMap::from([("empty-file".to_owned(), Mode::Block)]);
    let settings = Settings { directory: dir.path().to_owned(), modes };
    let guard = lists::load(&settings).unwrap();
    assert!(guard.lists().iter().all(|list| list.passed_over == 0), "{:?}", guard.lists());
    guard
}

fn blocking(value: Observable) -> Draft {
    let action = Some(RecommendedAction::Block);
    Draft { action, ..Draft::new(value, Marking::open(Tlp::Green)) }
}

#[test]
#[allow(clippy::print_stdout, reason = "test report")]
fn what_lists_make_of_real_data_is_known_by_list_and_victims_are_never_to_be_blocked() {
    let Some(folder) = real_data() else {
        println!("skipped: no real threat data at hand");
        return;
    };
    let mut victims = Vec::new();
    let event: Value = serde_json::from_slice(&fs::read(folder.join(VICTIMS)).unwrap()).unwrap();
    attributes(&event, &mut |values, comment| {
        if comment == "Compromised website" {
            victims.extend(values);
        }
    });
    assert_eq!(victims.len(), 21);
    let without = guard(&[]);
    let guard = guard(&victims);
    for victim in &victims {
        let found = guard.judge(&blocking(victim.clone()), &Matcher::default()).unwrap();
        assert_eq!(found.outcome, Outcome::Held, "{victim}: {found:?}");
        assert!(Role::check(Some(Role::Victim), Some(RecommendedAction::Block)).is_err());
    }
    for (name, list) in [
        ("mod.gov.kh", "government-names"),
        ("mfaic.gov.kh", "government-names"),
        ("phnompenhpost.com", "protect-press"),
    ] {
        let value = normalise::detect(name).unwrap().observable;
        let found = without.judge(&blocking(value), &Matcher::default()).unwrap();
        assert_eq!((found.outcome, found.lists[0].slug.as_str()), (Outcome::Held, list), "{name}");
    }

    let mut files = Vec::new();
    for part in ["csv", "feeds", "lists", "misp", "text"] {
        files_under(&folder.join(part), &mut files);
    }
    let mut told = String::from("file\tvalues\trefused\theld\tinformed\n");
    for path in files {
        let values = values_in(&path);
        let mut by = BTreeMap::<(u8, String), u64>::new();
        for value in &values {
            if let Some(found) = guard.judge(&blocking(value.clone()), &Matcher::default()) {
                for list in found.lists {
                    *by.entry((found.outcome.number(), list.slug)).or_default() += 1;
                }
            }
        }
        let of = |outcome: Outcome| {
            let all = by.iter().filter(|((number, _), _)| *number == outcome.number());
            all.map(|((_, list), n)| format!("{list} {n}")).collect::<Vec<_>>().join(", ")
        };
        let name = path.strip_prefix(&folder).unwrap().display();
        let [refused, held, informed] = [Outcome::Refused, Outcome::Held, Outcome::Informed].map(of);
        writeln!(told, "{name}\t{}\t{refused}\t{held}\t{informed}", values.len()).unwrap();
    }
    compare("guards.tsv", &told);
}

/// Directories with lists of others' making that are at hand.
fn others() -> Vec<PathBuf> {
    let named = std::env::var_os("LUYTRE_WARNINGLISTS").map(PathBuf::from);
    let here = real_data().map(|folder| folder.join("warninglists"));
    named.into_iter().chain(here).filter(|folder| folder.is_dir()).collect()
}

#[test]
#[allow(clippy::print_stdout, reason = "test report")]
fn lists_of_others_making_are_read_and_hold_what_stands_on_them() {
    for folder in others() {
        let found: Vec<_> = lists::candidates(&folder).unwrap();
        let found: Vec<_> = found.into_iter().filter(|found| !found.path.ends_with("schema.json")).collect();
        assert!(found.len() >= 50, "{}: {}", folder.display(), found.len());
        let mut lists = Vec::new();
        for candidate in found {
            let path = candidate.path.display().to_string();
            lists.push((candidate.list.unwrap_or_else(|problem| panic!("{path}: {problem}")), Mode::Inform));
        }
        let samples: Vec<_> = lists
            .iter()
            .flat_map(|(list, _)| list.entries.iter().take(3).map(|entry| (list.slug.clone(), entry.clone())))
            .collect();
        let guard = Guard::new(lists, |_| Mode::Inform);
        let all: usize = guard.lists().iter().map(|list| list.entries).sum();
        let passed_over: usize = guard.lists().iter().map(|list| list.passed_over).sum();
        println!(
            "{}: {} lists, {all} entries, {passed_over} passed over",
            folder.display(),
            guard.lists().len()
        );
        assert!(passed_over * 1_000 < all, "{passed_over} of {all} say nothing");
        let mut held = 0_usize;
        for (list, entry) in samples {
            let Ok(read) = normalise::detect(entry.trim_start_matches('.')) else { continue };
            let found = guard.judge_value(&read.observable, None, None, &Matcher::default());
            let named =
                found.iter().flat_map(|found| &found.lists).filter(|named| named.slug == list).count();
            held += named;
        }
        assert!(held >= 60, "{held} values were found on the lists from which they came");
    }
}
