//! Decides which pieces of a text are values and not words: addresses, paths
//! and names of files, which attackers choose.

use super::Form;

/// Endings of names that are values beside any letters.
const ENDINGS: [&str; 46] = [
    "7z", "apk", "bat", "bin", "bmp", "cmd", "com", "csv", "dll", "doc", "docm", "docx", "eml", "example",
    "exe", "gif", "html", "htm", "info", "img", "invalid", "iso", "jpg", "jpeg", "js", "lnk", "msi", "net",
    "org", "pdf", "png", "ppt", "pptx", "ps1", "rar", "rtf", "scr", "test", "txt", "vbs", "vn", "xls",
    "xlsm", "xlsx", "xyz", "zip",
];

/// Whether a piece without blanks is a value.
pub(super) fn is_value(form: Form, chunk: &str) -> bool {
    let outer = |c: char| !c.is_alphanumeric() && c != '/' && c != '\\';
    let core = chunk.trim_matches(outer);
    if !core.contains(char::is_alphanumeric) {
        return false;
    }
    if form == Form::Label {
        return ends_a_name(core, false);
    }
    let slashes = core.matches('/').count();
    core.contains("://")
        || core.contains("[.]")
        || core.contains('\\')
        || core.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("hxxp"))
        || (core.starts_with('/') && slashes > 1)
        || core.split_once('@').is_some_and(|(_, host)| host.contains('.'))
        || core.split_once('/').is_some_and(|(host, _)| ends_a_name(host, true))
        || ends_a_name(core.trim_end_matches('/'), true)
}

/// Whether it ends as names of hosts and files do.
fn ends_a_name(core: &str, any: bool) -> bool {
    let Some((stem, ending)) = core.rsplit_once('.') else { return false };
    if !stem.split('.').any(|part| part.chars().nth(1).is_some()) {
        // Letters one by one, with a point after each.
        return false;
    }
    let known = || ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending));
    if !any || !core.is_ascii() {
        return known();
    }
    let bytes = ending.as_bytes();
    let one_case = bytes.iter().all(u8::is_ascii_lowercase) || bytes.iter().all(u8::is_ascii_uppercase);
    known() || ((2..=10).contains(&bytes.len()) && one_case)
}
