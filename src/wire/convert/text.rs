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

/// The same, and not empty.
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
}
