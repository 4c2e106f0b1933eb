//! Decides how it is stored which lengths of prefix the networks of an audience
//! class have had, so that an address is looked up under few networks.

use std::collections::BTreeMap;

use prost::Message as _;

use crate::model::audience::ClassNo;
use crate::model::indicator::wider::PrefixLengths;

use super::batch::Batch;
use super::db::{Error, Store};
use super::keys::{self, Family};
use super::{proto, roster};

/// Noun of the directory records.
const LENGTHS: u8 = b'n';

impl Batch<'_> {
    /// The lengths of an audience class.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn prefix_lengths(&mut self, class: ClassNo, lengths: PrefixLengths) -> Result<(), Error> {
        let (v4, v6) = lengths.bits();
        #[expect(clippy::cast_possible_truncation, reason = "the lower half, beside the upper one")]
        let record = proto::PrefixLengths { v4, v6_low: v6 as u64, v6_high: (v6 >> 64) as u64 };
        self.directory(LENGTHS, &class.0.to_be_bytes(), Some(&record.encode_to_vec()))
    }
}

impl Store {
    /// The lengths of every audience class that has had a network.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub(super) fn prefix_lengths(&self) -> Result<BTreeMap<ClassNo, PrefixLengths>, Error> {
        let mut out = BTreeMap::new();
        let mut records = self.records(Family::Meta, &keys::directory(LENGTHS, b""))?;
        while let Some((key, value)) = records.next_record()? {
            let class = key.last_chunk::<4>().ok_or_else(|| Error::corrupt("prefix lengths", &key))?;
            let proto::PrefixLengths { v4, v6_low, v6_high } = roster::message(&key, &value)?;
            let v6 = u128::from(v6_high) << 64 | u128::from(v6_low);
            out.insert(ClassNo(u32::from_be_bytes(*class)), PrefixLengths::from_bits(v4, v6));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Tuning;

    #[test]
    fn lengths_are_read_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), &Tuning::default()).unwrap();
        let all = BTreeMap::from([
            (ClassNo(1), PrefixLengths::from_bits(1 << 31 | 1, 1 << 127 | 1)),
            (ClassNo(70_000), PrefixLengths::from_bits(0, 1 << 63 | 1 << 64)),
        ]);
        let mut batch = Batch::new(&store);
        for (class, lengths) in &all {
            batch.prefix_lengths(*class, *lengths).unwrap();
        }
        store.commit(batch).unwrap();
        assert_eq!(store.directory().unwrap().lengths, all);
    }
}
