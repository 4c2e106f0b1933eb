//! Decides when a revocation is complete.

use crate::model::Invalid;
use crate::model::indicator::RevocationReason;
use crate::model::indicator::lifecycle::{MAX_NOTE_BYTES, Revocation};
use crate::wire::proto::v1;

use super::text;

/// Reads a revocation; its time is the hub's to say.
///
/// # Errors
/// Absent, without a reason, or its note too long.
pub fn read(pb: Option<v1::Revocation>) -> Result<Revocation, Invalid> {
    let v1::Revocation { reason, note, revoke_time: _ } =
        pb.ok_or_else(|| Invalid::new("", "required: say why the indicator is taken back"))?;
    Ok(Revocation {
        reason: super::known("reason", reason, RevocationReason::from_number)?,
        note: text::bounded("note", note, MAX_NOTE_BYTES)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_has_a_reason() {
        assert!(read(None).is_err());
        assert_eq!(read(Some(v1::Revocation::default())).unwrap_err().field, "reason");
        let long = v1::Revocation { reason: 1, note: "a".repeat(1_025), revoke_time: None };
        assert_eq!(read(Some(long)).unwrap_err().field, "note");
        let read = read(Some(v1::Revocation { reason: 3, note: "b".into(), revoke_time: None })).unwrap();
        assert_eq!(read, Revocation { reason: RevocationReason::Superseded, note: "b".into() });
    }
}
