//! Decides which trails of a maltrail file are values: one on a line, with
//! `#` before comments. Trails that are regular expressions, paths without a
//! host or whole suffixes are refused.

use super::encoding::Text;
use super::found::What;
use super::value;

/// Reads one line; `None` for a comment or a blank line.
pub(super) fn read(line: &Text) -> Option<What> {
    // What follows a `#` is a remark, such as `# was: googlepíng.com`.
    let text = line.text.find('#').map_or(line.text.as_str(), |at| match line.text.get(..at) {
        Some(before) if before.is_empty() || before.ends_with(char::is_whitespace) => before,
        _ => line.text.as_str(),
    });
    let trail = text.trim();
    (!trail.is_empty()).then(|| value::of_list(&Text { text: trail.to_owned(), sure: line.sure }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> String {
        match read(&Text { text: line.to_owned(), sure: true }) {
            None => "-".to_owned(),
            Some(What::Record(record)) => record.value.unwrap(),
            Some(What::Refused(reject) | What::PassedOver(reject)) => reject.reason.as_str().to_owned(),
        }
    }

    #[test]
    fn trails_end_at_their_remark_and_patterns_are_refused() {
        for (line, expected) in [
            ("# Reference: https://example.org/x", "-"),
            ("", "-"),
            ("xn--googlepng-m5a.com    # was: googlepíng.com", "xn--googlepng-m5a.com"),
            ("http://5.45.83.223 ", "http://5.45.83.223"),
            ("[2a12:bec4:1460:50::2]:3478", "[2a12:bec4:1460:50::2]:3478"),
            ("\\b(atztds|mtxtds)[0-9a-z]+\\.(world|xyz)", "PATTERN"),
            ("byethost[0-9]+\\.com", "PATTERN"),
            (".co.vu", "SUFFIX"),
            ("/@/@/h31l0", "PATH_ONLY"),
        ] {
            assert_eq!(told(line), expected, "{line}");
        }
    }
}
