//! Decides how it is stored what organisations call their own: in the entry that
//! changes it, as it stands, and how it stood before each of the last changes.
//!
//! ```text
//! 54 's' organisation u32                  Assets: as they stand
//! 54 'h' organisation u32 | position u64   Assets: how those stood that were changed there
//! ```

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use crate::base::clock::Timestamp;
use crate::model::asset::{Asset, AssetChange, List, Standing, take_in};
use crate::model::org::OrgNo;
use crate::model::position::Position;

use super::batch::Batch;
use super::db::{Error, Store};
use super::keys::{Family, KeyKind};
use super::proto;

const STANDS: u8 = b's';
const BEFORE: u8 = b'h';

/// Most changes of an organisation's assets of which it is kept how they stood
/// before.
pub const MAX_PAST: usize = 64;
/// Most assets in all of those.
pub const MAX_PAST_ASSETS: usize = 8_192;

/// How assets stood before they were changed; `None`: they were not there.
pub type Before = BTreeMap<Asset, Option<Standing>>;

/// The assets of one organisation, and how they stood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// As they stand.
    pub list: List,
    /// When that was changed last; `None`: never.
    pub time: Option<Timestamp>,
    /// What each of the last changes changed, and where, in order.
    pub past: Vec<(Position, Before)>,
    /// Before here it is not known how they stood.
    pub known_from: Position,
}

impl Record {
    /// Takes in a change that is at `at`. How it stood before the oldest ones is
    /// forgotten where that is too much.
    pub fn change(&mut self, changed: Before, at: Position, time: Timestamp) {
        let before = take_in(&mut self.list, changed);
        self.past.push((at, before));
        self.time = Some(time);
        let kept = |past: &[(Position, Before)]| past.iter().map(|(_, before)| before.len()).sum::<usize>();
        while self.past.len() > MAX_PAST || (self.past.len() > 1 && kept(&self.past) > MAX_PAST_ASSETS) {
            (self.known_from, _) = self.past.remove(0);
        }
    }

    /// The list as it stood after whatever is at `position`; `None`: that is not
    /// known any more.
    #[must_use]
    pub fn at(&self, position: Position) -> Option<List> {
        if position < self.known_from {
            return None;
        }
        let mut list = self.list.clone();
        for (_, before) in self.past.iter().rev().take_while(|(at, _)| *at > position) {
            take_in(&mut list, before.clone());
        }
        Some(list)
    }

    /// Where it was changed last at or before `position`, as far as is known.
    #[must_use]
    pub fn last(&self, position: Position) -> Position {
        let after = self.past.partition_point(|(at, _)| *at <= position);
        self.past.get(..after).and_then(<[_]>::last).map_or(self.known_from, |(at, _)| *at)
    }

    /// Where it was changed next after `position`.
    #[must_use]
    pub fn next(&self, position: Position) -> Option<Position> {
        let after = self.past.partition_point(|(at, _)| *at <= position);
        self.past.get(after).map(|(at, _)| *at)
    }
}

fn key(noun: u8, organisation: OrgNo) -> Vec<u8> {
    [[KeyKind::Asset.byte(), noun].as_slice(), &organisation.0.to_be_bytes()].concat()
}

fn before_key(organisation: OrgNo, at: Position) -> Vec<u8> {
    [key(BEFORE, organisation).as_slice(), &at.raw().to_be_bytes()].concat()
}

fn texts<'a>(assets: impl Iterator<Item = &'a Asset>) -> Vec<String> {
    assets.map(ToString::to_string).collect()
}

fn damaged(organisation: OrgNo) -> Error {
    Error::corrupt("assets", organisation)
}

fn assets(stored: &[String], organisation: OrgNo) -> Result<BTreeSet<Asset>, Error> {
    let read = |text: &String| Asset::from_canonical(text).ok_or_else(|| damaged(organisation));
    stored.iter().map(read).collect()
}

/// What is changed, as the entry says it.
#[must_use]
pub fn encode_change(organisation: OrgNo, change: &AssetChange) -> proto::AssetChange {
    let (add, remove) = (texts(change.add.iter()), texts(change.remove.iter()));
    proto::AssetChange { organisation: organisation.0, add, remove }
}

/// The same read.
///
/// # Errors
/// [`Error::Corrupt`].
pub fn decode_change(stored: &proto::AssetChange) -> Result<(OrgNo, AssetChange), Error> {
    let organisation = OrgNo(stored.organisation);
    let (add, remove) = (assets(&stored.add, organisation)?, assets(&stored.remove, organisation)?);
    Ok((organisation, AssetChange { add, remove }))
}

fn encode(standing: impl Iterator<Item = (Asset, Option<Standing>)>) -> proto::Assets {
    let mut stored = proto::Assets::default();
    for (asset, standing) in standing {
        let list = match standing {
            Some(Standing::Own) => &mut stored.own,
            Some(Standing::Dropped) => &mut stored.dropped,
            None => &mut stored.absent,
        };
        list.push(asset.to_string());
    }
    stored
}

fn decode(stored: &proto::Assets, organisation: OrgNo) -> Result<Before, Error> {
    let lists = [
        (&stored.own, Some(Standing::Own)),
        (&stored.dropped, Some(Standing::Dropped)),
        (&stored.absent, None),
    ];
    let mut all = Before::new();
    for (texts, standing) in lists {
        all.extend(assets(texts, organisation)?.into_iter().map(|asset| (asset, standing)));
    }
    Ok(all)
}

fn standing(stored: &proto::Assets, organisation: OrgNo) -> Result<List, Error> {
    let all = decode(stored, organisation)?.into_iter();
    Ok(all.filter_map(|(asset, standing)| Some((asset, standing?))).collect())
}

impl Batch<'_> {
    /// What an organisation calls its own, and how it stood; `before` is what is
    /// stored of it.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn assets(&mut self, organisation: OrgNo, before: &Record, after: &Record) -> Result<(), Error> {
        let list = after.list.iter().map(|(asset, standing)| (asset.clone(), Some(*standing)));
        let mut stored = encode(list);
        stored.time = after.time.map_or(0, Timestamp::as_micros);
        stored.known_from = after.known_from.raw();
        self.small(&key(STANDS, organisation), &stored.encode_to_vec())?;
        let known = |record: &Record, at| record.past.iter().any(|(past, _)| *past == at);
        for (at, _) in before.past.iter().filter(|(at, _)| !known(after, *at)) {
            self.no_small(&before_key(organisation, *at))?;
        }
        for (at, changed) in after.past.iter().filter(|(at, _)| !known(before, *at)) {
            let changed = encode(changed.iter().map(|(asset, standing)| (asset.clone(), *standing)));
            self.small(&before_key(organisation, *at), &changed.encode_to_vec())?;
        }
        Ok(())
    }
}

impl Store {
    /// What an organisation calls its own, and how it stood.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn assets(&self, organisation: OrgNo) -> Result<Record, Error> {
        match self.small(&key(STANDS, organisation))? {
            Some(stands) => self.read_assets(organisation, &stands),
            None => Ok(Record::default()),
        }
    }

    /// The list alone, as it stands.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn asset_list(&self, organisation: OrgNo) -> Result<List, Error> {
        let Some(stands) = self.small(&key(STANDS, organisation))? else { return Ok(List::default()) };
        let stored = proto::Assets::decode(stands.as_slice()).map_err(|_| damaged(organisation))?;
        standing(&stored, organisation)
    }

    /// The same of every organisation that ever had any.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn all_assets(&self) -> Result<BTreeMap<OrgNo, Record>, Error> {
        let prefix = [KeyKind::Asset.byte(), STANDS];
        let (mut records, mut all) = (self.records(Family::Meta, &prefix)?, BTreeMap::new());
        while let Some((key, stands)) = records.next_record()? {
            let number = key.get(2..).and_then(|number| number.try_into().ok());
            let number = number.ok_or_else(|| Error::corrupt("assets key", &key))?;
            let organisation = OrgNo(u32::from_be_bytes(number));
            all.insert(organisation, self.read_assets(organisation, &stands)?);
        }
        Ok(all)
    }

    fn read_assets(&self, organisation: OrgNo, stands: &[u8]) -> Result<Record, Error> {
        let damaged = || damaged(organisation);
        let stored = proto::Assets::decode(stands).map_err(|_| damaged())?;
        let mut record = Record {
            list: standing(&stored, organisation)?,
            time: (stored.time != 0).then(|| Timestamp::from_micros_clamped(stored.time)),
            past: Vec::new(),
            known_from: Position::from_raw(stored.known_from),
        };
        let prefix = key(BEFORE, organisation);
        let mut records = self.records(Family::Meta, &prefix)?;
        while let Some((key, changed)) = records.next_record()? {
            let at = key.get(prefix.len()..).and_then(|at| at.try_into().ok()).ok_or_else(damaged)?;
            let changed = proto::Assets::decode(changed.as_slice()).map_err(|_| damaged())?;
            record.past.push((Position::from_raw(u64::from_be_bytes(at)), decode(&changed, organisation)?));
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Tuning;

    fn at(raw: u64) -> Position {
        Position::from_raw(raw << 10)
    }

    fn asset(number: u32) -> Asset {
        Asset::System(number)
    }

    /// Changes one asset to stand so.
    fn change(record: &mut Record, number: u32, standing: Option<Standing>, position: u64) {
        let changed = [(asset(number), standing)].into();
        record.change(changed, at(position), Timestamp::from_micros_clamped(position));
    }

    #[test]
    fn assets_are_read_as_they_were_written_and_as_they_stood() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path(), &Tuning::default()).unwrap();
        let (org, other) = (OrgNo(7), OrgNo(8));
        let mut before = Record::default();
        let mut record = Record::default();
        for (number, standing, position) in [
            (1, Some(Standing::Own), 3),
            (2, Some(Standing::Dropped), 5),
            (1, None, 8),
            (2, Some(Standing::Own), 9),
        ] {
            change(&mut record, number, standing, position);
            let mut batch = Batch::new(&store);
            batch.assets(org, &before, &record).unwrap();
            store.commit(batch).unwrap();
            before = record.clone();
            assert_eq!(store.assets(org).unwrap(), record);
            assert_eq!(store.asset_list(org).unwrap(), record.list);
        }
        assert_eq!(store.assets(other).unwrap(), Record::default());
        assert_eq!(store.all_assets().unwrap(), [(org, record.clone())].into());
        let stood = |position| record.at(at(position)).unwrap().into_iter().collect::<Vec<_>>();
        assert_eq!(stood(2), []);
        assert_eq!(stood(4), [(asset(1), Standing::Own)]);
        assert_eq!(stood(8), [(asset(2), Standing::Dropped)]);
        assert_eq!(stood(99), [(asset(2), Standing::Own)]);
        let last = [0, 3, 4, 9].map(|position| record.last(at(position)));
        assert_eq!(last, [Position::ZERO, at(3), at(3), at(9)]);
        let next = [0, 3, 8, 9].map(|position| record.next(at(position)));
        assert_eq!(next, [Some(at(3)), Some(at(5)), Some(at(9)), None]);
    }

    #[test]
    fn how_assets_stood_is_forgotten_past_its_bounds_and_that_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path(), &Tuning::default()).unwrap();
        let mut record = Record::default();
        for position in 1..=MAX_PAST as u64 + 3 {
            let before = record.clone();
            change(&mut record, 1, Some(Standing::Own).filter(|_| position % 2 == 1), position);
            let mut batch = Batch::new(&store);
            batch.assets(OrgNo(1), &before, &record).unwrap();
            store.commit(batch).unwrap();
        }
        assert_eq!(store.assets(OrgNo(1)).unwrap(), record);
        assert_eq!((record.past.len(), record.known_from), (MAX_PAST, at(3)));
        assert_eq!((record.at(at(2)), record.at(at(3)).unwrap().len()), (None, 1));

        let many = |from: u32| (from..from + 5_000).map(|n| (asset(n), Some(Standing::Own))).collect();
        let mut record = Record::default();
        record.change(many(1), at(1), Timestamp::EPOCH);
        record.change(many(9_000), at(2), Timestamp::EPOCH);
        assert_eq!((record.past.len(), record.known_from), (1, at(1)));
    }

    #[test]
    fn a_change_is_read_from_the_entry_as_it_was() {
        let change = AssetChange {
            add: ["198.51.100.0/24", "a.example", "AS64500"].map(|text| Asset::parse(text).unwrap()).into(),
            remove: ["2001:db8::1"].map(|text| Asset::parse(text).unwrap()).into(),
        };
        assert_eq!(decode_change(&encode_change(OrgNo(3), &change)).unwrap(), (OrgNo(3), change));
        let damaged = proto::AssetChange { organisation: 3, add: vec![String::new()], remove: Vec::new() };
        assert!(decode_change(&damaged).is_err());
    }
}
