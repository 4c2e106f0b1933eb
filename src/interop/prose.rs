//! Decides what is an indicator in text for people: AsciiDoc, Markdown,
//! advisories as text.
//!
//! What is defanged was meant; so is a hash. What is not defanged counts where
//! it stands alone: as a list item, in a cell, in literal marks, on a line of
//! its own. A link in running text is for readers; version numbers, file names,
//! package names and what ends in a dot only resemble a value.

mod section;
mod token;

use super::encoding::Text;
use super::found::{Found, Reason, What};
use super::value;

use section::{Section, Sections};
use token::{Piece, pieces};

/// Longest context kept beside a value, in characters.
const CONTEXT_CHARS: usize = 300;

/// Hosts that reports link to. What stands there is read by people, unless it
/// is defanged.
const REFERENCES: [&str; 23] = [
    "welivesecurity.com",
    "github.com",
    "githubusercontent.com",
    "twitter.com",
    "x.com",
    "virustotal.com",
    "misp-project.org",
    "mitre.org",
    "unit42.paloaltonetworks.com",
    "paloaltonetworks.com",
    "microsoft.com",
    "securelist.com",
    "wikipedia.org",
    "nist.gov",
    "cisa.gov",
    "eset.com",
    "mandiant.com",
    "malware-traffic-analysis.net",
    "gov.vn",
    "khonggianmang.vn",
    "tinnhiemmang.vn",
    "chongluadao.vn",
    "abuse.ch",
];

/// Words by which a line tells that a number in it is an address.
const ADDRESS_WORDS: [&str; 12] = [
    " ip ",
    "ip:",
    "ip address",
    "địa chỉ",
    "server",
    "c2",
    "c&c",
    "connect",
    "máy chủ",
    "traffic",
    "beacon",
    "received:",
];

/// Reads prose line by line.
#[derive(Debug, Default)]
pub(super) struct Prose {
    sections: Sections,
}

impl Prose {
    pub(super) fn take(&mut self, number: u64, line: &Text, out: &mut Vec<Found>) {
        let trimmed = line.text.trim();
        if self.sections.take(trimmed) {
            return;
        }
        for piece in pieces(trimmed, self.sections.in_block()) {
            let what = self.judge(&piece, trimmed);
            let what = match what {
                Some(What::Record(record))
                    if !line.sure && record.value.as_ref().is_some_and(|v| !v.is_ascii()) =>
                {
                    let text = Text { text: record.value.unwrap_or_default(), sure: false };
                    value::of_list(&text)
                }
                Some(What::Record(_)) if self.sections.spares() => What::refused(
                    Reason::Exception,
                    "stands under a heading of what is not to be blocked",
                    piece.text,
                ),
                Some(What::Record(mut record)) => {
                    record.description = self.context(trimmed, &piece);
                    record.role = self.sections.names_victims(trimmed).then(|| "victim".to_owned());
                    What::Record(record)
                }
                Some(other) => other,
                None => continue,
            };
            out.push(Found { line: number, what });
        }
    }

    /// The section and the rest of the line, for who reads the indicator.
    fn context(&self, line: &str, piece: &Piece<'_>) -> Option<String> {
        let blank = |c: char| c == '|' || c == '`' || c.is_whitespace();
        let rest: Vec<&str> =
            line.split(blank).filter(|w| !w.is_empty() && !w.contains(piece.text)).collect();
        let rest = rest.join(" ");
        let rest = rest.trim_matches(|c: char| matches!(c, '-' | '*' | ':' | ' '));
        let context = match (self.sections.title(), rest) {
            ("", "") => return None,
            (title, "") => title.to_owned(),
            ("", rest) => rest.to_owned(),
            (title, rest) => format!("{title}: {rest}"),
        };
        Some(context.chars().take(CONTEXT_CHARS).collect())
    }

    fn judge(&self, piece: &Piece<'_>, line: &str) -> Option<What> {
        let text = piece.text;
        let defanged = value::is_defanged(text);
        if is_hash(text) {
            return Some(match self.sections.section() {
                Section::Certificate => What::passed_over(
                    Reason::Lookalike,
                    "is the fingerprint of a certificate, not a file's hash",
                    text,
                ),
                _ => value::read(text),
            });
        }
        if piece.is_link && !defanged {
            return Some(What::passed_over(Reason::Reference, "is a link for readers", text));
        }
        if text.contains("\\") || text.contains('%') && !text.contains('/') {
            return None;
        }
        if self.sections.is_for_contact()
            && !defanged
            && !piece.is_literal
            && piece.is_alone
            && text.contains('.')
        {
            return Some(What::passed_over(Reason::Reference, "stands under a heading of whom to ask", text));
        }
        if text.contains(['<', '>', '{']) && text.contains('.') && defanged {
            return Some(What::refused(Reason::Pattern, "holds a placeholder: give the values", text));
        }
        if token::has_scheme(text) {
            return Some(self.url(piece, defanged));
        }
        let host = text.split(['/', ':', '?', '#']).next().unwrap_or(text);
        if !host.contains('.') && !defanged {
            return None;
        }
        if let Some((_, host)) = text.split_once('@') {
            return self.mailbox(piece, host, defanged);
        }
        if defanged {
            return Some(value::read(text));
        }
        if is_quad(host) {
            return self.quad(piece, line);
        }
        self.name(piece, host)
    }

    fn url(&self, piece: &Piece<'_>, defanged: bool) -> What {
        let text = piece.text;
        // A text without headings is a list with remarks.
        let listed = self.sections.section() == Section::Network || self.sections.title().is_empty();
        let meant = piece.is_alone && (piece.is_literal || listed);
        if !defanged && (!meant || is_reference(text)) {
            return What::passed_over(
                Reason::Reference,
                "is a link for readers: an indicator is defanged or stands alone",
                text,
            );
        }
        value::read(text)
    }

    fn mailbox(&self, piece: &Piece<'_>, host: &str, defanged: bool) -> Option<What> {
        if defanged {
            return Some(value::read(piece.text));
        }
        let named = host.rsplit_once('.').is_some_and(|_| value::ends_in_the_dns(&host.to_ascii_lowercase()));
        (named && piece.is_alone && self.sections.section() != Section::Certificate)
            .then(|| value::read(piece.text))
    }

    /// Four numbers: an address, or a version.
    fn quad(&self, piece: &Piece<'_>, line: &str) -> Option<What> {
        let lower = line.to_lowercase();
        let told = ADDRESS_WORDS.iter().any(|word| lower.contains(word));
        let version = ["version", "phiên bản", " v."].iter().any(|word| lower.contains(word));
        if self.sections.section() == Section::Host {
            let problem = "stands among names of files, keys and processes";
            return Some(What::passed_over(Reason::Lookalike, problem, piece.text));
        }
        let taken = value::read(piece.text);
        if matches!(taken, What::Record(_)) && !version && is_public(piece.text) && (piece.is_alone || told) {
            return Some(taken);
        }
        let problem = "may be a version number, or an address of one's own: defang it or let it stand alone";
        Some(What::passed_over(Reason::Lookalike, problem, piece.text))
    }

    /// A name, perhaps with a path.
    fn name(&self, piece: &Piece<'_>, host: &str) -> Option<What> {
        let text = piece.text;
        let lower = host.to_ascii_lowercase();
        if !value::ends_in_the_dns(lower.trim_end_matches('.')) {
            return None;
        }
        let lookalike = |problem| Some(What::passed_over(Reason::Lookalike, problem, text));
        if !piece.is_alone {
            return lookalike("stands among other words: defang it, or give it a line of its own");
        }
        if piece.ends_in_dot {
            return lookalike("ends in a dot: in text that is the end of something else");
        }
        if host.starts_with('.')
            || lower.chars().filter(|c| *c == '.').count() == 1 && value::may_be_a_file(host)
        {
            return lookalike("may be the name of a file: defang it if it is a host name");
        }
        if self.sections.section() == Section::Host {
            return lookalike("stands among names of files, keys and processes");
        }
        match value::read(text) {
            What::Record(_) if is_reference(text) && !piece.is_literal => {
                lookalike("is a place that reports link to")
            }
            taken => Some(taken),
        }
    }
}

/// MD5, SHA-1 or SHA-256 in hexadecimal, of letters and digits.
fn is_hash(text: &str) -> bool {
    matches!(text.len(), 32 | 40 | 64)
        && text.bytes().all(|b| b.is_ascii_hexdigit())
        && text.bytes().any(|b| b.is_ascii_digit())
        && text.bytes().any(|b| b.is_ascii_alphabetic())
}

fn is_quad(host: &str) -> bool {
    host.split('.').count() == 4
        && host.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether the address may belong to someone else.
fn is_public(text: &str) -> bool {
    let host = text.split(['/', ':']).next().unwrap_or(text);
    host.parse().is_ok_and(|ip: std::net::Ipv4Addr| {
        !(ip.is_private()
            || ip.is_loopback()
            || ip.is_unspecified()
            || ip.is_broadcast()
            || ip.is_link_local())
            && ip.octets().first().is_some_and(|&first| first > 0)
            && ip.octets().get(1..) != Some(&[0, 0, 0])
    })
}

fn is_reference(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = rest.split(['/', ':', '?', '#']).next().unwrap_or(rest).to_ascii_lowercase();
    REFERENCES
        .iter()
        .any(|known| host == *known || host.strip_suffix(known).is_some_and(|under| under.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str) -> Vec<String> {
        let mut prose = Prose::default();
        let mut out = Vec::new();
        for (number, line) in (1..).zip(input.lines()) {
            prose.take(number, &Text { text: line.to_owned(), sure: true }, &mut out);
        }
        out.into_iter()
            .map(|found| match found.what {
                What::Record(record) => record.value.unwrap(),
                What::Refused(reject) => format!("refused {}", reject.text),
                What::PassedOver(reject) => format!("{} {}", reject.reason.as_str(), reject.text),
            })
            .collect()
    }

    const SHA1: &str = "0A88C3B4709287F70CA2549A29353A804681CA78";

    #[test]
    fn what_is_defanged_is_taken_wherever_it_stands() {
        for (line, expected) in [
            ("- mfph3n0[.]com -\u{a0}193.38.55[.]116", &["mfph3n0[.]com", "193.38.55[.]116"][..]),
            ("- Received: from 52.151.9[.]80 ([52.151.9[.]80])", &["52.151.9[.]80", "52.151.9[.]80"]),
            ("as seen at hxxp://call2[.]xyz/campo/j1, and more.", &["hxxp://call2[.]xyz/campo/j1"]),
            ("185.178.209[.]193\tCobalt Strike C2", &["185.178.209[.]193"]),
            (
                "128[.]199[.]72[.]218[:]4700/wp-content/uploads/",
                &["128[.]199[.]72[.]218[:]4700/wp-content/uploads/"],
            ),
            ("- `++http://175.197.40[.]61:3445/TYEHVSjn2++`", &["http://175.197.40[.]61:3445/TYEHVSjn2"]),
            (
                "- `++http://arv[.]xyz/<MAC address>/x.dot++`",
                &["refused http://arv[.]xyz/<MAC address>/x.dot"],
            ),
        ] {
            assert_eq!(read(line), expected, "{line}");
        }
    }

    #[test]
    fn what_only_resembles_a_value_is_not_taken() {
        for line in [
            "Firefox 47.0.0.1 was used, version 1.2.3.4",
            "- 10.1.2.3",
            "- 1.0.0.0",
            "Windows Update = rundll32.exe \"%PROGRAMDATA%\\Winlogon\\winlogon.lnk\",DllGetClassObject host",
            "- C:\\Users\\Public\\in.com",
            "vt_ioc_linux_rakos.py",
            "Typed_history.zip",
            "- Win32/Spy.RTM.A",
            "- online.sberbank.",
            "see https://www.welivesecurity.com/2017/03/30/x[our blog] on http://www.welivesecurity.com[WeLiveSecurity].",
            "[the report](https://example.org/report.pdf)",
            "- https://www.welivesecurity.com/x.pdf",
            "sentence.Next one is here, e.g. this",
            "0x494374D8553CA906F57674E24A13E933",
            "evil.com phishing",
        ] {
            let told = read(line);
            assert!(
                told.iter().all(|t| t.starts_with("LOOKALIKE") || t.starts_with("REFERENCE")),
                "{line}: {told:?}"
            );
        }
    }

    #[test]
    fn what_stands_alone_is_taken_in_the_right_section() {
        let text = "== Network indicators\n\n----\nf72bba81c921.livejournal.com/data/rss\ncash.bit\n5.154.190.167\n----\n\
                    - http://evil.example/gate.php\n== File names\n- evil.example\n";
        assert_eq!(
            read(text),
            [
                "f72bba81c921.livejournal.com/data/rss",
                "cash.bit",
                "5.154.190.167",
                "http://evil.example/gate.php",
                "LOOKALIKE evil.example"
            ]
        );
    }

    #[test]
    fn hashes_are_taken_but_for_those_of_certificates() {
        assert_eq!(read(&format!("|`{SHA1}`|`autorun.exe`|Dropper")), [SHA1]);
        let table = format!(
            "|===\n|Serial number|Thumbprint\n|`0x1` | `{SHA1}`\n|===\n|===\n|SHA-1\n|`{SHA1}`\n|===\n"
        );
        assert_eq!(read(&table), [format!("LOOKALIKE {SHA1}"), SHA1.to_owned()]);
    }

    #[test]
    fn those_who_were_attacked_are_told_from_those_who_attacked() {
        let text = "=== Targetted Networks\n|===\n|`45.113.1.0/24` |ISP\n|===\n=== Domains\n|===\n\
                    |`news[.]example` |Compromised website.\n|`c2[.]example` |C&C server, decrypted on victim host\n|===\n";
        let (mut prose, mut out) = (Prose::default(), Vec::new());
        for (number, line) in (1..).zip(text.lines()) {
            prose.take(number, &Text { text: line.to_owned(), sure: true }, &mut out);
        }
        let roles: Vec<_> = out
            .into_iter()
            .map(|found| match found.what {
                What::Record(record) => (record.value.unwrap(), record.role),
                other => panic!("{other:?}"),
            })
            .collect();
        let victim = Some("victim".to_owned());
        let expected =
            [("45.113.1.0/24", victim.clone()), ("news[.]example", victim), ("c2[.]example", None)];
        assert_eq!(roles, expected.map(|(value, role)| (value.to_owned(), role)));
    }

    fn roles(text: &str) -> Vec<(String, Option<String>)> {
        let (mut prose, mut out) = (Prose::default(), Vec::new());
        for (number, line) in (1..).zip(text.lines()) {
            prose.take(number, &Text { text: line.to_owned(), sure: true }, &mut out);
        }
        let told = out.into_iter().map(|found| match found.what {
            What::Record(record) => (record.value.unwrap(), record.role),
            What::Refused(reject) | What::PassedOver(reject) => (reject.reason.as_str().to_owned(), None),
        });
        told.collect()
    }

    #[test]
    fn victims_are_known_by_any_heading_that_speaks_of_them() {
        for title in [
            "Victim IP addresses:",
            "Targets:",
            "Affected organisations:",
            "Đơn vị bị tấn công:",
            "IP nạn nhân:",
            "== Victimology",
        ] {
            let told = roles(&format!("{title}\n- 45.113.1[.]7\n"));
            assert_eq!(told, [("45.113.1[.]7".to_owned(), Some("victim".to_owned()))], "{title}");
        }
        for title in [
            "Indicators of the targeted campaign:",
            "C2 servers of the targeted attacks:",
            "Indicators of compromise:",
        ] {
            let told = roles(&format!("{title}\n- 45.113.1[.]7\n"));
            assert_eq!(told, [("45.113.1[.]7".to_owned(), None)], "{title}");
        }
    }

    #[test]
    fn what_a_report_says_is_harmless_is_not_taken_and_says_why() {
        for title in ["Whitelist (do not block):", "False positives:", "Legitimate domains:", "== Không chặn"]
        {
            let told = roles(&format!("{title}\n- good[.]example\n"));
            assert_eq!(told, [("EXCEPTION".to_owned(), None)], "{title}");
        }
    }

    #[test]
    fn a_host_name_among_words_is_counted_where_it_is_not_taken() {
        assert_eq!(read("evil.com phishing\nbad.org c2"), ["LOOKALIKE evil.com", "LOOKALIKE bad.org"]);
        assert_eq!(read("a word.with dots"), [""; 0]);
    }

    #[test]
    fn whom_to_ask_is_no_indicator() {
        let told = roles(
            "Contact:\nsoc@vncert.vn\n\nLiên hệ:\nir@example.com\nwww.ncsc.gov.vn\nhttps://khonggianmang.vn\nso-tttt.hanoi.gov.vn\n",
        );
        assert!(told.iter().all(|(said, _)| said == "REFERENCE" || said == "LOOKALIKE"), "{told:?}");
        assert_eq!(told.len(), 5, "{told:?}");
        // Whoever defangs it means it.
        assert_eq!(read("phish[@]hanoi.gov[.]vn"), ["phish[@]hanoi.gov[.]vn"]);
    }

    #[test]
    fn a_value_brings_its_context() {
        let mut out = Vec::new();
        let mut prose = Prose::default();
        let lines = ["26 WORD DOCS WITH MACROS:", &format!("- {SHA1}  adjure_08.20.doc")];
        for (number, line) in (1..).zip(lines) {
            prose.take(number, &Text { text: line.to_owned(), sure: true }, &mut out);
        }
        let What::Record(record) = &out[0].what else { panic!("{out:?}") };
        assert_eq!(record.description.as_deref(), Some("26 WORD DOCS WITH MACROS: adjure_08.20.doc"));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_text_is_read(input in "[a-z0-9.\\[\\]|`()<>:/@ \\n=\\-+*é{}]{0,200}") {
            let _ = read(&input);
        }
    }
}
