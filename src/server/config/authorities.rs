//! Decides what an operator says of the hub's own authorities: who signs,
//! under which names the hub is known, and where new systems enrol.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::DnsName;

use super::seconds;
use super::section::Section;
use super::units::Span;
use crate::model::Invalid;
use crate::pki::issue::lifetime;
use crate::pki::schedule;

/// The hub's own authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorities {
    /// Socket of the signer.
    pub signer: PathBuf,
    /// The roots of the server hierarchy, PEM: what agencies trust.
    pub roots: PathBuf,
    /// Directory of what the hub had signed for itself; it can be lost.
    pub directory: PathBuf,
    /// DNS names of the hub, for its certificate.
    pub dns: Vec<String>,
    /// Addresses of the hub, for its certificate.
    pub ip: Vec<IpAddr>,
    /// Name under which the hub shows the certificate of its next authority.
    pub canary: String,
    /// How long a client's certificate holds.
    pub client_lifetime: Span,
    /// How long the hub's own certificate holds.
    pub server_lifetime: Span,
    /// How long a revocation list holds; it is signed anew each day.
    pub list_lifetime: Span,
    /// How long the next authority is at least trusted before it signs.
    pub soak: Span,
    /// Where new systems enrol; none: nowhere.
    pub enrolment: Option<SocketAddr>,
}

/// Reads `[authorities]`, if it is there.
pub(super) fn read(
    mut section: Section,
    base: &Path,
    data_dir: &Path,
    problems: &mut Vec<Invalid>,
) -> Option<Authorities> {
    if section.is_absent() {
        return None;
    }
    let names: Vec<String> = section.or("names", Vec::new(), problems);
    let (mut dns, mut ip) = (Vec::new(), Vec::new());
    for name in names {
        match name.parse() {
            Ok(address) => ip.push(address),
            Err(_) if DnsName::try_from(name.as_str()).is_ok() => dns.push(name),
            Err(_) => problems.push(Invalid::new(
                section.at("names"),
                format!("{name:?} is neither a DNS name nor an address"),
            )),
        }
    }
    if dns.is_empty() && ip.is_empty() {
        let problem =
            "is missing; write the names by which agencies reach the hub, such as [\"hub.example.vn\"]";
        problems.push(Invalid::new(section.at("names"), problem));
    }
    let usual = format!("canary.{}", dns.first().map_or("luytre.invalid", String::as_str));
    let canary = section.or("canary", usual, problems);
    if DnsName::try_from(canary.as_str()).is_err() || dns.contains(&canary) {
        let problem = format!("{canary:?} must be a DNS name that is not among `names`");
        problems.push(Invalid::new(section.at("canary"), problem));
    }
    let span = |duration: Duration| Span(duration);
    let day = 24 * 3600;
    let read = Authorities {
        signer: section.required_path("signer", base, "the signer's socket", problems),
        roots: section.required_path("roots", base, "the roots that agencies trust", problems),
        directory: section
            .path("directory", base, problems)
            .unwrap_or_else(|| data_dir.with_file_name("certificates")),
        canary,
        dns,
        ip,
        client_lifetime: section.bounded(
            "client_lifetime",
            span(lifetime::CLIENT),
            (seconds(3600), seconds(398 * day)),
            problems,
        ),
        server_lifetime: section.bounded(
            "server_lifetime",
            span(lifetime::SERVER),
            (seconds(48 * 3600), seconds(398 * day)),
            problems,
        ),
        list_lifetime: section.bounded(
            "list_lifetime",
            span(lifetime::REVOCATION_LIST),
            (seconds(3600), seconds(31 * day)),
            problems,
        ),
        soak: section.bounded("soak", span(schedule::SOAK), (seconds(0), seconds(30 * day)), problems),
        enrolment: section.optional("enrolment", problems),
    };
    section.finish(problems);
    Some(read)
}
