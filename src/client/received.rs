//! Decides what an event means for its receiver, and refuses a batch whose
//! parts do not fit together.

use crate::wire::disclosure;
use crate::wire::proto::v1;

use super::error::Error;

/// One event and what it means for this subscriber.
#[derive(Debug, Clone)]
pub struct Received {
    /// What it means.
    pub kind: v1::EventKind,
    /// What happened, to what.
    pub event: v1::Event,
}

/// Joins events with their kinds.
pub(super) fn pair(events: Vec<v1::Event>, kinds: Vec<i32>) -> Result<Vec<Received>, Error> {
    if events.is_empty() {
        return Err(Error::Protocol("a batch holds no event".to_owned()));
    }
    if !kinds.is_empty() && kinds.len() != events.len() {
        return Err(Error::Protocol(format!("{} kinds for {} events", kinds.len(), events.len())));
    }
    let mut kinds = kinds.into_iter();
    events
        .into_iter()
        .map(|event| {
            let kind = match kinds.next() {
                None => v1::EventKind::New,
                Some(number) => match v1::EventKind::try_from(number) {
                    Ok(kind) if kind != v1::EventKind::Unspecified => kind,
                    _ => {
                        return Err(Error::Protocol(format!(
                            "event kind {number} is not known; update this client"
                        )));
                    }
                },
            };
            Ok(Received { kind, event })
        })
        .collect()
}

/// Adds to events what is disclosed of them.
pub(super) fn merge(events: &mut [v1::Event], disclosures: Vec<v1::Disclosure>) -> Result<(), Error> {
    disclosure::merge(events, disclosures)
        .ok_or_else(|| Error::Protocol("a disclosure belongs to no event of its batch".to_owned()))
}
