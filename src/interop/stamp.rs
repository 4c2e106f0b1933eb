//! Decides which TLP label a document puts on itself: one that stands in a short
//! line of a report, or in a comment of a list.
//!
//! Whoever publishes it may know better how far it travels, but not further
//! than its author wrote: the label goes along with every value after it.

use crate::model::marking::Tlp;

/// Most words of a line that is a stamp. A longer one tells of labels.
const MOST_WORDS: usize = 8;

/// The label on a line.
pub(super) fn label(line: &str) -> Option<Tlp> {
    if line.split_whitespace().nth(MOST_WORDS).is_some() {
        return None;
    }
    let upper = line.to_ascii_uppercase();
    let (before, rest) = upper.split_once("TLP")?;
    let name = rest.trim_start_matches([':', ' ', '=']);
    if before.ends_with(char::is_alphanumeric) || name.len() == rest.len() {
        return None;
    }
    Tlp::parse(name.split(|c: char| !c.is_ascii_alphabetic() && c != '+').next()?)
}

/// Whether a line of a list is a remark.
pub(super) fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with(['#', ';', '!']) || line.starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_told_from_a_sentence_about_labels() {
        for (line, expected) in [
            ("TLP:RED", Some(Tlp::Red)),
            ("# TLP: amber", Some(Tlp::Amber)),
            ("Phân loại: TLP:AMBER+STRICT.", Some(Tlp::AmberStrict)),
            ("**TLP WHITE**", Some(Tlp::Clear)),
            ("TLP:RED must not be shared beyond the persons that it names", None),
            ("tlp-red.example", None),
            ("XTLP:RED", None),
            ("TLP", None),
            ("TLP:PURPLE", None),
        ] {
            assert_eq!(label(line), expected, "{line}");
        }
    }
}
