//! Decides how what few readers are told of a record travels, the source of a
//! masked one, the original of a republication: it is in no stored body, and
//! is added for those few.

use std::borrow::Cow;

use bytes::Bytes;
use prost::Message as _;
use uuid::Uuid;

use crate::model::audience::ClassDefinition;

use super::convert::name;
use super::event;
use super::proto::v1;

const INDICATOR_MARKING: u32 = 3;
const SIGHTING_MARKING: u32 = 8;
/// Owner of an indicator, reporter of a sighting.
const SOURCE: u32 = 20;
/// Its key takes two bytes.
const INDICATOR_ORIGINAL: u32 = 27;
const DISCLOSURE_ORIGINAL: u32 = 6;

/// A `luytre.v1.Disclosure` but for its index.
#[must_use]
pub fn encode(class: &ClassDefinition) -> Bytes {
    let mut out = Vec::with_capacity(64);
    event::organisation(2, &class.owner, &mut out);
    event::recipients(3, &class.marking.recipients, &mut out);
    out.into()
}

/// A `luytre.v1.Disclosure` of what a record is a republication of, but for
/// its index.
#[must_use]
pub fn encode_original(original: Uuid) -> Bytes {
    let mut out = Vec::with_capacity(64);
    event::bytes(DISCLOSURE_ORIGINAL, name::indicator(original).as_bytes(), &mut out);
    out.into()
}

/// An encoded indicator, with what it is a republication of.
#[must_use]
pub fn tell_original(indicator: &[u8], original: Uuid) -> Bytes {
    let mut out = Vec::with_capacity(indicator.len() + 64);
    out.extend_from_slice(indicator);
    event::bytes(INDICATOR_ORIGINAL, name::indicator(original).as_bytes(), &mut out);
    out.into()
}

/// All that the publisher said: his fields and, where the source is masked,
/// what they leave out of it.
#[must_use]
pub fn meaning<'a>(fields: &'a [u8], class: &ClassDefinition) -> Cow<'a, [u8]> {
    if class.marking.is_masked() { [fields, &encode(class)].concat().into() } else { fields.into() }
}

/// An encoded indicator, with its source.
#[must_use]
pub fn tell_indicator(indicator: &[u8], class: &ClassDefinition) -> Bytes {
    let mut marking = Vec::new();
    event::recipients(2, &class.marking.recipients, &mut marking);
    let mut out = Vec::with_capacity(indicator.len() + marking.len() + 64);
    out.extend_from_slice(indicator);
    // A reader joins the parts of a message that comes in several.
    event::bytes(INDICATOR_MARKING, &marking, &mut out);
    event::organisation(SOURCE, &class.owner, &mut out);
    out.into()
}

/// An encoded sighting, with its source.
#[must_use]
pub fn tell_sighting(sighting: &[u8], class: &ClassDefinition) -> Bytes {
    let mut marking = Vec::new();
    event::recipients(2, &class.marking.recipients, &mut marking);
    let mut out = sighting.to_vec();
    event::bytes(SIGHTING_MARKING, &marking, &mut out);
    event::organisation(SOURCE, &class.owner, &mut out);
    out.into()
}

/// An encoded indicator from before its source was masked, without it.
#[must_use]
pub fn mask_indicator(indicator: &[u8]) -> Option<Bytes> {
    let mut indicator = v1::Indicator::decode(indicator).ok()?;
    mask(&mut indicator);
    Some(indicator.encode_to_vec().into())
}

/// An encoded sighting from before its indicator's source was masked, without
/// its reporter.
#[must_use]
pub fn mask_sighting(sighting: &[u8]) -> Option<Bytes> {
    let mut sighting = v1::Sighting::decode(sighting).ok()?;
    mask_reporter(&mut sighting);
    Some(sighting.encode_to_vec().into())
}

/// The body of an event from before its indicator's source was masked,
/// without it.
#[must_use]
pub fn mask_body(body: &[u8]) -> Option<Bytes> {
    let mut batch = v1::EventBatch::decode(body).ok()?;
    for event in &mut batch.events {
        match &mut event.subject {
            Some(v1::event::Subject::Indicator(indicator)) => mask(indicator),
            Some(v1::event::Subject::Sighting(sighting)) => mask_reporter(sighting),
            Some(
                v1::event::Subject::Collision(_)
                | v1::event::Subject::Republication(_)
                | v1::event::Subject::HeldPublication(_)
                | v1::event::Subject::IndicatorHold(_),
            )
            | None => {}
        }
    }
    Some(batch.encode_to_vec().into())
}

/// An encoded collision without whose the other record is and, if `hidden`,
/// without which.
#[must_use]
pub fn mask_collision(collision: &[u8], hidden: bool) -> Option<Bytes> {
    let mut collision = v1::Collision::decode(collision).ok()?;
    mask_other(&mut collision, hidden);
    Some(collision.encode_to_vec().into())
}

/// The same of the body of an event that tells of one.
#[must_use]
pub fn mask_notice(body: &[u8], hidden: bool) -> Option<Bytes> {
    let mut batch = v1::EventBatch::decode(body).ok()?;
    for event in &mut batch.events {
        if let Some(v1::event::Subject::Collision(collision)) = &mut event.subject {
            mask_other(collision, hidden);
        }
    }
    Some(batch.encode_to_vec().into())
}

fn mask_other(collision: &mut v1::Collision, hidden: bool) {
    collision.other_owner.clear();
    if hidden {
        collision.other.clear();
    }
}

fn mask(indicator: &mut v1::Indicator) {
    indicator.owner.clear();
    indicator.published_by.clear();
    indicator.marking = Some(masked(indicator.marking.take().unwrap_or_default()));
}

fn mask_reporter(sighting: &mut v1::Sighting) {
    sighting.reporter.clear();
    // Without a marking it names nobody else.
    sighting.marking = sighting.marking.take().map(masked);
}

fn masked(marking: v1::Marking) -> v1::Marking {
    let caveats = v1::Caveats { masked_source: true, ..marking.caveats.unwrap_or_default() };
    v1::Marking { tlp: marking.tlp, caveats: Some(caveats), ..v1::Marking::default() }
}

/// Adds to the events of a batch what is disclosed of them; `None` if it does
/// not fit them.
#[must_use]
pub fn merge(events: &mut [v1::Event], disclosures: Vec<v1::Disclosure>) -> Option<()> {
    for v1::Disclosure { index, owner, organisations, groups, principals, republication_of } in disclosures {
        let event = events.get_mut(usize::try_from(index).ok()?)?;
        if !republication_of.is_empty() {
            let Some(v1::event::Subject::Indicator(indicator)) = &mut event.subject else { return None };
            indicator.republication_of = republication_of;
        }
        if owner.is_empty() {
            continue;
        }
        match event.subject.as_mut()? {
            v1::event::Subject::Indicator(indicator) => {
                let marking = indicator.marking.get_or_insert_default();
                (marking.organisations, marking.groups, marking.principals) =
                    (organisations, groups, principals);
                indicator.owner = owner;
            }
            v1::event::Subject::Sighting(sighting) => {
                if let Some(marking) = &mut sighting.marking {
                    (marking.organisations, marking.groups, marking.principals) =
                        (organisations, groups, principals);
                }
                sighting.reporter = owner;
            }
            v1::event::Subject::Collision(_)
            | v1::event::Subject::Republication(_)
            | v1::event::Subject::HeldPublication(_)
            | v1::event::Subject::IndicatorHold(_) => return None,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::marking::{Caveats, Marking, Recipients, Tlp};
    use crate::model::org::OrgSlug;
    use crate::model::principal::SpiffeId;

    fn class(caveats: Caveats) -> ClassDefinition {
        let slug = |text: &str| OrgSlug::parse(text).unwrap();
        let recipients = Recipients {
            organisations: vec![slug("a"), slug("b")],
            groups: vec![slug("g")],
            principals: vec![SpiffeId::parse("spiffe://t.example/org/a/user/an").unwrap()],
        };
        ClassDefinition { owner: slug("o"), marking: Marking { tlp: Tlp::Amber, recipients, caveats } }
    }

    /// An indicator that says its source.
    fn open() -> v1::Indicator {
        let mut events = [event(v1::Indicator {
            marking: Some(v1::Marking { tlp: 3, ..v1::Marking::default() }),
            description: "d".to_owned(),
            ..v1::Indicator::default()
        })];
        merge(&mut events, vec![disclosure()]).unwrap();
        let [v1::Event { subject: Some(v1::event::Subject::Indicator(indicator)), .. }] = events else {
            panic!("an indicator")
        };
        indicator
    }

    fn event(indicator: v1::Indicator) -> v1::Event {
        v1::Event { event_id: Bytes::new(), subject: Some(v1::event::Subject::Indicator(indicator)) }
    }

    fn disclosure() -> v1::Disclosure {
        v1::Disclosure::decode(encode(&class(Caveats::MASKED_SOURCE))).unwrap()
    }

    #[test]
    fn what_is_told_is_what_was_left_out() {
        let masked = mask_indicator(&open().encode_to_vec()).unwrap();
        let read = v1::Indicator::decode(masked.clone()).unwrap();
        let marking = read.marking.unwrap();
        assert_eq!((read.owner.as_str(), read.description.as_str(), marking.tlp), ("", "d", 3));
        assert!(
            marking.organisations.is_empty() && marking.groups.is_empty() && marking.principals.is_empty()
        );
        assert!(marking.caveats.unwrap().masked_source);

        let told = tell_indicator(&masked, &class(Caveats::MASKED_SOURCE));
        let mut told = v1::Indicator::decode(told).unwrap();
        told.marking.as_mut().unwrap().caveats = None;
        assert_eq!(told, open());
        assert_eq!((told.owner.as_str(), told.marking.unwrap().organisations.len()), ("organisations/o", 2));
    }

    #[test]
    fn recipients_are_part_of_what_a_publisher_said_though_a_masked_body_lacks_them() {
        let mut other = class(Caveats::MASKED_SOURCE);
        other.marking.recipients.organisations.pop();
        assert_ne!(meaning(b"x", &class(Caveats::MASKED_SOURCE)), meaning(b"x", &other));
        assert_eq!(&*meaning(b"x", &class(Caveats::NONE)), b"x");
    }

    #[test]
    fn what_a_record_republishes_is_told_beside_its_source_and_alone() {
        let id = Uuid::from_u128(7);
        let original = || v1::Disclosure::decode(encode_original(id)).unwrap();
        let told = v1::Indicator::decode(tell_original(&open().encode_to_vec(), id)).unwrap();
        assert_eq!(told, v1::Indicator { republication_of: name::indicator(id), ..open() });
        for disclosures in [vec![original()], vec![original(), disclosure()]] {
            let mut events = [event(open())];
            merge(&mut events, disclosures).unwrap();
            assert_eq!(events, [event(told.clone())]);
        }
        let mut events = [v1::Event {
            event_id: Bytes::new(),
            subject: Some(v1::event::Subject::Sighting(v1::Sighting::default())),
        }];
        assert_eq!(merge(&mut events, vec![original()]), None);
    }

    #[test]
    fn a_disclosure_belongs_to_an_event() {
        let disclosure = |index| vec![v1::Disclosure { index, ..disclosure() }];
        let mut events = [event(v1::Indicator::default())];
        assert_eq!(merge(&mut events, disclosure(1)), None);
        assert_eq!(merge(&mut events, disclosure(0)), Some(()));
    }
}
