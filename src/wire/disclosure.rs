//! Decides how the source of a masked record travels: it is in no stored body,
//! and is added for the few who are told.

use std::borrow::Cow;

use bytes::Bytes;
use prost::Message as _;

use crate::model::audience::ClassDefinition;

use super::event;
use super::proto::v1;

const INDICATOR_MARKING: u32 = 3;
/// Owner of an indicator, reporter of a sighting.
const SOURCE: u32 = 20;

/// A `luytre.v1.Disclosure` but for its index.
#[must_use]
pub fn encode(class: &ClassDefinition) -> Bytes {
    let mut out = Vec::with_capacity(64);
    event::organisation(2, &class.owner, &mut out);
    event::recipients(3, &class.marking.recipients, &mut out);
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
    let mut out = sighting.to_vec();
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

/// The body of an event from before its indicator's source was masked,
/// without it.
#[must_use]
pub fn mask_body(body: &[u8]) -> Option<Bytes> {
    let mut batch = v1::EventBatch::decode(body).ok()?;
    for event in &mut batch.events {
        if let Some(v1::event::Subject::Indicator(indicator)) = &mut event.subject {
            mask(indicator);
        }
    }
    Some(batch.encode_to_vec().into())
}

fn mask(indicator: &mut v1::Indicator) {
    indicator.owner.clear();
    let marking = indicator.marking.take().unwrap_or_default();
    let caveats = v1::Caveats { masked_source: true, ..marking.caveats.unwrap_or_default() };
    indicator.marking =
        Some(v1::Marking { tlp: marking.tlp, caveats: Some(caveats), ..v1::Marking::default() });
}

/// Adds to the events of a batch what is disclosed of them; `None` if it does
/// not fit them.
#[must_use]
pub fn merge(events: &mut [v1::Event], disclosures: Vec<v1::Disclosure>) -> Option<()> {
    for v1::Disclosure { index, owner, organisations, groups, principals } in disclosures {
        let event = events.get_mut(usize::try_from(index).ok()?)?;
        match event.subject.as_mut()? {
            v1::event::Subject::Indicator(indicator) => {
                let marking = indicator.marking.get_or_insert_default();
                (marking.organisations, marking.groups, marking.principals) =
                    (organisations, groups, principals);
                indicator.owner = owner;
            }
            v1::event::Subject::Sighting(sighting) => sighting.reporter = owner,
        }
    }
    Some(())
}
