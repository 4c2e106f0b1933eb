//! Decides how a large map is changed while others still read it: in sheets of
//! a bounded size, of which a copy shares all but those that differ.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Most entries on a sheet.
const MOST: usize = 256;

/// One sheet: entries in the order of their keys.
type Sheet<K, V> = Arc<Vec<(K, V)>>;

/// A map in the order of its keys. A copy costs a pointer for each sheet; a
/// change afterwards copies one sheet.
#[derive(Clone)]
pub struct Sheets<K, V> {
    /// None empty, in the order of their keys.
    sheets: Vec<Sheet<K, V>>,
    len: usize,
}

impl<K, V> Default for Sheets<K, V> {
    fn default() -> Self {
        Self { sheets: Vec::new(), len: 0 }
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Sheets<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.sheets.iter().flat_map(|sheet| sheet.iter());
        f.debug_map().entries(all.map(|(key, value)| (key, value))).finish()
    }
}

impl<K: Ord + Clone, V: Clone> Sheets<K, V> {
    /// Number of entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.sheets.iter().flat_map(|sheet| sheet.iter()).map(|(key, value)| (key, value))
    }

    /// All keys in their order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        let sheet = self.sheets.get(self.sheet_of(key))?;
        let place = sheet.binary_search_by(|(known, _)| known.cmp(key)).ok()?;
        sheet.get(place).map(|(_, value)| value)
    }

    /// Whether a key has a value.
    #[must_use]
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// Gives a key a value; the one that it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let at = self.sheet_of(&key);
        let Some(sheet) = self.sheets.get_mut(at) else {
            self.sheets.push(Arc::new(vec![(key, value)]));
            self.len = 1;
            return None;
        };
        let sheet = Arc::make_mut(sheet);
        match sheet.binary_search_by(|(known, _)| known.cmp(&key)) {
            Ok(place) => sheet.get_mut(place).map(|(_, known)| std::mem::replace(known, value)),
            Err(place) => {
                sheet.insert(place, (key, value));
                self.len += 1;
                if sheet.len() > MOST {
                    let upper = sheet.split_off(MOST / 2);
                    self.sheets.insert(at + 1, Arc::new(upper));
                }
                None
            }
        }
    }

    /// Keeps the entries for which `kept` holds.
    pub fn retain(&mut self, kept: impl Fn(&K, &V) -> bool) {
        for sheet in &mut self.sheets {
            if !sheet.iter().all(|(key, value)| kept(key, value)) {
                Arc::make_mut(sheet).retain(|(key, value)| kept(key, value));
            }
        }
        self.sheets.retain(|sheet| !sheet.is_empty());
        self.len = self.sheets.iter().map(|sheet| sheet.len()).sum();
    }

    /// The entries that `before` lacks, or has with a value that is not the
    /// `same`. Costs what the sheets cost that the two do not share.
    pub fn changed_since<'a>(
        &'a self,
        before: &'a Self,
        same: impl Fn(&V, &V) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a K, &'a V)> {
        let shared: BTreeSet<_> = before.sheets.iter().map(Arc::as_ptr).collect();
        let others = self.sheets.iter().filter(move |sheet| !shared.contains(&Arc::as_ptr(sheet)));
        others
            .flat_map(|sheet| sheet.iter())
            .map(|(key, value)| (key, value))
            .filter(move |(key, value)| before.get(key).is_none_or(|known| !same(known, value)))
    }

    /// Where the sheet is on which a key stands, or would.
    fn sheet_of(&self, key: &K) -> usize {
        let after = self.sheets.partition_point(|sheet| sheet.first().is_some_and(|(first, _)| first <= key));
        after.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// How many sheets of `map` are not those of `before`.
    fn own(map: &Sheets<u32, u32>, before: &Sheets<u32, u32>) -> usize {
        let known: BTreeSet<_> = before.sheets.iter().map(Arc::as_ptr).collect();
        map.sheets.iter().filter(|sheet| !known.contains(&Arc::as_ptr(sheet))).count()
    }

    #[test]
    fn a_change_copies_one_sheet_however_many_there_are() {
        let mut map = Sheets::default();
        for number in 0..100_000_u32 {
            map.insert(number.wrapping_mul(2_654_435_761), number);
        }
        for key in [0, 1, u32::MAX, 2_654_435_761] {
            let before = map.clone();
            map.insert(key, 7);
            assert!(own(&map, &before) <= 2, "one, or the halves of one");
            let changed: Vec<_> = map.changed_since(&before, |a, b| a == b).collect();
            assert_eq!(changed, [(&key, &7)]);
        }
        assert!(map.sheets.len() < 100_000 / (MOST / 2) + 2);
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_map_holds_and_knows_what_differs(
            first in prop::collection::vec((0..2_000_u32, 0..4_u32), 0..1_500),
            second in prop::collection::vec((0..2_000_u32, 0..4_u32), 0..100),
            dropped in 0..5_u32,
        ) {
            let (mut map, mut plain) = (Sheets::default(), BTreeMap::new());
            for (key, value) in first {
                prop_assert_eq!(map.insert(key, value), plain.insert(key, value));
            }
            let (before, plain_before) = (map.clone(), plain.clone());
            for (key, value) in second {
                prop_assert_eq!(map.insert(key, value), plain.insert(key, value));
            }
            map.retain(|_, value| *value != dropped);
            plain.retain(|_, value| *value != dropped);
            prop_assert_eq!(format!("{map:?}"), format!("{plain:?}"));
            prop_assert!(map.iter().eq(&plain));
            prop_assert_eq!((map.len(), map.is_empty()), (plain.len(), plain.is_empty()));
            for key in 0..2_000 {
                prop_assert_eq!(map.get(&key), plain.get(&key));
            }
            let naive = plain.iter().filter(|(key, value)| plain_before.get(key) != Some(value));
            prop_assert!(map.changed_since(&before, |a, b| a == b).eq(naive));
            let gone = plain_before.iter().filter(|(key, _)| !plain.contains_key(key));
            prop_assert!(before.changed_since(&map, |_, _| true).eq(gone));
            prop_assert!(before.iter().eq(&plain_before), "a copy stays as it was");
        }
    }
}
