//! Decides how fast values are held against lists: those of others' making
//! where they are at hand, and invented ones up to the number that is promised.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use luytre::hub::lists;
use luytre::model::asset::Matcher;
use luytre::model::indicator::{Draft, RecommendedAction, normalise};
use luytre::model::marking::{Marking, Tlp};
use luytre::model::warninglist::{Kinds, Matching, Mode, Warninglist};
use luytre::policy::guard::lists::Guard;

use super::items::Items;
use super::rows::Readings;
use super::values::all;

/// Lists that are loaded.
const LISTS: usize = 150;
/// Most values that are judged.
const VALUES: usize = 100_000;
/// Times that each is.
const ROUNDS: usize = 5;

/// P25: what one core takes to judge an indicator by 150 lists.
pub fn judged(items: &mut Items, out: &mut Readings) {
    let named = std::env::var_os("LUYTRE_WARNINGLISTS").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/threat/warninglists");
    let found = lists::candidates(&named.unwrap_or(beside)).unwrap_or_default();
    let mut taken: Vec<_> = found.into_iter().filter_map(|candidate| candidate.list.ok()).collect();
    let of_others = taken.len();
    taken.extend((taken.len()..LISTS).map(invented));
    let guard = Guard::new(taken.into_iter().map(|list| (list, Mode::Hold)).collect(), |_| Mode::Hold);
    let entries: usize = guard.lists().iter().map(|list| list.entries).sum();
    let (values, _) = all(items);
    let read = values.iter().take(VALUES).filter_map(|value| Some(normalise::detect(value).ok()?.observable));
    let action = Some(RecommendedAction::Block);
    let drafts: Vec<_> =
        read.map(|value| Draft { action, ..Draft::new(value, Marking::open(Tlp::Green)) }).collect();
    let members = Matcher::default();
    let named = drafts.iter().filter(|draft| guard.judge(draft, &members).is_some()).count();
    let start = Instant::now();
    for _ in 0..ROUNDS {
        for draft in &drafts {
            black_box(guard.judge(black_box(draft), &members));
        }
    }
    let spent = start.elapsed().as_secs_f64() * 1e6;
    out.insert("p25.value", spent / (ROUNDS * drafts.len().max(1)) as f64);
    println!(
        "  P25: {LISTS} lists, {of_others} of others, {entries} entries, {} values, {named} named",
        drafts.len()
    );
}

fn invented(number: usize) -> Warninglist {
    let (matching, entry): (_, fn(usize) -> String) = match number % 3 {
        0 => (Matching::Exact, |n| format!("host-{n}.example")),
        1 => (Matching::Hostname, |n| format!("zone-{n}.example")),
        _ => (Matching::Network, |n| format!("100.{}.{}.0/24", n / 256 % 256, n % 256)),
    };
    Warninglist {
        slug: format!("invented-{number}"),
        name: format!("Invented {number}"),
        version: 1,
        matching,
        kinds: Kinds::values(),
        entries: (0..1_000).map(|n| entry(number * 1_000 + n)).collect(),
    }
}
