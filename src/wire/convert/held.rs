//! Decides when an answer to what a list holds back is complete and within its
//! bounds.

use uuid::Uuid;

use crate::model::Invalid;
use crate::model::containment::MAX_REASON_BYTES;
use crate::model::held::MAX_NOTE_BYTES;
use crate::wire::proto::v1;

use super::{name, text};

/// What a second person answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Public id of the indicator.
    pub indicator: Uuid,
    /// The version that he looked at.
    pub expected: u64,
    /// Why.
    pub note: String,
}

/// Reads an approval: its id, and what.
///
/// # Errors
/// The first field that is missing or out of bounds.
pub fn read_approval(pb: v1::ApprovePublicationRequest) -> Result<(String, Verdict), Invalid> {
    let v1::ApprovePublicationRequest { request_id, name, etag, note } = pb;
    Ok((request_id, verdict(&name, &etag, note)?))
}

/// Reads a rejection: its id, and what.
///
/// # Errors
/// The first field that is missing or out of bounds.
pub fn read_rejection(pb: v1::RejectPublicationRequest) -> Result<(String, Verdict), Invalid> {
    let v1::RejectPublicationRequest { request_id, name, etag, note } = pb;
    Ok((request_id, verdict(&name, &etag, note)?))
}

/// Reads a hold: its id, the indicator, and why.
///
/// # Errors
/// The first field that is missing or out of bounds.
pub fn read_hold(pb: v1::HoldIndicatorRequest) -> Result<(String, Uuid, String), Invalid> {
    let v1::HoldIndicatorRequest { request_id, name, reason } = pb;
    let indicator = name::read_indicator("name", &name)?;
    Ok((request_id, indicator, text::required("reason", reason, MAX_REASON_BYTES)?))
}

/// Reads a release: its id, the indicator, and why.
///
/// # Errors
/// The first field that is missing or out of bounds.
pub fn read_release(pb: v1::ReleaseIndicatorRequest) -> Result<(String, Uuid, String), Invalid> {
    let v1::ReleaseIndicatorRequest { request_id, name, note } = pb;
    let indicator = name::read_indicator("name", &name)?;
    Ok((request_id, indicator, text::required("note", note, MAX_REASON_BYTES)?))
}

fn verdict(name: &str, etag: &str, note: String) -> Result<Verdict, Invalid> {
    let missing =
        || Invalid::new("etag", "required: the version that you looked at, as a list of them shows it");
    let indicator = name::read_held("name", name)?;
    let expected = name::read_etag(etag)?.ok_or_else(missing)?;
    Ok(Verdict { indicator, expected, note: text::required("note", note, MAX_NOTE_BYTES)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDICATOR: &str = "indicators/0f9c5a3e-5c1f-4a7b-9d53-2f6f0f3f8a11";

    fn approval() -> v1::ApprovePublicationRequest {
        v1::ApprovePublicationRequest {
            request_id: "r".into(),
            name: format!("{INDICATOR}/held"),
            etag: "17".into(),
            note: "asked the owner of the network".into(),
        }
    }

    #[test]
    fn every_field_reaches_the_hub() {
        let (id, read) = read_approval(approval()).unwrap();
        assert_eq!((id.as_str(), read.expected), ("r", 17));
        assert_eq!(read.note, "asked the owner of the network");
        assert_eq!(name::held(read.indicator), approval().name);
        let v1::ApprovePublicationRequest { request_id, name, etag, note } = approval();
        let rejection = v1::RejectPublicationRequest { request_id, name, etag, note };
        assert_eq!(read_rejection(rejection).unwrap(), (id, read));
    }

    #[test]
    fn a_hold_and_its_end_say_why() {
        let (request_id, name) = ("r".to_owned(), INDICATOR.to_owned());
        let hold = v1::HoldIndicatorRequest { request_id, name, reason: "spill".into() };
        let (id, indicator, reason) = read_hold(hold.clone()).unwrap();
        assert_eq!(
            (id.as_str(), name::indicator(indicator).as_str(), reason.as_str()),
            ("r", INDICATOR, "spill")
        );
        let field = |reason: &str| {
            let v1::HoldIndicatorRequest { request_id, name, .. } = hold.clone();
            let release = v1::ReleaseIndicatorRequest { request_id, name, note: reason.to_owned() };
            let hold = v1::HoldIndicatorRequest { reason: reason.to_owned(), ..hold.clone() };
            (read_hold(hold).map_err(|wrong| wrong.field), read_release(release).map_err(|wrong| wrong.field))
        };
        for reason in ["", &"a".repeat(MAX_REASON_BYTES + 1)] {
            assert_eq!(field(reason), (Err("reason".to_owned()), Err("note".to_owned())));
        }
    }

    #[test]
    fn a_refusal_names_the_field() {
        let field = |pb| read_approval(pb).unwrap_err().field;
        assert_eq!(field(v1::ApprovePublicationRequest { name: INDICATOR.into(), ..approval() }), "name");
        assert_eq!(field(v1::ApprovePublicationRequest { name: "x/held".into(), ..approval() }), "name");
        assert_eq!(field(v1::ApprovePublicationRequest { etag: String::new(), ..approval() }), "etag");
        assert_eq!(field(v1::ApprovePublicationRequest { etag: "x".into(), ..approval() }), "etag");
        assert_eq!(field(v1::ApprovePublicationRequest { note: String::new(), ..approval() }), "note");
        let note = "a".repeat(MAX_NOTE_BYTES + 1);
        assert_eq!(field(v1::ApprovePublicationRequest { note, ..approval() }), "note");
    }
}
