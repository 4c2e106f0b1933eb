//! Decides where in a roster file a record stands, so that what is wrong with
//! it is told by its place there.

use std::collections::HashMap;

use crate::model::Invalid;

/// Where in a roster file each record with a key stands.
#[derive(Debug, Clone, Default)]
pub struct Places(HashMap<String, usize>);

impl Places {
    /// From the keys of each list, in the file's order.
    pub(super) fn new<const N: usize>(lists: [(&str, Vec<String>); N]) -> Self {
        let keyed = lists.into_iter().flat_map(|(list, keys)| {
            keys.into_iter()
                .enumerate()
                .map(move |(at, key)| (format!("{list}[{key}]"), at))
                .collect::<Vec<_>>()
        });
        Self(keyed.collect())
    }

    /// The same problem with the record's place in the file instead of its
    /// key: `organisations[3].valid_to` for `organisations[so-tttt].valid_to`.
    #[must_use]
    pub fn place(&self, mut invalid: Invalid) -> Invalid {
        if let Some((record, rest)) = invalid.field.split_once(']')
            && let Some(at) = self.0.get(&format!("{record}]"))
            && let Some((list, _)) = record.split_once('[')
        {
            invalid.field = format!("{list}[{at}]{rest}");
        }
        invalid
    }
}
