//! Decides which values are on warninglists, and what that makes of an item:
//! refused, held back to `monitor` where it recommends to block, or taken with
//! a word to its publisher.
//!
//! All lists are one structure in memory: a table of whole values, names and
//! networks, one automaton of parts, one set of regular expressions. What a
//! look costs hardly depends on how many lists there are.

mod built_in;
mod forms;
mod networks;
mod table;
#[cfg(test)]
mod tests;
mod texts;

use crate::base::digest;
use crate::model::asset::Matcher;
use crate::model::indicator::{Draft, Observable, RecommendedAction, Role};
use crate::model::warninglist::{
    Finding, ListName, MAX_ENTRY_BYTES, MAX_NAMED, Matching, Mode, Outcome, Warninglist,
};

pub use built_in::BuiltIn;
use forms::{Forms, Key};
use networks::Networks;
use table::Table;
use texts::Texts;

/// Number of a list among those of one guard.
type ListNo = u16;

/// A list, as far as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its names and version.
    pub name: ListName,
    /// What the hub does where it holds a value.
    pub mode: Mode,
    /// Entries that are held against values.
    pub entries: usize,
    /// Entries that say nothing which the hub can hold against a value.
    pub passed_over: usize,
}

/// All lists of a hub.
pub struct Guard {
    lists: Vec<Listed>,
    kinds: Vec<crate::model::warninglist::Kinds>,
    built_in: Vec<(BuiltIn, ListNo)>,
    table: Table,
    networks: Networks,
    texts: Texts,
    too_large: Vec<ListNo>,
    generation: u64,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Guard({} lists, generation {:016x})", self.lists.len(), self.generation)
    }
}

/// The lists that hold a value. One that speaks of what contains the value
/// only, as of the host of a URL, is told and does nothing.
#[derive(Default)]
struct Hits(Vec<(ListNo, bool)>);

impl Hits {
    fn add(&mut self, list: ListNo, in_full: bool) {
        match self.0.iter_mut().find(|(known, _)| *known == list) {
            Some((_, known)) => *known |= in_full,
            None => self.0.push((list, in_full)),
        }
    }
}

impl Default for Guard {
    /// What is built in, as it is meant.
    fn default() -> Self {
        Self::new(Vec::new(), |_| Mode::Hold)
    }
}

impl Guard {
    /// These lists in their modes, and those that are built in, by their short
    /// names, in theirs.
    #[must_use]
    pub fn new(lists: Vec<(Warninglist, Mode)>, built_in: impl Fn(&str) -> Mode) -> Self {
        let mut content = digest::Sha256::default();
        let mut guard = Self {
            lists: Vec::with_capacity(lists.len()),
            kinds: Vec::with_capacity(lists.len()),
            built_in: Vec::new(),
            table: Table::default(),
            networks: Networks::default(),
            texts: Texts::default(),
            too_large: Vec::new(),
            generation: 0,
        };
        for what in BuiltIn::ALL {
            let number = guard.number();
            guard.built_in.push((*what, number));
            guard.kinds.push(what.kinds());
            let name = what.name();
            let mode = built_in(&name.slug);
            content.update(&[mode.number()]);
            guard.lists.push(Listed { name, mode, entries: 0, passed_over: 0 });
        }
        let mut texts = texts::Builder::default();
        for (list, mode) in lists {
            note_content(&mut content, &list, mode);
            guard.add(list, mode, &mut texts);
        }
        (guard.texts, guard.too_large) = texts.build();
        guard.networks.close();
        let first = content.finish().first_chunk::<8>().copied().unwrap_or_default();
        guard.generation = u64::from_be_bytes(first);
        guard
    }

    fn number(&self) -> ListNo {
        ListNo::try_from(self.lists.len()).unwrap_or(ListNo::MAX)
    }

    fn add(&mut self, list: Warninglist, mode: Mode, texts: &mut texts::Builder) {
        let (number, mut entries) = (self.number(), 0_usize);
        let all = list.entries.len();
        // Of kinds that the hub does not know none stands against a value.
        let held = if list.kinds.is_empty() { &[][..] } else { &list.entries };
        for entry in held {
            let entry = entry.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
            let fits = (1..=MAX_ENTRY_BYTES).contains(&entry.len());
            entries =
                entries.saturating_add(usize::from(fits && self.entry(list.matching, entry, number, texts)));
        }
        if matches!(list.matching, Matching::Substring | Matching::Regex) {
            texts.speaks_of(list.kinds);
        }
        self.kinds.push(list.kinds);
        let Warninglist { slug, name, version, .. } = list;
        let name = ListName { slug, name, version };
        self.lists.push(Listed { name, mode, entries, passed_over: all.saturating_sub(entries) });
    }

    /// Adds an entry; whether it says anything.
    fn entry(&mut self, matching: Matching, entry: &str, list: ListNo, texts: &mut texts::Builder) -> bool {
        match matching {
            Matching::Substring => texts.part(entry, list),
            Matching::Regex => texts.regex(entry, list),
            Matching::Network => networks::read(entry).map(|net| self.networks.add(net, list)).is_some(),
            Matching::Exact | Matching::Hostname => {
                if let Some(net) = networks::read(entry) {
                    self.networks.add(net, list);
                    return true;
                }
                let Some(key) = Key::of_entry(matching, entry) else { return false };
                self.table.add(&key, list);
                true
            }
        }
    }

    /// Names these lists and their modes: another number, other lists.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// The lists, those that are built in first.
    #[must_use]
    pub fn lists(&self) -> &[Listed] {
        &self.lists
    }

    /// Short names of lists of which parts or expressions have no room: with
    /// them the guard is not to be used, for it protects less than it says.
    pub fn too_large(&self) -> impl Iterator<Item = &str> {
        let listed = self.too_large.iter().filter_map(|list| self.lists.get(usize::from(*list)));
        listed.map(|listed| listed.name.slug.as_str())
    }

    /// What the lists make of an item, and what the roster protects as
    /// `members`' own; `None`: they do not name it.
    #[must_use]
    pub fn judge(&self, draft: &Draft, members: &Matcher) -> Option<Finding> {
        let mut hits = Hits::default();
        for value in std::iter::once(&draft.observable).chain(&draft.aliases) {
            self.look(value, members, &mut hits);
        }
        self.decide(hits, draft.action, draft.role)
    }

    /// The same of a value alone, and what is said of it.
    #[must_use]
    pub fn judge_value(
        &self,
        value: &Observable,
        action: Option<RecommendedAction>,
        role: Option<Role>,
        members: &Matcher,
    ) -> Option<Finding> {
        let mut hits = Hits::default();
        self.look(value, members, &mut hits);
        self.decide(hits, action, role)
    }

    fn look(&self, value: &Observable, members: &Matcher, hits: &mut Hits) {
        let kind = value.kind();
        if kind.is_rule() {
            return;
        }
        let forms = Forms::of(value);
        let of_kind =
            |list: ListNo| self.kinds.get(usize::from(list)).is_some_and(|kinds| kinds.contains(kind));
        let mut hit = |list: ListNo, in_full: bool| {
            if of_kind(list) {
                hits.add(list, in_full);
            }
        };
        forms.keys(|key, in_full| self.table.get(key).iter().for_each(|list| hit(*list, in_full)));
        if let Some(net) = forms.network {
            self.networks.look(net, |list| hit(list, true));
        }
        if self.texts.may_hold(kind) {
            self.texts.look(&forms.whole(value), |list| hit(list, true));
        }
        for (what, list) in &self.built_in {
            if what.holds(value, &forms, members) {
                // A page of a member's, and an address at its name, is not the
                // member.
                hit(*list, *what != BuiltIn::MembersOwn || forms.all_of_host);
            }
        }
    }

    fn decide(&self, hits: Hits, action: Option<RecommendedAction>, role: Option<Role>) -> Option<Finding> {
        let strikes = matches!(action, Some(RecommendedAction::Block | RecommendedAction::Isolate));
        let outcome = |listed: &Listed, in_full: bool| match listed.mode {
            // Of those who were attacked others are to hear.
            _ if !in_full || role == Some(Role::Victim) => Outcome::Informed,
            Mode::Block => Outcome::Refused,
            Mode::Hold if strikes => Outcome::Held,
            Mode::Hold | Mode::Inform => Outcome::Informed,
        };
        let listed = |(list, in_full): (ListNo, bool)| {
            let listed = self.lists.get(usize::from(list))?;
            Some((outcome(listed, in_full), listed))
        };
        let mut found: Vec<_> = hits.0.into_iter().filter_map(listed).collect();
        found.sort_by(|(a, list), (b, other)| b.cmp(a).then_with(|| list.name.cmp(&other.name)));
        let (outcome, _) = found.first()?;
        // Whose word it is: what others would do beside is not done.
        let theirs = found.iter().filter(|(by, _)| by == outcome);
        let lists = theirs.take(MAX_NAMED).map(|(_, list)| list.name.clone()).collect();
        Some(Finding { outcome: *outcome, lists })
    }
}

/// Adds all that a list says to what names the generation.
fn note_content(content: &mut digest::Sha256, list: &Warninglist, mode: Mode) {
    content.update(&[0, mode.number(), list.matching.number()]);
    content.update(&list.version.to_be_bytes());
    content.update(format!("{:?}", list.kinds).as_bytes());
    for text in [&list.slug, &list.name].into_iter().chain(&list.entries) {
        content.update(&(text.len() as u64).to_be_bytes());
        content.update(text.as_bytes());
    }
}
