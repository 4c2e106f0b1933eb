//! Decides what free text may be: bounded in bytes, without control characters
//! that could disturb a terminal or a log.

use crate::model::Invalid;

/// Checks a text of at most `max` bytes; line breaks and tabs are its only
/// control characters.
///
/// # Errors
/// Too long, or a control character.
pub fn bounded(field: &str, text: String, max: usize) -> Result<String, Invalid> {
    if text.len() > max {
        return Err(Invalid::new(field, format!("at most {max} bytes; this has {}", text.len())));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(Invalid::new(field, "control characters other than line breaks and tabs are not text"));
    }
    Ok(text)
}

/// Checks a name of at most `max` bytes; may be empty. It stands on one line,
/// and does not turn the direction of what stands beside it: tables show it.
///
/// # Errors
/// Too long, a control character, a line separator or a mark of direction.
pub fn name(field: &str, text: String, max: usize) -> Result<String, Invalid> {
    let text = bounded(field, text, max)?;
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if text.chars().any(breaks) {
        return Err(Invalid::new(field, "a name stands on one line, without tabs and marks of direction"));
    }
    Ok(text)
}

/// As [`bounded`], and not empty.
///
/// # Errors
/// As [`bounded`], or empty.
pub fn required(field: &str, text: String, max: usize) -> Result<String, Invalid> {
    if text.is_empty() {
        return Err(Invalid::new(field, format!("required: 1 to {max} bytes")));
    }
    bounded(field, text, max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_bounded_in_bytes_and_free_of_controls() {
        assert_eq!(bounded("note", "ố".repeat(2), 6).unwrap(), "ốố");
        assert_eq!(bounded("note", "ố".repeat(2), 5).unwrap_err().field, "note");
        assert!(bounded("note", "a\n\tb".into(), 9).is_ok());
        assert!(bounded("note", "a\u{1b}[2J".into(), 9).is_err());
        assert!(required("note", String::new(), 9).is_err());
    }

    #[test]
    fn a_name_cannot_forge_a_line_of_a_table() {
        assert_eq!(name("family", "Họ A/B.2".into(), 20).unwrap(), "Họ A/B.2");
        assert_eq!(name("family", String::new(), 20).unwrap(), "");
        for bad in ["a\nb", "a\tb", "a\u{2028}b", "a\u{202e}b", "a\u{2066}b"] {
            assert_eq!(name("family", bad.into(), 20).unwrap_err().field, "family", "{bad:?}");
        }
    }
}
