//! Decides how a test reads what a subscriber is sent.

use std::collections::BTreeMap;

use bytes::Bytes;
use luytre::wire::proto::v1;

/// An event as a subscriber gets it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) kind: i32,
    pub(crate) event_id: Bytes,
    pub(crate) indicator: Option<v1::Indicator>,
    pub(crate) sighting: Option<v1::Sighting>,
    pub(crate) collision: Option<v1::Collision>,
    pub(crate) republication: Option<v1::Republication>,
    pub(crate) held: Option<v1::HeldPublication>,
    pub(crate) hold: Option<v1::IndicatorHold>,
    /// What came beside it.
    pub(crate) disclosure: Option<v1::Disclosure>,
}

/// The events of a batch, each with what came beside it.
pub(crate) fn events(batch: v1::EventBatch) -> Vec<Event> {
    let kinds = if batch.kinds.is_empty() { vec![1; batch.events.len()] } else { batch.kinds };
    assert_eq!(kinds.len(), batch.events.len(), "one kind per event, or none");
    let mut disclosures: BTreeMap<usize, v1::Disclosure> = BTreeMap::new();
    for mut told in batch.disclosures {
        let known = disclosures.entry(told.index as usize).or_default();
        let original = std::mem::take(&mut told.republication_of);
        if original.is_empty() {
            *known = v1::Disclosure { republication_of: std::mem::take(&mut known.republication_of), ..told };
        } else {
            (known.index, known.republication_of) = (told.index, original);
        }
    }
    assert!(disclosures.keys().all(|index| *index < kinds.len()), "a disclosure belongs to an event");
    let both = batch.events.into_iter().zip(kinds).enumerate();
    both.map(|(index, (event, kind))| {
        let (mut indicator, mut sighting, mut collision) = (None, None, None);
        let (mut republication, mut held, mut hold) = (None, None, None);
        match event.subject.expect("every event has a subject") {
            v1::event::Subject::Indicator(subject) => indicator = Some(subject),
            v1::event::Subject::Sighting(subject) => sighting = Some(subject),
            v1::event::Subject::Collision(subject) => collision = Some(subject),
            v1::event::Subject::Republication(subject) => republication = Some(subject),
            v1::event::Subject::HeldPublication(subject) => held = Some(subject),
            v1::event::Subject::IndicatorHold(subject) => hold = Some(subject),
        }
        let disclosure = disclosures.get(&index).cloned();
        let event_id = event.event_id;
        Event { kind, event_id, indicator, sighting, collision, republication, held, hold, disclosure }
    })
    .collect()
}
