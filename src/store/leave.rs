//! Decides how leave to republish is stored: in the entry that asks for it,
//! gives or withdraws it, and as it stands.
//!
//! ```text
//! 52 'o' owner u32 | indicator u64 | organisation u32   Leave
//! 52 'a' organisation u32 | indicator u64 | owner u32   empty: the same found from the other side
//! 52 'n' organisation u32 | person, to the end          how many of his requests wait, u32
//! ```

use prost::Message as _;

use crate::base::clock::Timestamp;
use crate::model::audience::{ClassDefinition, ClassNo};
use crate::model::marking::Marking;
use crate::model::org::{OrgNo, OrgSlug};
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::model::republication::{Answer, Leave, LeaveState, Terms, Wish};

use super::batch::Batch;
use super::db::{Error, Store};
use super::keys::{Family, KeyKind};
use super::proto;
use super::roster::{decode_class, encode_class};

const OF_OWNER: u8 = b'o';
const OF_ASKER: u8 = b'a';
const COUNT: u8 = b'n';

/// What names a leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaveKey {
    /// Owner of the indicator.
    pub owner: OrgNo,
    /// Handle of the indicator.
    pub indicator: Position,
    /// Who would publish.
    pub organisation: OrgNo,
}

/// From which side leaves are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The owner's.
    Owner,
    /// That of who would publish.
    Asker,
}

impl LeaveKey {
    fn bytes(self, side: Side) -> Vec<u8> {
        let Self { owner, indicator, organisation } = self;
        let (noun, first, last) = match side {
            Side::Owner => (OF_OWNER, owner, organisation),
            Side::Asker => (OF_ASKER, organisation, owner),
        };
        let (first, last) = (first.0.to_be_bytes(), last.0.to_be_bytes());
        [[KeyKind::Leave.byte(), noun].as_slice(), &first, &indicator.raw().to_be_bytes(), &last].concat()
    }

    fn read(key: &[u8], side: Side) -> Option<Self> {
        let (_, rest) = key.split_first_chunk::<2>()?;
        let (first, rest) = rest.split_first_chunk::<4>()?;
        let (indicator, last) = rest.split_first_chunk::<8>()?;
        let (first, last) = (u32::from_be_bytes(*first), u32::from_be_bytes(last.try_into().ok()?));
        let (owner, organisation) = match side {
            Side::Owner => (first, last),
            Side::Asker => (last, first),
        };
        let indicator = Position::from_raw(u64::from_be_bytes(*indicator));
        Some(Self { owner: OrgNo(owner), indicator, organisation: OrgNo(organisation) })
    }
}

fn count_key(organisation: OrgNo, person: &str) -> Vec<u8> {
    let organisation = organisation.0.to_be_bytes();
    [[KeyKind::Leave.byte(), COUNT].as_slice(), &organisation, person.as_bytes()].concat()
}

/// How far, as it is stored.
#[must_use]
pub fn encode_reach(organisation: &OrgSlug, marking: &Marking) -> proto::AudienceClass {
    let class = ClassDefinition { owner: organisation.clone(), marking: marking.clone() };
    encode_class(ClassNo(0), &class)
}

/// The same read.
///
/// # Errors
/// [`Error::Corrupt`].
pub fn decode_reach(stored: &proto::AudienceClass) -> Result<Marking, Error> {
    decode_class(stored).map(|(_, class)| class.marking)
}

/// Leave for `organisation` as it is stored.
fn encode(organisation: &OrgSlug, leave: &Leave) -> proto::Leave {
    let Leave { state, open, wish, terms, answer } = leave;
    let mut stored = proto::Leave { state: u32::from(state.number()), open: *open, ..Default::default() };
    if let Some(Wish { marking, reason, requester, time }) = wish {
        stored.wish = Some(encode_reach(organisation, marking));
        (stored.reason, stored.requester) = (reason.clone(), requester.to_string());
        stored.request_time = time.as_micros();
    }
    if let Some(Terms { widest, until }) = terms {
        stored.widest = Some(encode_reach(organisation, widest));
        stored.until = until.map_or(0, Timestamp::as_micros);
    }
    if let Some(Answer { note, answerer, time }) = answer {
        (stored.note, stored.answerer) = (note.clone(), answerer.to_string());
        stored.answer_time = time.as_micros();
    }
    stored
}

/// A moment that may be absent.
#[must_use]
pub fn decode_until(micros: u64) -> Option<Timestamp> {
    (micros != 0).then(|| Timestamp::from_micros_clamped(micros))
}

fn decode(stored: proto::Leave) -> Result<Leave, Error> {
    let damaged = || Error::corrupt("leave", stored.state);
    let person = |text: &str| SpiffeId::parse(text).map_err(|_| Error::corrupt("leave", text));
    let time = Timestamp::from_micros_clamped;
    let wish = |reach: &proto::AudienceClass| -> Result<Wish, Error> {
        Ok(Wish {
            marking: decode_reach(reach)?,
            reason: stored.reason.clone(),
            requester: person(&stored.requester)?,
            time: time(stored.request_time),
        })
    };
    let terms = |reach: &proto::AudienceClass| -> Result<Terms, Error> {
        Ok(Terms { widest: decode_reach(reach)?, until: decode_until(stored.until) })
    };
    let answer = if stored.answerer.is_empty() {
        None
    } else {
        let (note, answerer) = (stored.note.clone(), person(&stored.answerer)?);
        Some(Answer { note, answerer, time: time(stored.answer_time) })
    };
    Ok(Leave {
        state: u8::try_from(stored.state).ok().and_then(LeaveState::from_number).ok_or_else(damaged)?,
        open: stored.open,
        wish: stored.wish.as_ref().map(wish).transpose()?,
        terms: stored.widest.as_ref().map(terms).transpose()?,
        answer,
    })
}

impl Batch<'_> {
    /// Where leave stands. `organisation` is the slug of who would publish.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn leave(&mut self, key: LeaveKey, organisation: &OrgSlug, leave: &Leave) -> Result<(), Error> {
        self.small(&key.bytes(Side::Owner), &encode(organisation, leave).encode_to_vec())?;
        self.small(&key.bytes(Side::Asker), &[])
    }

    /// How many requests of a person wait.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn open_leaves(&mut self, organisation: OrgNo, person: &SpiffeId, count: u32) -> Result<(), Error> {
        let key = count_key(organisation, person.as_str());
        if count == 0 { self.no_small(&key) } else { self.small(&key, &count.to_be_bytes()) }
    }
}

impl Store {
    /// Where leave stands; `None`: nobody ever asked.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn leave(&self, key: LeaveKey) -> Result<Option<Leave>, Error> {
        let Some(record) = self.small(&key.bytes(Side::Owner))? else { return Ok(None) };
        read(key, &record).map(Some)
    }

    /// How many requests of each person of an organisation wait; nobody is
    /// listed of whom none does.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn open_leaves(&self, organisation: OrgNo) -> Result<Vec<(SpiffeId, u32)>, Error> {
        let prefix = count_key(organisation, "");
        let mut records = self.records_from(Family::Meta, &prefix, &prefix)?;
        let mut out = Vec::new();
        while let Some((key, record)) = records.next_record()? {
            let damaged = || Error::corrupt("leaves", organisation);
            let person = key.get(prefix.len()..).and_then(|person| std::str::from_utf8(person).ok());
            let person = person.and_then(|person| SpiffeId::parse(person).ok()).ok_or_else(damaged)?;
            let count = record.as_slice().try_into().map_err(|_| damaged())?;
            out.push((person, u32::from_be_bytes(count)));
        }
        Ok(out)
    }

    /// Whether anybody ever asked for leave to republish an indicator.
    ///
    /// # Errors
    /// Whatever the engine answers.
    pub fn has_leave(&self, owner: OrgNo, indicator: Position) -> Result<bool, Error> {
        let key = LeaveKey { owner, indicator, organisation: OrgNo(0) }.bytes(Side::Owner);
        let prefix = key.get(..key.len() - size_of::<u32>()).unwrap_or_default();
        Ok(self.records(Family::Meta, prefix)?.next_record()?.is_some())
    }

    /// Up to `most` leaves of one side after `after`, in the order of keys.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn leaves(
        &self,
        side: Side,
        organisation: OrgNo,
        after: Option<LeaveKey>,
        most: usize,
    ) -> Result<Vec<(LeaveKey, Leave)>, Error> {
        let key = LeaveKey { owner: organisation, indicator: Position::ZERO, organisation };
        let prefix = key.bytes(side);
        let prefix = prefix.get(..6).unwrap_or_default();
        let from = after.map_or_else(|| prefix.to_vec(), |after| [after.bytes(side), vec![0]].concat());
        let mut records = self.records_from(Family::Meta, prefix, &from)?;
        let mut out = Vec::new();
        while out.len() < most {
            let Some((raw, record)) = records.next_record()? else { break };
            let key = LeaveKey::read(&raw, side).ok_or_else(|| Error::corrupt("leave key", &raw))?;
            let leave = match side {
                Side::Owner => read(key, &record)?,
                Side::Asker => self.leave(key)?.ok_or_else(|| Error::corrupt("leave", key))?,
            };
            out.push((key, leave));
        }
        Ok(out)
    }
}

fn read(key: LeaveKey, record: &[u8]) -> Result<Leave, Error> {
    decode(proto::Leave::decode(record).map_err(|_| Error::corrupt("leave", key))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::marking::{Caveats, Recipients, Tlp};
    use crate::store::Tuning;

    fn slug() -> OrgSlug {
        OrgSlug::parse("a").unwrap()
    }

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros_clamped(micros)
    }

    fn leave(state: LeaveState) -> Leave {
        let recipients = Recipients { organisations: vec![slug()], ..Recipients::default() };
        let marking = Marking { tlp: Tlp::Amber, recipients, caveats: Caveats::NO_ONWARD_FEED };
        let requester = SpiffeId::parse("spiffe://t.example/org/a/user/an").unwrap();
        let answerer = SpiffeId::parse("spiffe://t.example/org/b/user/binh").unwrap();
        Leave {
            state,
            open: true,
            wish: Some(Wish { marking, reason: "why".into(), requester, time: at(7) }),
            terms: Some(Terms { widest: Marking::open(Tlp::Green), until: Some(at(9)) }),
            answer: Some(Answer { note: "n".into(), answerer, time: at(8) }),
        }
    }

    #[test]
    fn leaves_are_found_from_both_sides_page_by_page() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path(), &Tuning::default()).unwrap();
        let key = |owner, indicator, organisation| LeaveKey {
            owner: OrgNo(owner),
            indicator: Position::from_raw(indicator),
            organisation: OrgNo(organisation),
        };
        let bare =
            Leave { open: false, wish: None, terms: None, answer: None, ..leave(LeaveState::Withdrawn) };
        let all = [
            (key(1, 1_024, 2), leave(LeaveState::Requested)),
            (key(1, 1_024, 3), leave(LeaveState::Granted)),
            (key(1, 9_999, 2), bare),
            (key(4, 1_025, 2), leave(LeaveState::Granted)),
        ];
        let mut batch = Batch::new(&store);
        for (key, leave) in &all {
            batch.leave(*key, &slug(), leave).unwrap();
        }
        let person = SpiffeId::parse("spiffe://t.example/org/a/user/an").unwrap();
        batch.open_leaves(OrgNo(2), &person, 3).unwrap();
        store.commit(batch).unwrap();
        let [one, other, bare, foreign] = all;
        assert_eq!(store.leave(other.0).unwrap(), Some(other.1.clone()));
        assert_eq!(store.leave(key(1, 1_024, 4)).unwrap(), None);
        assert_eq!(store.open_leaves(OrgNo(2)).unwrap(), [(person.clone(), 3)]);
        assert_eq!(store.open_leaves(OrgNo(1)).unwrap(), []);
        let mut batch = Batch::new(&store);
        batch.open_leaves(OrgNo(2), &person, 0).unwrap();
        store.commit(batch).unwrap();
        assert_eq!(store.open_leaves(OrgNo(2)).unwrap(), []);
        let listed = |side, org, after, most| store.leaves(side, OrgNo(org), after, most).unwrap();
        assert_eq!(listed(Side::Owner, 1, None, 2), [one.clone(), other.clone()]);
        assert_eq!(listed(Side::Owner, 1, Some(other.0), 9), std::slice::from_ref(&bare));
        assert_eq!(listed(Side::Asker, 2, None, 9), [one, foreign.clone(), bare.clone()]);
        assert_eq!(listed(Side::Asker, 2, Some(foreign.0), 9), [bare]);
        assert_eq!(listed(Side::Asker, 1, None, 9), []);
    }
}
