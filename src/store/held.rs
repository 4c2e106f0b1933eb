//! Decides how held publications are stored, and how they are found.
//!
//! ```text
//! 54 'h' indicator u64                    Held
//! 54 'o' owner u32 | indicator u64        empty: found by its owner
//! 54 'c' audience class u32 | indicator   empty: found by who leads, of what he may see
//! 54 'p' provider u32 | indicator         empty: found by who published it for the owner
//! 54 'n' owner u32 | person, to the end   how many that he published wait, u32
//! ```

use prost::Message as _;

use crate::base::clock::Timestamp;
use crate::model::audience::ClassNo;
use crate::model::held::{Held, HeldState};
use crate::model::indicator::RecommendedAction;
use crate::model::org::OrgNo;
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::model::republication::Answer;
use crate::model::warninglist::ListName;

use super::batch::Batch;
use super::db::{Error, Store};
use super::keys::{Family, KeyKind};
use super::proto;

const RECORD: u8 = b'h';
const COUNT: u8 = b'n';

/// By what held publications are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum By {
    /// The owner of the indicator.
    Owner = b'o',
    /// The audience class of its version.
    Class = b'c',
    /// Who published it on the owner's behalf.
    Provider = b'p',
}

fn record_key(indicator: Position) -> Vec<u8> {
    [[KeyKind::Held.byte(), RECORD].as_slice(), &indicator.raw().to_be_bytes()].concat()
}

fn found_key(by: By, number: u32, indicator: Position) -> Vec<u8> {
    let indicator = indicator.raw().to_be_bytes();
    [[KeyKind::Held.byte(), by as u8].as_slice(), &number.to_be_bytes(), &indicator].concat()
}

fn count_key(owner: OrgNo, person: &str) -> Vec<u8> {
    [[KeyKind::Held.byte(), COUNT].as_slice(), &owner.0.to_be_bytes(), person.as_bytes()].concat()
}

/// The keys under which a held publication is found.
fn found_keys(indicator: Position, held: &Held) -> Vec<Vec<u8>> {
    let owner = found_key(By::Owner, held.owner.0, indicator);
    let class = found_key(By::Class, held.class.0, indicator);
    let provider = (held.by != held.owner).then(|| found_key(By::Provider, held.by.0, indicator));
    [owner, class].into_iter().chain(provider).collect()
}

/// Lists as they are stored.
#[must_use]
pub fn encode_lists(lists: &[ListName]) -> Vec<proto::GuardList> {
    let list = |ListName { slug, name, version }: &ListName| proto::GuardList {
        slug: slug.clone(),
        name: name.clone(),
        version: *version,
    };
    lists.iter().map(list).collect()
}

/// The same read.
#[must_use]
pub fn decode_lists(stored: &[proto::GuardList]) -> Vec<ListName> {
    let list = |proto::GuardList { slug, name, version }: &proto::GuardList| ListName {
        slug: slug.clone(),
        name: name.clone(),
        version: *version,
    };
    stored.iter().map(list).collect()
}

fn encode(held: &Held) -> proto::Held {
    let Held { owner, class, at, wanted, action, lists, requester, by, time, state, answer } = held;
    let mut stored = proto::Held {
        owner: owner.0,
        class: class.0,
        at: at.raw(),
        wanted: *wanted,
        action: u32::from(action.number()),
        lists: encode_lists(lists),
        requester: requester.to_string(),
        by: by.0,
        time: time.as_micros(),
        state: u32::from(state.number()),
        ..proto::Held::default()
    };
    if let Some(Answer { note, answerer, time }) = answer {
        (stored.note, stored.answerer) = (note.clone(), answerer.to_string());
        stored.answer_time = time.as_micros();
    }
    stored
}

fn decode(indicator: Position, record: &[u8]) -> Result<Held, Error> {
    let damaged = || Error::corrupt("held publication", indicator);
    let stored = proto::Held::decode(record).map_err(|_| damaged())?;
    let person = |text: &str| SpiffeId::parse(text).map_err(|_| damaged());
    let number = |number: u32| u8::try_from(number).map_err(|_| damaged());
    let answer = if stored.answerer.is_empty() {
        None
    } else {
        let time = Timestamp::from_micros_clamped(stored.answer_time);
        Some(Answer { note: stored.note, answerer: person(&stored.answerer)?, time })
    };
    Ok(Held {
        owner: OrgNo(stored.owner),
        class: ClassNo(stored.class),
        at: Position::from_raw(stored.at),
        wanted: stored.wanted,
        action: RecommendedAction::from_number(number(stored.action)?).ok_or_else(damaged)?,
        lists: decode_lists(&stored.lists),
        requester: person(&stored.requester)?,
        by: OrgNo(stored.by),
        time: Timestamp::from_micros_clamped(stored.time),
        state: HeldState::from_number(number(stored.state)?).ok_or_else(damaged)?,
        answer,
    })
}

impl Batch<'_> {
    /// What is held of an indicator, in place of what was.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn held(
        &mut self,
        indicator: Position,
        before: Option<&Held>,
        held: Option<&Held>,
    ) -> Result<(), Error> {
        let keys = |held: Option<&Held>| held.map(|held| found_keys(indicator, held)).unwrap_or_default();
        let now = keys(held);
        for key in keys(before).iter().filter(|key| !now.contains(key)) {
            self.no_small(key)?;
        }
        for key in &now {
            self.small(key, &[])?;
        }
        match held {
            Some(held) => self.small(&record_key(indicator), &encode(held).encode_to_vec()),
            None => self.no_small(&record_key(indicator)),
        }
    }

    /// How many that a person published wait.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn waiting_held(&mut self, owner: OrgNo, person: &SpiffeId, count: u32) -> Result<(), Error> {
        let key = count_key(owner, person.as_str());
        if count == 0 { self.no_small(&key) } else { self.small(&key, &count.to_be_bytes()) }
    }
}

impl Store {
    /// What is held of an indicator.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn held(&self, indicator: Position) -> Result<Option<Held>, Error> {
        let record = self.small(&record_key(indicator))?;
        record.map(|record| decode(indicator, &record)).transpose()
    }

    /// How many wait that each person published of an organisation's
    /// indicators; nobody is listed of whom none does.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn waiting_held(&self, owner: OrgNo) -> Result<Vec<(SpiffeId, u32)>, Error> {
        let prefix = count_key(owner, "");
        let mut records = self.records_from(Family::Meta, &prefix, &prefix)?;
        let mut out = Vec::new();
        while let Some((key, record)) = records.next_record()? {
            let damaged = || Error::corrupt("held publications", owner);
            let person = key.get(prefix.len()..).and_then(|person| std::str::from_utf8(person).ok());
            let person = person.and_then(|person| SpiffeId::parse(person).ok()).ok_or_else(damaged)?;
            let count = record.as_slice().try_into().map_err(|_| damaged())?;
            out.push((person, u32::from_be_bytes(count)));
        }
        Ok(out)
    }

    /// Up to `most` indicators of which something is held, after `after`, in
    /// order.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn held_by(
        &self,
        by: By,
        number: u32,
        after: Option<Position>,
        most: usize,
    ) -> Result<Vec<Position>, Error> {
        let first = found_key(by, number, Position::ZERO);
        let prefix = first.get(..6).unwrap_or_default();
        let from = after.map_or_else(|| prefix.to_vec(), |after| found_key(by, number, after.next()));
        let mut records = self.records_from(Family::Meta, prefix, &from)?;
        let mut out = Vec::new();
        while out.len() < most {
            let Some((key, _)) = records.next_record()? else { break };
            let indicator = key.get(6..).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
            let indicator = indicator.ok_or_else(|| Error::corrupt("held publication's key", &key))?;
            out.push(Position::from_raw(u64::from_be_bytes(indicator)));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Tuning;

    fn person(name: &str) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://t.example/org/a/user/{name}")).unwrap()
    }

    fn at(raw: u64) -> Position {
        Position::from_raw(raw)
    }

    fn held(owner: u32, class: u32, by: u32) -> Held {
        Held {
            owner: OrgNo(owner),
            class: ClassNo(class),
            at: at(2_048),
            wanted: 7,
            action: RecommendedAction::Isolate,
            lists: vec![ListName { slug: "a".into(), name: "A".into(), version: 3 }],
            requester: person("an"),
            by: OrgNo(by),
            time: Timestamp::from_micros_clamped(9),
            state: HeldState::Waiting,
            answer: None,
        }
    }

    #[test]
    fn a_held_publication_is_found_by_owner_class_and_provider_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path(), &Tuning::default()).unwrap();
        let answer = Answer { note: "why".into(), answerer: person("binh"), time: Timestamp::EPOCH };
        let own = held(1, 5, 1).answered(HeldState::Rejected, answer, at(4_096));
        let of_another = held(1, 5, 2);
        let commit = |change: &dyn Fn(&mut Batch<'_>)| {
            let mut batch = Batch::new(&store);
            change(&mut batch);
            store.commit(batch).unwrap();
        };
        commit(&|batch| {
            batch.held(at(1_024), None, Some(&own)).unwrap();
            batch.held(at(9_999), None, Some(&of_another)).unwrap();
            batch.waiting_held(OrgNo(1), &person("an"), 3).unwrap();
        });
        assert_eq!(store.held(at(1_024)).unwrap(), Some(own.clone()));
        assert_eq!(store.held(at(1_025)).unwrap(), None);
        assert_eq!(store.waiting_held(OrgNo(1)).unwrap(), [(person("an"), 3)]);
        let found = |by, number, after| store.held_by(by, number, after, 9).unwrap();
        assert_eq!(found(By::Owner, 1, None), [at(1_024), at(9_999)]);
        assert_eq!(found(By::Owner, 1, Some(at(1_024))), [at(9_999)]);
        assert_eq!(store.held_by(By::Owner, 1, None, 1).unwrap(), [at(1_024)]);
        assert_eq!(found(By::Class, 5, None), [at(1_024), at(9_999)]);
        assert_eq!(found(By::Provider, 2, None), [at(9_999)]);
        assert_eq!(found(By::Provider, 1, None), []);

        let moved = held(1, 6, 2);
        commit(&|batch| {
            batch.held(at(1_024), Some(&own), None).unwrap();
            batch.held(at(9_999), Some(&of_another), Some(&moved)).unwrap();
            batch.waiting_held(OrgNo(1), &person("an"), 0).unwrap();
        });
        assert_eq!((store.held(at(1_024)).unwrap(), store.held(at(9_999)).unwrap()), (None, Some(moved)));
        assert_eq!((found(By::Class, 5, None), found(By::Class, 6, None)), (vec![], vec![at(9_999)]));
        assert_eq!(found(By::Owner, 1, None), [at(9_999)]);
        assert_eq!(store.waiting_held(OrgNo(1)).unwrap(), []);
    }
}
