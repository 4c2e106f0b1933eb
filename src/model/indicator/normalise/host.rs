//! Decides the canonical forms of what a machine or a program shows and what
//! is kept as it is written: file names, user agents, mutexes; and of keys of
//! the Windows registry, whose names know no case.

use crate::model::Invalid;

use super::super::{Kind, Observable};

/// The hives, short and long.
const HIVES: [(&str, &str); 7] = [
    ("HKLM", "HKEY_LOCAL_MACHINE"),
    ("HKCU", "HKEY_CURRENT_USER"),
    ("HKCR", "HKEY_CLASSES_ROOT"),
    ("HKU", "HKEY_USERS"),
    ("HKCC", "HKEY_CURRENT_CONFIG"),
    ("HKPD", "HKEY_PERFORMANCE_DATA"),
    ("HKDD", "HKEY_DYN_DATA"),
];

/// Keeps a text as it is, without white space and byte-order marks around it.
pub(super) fn verbatim(kind: Kind, text: &str) -> Result<Observable, Invalid> {
    let value = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    super::check_text(value)?;
    Ok(Observable::written(kind, value))
}

/// Reads a key of the registry: hive in full, then the path in lower case.
pub(super) fn registry_key(text: &str) -> Result<Observable, Invalid> {
    let mut parts = text.split('\\').filter(|part| !part.is_empty()).peekable();
    parts.next_if(|part| part.eq_ignore_ascii_case("computer"));
    let hive = if parts.next_if(|part| part.eq_ignore_ascii_case("registry")).is_some() {
        match parts.next() {
            Some(part) if part.eq_ignore_ascii_case("machine") => Some("HKEY_LOCAL_MACHINE"),
            Some(part) if part.eq_ignore_ascii_case("user") => Some("HKEY_USERS"),
            _ => None,
        }
    } else {
        let given = parts.next().unwrap_or_default();
        // PowerShell writes a drive: `HKLM:\`.
        let given = given.strip_suffix(':').unwrap_or(given);
        let same = |name: &str| name.eq_ignore_ascii_case(given);
        HIVES.iter().find(|(short, long)| same(short) || same(long)).map(|&(_, long)| long)
    };
    let Some(hive) = hive else {
        return Err(Invalid::new(
            "",
            "is not a registry key: write its hive and path with backslashes, such as \
             HKLM\\Software\\Microsoft\\Windows\\CurrentVersion\\Run",
        ));
    };
    let mut key = hive.to_owned();
    for part in parts {
        key.push('\\');
        key.push_str(&part.to_ascii_lowercase());
    }
    // What stands before a final backslash is an edge once that is dropped.
    let key = key.trim_end_matches(|c| c == '\\' || super::is_invisible_edge(c));
    Ok(Observable::written(Kind::RegistryKey, key))
}
