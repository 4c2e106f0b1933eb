//! Decides which texts are rules of which kind. They are kept as they are
//! given, to the last byte: a rule altered is another rule.

use crate::model::Invalid;
use crate::model::indicator::draft::MAX_RULE_BYTES;

use super::super::{Kind, Observable};

/// Keeps a rule of `kind`.
pub(super) fn rule(kind: Kind, text: &str) -> Result<Observable, Invalid> {
    if text.len() > MAX_RULE_BYTES {
        return Err(Invalid::new("", format!("is too long: a rule has at most {MAX_RULE_BYTES} bytes")));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(Invalid::new("", "holds a control character other than line breaks and tabs"));
    }
    // What every rule of the kind has; no more, since only its own engine can
    // tell whether it is right.
    let line_starts = |word: &str| text.lines().any(|line| line.trim_start().starts_with(word));
    let (shaped, problem) = match kind {
        Kind::Yara => (
            text.contains("rule ") && text.contains("condition") && text.contains('{'),
            "is not a YARA rule: it has rule, a name and { condition: … }",
        ),
        Kind::Sigma => (
            line_starts("detection:") && line_starts("logsource:"),
            "is not a Sigma rule: it is YAML with logsource: and detection:",
        ),
        Kind::Suricata => (
            text.contains("sid:") && text.contains('('),
            "is not a Suricata rule: it has an action, addresses and (options with sid:)",
        ),
        _ => (
            text.trim_start().starts_with(['[', '(']) && text.contains(']'),
            "is not a STIX pattern: it starts with [ or (",
        ),
    };
    if shaped { Ok(Observable::written(kind, text)) } else { Err(Invalid::new("", problem)) }
}
