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
/// Longest line that is context, in bytes.
const LONGEST_CONTEXT: usize = 4 * 1024;

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

/// What a line says of all that stands in it.
struct Said {
    /// A number in it is an address.
    of_addresses: bool,
    /// A number in it is a version.
    of_versions: bool,
    /// What stands in it belongs to those who were attacked.
    of_victims: bool,
}

impl Said {
    fn of(line: &str, sections: &Sections) -> Self {
        let lower = line.to_lowercase();
        Self {
            of_addresses: ADDRESS_WORDS.iter().any(|word| lower.contains(word)),
            of_versions: ["version", "phiên bản", " v."].iter().any(|word| lower.contains(word)),
            of_victims: sections.names_victims(&lower),
        }
    }
}

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
        let said = Said::of(trimmed, &self.sections);
        for piece in pieces(trimmed, self.sections.in_block()) {
            let what = self.judge(&piece, &said);
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
                    record.role = said.of_victims.then(|| "victim".to_owned());
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
        // A longer line is a list, not a sentence about one value.
        let line = if line.len() > LONGEST_CONTEXT { "" } else { line };
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

    fn judge(&self, piece: &Piece<'_>, said: &Said) -> Option<What> {
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
            return self.quad(piece, said);
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
    fn quad(&self, piece: &Piece<'_>, said: &Said) -> Option<What> {
        if self.sections.section() == Section::Host {
            let problem = "stands among names of files, keys and processes";
            return Some(What::passed_over(Reason::Lookalike, problem, piece.text));
        }
        let taken = value::read(piece.text);
        let meant = piece.is_alone || said.of_addresses;
        if matches!(taken, What::Record(_)) && !said.of_versions && is_public(piece.text) && meant {
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
mod tests;
