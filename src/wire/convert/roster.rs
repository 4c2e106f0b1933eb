//! Decides how the roster, and what waits to change it, travel.

use uuid::Uuid;

use crate::base::digest;
use crate::model::Invalid;
use crate::model::amendment::RosterDigest;

/// Largest roster that is taken, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 4 << 20;
/// Longest reason of a rejection, in bytes.
pub const MAX_REASON_BYTES: usize = 1_024;

/// Writes the etag of a roster.
#[must_use]
pub fn etag(digest: &RosterDigest) -> String {
    digest::hex(digest)
}

/// Reads the etag of a roster.
///
/// # Errors
/// Any text that no hub gave.
pub fn read_etag(text: &str) -> Result<RosterDigest, Invalid> {
    let wrong = || Invalid::new("etag", "required: the etag that GetRoster gave with the roster you changed");
    let mut digest = RosterDigest::default();
    if text.len() != digest.len() * 2 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(wrong());
    }
    for (at, byte) in digest.iter_mut().enumerate() {
        let pair = text.get(at * 2..at * 2 + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

/// Checks the size of a document.
///
/// # Errors
/// None, or too large a one.
pub fn check_document(document: &[u8]) -> Result<(), Invalid> {
    if document.is_empty() {
        Err(Invalid::new("document", "required: a whole roster file, as GetRoster returns one"))
    } else if document.len() > MAX_DOCUMENT_BYTES {
        Err(Invalid::new("document", format!("at most {MAX_DOCUMENT_BYTES} bytes")))
    } else {
        Ok(())
    }
}

/// Writes `pendingChanges/{change}`.
#[must_use]
pub fn pending_change(id: Uuid) -> String {
    format!("pendingChanges/{id}")
}

/// Reads `pendingChanges/{change}`.
///
/// # Errors
/// Any other spelling.
pub fn read_pending_change(name: &str) -> Result<Uuid, Invalid> {
    let form = "a resource name of the form pendingChanges/{change}, as ListPendingChanges returns it";
    let id = name.strip_prefix("pendingChanges/").and_then(|id| Uuid::try_parse(id).ok());
    id.filter(|id| pending_change(*id) == name).ok_or_else(|| Invalid::new("name", form))
}

/// Reads why a change is dropped; may be empty.
///
/// # Errors
/// Too long, or no text.
pub fn read_reason(reason: String) -> Result<String, Invalid> {
    if reason.len() > MAX_REASON_BYTES || reason.chars().any(char::is_control) {
        let problem = format!("at most {MAX_REASON_BYTES} bytes, without control characters");
        return Err(Invalid::new("reason", problem));
    }
    Ok(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etags_and_names_are_read_as_they_were_written_and_no_other_way() {
        let digest: RosterDigest = std::array::from_fn(|at| u8::try_from(at * 17).unwrap());
        assert_eq!(read_etag(&etag(&digest)), Ok(digest));
        for text in ["", "00", &etag(&digest).to_uppercase(), &"ạ".repeat(16)] {
            assert!(read_etag(text).is_err(), "{text}");
        }
        let id = Uuid::from_u128(0x1234_abcd);
        assert_eq!(read_pending_change(&pending_change(id)), Ok(id));
        for name in ["", "pendingChanges/", "pendingChanges/1234ABCD", &id.to_string()] {
            assert!(read_pending_change(name).is_err(), "{name}");
        }
    }
}
