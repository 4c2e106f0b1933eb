//! Decides what a publisher is told of values that lists of the hub name.

use std::collections::BTreeMap;

use crate::wire::proto::v1;

use super::output::count;
use super::record::slug;

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
            self.shown.push(format!(
                "  line {line}: went out as monitor: {}; {}",
                lists.join("; "),
                stands(found)
            ));
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
                "\nheld {}: a list of the hub keeps others from blocking them until a second person agrees: \
                 `luytre held list`",
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

/// What becomes of what is held.
fn stands(found: &v1::GuardFinding) -> String {
    let deciders: Vec<_> = found.deciders.iter().map(|name| slug(name)).collect();
    match found.held_state() {
        v1::HeldState::Rejected => "a second person rejected it".to_owned(),
        v1::HeldState::Waiting | v1::HeldState::Approved if deciders.is_empty() => {
            "waits until somebody leads, who would have to agree".to_owned()
        }
        v1::HeldState::Waiting | v1::HeldState::Approved => {
            format!("waits for a second person, of {}", deciders.join(" or "))
        }
        v1::HeldState::Unspecified => {
            "nobody is asked, for too much waits already; publish it again later".to_owned()
        }
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
        let deciders = vec!["organisations/so-tttt".to_owned()];
        let held_state = v1::HeldState::Waiting.into();
        v1::GuardFinding {
            outcome: outcome.into(),
            lists: vec![list],
            held_state,
            deciders,
            ..v1::GuardFinding::default()
        }
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
            "line 3: went out as monitor: on list cloudflare (T, version 2); waits for a second person, of so-tttt",
            "think twice 1: ",
            "on lists: cloudflare 1, tranco 1",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
