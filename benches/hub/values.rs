//! Decides how fast values are made canonical: the real lists line by line, or
//! the mix of this benchmark where there are none.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use luytre::interop::plain;
use luytre::model::indicator::normalise;
use luytre::wire::observable::flat;

use super::intake::find;
use super::items::Items;
use super::rows::Readings;

/// Values of the mix where there are no lists.
const INVENTED: usize = 100_000;
/// Most values that are held.
const MOST: usize = 500_000;
/// Times that each value is read.
const ROUNDS: usize = 5;

/// P21: what one core takes to read a value whose kind it detects.
pub fn canonical(items: &mut Items, out: &mut Readings) {
    let (values, of_lists) = all(items);
    let taken = values.iter().filter(|value| normalise::detect(value).is_ok()).count();
    let start = Instant::now();
    for _ in 0..ROUNDS {
        for value in &values {
            black_box(normalise::detect(black_box(value)).is_ok());
        }
    }
    let spent = start.elapsed().as_secs_f64() * 1e6;
    out.insert("p21.value", spent / (ROUNDS * values.len()) as f64);
    println!("  P21: {} values, {of_lists} of them from lists, {taken} taken", values.len());
}

/// The values, and how many of them are of lists.
pub fn all(items: &mut Items) -> (Vec<String>, usize) {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/threat");
    let mut values = Vec::new();
    for part in ["feeds", "lists", "text"] {
        read_lists(&beside.join(part), &mut values);
    }
    let of_lists = values.len();
    if values.is_empty() {
        let (_, drafts) = items.marked(0, INVENTED, &|_, _| super::items::green());
        values.extend(drafts.into_iter().map(|draft| flat(draft.observable).1));
    }
    (values, of_lists)
}

fn read_lists(path: &Path, out: &mut Vec<String>) {
    let mut files = Vec::new();
    find(path, &mut files);
    for file in files.into_iter().filter_map(|path| std::fs::File::open(path).ok()) {
        let lines = plain::Lines::new(std::io::BufReader::new(file)).flatten();
        out.extend(lines.map(|line| line.text).take(MOST.saturating_sub(out.len())));
    }
}
