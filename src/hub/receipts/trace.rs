//! Decides what receipts come to for one record: who was given it, when and in
//! which way, who was told to stop using it, and who acknowledged that.

use rustc_hash::FxHashMap;

use crate::base::clock::Timestamp;
use crate::model::event::EventKind;
use crate::model::org::OrgSlug;
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::model::receipt::Other;
use crate::model::receipt::Way;
use crate::store::keys::ReceiptPlace;
use crate::store::receipts::{Ack, Block, Head, Party, Receipt};

use super::super::error::Error;
use super::super::shared::Shared;
use super::super::store_error;
use crate::store::db;

/// What one stream of a name, or one principal without, was given of a record.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) principal: SpiffeId,
    /// Whether by a subscription.
    pub(super) streams: bool,
    /// Its name; empty: it has none.
    pub(super) subscription: String,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    /// The newest version given; [`Position::ZERO`]: nothing was.
    pub(super) newest: Position,
    pub(super) ways: Vec<Way>,
    /// Certificate of the last time.
    pub(super) serial: String,
    /// Record of the audit of the last time that one is known of.
    pub(super) audit: Option<u64>,
    /// When it was told to stop using the record, and which version of it.
    pub(super) recalled: Option<Recalled>,
    /// When it acknowledged the last that it was told of the record.
    pub(super) acked: Option<Timestamp>,
    /// When it acknowledged what lies past the record's end, of which it was told.
    pub(super) passed: Option<Timestamp>,
    /// What an acknowledgement has to reach.
    target: Position,
}

/// That a holder was told to stop using the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recalled {
    /// When.
    pub(super) time: Timestamp,
    /// Which version of it.
    version: Position,
}

impl Held {
    fn new(party: Party) -> Self {
        Self {
            principal: party.principal,
            streams: party.streams,
            subscription: party.subscription,
            first: Timestamp::EPOCH,
            last: Timestamp::EPOCH,
            newest: Position::ZERO,
            ways: Vec::new(),
            serial: String::new(),
            audit: None,
            recalled: None,
            acked: None,
            passed: None,
            target: Position::ZERO,
        }
    }

    pub(super) const fn org(&self) -> &OrgSlug {
        self.principal.org()
    }

    fn who(&self) -> (&str, bool, &str) {
        (self.principal.as_str(), self.streams, &self.subscription)
    }

    /// Whether it can acknowledge.
    pub(super) const fn is_named(&self) -> bool {
        !self.subscription.is_empty()
    }

    pub(super) fn has_it(&self) -> bool {
        self.newest != Position::ZERO
    }

    /// Something told of the record. What is read of one that has ended says so.
    fn take(&mut self, receipt: &Receipt, told: &Other, end: Option<Position>) {
        let Other { position, kind, reach, .. } = *told;
        let stub = receipt.way == Way::Recalled || kind == Some(EventKind::Withdrawn);
        if !stub && kind.is_none_or(EventKind::gives) {
            if !self.has_it() {
                self.first = receipt.time;
            }
            self.last = self.last.max(receipt.time);
            self.newest = self.newest.max(position);
        }
        if !self.ways.contains(&receipt.way) {
            self.ways.push(receipt.way);
        }
        let read = kind.is_none() && end.is_some_and(|end| position >= end);
        if read || kind.is_some_and(EventKind::recalls) {
            if self.recalled.is_none_or(|recalled| recalled.version < position) {
                self.recalled = Some(Recalled { time: receipt.time, version: position });
                (self.acked, self.passed) = (None, None);
            }
        } else if self.recalled.is_some_and(|recalled| recalled.version <= position) {
            // It was brought back, or is seen again.
            self.recalled = None;
            (self.acked, self.passed) = (None, None);
        }
        if reach > self.target {
            self.target = reach;
            self.acked = None;
        }
    }

    /// It acknowledges. What it was never told of it does not.
    fn acknowledge(&mut self, ack: &Ack, end: Option<Position>) {
        if ack.position >= self.target {
            self.acked.get_or_insert(ack.time);
        }
        let end = end.map(|end| end.max(self.target));
        if self.recalled.is_some() && end.is_some_and(|end| ack.position >= end) {
            self.passed.get_or_insert(ack.time);
        }
    }
}

/// What was found of a record.
#[derive(Debug)]
pub(super) struct Traced {
    /// Who was given it.
    pub(super) held: Vec<Held>,
    /// Since when receipts are on record.
    pub(super) begins: Timestamp,
    /// Whether that was before anybody could have been given it.
    pub(super) is_whole: bool,
}

/// Who was given the record that was born at `handle`; of one that has ended,
/// `end` is where.
///
/// # Errors
/// A failure of the store.
pub(super) fn trace(shared: &Shared, handle: Position, end: Option<Position>) -> Result<Traced, Error> {
    let from = ReceiptPlace { known: handle, number: 0 };
    let mut walk = shared.store.receipts_from(from).map_err(store_error)?;
    let mut tracing = Tracing {
        shared,
        handle,
        end,
        parties: FxHashMap::default(),
        places: FxHashMap::default(),
        held: Vec::new(),
        misses: false,
    };
    let mut awaited = None;
    loop {
        let wants = |head: &Head| {
            head.may_hold(handle) || awaited.is_some_and(|awaited: Position| head.acked >= awaited)
        };
        let Some((place, encoded)) = walk.next(wants).map_err(store_error)? else { break };
        let block = Block::decode(&encoded);
        let block = block.ok_or_else(|| store_error(db::Error::corrupt("receipts", place)))?;
        tracing.take(&block)?;
        awaited = tracing.awaited();
    }
    // Not before the walk: what is cut meanwhile may be missing in it.
    let begin = shared.store.receipts_begin().map_err(store_error)?;
    let Tracing { mut held, misses, .. } = tracing;
    held.retain(Held::has_it);
    // Not in the order of receiving, which is nobody's to compare.
    held.sort_by(|a, b| a.who().cmp(&b.who()));
    Ok(Traced { held, begins: begin.time, is_whole: begin.knows(handle) && !misses })
}

/// A trace under way.
struct Tracing<'a> {
    shared: &'a Shared,
    handle: Position,
    end: Option<Position>,
    /// Which of `held` a number stands for, and its audit record and serial.
    parties: FxHashMap<u64, (usize, Option<u64>, String)>,
    /// And which of them is of whom.
    places: FxHashMap<(SpiffeId, bool, String), usize>,
    held: Vec<Held>,
    /// Whether somebody is not known any more.
    misses: bool,
}

impl Tracing<'_> {
    /// The least position that somebody has yet to acknowledge: of a record that
    /// has ended, only who was told of that.
    fn awaited(&self) -> Option<Position> {
        let open = |held: &&Held| {
            held.has_it()
                && held.is_named()
                && if self.end.is_some() {
                    held.recalled.is_some() && held.passed.is_none()
                } else {
                    held.acked.is_none()
                }
        };
        self.held.iter().filter(open).map(|held| held.target.max(self.end.unwrap_or_default())).min()
    }

    fn take(&mut self, block: &Block) -> Result<(), Error> {
        for receipt in &block.receipts {
            let born = receipt.told.births().iter().any(|run| run.holds(self.handle));
            let kind = matches!(receipt.way, Way::Delivered | Way::Recalled).then_some(EventKind::New);
            let handle = self.handle;
            let born = born.then_some(Other { handle, position: handle, kind, reach: handle });
            let others = receipt.told.others().iter().filter(|other| other.handle == handle).copied();
            // Of what others told of it the record itself is no part.
            let versions = born
                .into_iter()
                .chain(others)
                .filter(|told| told.kind.is_none_or(|kind| kind.gives() || kind.recalls()));
            for told in versions {
                self.version(receipt, &told)?;
            }
        }
        let least = self.awaited();
        for ack in block.acks.iter().filter(|ack| least.is_some_and(|least| ack.position >= least)) {
            self.ack(ack)?;
        }
        Ok(())
    }

    fn version(&mut self, receipt: &Receipt, told: &Other) -> Result<(), Error> {
        let Some((place, opening, serial)) = self.party(receipt.party)? else { return Ok(()) };
        let end = self.end;
        if let Some(held) = self.held.get_mut(place) {
            held.take(receipt, told, end);
            held.serial = serial;
            held.audit = receipt.audit.or(opening).or(held.audit);
        }
        Ok(())
    }

    fn ack(&mut self, ack: &Ack) -> Result<(), Error> {
        let Some((place, ..)) = self.party(ack.party)? else { return Ok(()) };
        let end = self.end;
        if let Some(held) = self.held.get_mut(place).filter(|held| held.has_it()) {
            held.acknowledge(ack, end);
        }
        Ok(())
    }

    /// Which of `held` goes by this number; `None`: who that was is cut.
    fn party(&mut self, number: u64) -> Result<Option<(usize, Option<u64>, String)>, Error> {
        if let Some(known) = self.parties.get(&number) {
            return Ok(Some(known.clone()));
        }
        let Some(party) = self.shared.store.receipt_party(number).map_err(store_error)? else {
            self.misses = true;
            return Ok(None);
        };
        let (audit, serial) = (party.audit, party.serial.clone());
        let who = (party.principal.clone(), party.streams, party.subscription.clone());
        let place = *self.places.entry(who).or_insert(self.held.len());
        if place == self.held.len() {
            self.held.push(Held::new(party));
        }
        self.parties.insert(number, (place, audit, serial.clone()));
        Ok(Some((place, audit, serial)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::receipt::Told;

    fn held() -> Held {
        Held::new(Party {
            principal: SpiffeId::parse("spiffe://t.example/org/a/system/feed").unwrap(),
            serial: "0a".to_owned(),
            streams: true,
            subscription: "fw".to_owned(),
            audit: None,
        })
    }

    fn taken(held: &mut Held, second: u64, way: Way, position: u64, kind: EventKind) {
        let time = Timestamp::from_micros_clamped(second);
        let receipt = Receipt { party: 0, way, time, audit: None, told: Told::default() };
        let position = Position::from_raw(position);
        let told = Other { handle: Position::from_raw(5), position, kind: Some(kind), reach: position };
        held.take(&receipt, &told, None);
    }

    #[test]
    fn a_recall_stands_until_the_record_is_given_again_and_a_replay_does_not_undo_it() {
        let mut held = held();
        taken(&mut held, 1, Way::Recalled, 9, EventKind::Revoked);
        assert!(!held.has_it(), "a stub gives nothing");
        taken(&mut held, 2, Way::Delivered, 5, EventKind::New);
        taken(&mut held, 3, Way::Delivered, 7, EventKind::Update);
        taken(&mut held, 4, Way::Delivered, 9, EventKind::Revoked);
        let recalled = held.recalled;
        let time = Timestamp::from_micros_clamped(1);
        assert_eq!(recalled, Some(Recalled { time, version: Position::from_raw(9) }));
        taken(&mut held, 5, Way::Delivered, 5, EventKind::New);
        assert_eq!(held.recalled, recalled, "what is replayed is older");
        assert_eq!((held.newest, held.target), (Position::from_raw(9), Position::from_raw(9)));
        taken(&mut held, 6, Way::Delivered, 12, EventKind::New);
        assert_eq!(held.recalled, None, "it was reinstated");
        taken(&mut held, 7, Way::Delivered, 12, EventKind::Withdrawn);
        assert!(held.recalled.is_some());
        taken(&mut held, 8, Way::Delivered, 12, EventKind::New);
        assert_eq!(held.recalled, None, "it is seen again");
    }

    fn acks(held: &mut Held, second: u64, position: u64, end: Option<u64>) {
        let time = Timestamp::from_micros_clamped(second);
        let ack = Ack { party: 0, time, position: Position::from_raw(position) };
        held.acknowledge(&ack, end.map(Position::from_raw));
    }

    #[test]
    fn a_recall_that_was_never_told_is_not_acknowledged_by_a_place_past_it() {
        let mut held = held();
        taken(&mut held, 1, Way::Delivered, 5, EventKind::New);
        acks(&mut held, 2, 20, Some(9));
        assert_eq!(held.passed, None, "it began past the end, and was told of none");
        taken(&mut held, 3, Way::Recalled, 9, EventKind::Revoked);
        assert_eq!(held.passed, None);
        acks(&mut held, 4, 9, Some(9));
        assert_eq!(held.passed, Some(Timestamp::from_micros_clamped(4)));
    }

    #[test]
    fn what_a_change_of_the_roster_took_is_acknowledged_past_that_change_alone() {
        let mut held = held();
        taken(&mut held, 1, Way::Delivered, 5, EventKind::New);
        let (time, position, reach) =
            (Timestamp::from_micros_clamped(2), Position::from_raw(5), Position::from_raw(30));
        let receipt = Receipt { party: 0, way: Way::Delivered, time, audit: None, told: Told::default() };
        let told = Other { handle: position, position, kind: Some(EventKind::Withdrawn), reach };
        held.take(&receipt, &told, None);
        acks(&mut held, 3, 29, None);
        assert_eq!(held.acked, None, "an older acknowledgement is of something else");
        acks(&mut held, 4, 30, None);
        assert_eq!(held.acked, Some(Timestamp::from_micros_clamped(4)));
    }
}
