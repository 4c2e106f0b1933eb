//! Decides which classes of a directory somebody sees, for who asks of all of
//! them: found out once for each, since a directory does not change.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::model::audience::ClassNo;
use crate::model::org::OrgNo;
use crate::model::principal::SpiffeId;
use crate::policy::visibility::{Purpose, Viewer};

/// Most bytes of what is kept of one directory, about.
const MAX_BYTES: usize = 4 << 20;
/// What one set takes beside its bits, about.
const BYTES: usize = 160;

/// A set of audience classes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Classes(Box<[u64]>);

impl Classes {
    /// Those of the first `count` of which `holds` is true.
    fn of(count: usize, holds: impl Fn(ClassNo) -> bool) -> Self {
        let mut words = vec![0_u64; count / 64 + 1];
        for class in 0..=u32::try_from(count).unwrap_or(u32::MAX) {
            if let Some(word) = words.get_mut((class / 64) as usize) {
                *word |= u64::from(holds(ClassNo(class))) << (class % 64);
            }
        }
        Self(words.into())
    }

    /// Whether it is one of them.
    pub(super) fn holds(&self, ClassNo(class): ClassNo) -> bool {
        self.0.get((class / 64) as usize).is_some_and(|word| word >> (class % 64) & 1 == 1)
    }
}

type Key = (OrgNo, Option<SpiffeId>, Purpose);

/// The sets that were asked for; none of them is copied with a directory.
#[derive(Debug, Default)]
pub(super) struct Sets(Mutex<FxHashMap<Key, Arc<Classes>>>);

impl Clone for Sets {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Sets {
    /// Those of `count` classes that a viewer sees, as `holds` says.
    pub(super) fn of(
        &self,
        viewer: Viewer<'_>,
        purpose: Purpose,
        count: usize,
        holds: impl Fn(ClassNo) -> bool,
    ) -> Arc<Classes> {
        let person = purpose.reaches_persons().then(|| viewer.principal.clone());
        let key = (viewer.org, person, purpose);
        if let Some(known) = self.0.lock().get(&key) {
            return Arc::clone(known);
        }
        let found = Arc::new(Classes::of(count, holds));
        let mut sets = self.0.lock();
        if (sets.len() + 1) * (count / 8 + BYTES) > MAX_BYTES {
            sets.clear();
        }
        sets.insert(key, Arc::clone(&found));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://t.example/org/a/user/{name}")).unwrap()
    }

    #[test]
    fn sets_are_of_who_asks_and_for_what_and_no_larger_than_there_is_room_for() {
        let (sets, asked) = (Sets::default(), std::cell::Cell::new(0));
        let get = |org: u32, name: &str, purpose| {
            let person = person(name);
            let viewer = Viewer { org: OrgNo(org), principal: &person };
            let holds = |class: ClassNo| {
                asked.set(asked.get() + 1);
                class.0.is_multiple_of(org + 1)
            };
            sets.of(viewer, purpose, 130, holds)
        };
        let first = get(1, "u", Purpose::Search);
        let held: Vec<_> = (0..400).filter(|class| first.holds(ClassNo(*class))).collect();
        assert_eq!(held, (0..=130).filter(|class| class % 2 == 0).collect::<Vec<_>>());
        let found_out = asked.get();
        assert!(Arc::ptr_eq(&first, &get(1, "v", Purpose::Search)), "one for all of it");
        assert_eq!(asked.get(), found_out);
        for (org, name, purpose) in [
            (2, "u", Purpose::Search),
            (1, "u", Purpose::Aggregate),
            (1, "u", Purpose::Get),
            (1, "v", Purpose::Get),
        ] {
            let before = asked.get();
            get(org, name, purpose);
            assert!(asked.get() > before, "{org} {name} {purpose:?}");
        }
        for org in 0..60_000 {
            get(org, "u", Purpose::Search);
        }
        let kept = sets.0.lock();
        assert!(!kept.is_empty() && kept.len() * BYTES <= MAX_BYTES);
    }
}
