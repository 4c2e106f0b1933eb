//! Decides how the hold of a unit that leads is told.

use prost::Message as _;
use uuid::Uuid;

use crate::base::clock::Timestamp;
use crate::model::containment::{Containment, HoldState};
use crate::model::org::OrgSlug;

use super::convert::{name, time};
use super::event;
use super::proto::v1;

/// An encoded `luytre.v1.IndicatorHold`; `ended` says why and when it was
/// released.
#[must_use]
pub fn encode(
    hold: &Containment,
    indicator: Uuid,
    holder: &OrgSlug,
    ended: Option<(&str, Timestamp)>,
) -> Vec<u8> {
    let Containment { reason, since, until, state, .. } = hold;
    let mut out = v1::IndicatorHold {
        name: name::hold(indicator),
        indicator: name::indicator(indicator),
        holder: name::organisation(holder),
        state: i32::from(state.number()),
        reason: reason.clone(),
        hold_time: Some(time::write(*since)),
        expire_time: Some(time::write(*until)),
        ..v1::IndicatorHold::default()
    };
    if let Some((note, at)) = ended {
        note.clone_into(&mut out.note);
        out.release_time = Some(time::write(at));
    }
    out.encode_to_vec()
}

/// What an event tells of a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Who leads, and holds.
    pub holder: OrgSlug,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
    /// Where it stands.
    pub state: HoldState,
}

/// Reads the body of such an event; `None`: it is damaged.
#[must_use]
pub fn decode(body: &[u8]) -> Option<Told> {
    let told = v1::IndicatorHold::decode(event::subject(body)?).ok()?;
    Some(Told {
        holder: OrgSlug::parse(told.holder.strip_prefix("organisations/")?).ok()?,
        reason: told.reason,
        since: event::timestamp(&told.hold_time?)?,
        until: event::timestamp(&told.expire_time?)?,
        state: HoldState::from_number(u8::try_from(told.state).ok()?)?,
    })
}
