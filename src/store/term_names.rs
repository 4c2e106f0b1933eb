//! Decides how the words behind filter terms are kept: a term is half a digest,
//! and whoever counts by it must be able to say of what.
//!
//! ```text
//! key      kind u8 | term u64
//! value    sort u8 | the words, UTF-8, in the form that the term is made of
//! ```

use std::collections::BTreeMap;

use rocksdb::DBPinnableSlice;

use super::calls::count;
use super::db::{Error, Store};
use super::keys::{self, Family};

/// What a filter term stands for. Numbers are stored: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TermKind {
    /// A label.
    Label = 1,
    /// A family of malware, in lower case.
    Family = 2,
    /// A campaign, in lower case.
    Campaign = 3,
    /// A technique of ATT&CK.
    Technique = 4,
}

impl TermKind {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Label),
            2 => Some(Self::Family),
            3 => Some(Self::Campaign),
            4 => Some(Self::Technique),
            _ => None,
        }
    }
}

/// The words behind a term.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TermName {
    /// What they are.
    pub kind: TermKind,
    /// The words, in the form that the term is made of: the same whoever
    /// spelt them, so that they tell nothing of him.
    pub text: String,
}

impl TermName {
    pub(super) fn encode(&self) -> Vec<u8> {
        [&[self.kind as u8], self.text.as_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&kind, text) = bytes.split_first()?;
        Some(Self { kind: TermKind::from_number(kind)?, text: String::from_utf8(text.to_vec()).ok()? })
    }
}

/// The names that a step of indexing writes, by term.
pub type TermNames = BTreeMap<u64, TermName>;

impl Store {
    /// What each of these filter terms stands for; `None`: no record that is
    /// indexed carries it, or it is that of a role. Sorted terms cost less.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn term_names(&self, terms: &[u64]) -> Result<Vec<Option<TermName>>, Error> {
        count(&self.counters.small, terms.len());
        let keys: Vec<_> = terms.iter().map(|&term| keys::term_name(term)).collect();
        let found = self.db.batched_multi_get_cf(self.family(Family::Counters)?, keys.iter(), false);
        let name = |(found, term): (Result<Option<DBPinnableSlice<'_>>, _>, &u64)| {
            let decode = |bytes: DBPinnableSlice<'_>| {
                TermName::decode(&bytes).ok_or_else(|| Error::corrupt("term name", *term))
            };
            found?.map(decode).transpose()
        };
        found.into_iter().zip(terms).map(name).collect()
    }
}
