//! Decides what a value of a list is: an observable by the canonicaliser, and
//! no pattern, path or name that only resembles one, nor what everyone has or
//! needs: blocked by all who read it, that would break more than it mends.

use crate::model::indicator::everyones::{is_local, is_suffix};
use crate::model::indicator::{Kind, Observable, normalise};

use super::encoding::Text;

use super::found::{Reason, What};
use super::jsonl::Record;

/// Top-level domains that lie outside the root zone, and are used: Tor, I2P,
/// Namecoin, Emercoin, OpenNIC; and those for documentation (RFC 2606).
const OTHER_ROOTS: [&str; 11] =
    ["onion", "i2p", "bit", "bazar", "coin", "emc", "lib", "libre", "geek", "example", "test"];

/// Ends of file names that are top-level domains as well. A name of two labels
/// that ends so, and is not defanged, is not taken from among other text.
const FILE_ENDS: [&str; 19] = [
    "app", "bat", "bin", "cab", "db", "doc", "dot", "gz", "md", "mov", "pl", "pm", "ps", "py", "rs", "sh",
    "so", "sql", "zip",
];

/// Reads one value of a list.
pub(super) fn of_list(text: &Text) -> What {
    let value = text.text.trim();
    unsure(text.sure, value).unwrap_or_else(|| read(value))
}

/// Refuses a value that would be another in another encoding.
pub(super) fn unsure(sure: bool, value: &str) -> Option<What> {
    (!sure && !value.is_ascii()).then(|| {
        What::refused(
            Reason::NotText,
            "is not UTF-8: convert the file, or say how it is written with --encoding latin-1",
            value,
        )
    })
}

/// Reads one value.
pub(super) fn read(value: &str) -> What {
    if let Some(refused) = no_single_thing(value) {
        return refused;
    }
    match normalise::detect(value) {
        Ok(canonical) => match &canonical.observable {
            Observable::Domain(name) | Observable::NamedEndpoint(name) if !ends_in_the_dns(host(name)) => {
                What::refused(
                    Reason::UnknownTld,
                    "ends in no top-level domain that exists, as file and package names do; if it is a host name \
                 nonetheless, write it as JSON lines with its kind",
                    value,
                )
            }
            Observable::Domain(name) if may_be_a_package(name) && !is_defanged(value) => What::refused(
                Reason::Lookalike,
                "reads as the name of a package: defang it if it is a host name",
                value,
            ),
            Observable::Domain(name) if is_suffix(name) => What::refused(
                Reason::Suffix,
                "is a suffix under which everyone may register: it stands for all names under it, so give the names",
                value,
            ),
            other if is_local(other) => What::refused(
                Reason::Local,
                "is an address that everyone has for himself, or a network of almost everyone: if it is meant, write \
                 it as JSON lines",
                value,
            ),
            _ => record(value),
        },
        Err(invalid) => What::refused(Reason::FieldInvalid, invalid.problem, value),
    }
}

/// The kind of a value that can be published as it stands.
pub(super) fn kind(value: &str) -> Option<Kind> {
    match read(value) {
        What::Record(record) => normalise::detect(record.value.as_deref()?).ok().map(|c| c.observable.kind()),
        _ => None,
    }
}

pub(super) fn record(value: &str) -> What {
    What::Record(Box::new(Record { value: Some(value.to_owned()), ..Record::default() }))
}

/// The name before a port.
fn host(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(host, _)| host)
}

/// Whether the name ends in a top-level domain that is delegated or used.
pub(super) fn ends_in_the_dns(name: &str) -> bool {
    let top = name.rsplit('.').next().unwrap_or(name);
    let known = |name: &str| psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known());
    // Some domains, such as .za, are delegated below their top level only.
    OTHER_ROOTS.contains(&top) || known(top) || known(name)
}

/// Whether a name that is not defanged may as well be that of a file.
pub(super) fn may_be_a_file(name: &str) -> bool {
    let mut labels = name.rsplit('.');
    let end = labels.next().unwrap_or_default().to_ascii_lowercase();
    FILE_ENDS.contains(&end.as_str()) && labels.count() < 2
}

/// Whether a name reads from right to left, as those of packages do: of the
/// names in public feeds, none begins and ends so.
fn may_be_a_package(name: &str) -> bool {
    let ends = name.split_once('.').zip(name.rsplit_once('.')).map(|((first, _), (_, last))| (first, last));
    ends.is_some_and(|(first, last)| {
        matches!(first, "com" | "org" | "mobi")
            && last.len() > 2
            && !matches!(last, "com" | "net" | "org" | "info" | "biz" | "example" | "test")
            && !last.starts_with("xn--")
    })
}

/// Whether marks of defanging stand in the text: whoever set them meant a
/// value that must not be followed.
pub(super) fn is_defanged(text: &str) -> bool {
    const MARKS: [&str; 12] =
        ["[.", ".]", "(.", ".)", "{.", ".}", "[:", "[dot", "(dot", "hxxp", "hxtp", "meow:"];
    let lower = text.to_ascii_lowercase();
    MARKS.iter().any(|mark| lower.contains(mark))
}

/// Refuses what stands for many values, or for none without a host.
fn no_single_thing(value: &str) -> Option<What> {
    if value.starts_with('/') && (!value.starts_with("//") || value.starts_with("///")) {
        let problem = "is a path without a host: the hub knows whole URLs";
        return Some(What::refused(Reason::PathOnly, problem, value));
    }
    if value.starts_with('.') {
        let problem = "begins with a dot and so stands for all names under it: give the names";
        return Some(What::refused(Reason::Suffix, problem, value));
    }
    let authority = value.split('/').next().unwrap_or(value);
    let scheme = value.contains("://");
    let escaped = ["\\.", "\\b", "\\d", "\\w", "[0-9", "[a-z", "[A-Z", ".*", ".+"];
    if !scheme && (escaped.iter().any(|sign| authority.contains(sign)) || authority.contains(['*', '^', '$']))
    {
        let problem = "is a pattern, which stands for many values: give the values";
        return Some(What::refused(Reason::Pattern, problem, value));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(value: &str) -> String {
        match read(value) {
            What::Record(record) => record.value.unwrap(),
            What::Refused(reject) | What::PassedOver(reject) => reject.reason.as_str().to_owned(),
        }
    }

    #[test]
    fn a_value_is_taken_as_it_stands_or_refused_with_its_cause() {
        for taken in [
            "evil[.]com",
            "198.51.100.7",
            "a.example",
            "cash.bit",
            "hxxp://a[.]vn/x",
            "cốccốc.vn",
            "a.zip",
            "x.co.za",
            "x.gov.mm",
        ] {
            assert_eq!(told(taken), taken);
        }
        for (value, reason) in [
            ("q(l|r)[0-9]{5,6}\\.pw", "PATTERN"),
            ("*.evil.com", "PATTERN"),
            (".su", "SUFFIX"),
            ("/admin/gate.php", "PATH_ONLY"),
            ("////atom.xml", "PATH_ONLY"),
            ("com.apple.WebKit.Networking", "UNKNOWN_TLD"),
            ("com.android.chrome", "LOOKALIKE"),
            ("roleaccountd.plist", "UNKNOWN_TLD"),
            ("koldiv.ru-F", "FIELD_INVALID"),
            ("support¬forum.org", "FIELD_INVALID"),
        ] {
            assert_eq!(told(value), reason, "{value}");
        }
    }

    #[test]
    fn a_name_with_a_port_keeps_its_port() {
        assert_eq!(told("5.tcp.eu.ngrok.io:17844"), "5.tcp.eu.ngrok.io:17844");
        assert_eq!(told("evil[.]com:443"), "evil[.]com:443");
        assert_eq!(told("evil.com:0"), "FIELD_INVALID");
        assert_eq!(told("readme.txt:80"), "UNKNOWN_TLD");
    }

    #[test]
    fn a_value_of_unsure_encoding_is_not_guessed() {
        let text = |text: &str, sure| Text { text: text.to_owned(), sure };
        assert!(matches!(of_list(&text("café.vn", false)), What::Refused(_)));
        assert!(matches!(of_list(&text("café.vn", true)), What::Record(_)));
        assert!(matches!(of_list(&text("cafe.vn\u{a0}", false)), What::Record(_)));
    }

    #[test]
    fn what_everyone_has_or_needs_is_no_single_thing_to_share() {
        for value in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.0/16",
            "172.16.0.1:443",
            "169.254.1.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "0.0.0.0/0",
            "::/0",
            "64.0.0.0/2",
            "::1",
            "fe80::1",
            "fd00::1",
            "[::1]:80",
            "http://192.168.1.1/x",
            "http://[::1]/x",
            "http://user@127.0.0.1:8080/x",
        ] {
            assert_eq!(told(value), "LOCAL", "{value}");
        }
        for value in ["198.51.100.7", "8.0.0.0/8", "100.64.1.1", "2001:db8::/32", "http://198.51.100.7/x"] {
            assert_eq!(told(value), value);
        }
        for value in ["com.vn", "gov.vn", "co.uk"] {
            assert_eq!(told(value), "SUFFIX", "{value}");
        }
        // Whoever lends names under it is a private body, whose name may well be listed.
        assert_eq!(told("duckdns.org"), "duckdns.org");
    }
}
