//! Decides which parts and regular expressions of lists a value's text holds.

use aho_corasick::AhoCorasick;
use regex::{RegexBuilder, RegexSet, RegexSetBuilder};

use super::ListNo;
use crate::model::indicator::Kind;
use crate::model::warninglist::Kinds;

/// Shorter parts are in too many values.
const MIN_PART_BYTES: usize = 3;
/// Most parts of all lists, in bytes: an automaton takes some fifty times that.
const MAX_PARTS_BYTES: usize = 4 << 20;
/// Most regular expressions of all lists, those that are none among them: to
/// compile one costs more than all else that is done with an entry.
const MAX_REGEXES: usize = 1_024;
/// What one may take once compiled, in bytes, and all of them: a publisher's
/// task waits while they are held against its values.
const MAX_REGEX_BYTES: usize = 128 << 10;
const MAX_REGEXES_BYTES: usize = 4 << 20;
/// What they may take while they are held against a value.
const MAX_MATCHING_BYTES: usize = 8 << 20;
/// So much of a value is looked at.
const MAX_TEXT_BYTES: usize = 8 << 10;

/// Parts and expressions, made one automaton each.
#[derive(Default)]
pub(super) struct Texts {
    kinds: Option<Kinds>,
    parts: Option<AhoCorasick>,
    part_lists: Vec<ListNo>,
    regexes: Option<RegexSet>,
    regex_lists: Vec<ListNo>,
}

/// What they are made of.
#[derive(Default)]
pub(super) struct Builder {
    kinds: Option<Kinds>,
    parts: Vec<String>,
    part_lists: Vec<ListNo>,
    part_bytes: usize,
    regexes: Vec<String>,
    regex_lists: Vec<ListNo>,
    /// How many were compiled, in vain too.
    tried: usize,
    /// Lists of which something has no room any more.
    refused: Vec<ListNo>,
}

impl Builder {
    /// A list of such texts speaks of these kinds.
    pub(super) fn speaks_of(&mut self, kinds: Kinds) {
        self.kinds = Some(self.kinds.unwrap_or(Kinds::NONE).union(kinds));
    }

    /// Adds a part; whether it is long enough.
    pub(super) fn part(&mut self, part: &str, list: ListNo) -> bool {
        if part.len() < MIN_PART_BYTES {
            return false;
        }
        self.part_bytes = self.part_bytes.saturating_add(part.len());
        if self.part_bytes > MAX_PARTS_BYTES {
            self.refused.push(list);
            return false;
        }
        self.parts.push(part.to_ascii_lowercase());
        self.part_lists.push(list);
        true
    }

    /// Adds an expression; whether it is one that takes time in proportion to
    /// the text, and is not too large.
    pub(super) fn regex(&mut self, entry: &str, list: ListNo) -> bool {
        if self.tried >= MAX_REGEXES {
            self.refused.push(list);
            return false;
        }
        self.tried += 1;
        let pattern = undelimited(entry);
        if RegexBuilder::new(&pattern).size_limit(MAX_REGEX_BYTES).build().is_err() {
            return false;
        }
        self.regexes.push(pattern);
        self.regex_lists.push(list);
        true
    }

    /// The automata, and the lists whose texts have no room in them, all or in
    /// part: they protect less than they say.
    pub(super) fn build(self) -> (Texts, Vec<ListNo>) {
        let mut refused = self.refused;
        let parts = AhoCorasick::new(&self.parts).ok();
        if parts.is_none() {
            refused.extend(&self.part_lists);
        }
        let regexes = RegexSetBuilder::new(&self.regexes)
            .size_limit(MAX_REGEXES_BYTES)
            .dfa_size_limit(MAX_MATCHING_BYTES)
            .build()
            .ok();
        if regexes.is_none() {
            refused.extend(&self.regex_lists);
        }
        refused.sort_unstable();
        refused.dedup();
        let texts = Texts {
            kinds: self.kinds,
            parts: parts.filter(|_| !self.parts.is_empty()),
            part_lists: self.part_lists,
            regexes: regexes.filter(|_| !self.regexes.is_empty()),
            regex_lists: self.regex_lists,
        };
        (texts, refused)
    }
}

/// The expression of `/.../i`, as it stands in lists that PHP reads.
fn undelimited(entry: &str) -> String {
    let Some((pattern, flags)) = entry.strip_prefix('/').and_then(|rest| rest.rsplit_once('/')) else {
        return format!("(?i){entry}");
    };
    let kept: String = flags.chars().filter(|flag| matches!(flag, 'i' | 'm' | 's' | 'x')).collect();
    // Values are in lower case by then, as are those that people mean.
    let kept = if kept.contains('i') { kept } else { kept + "i" };
    format!("(?{kept}){}", pattern.replace("\\/", "/"))
}

impl Texts {
    /// Whether any list speaks of this kind.
    pub(super) fn may_hold(&self, kind: Kind) -> bool {
        self.kinds.is_some_and(|kinds| kinds.contains(kind))
    }

    /// Calls `hit` with the lists whose texts stand in `text`.
    pub(super) fn look(&self, text: &str, mut hit: impl FnMut(ListNo)) {
        let text = text.get(..text.floor_char_boundary(MAX_TEXT_BYTES)).unwrap_or(text);
        if let Some(parts) = &self.parts {
            for found in parts.find_overlapping_iter(text) {
                self.part_lists.get(found.pattern().as_usize()).into_iter().for_each(|list| hit(*list));
            }
        }
        if let Some(regexes) = &self.regexes {
            for found in regexes.matches(text) {
                self.regex_lists.get(found).into_iter().for_each(|list| hit(*list));
            }
        }
    }
}
