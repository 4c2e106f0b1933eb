//! Decides how techniques of MITRE ATT&CK are named: `T` and four digits, and
//! for a sub-technique a dot and three more, in any of its matrices.

use crate::model::Invalid;

/// Most techniques on one indicator.
pub const MAX_TECHNIQUES: usize = 32;

/// Checks one name, such as `T1566` or `T1566.001`.
///
/// # Errors
/// What is wrong with it.
pub fn check(name: &str) -> Result<(), Invalid> {
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let fits = name.strip_prefix('T').is_some_and(|rest| match rest.split_once('.') {
        Some((technique, sub)) => digits(technique, 4) && digits(sub, 3),
        None => digits(rest, 4),
    });
    if fits {
        return Ok(());
    }
    Err(Invalid::new("", "a technique of ATT&CK is named as `T1566`, a sub-technique as `T1566.001`"))
}

/// The technique of which a sub-technique is one.
#[must_use]
pub fn parent(name: &str) -> Option<&str> {
    name.split_once('.').map(|(technique, _)| technique)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_technique_is_named_as_attack_names_it() {
        for good in ["T1566", "T1566.001", "T0001"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "T",
            "t1566",
            "1566",
            "T156",
            "T15666",
            "T1566.",
            "T1566.01",
            "T1566.0001",
            "T1566.001.1",
            "TA0001",
            "T15６6",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert_eq!((parent("T1566.001"), parent("T1566")), (Some("T1566"), None));
    }
}
