//! Decides when what is said of leave to republish is complete and within its
//! bounds.

use uuid::Uuid;

use crate::model::Invalid;
use crate::model::marking::Marking;
use crate::model::org::OrgSlug;
use crate::model::republication::{MAX_TEXT_BYTES, Terms};
use crate::wire::proto::v1;

use super::{marking, name, text, time};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Public id of the indicator.
    pub indicator: Uuid,
    /// How far.
    pub wish: Marking,
    /// What for.
    pub reason: String,
}

/// What is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Public id of the indicator.
    pub indicator: Uuid,
    /// To whom.
    pub organisation: OrgSlug,
    /// How far, how long.
    pub terms: Terms,
    /// What else is said.
    pub note: String,
}

/// What is refused, taken back or given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// Public id of the indicator.
    pub indicator: Uuid,
    /// Who would publish.
    pub organisation: OrgSlug,
    /// What else is said.
    pub note: String,
}

/// Reads a withdrawal: its id, on whose behalf, and what; `own` is the
/// caller's organisation.
///
/// # Errors
/// The first field that is missing or out of bounds.
pub fn read_withdrawal(
    pb: v1::WithdrawRepublicationRequest,
    own: &OrgSlug,
) -> Result<(String, String, Withdrawal), Invalid> {
    let v1::WithdrawRepublicationRequest { request_id, indicator, organisation, note, on_behalf_of } = pb;
    let indicator = name::read_indicator("indicator", &indicator)?;
    let organisation = name::read_organisation_or_me("organisation", &organisation, own)?;
    let note = text::bounded("note", note, MAX_TEXT_BYTES)?;
    Ok((request_id, on_behalf_of, Withdrawal { indicator, organisation, note }))
}

/// Reads a request: its id, for whom it asks (nobody else), and what.
///
/// # Errors
/// The first field that is missing or out of bounds.
pub fn read_request(pb: v1::RequestRepublicationRequest) -> Result<(String, Request), Invalid> {
    let v1::RequestRepublicationRequest { request_id, indicator, wish, reason } = pb;
    let indicator = name::read_indicator("indicator", &indicator)?;
    let wish = marking::read(wish).map_err(|invalid| invalid.under("wish"))?;
    let reason = text::required("reason", reason, MAX_TEXT_BYTES)?;
    Ok((request_id, Request { indicator, wish, reason }))
}

/// Reads a grant: its id, on whose behalf, and what.
///
/// # Errors
/// The first field that is missing or out of bounds.
pub fn read_grant(pb: v1::GrantRepublicationRequest) -> Result<(String, String, Grant), Invalid> {
    let v1::GrantRepublicationRequest {
        request_id,
        indicator,
        organisation,
        widest,
        expire_time,
        note,
        on_behalf_of,
    } = pb;
    let indicator = name::read_indicator("indicator", &indicator)?;
    let organisation = name::read_organisation("organisation", &organisation)?;
    let widest = marking::read(widest).map_err(|invalid| invalid.under("widest"))?;
    let until = time::read("expire_time", expire_time)?;
    let note = text::bounded("note", note, MAX_TEXT_BYTES)?;
    Ok((request_id, on_behalf_of, Grant { indicator, organisation, terms: Terms { widest, until }, note }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDICATOR: &str = "indicators/0f9c5a3e-5c1f-4a7b-9d53-2f6f0f3f8a11";

    fn request() -> v1::RequestRepublicationRequest {
        v1::RequestRepublicationRequest {
            request_id: "r".into(),
            indicator: INDICATOR.into(),
            wish: Some(v1::Marking { tlp: 2, ..Default::default() }),
            reason: "to warn".into(),
        }
    }

    fn grant() -> v1::GrantRepublicationRequest {
        v1::GrantRepublicationRequest {
            request_id: "r".into(),
            indicator: INDICATOR.into(),
            organisation: "organisations/a".into(),
            widest: Some(v1::Marking { tlp: 2, ..Default::default() }),
            expire_time: Some(prost_types::Timestamp { seconds: 6, nanos: 0 }),
            note: "n".into(),
            on_behalf_of: "organisations/u".into(),
        }
    }

    #[test]
    fn every_field_reaches_the_hub() {
        let (id, read) = read_request(request()).unwrap();
        assert_eq!((id.as_str(), read.reason.as_str(), read.wish.tlp.number()), ("r", "to warn", 2));
        let (id, unit, read) = read_grant(grant()).unwrap();
        assert_eq!((id.as_str(), unit.as_str(), read.note.as_str()), ("r", "organisations/u", "n"));
        assert_eq!((read.organisation.as_str(), read.terms.until.unwrap().as_seconds()), ("a", 6));
    }

    #[test]
    fn a_refusal_names_the_field() {
        let field = |pb| read_request(pb).unwrap_err().field;
        assert_eq!(
            field(v1::RequestRepublicationRequest { indicator: "x".into(), ..request() }),
            "indicator"
        );
        assert_eq!(field(v1::RequestRepublicationRequest { wish: None, ..request() }), "wish");
        assert_eq!(field(v1::RequestRepublicationRequest { reason: String::new(), ..request() }), "reason");
        let long = "a".repeat(MAX_TEXT_BYTES + 1);
        assert_eq!(field(v1::RequestRepublicationRequest { reason: long.clone(), ..request() }), "reason");
        let field = |pb| read_grant(pb).unwrap_err().field;
        assert_eq!(
            field(v1::GrantRepublicationRequest { organisation: "a".into(), ..grant() }),
            "organisation"
        );
        assert_eq!(field(v1::GrantRepublicationRequest { widest: None, ..grant() }), "widest");
        assert_eq!(field(v1::GrantRepublicationRequest { note: long, ..grant() }), "note");
        let never = Some(prost_types::Timestamp { seconds: -5, nanos: 0 });
        assert_eq!(field(v1::GrantRepublicationRequest { expire_time: never, ..grant() }), "expire_time");
    }
}
