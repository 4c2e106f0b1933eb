//! Decides what an event means for its receiver, and refuses a batch whose
//! parts do not fit together.

use crate::model::indicator::Kind;
use crate::wire::disclosure;
use crate::wire::observable::flat;
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

impl Received {
    /// What tells this event from all others, for good: drop repeats by it
    /// where events and tokens are not stored together. 16 bytes.
    #[must_use]
    pub fn id(&self) -> &[u8] {
        &self.event.event_id
    }

    /// The indicator that it is about; none for sightings and notices.
    #[must_use]
    pub const fn indicator(&self) -> Option<&v1::Indicator> {
        match &self.event.subject {
            Some(v1::event::Subject::Indicator(indicator)) => Some(indicator),
            _ => None,
        }
    }

    /// The indicator that holds from now on, as it stands.
    #[must_use]
    pub const fn stands(&self) -> Option<&v1::Indicator> {
        match self.kind {
            v1::EventKind::New | v1::EventKind::Update => self.indicator(),
            _ => None,
        }
    }

    /// Name of the indicator that must not be used any more: it was revoked,
    /// expired, or is no longer for this subscriber.
    #[must_use]
    pub fn ended(&self) -> Option<&str> {
        match self.kind {
            v1::EventKind::Revoked | v1::EventKind::Expired | v1::EventKind::Withdrawn => {
                self.indicator().map(|indicator| indicator.name.as_str())
            }
            _ => None,
        }
    }
}

/// The values of an indicator in canonical form, strongest first: one, or each
/// hash of a file.
///
/// ```
/// use luytre::client::{Kind, v1, values};
///
/// let observable = v1::Observable { value: Some(v1::observable::Value::Domain("bad.example".into())) };
/// let indicator = v1::Indicator { observable: Some(observable), ..Default::default() };
/// assert_eq!(values(&indicator), [(Kind::Domain, "bad.example".to_owned())]);
/// ```
#[must_use]
pub fn values(indicator: &v1::Indicator) -> Vec<(Kind, String)> {
    let (kind, value, others) = flat(indicator.observable.clone());
    let others = [(Kind::Sha512, others.sha512), (Kind::Sha1, others.sha1), (Kind::Md5, others.md5)];
    let others = others.into_iter().filter(|(_, hash)| !hash.is_empty());
    kind.map(|kind| (kind, value)).into_iter().chain(others).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn received(kind: v1::EventKind) -> Received {
        let file = v1::FileHashes {
            md5: "aa".to_owned(),
            sha1: "bb".to_owned(),
            sha256: "cc".to_owned(),
            sha512: String::new(),
        };
        let observable = v1::Observable { value: Some(v1::observable::Value::File(file)) };
        let indicator = v1::Indicator {
            name: "indicators/1".to_owned(),
            observable: Some(observable),
            ..v1::Indicator::default()
        };
        let subject = Some(v1::event::Subject::Indicator(indicator));
        Received { kind, event: v1::Event { subject, ..v1::Event::default() } }
    }

    #[test]
    fn what_has_ended_is_never_said_to_stand() {
        use v1::EventKind::{Expired, New, Revoked, Sighted, Update, Withdrawn};
        for kind in [New, Update] {
            assert_eq!(received(kind).stands().unwrap().name, "indicators/1", "{kind:?}");
            assert_eq!(received(kind).ended(), None, "{kind:?}");
        }
        for kind in [Revoked, Expired, Withdrawn] {
            assert_eq!(received(kind).stands(), None, "{kind:?}");
            assert_eq!(received(kind).ended(), Some("indicators/1"), "{kind:?}");
        }
        assert_eq!((received(Sighted).stands(), received(Sighted).ended()), (None, None));
    }

    #[test]
    fn a_file_is_told_by_each_of_its_hashes_the_strongest_first() {
        let file = values(received(v1::EventKind::New).indicator().unwrap());
        let told = |kind, hash: &str| (kind, hash.to_owned());
        assert_eq!(file, [told(Kind::Sha256, "cc"), told(Kind::Sha1, "bb"), told(Kind::Md5, "aa")]);
    }
}
