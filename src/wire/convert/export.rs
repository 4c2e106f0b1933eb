//! Decides what can be asked of an export.

use crate::base::digest;
use crate::model::Invalid;
use crate::model::export::{Format, Omission, Omitted};
use crate::wire::proto::v1;

/// Longest content that anybody can have part of.
const MAX_OFFSET: u64 = 1 << 50;

/// Reads a format.
///
/// # Errors
/// None, or one that is not known.
pub fn read_format(field: &str, number: i32) -> Result<Format, Invalid> {
    super::known(field, number, Format::from_number)
}

/// Reads an etag of a file; `None`: any content is wanted, also in place of a
/// file that is not of this hub.
///
/// # Errors
/// It is longer than any etag.
pub fn read_etag(field: &str, etag: &str) -> Result<Option<[u8; 32]>, Invalid> {
    const LONGEST: usize = 256;
    if etag.len() > LONGEST {
        return Err(Invalid::new(field, "an etag is 64 hexadecimal digits, as a closing gives it"));
    }
    Ok(unhex(etag.trim_matches('"')))
}

/// Writes an etag.
#[must_use]
pub fn write_etag(etag: &[u8; 32]) -> String {
    digest::hex(etag)
}

/// Reads how much of the content the caller has.
///
/// # Errors
/// It has some without saying of which, or more than there can be.
pub fn read_offset(field: &str, offset: u64, token: &str) -> Result<u64, Invalid> {
    if offset > 0 && token.is_empty() {
        return Err(Invalid::new(field, "say of which content: send the position_token of its opening too"));
    }
    if offset > MAX_OFFSET {
        return Err(Invalid::new(field, "no content is as long"));
    }
    Ok(offset)
}

/// Writes what is not in a file.
#[must_use]
pub fn write_omissions(omitted: Omitted) -> Vec<v1::ExportOmission> {
    let one = |(why, count): (Omission, u64)| v1::ExportOmission { reason: i32::from(why.number()), count };
    omitted.iter().map(one).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_reads_as_it_was_written_and_a_foreign_one_as_none() {
        let etag = digest::sha256(b"x");
        let text = write_etag(&etag);
        assert_eq!(read_etag("e", &text), Ok(Some(etag)));
        assert_eq!(read_etag("e", &format!("\"{text}\"")), Ok(Some(etag)));
        for foreign in ["", "W/\"x\"", &text[..63], &format!("{}+1", &text[..62])] {
            assert_eq!(read_etag("e", foreign), Ok(None), "{foreign}");
        }
        assert!(read_etag("e", &"a".repeat(257)).is_err());
    }

    #[test]
    fn what_one_has_is_part_of_something() {
        assert_eq!(read_offset("offset", 0, ""), Ok(0));
        assert_eq!(read_offset("offset", 7, "t"), Ok(7));
        assert!(read_offset("offset", 7, "").is_err());
        assert!(read_offset("offset", u64::MAX, "t").is_err());
    }

    #[test]
    fn formats_and_reasons_have_the_numbers_of_the_contract() {
        for &format in Format::ALL {
            let named = v1::ExportFormat::try_from(i32::from(format.number())).unwrap().as_str_name();
            let short = format.as_str().replace("jsonl", "json_lines").to_uppercase();
            assert_eq!(named, format!("EXPORT_FORMAT_{short}"));
        }
        for &why in Omission::ALL {
            let named = v1::ExportOmissionReason::try_from(i32::from(why.number())).unwrap().as_str_name();
            let short = why.as_str().replace('-', "_").to_uppercase();
            assert_eq!(named, format!("EXPORT_OMISSION_REASON_{short}"));
        }
    }
}
