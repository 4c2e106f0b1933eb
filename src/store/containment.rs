//! Decides how holds are stored, and how those are found that end.
//!
//! ```text
//! 55 'i' indicator u64                   Containment
//! 55 'u' until, µs u64 | indicator u64   empty: one that lasts, by when it ends
//! ```

use prost::Message as _;

use crate::base::clock::Timestamp;
use crate::model::audience::ClassNo;
use crate::model::containment::{Containment, HoldState};
use crate::model::org::OrgNo;
use crate::model::position::Position;
use crate::model::principal::SpiffeId;

use super::batch::Batch;
use super::db::{Error, Store};
use super::keys::{Family, KeyKind};
use super::proto;

const RECORD: u8 = b'i';
const LASTING: u8 = b'u';

fn record_key(indicator: Position) -> Vec<u8> {
    [[KeyKind::Containment.byte(), RECORD].as_slice(), &indicator.raw().to_be_bytes()].concat()
}

fn lasting_key(until: Timestamp, indicator: Position) -> Vec<u8> {
    let (until, indicator) = (until.as_micros().to_be_bytes(), indicator.raw().to_be_bytes());
    [[KeyKind::Containment.byte(), LASTING].as_slice(), &until, &indicator].concat()
}

fn encode(hold: &Containment) -> proto::Containment {
    let Containment { by, person, reason, since, until, class, at, state } = hold;
    proto::Containment {
        by: by.0,
        person: person.as_ref().map(ToString::to_string).unwrap_or_default(),
        reason: reason.clone(),
        since: since.as_micros(),
        until: until.as_micros(),
        class: class.0,
        at: at.raw(),
        state: u32::from(state.number()),
    }
}

fn decode(indicator: Position, record: &[u8]) -> Result<Containment, Error> {
    let damaged = || Error::corrupt("hold", indicator);
    let stored = proto::Containment::decode(record).map_err(|_| damaged())?;
    let person = (!stored.person.is_empty()).then(|| SpiffeId::parse(&stored.person).map_err(|_| damaged()));
    Ok(Containment {
        by: OrgNo(stored.by),
        person: person.transpose()?,
        reason: stored.reason,
        since: Timestamp::from_micros_clamped(stored.since),
        until: Timestamp::from_micros_clamped(stored.until),
        class: ClassNo(stored.class),
        at: Position::from_raw(stored.at),
        state: u8::try_from(stored.state).ok().and_then(HoldState::from_number).ok_or_else(damaged)?,
    })
}

impl Batch<'_> {
    /// The hold on an indicator, in place of what was.
    ///
    /// # Errors
    /// If the store has lost its families.
    pub fn containment(
        &mut self,
        indicator: Position,
        before: Option<&Containment>,
        hold: Option<&Containment>,
    ) -> Result<(), Error> {
        if let Some(before) = before.filter(|before| before.lasts()) {
            self.no_small(&lasting_key(before.until, indicator))?;
        }
        if let Some(hold) = hold.filter(|hold| hold.lasts()) {
            self.small(&lasting_key(hold.until, indicator), &[])?;
        }
        match hold {
            Some(hold) => self.small(&record_key(indicator), &encode(hold).encode_to_vec()),
            None => self.no_small(&record_key(indicator)),
        }
    }
}

impl Store {
    /// The hold on an indicator, lasting or ended.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn containment(&self, indicator: Position) -> Result<Option<Containment>, Error> {
        let record = self.small(&record_key(indicator))?;
        record.map(|record| decode(indicator, &record)).transpose()
    }

    /// Up to `most` holds that last, those first that end first: when, and on
    /// what.
    ///
    /// # Errors
    /// [`Error::Corrupt`], or whatever the engine answers.
    pub fn lasting(&self, most: usize) -> Result<Vec<(Timestamp, Position)>, Error> {
        let prefix = [KeyKind::Containment.byte(), LASTING];
        let mut records = self.records(Family::Meta, &prefix)?;
        let mut out = Vec::new();
        while out.len() < most {
            let Some((key, _)) = records.next_record()? else { break };
            let numbers = key.get(2..).and_then(|rest| rest.split_first_chunk::<8>());
            let read =
                numbers.and_then(|(until, indicator)| Some((*until, <[u8; 8]>::try_from(indicator).ok()?)));
            let (until, indicator) = read.ok_or_else(|| Error::corrupt("hold's key", &key))?;
            let until = Timestamp::from_micros_clamped(u64::from_be_bytes(until));
            out.push((until, Position::from_raw(u64::from_be_bytes(indicator))));
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Tuning;

    #[test]
    fn a_hold_is_found_by_when_it_ends_while_it_lasts() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path(), &Tuning::default()).unwrap();
        let at = Position::from_raw;
        let hold = |until| Containment {
            by: OrgNo(2),
            person: Some(SpiffeId::parse("spiffe://t.example/org/a/user/an").unwrap()),
            reason: "why".into(),
            since: Timestamp::EPOCH,
            until: Timestamp::from_micros_clamped(until),
            class: ClassNo(3),
            at: at(2_048),
            state: HoldState::Lasting,
        };
        let (late, soon) = (hold(9), hold(4));
        let mut batch = Batch::new(&store);
        batch.containment(at(1_024), None, Some(&late)).unwrap();
        batch.containment(at(5_000), None, Some(&soon)).unwrap();
        store.commit(batch).unwrap();
        assert_eq!(store.containment(at(1_024)).unwrap(), Some(late.clone()));
        assert_eq!(store.lasting(9).unwrap(), [(soon.until, at(5_000)), (late.until, at(1_024))]);
        assert_eq!(store.lasting(1).unwrap(), [(soon.until, at(5_000))]);
        let ended = soon.clone().released();
        let mut batch = Batch::new(&store);
        batch.containment(at(5_000), Some(&soon), Some(&ended)).unwrap();
        batch.containment(at(1_024), Some(&late), None).unwrap();
        store.commit(batch).unwrap();
        assert_eq!(
            (store.containment(at(5_000)).unwrap(), store.containment(at(1_024)).unwrap()),
            (Some(ended), None)
        );
        assert_eq!(store.lasting(9).unwrap(), []);
    }
}
