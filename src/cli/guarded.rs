//! Decides what a publisher is told of values that lists of the hub name.

use std::collections::BTreeMap;

use crate::wire::proto::v1;

use super::output::count;

/// Lines that are shown.
const SHOWN: usize = 20;

/// What lists said of lines that were accepted.
#[derive(Debug, Default)]
pub(super) struct Guarded {
    held: u64,
    informed: u64,
    by_list: BTreeMap<String, u64>,
    shown: Vec<String>,
}

impl Guarded {
    /// Notes what lists say of a line.
    pub(super) fn note(&mut self, line: u64, found: Option<&v1::GuardFinding>) {
        let Some(found) = found else { return };
        let held = found.outcome() == v1::GuardOutcome::Held;
        if held {
            self.held += 1;
        } else {
            self.informed += 1;
        }
        for list in &found.lists {
            *self.by_list.entry(list.list.clone()).or_default() += 1;
        }
        if held && self.shown.len() < SHOWN {
            let lists: Vec<_> = found.lists.iter().map(told).collect();
            self.shown.push(format!("  line {line}: went out as monitor: {}", lists.join("; ")));
        }
    }

    /// The text for the end of a report; empty where no list named anything.
    pub(super) fn told(&self) -> String {
        if self.by_list.is_empty() {
            return String::new();
        }
        let lists: Vec<_> = self.by_list.iter().map(|(list, n)| format!("{list} {}", count(*n))).collect();
        let mut text = String::new();
        if self.held > 0 {
            text.push_str(&format!(
                "\nheld {}: a list of the hub keeps others from blocking them",
                count(self.held)
            ));
            for line in &self.shown {
                text.push('\n');
                text.push_str(line);
            }
            let more = self.held - u64::try_from(self.shown.len()).unwrap_or(0);
            if more > 0 {
                text.push_str(&format!("\n  and {} more", count(more)));
            }
        }
        if self.informed > 0 {
            text.push_str(&format!("\nthink twice {}: lists of the hub name them", count(self.informed)));
        }
        text.push_str(&format!("\non lists: {}", lists.join(", ")));
        text
    }
}

fn told(list: &v1::GuardList) -> String {
    format!("on list {} ({}, version {})", list.list, list.title, list.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(outcome: v1::GuardOutcome, list: &str) -> v1::GuardFinding {
        let list = v1::GuardList { list: list.to_owned(), title: "T".to_owned(), version: 2 };
        v1::GuardFinding { outcome: outcome.into(), lists: vec![list] }
    }

    #[test]
    fn a_publisher_learns_which_list_held_which_line() {
        let mut guarded = Guarded::default();
        assert_eq!(guarded.told(), "");
        guarded.note(3, Some(&found(v1::GuardOutcome::Held, "cloudflare")));
        guarded.note(4, None);
        guarded.note(5, Some(&found(v1::GuardOutcome::Informed, "tranco")));
        let told = guarded.told();
        for part in [
            "held 1: ",
            "line 3: went out as monitor: on list cloudflare (T, version 2)",
            "think twice 1: ",
            "on lists: cloudflare 1, tranco 1",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
