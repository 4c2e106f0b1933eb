//! Decides how it is carried what lists made of the items of a request: in the
//! entry, for whoever applies it again, and with the answer, for whoever asks
//! once more.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::model::warninglist::{Finding, ListName, Outcome};
use crate::policy::guard::lists::Guard;
use crate::store::proto;

use super::engine::Hub;
use super::proposal::{Decision, Refusal};

/// Places of what was counted.
const COUNTED: [Outcome; 3] = [Outcome::Informed, Outcome::Held, Outcome::Refused];

/// What lists made of the items of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judged {
    /// Names the lists.
    pub generation: u64,
    /// Of the items that lists name; `None`: there are none.
    pub verdicts: Option<proto::GuardVerdicts>,
}

impl Judged {
    /// Nothing yet, by the lists of this generation.
    #[must_use]
    pub const fn by(generation: u64) -> Self {
        Self { generation, verdicts: None }
    }

    /// What an entry carries.
    #[must_use]
    pub fn of(header: &proto::EntryHeader) -> Self {
        Self { generation: header.guard_generation, verdicts: header.verdicts.clone() }
    }

    /// Notes what became of the item at `place`, published with this digest;
    /// `wanted` is that of what was sent, if something of it is held.
    pub fn note(&mut self, place: usize, finding: &Finding, digest: u64, wanted: Option<&Wanted>) {
        let verdicts = self.verdicts.get_or_insert_default();
        let lists = finding.lists.iter().map(|list| number(&mut verdicts.lists, list)).collect();
        verdicts.items.push(proto::GuardVerdict {
            item: u32::try_from(place).unwrap_or(u32::MAX),
            outcome: u32::from(finding.outcome.number()),
            lists,
            digest,
            wanted: wanted.map_or(0, |wanted| wanted.digest),
        });
    }

    /// What was sent where this was published instead.
    #[must_use]
    pub fn wanted(&self, digest: u64) -> Option<Wanted> {
        let verdicts = self.verdicts.as_ref()?;
        let held = |verdict: &&proto::GuardVerdict| verdict.digest == digest && verdict.wanted != 0;
        let verdict = verdicts.items.iter().find(held)?;
        let lists = names(verdicts, verdict).map(|list| list.slug).collect();
        Some(Wanted { digest: verdict.wanted, lists })
    }
}

/// What was sent where lists held something of it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its digest.
    pub digest: u64,
    /// Short names of the lists.
    pub lists: Vec<String>,
}

/// The place of a list among those that are named.
fn number(lists: &mut Vec<proto::GuardList>, list: &ListName) -> u32 {
    let ListName { slug, name, version } = list;
    let known = lists.iter().position(|known| known.slug == *slug);
    let place = known.unwrap_or_else(|| {
        lists.push(proto::GuardList { slug: slug.clone(), name: name.clone(), version: *version });
        lists.len().saturating_sub(1)
    });
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// What became of the item at `place`, if lists name it.
pub(super) fn finding(verdicts: &proto::GuardVerdicts, place: usize) -> Option<Finding> {
    let place = u32::try_from(place).ok()?;
    let found = verdicts.items.binary_search_by_key(&place, |verdict| verdict.item).ok()?;
    let verdict = verdicts.items.get(found)?;
    let outcome = Outcome::from_number(u8::try_from(verdict.outcome).ok()?)?;
    Some(Finding { outcome, lists: names(verdicts, verdict).collect() })
}

/// The lists that name an item.
pub(super) fn names(
    verdicts: &proto::GuardVerdicts,
    verdict: &proto::GuardVerdict,
) -> impl Iterator<Item = ListName> {
    let named = |number: &u32| {
        let proto::GuardList { slug, name, version } = verdicts.lists.get(*number as usize)?.clone();
        Some(ListName { slug, name, version })
    };
    verdict.lists.iter().filter_map(named)
}

impl Hub {
    /// Holds values against these lists from now on.
    pub fn guard_with(&self, guard: Guard) {
        self.shared.guard.store(Arc::new(guard));
    }

    /// The lists that values are held against.
    #[must_use]
    pub fn guard(&self) -> Arc<Guard> {
        self.shared.guard.load_full()
    }

    /// How many items lists made something of since the start.
    #[must_use]
    pub fn guarded(&self, outcome: Outcome) -> u64 {
        let counters = COUNTED.iter().zip(&self.shared.counters.guarded);
        let counted = counters.filter(|(counted, _)| **counted == outcome);
        counted.map(|(_, counter)| counter.load(Ordering::Relaxed)).sum()
    }

    /// Counts what lists made of the items of a request; those that were
    /// refused for another reason are not theirs.
    pub(super) fn count_guarded(&self, verdicts: &proto::GuardVerdicts, decisions: &[Decision]) {
        let theirs = |verdict: &&proto::GuardVerdict| {
            let decision = decisions.get(verdict.item as usize);
            !matches!(decision, Some(Decision::Refused(refusal)) if *refusal != Refusal::Guarded)
        };
        for (outcome, counter) in COUNTED.iter().zip(&self.shared.counters.guarded) {
            let same = |verdict: &&proto::GuardVerdict| verdict.outcome == u32::from(outcome.number());
            let count = verdicts.items.iter().filter(same).filter(theirs).count();
            counter.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(outcome: Outcome, slugs: &[&str]) -> Finding {
        let list = |slug: &&str| ListName { slug: (*slug).to_owned(), name: "N".to_owned(), version: 4 };
        Finding { outcome, lists: slugs.iter().map(list).collect() }
    }

    #[test]
    fn what_is_carried_is_what_was_found() {
        let mut judged = Judged::by(7);
        let (first, last) = (found(Outcome::Held, &["a", "b"]), found(Outcome::Informed, &["b"]));
        let sent = Wanted { digest: 11, lists: vec!["a".into(), "b".into()] };
        judged.note(1, &first, 10, Some(&sent));
        judged.note(5, &last, 12, None);
        let carried = judged.verdicts.clone().unwrap();
        assert_eq!(carried.lists.len(), 2, "each list once");
        let all: Vec<_> = (0..7).map(|place| finding(&carried, place)).collect();
        assert_eq!(all, [None, Some(first), None, None, None, Some(last), None]);
        assert_eq!([10, 12, 3].map(|digest| judged.wanted(digest)), [Some(sent), None, None]);
    }
}
